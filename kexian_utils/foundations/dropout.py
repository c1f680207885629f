"""Dropout (随机失活) by the bit: which entries share one, what that costs, what it averages to.

For networks use ``keras.layers.Dropout``, whose ``noise_shape`` means the same as here. These
functions compute with NumPy what such a layer draws, its covariance and its penalty; their noise
shapes are strict, where libraries broadcast whatever fits. Source: article 4521.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kexian_utils import _checks

__all__ = [
    "drop_words",
    "dropout_covariance",
    "dropout_mask",
    "dropout_ridge_solution",
    "geometric_mean_probs",
    "noise_groups",
]


def dropout_mask(
    shape: Sequence[int],
    rate: float,
    noise_shape: Sequence[int | None] | None = None,
    *,
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw a mask: zero with probability `rate`, else ``1 / (1 - rate)`` (article 4521, (1)).

    Args:
        shape: of the array to be masked.
        rate: probability of a zero, from 0 to 1; at 1 the mask is all zeros.
        noise_shape: for each axis 1 (its entries share their bits), the size of the axis, or None
            for that size; default: nothing is shared.
        rng: the source of the bits.

    Returns:
        float64, of the full `shape`.

    Raises:
        ValueError: for a rate or a noise shape that does not fit; no broadcasting of short shapes.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> mask = dropout_mask((1000, 4), 0.2, noise_shape=(1000, 1), rng=rng)  # whole rows
        >>> np.unique(mask).tolist(), bool((mask == mask[:, :1]).all())
        ([0.0, 1.25], True)
    """
    keep = 1.0 - _check_rate(rate)
    drawn = _check_noise_shape(shape, noise_shape)
    if keep == 0:
        return np.zeros(tuple(shape))
    return np.broadcast_to((rng.random(drawn) < keep) / keep, tuple(shape)).copy()


def noise_groups(
    shape: Sequence[int], noise_shape: Sequence[int | None] | None = None
) -> np.ndarray:
    """Number the independent bits: entries with the same number share one.

    Args:
        shape: of the array to be masked.
        noise_shape: as for :func:`dropout_mask`, and so are the errors raised.

    Returns:
        int64, of the full `shape`, numbers 0, 1, … in row-major order of `noise_shape`.

    Examples:
        >>> noise_groups((2, 3), noise_shape=(1, None)).tolist()  # the rows share their bits
        [[0, 1, 2], [0, 1, 2]]
    """
    drawn = _check_noise_shape(shape, noise_shape)
    numbers = np.arange(math.prod(drawn)).reshape(drawn)
    return np.broadcast_to(numbers, tuple(shape)).copy()


def dropout_covariance(
    x: np.ndarray, rate: float, noise_shape: Sequence[int | None] | None = None
) -> np.ndarray:
    r"""Covariance of the entries of masked `x` (article 4521, (2)).

    :math:`x_ix_j\,r/(1-r)` where entries i and j share their bit, zero elsewhere.

    Args:
        x: array of n entries, any shape.
        rate: drop rate r, at least 0 and less than 1.
        noise_shape: as for :func:`dropout_mask`.

    Returns:
        Shape ``(n, n)``, entries of `x` in row-major order.

    Raises:
        ValueError: for a rate or a noise shape that does not fit.

    Examples:
        >>> dropout_covariance(np.array([[2.0, 0.0], [0.0, 2.0]]), 0.5).tolist()
        [[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 4.0]]
    """
    odds = _odds(rate)
    x = np.asarray(x, dtype=float)
    groups = noise_groups(x.shape, noise_shape).ravel()
    return odds * np.outer(x, x) * (groups[:, None] == groups)


