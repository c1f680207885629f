"""Compare the stored outputs of a notebook with those of a fresh run, cell by cell.

Words are compared exactly, numbers within a tolerance, claims by verdict, criterion and value, and
figures by a digest of the arrays that were drawn. Nothing here runs a notebook.

The rules, in short:

- In text (streams, plain text, Markdown, HTML, LaTeX), a decimal number may move by
  ``max(rtol * |value|, atol, one unit in its last printed place)``; where the two sides print
  different numbers of decimals the finer unit counts. A whole number may move by
  ``max(rtol * |value|, atol)`` only: "3 of 3 seeds" is not "2 of 3 seeds".
- Digits glued to a letter (``C3``, ``float32``) and versions (``3.15.0``) are words.
- In JSON, floats may move by ``max(rtol * |value|, atol)``; anything else is exact. In the digest
  of a figure the absolute tolerance grows with the size of the array it belongs to.
- A cell tagged ``kexian-tolerance`` brings its own ``rtol`` and ``atol``; a cell tagged
  ``nbval-ignore-output`` is not compared.
- Another class of processor (other vector instructions) moves the last digits of a sum, and a long
  training makes of them what it likes. Where the stored run is of another class than the fresh one,
  the numbers of a cell with a tolerance of its own, and those that `exp.finish` repeats, may be
  any; words, verdicts and criteria count, and all other cells count as ever.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from nbformat import NotebookNode

from kexian_utils.experiment.records import outputs
from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME
from kexian_utils.runner.checks.values import (
    DEFAULT_TOLERANCE,
    Tolerance,
    html_difference,
    is_list,
    json_difference,
    text_difference,
)
from kexian_utils.runner.execution.cells import without_overwritten

TOLERANCE_TAG = "kexian-tolerance"
EXEMPT_TAGS = frozenset({"nbval-ignore-output", "nbval-skip"})
INJECTED_TAGS = frozenset({"injected-parameters", "kexian-injected"})

RUN_FIELDS = ("schema", "article", "phase", "profile", "seed", "backend")
CLAIM_FIELDS = (
    "schema",
    "article",
    "claim",
    "sentence",
    "kind",
    "verdict",
    "equation",
    "note",
    "needs",
    "profile",
    "seed",
    "backend",
)


@dataclass(frozen=True)
class CellDifference:
    """One difference between a stored and a fresh notebook.

    Attributes:
        cell: index of the cell among all cells of the stored notebook (of the fresh one for an
            added cell), from 0.
        cell_id: the cell's id, empty where the notebook has none.
        what: what differs, in words.
        old: the stored side, as text.
        new: the fresh side, as text.
    """

    cell: int
    cell_id: str
    what: str
    old: str
    new: str

    def __str__(self) -> str:
        return self.render()

    def render(self, width: int = 100) -> str:
        """Return the difference as text, old beside new where both are short."""
        where = f"cell {self.cell}" + (f" ({self.cell_id})" if self.cell_id else "")
        return f"{where}: {self.what}\n{beside(self.old, self.new, width)}"


def render_differences(differences: Iterable[CellDifference], width: int = 100) -> str:
    """Return all differences as one text, a blank line between them."""
    return "\n\n".join(difference.render(width) for difference in differences)


def beside(old: str, new: str, width: int = 100) -> str:
    """Set two texts side by side, the lines that differ marked, at most ``width`` characters."""
    old_lines, new_lines = old.splitlines() or [""], new.splitlines() or [""]
    if max(map(len, (*old_lines, *new_lines))) <= 12 and len(old_lines) == len(new_lines) == 1:
        return f"  stored {old_lines[0]}   fresh {new_lines[0]}"
    column = max(20, (width - 5) // 2)

    def wrap(lines: Sequence[str]) -> list[str]:
        return [part for line in lines for part in (textwrap.wrap(line, column) or [""])]

    rows = [f"  {'stored':<{column}} | fresh"]
    matcher = SequenceMatcher(None, old_lines, new_lines, autojunk=False)
    for operation, a, b, c, d in matcher.get_opcodes():
        left, right = wrap(old_lines[a:b]), wrap(new_lines[c:d])
        if operation == "equal" and len(left) > 4:
            gap = [f"({len(left) - 2} equal lines)"]
            left, right = [left[0], *gap, left[-1]], [right[0], *gap, right[-1]]
        mark = " " if operation == "equal" else "*"
        for k in range(max(len(left), len(right))):
            first = left[k] if k < len(left) else ""
            second = right[k] if k < len(right) else ""
            rows.append(f"{mark} {first:<{column}} | {second}".rstrip())
    return "\n".join(rows)


def _claim_difference(
    old: Mapping, new: Mapping, tolerance: Tolerance
) -> list[tuple[str, str, str]]:
    """Compare two claim records: words, verdict and criterion exactly, values with tolerance."""
    name = f"claim {old.get('claim', '?')}"
    found = []
    for key in CLAIM_FIELDS:
        if old.get(key) != new.get(key):
            found.append((f"{name}: {key} differs", _show(old.get(key)), _show(new.get(key))))
    old_measured = {entry.get("name"): entry for entry in old.get("measured") or []}
    new_measured = {entry.get("name"): entry for entry in new.get("measured") or []}
    if list(old_measured) != list(new_measured):
        found.append(
            (f"{name}: what is measured differs", _show([*old_measured]), _show([*new_measured]))
        )
    for key in old_measured.keys() & new_measured.keys():
        first, second = old_measured[key], new_measured[key]
        label = f"{name}, {key}" if key else name
        if first.get("criterion") != second.get("criterion"):
            found.append(
                (
                    f"{label}: criterion differs",
                    _show(first["criterion"]),
                    _show(second["criterion"]),
                )
            )
        difference = json_difference(first.get("value"), second.get("value"), tolerance, "value")
        if difference:
            found.append((f"{label}: {difference.what}", _show(first), _show(second)))
        elif problem := text_difference(
            str(first.get("text") or ""), str(second.get("text") or ""), tolerance
        ):
            found.append((f"{label}: {problem}", _show(first), _show(second)))
    difference = json_difference(old.get("study"), new.get("study"), DEFAULT_TOLERANCE, "study")
    if difference:
        found.append((f"{name}: {difference.what}", _show(difference.old), _show(difference.new)))
    return found


def _run_difference(old: Mapping, new: Mapping) -> list[tuple[str, str, str]]:
    """Compare two run records by the fields that a re-run must reproduce."""
    return [
        (f"run record: {key} differs", _show(old.get(key)), _show(new.get(key)))
        for key in RUN_FIELDS
        if old.get(key) != new.get(key)
    ]


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


# ---------------------------------------------------------------------------------------- outputs


def of_another_processor(stored: Mapping, here: str) -> bool:
    """Whether a stored run is of another class of processor than `here`.

    Args:
        stored: the notebook; one without a record of its run is taken to be from here.
        here: the class, as the record of a run names it.
    """
    classes = [record.get("processor", here) for _, record in outputs(dict(stored), RUN_MIME)]
    return any(other != here for other in classes)


def cell_tolerance(cell: Mapping, elsewhere: bool = False) -> Tolerance:
    """Return the tolerance of a cell: its own where it is tagged, the default elsewhere.

    Args:
        cell: the stored cell.
        elsewhere: whether it was run on another class of processor.

    Raises:
        ValueError: if the tagged cell's ``rtol`` or ``atol`` is negative or not finite.
        TypeError: if one of them is no number.
    """
    metadata = cell.get("metadata", {})
    if elsewhere and "exp.finish()" in _source(cell):  # repeats what the cells above it show
        return Tolerance(any_number=True)
    if TOLERANCE_TAG not in metadata.get("tags", []):
        return DEFAULT_TOLERANCE
    own = metadata.get("kexian", {})
    return Tolerance(
        rtol=own.get("rtol", DEFAULT_TOLERANCE.rtol),
        atol=own.get("atol", DEFAULT_TOLERANCE.atol),
        any_number=elsewhere,
    )


def is_exempt(cell: Mapping) -> bool:
    """Say whether a cell's outputs are not compared."""
    return bool(EXEMPT_TAGS & set(cell.get("metadata", {}).get("tags", [])))


