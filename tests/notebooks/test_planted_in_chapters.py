"""In every committed chapter, every stored number, word, array, claim and cell is guarded.

The stored outputs are changed one at a time and compared with themselves: nothing is executed.
"""

import copy
import re

import nbformat
import pytest
from project_notebooks import ARTICLES, ROOT

from kexian_utils.runner.checks.compare import (
    CLAIM_MIME,
    FIGURE_MIME,
    HEADLINE_MIME,
    RUN_MIME,
    cell_tolerance,
    compare_cells,
    compare_notebooks,
    is_exempt,
)
from kexian_utils.runner.execution.execute import read_notebook

DECIMAL = re.compile(r"(?<![\w.])\d+\.(\d+)(?![\w.]*\d)")


def texts(output):
    """Pairs (holder, key) of the texts of an output that are compared."""
    if output.output_type == "stream":
        return [(output, "text")]
    data = output.get("data", {})
    if HEADLINE_MIME in data:
        return []
    keys = [key for key in data if key in ("text/plain", "text/markdown", "text/latex")]
    return [(data, key) for key in keys if not (RUN_MIME in data and key != "text/plain")]


def move(value, tolerance, unit=0.0, scale=0.0):
    """A value three tolerances away, up for the larger ones of JSON and text."""
    step = max(tolerance.rtol * abs(value), tolerance.atol, unit, 0.1 * tolerance.rtol * scale)
    return value + 3 * step


def plant_number(holder, key, tolerance):
    text = holder[key]
    match = DECIMAL.search(text)
    if match is None:
        return False
    value = float(match.group())
    new = move(value, tolerance, 10.0 ** -len(match[1]))
    holder[key] = text[: match.start()] + f"{new:.{len(match[1])}f}" + text[match.end() :]
    return True


def plant_word(holder, key, tolerance):
    text, count = re.subn(r"[A-Za-z]{3,}", "Quidquid", holder[key], count=1)
    holder[key] = text
    return count > 0


def plant_array(record, tolerance):
    """Stretch the first array that is not constant, as another formula would."""
    for axes in record["axes"]:
        for artist in axes["artists"]:
            for digest in artist["arrays"].values():
                if digest.get("std"):
                    scale = max(abs(digest["min"]), abs(digest["max"]))
                    new = [v and move(v, tolerance, scale=scale) for v in digest["samples"]]
                    digest["samples"] = new
                    return True
    return False


def plant_claim(record, tolerance):
    for part in record["measured"]:
        if isinstance(part["value"], float):
            part["value"] = move(part["value"], tolerance)
            return True
    return False


def plant_criterion(record, tolerance):
    for part in record["measured"]:
        part["criterion"] += "0"
        return True
    return False


def plant_verdict(record, tolerance):
    record["verdict"] = "refuted" if record["verdict"] == "holds" else "holds"
    return True


def plants(cell):
    """(name, function that changes a copy of the cell and says whether it found what to change)."""
    tolerance = cell_tolerance(cell)
    for number, output in enumerate(cell.outputs):
        for which, (_, key) in enumerate(texts(output)):
            for plant in (plant_number, plant_word):

                def change(broken, number=number, which=which, plant=plant):
                    holder, key = texts(broken.outputs[number])[which]
                    return plant(holder, key, tolerance)

                yield f"{plant.__name__} in {key}", change
        data = output.get("data", {})
        by_mime = {FIGURE_MIME: (plant_array,)}
        by_mime[CLAIM_MIME] = (plant_claim, plant_criterion, plant_verdict)
        for mime, functions in by_mime.items():
            for plant in functions if mime in data else ():

                def change(broken, number=number, mime=mime, plant=plant):
                    return plant(broken.outputs[number].data[mime], tolerance)

                yield plant.__name__, change

        def drop(broken, number=number):
            del broken.outputs[number]
            return True

        yield "dropped output", drop


def unnoticed(notebook):
    """Changes that the comparison does not see, and how many of each kind it saw."""
    missed, seen = [], {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or is_exempt(cell):
            continue
        for name, change in plants(cell):
            broken = copy.deepcopy(cell)
            if not change(broken):
                continue
            if compare_cells(broken, cell.outputs, index):
                seen[name] = seen.get(name, 0) + 1
            else:
                missed.append(f"cell {index} ({cell.get('id')}): {name}")
    return missed, seen


@pytest.mark.parametrize("article", ARTICLES)
def test_every_planted_change_is_noticed(article):
    missed, seen = unnoticed(read_notebook(ROOT / article.path))
    assert not missed, "\n".join(missed)
    for name in ("plant_array", "plant_claim", "plant_criterion", "plant_verdict"):
        assert seen.get(name), f"the chapter holds nothing for {name}"
    assert any(name.startswith("plant_number") for name in seen)
    assert any(name.startswith("plant_word") for name in seen)


@pytest.mark.parametrize("article", ARTICLES)
def test_every_dropped_cell_is_noticed(article):
    notebook = read_notebook(ROOT / article.path)
    assert compare_notebooks(notebook, notebook) == []
    for index in range(len(notebook.cells)):
        shorter = nbformat.from_dict({**notebook, "cells": list(notebook.cells)})
        del shorter.cells[index]
        found = compare_notebooks(notebook, shorter)
        assert [(f.cell, f.what) for f in found] == [(index, "the cell was dropped")]


def test_small_chapter_is_guarded(chapter):
    missed, seen = unnoticed(chapter)
    assert not missed
    assert seen["plant_array"] == 1
