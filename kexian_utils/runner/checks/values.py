"""Two texts, two pieces of HTML or two JSON values: are they the same within a tolerance?

The rules stand in :mod:`.compare`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Tolerance:
    """How far a number may move.

    Attributes:
        rtol: relative tolerance.
        atol: absolute tolerance of numbers in text and JSON.
        last_place: whether a decimal number in text may also move by one unit in its last place.
        any_number: whether a number may be any other number (but no NaN, and no infinity).
    """

    rtol: float = 1e-4
    atol: float = 1e-9
    last_place: bool = True
    any_number: bool = False

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
        if self.any_number:
            return True
        allowed = max(self.rtol * max(abs(old), abs(new)), self.atol, extra)
        return abs(old - new) <= allowed * (1 + 1e-9)


DEFAULT_TOLERANCE = Tolerance()
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


def html_difference(old: str, new: str, tolerance: Tolerance) -> str | None:
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
            problem = found.what if found else None
        if problem:
            return f"embedded data: {problem}"
    return text_difference(
        _SLIDER_JSON.sub(r"\1\3", old), _SLIDER_JSON.sub(r"\1\3", new), tolerance
    )


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
    if is_list(old) and is_list(new):
        if tolerance.any_number and all(map(_is_finite, (*old, *new))) and old and new:
            return None  # nor does it matter how many there are
        if len(old) != len(new):
            return JsonDifference(f"{here}: length differs", len(old), len(new))
        for k, (first, second) in enumerate(zip(old, new, strict=True)):
            found = json_difference(first, second, tolerance, f"{path}[{k}]", scale)
            if found:
                return found
        return None
    if _is_number(old) and _is_number(new):
        narrow = tolerance.rtol <= 1e-4 and not tolerance.any_number
        exact = isinstance(old, int) and isinstance(new, int) and narrow
        same = old == new if exact else tolerance.close(old, new, 0.1 * tolerance.rtol * scale)
        return None if same else JsonDifference(f"{here} is outside its tolerance", old, new)
    if isinstance(old, str) and isinstance(new, str):
        problem = text_difference(old, new, tolerance)
        return JsonDifference(f"{here}: {problem}", old, new) if problem else None
    if type(old) is type(new) and old == new:
        return None
    return JsonDifference(f"{here} differs", old, new)


def is_list(value: Any) -> bool:
    """Whether a value is a sequence and no string."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


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
