"""Statistics that several chapters use: bootstrap intervals (自助法), calibration (校准), columns.

Plain NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = [
    "Interval",
    "bootstrap_interval",
    "expected_calibration_error",
    "paired_bootstrap",
    "standardize",
]


class Interval(NamedTuple):
    """An estimate with a confidence interval.

    Examples:
        >>> Interval(estimate=0.5, low=0.4, high=0.6).high
        0.6
    """

    estimate: float
    low: float
    high: float


def bootstrap_interval(
    counts: ArrayLike, samples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Percentile bootstrap interval of a ratio of sums over sentences, such as F1 or UUAS.

    Words and arcs of one sentence depend on each other, so whole sentences are drawn. Source:
    B. Efron and R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13.

    Args:
        counts: shape ``(n, 2)``; per sentence the numerator and the denominator, at least 0.
        samples: number of resamples, at least 100.
        seed: at least 0.
        level: of confidence, between 0 and 1.

    Returns:
        The ratio of the sums, and the interval.

    Raises:
        ValueError: for counts that are negative, not finite, of another shape, or without any
            denominator; for other arguments outside their range.

    Examples:
        >>> found = bootstrap_interval([[3, 4], [1, 2], [5, 6], [0, 3]])  # right, of
        >>> found.estimate
        0.6
        >>> bool(found.low < 0.6 < found.high)
        True
    """
    table = _counts("counts", counts)
    ratios = _resampled_ratios([table], samples, seed, level)[0]
    return _interval(_ratio(table), ratios, level)


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, samples: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Interval of the difference of two such ratios, `a` less `b`, on the same sentences.

    Both are computed on the same draws, so what makes a sentence hard for both cancels. (SciPy's
    ``bootstrap(paired=True)`` would serve as well, but between the versions supported here it
    changes the name of the argument that holds the seed.)

    Args:
        a: as `counts` of :func:`bootstrap_interval`, where the other arguments are, too.
        b: the same for the other system; row by row the same sentences.
        samples: number of resamples.
        seed: at least 0.
        level: of confidence.

    Raises:
        ValueError: as there, or if `a` and `b` differ in length.

    Examples:
        >>> ours, theirs = [[3, 4], [2, 2], [4, 4]], [[1, 4], [1, 2], [3, 4]]
        >>> found = paired_bootstrap(ours, theirs)
        >>> found.estimate
        0.4
        >>> bool(found.low > 0)  # ours is better on every sentence
        True
    """
    first, second = _counts("a", a), _counts("b", b)
    if len(first) != len(second):
        raise ValueError(f"b must have {len(first)} rows like a, got {len(second)}")
    one, other = _resampled_ratios([first, second], samples, seed, level)
    return _interval(_ratio(first) - _ratio(second), one - other, level)


def _counts(name: str, values: ArrayLike) -> np.ndarray:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] != 2 or len(table) == 0:
        raise ValueError(f"{name} must have shape (n, 2) with n of at least 1, got {table.shape}")
    if not (np.isfinite(table).all() and (table >= 0).all()):
        raise ValueError(f"{name} must hold finite numbers of at least 0, got {table.tolist()}")
    if table[:, 1].sum() == 0:
        raise ValueError(f"{name} must have a denominator above 0, all are 0")
    return table


def _ratio(table: np.ndarray) -> float:
    numerator, denominator = table.sum(axis=0)
    return float(numerator / denominator)


def _resampled_ratios(
    tables: list[np.ndarray], samples: int, seed: int, level: float
) -> list[np.ndarray]:
    """For each table the ratios on the same draws; NaN where a draw has no denominator."""
    _checks.whole("samples", samples, 100)
    _checks.whole("seed", seed, 0)
    if not 0 < level < 1:
        raise ValueError(f"level must be more than 0 and less than 1, got {level}")
    n = len(tables[0])
    rng = np.random.default_rng(seed)
    both = np.hstack(tables)
    sums = []
    for start in range(0, samples, 500):  # how often each sentence is drawn, 500 draws at a time
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(500, samples - start))
        sums.append(weights @ both)
    drawn = np.concatenate(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        return [drawn[:, i] / drawn[:, i + 1] for i in range(0, both.shape[1], 2)]


def _interval(estimate: float, values: np.ndarray, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return Interval(estimate, float(low), float(high))


def expected_calibration_error(p: ArrayLike, y: ArrayLike, bins: int = 10) -> float:
    r"""Mean distance of the output from the share of ones, over bins of equal width.

    .. math:: \sum_b\frac{n_b}{n}\,\Bigl|\frac1{n_b}\sum_{i\in b}(y_i-p_i)\Bigr|

    Source: C. Guo and others, *On Calibration of Modern Neural Networks*, ICML 2017,
    https://arxiv.org/abs/1706.04599, here for the probability of label 1.

    Args:
        p: outputs between 0 and 1, shape ``(n,)``, at least one.
        y: labels 0 and 1, shape ``(n,)``.
        bins: number of bins.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: for outputs outside [0, 1] or NaN, other labels, shapes that differ, or no bin.

    Examples:
        >>> round(expected_calibration_error([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 1, 1, 0]), 9)
        0.0
        >>> round(expected_calibration_error([0.9, 0.9, 0.2], [1, 0, 0]), 4)  # (0.8 + 0.2) / 3
        0.3333
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    _checks.whole("bins", bins, 1)
    if p.ndim != 1 or p.shape != y.shape or not p.size:
        raise ValueError(f"p and y must have one shape (n,), got {p.shape} and {y.shape}")
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p must lie between 0 and 1, got {p[~((p >= 0) & (p <= 1))][0]}")
    if not ((y == 0) | (y == 1)).all():
        raise ValueError(f"y must hold labels 0 and 1, got {y[(y != 0) & (y != 1)][0]}")
    place = np.minimum((p * bins).astype(int), bins - 1)
    return float(np.abs(np.bincount(place, y - p, minlength=bins)).sum() / len(p))


