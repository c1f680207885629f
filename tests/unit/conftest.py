"""A small checkout to run chapters in, kernels that start quickly, and float64 on JAX."""

from pathlib import Path

import nbformat
import pytest

from kexian_utils import catalogue
from kexian_utils.runner.execution import files

ROOT = Path(__file__).resolve().parents[2]


def copy_catalogue(root):
    """The catalogue and what the descriptors say of the articles; nothing about their notebooks."""
    for path in (ROOT / "notebooks").rglob("*.toml"):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8")
        if path.name != "catalogue.toml":
            text = text.split("\n[")[0] + "\n"
        copy.write_text(text, encoding="utf-8")


@pytest.fixture
def empty_checkout(tmp_path, monkeypatch):
    """A checkout with the catalogue and no chapter; the current folder during the test."""
    root = tmp_path / "book"
    (root / "notebooks").mkdir(parents=True)
    copy_catalogue(root)
    (root / "pyproject.toml").write_text("[tool.kexian]\nrepository = ''\n", encoding="utf-8")
    monkeypatch.chdir(root)
    for name in ("KEXIAN_BUILD", "KERAS_BACKEND", "KEXIAN_DATA", "KEXIAN_THREADS", "KEXIAN_FORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEXIAN_PREIMPORT", "ipykernel.kernelapp")  # no framework is needed here
    return root


@pytest.fixture
def write_chapters(empty_checkout):
    """Write chapters: write_chapters(a6992="code of its last cell", …); returns their articles."""

    def write(**chapters):
        articles = [catalogue.load(empty_checkout).article(name[1:]) for name in chapters]
        for article, code in zip(articles, chapters.values(), strict=True):
            head = nbformat.v4.new_code_cell(
                'profile = "default"\nseed = 0', id="head", metadata={"tags": ["parameters"]}
            )
            cells = [
                nbformat.v4.new_markdown_cell("# Prose", id="prose"),
                head,
                nbformat.v4.new_code_cell(code, id="code"),
            ]
            path = empty_checkout / article.path
            files.write_notebook(path, nbformat.v4.new_notebook(cells=cells))
        return articles

    return write


@pytest.fixture(scope="module")
def float64_on_jax():
    """As in a chapter: JAX keeps float64. Elsewhere it does so anyway."""
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)
