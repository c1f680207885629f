"""The pages on the library: all public names, Markdown of docstrings, and who uses what."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("griffe")

from kexian_utils import catalogue
from kexian_utils.runner.pages import library as pages

ROOT = Path(__file__).resolve().parents[2]
KNOWN = catalogue.load(ROOT)
WRITTEN = [article for article in KNOWN.articles if (ROOT / article.path).is_file()]
NOTEBOOKS = {a.id: json.loads((ROOT / a.path).read_text(encoding="utf-8")) for a in WRITTEN}


@pytest.fixture(scope="module")
def library():
    return pages.with_uses(pages.read(ROOT), NOTEBOOKS)


def test_every_public_name_has_its_place(library):
    written = {a.id: f"{a.part}/{a.slug}" for a in WRITTEN}
    made = pages.pages(library, KNOWN, written)
    labels = re.findall(r"^\((library-[\w-]+)\)=$", "\n".join(made.values()), re.MULTILINE)
    assert sorted(labels) == sorted(entry.anchor for entry in library.entries)
    assert len(labels) == len(set(labels)) > 250
    linked = set(re.findall(r"\(#(library-[\w-]+)\)", "\n".join(made.values())))
    assert linked == set(labels)
    for room in ("layers", "losses", "optimizers", "models"):  # as the package hands it on
        for entry in library.room(room):
            assert f"from kexian_utils.{room} import {entry.name}\n" in made[f"library/{room}.md"]


def test_every_public_name_says_what_it_is(library):
    silent = [entry.path for entry in library.entries if entry.signature and not entry.summary]
    assert silent == []


def test_a_chapter_lists_what_it_uses(library):
    used = {e.path for e in pages.names_used(pages.code_of(NOTEBOOKS["6992"]), library)}
    assert {"layers.batch_center.BatchCenter", "statistics.standardize"} <= used
    assert "generative.wgan.gradient_penalty" not in used
    assert "6992" in library.used_in["layers.batch_center.BatchCenter"]
    code = "from kexian_utils import bert as b\nfrom kexian_utils.training import stacked\nb.Parser"
    assert [e.path for e in pages.names_used([code, "%magic"], library)] == ["bert.parser.Parser"]


def test_docstrings_become_markdown():
    text = (
        "Of :math:`x^2` and :func:`~a.b.c`, ``d``:\n\n"
        ".. math:: a =\n    b\n\nThen::\n\n    code()\n"
    )
    assert pages.markdown(text) == (
        "Of $x^2$ and `c`, `d`:\n\n$$a = b$$\n\n\nThen:\n\n```python\ncode()\n```\n\n"
    )


def numbered(entry, modules):
    """Pairs (article, equation) that a docstring names."""
    text = " ".join(
        str(section.value) for section in entry.docstring if section.kind.value == "text"
    )
    here = re.search(r"(?:article |archives/)(\d{4})", modules.get(entry.module, ""))
    article = here[1] if here else None
    for match in re.finditer(r"article (\d{4})|equations? ((?:\(\d+'?\)(?:, | and )?)+)", text):
        article = match[1] or article
        for number in re.findall(r"\((\d+'?)\)", match[2] or ""):
            yield article, number


def test_the_equations_that_docstrings_name_exist(library):
    tags = {}
    for article, notebook in NOTEBOOKS.items():
        text = "".join("".join(c["source"]) for c in notebook["cells"])
        tags[article] = set(re.findall(r"\\tag\{(\d+'?)\}", text))
    named = {
        (entry.path, article, number)
        for entry in library.entries
        for article, number in numbered(entry, library.modules)
    }
    missing = [
        (path, article, number)
        for path, article, number in named
        if article is None or (article in tags and number not in tags[article])
    ]
    assert missing == []
    assert len(named) > 20
