"""The regression run turns red on what it guards, says so clearly, and stays green otherwise."""

import copy
import json
import re
import time
import xml.etree.ElementTree as ElementTree

import fixture_notebooks as fixtures
import nbformat
import pytest

from kexian_utils.runner.checks.compare import compare_notebooks
from kexian_utils.runner.execution.cache import run_key
from kexian_utils.runner.execution.files import Setting, read_notebook

pytestmark = pytest.mark.in_turn("kexian_utils/runner/checks", "kexian_utils/runner/execution")

CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"


def replace_source(notebook, name, old, new):
    cell = fixtures.cell(notebook, name)
    assert cell.source.count(old) == 1
    cell.source = cell.source.replace(old, new)


def replace_output(notebook, name, old, new):
    output = fixtures.cell(notebook, name).outputs[0]
    assert output.text.count(old) == 1
    output.text = output.text.replace(old, new)


def plant_number(notebook):
    (number,) = re.findall(r"\d+\.\d+", fixtures.cell(notebook, "measure").outputs[0].text)
    replace_output(notebook, "measure", number, f"{float(number) * 1.001:.4f}")


def plant_word(notebook):
    replace_output(notebook, "measure", "largest", "greatest")


def plant_constant(notebook):
    replace_source(notebook, "bound", "0.5", "0.25")


def plant_figure(notebook):
    replace_source(notebook, "picture", "x**2 + 1", "x**2 + 1.001")


def plant_dropped_claim(notebook):
    notebook.cells.remove(fixtures.cell(notebook, "quote"))


def plant_alt(notebook):
    replace_source(notebook, "picture", "A parabola", "A hyperbola")


def plant_crash(notebook):
    fixtures.cell(notebook, "tight").source = CRASH


def plant_nothing(notebook):
    """Leave the chapter as it is."""


# name of the copy: (what is planted, cell that must turn red, words of the message)
PLANTED = {
    "number": (plant_number, "Cell 4", "a number is outside its tolerance"),
    "word": (plant_word, "Cell 4", "the words differ"),
    "constant": (
        plant_constant,
        "Cell 5",
        "raised ClaimMissed: C1 of article 1 is missed",
    ),
    "figure": (plant_figure, "Cell 7", "arrays.y"),
    "dropped": (plant_dropped_claim, "Cell 10", "claims of article 1 left undecided: C3"),
    "alt": (plant_alt, "Cell 7", "the words differ"),
    "crash": (plant_crash, "Cell 6", "the kernel died in cell 6"),
    "clean": (plant_nothing, None, None),
}


@pytest.fixture(scope="module")
def outcome(chapter_root, tmp_path_factory):
    """Run all broken copies in one pytest run: name -> {cell: message}, and the folder."""
    stored = nbformat.read(chapter_root / fixtures.RELATIVE, as_version=4)
    root = tmp_path_factory.mktemp("planted")
    path = fixtures.make_root(root)
    for name, (plant, _, _) in PLANTED.items():
        notebook = copy.deepcopy(stored)
        plant(notebook)
        nbformat.write(notebook, path.with_name(f"{name}.ipynb"))
    report = root / "report.xml"
    started = time.monotonic()
    process = fixtures.run_nbval(root, f"--junitxml={report}")
    assert process.returncode == 1, process.stdout + process.stderr
    failures = {name: {} for name in PLANTED}
    for case in ElementTree.parse(report).iter("testcase"):
        name = case.get("classname").split(".")[-2]
        for problem in case.findall("failure") + case.findall("error"):
            failures[name][case.get("name")] = problem.text
    return failures, root, time.monotonic() - started


@pytest.mark.parametrize("name", [name for name in PLANTED if name != "clean"])
def test_planted_change_turns_red(outcome, name):
    failures, _, _ = outcome
    _, cell, words = PLANTED[name]
    assert cell in failures[name], failures[name]
    assert words in failures[name][cell]


