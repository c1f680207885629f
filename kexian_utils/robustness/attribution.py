r"""Attributions (归因): shares of a difference of outputs, one for each input, that add up to it.

Equation numbers are those of the chapter on article 7533 (https://kexue.fm/archives/7533).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks, autodiff

__all__ = ["deletion_curve", "integrated_gradients", "path_attribution", "quadrature"]

RULES = ("gauss", "midpoint", "right", "left", "trapezoid")


def quadrature(steps: int, rule: str = "gauss") -> tuple[np.ndarray, np.ndarray]:
    """Nodes in [0, 1] and weights, which add up to 1, of a rule for integrals.

    Args:
        steps: number of intervals; with "gauss" the number of nodes. At least 1.
        rule: "gauss" (Gauss-Legendre), "midpoint", "right", "left" or "trapezoid", which takes one
            node more.

    Returns:
        Two arrays of one length.

    Raises:
        ValueError: unknown rule, or `steps` below 1.

    Examples:
        >>> nodes, weights = quadrature(2, "trapezoid")
        >>> nodes.tolist(), weights.tolist()
        ([0.0, 0.5, 1.0], [0.25, 0.5, 0.25])
    """
    n = _checks.whole("steps", steps, 1)
    _checks.choice("rule", rule, RULES)
    if rule == "gauss":
        nodes, weights = np.polynomial.legendre.leggauss(n)
        return (nodes + 1) / 2, weights / 2
    if rule == "trapezoid":
        weights = np.full(n + 1, 1 / n)
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, n + 1), weights
    shift = {"midpoint": 0.5, "right": 1.0, "left": 0.0}[rule]
    return (np.arange(n) + shift) / n, np.full(n, 1 / n)


def integrated_gradients(
    function: Callable[[Any], Any],
    x: ArrayLike,
    baseline: ArrayLike | None = None,
    steps: int = 32,
    rule: str = "gauss",
) -> np.ndarray:
    r"""Integrated gradients (积分梯度) along the straight line, equation (5).

    .. math:: A_i=(x_i-\bar x_i)\int_0^1\partial_iF(\bar x+t(x-\bar x))\,dt

    Up to the error of the rule the shares add up to :math:`F(x)-F(\bar x)`.

    Source: M. Sundararajan, A. Taly and Q. Yan, *Axiomatic Attribution for Deep Networks*, ICML
    2017, https://arxiv.org/abs/1703.01365.

    Args:
        function: written with ``keras.ops``; takes inputs of shape ``(batch, ...)`` and gives one
            number for each, shape ``(batch,)``.
        x: one input, of any shape.
        baseline: the background (参照背景) of the same shape; zeros by default.
        steps: as for :func:`quadrature`; all nodes are one batch.
        rule: as for :func:`quadrature`.

    Returns:
        The shares, of the shape of `x`.

    Raises:
        ValueError: shapes differ, `function` does not give one number for each input, or as for
            :func:`quadrature`.

    Examples:
        >>> from keras import ops
        >>> shares = integrated_gradients(lambda z: z[:, 0] * z[:, 1], np.array([2.0, 3.0]))
        >>> shares.round(4).tolist()
        [3.0, 3.0]
    """
    x = np.asarray(x)
    start = np.zeros_like(x) if baseline is None else np.asarray(baseline, x.dtype)
    _checks.shape("baseline", start, x.shape)
    nodes, weights = quadrature(steps, rule)
    column = (-1, *[1] * x.ndim)
    points = start + nodes.reshape(column).astype(x.dtype) * (x - start)
    mean = np.tensordot(weights, _slopes(function, points), axes=1)
    return (x - start) * mean


def path_attribution(
    function: Callable[[Any], Any],
    path: Callable[[np.ndarray], np.ndarray],
    steps: int = 200,
) -> np.ndarray:
    r"""Shares along any path, equation (4), by the midpoint rule on its chords.

    Args:
        function: as for :func:`integrated_gradients`.
        path: takes times in [0, 1], shape ``(n,)``, and gives points, shape ``(n, ...)``; from the
            baseline at time 0 to the input at time 1.
        steps: number of chords, at least 1.

    Returns:
        The shares, of the shape of one point.

    Raises:
        ValueError: `steps` below 1, or `function` does not give one number for each input.

    Examples:
        >>> corner = lambda t: np.stack([np.minimum(2 * t, 1), np.maximum(2 * t - 1, 0)], axis=1)
        >>> path_attribution(lambda z: z[:, 0] * z[:, 1], corner).round(4).tolist()
        [0.0, 1.0]
    """
    points = np.asarray(path(np.linspace(0, 1, _checks.whole("steps", steps, 1) + 1)))
    slopes = _slopes(function, (points[1:] + points[:-1]) / 2)
    return np.sum(slopes * np.diff(points, axis=0), axis=0)


def deletion_curve(
    function: Callable[[np.ndarray], np.ndarray],
    x: ArrayLike,
    scores: ArrayLike,
    baseline: ArrayLike | None = None,
) -> np.ndarray:
    """Outputs while components are replaced by the baseline's, highest score first.

    The curve of insertion is that of deletion from the baseline: exchange `x` and `baseline`.

    Source: V. Petsiuk, A. Das and K. Saenko, *RISE*, BMVC 2018, https://arxiv.org/abs/1806.07421.

    Args:
        function: takes inputs of shape ``(batch, d)`` and gives ``(batch,)``.
        x: one input, shape ``(d,)``.
        scores: shape ``(d,)``; of equal ones the first goes first.
        baseline: shape ``(d,)``; zeros by default.

    Returns:
        The outputs with 0, 1, ..., d components replaced, shape ``(d + 1,)``. Their mean is the
        area under the curve: low is good.

    Raises:
        ValueError: shapes differ.

    Examples:
        >>> deletion_curve(lambda z: z.sum(axis=1), [1.0, 2.0, 4.0], [0, 1, 2]).tolist()
        [7.0, 3.0, 1.0, 0.0]
    """
    x = np.asarray(x, dtype=float)
    if x.ndim != 1:
        raise ValueError(f"x must have shape (d,), got {x.shape}")
    start = np.zeros_like(x) if baseline is None else np.asarray(baseline, dtype=float)
    _checks.shape("baseline", start, x.shape)
    _checks.shape("scores", scores, x.shape)
    rank = np.argsort(np.argsort(-np.asarray(scores), kind="stable"))
    removed = rank < np.arange(len(x) + 1)[:, None]
    return np.asarray(function(np.where(removed, start, x)))


def _slopes(function: Callable[[Any], Any], points: np.ndarray) -> np.ndarray:
    from keras import ops

    def total(batch: Any) -> Any:
        values = function(batch)
        if tuple(values.shape) != (len(points),):
            raise ValueError(
                f"function must give one number for each input, shape ({len(points)},), got "
                f"{tuple(values.shape)}"
            )
        return ops.sum(values)

    return ops.convert_to_numpy(autodiff.gradient(total)(points))