def standardize(
    x: np.ndarray, epsilon: float = 0.0, *, reference: np.ndarray | None = None
) -> np.ndarray:
    r"""Subtract the column means and divide by :math:`\sqrt{\mathrm{variance}+\epsilon}`.

    Args:
        x: samples in rows, shape ``(n, d)``.
        epsilon: added to the variances (divisor ``n``), at least 0.
        reference: rows whose statistics are used, shape ``(k, d)``; `x` itself by default. For
            test data pass the training data.

    Returns:
        Shape ``(n, d)``, float64. Columns that are constant in `reference` are only shifted, so
        they become 0 there (never nan), whatever `epsilon`.

    Raises:
        ValueError: if `x` or `reference` is not 2-D, is empty or not finite, their numbers of
            columns differ, or `epsilon` is negative.

    Examples:
        >>> standardize(np.array([[0.0, 5.0], [2.0, 5.0]])).tolist()
        [[-1.0, 0.0], [1.0, 0.0]]
    """
    x = finite_matrix(x)
    if not (np.isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"epsilon must be at least 0 and finite, got {epsilon}")
    source = x if reference is None else finite_matrix(reference, "reference")
    if source.shape[1] != x.shape[1]:
        raise ValueError(
            f"reference must have as many columns as x, {x.shape[1]}, got {source.shape[1]}"
        )
    constant = (source == source[0]).all(axis=0)
    mean = np.where(constant, source[0], source.mean(axis=0))
    scale = np.where(constant, 1.0, np.sqrt(source.var(axis=0) + epsilon))
    return (x - mean) / scale


def finite_matrix(x: Any, name: str = "x") -> np.ndarray:
    """A matrix in float64, shape ``(n, d)``; a ValueError if it is empty or not finite."""
    x = np.asarray(x, dtype=float)
    if x.ndim != 2 or x.size == 0:
        raise ValueError(f"{name} must be 2-D and not empty, got shape {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got nan or infinity")
    return x
