"""Criteria: what a measured value must satisfy for a claim to be decided.

A criterion that cannot fail is refused when it is made, and a value that is not finite never
satisfies one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Criterion:
    """A predicate on one number, with the words that a reader sees.

    Attributes:
        text: the criterion in words, such as "at most 1".
        accepts: the predicate on one finite float.
        noise: True if a satisfying value is rounding noise, which is neither shown nor stored
            because it differs from machine to machine.
        boolean: True if the measured value must be a bool.
    """

    text: str
    accepts: Callable[[float], bool]
    noise: bool = False
    boolean: bool = False

    def met_by(self, values: np.ndarray) -> bool:
        """Whether every one of `values` (any shape, not empty) is finite and accepted."""
        return bool(np.all(np.isfinite(values))) and all(
            self.accepts(float(v)) for v in values.flat
        )

    def failed(self) -> Criterion:
        """The criterion that exactly those finite values meet which do not meet this one."""
        accepts = self.accepts
        return Criterion(
            f"must fail: {self.text}", lambda value: not accepts(value), boolean=self.boolean
        )


def _number(name: str, value: Any) -> float:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, or the criterion could not fail; got {value!r}")
    return float(value)


def at_most(limit: float) -> Criterion:
    """The value is at most `limit`."""
    limit = _number("limit", limit)
    return Criterion(f"at most {limit:g}", lambda value: value <= limit)


def at_least(limit: float) -> Criterion:
    """The value is at least `limit`."""
    limit = _number("limit", limit)
    return Criterion(f"at least {limit:g}", lambda value: value >= limit)


def between(low: float, high: float) -> Criterion:
    """The value lies in the closed interval from `low` to `high`."""
    low, high = _number("low", low), _number("high", high)
    if low > high:
        raise ValueError(f"between({low:g}, {high:g}): low must not exceed high")
    return Criterion(f"between {low:g} and {high:g}", lambda value: low <= value <= high)


def close_to(target: float, *, rtol: float = 0.0, atol: float = 0.0) -> Criterion:
    """The value differs from `target` by at most `atol + rtol * |target|`.

    Raises:
        ValueError: both tolerances are zero (use `equal_to`), one is negative, or `rtol` is 1 or
            more, with which even zero would pass.
    """
    target = _number("target", target)
    rtol, atol = _number("rtol", rtol), _number("atol", atol)
    if rtol < 0 or atol < 0 or rtol >= 1 or rtol == atol == 0:
        raise ValueError(f"close_to needs 0 <= rtol < 1, atol >= 0, not both 0; got {rtol}, {atol}")
    slack = atol + rtol * abs(target)
    return Criterion(f"{target:.6g} ± {slack:.2g}", lambda value: abs(value - target) <= slack)


def equal_to(target: float) -> Criterion:
    """The value is exactly `target` (counts, bit-identical results)."""
    target = _number("target", target)
    return Criterion(f"exactly {target:g}", lambda value: value == target)


def below(tolerance: float) -> Criterion:
    """The absolute value is below `tolerance`: numerically zero.

    What remains is rounding noise, so it is neither shown nor stored, only the bound.
    """
    tolerance = _number("tolerance", tolerance)
    if tolerance <= 0:
        raise ValueError(f"tolerance must be positive, got {tolerance:g}")
    return Criterion(f"below {tolerance:g}", lambda value: abs(value) < tolerance, noise=True)


def is_true() -> Criterion:
    """The measured value is the bool True (or an array of them)."""
    return Criterion("true", lambda value: value == 1.0, boolean=True)


@dataclass(frozen=True)
class Measurement:
    """One named measured value with its criterion and the outcome."""

    name: str
    values: np.ndarray
    scalar: bool
    criterion: Criterion
    digits: int

    @classmethod
    def of(cls, name: str, measured: Any, criterion: Criterion, digits: int) -> Measurement:
        """Check `measured` (a number, or a non-empty sequence of them) for its type."""
        if not isinstance(criterion, Criterion):
            raise TypeError(
                f"{name}: the criterion must come from experiment.at_most, at_least, "
                f"between, close_to, equal_to, below or is_true; got {criterion!r}"
            )
        array = np.asarray(measured)
        if array.size == 0:
            raise ValueError(f"{name}: nothing was measured (an empty sequence)")
        if array.ndim > 1:
            raise ValueError(
                f"{name}: expected a number or a 1-D sequence, got shape {array.shape}"
            )
        if criterion.boolean != (array.dtype == bool):
            raise TypeError(
                f"{name}: criterion {criterion.text!r} does not fit values of type "
                f"{array.dtype}; is_true() takes bools, all others take numbers"
            )
        if array.dtype != bool and not np.issubdtype(array.dtype, np.number):
            raise TypeError(f"{name}: expected numbers, got {measured!r}")
        return cls(name, array.astype(float), array.ndim == 0, criterion, digits)

    @property
    def met(self) -> bool:
        """Whether every value satisfies the criterion."""
        return self.criterion.met_by(self.values)

    @property
    def text(self) -> str:
        """The value as shown: a number, or lowest … highest of a sequence."""
        if self.criterion.noise and self.met:
            return self.criterion.text
        if self.criterion.boolean:
            return "true" if np.all(self.values == 1.0) else "false"
        shown = [format_number(v, self.digits) for v in self.values.flat]
        if self.scalar or len(shown) == 1:
            return shown[0]
        if np.all(np.isfinite(self.values)):
            low, high = (format_number(f(self.values), self.digits) for f in (np.min, np.max))
            return f"{low} … {high} ({len(shown)} values)"
        return ", ".join(shown)

    def record(self) -> dict[str, Any]:
        """The JSON form; values that are noise or not finite are stored as null."""
        value: Any = [float(f"{v:.9g}") if math.isfinite(v) else None for v in self.values.flat]
        if self.criterion.boolean:
            value = [bool(v) for v in self.values.flat]
        if self.criterion.noise and self.met:
            value = None
        elif self.scalar:
            value = value[0]
        return {
            "name": self.name,
            "value": value,
            "text": self.text,
            "criterion": self.criterion.text,
        }


def format_number(value: float, digits: int = 3) -> str:
    """`value` to `digits` significant digits, without a needless exponent."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{max(digits - 1, 0)}e}"
    if value == int(value) and abs(value) < 10**digits:
        return str(int(value))
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0) if value else 0
    return f"{value:.{places}f}"