def output_differences(
    old: Sequence[Mapping], new: Sequence[Mapping], tolerance: Tolerance = DEFAULT_TOLERANCE
) -> list[tuple[str, str, str]]:
    """Compare the outputs of one cell.

    Args:
        old: stored outputs, as in a notebook of format 4.
        new: fresh outputs.
        tolerance: how far numbers may move.

    Returns:
        A list of (what differs, old, new), empty where the outputs agree. Text of one stream is
        compared as a whole; the order of streams among the other outputs does not count.
    """
    found: list[tuple[str, str, str]] = []
    old_streams, new_streams = _streams(old), _streams(new)
    for name in sorted(old_streams.keys() | new_streams.keys()):
        first, second = old_streams.get(name), new_streams.get(name)
        if first is None:
            found.append((f"new output on {name}", "", second or ""))
        elif second is None:
            found.append((f"missing output on {name}", first, ""))
        elif problem := text_difference(first, second, tolerance):
            found.append((f"{name}: {problem}", first, second))

    old_rest = [output for output in old if output["output_type"] != "stream"]
    new_rest = [output for output in new if output["output_type"] != "stream"]
    if len(old_rest) != len(new_rest):
        found.append(
            (
                f"{len(old_rest)} outputs became {len(new_rest)}",
                "\n".join(map(summary, old_rest)),
                "\n".join(map(summary, new_rest)),
            )
        )
        return found
    for before, after in zip(old_rest, new_rest, strict=True):
        found.extend(_output_difference(before, after, tolerance))
    return found


