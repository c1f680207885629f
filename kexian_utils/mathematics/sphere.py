r"""Random directions: the law of the angle between two of them, and the dimension of real data.

Two independent vectors in :math:`\mathbb R^n`, at least one of which has a uniformly distributed
direction, make an angle :math:`\theta` with the density :math:`c_n\sin^{n-2}\theta`. Equation
numbers are those of the chapter on article 7076 (https://kexue.fm/archives/7076). The formulas hold
for every real :math:`n>1`, so that the effective dimension of data, which is seldom a whole
number, can be put into them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from kexian_utils import _checks

__all__ = [
    "angle_cdf",
    "angle_pdf",
    "angle_variance",
    "cosine_pdf",
    "effective_dimension",
    "pairwise_cosines",
    "random_directions",
]


def random_directions(rng: np.random.Generator, size: int, dim: int) -> np.ndarray:
    """Independent directions, uniform on the unit sphere: normalised Gaussian vectors.

    Args:
        rng: source of randomness.
        size: number of directions, at least 0.
        dim: dimension of the space, at least 1.

    Returns:
        Unit vectors, float64, shape ``(size, dim)``.

    Raises:
        ValueError: `size` is no whole number of at least 0, or `dim` none of at least 1.

    Examples:
        >>> x = random_directions(np.random.default_rng(0), 5, 3)
        >>> x.shape, np.linalg.norm(x, axis=1).round(12).tolist()
        ((5, 3), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    for name, value, least in (("size", size, 0), ("dim", dim, 1)):
        _checks.whole(name, value, least)
    vectors = rng.standard_normal((size, dim))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def angle_pdf(theta: Any, dim: float) -> np.ndarray:
    r"""Density of the angle, equation (6): :math:`c_n\sin^{n-2}\theta` on :math:`[0,\pi]`.

    Args:
        theta: angles in radians, any shape.
        dim: dimension :math:`n>1`, not necessarily whole.

    Returns:
        The density per radian, in the shape of `theta`; 0 outside :math:`[0,\pi]`.

    Raises:
        ValueError: `dim` is not finite and above 1.

    Examples:
        >>> angle_pdf(np.pi / 2, 3).round(3).item()  # half the sine in three dimensions
        0.5
    """
    theta, dim = np.asarray(theta, dtype=float), _dimension(dim)
    inside = (theta >= 0) & (theta <= np.pi)
    # sin(pi) is not quite 0 in floating point, and may not be negative under a power.
    sine = np.sin(np.where(inside, np.minimum(theta, np.pi - theta), 1.0))
    log_power = special.xlogy(dim - 2, np.maximum(sine, 0.0))
    density = np.exp(_log_constant(dim) + log_power)
    return np.where(np.isnan(theta), np.nan, np.where(inside, density, 0.0))


def angle_cdf(theta: Any, dim: float) -> np.ndarray:
    r"""Probability of an angle of at most `theta`, equation (5).

    With :math:`\sin^2(\theta/2)\sim\mathrm{Beta}(\frac{n-1}2,\frac{n-1}2)` it is a regularised
    incomplete beta function, with small relative error also where it is tiny.

    Args:
        theta: angles in radians, any shape.
        dim: dimension :math:`n>1`, not necessarily whole.

    Returns:
        Probabilities in the shape of `theta`.

    Raises:
        ValueError: `dim` is not finite and above 1.

    Examples:
        >>> angle_cdf(np.pi / 3, 3).round(3).item()  # a quarter of the sphere
        0.25
    """
    half, dim = np.clip(np.asarray(theta, dtype=float), 0.0, np.pi) / 2, _dimension(dim)
    return special.betainc((dim - 1) / 2, (dim - 1) / 2, np.sin(half) ** 2)


def cosine_pdf(eta: Any, dim: float) -> np.ndarray:
    r"""Density of the cosine, equation (7): :math:`c_n(1-\eta^2)^{(n-3)/2}` on :math:`[-1,1]`.

    Args:
        eta: cosines, any shape.
        dim: dimension :math:`n>1`, not necessarily whole; below 3 the density is infinite at
            :math:`\pm1`.

    Returns:
        The density in the shape of `eta`; 0 outside :math:`[-1,1]`.

    Raises:
        ValueError: `dim` is not finite and above 1.

    Examples:
        >>> cosine_pdf([-0.5, 0.0, 0.9], 3).round(3).tolist()  # Archimedes: uniform
        [0.5, 0.5, 0.5]
    """
    eta, dim = np.asarray(eta, dtype=float), _dimension(dim)
    inside = np.abs(eta) <= 1
    room = np.where(inside, (1 - eta) * (1 + eta), 1.0)
    density = np.exp(_log_constant(dim) + special.xlogy((dim - 3) / 2, room))
    return np.where(np.isnan(eta), np.nan, np.where(inside, density, 0.0))


def angle_variance(dim: Any) -> np.ndarray:
    r"""Variance of the angle, equation (10): :math:`\frac12\psi'(n/2)`, in square radians.

    Args:
        dim: dimensions :math:`n>1`, any shape, not necessarily whole.

    Returns:
        Variances in the shape of `dim`.

    Raises:
        ValueError: a dimension is not finite and above 1.

    Examples:
        >>> angle_variance(np.array([3, 768])).round(5).tolist()
        [0.4674, 0.0013]
    """
    dim = np.asarray(dim, dtype=float)
    if not (np.isfinite(dim) & (dim > 1)).all():
        raise ValueError(f"dim must be finite and above 1, got {dim.tolist()}")
    return special.polygamma(1, dim / 2) / 2


def pairwise_cosines(x: np.ndarray) -> np.ndarray:
    """The cosine of each pair of different rows.

    Args:
        x: vectors as rows, shape ``(count, dim)``, at least two, none of them zero.

    Returns:
        Cosines in [-1, 1], shape ``(count * (count - 1) / 2,)``, ordered as
        ``np.triu_indices(count, 1)``.

    Raises:
        ValueError: `x` is not a matrix of at least two rows, or holds a row that is zero or not
            finite.

    Examples:
        >>> pairwise_cosines(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])).round(3).tolist()
        [0.0, 0.707, 0.707]
    """
    units = _unit_rows(x)
    return np.clip((units @ units.T)[np.triu_indices(len(units), 1)], -1.0, 1.0)


def effective_dimension(x: np.ndarray, center: bool = False) -> float:
    r"""In how many dimensions isotropic vectors would have the same mean squared cosine.

    With unit rows :math:`u` and :math:`S=\mathbb E[uu^\top]`, two independent draws have
    :math:`\mathbb E\cos^2=\operatorname{tr}S^2`, which is :math:`1/n` for isotropic vectors; so
    :math:`n_{\rm eff}=1/\operatorname{tr}S^2`, equation (18). It is estimated from pairs of
    *different* rows: a row paired with itself has cosine 1 and would add about 1/count.

    Of the distribution it lies between 1 and the dimension. The estimate need not: of few rows, or
    of rows chosen to be orthogonal, it may come out larger, even infinite. And subtracting the
    mean of few rows turns them away from each other, by cosines of about -1/(count - 1), so that
    with `center` the estimate stays below (count - 1)²: take many more rows than the square root
    of the effective dimension.

    Args:
        x: vectors as rows, shape ``(count, dim)``, at least two, none of them zero.
        center: subtract the mean of the rows first.

    Returns:
        The effective dimension, at least 1; infinite if all pairs of rows are orthogonal. It may
        exceed ``dim``.

    Raises:
        ValueError: `x` is not a matrix of at least two rows, or holds a row that is zero (after
            centring, if asked for) or not finite.

    Examples:
        >>> effective_dimension(np.random.default_rng(0).normal(size=(2000, 10))) > 9.5
        True
        >>> few = np.random.default_rng(0).normal(size=(10, 1000))  # too few rows for `center`
        >>> effective_dimension(few, center=True) < 100
        True
    """
    x = np.asarray(x, dtype=float)
    if center and x.ndim == 2 and len(x):
        x = x - x.mean(axis=0)
    units = _unit_rows(x)
    count = len(units)
    # The Frobenius norm of the smaller of the two Gram matrices: both have the same.
    gram = units.T @ units if units.shape[1] < count else units @ units.T
    squared = (np.sum(gram**2) - count) / (count * (count - 1))
    return float("inf") if squared <= 0 else float(1 / squared)


def _dimension(dim: float) -> float:
    if not isinstance(dim, (int, float, np.number)) or not np.isfinite(dim) or dim <= 1:
        raise ValueError(f"dim must be a finite number above 1, got {dim!r}")
    return float(dim)


def _log_constant(dim: float) -> float:
    """The logarithm of the constant in (6); the gamma functions overflow from n = 344 on."""
    return special.gammaln(dim / 2) - special.gammaln((dim - 1) / 2) - np.log(np.pi) / 2


def _unit_rows(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"x must be a matrix of at least two rows, got shape {x.shape}")
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if bad.size:
        raise ValueError(f"x must have rows that are finite and not zero, row {bad[0]} is not")
    return x / norms
