"""Measures of a loss landscape (损失地形): line probes, extreme eigenvalues, second moments.

Plain NumPy; derivatives come in as functions, so any framework can supply them. The probes are
those of Santurkar, Tsipras, Ilyas and Madry, *How Does Batch Normalization Help Optimization?*
(2018, https://arxiv.org/abs/1805.11604), Section 3, with `overshoot` added: their "variation of
the loss" also counts useful decrease.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kexian_utils.statistics import finite_matrix

__all__ = [
    "hessian_extremal_eigenvalues",
    "loss_landscape_probe",
    "second_moment_summary",
]


def loss_landscape_probe(
    loss_and_grad: Callable[[np.ndarray], tuple[Any, Any]],
    theta: np.ndarray,
    step_sizes: Sequence[float],
) -> dict[str, Any]:
    r"""Walk from :math:`\theta` against the gradient :math:`g` and look at loss and gradient.

    Args:
        loss_and_grad: returns loss (scalar) and gradient, shape ``(n,)``, at a point ``(n,)``.
        theta: the starting point, shape ``(n,)``; its dtype is kept.
        step_sizes: `k` positive, finite step sizes :math:`\eta`.

    Returns:
        A dictionary with ``loss`` and ``grad_norm`` (floats, at `theta`); ``losses``, shape
        ``(k,)``: :math:`f(\theta-\eta g)`; ``grad_distances``, shape ``(k,)``:
        :math:`\lVert\nabla f(\theta-\eta g)-g\rVert_2`; ``effective_smoothness``, a float:
        :math:`\max_\eta\lVert\nabla f(\theta-\eta g)-g\rVert/(\eta\lVert g\rVert)`; and
        ``overshoot``, a float: :math:`\max_\eta\,(f(\theta-\eta g)-f(\theta))_+`.

    Raises:
        ValueError: if `theta` is not a vector; if `step_sizes` is empty or holds a value that is
            not positive and finite; if the gradient at `theta` is zero or not finite.

    Examples:
        >>> found = loss_landscape_probe(lambda t: (t @ t / 2, t), np.array([3.0, 4.0]), [0.5, 1.0])
        >>> found['loss'], found['losses'].tolist(), found['effective_smoothness']
        (12.5, [3.125, 0.0], 1.0)
    """
    theta = np.asarray(theta)
    if theta.ndim != 1:
        raise ValueError(f"theta must have shape (n,), got {theta.shape}")
    steps = np.asarray(step_sizes, dtype=float)
    if steps.ndim != 1 or steps.size == 0:
        raise ValueError(f"step_sizes must hold at least one step size, got {step_sizes!r}")
    if not (np.isfinite(steps).all() and (steps > 0).all()):
        raise ValueError(f"step_sizes must be positive and finite, got {steps.tolist()}")
    loss, slope = _evaluate(loss_and_grad, theta)
    norm = float(np.linalg.norm(slope))
    if not np.isfinite(norm) or norm == 0.0:
        raise ValueError(f"the gradient at theta must be finite and not zero, its norm is {norm}")
    losses, distances = [], []
    for step in steps:
        moved = (theta - step * slope).astype(theta.dtype)
        value, moved_slope = _evaluate(loss_and_grad, moved)
        losses.append(value)
        distances.append(float(np.linalg.norm(moved_slope - slope)))
    return {
        "loss": loss,
        "grad_norm": norm,
        "losses": np.array(losses),
        "grad_distances": np.array(distances),
        "effective_smoothness": float(np.max(np.array(distances) / (steps * norm))),
        "overshoot": float(np.maximum(np.array(losses) - loss, 0.0).max()),
    }


def _evaluate(loss_and_grad: Callable, theta: np.ndarray) -> tuple[float, np.ndarray]:
    value, slope = loss_and_grad(theta)
    return float(value), np.asarray(slope, dtype=float)


def hessian_extremal_eigenvalues(
    hvp: Callable[[np.ndarray], Any], dim: int, num_steps: int = 15, seed: int = 0
) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a symmetric matrix that is known by its products.

    Lanczos iteration in float64 with full re-orthogonalisation (done twice, which is enough). Both
    results are Ritz values: never below the smallest nor above the largest eigenvalue but for
    rounding, and exact once ``num_steps`` reaches `dim`. Power iteration would converge to the
    eigenvalue of largest *magnitude*, which may be the wrong end of the spectrum.

    Args:
        hvp: maps a float64 vector ``(dim,)`` to the product, shape ``(dim,)``.
        dim: number of rows of the matrix.
        num_steps: number of products, at least 1; more than `dim` are never used.
        seed: of the random start vector.

    Raises:
        ValueError: if `dim` or `num_steps` is below 1, or a product has another shape or is not
            finite.

    Examples:
        >>> low, high = hessian_extremal_eigenvalues(lambda v: np.array([1.0, 4.0, 9.0]) * v, 3)
        >>> round(low, 6), round(high, 6)
        (1.0, 9.0)
    """
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    start = np.random.default_rng(seed).normal(size=dim)
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        product = np.asarray(hvp(basis[-1]), dtype=float)
        if product.shape != (dim,):
            raise ValueError(f"hvp must return shape ({dim},), got {product.shape}")
        if not np.isfinite(product).all():
            raise ValueError("hvp must return finite values, got nan or infinity")
        scale = float(np.linalg.norm(product))
        diagonal.append(float(basis[-1] @ product))
        span = np.array(basis)
        for _ in range(2):
            product = product - span.T @ (span @ product)
        rest = float(np.linalg.norm(product))
        # A tiny remainder means that the Krylov space is closed: its Ritz values are eigenvalues.
        if len(basis) >= min(num_steps, dim) or rest <= 1e-12 * max(scale, abs(diagonal[-1])):
            break
        off_diagonal.append(rest)
        basis.append(product / rest)
    tridiagonal = np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1)
    values = np.linalg.eigvalsh(tridiagonal)
    return float(values[0]), float(values[-1])