def test_only_the_planted_cells_turn_red(outcome):
    failures, _, _ = outcome
    for name in ("number", "word", "alt"):
        assert list(failures[name]) == [PLANTED[name][1]], failures[name]
    assert failures["clean"] == {}


def test_difference_is_shown_old_beside_new(outcome):
    failures, _, _ = outcome
    (line,) = [row for row in failures["word"]["Cell 4"].splitlines() if row.startswith("* The")]
    old, new = line.split("|")
    assert "greatest" in old
    assert "largest" in new


def test_dead_kernel_is_noticed_at_once_and_the_rest_says_why(outcome):
    failures, _, seconds = outcome
    assert seconds < 90, "a dead kernel must not be waited for"
    assert "not run: the kernel died in cell 6" in failures["crash"]["Cell 7"]


def test_only_complete_runs_leave_an_executed_copy(outcome):
    _, root, _ = outcome
    written = {path.stem for path in root.glob("_build/runs/default-s0-tensorflow/*/*.ipynb")}
    assert written == {"number", "word", "figure", "alt", "clean"}
    assert not list(root.glob("_build/runs/**/.*")), "temporary files are left"
    setting = Setting("default", 0, "tensorflow")
    for path in root.glob("_build/runs/*/*/*.ipynb"):
        stored = read_notebook(root / "notebooks" / "fixtures" / path.name)
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        assert record["key"] == run_key(root, None, stored, setting), (
            "the run is not taken up again"
        )


def test_executed_copy_is_what_papermill_would_have_written(outcome, chapter):
    _, root, _ = outcome
    copied = nbformat.read(
        root / "_build/runs/default-s0-tensorflow/fixtures/clean.ipynb", as_version=4
    )
    nbformat.validate(copied)
    assert compare_notebooks(chapter, copied) == []
    counts = [cell.execution_count for cell in copied.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    headline = fixtures.cell(copied, "headline").outputs[0]
    assert headline == fixtures.cell(chapter, "headline").outputs[0], "the headline is filled in"
    assert "appears here" not in headline.data["text/markdown"]


def test_dropped_cell_is_reported_by_the_comparison(chapter):
    shorter = copy.deepcopy(chapter)
    shorter.cells.remove(fixtures.cell(shorter, "measure"))
    (found,) = compare_notebooks(chapter, shorter)
    assert (found.cell_id, found.what) == ("measure", "the cell was dropped")


def test_time_limit_is_kept_and_named(chapter_root, tmp_path):
    notebook = nbformat.read(chapter_root / fixtures.RELATIVE, as_version=4)
    fixtures.cell(notebook, "measure").source = "import time\ntime.sleep(600)"
    fixtures.make_root(tmp_path, notebook)
    started = time.monotonic()
    process = fixtures.run_nbval(tmp_path, "--nbval-cell-timeout=5", timeout=120)
    assert time.monotonic() - started < 60
    assert "cell 4 exceeded its time limit of 5 s" in process.stdout
    assert "not run: cell 4 exceeded" in process.stdout
    assert not (tmp_path / "_build").exists()


def test_unreadable_notebook_is_named(tmp_path):
    path = fixtures.make_root(tmp_path)
    path.write_text('{"cells": [', encoding="utf-8")
    process = fixtures.run_nbval(tmp_path)
    assert process.returncode != 0
    assert "small-chapter.ipynb is no readable notebook" in process.stdout
    assert "Traceback" not in process.stdout


def test_unwritable_folder_is_named_and_keeps_the_earlier_copy(chapter_root, tmp_path):
    notebook = nbformat.read(chapter_root / fixtures.RELATIVE, as_version=4)
    fixtures.make_root(tmp_path, notebook)
    (tmp_path / "blocked").write_text("a file where a folder should be", encoding="utf-8")
    process = fixtures.run_nbval(tmp_path, "--kexian-runs", "blocked")
    assert process.returncode == 1
    assert "no executed copy:" in process.stdout
    assert "Earlier results are untouched." in process.stdout
    assert "Traceback" not in process.stdout
