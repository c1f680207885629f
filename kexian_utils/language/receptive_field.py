"""What a stack of dilated convolutions sees: its receptive field (感受野) and the paths through it.

Plain NumPy. Source: https://kexue.fm/archives/6906.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kexian_utils import _checks

__all__ = ["path_multiplicity", "receptive_field"]


def receptive_field(kernel_size: int, rates: Sequence[int]) -> int:
    r"""Positions that one output of stacked dilated convolutions (膨胀卷积) depends on.

    With the kernel size :math:`k` and the rates :math:`r_l`: :math:`1+(k-1)\sum_l r_l`. Positions
    that the rates leap over are counted; :func:`path_multiplicity` shows them as zeros.

    Args:
        kernel_size: at least 1, the same in every layer.
        rates: dilation rate of each layer, at least 1; no layer has the receptive field 1.

    Raises:
        ValueError: for a kernel size or rate below 1, or one that is no integer.

    Examples:
        >>> receptive_field(3, [1, 2, 4])
        15
    """
    _checks.whole("kernel_size", kernel_size, 1)
    return 1 + (int(kernel_size) - 1) * sum(_checked_rates(rates))


def path_multiplicity(rates: Sequence[int], kernel_size: int = 3) -> np.ndarray:
    r"""Number of paths from one output of stacked dilated convolutions to each input (路径数).

    A path picks one tap in every layer. For three taps the counts are the coefficients of
    :math:`\prod_l(z^{-r_l}+1+z^{r_l})`: Stern's diatomic sequence up and down for the rates
    1, 2, 4, …, all ones for 1, 3, 9, …

    Args:
        rates: dilation rate of each layer, at least 1.
        kernel_size: taps per layer, at least 1.

    Returns:
        The counts, int64, shape ``(R,)``, from the leftmost input to the rightmost, where `R` is
        the receptive field. With an odd kernel the middle one belongs to the position itself.

    Raises:
        ValueError: for a kernel size or rate below 1, or one that is no integer; if there are
            more paths than an int64 holds.

    Examples:
        >>> path_multiplicity([1, 1]).tolist()
        [1, 2, 3, 2, 1]
    """
    _checks.whole("kernel_size", kernel_size, 1)
    steps = _checked_rates(rates)
    if kernel_size ** len(steps) > np.iinfo(np.int64).max:
        raise ValueError(
            f"rates must have few enough layers for the number of paths to fit in 63 bits, "
            f"got {len(steps)} layers of {kernel_size} taps"
        )
    counts = np.ones(1, dtype=np.int64)
    for rate in steps:
        longer = np.zeros(len(counts) + (kernel_size - 1) * rate, dtype=np.int64)
        for tap in range(kernel_size):
            longer[tap * rate : tap * rate + len(counts)] += counts
        counts = longer
    return counts


def _checked_rates(rates: Sequence[int]) -> list[int]:
    for rate in rates:
        _checks.whole("each of rates", rate, 1)
    return [int(rate) for rate in rates]