def measurements(
    measured: Any, criterion: Criterion | dict[str, Criterion], digits: int
) -> Sequence[Measurement]:
    """Pair measured values with criteria; a dict of values needs a dict with the same keys."""
    if isinstance(measured, dict) or isinstance(criterion, dict):
        if not (isinstance(measured, dict) and isinstance(criterion, dict)):
            raise TypeError("measured and criterion must both be dicts, or neither")
        if measured.keys() != criterion.keys() or not measured:
            raise ValueError(
                "measured and criterion must name the same quantities, at least one; "
                f"got {sorted(measured)} and {sorted(criterion)}"
            )
        return [Measurement.of(k, v, criterion[k], digits) for k, v in measured.items()]
    return [Measurement.of("value", measured, criterion, digits)]


def rival_measurements(
    parts: Sequence[Measurement], rivals: Mapping[str, Mapping[str, Any]], digits: int
) -> list[Measurement]:
    """What trivial rivals score, each with the criterion that it must fail.

    Args:
        parts: the measured quantities of the claim.
        rivals: for the name of a quantity the scores of its rivals, by their names.
        digits: significant digits that are shown.

    Raises:
        ValueError: a quantity that the claim does not measure, or one without a rival.
    """
    by_name = {part.name: part for part in parts}
    if unknown := [name for name in rivals if name not in by_name]:
        raise ValueError(
            f"rivals name {', '.join(map(repr, unknown))}, which the claim does not measure; its "
            f"quantities are {', '.join(map(repr, by_name))}"
        )
    if empty := [name for name, scores in rivals.items() if not scores]:
        raise ValueError(f"no rival is given for {', '.join(map(repr, empty))}")
    return [
        Measurement.of(f"{name}, {rival}", score, by_name[name].criterion.failed(), digits)
        for name, scores in rivals.items()
        for rival, score in scores.items()
    ]
