r"""Gradient clipping (梯度裁剪), and the smoothness that explains it.

A function is :math:`(L_0,L_1)`-smooth if everywhere
:math:`\lVert\nabla^2f\rVert\le L_0+L_1\lVert\nabla f\rVert`. Then gradient clipping with the
threshold :math:`L_0/L_1` is the natural step size.
Equation numbers are those of the chapter on article 7469 (https://kexue.fm/archives/7469). Nothing
here imports a framework: gradients are NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import optimize

from kexian_utils import _checks

__all__ = ["clip_by_global_norm", "directional_smoothness", "fit_l0_l1", "l0_l1_step_size"]


def clip_by_global_norm(
    gradients: Sequence[Any], max_norm: float, mode: str = "hard"
) -> tuple[list[np.ndarray], float]:
    r"""Shorten the gradients of all parameters by one common factor, equation (1).

    Args:
        gradients: arrays of any shapes, seen as one vector of norm :math:`r`.
        max_norm: threshold :math:`\gamma>0`.
        mode: ``"hard"`` for the factor :math:`\min(1,\gamma/r)`, ``"soft"`` for
            :math:`\gamma/(r+\gamma)`.

    Returns:
        The shortened gradients, of the given shapes and dtypes, and the norm :math:`r` before.
        Zero gradients stay zero.

    Raises:
        TypeError: an array is not of a real floating dtype; clipped integers would be zeros.
        ValueError: `gradients` is empty or not finite, `max_norm` is not positive and finite, or
            `mode` is unknown.

    Examples:
        >>> clipped, norm = clip_by_global_norm([np.array([3.0, 4.0])], 1.0)
        >>> clipped[0].round(3).tolist(), float(norm)
        ([0.6, 0.8], 5.0)
    """
    _checks.real("max_norm", max_norm, above=0)
    _checks.choice("mode", mode, ("hard", "soft"))
    arrays = [np.asarray(gradient) for gradient in gradients]
    if not arrays:
        raise ValueError("gradients must hold at least one array, got an empty list")
    for array in arrays:
        if array.dtype.kind != "f" and "float" not in array.dtype.name:  # bfloat16 is of kind V
            raise TypeError(f"gradients must be of a floating dtype, got {array.dtype}")
        _checks.finite("gradients", array)
    # Seen through a power of two, which rounds nothing: no square overflows or vanishes.
    largest = max(np.abs(array.astype(float)).max(initial=0.0) for array in arrays)
    exponent = max(int(np.frexp(largest)[1]), -500)
    near = [np.ldexp(array.astype(float), -exponent) for array in arrays]
    # Two square roots: the squares of float32 gradients are summed in float64.
    norm = float(np.linalg.norm([np.linalg.norm(a.ravel()) for a in near]))
    limit = float(np.ldexp(max_norm, -exponent))
    factor = limit / max(norm, limit) if mode == "hard" else limit / (norm + limit)
    clipped = [(array * factor).astype(array.dtype) for array in arrays]
    return clipped, float(np.ldexp(norm, exponent))


def directional_smoothness(
    grad_fn: Callable[[np.ndarray], Any],
    theta: np.ndarray,
    direction: np.ndarray,
    hvp: Callable[[np.ndarray], Any] | None = None,
    *,
    step: float | None = None,
) -> float:
    r"""How fast the gradient turns and grows along a direction, :math:`\lVert\nabla^2f\,u\rVert`.

    With :math:`u` the gradient's own direction this is the local smoothness of section 6, a lower
    bound of :math:`\lVert\nabla^2f\rVert`.

    Args:
        grad_fn: maps a point ``(n,)`` to the gradient, shape ``(n,)``.
        theta: the point, shape ``(n,)``.
        direction: shape ``(n,)``, not zero; only its direction counts.
        hvp: maps a vector ``(n,)`` to the Hessian at `theta` times the vector; then `grad_fn` is
            not called. Without it a central difference of the gradient is taken, which is right
            only for functions with a smooth gradient: none with a ReLU.
        step: length of the central difference to either side, by default the cube root of the
            relative rounding error of the dtype of `theta`.

    Raises:
        ValueError: `theta` or `direction` has another shape than ``(n,)``, is not finite, or the
            direction is zero; or `step` is not positive.

    Examples:
        >>> cubic = lambda t: t**2  # the gradient of t**3 / 3
        >>> round(directional_smoothness(cubic, np.array([3.0]), np.array([1.0])), 6)
        6.0
    """
    theta, direction = np.asarray(theta), np.asarray(direction)
    if theta.dtype.kind != "f":
        theta = theta.astype(float)
    if theta.ndim != 1 or direction.shape != theta.shape:
        raise ValueError(
            f"theta and direction must have one shape (n,), got {theta.shape} and {direction.shape}"
        )
    if not (np.isfinite(theta).all() and np.isfinite(direction).all()):
        raise ValueError("theta and direction must be finite, got nan or infinity")
    length = np.linalg.norm(direction.astype(float))
    if length == 0:
        raise ValueError("direction must not be zero, got a vector of zeros")
    unit = (direction / length).astype(theta.dtype)
    if hvp is not None:
        return float(np.linalg.norm(np.asarray(hvp(unit), dtype=float)))
    step = float(np.finfo(theta.dtype).eps ** (1 / 3)) if step is None else step
    if not step > 0:
        raise ValueError(f"step must be positive, got {step!r}")
    ahead, behind = (
        np.asarray(grad_fn(theta + sign * theta.dtype.type(step) * unit), dtype=float)
        for sign in (1, -1)
    )
    return float(np.linalg.norm(ahead - behind) / (2 * step))


def fit_l0_l1(grad_norms: Any, smoothness: Any, *, upper: bool = False) -> tuple[float, float]:
    r"""Fit :math:`L_0+L_1r` to measured smoothness, both constants at least 0.

    Condition (4) asks for a bound of the whole Hessian at every point. What is measured along one
    direction, as by :func:`directional_smoothness`, only bounds it from below, and a line through
    the middle of the points bounds nothing: the default describes how curvature grows with the
    gradient, and its numbers are not the constants of (4). On :math:`\cosh` over ``[-5, 5]``,
    which meets (4) with 1 and 1, it gives 0.31 and 0.99.

    Args:
        grad_norms: norms :math:`r\ge0` of at least three gradients, shape ``(n,)``, not all equal.
        smoothness: the smoothness measured there, shape ``(n,)``, at least 0.
        upper: take the line that lies above all points, with the smallest mean distance from
            them, instead of least squares. It meets (4) at the given points; between them, and for
            a smoothness of one direction in the others, it promises nothing.

    Returns:
        ``(L0, L1)``: in units of `smoothness`, and of `smoothness` over `grad_norms`.

    Raises:
        ValueError: shapes that differ, fewer than three points, values that are negative or not
            finite, or gradient norms that are all equal.

    Examples:
        >>> theta = np.linspace(-5, 5, 2001)
        >>> r, curvature = np.abs(np.sinh(theta)), np.cosh(theta)
        >>> [round(constant, 3) for constant in fit_l0_l1(r, curvature)]
        [0.306, 0.993]
        >>> [round(constant, 3) for constant in fit_l0_l1(r, curvature, upper=True)]
        [1.0, 0.987]
    """
    r, values = np.asarray(grad_norms, dtype=float), np.asarray(smoothness, dtype=float)
    if r.ndim != 1 or r.shape != values.shape or len(r) < 3:
        raise ValueError(
            "grad_norms and smoothness must have one shape (n,) with n of at least 3, "
            f"got {r.shape} and {values.shape}"
        )
    for name, array in (("grad_norms", r), ("smoothness", values)):
        if not (np.isfinite(array).all() and np.all(array >= 0)):
            raise ValueError(f"{name} must be finite and at least 0, got {array}")
    if np.ptp(r) == 0:
        raise ValueError(f"grad_norms must not all be equal, got {r[0]} only")
    if not upper:
        (level, rise), _ = optimize.nnls(np.column_stack([np.ones_like(r), r]), values)
        return float(level), float(rise)
    # A linear programme in units of the largest values, which keeps its tolerances relative.
    across, up = r.max(), values.max() or 1.0
    rows = np.column_stack([np.ones_like(r), r / across])
    found = optimize.linprog(rows.mean(axis=0), A_ub=-rows, b_ub=-values / up, bounds=(0, None))
    level, rise = found.x * up / np.array([1.0, across])
    level += max(0.0, np.max(values - level - rise * r))  # what the solver's tolerance left below
    return float(level), float(rise)


def l0_l1_step_size(grad_norm: Any, L0: float, L1: float, rule: str = "clip") -> Any:
    r"""Learning rate at a point where the gradient has the norm :math:`r`.

    Args:
        grad_norm: :math:`r\ge0`, a number or an array of any shape.
        L0: like a Hessian, at least 0.
        L1: one over a length, at least 0.
        rule: ``"clip"`` for :math:`1/(L_0+L_1r)`, equation (8); ``"optimal"`` for the step of the
            length :math:`\ln(1+x)/L_1` with :math:`x=L_1r/(L_0+L_1r)`, equation (10).

    Returns:
        The learning rate, in the shape of `grad_norm`. Both rules give :math:`1/L_0` for
        :math:`L_1\to0` and for :math:`r\to0`.

    Raises:
        ValueError: a negative or not finite argument, an unknown rule, or
            :math:`L_0+L_1r=0`, where no step is too long.

    Examples:
        >>> l0_l1_step_size(np.array([0.0, 10.0]), 1.0, 1.0).round(4).tolist()
        [1.0, 0.0909]
    """
    if rule not in ("clip", "optimal"):
        raise ValueError(f"rule must be 'clip' or 'optimal', got {rule!r}")
    r = np.asarray(grad_norm, dtype=float)
    for name, value in (("grad_norm", r), ("L0", L0), ("L1", L1)):
        if not (np.all(np.isfinite(value)) and np.all(np.asarray(value) >= 0)):
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
    smoothness = L0 + L1 * r
    if np.any(smoothness == 0):
        raise ValueError(f"L0 + L1 * grad_norm must be positive, got L0={L0!r}, L1={L1!r}")
    rate = 1 / smoothness
    if rule == "optimal":
        x = L1 * r / smoothness
        safe = np.where(x > 0, x, 1)  # the limit of ln(1+x)/x at 0 is 1
        rate = rate * np.where(x > 0, np.log1p(safe) / safe, 1)
    return rate if rate.ndim else float(rate)
