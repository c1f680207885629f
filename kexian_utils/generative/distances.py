r"""Distances between two samples, and what a picture of a sample cannot say in one number.

They measure generated samples against real ones. Nothing here imports a framework: samples are
NumPy arrays of shape ``(n, d)``, and the solvers are SciPy's.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

__all__ = [
    "ModeCoverage",
    "frechet_distance",
    "mode_coverage",
    "sliced_wasserstein",
    "wasserstein1_exact",
]


def wasserstein1_exact(a: Any, b: Any) -> float:
    r"""Wasserstein-1 distance of two samples of equal size, by an optimal assignment.

    :math:`W_1=\min_\pi\frac1n\sum_i\lVert a_i-b_{\pi(i)}\rVert` over permutations. The time grows
    with the cube of n: 500 points take some hundredths of a second.

    Args:
        a: shape (n, d).
        b: shape (n, d).

    Raises:
        ValueError: a sample is not of that shape, not finite, or the sizes differ.

    Examples:
        >>> wasserstein1_exact(np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]]))
        1.5
    """
    a, b = _pair(a, b)
    if len(a) != len(b):
        raise ValueError(f"a and b must hold equally many points, got {len(a)} and {len(b)}")
    cost = cdist(a, b)
    return float(cost[linear_sum_assignment(cost)].mean())


def sliced_wasserstein(
    a: Any, b: Any, directions: int = 64, rng: np.random.Generator | int = 0
) -> float:
    """Mean Wasserstein-1 distance of the projections on random directions.

    At most the distance itself, because a projection lengthens nothing; in one dimension equal.
    (Rabin, Peyré, Delon and Bernot, 2011.)

    Args:
        a: shape (n, d).
        b: shape (m, d).
        directions: number of directions, even on the sphere.
        rng: generator of the directions, or its seed.

    Raises:
        ValueError: a sample is not of that shape or not finite, or `directions` is below 1.

    Examples:
        >>> sliced_wasserstein(np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]]))
        1.5
    """
    a, b = _pair(a, b)
    if directions < 1:
        raise ValueError(f"directions must be at least 1, got {directions}")
    lines = np.random.default_rng(rng).normal(size=(directions, a.shape[1]))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    pairs = zip(lines @ a.T, lines @ b.T, strict=True)
    return float(np.mean([wasserstein_distance(*pair) for pair in pairs]))


def frechet_distance(a: Any, b: Any) -> float:
    r"""Squared Wasserstein-2 distance of the normal laws with the samples' moments.

    :math:`\lVert m_a-m_b\rVert^2+\operatorname{tr}\bigl(C_a+C_b-2(C_a^{1/2}C_bC_a^{1/2})^{1/2}
    \bigr)`. On features of Inception v3 this is the FID of Heusel et al. (2017).

    Args:
        a: shape (n, d), at least 2 points.
        b: shape (m, d), at least 2 points.

    Raises:
        ValueError: a sample is not of that shape, not finite, or holds a single point.

    Examples:
        >>> a = np.random.default_rng(0).normal(size=(500, 2))
        >>> round(frechet_distance(a, a + [3.0, 4.0]), 6)
        25.0
    """
    a, b = _pair(a, b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a and b must hold at least 2 points, got {len(a)} and {len(b)}")
    first, second = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    root = _square_root(first)
    middle = np.linalg.eigvalsh(root @ second @ root)
    common = np.sqrt(np.maximum(middle, 0)).sum()
    shift = a.mean(axis=0) - b.mean(axis=0)
    # Rounding may leave a tiny negative number where the moments agree.
    return float(max(shift @ shift + np.trace(first) + np.trace(second) - 2 * common, 0))


class ModeCoverage(NamedTuple):
    """How many modes a sample reaches, and what part of it is near any mode.

    Examples:
        >>> found = mode_coverage([[0.0], [0.1], [8.8], [5.0]], [[0.0], [9.0]], radius=0.5)
        >>> found
        ModeCoverage(modes=2, quality=0.75)
        >>> found.modes
        2
    """

    modes: int
    quality: float


def mode_coverage(
    samples: Any, centers: Any, radius: float, min_share: float = 0.02
) -> ModeCoverage:
    """Count the modes that a sample reaches.

    Args:
        samples: shape (n, d).
        centers: shape (k, d), the modes.
        radius: a sample belongs to its nearest mode if it is at most this far from it.
        min_share: a mode is reached if at least this part of all samples belongs to it.

    Returns:
        The number of modes reached, and the share of samples that belong to any mode.

    Raises:
        ValueError: wrong shapes, values that are not finite, `radius` not positive, or
            `min_share` not above 0 and at most 1.

    Examples:
        >>> found = mode_coverage(np.array([[0.0], [0.1], [5.0]]), np.array([[0.0], [9.0]]), 0.5)
        >>> found.modes, round(found.quality, 3)
        (1, 0.667)
    """
    samples, centers = _pair(samples, centers, "samples", "centers")
    if not (np.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be positive and finite, got {radius!r}")
    if not 0 < min_share <= 1:
        raise ValueError(f"min_share must lie above 0 and be at most 1, got {min_share!r}")
    distances = cdist(samples, centers)
    near = distances.min(axis=1) <= radius
    counts = np.bincount(distances.argmin(axis=1)[near], minlength=len(centers))
    return ModeCoverage(int(np.sum(counts >= min_share * len(samples))), float(near.mean()))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _pair(a: Any, b: Any, name_a: str = "a", name_b: str = "b") -> tuple[np.ndarray, np.ndarray]:
    arrays = []
    for name, value in ((name_a, a), (name_b, b)):
        array = np.asarray(value, dtype=float)
        if array.ndim != 2 or array.size == 0:
            raise ValueError(f"{name} must have shape (n, d) with n, d >= 1, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must be finite, got nan or infinity")
        arrays.append(array)
    first, second = arrays
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{name_a} and {name_b} must have the same dimension d, got {first.shape[1]} and "
            f"{second.shape[1]}"
        )
    return first, second
