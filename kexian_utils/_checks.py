"""Refusals of bad arguments, each in one wording: the argument, what was expected, the value.

Each function returns the value, as a plain number where it is one, or raises a `ValueError`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "choice",
    "encodable",
    "finite",
    "new_path",
    "probability",
    "real",
    "seed",
    "shape",
    "whole",
]


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number from `least` to `most`; True and 2.0 are none."""
    is_whole = isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))
    if not is_whole or not _between(value, least, most):
        raise ValueError(f"{name} must be a whole number{_range(least, most)}, got {value!r}")
    return int(value)


def seed(value: Any, name: str = "seed", most: int | None = None) -> int:
    """A seed: a whole number of at least 0."""
    return whole(name, value, 0, most)


def real(
    name: str,
    value: Any,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number within bounds, of which `above` and `below` are outside themselves."""
    is_real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    inside = (
        is_real
        and math.isfinite(value)
        and _between(value, least, most)
        and (above is None or value > above)
        and (below is None or value < below)
    )
    if not inside:
        bounds = [_range(least, most)] if least is not None or most is not None else []
        bounds += [f" above {above}"] if above is not None else []
        bounds += [f" below {below}"] if below is not None else []
        words = " and".join(bounds)
        raise ValueError(f"{name} must be a finite number{words}, got {value!r}")
    return float(value)


def probability(name: str, value: Any, zero: bool = True, one: bool = True) -> float:
    """A number from 0 to 1, of which either end may be left out."""
    return real(
        name,
        value,
        least=0 if zero else None,
        most=1 if one else None,
        above=None if zero else 0,
        below=None if one else 1,
    )


def choice(name: str, value: Any, choices: Iterable[Any]) -> Any:
    """One of the choices."""
    choices = list(choices)
    if not any(value is c or (_alike(value, c) and value == c) for c in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def shape(name: str, value: Any, expected: Sequence[int | str | None]) -> tuple[int, ...]:
    """The shape of an array: numbers in `expected` are meant, words and None stand for any size.

    A first entry of ``"..."`` stands for any number of axes.
    """
    found = tuple(np.shape(value))
    wanted = list(expected)
    sizes = found
    if wanted and wanted[0] == "...":
        wanted = wanted[1:]
        sizes = found[max(len(found) - len(wanted), 0) :]
    fits = len(sizes) == len(wanted) and all(
        not isinstance(w, int) or s == w for s, w in zip(sizes, wanted, strict=True)
    )
    if not fits:
        words = ", ".join("any" if w is None else str(w) for w in expected)
        comma = "," if len(expected) == 1 else ""
        raise ValueError(f"{name} must have shape ({words}{comma}), got {found}")
    return found


def finite(name: str, array: Any) -> np.ndarray:
    """An array of numbers, none of which is NaN or infinite."""
    array = np.asarray(array)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got nan or infinity")
    return array


def encodable(name: str, *texts: str) -> None:
    """Refuse texts that no file in UTF-8 can hold: halves of surrogate pairs."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            half = text[error.start]
            raise ValueError(
                f"{name} must be text that UTF-8 can hold, got {half!a} in {text!a:.80}: half of a "
                "surrogate pair"
            ) from None


def new_path(name: str, path: str | os.PathLike) -> Path:
    """A path to write to: what is there, or is not there yet, but no link that leads nowhere."""
    path = Path(path)
    if path.is_symlink() and not path.exists():
        raise ValueError(
            f"{name} {path} is a link that leads nowhere: choose another name, or remove it"
        )
    return path


def _alike(value: Any, other: Any) -> bool:
    """Of one type, so that neither True is 1 nor an array is compared."""
    return isinstance(value, type(other)) and isinstance(value, bool) == isinstance(other, bool)


def _between(value: Any, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _range(least: float | None, most: float | None) -> str:
    if least is None:
        return "" if most is None else f" of at most {most}"
    return f" of at least {least}" if most is None else f" from {least} to {most}"
