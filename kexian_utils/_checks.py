"""Checks of arguments, each with one wording: the argument's name, its value, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np

__all__ = ["check_choice", "check_seed", "check_whole"]


def check_seed(seed: int) -> None:
    """Raise a ValueError unless `seed` is an integer of at least 0."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")


def check_whole(name: str, value: Any, least: int) -> int:
    """The integer `value`; a ValueError if it is none, or less than `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise a ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
