r"""Rotary position embedding in two and more dimensions (二维旋转式位置编码).

Every rotary code of D-dimensional positions that depends on differences only is, in some basis of
the head, a list of *frequency vectors*: pair m is turned by the angle
:math:`\langle\omega_m,p\rangle` (chapter 8397, equation (9)). So a code is an array of shape
``(head size / 2, D)`` here, and one function applies them all. The usual code of vision
Transformers is "axial": each frequency vector lies on an axis.

NumPy only; pairs are laid out as in :mod:`.rope`, whose functions are the case of
one dimension.
Equation numbers are those of the chapter on article 8397.
"""

from __future__ import annotations

import numpy as np

from kexian_utils import _checks
from kexian_utils.transformers.rope import from_pairs, rope_frequencies, to_pairs

__all__ = [
    "axial_frequencies",
    "diagonal_frequencies",
    "flattened_frequencies",
    "grid_positions",
    "mixed_frequencies",
    "rotary_angles",
    "rotate_nd",
]


def grid_positions(rows: int, columns: int, first: tuple[float, float] = (0, 0)) -> np.ndarray:
    """The positions (x, y) of a grid, row by row: x counts rows and y columns.

    Args:
        rows: at least 1.
        columns: at least 1.
        first: position of the upper left cell.

    Returns:
        Shape ``(rows * columns, 2)``, float64.

    Raises:
        ValueError: `rows` or `columns` is no whole number of at least 1.

    Examples:
        >>> grid_positions(2, 2).tolist()
        [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    rows, columns = _checks.whole("rows", rows, 1), _checks.whole("columns", columns, 1)
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1) + np.asarray(
        first, float
    )


def axial_frequencies(head_dim: int, dimensions: int = 2, base: float = 100.0) -> np.ndarray:
    r"""Frequency vectors on the axes: the same table :math:`\theta_m=B^{-2Dm/d}` for each of D.

    Args:
        head_dim: size d of a head, divisible by 2D.
        dimensions: D, numbers in a position.
        base: B; images have few positions, so that 100 is more usual than the 10000 of text.

    Returns:
        Shape ``(d / 2, D)``; the first ``d / (2D)`` rows belong to the first axis, and so on.

    Raises:
        ValueError: for a head size that does not fit, fewer than one dimension or a bad base.

    Source: kexue.fm/archives/8397, the last equation.

    Examples:
        >>> axial_frequencies(4).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    _checks.whole("dimensions", dimensions, 1)
    if head_dim < 1 or head_dim % (2 * dimensions):
        raise ValueError(
            f"head_dim must be divisible by {2 * dimensions}, two for each axis, got {head_dim!r}"
        )
    theta = rope_frequencies(head_dim // dimensions, base)
    return np.kron(np.eye(dimensions), theta[:, None])


def diagonal_frequencies(head_dim: int, base: float = 100.0) -> np.ndarray:
    r"""Frequency vectors on the bisectors of the plane, :math:`(\theta_m,\theta_m)` and
    :math:`(\theta_m,-\theta_m)`.

    Args:
        head_dim: divisible by 4.
        base: of the table :math:`\theta_m`, which is that of :func:`axial_frequencies`.

    Returns:
        Shape ``(head_dim / 2, 2)``.

    Raises:
        ValueError: for a head size that does not fit or a bad base.

    Source: chapter 8397, equation (7): two-sided multiplication of quaternions.

    Examples:
        >>> diagonal_frequencies(4).shape
        (2, 2)
    """
    return axial_frequencies(head_dim, 2, base) @ np.array([[1.0, 1.0], [1.0, -1.0]])


def mixed_frequencies(head_dim: int, seed: int, base: float = 100.0) -> np.ndarray:
    """Frequency vectors of the axial lengths in random directions.

    Args:
        head_dim: divisible by 4.
        seed: of the directions, at least 0.
        base: as for :func:`axial_frequencies`.

    Returns:
        Shape ``(head_dim / 2, 2)``.

    Raises:
        ValueError: for a head size that does not fit, a bad base or a negative seed.

    Source: the starting point of Heo et al. 2024 (https://arxiv.org/abs/2403.13298), who train the
        vectors.

    Examples:
        >>> mixed_frequencies(8, seed=0).shape
        (4, 2)
    """
    lengths = axial_frequencies(head_dim, 2, base).sum(axis=1)
    _checks.seed(seed)
    direction = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(lengths))
    return lengths[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)


def flattened_frequencies(head_dim: int, width: int, base: float = 100.0) -> np.ndarray:
    r"""What one-dimensional RoPE of the index :math:`xw+y` is in two dimensions: one direction.

    Args:
        head_dim: even.
        width: w, columns of the map, at least 1.
        base: of the one-dimensional table.

    Returns:
        Shape ``(head_dim / 2, 2)``: multiples of (w, 1).

    Raises:
        ValueError: for an odd head size, a width below 1 or a bad base.

    Examples:
        >>> flattened_frequencies(4, width=14).shape
        (2, 2)
    """
    _checks.whole("width", width, 1)
    return np.outer(rope_frequencies(head_dim, base), [width, 1.0])


def rotary_angles(positions: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """Angles by which the pairs are turned: inner products of positions and frequency vectors.

    Args:
        positions: shape ``(..., D)``.
        frequencies: shape ``(pairs, D)``, radians per unit of position.

    Returns:
        Shape ``(..., pairs)``, float64. Cast sines and cosines to less, not these angles: in
        float32 an angle near 10000 is only good to 5e-4.

    Raises:
        ValueError: if the last axes differ or `frequencies` is not a matrix.

    Examples:
        >>> rotary_angles(grid_positions(1, 2), axial_frequencies(4)).tolist()
        [[0.0, 0.0], [0.0, 1.0]]
    """
    positions, frequencies = np.asarray(positions, float), np.asarray(frequencies, float)
    if frequencies.ndim != 2 or positions.ndim < 1 or positions.shape[-1] != frequencies.shape[1]:
        raise ValueError(
            "positions and frequencies must have shapes (..., D) and (pairs, D), "
            f"got {positions.shape} and {frequencies.shape}"
        )
    return positions @ frequencies.T


def rotate_nd(
    x: np.ndarray, positions: np.ndarray, frequencies: np.ndarray, layout: str = "interleaved"
) -> np.ndarray:
    """Turn each pair of queries or keys by its frequency vector times the position.

    Give a token without a position, such as a class token, the position 0; it then sits at the
    origin of the grid.

    Args:
        x: queries or keys (not values), shape ``(..., n, d)``.
        positions: shape ``(n, D)``.
        frequencies: shape ``(d / 2, D)``.
        layout: which components form a pair, "interleaved" or "half".

    Returns:
        An array of the shape and floating type of `x`.

    Raises:
        ValueError: for an odd d, another layout, or shapes that do not fit.

    Source: kexue.fm/archives/8397; equation (9) of the chapter.

    Examples:
        >>> q = np.ones((1, 4, 4))
        >>> turned = rotate_nd(q, grid_positions(2, 2), axial_frequencies(4))
        >>> np.linalg.norm(turned, axis=-1).round(12).tolist()
        [[2.0, 2.0, 2.0, 2.0]]
    """
    pairs, angles = to_pairs(x, layout), rotary_angles(positions, frequencies)
    if angles.shape != pairs.shape[-2:]:
        raise ValueError(
            f"positions and frequencies must give angles of shape {pairs.shape[-2:]}, "
            f"got {angles.shape}"
        )
    return from_pairs(pairs * np.exp(1j * angles).astype(pairs.dtype), layout, x)
