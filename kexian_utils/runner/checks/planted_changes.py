"""The audit of tolerances: is every stored number, word, array, claim and cell guarded?

The stored outputs of a notebook are changed one at a time, by three tolerances, and compared with
themselves. What the comparison does not notice is a tolerance under which a wrong formula passes.
Nothing is executed.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from nbformat import NotebookNode

from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME
from kexian_utils.runner.checks.compare import (
    Tolerance,
    cell_tolerance,
    compare_cells,
    compare_notebooks,
    is_exempt,
)

DECIMAL = re.compile(r"(?<![\w.])\d+\.(\d+)(?![\w.]*\d)")


def _texts(output: NotebookNode) -> list[tuple[Any, str]]:
    """Pairs (holder, key) of the texts of an output that are compared."""
    if output.output_type == "stream":
        return [(output, "text")]
    data = output.get("data", {})
    if HEADLINE_MIME in data:
        return []
    keys = [key for key in data if key in ("text/plain", "text/markdown", "text/latex")]
    return [(data, key) for key in keys if not (RUN_MIME in data and key != "text/plain")]


def _move(value: float, tolerance: Tolerance, unit: float = 0.0, scale: float = 0.0) -> float:
    """A value three tolerances away, up for the larger ones of JSON and text."""
    step = max(tolerance.rtol * abs(value), tolerance.atol, unit, 0.1 * tolerance.rtol * scale)
    return value + 3 * step


def plant_number(holder: Any, key: str, tolerance: Tolerance) -> bool:
    """Move the first decimal number of a text."""
    text = holder[key]
    match = DECIMAL.search(text)
    if match is None:
        return False
    value = float(match.group())
    new = _move(value, tolerance, 10.0 ** -len(match[1]))
    holder[key] = text[: match.start()] + f"{new:.{len(match[1])}f}" + text[match.end() :]
    return True


def plant_word(holder: Any, key: str, tolerance: Tolerance) -> bool:
    """Put another word in the place of the first one of a text."""
    text, count = re.subn(r"[A-Za-z]{3,}", "Quidquid", holder[key], count=1)
    holder[key] = text
    return count > 0


def plant_array(record: Any, tolerance: Tolerance) -> bool:
    """Stretch the first array that is not constant, as another formula would."""
    for axes in record["axes"]:
        for artist in axes["artists"]:
            for digest in artist["arrays"].values():
                if digest.get("std"):
                    scale = max(abs(digest["min"]), abs(digest["max"]))
                    new = [v and _move(v, tolerance, scale=scale) for v in digest["samples"]]
                    digest["samples"] = new
                    return True
    return False


def plant_claim(record: Any, tolerance: Tolerance) -> bool:
    """Move the first measured value of a claim."""
    for part in record["measured"]:
        if isinstance(part["value"], float):
            part["value"] = _move(part["value"], tolerance)
            return True
    return False


def plant_criterion(record: Any, tolerance: Tolerance) -> bool:
    """Change the text of a claim's criterion."""
    for part in record["measured"]:
        part["criterion"] += "0"
        return True
    return False


def plant_verdict(record: Any, tolerance: Tolerance) -> bool:
    """Turn the verdict of a claim round."""
    record["verdict"] = "refuted" if record["verdict"] == "holds" else "holds"
    return True


def plants(cell: NotebookNode) -> Iterator[tuple[str, Callable[[NotebookNode], bool]]]:
    """(name, function that changes a copy of the cell and says whether it found what to change)."""
    tolerance = cell_tolerance(cell)
    for number, output in enumerate(cell.outputs):
        for which, (_, key) in enumerate(_texts(output)):
            for plant in (plant_number, plant_word):

                def change(broken, number=number, which=which, plant=plant):
                    holder, key = _texts(broken.outputs[number])[which]
                    return plant(holder, key, tolerance)

                yield f"{plant.__name__} in {key}", change
        data = output.get("data", {})
        by_mime: dict[str, tuple[Callable[..., bool], ...]] = {FIGURE_MIME: (plant_array,)}
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


def unnoticed(notebook: NotebookNode) -> tuple[list[str], dict[str, int]]:
    """Changes that the comparison does not notice, and how many of each kind it noticed."""
    missed: list[str] = []
    seen: dict[str, int] = {}
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


KINDS = (
    *("plant_array", "plant_claim", "plant_criterion", "plant_verdict"),
    *("plant_number", "plant_word"),
)


def problems(notebook: NotebookNode) -> list[str]:
    """What the comparison of a chapter with a fresh run would not notice, a sentence each."""
    missed, seen = unnoticed(notebook)
    found = [
        f"{place}: a planted change is not noticed; make the tolerance narrower, or take the "
        "number out of the output."
        for place in missed
    ]
    found += [
        f"the chapter holds nothing for {kind}; the audit has nothing to change."
        for kind in KINDS
        if not any(name.startswith(kind) for name in seen)
    ]
    for index in range(len(notebook.cells)):
        shorter = NotebookNode({**notebook, "cells": list(notebook.cells)})
        del shorter.cells[index]
        differences = compare_notebooks(notebook, shorter)
        if [(d.cell, d.what) for d in differences] != [(index, "the cell was dropped")]:
            found.append(f"cell {index}: that it was dropped is not noticed; give it an id.")
    return found
