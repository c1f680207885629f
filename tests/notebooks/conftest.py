import nbformat
import pytest
from fixture_notebooks import build, execute, make_root


@pytest.fixture(scope="session")
def chapter_root(tmp_path_factory):
    """A project whose one small chapter was just executed and stored."""
    root = tmp_path_factory.mktemp("project")
    path = make_root(root)
    nbformat.write(execute(build(), path.parent), path)
    return root


@pytest.fixture
def chapter(chapter_root):
    """The executed small chapter, to be broken at will."""
    return nbformat.read(next(chapter_root.glob("notebooks/*/*.ipynb")), as_version=4)
