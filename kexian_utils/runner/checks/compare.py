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
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from nbformat import NotebookNode

from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME

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
class Tolerance:
    """How far a number may move.

    Attributes:
        rtol: relative tolerance.
        atol: absolute tolerance of numbers in text and JSON.
        last_place: whether a decimal number in text may also move by one unit in its last place.
    """

    rtol: float = 1e-4
    atol: float = 1e-9
    last_place: bool = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value!r}")

    def close(self, old: float, new: float, extra: float = 0.0) -> bool:
        """Say whether ``new`` is ``old`` up to the tolerance; nan equals nan, inf its own sign."""
        if math.isnan(old) or math.isnan(new):
            return math.isnan(old) and math.isnan(new)
        if math.isinf(old) or math.isinf(new):
            return old == new
        allowed = max(self.rtol * max(abs(old), abs(new)), self.atol, extra)
        return abs(old - new) <= allowed * (1 + 1e-9)


DEFAULT_TOLERANCE = Tolerance()


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


# ------------------------------------------------------------------------------------------- text

# A number that is not glued to a letter, an underscore or another number. The groups are atomic,
# so that a version such as 2.18.0 is no number at all rather than 2.1.
_NUMBER = re.compile(
    r"""
    (?<![A-Za-z0-9_.\u0370-\u03ff])            # C3, float32, 2.18.0 and λ1 hold no number
    (?P<sign>[+\-\u2212]?)
    (?>
        (?P<whole>(?>\d{1,3}(?:,\d{3})+(?!\d)|\d+))
        (?P<fraction>\.\d+)?
      | (?P<bare>\.\d+)
    )
    (?P<exponent>(?>[eE][+\-\u2212]?\d+)?)
    (?!\.?\d)
    """,
    re.VERBOSE | re.ASCII,
)
_SLIDER_JSON = re.compile(
    r"(<script\b[^>]*\btype\s*=\s*[\"']application/json[\"'][^>]*>)(.*?)(</script>)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class _Number:
    text: str
    value: float
    unit: float
    whole: bool


def _parse_number(match: re.Match[str]) -> _Number:
    fraction = match["fraction"] or match["bare"] or ""
    exponent = match["exponent"].replace("\u2212", "-")
    sign = match["sign"].replace("\u2212", "-")
    digits = (match["whole"] or "0").replace(",", "") + fraction
    power = int(exponent[1:]) if exponent else 0
    unit = 10.0 ** max(-320, min(300, power - max(0, len(fraction) - 1)))
    return _Number(
        text=match.group(),
        value=float(f"{sign}{digits}{exponent}"),
        unit=unit,
        whole=not fraction and not exponent,
    )


def _tokens(text: str) -> list[str | _Number]:
    """Cut a text into words (lines with white space collapsed) and numbers."""
    lines = [" ".join(line.split()) for line in text.strip("\n").split("\n")]
    joined = re.sub(r"([\[(]) ", r"\1", "\n".join(lines))  # NumPy pads after the bracket
    tokens: list[str | _Number] = []
    position = 0
    for match in _NUMBER.finditer(joined):
        tokens.append(joined[position : match.start()])
        tokens.append(_parse_number(match))
        position = match.end()
    tokens.append(joined[position:])
    return tokens


def _numbers_close(old: _Number, new: _Number, tolerance: Tolerance) -> bool:
    extra = 0.0
    if tolerance.last_place and not (old.whole and new.whole):
        extra = min(old.unit, new.unit)
    return tolerance.close(old.value, new.value, extra)


def text_difference(old: str, new: str, tolerance: Tolerance = DEFAULT_TOLERANCE) -> str | None:
    """Compare two texts: words exactly, numbers within ``tolerance``.

    Args:
        old: the stored text.
        new: the fresh text.
        tolerance: how far a number may move.

    Returns:
        What differs, in a few words, or None where the texts agree. White space counts only as
        line ends: a column of numbers may be padded differently.
    """
    if old == new:
        return None
    old_tokens, new_tokens = _tokens(old), _tokens(new)
    moved = []
    if len(old_tokens) != len(new_tokens):
        return "the words differ"
    for first, second in zip(old_tokens, new_tokens, strict=True):
        if isinstance(first, _Number) and isinstance(second, _Number):
            if not _numbers_close(first, second, tolerance):
                moved.append(f"{first.text} became {second.text}")
        elif first != second:
            return "the words differ"
    if moved:
        more = f" and {len(moved) - 3} more" if len(moved) > 3 else ""
        return "a number is outside its tolerance: " + ", ".join(moved[:3]) + more
    return None


def _html_difference(old: str, new: str, tolerance: Tolerance) -> str | None:
    """Compare HTML as text, and JSON embedded in it as JSON."""
    old_data = [match[1] for match in _SLIDER_JSON.findall(old)]
    new_data = [match[1] for match in _SLIDER_JSON.findall(new)]
    if len(old_data) != len(new_data):
        return f"{len(old_data)} embedded data sets became {len(new_data)}"
    for first, second in zip(old_data, new_data, strict=True):
        try:
            parsed = json.loads(first), json.loads(second)
        except json.JSONDecodeError:
            problem = text_difference(first, second, tolerance)
        else:
            found = json_difference(*parsed, tolerance)
            problem = found and found.what
        if problem:
            return f"embedded data: {problem}"
    return text_difference(
        _SLIDER_JSON.sub(r"\1\3", old), _SLIDER_JSON.sub(r"\1\3", new), tolerance
    )


# ------------------------------------------------------------------------------------------- JSON


@dataclass(frozen=True)
class JsonDifference:
    """Where two JSON values differ: the path as words, and both sides."""

    what: str
    old: Any
    new: Any


def json_difference(
    old: Any,
    new: Any,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    path: str = "",
    scale: float = 0.0,
) -> JsonDifference | None:
    """Return the first difference of two JSON values, floats within ``tolerance``.

    Args:
        old: the stored value, of the types that ``json.loads`` gives.
        new: the fresh value.
        tolerance: how far a float may move. Two whole numbers must agree within ``rtol`` only if
            it was widened beyond the default; otherwise exactly.
        path: where the values stand, for the message.
        scale: size of the array that the values belong to; adds ``0.1 * rtol * scale`` to the
            absolute tolerance.
    """
    here = path or "the value"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if set(old) != set(new):
            gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
            return JsonDifference(f"{here}: fields differ", gone or "-", come or "-")
        if _is_array_digest(old) and _is_array_digest(new):
            return _array_difference(old, new, tolerance, here)
        for key in old:
            found = json_difference(
                old[key], new[key], tolerance, f"{path}.{key}" if path else str(key), scale
            )
            if found:
                return found
        return None
    if _is_list(old) and _is_list(new):
        if len(old) != len(new):
            return JsonDifference(f"{here}: length differs", len(old), len(new))
        for k, (first, second) in enumerate(zip(old, new, strict=True)):
            found = json_difference(first, second, tolerance, f"{path}[{k}]", scale)
            if found:
                return found
        return None
    if _is_number(old) and _is_number(new):
        exact = isinstance(old, int) and isinstance(new, int) and tolerance.rtol <= 1e-4
        same = old == new if exact else tolerance.close(old, new, 0.1 * tolerance.rtol * scale)
        return None if same else JsonDifference(f"{here} is outside its tolerance", old, new)
    if isinstance(old, str) and isinstance(new, str):
        problem = text_difference(old, new, tolerance)
        return JsonDifference(f"{here}: {problem}", old, new) if problem else None
    if type(old) is type(new) and old == new:
        return None
    return JsonDifference(f"{here} differs", old, new)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_array_digest(value: Mapping) -> bool:
    return {"n", "min", "max", "mean", "std", "samples"} <= set(value)


def _array_difference(
    old: Mapping, new: Mapping, tolerance: Tolerance, path: str
) -> JsonDifference | None:
    """Compare two digests of an array, on the scale of the array."""
    sizes = [
        abs(value)
        for side in (old, new)
        for key in ("min", "max")
        if _is_number(value := side[key]) and math.isfinite(value)
    ]
    scale = max(sizes, default=0.0)
    spread = max(_rms(old), _rms(new))
    for key in old:
        if key in ("mean", "std"):
            size = 10 * spread
        elif key == "projection":
            size = 30 * spread  # signed sums, divided by sqrt(n): errors of the values average out
        else:
            size = scale
        found = json_difference(old[key], new[key], tolerance, f"{path}.{key}", size)
        if found:
            return found
    return None


def _rms(digest: Mapping) -> float:
    mean, std = digest["mean"], digest["std"]
    if not (_is_number(mean) and _is_number(std)):
        return 0.0
    size = math.hypot(mean, std)
    return size if math.isfinite(size) else 0.0


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


def cell_tolerance(cell: Mapping) -> Tolerance:
    """Return the tolerance of a cell: its own where it is tagged, the default elsewhere.

    Raises:
        ValueError: if the tagged cell's ``rtol`` or ``atol`` is negative or not finite.
        TypeError: if one of them is no number.
    """
    metadata = cell.get("metadata", {})
    if TOLERANCE_TAG not in metadata.get("tags", []):
        return DEFAULT_TOLERANCE
    own = metadata.get("kexian", {})
    return Tolerance(
        rtol=own.get("rtol", DEFAULT_TOLERANCE.rtol), atol=own.get("atol", DEFAULT_TOLERANCE.atol)
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
    for first, second in zip(old_rest, new_rest, strict=True):
        found.extend(_output_difference(first, second, tolerance))
    return found


def _streams(outputs: Sequence[Mapping]) -> dict[str, str]:
    streams: dict[str, str] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            name = output.get("name", "stdout")
            streams[name] = streams.get(name, "") + _text(output.get("text", ""))
    # What a carriage return overwrote (a progress bar) was never meant to stay.
    return {name: re.sub(r"[^\n]*\r(?=[^\n])", "", text) for name, text in streams.items()}


def _text(value: Any) -> str:
    return "".join(value) if _is_list(value) else str(value)


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
            compare = _html_difference if mime == "text/html" else text_difference
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
    stored: Mapping, fresh_outputs: Sequence[Mapping], index: int = 0
) -> list[CellDifference]:
    """Compare the stored outputs of one code cell with fresh ones.

    Args:
        stored: the stored cell, whose tags and metadata give the tolerance.
        fresh_outputs: outputs of the fresh run.
        index: index of the cell, for the report.
    """
    if is_exempt(stored):
        return []
    found = output_differences(stored.get("outputs", []), fresh_outputs, cell_tolerance(stored))
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
    differences: list[CellDifference] = []
    matcher = SequenceMatcher(None, old_keys, new_keys, autojunk=False)
    for operation, a, b, c, d in matcher.get_opcodes():
        if operation == "equal":
            for (index, old), (_, new) in zip(old_cells[a:b], new_cells[c:d], strict=True):
                differences.extend(_matched(index, old, new))
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


def _matched(index: int, old: Mapping, new: Mapping) -> list[CellDifference]:
    found = []
    if _source(old) != _source(new):
        found.append(
            CellDifference(
                index, old.get("id", ""), "the source differs", _source(old), _source(new)
            )
        )
    if old["cell_type"] == "code":
        found.extend(compare_cells(old, new.get("outputs", []), index))
    return found