def _streams(outputs: Sequence[Mapping]) -> dict[str, str]:
    streams: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            name = output.get("name", "stdout")
            streams[name] = streams.get(name, "") + _text(output.get("text", ""))
    # What a carriage return overwrote (a progress bar) was never meant to stay.
    return {name: without_overwritten(text) for name, text in streams.items()}


def _text(value: Any) -> str:
    return "".join(value) if is_list(value) else str(value)


def _output_difference(
    old: Mapping, new: Mapping, tolerance: Tolerance
) -> list[tuple[str, str, str]]:
    if old["output_type"] != new["output_type"]:
        return [("the kind of output differs", summary(old), summary(new))]
    if old["output_type"] == "error":
        problems = [
            (f"exception: {problem}", str(old.get(key)), str(new.get(key)))
            for key in ("ename", "evalue")
            if (problem := text_difference(str(old.get(key)), str(new.get(key)), tolerance))
        ]
        return problems
    old_data, new_data = old.get("data", {}), new.get("data", {})
    if HEADLINE_MIME in old_data and HEADLINE_MIME in new_data:
        return []  # filled in at the end of the run; experiment.finish repeats the sentence
    if set(old_data) != set(new_data):
        return [
            (
                "the types of an output differ",
                "\n".join(sorted(old_data)),
                "\n".join(sorted(new_data)),
            )
        ]
    is_run = RUN_MIME in old_data
    found: list[tuple[str, str, str]] = []
    for mime in old_data:
        first, second = old_data[mime], new_data[mime]
        if mime == CLAIM_MIME:
            found.extend(_claim_difference(first, second, tolerance))
        elif mime == RUN_MIME:
            found.extend(_run_difference(first, second))
        elif mime.endswith("json"):
            difference = json_difference(first, second, tolerance)
            if difference:
                label = "figure: " if mime == FIGURE_MIME else f"{mime}: "
                found.append(
                    (label + difference.what, _show(difference.old), _show(difference.new))
                )
        elif mime.startswith("image/") or (mime == "text/html" and FIGURE_MIME in old_data):
            # A picture, or an interactive figure's page with a picture in it: the digest beside
            # it says what was drawn; the page itself changes with every release of Matplotlib.
            first = _alt(old, mime)
            second = _alt(new, mime)
            if problem := text_difference(first, second, tolerance):
                found.append((f"alternative text: {problem}", first, second))
        elif is_run and mime != "text/plain":
            continue  # shows times and versions
        else:
            compare = html_difference if mime == "text/html" else text_difference
            first, second = _text(first), _text(second)
            if problem := compare(first, second, tolerance):
                found.append((f"{mime}: {problem}", first, second))
    return found


