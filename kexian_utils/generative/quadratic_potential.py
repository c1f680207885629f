r"""The quadratic-potential divergence (平方势散度) of GAN-QP, solved exactly on finite sets."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from kexian_utils import _checks

__all__ = ["CRITICS", "QPDivergence", "qp_divergence"]

CRITICS = ("binary", "unary")


class QPDivergence(NamedTuple):
    """A divergence and the critic that attains it.

    Attributes:
        value: of the divergence, at least 0.
        difference: what the best critic tells apart: ``difference[a, b]`` is its difference of
            the points a (as real) and b (as generated), shape (n, n), antisymmetric.
        potential: of the unary critic, shape (n,), with mean 0; None for the binary one.

    Examples:
        >>> found = qp_divergence([1, 0], [0, 1], [[0, 3], [3, 0]], critic="unary")
        >>> found.potential.round(6).tolist()
        [1.5, -1.5]
    """

    value: float
    difference: np.ndarray
    potential: np.ndarray | None


def qp_divergence(
    p: Any, q: Any, dist: Any, lam: float = 1.0, critic: str = "binary"
) -> QPDivergence:
    r"""The largest value of GAN-QP's objective over all critics on a finite set.

    .. math:: \sup_T\ \mathbb E_{a\sim p,\,b\sim q}\Bigl[t-\frac{t^2}{2\lambda d(a,b)}\Bigr]

    with :math:`t=T(a,b)-T(b,a)` for the binary critic (of pairs) and :math:`t=T(a)-T(b)` for the
    unary one. The first has a closed form; the second is the voltage of a network of resistors.
    Pairs of weight 0 are not told apart by the binary critic (their difference is given as 0).

    Source: article 6163, equations (4), (7) and (10).

    Args:
        p: weights of the real distribution, shape (n,), sum 1.
        q: weights of the generated one.
        dist: distances, shape (n, n), symmetric, 0 on the diagonal and positive elsewhere.
        lam: the scale :math:`\lambda`, above 0.
        critic: ``"binary"`` or ``"unary"``.

    Raises:
        ValueError: weights that are negative or do not sum to 1, distances that are not as above,
            `lam` or `critic` outside its range, or shapes that do not fit.

    Examples:
        Two points at the distance 3, where both critics give half of it:

        >>> qp_divergence([1, 0], [0, 1], [[0, 3], [3, 0]]).value
        1.5
        >>> qp_divergence([1, 0], [0, 1], [[0, 3], [3, 0]], critic="unary").value
        1.5
    """
    dist = np.asarray(dist, dtype=float)
    if dist.ndim != 2 or dist.shape[0] != dist.shape[1] or not len(dist):
        raise ValueError(f"dist must have shape (n, n) with n at least 1, got {dist.shape}")
    p, q = (_weights(name, w, len(dist)) for name, w in (("p", p), ("q", q)))
    off = ~np.eye(len(dist), dtype=bool)
    if not np.isfinite(dist).all() or (dist[off] <= 0).any() or np.diag(dist).any():
        raise ValueError("dist must be finite, 0 on the diagonal and positive elsewhere")
    if not np.allclose(dist, dist.T, rtol=1e-9, atol=0):
        raise ValueError("dist must be symmetric")
    _checks.real("lam", lam, above=0)
    _checks.choice("critic", critic, CRITICS)
    one, other = np.outer(p, q), np.outer(q, p)  # of a pair, and of the same pair turned round
    both = one + other
    if critic == "binary":
        share = np.divide(one - other, both, out=np.zeros_like(both), where=both > 0)
        return QPDivergence(
            float(lam / 4 * np.sum(dist * share * (one - other))), lam * dist * share, None
        )
    conductance = np.divide(both, lam * dist, out=np.zeros_like(both), where=off)
    laplacian = np.diag(conductance.sum(axis=1)) - conductance
    potential = np.linalg.lstsq(laplacian, p - q, rcond=1e-12)[0]
    potential -= potential.mean()
    return QPDivergence(
        float((p - q) @ potential / 2), potential[:, None] - potential[None, :], potential
    )


def _weights(name: str, values: Any, count: int) -> np.ndarray:
    weights = np.asarray(values, dtype=float)
    if weights.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},) as dist has, got {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any() or abs(weights.sum() - 1) > 1e-8:
        raise ValueError(f"{name} must be at least 0 and sum to 1, got the sum {weights.sum()}")
    return weights