def dropout_ridge_solution(
    x: np.ndarray, y: np.ndarray, rate: float, groups: np.ndarray | None = None
) -> np.ndarray:
    r"""Minimiser of the expected squared loss under masks on the inputs (article 4521, (7)).

    Solves :math:`(X^\top X+\frac r{1-r}S)\,w=X^\top y`, where S is the part of :math:`X^\top X`
    whose two columns share a bit (its diagonal if nothing is shared). Of several minimisers the
    shortest is returned. As the rate tends to 1, the weights tend to 0.

    Args:
        x: inputs, shape ``(samples, features)``.
        y: targets, shape ``(samples,)`` or ``(samples, outputs)``.
        rate: drop rate r, at least 0 and less than 1.
        groups: for each feature the number of its bit, shape ``(features,)``; default: all differ.

    Returns:
        Weights, shape ``(features,)`` or ``(features, outputs)``.

    Raises:
        ValueError: for a rate out of range, shapes that do not fit, or values that are not finite.

    Examples:
        >>> dropout_ridge_solution(np.array([[1.0], [1.0]]), np.array([1.0, 3.0]), 0.0).tolist()
        [2.0]
    """
    odds = _odds(rate)
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if x.ndim != 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise ValueError(
            "x must have shape (samples, features) and y as many samples, "
            f"got {x.shape} and {y.shape}"
        )
    for name, values in (("x", x), ("y", y)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, got nan or infinity")
    groups = np.arange(x.shape[1]) if groups is None else np.asarray(groups)
    if groups.shape != x.shape[1:]:
        raise ValueError(f"groups must have shape ({x.shape[1]},), got {groups.shape}")
    gram = x.T @ x
    shared = gram * (groups[:, None] == groups)
    return np.linalg.lstsq(gram + odds * shared, x.T @ y, rcond=None)[0]


def geometric_mean_probs(log_probs: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    r"""Normalised geometric mean of distributions (article 4521, (5)).

    Args:
        log_probs: logarithms of probabilities, shape ``(members, …, classes)``; logits that are
            not normalised give the same result.
        weights: of the members, shape ``(members,)``, not negative, with sum 1; default: equal.

    Returns:
        Probabilities, shape ``(…, classes)``.

    Raises:
        ValueError: for weights that are not a distribution over the members.

    Examples:
        >>> geometric_mean_probs(np.log([[0.5, 0.5], [0.9, 0.1]])).round(3).tolist()
        [0.75, 0.25]
    """
    log_probs = np.asarray(log_probs, dtype=float)
    if log_probs.ndim < 2:
        raise ValueError(f"log_probs needs shape (members, …, classes), got {log_probs.shape}")
    count = len(log_probs)
    weights = np.full(count, 1 / count) if weights is None else np.asarray(weights, dtype=float)
    if weights.shape != (count,) or np.any(weights < 0) or abs(weights.sum() - 1) > 1e-9:
        raise ValueError(f"weights must be {count} numbers of at least 0 with sum 1")
    mean = np.tensordot(weights, log_probs, axes=1)
    powers = np.exp(mean - mean.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def drop_words(
    token_ids: np.ndarray, rate: float, unknown_id: int, *, rng: np.random.Generator
) -> np.ndarray:
    """Replace whole words by the unknown one, each with probability `rate`.

    Unlike a mask on word vectors it scales nothing, and the unknown word has a vector of its own.

    Args:
        token_ids: integers, any shape.
        rate: probability from 0 to 1.
        unknown_id: what stands in the place of a dropped word.
        rng: the source of the bits.

    Returns:
        A new array of the shape and type of `token_ids`.

    Raises:
        TypeError: if `token_ids` are not integers.
        ValueError: for a rate out of range.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> drop_words(np.array([7, 8, 9]), 1.0, unknown_id=1, rng=rng).tolist()
        [1, 1, 1]
        >>> dropped = drop_words(np.arange(10, 1010), 0.1, unknown_id=1, rng=rng)
        >>> bool(60 < (dropped == 1).sum() < 140)  # about 100 of 1,000
        True
    """
    token_ids = np.asarray(token_ids)
    if not np.issubdtype(token_ids.dtype, np.integer):
        raise TypeError(f"token_ids must be integers, got {token_ids.dtype}")
    dropped = rng.random(token_ids.shape) < _check_rate(rate)
    return np.where(dropped, token_ids.dtype.type(unknown_id), token_ids)


def _check_rate(rate: float) -> float:
    return _checks.probability("rate", rate)


def _odds(rate: float) -> float:
    if _check_rate(rate) == 1:
        raise ValueError("rate must be less than 1: the variance of what is kept has no bound")
    return rate / (1 - rate)


def _check_noise_shape(
    shape: Sequence[int], noise_shape: Sequence[int | None] | None
) -> tuple[int, ...]:
    sizes = tuple(shape)
    wanted = sizes if noise_shape is None else tuple(noise_shape)
    if len(wanted) != len(sizes):
        raise ValueError(
            f"noise_shape must have as many entries as shape {sizes}, got {wanted}: "
            "write a 1 for every axis that shares its bits"
        )
    filled = tuple(s if w is None else w for s, w in zip(sizes, wanted, strict=True))
    if any(w not in (1, s) for s, w in zip(sizes, filled, strict=True)):
        raise ValueError(
            f"noise_shape must hold 1, None or the size of the axis, got {wanted} for {sizes}"
        )
    return filled