def _alt(output: Mapping, mime: str) -> str:
    entry = output.get("metadata", {}).get(mime, {})
    return str(entry.get("alt", "")) if isinstance(entry, Mapping) else ""


def summary(output: Mapping, width: int = 76) -> str:
    """Return one line that tells an output from its neighbours."""
    if output["output_type"] == "stream":
        text = f"{output.get('name', 'stdout')}: {_text(output.get('text', ''))}"
    elif output["output_type"] == "error":
        text = f"exception {output.get('ename')}: {output.get('evalue')}"
    else:
        data = output.get("data", {})
        plain = data.get("text/plain") or data.get("text/markdown") or "/".join(sorted(data))
        text = f"{output['output_type']}: {_text(plain)}"
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


# --------------------------------------------------------------------------------------- notebooks


def compare_cells(
    stored: Mapping, fresh_outputs: Sequence[Mapping], index: int = 0, elsewhere: bool = False
) -> list[CellDifference]:
    """Compare the stored outputs of one code cell with fresh ones.

    Args:
        stored: the stored cell, whose tags and metadata give the tolerance.
        fresh_outputs: outputs of the fresh run.
        index: index of the cell, for the report.
        elsewhere: whether the stored run is of another class of processor.
    """
    if is_exempt(stored):
        return []
    tolerance = cell_tolerance(stored, elsewhere)
    found = output_differences(stored.get("outputs", []), fresh_outputs, tolerance)
    return [CellDifference(index, stored.get("id", ""), *entry) for entry in found]


def compare_notebooks(stored: NotebookNode, fresh: NotebookNode) -> list[CellDifference]:
    """Compare a stored notebook with an executed copy of it.

    Args:
        stored: the committed notebook, format 4.
        fresh: the executed copy. Cells that were injected into it (parameters) are left out.

    Returns:
        The differences in the order of the cells: outputs, changed sources, dropped and added
        cells. An empty list means that the run reproduced what is stored.
    """
    old_cells = _kept_cells(stored)
    new_cells = _kept_cells(fresh)
    old_keys = [_key(cell) for _, cell in old_cells]
    new_keys = [_key(cell) for _, cell in new_cells]
    elsewhere = any(
        of_another_processor(stored, record.get("processor", ""))
        for _, record in outputs(dict(fresh), RUN_MIME)
        if record.get("processor")
    )
    differences: list[CellDifference] = []
    matcher = SequenceMatcher(None, old_keys, new_keys, autojunk=False)
    for operation, a, b, c, d in matcher.get_opcodes():
        if operation == "equal":
            for (index, old), (_, new) in zip(old_cells[a:b], new_cells[c:d], strict=True):
                differences.extend(_matched(index, old, new, elsewhere))
            continue
        for index, cell in old_cells[a:b]:
            differences.append(
                CellDifference(index, cell.get("id", ""), "the cell was dropped", _source(cell), "")
            )
        for index, cell in new_cells[c:d]:
            differences.append(
                CellDifference(index, cell.get("id", ""), "the cell was added", "", _source(cell))
            )
    return differences


def _kept_cells(notebook: Mapping) -> list[tuple[int, Mapping]]:
    return [
        (index, cell)
        for index, cell in enumerate(notebook["cells"])
        if not INJECTED_TAGS & set(cell.get("metadata", {}).get("tags", []))
    ]


def _key(cell: Mapping) -> tuple[str, str]:
    return cell["cell_type"], cell.get("id") or _source(cell)


def _source(cell: Mapping) -> str:
    return _text(cell.get("source", ""))


def _matched(
    index: int, old: Mapping, new: Mapping, elsewhere: bool = False
) -> list[CellDifference]:
    found = []
    if _source(old) != _source(new):
        found.append(
            CellDifference(
                index, old.get("id", ""), "the source differs", _source(old), _source(new)
            )
        )
    if old["cell_type"] == "code":
        found.extend(compare_cells(old, new.get("outputs", []), index, elsewhere))
    return found