def second_moment_summary(x: np.ndarray) -> dict[str, float]:
    r"""First and second moments of a layer's input, as far as smoothness depends on them.

    With mean :math:`m`, second moment :math:`M=\mathbb E xx^\top` and covariance
    :math:`\Sigma=M-mm^\top` over the rows of `x` (article 6992, equations 4 to 8 of its chapter):

    Args:
        x: samples in rows, shape ``(n, d)``.

    Returns:
        ``trace`` (:math:`\operatorname{tr}M`), ``mean_share``
        (:math:`\lVert m\rVert^2/\operatorname{tr}M`, 0 where all of `x` is zero),
        ``top_eigenvalue`` (:math:`\lambda_{\max}(M)`) and ``centered_top_eigenvalue``
        (:math:`\lambda_{\max}(\Sigma)`).

    Raises:
        ValueError: if `x` is not 2-D, is empty, or holds nan or infinity.

    Examples:
        >>> summary = second_moment_summary(np.array([[1.0, 2.0], [3.0, 2.0]]))
        >>> {name: round(value, 3) for name, value in summary.items()}
        {'mean_share': 0.889, 'trace': 9.0, 'top_eigenvalue': 8.531, 'centered_top_eigenvalue': 1.0}
    """
    x = finite_matrix(x)
    mean = x.mean(axis=0)
    trace = float((x**2).sum() / len(x))
    return {
        "mean_share": float(mean @ mean) / trace if trace > 0 else 0.0,
        "trace": trace,
        "top_eigenvalue": _top_eigenvalue(x),
        "centered_top_eigenvalue": _top_eigenvalue(x - mean),
    }


def _top_eigenvalue(x: np.ndarray) -> float:
    """Largest eigenvalue of ``x.T @ x / n``, from the smaller of the two Gram matrices."""
    gram = x.T @ x if x.shape[0] >= x.shape[1] else x @ x.T
    return float(max(np.linalg.eigvalsh(gram / len(x))[-1], 0.0))
