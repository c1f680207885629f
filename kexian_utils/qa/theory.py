r"""What can be said of the reader without training: focal loss and the paths through dilation.

Plain NumPy. Sources: https://kexue.fm/archives/5409 and https://kexue.fm/archives/6906.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = ["focal_posterior", "focal_probability", "path_multiplicity", "receptive_field"]


# Focal loss


def focal_posterior(p: ArrayLike, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    r"""Posterior (后验概率) at which focal loss is least for the output `p`.

    Where a share :math:`\pi` of the labels is 1, the expected loss is
    :math:`-\alpha\pi(1-p)^\gamma\log p-(1-\alpha)(1-\pi)p^\gamma\log(1-p)`. It is least where

    .. math:: \frac{\pi}{1-\pi}=\frac{1-\alpha}{\alpha}\frac{h(1-p)}{h(p)},\qquad
        h(p)=\frac{(1-p)^\gamma}{p}-\gamma(1-p)^{\gamma-1}\log p.

    As :math:`h` falls, the relation is one to one; :func:`focal_probability` is its inverse. For
    :math:`\gamma=0` and :math:`\alpha=\frac12` the loss is cross entropy and :math:`\pi=p`.

    Sources: T.-Y. Lin and others, *Focal Loss for Dense Object Detection*, ICCV 2017, for the
    loss; N. Charoenphakdee and others, *On Focal Loss for Class-Posterior Probability
    Estimation*, CVPR 2021, https://arxiv.org/abs/2011.09172, for the question.

    Args:
        p: outputs of the network, of any shape, between 0 and 1.
        alpha: weight of the label 1, more than 0 and less than 1.
        gamma: focusing parameter, at least 0.

    Returns:
        The posteriors, float64, of the shape of `p`.

    Raises:
        ValueError: for an argument outside its range.
    """
    output = _unit_interval("p", p)
    _check_focal(alpha, gamma)
    within = (output > 0) & (output < 1)
    # Below the least normal number 1 / p would overflow.
    inner = np.where(within, np.maximum(output, np.finfo(float).tiny), 0.5)
    positive = alpha * _slope(inner, 1 - inner, np.log(inner), gamma)
    negative = (1 - alpha) * _slope(1 - inner, inner, np.log1p(-inner), gamma)
    with np.errstate(over="ignore", divide="ignore"):  # the share is then 0, as it should be
        share = 1 / (1 + positive / negative)
    return np.where(within, share, output)


def _slope(p: np.ndarray, rest: np.ndarray, log_p: np.ndarray, gamma: float) -> np.ndarray:
    return rest**gamma / p - gamma * rest ** (gamma - 1) * log_p


def focal_probability(posterior: ArrayLike, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    r"""Output that focal loss asks for where a share `posterior` of the labels is 1.

    The inverse of :func:`focal_posterior`, which says more, by bisection of the logit.

    Args:
        posterior: shares, of any shape, between 0 and 1.
        alpha: weight of the label 1, more than 0 and less than 1.
        gamma: focusing parameter, at least 0.

    Returns:
        The outputs, float64, of the shape of `posterior`.

    Raises:
        ValueError: for an argument outside its range.
    """
    share = _unit_interval("posterior", posterior)
    _check_focal(alpha, gamma)
    low, high = np.full(share.shape, -745.0), np.full(share.shape, 37.0)
    for _ in range(70):  # 782 / 2^70 is below the rounding of the logit
        middle = (low + high) / 2
        too_small = focal_posterior(_sigmoid(middle), alpha, gamma) < share
        low, high = np.where(too_small, middle, low), np.where(too_small, high, middle)
    inner = (share > 0) & (share < 1)
    return np.where(inner, _sigmoid((low + high) / 2), share)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1.0) / (1 + small)


def _unit_interval(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1, got {values}")
    return array


def _check_focal(alpha: float, gamma: float) -> None:
    _checks.probability("alpha", alpha, zero=False, one=False)
    _checks.real("gamma", gamma, least=0)


# Dilation


def receptive_field(kernel_size: int, rates: Sequence[int]) -> int:
    r"""Positions that one output of stacked dilated convolutions (膨胀卷积) depends on.

    With the kernel size :math:`k` and the rates :math:`r_l`: :math:`1+(k-1)\sum_l r_l`. Positions
    that the rates leap over are counted; :func:`path_multiplicity` shows them as zeros.

    Args:
        kernel_size: at least 1, the same in every layer.
        rates: dilation rate of each layer, at least 1; no layer has the receptive field 1.

    Raises:
        ValueError: for a kernel size or rate below 1, or one that is no integer.
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
