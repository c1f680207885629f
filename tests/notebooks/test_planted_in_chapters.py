"""In every committed chapter, every stored number, word, array, claim and cell is guarded.

The stored outputs are changed one at a time and compared with themselves: nothing is executed.
"""

import pytest
from project_notebooks import ARTICLES, ROOT

from kexian_utils.runner.checks import planted_changes
from kexian_utils.runner.checks.compare import compare_notebooks
from kexian_utils.runner.execution.files import read_notebook


@pytest.mark.parametrize("article", ARTICLES)
def test_every_planted_change_and_every_dropped_cell_is_noticed(article):
    notebook = read_notebook(ROOT / article.path)
    assert compare_notebooks(notebook, notebook) == []
    found = planted_changes.problems(notebook)
    assert not found, "\n".join(found)


def test_small_chapter_is_guarded(chapter):
    missed, seen = planted_changes.unnoticed(chapter)
    assert not missed
    assert seen["plant_array"] == 1
    assert planted_changes.problems(chapter) == []


def test_what_is_not_noticed_is_named(chapter, monkeypatch):
    for cell in chapter.cells:
        if cell.cell_type == "code" and cell.id != "measure":
            cell.metadata["tags"] = ["nbval-ignore-output"]
    assert any("nothing for plant_claim" in p for p in planted_changes.problems(chapter))
    monkeypatch.setattr(planted_changes, "compare_cells", lambda *_: [])
    found = planted_changes.problems(chapter)
    assert any(
        "(measure): plant_number in text: a planted change is not noticed" in p for p in found
    )
    monkeypatch.setattr(planted_changes, "compare_notebooks", lambda *_: [])
    assert any("cell 3: that it was dropped" in p for p in planted_changes.problems(chapter))
