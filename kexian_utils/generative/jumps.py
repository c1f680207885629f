"""How a function varies along a line: in slopes, or in jumps that no slope shows."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kexian_utils import _checks

__all__ = ["SplitVariation", "variation"]


class SplitVariation(NamedTuple):
    """The total variation along a line, in two parts; see :func:`variation`.

    Attributes:
        inside: what the slopes account for.
        jumps: the rest.

    Examples:
        >>> SplitVariation(inside=1.0, jumps=3.0).share
        0.75
    """

    inside: float
    jumps: float

    @property
    def share(self) -> float:
        """The part that lies in jumps, from 0 to 1; NaN of a function that does not vary."""
        total = self.inside + self.jumps
        return self.jumps / total if total else float("nan")


def variation(values: Any, slopes: Any, points: Any) -> SplitVariation:
    r"""Divide a function's variation along a line into slopes and jumps.

    The total variation is :math:`\sum_i|f(x_{i+1})-f(x_i)|`. Where the function is continuous
    between two points, the mean of the two slopes times their distance gives the same difference;
    what a difference has beyond that is a jump. Take the points so dense that the slope changes
    little from one to the next: the error is that of the trapezoid rule.

    Args:
        values: of the function, shape (n,).
        slopes: its gradients at the points, shape (n, d), or (n,) on a line of numbers.
        points: along the line, in order, shape (n, d) or (n,).

    Raises:
        ValueError: the shapes do not fit, fewer than two points, or values that are not finite.

    Source: article 8757, equation (6).

    Examples:
        Slope 1 on both sides of a step of height 3:

        >>> x = np.linspace(-1, 1, 2002)
        >>> found = variation(x + 3 * (x > 0), np.ones(2002), x)
        >>> round(found.inside, 2), round(found.jumps, 2)
        (2.0, 3.0)
    """
    values = _checks.finite("values", values).astype(float)
    points = _checks.finite("points", points).astype(float)
    slopes = _checks.finite("slopes", slopes).astype(float)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values must have shape (n,) with n >= 2, got {values.shape}")
    if points.shape != slopes.shape or points.ndim > 2 or len(points) != len(values):
        raise ValueError(
            f"slopes and points must have the shape ({len(values)}, d) or ({len(values)},), got "
            f"{slopes.shape} and {points.shape}"
        )
    if points.ndim == 1:
        points, slopes = points[:, None], slopes[:, None]
    smooth = np.sum((slopes[1:] + slopes[:-1]) / 2 * np.diff(points, axis=0), axis=1)
    steps = np.diff(values)
    jumps = np.abs(steps - smooth).sum()
    return SplitVariation(float(max(np.abs(steps).sum() - jumps, 0.0)), float(jumps))
