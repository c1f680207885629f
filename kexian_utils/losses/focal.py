r"""What focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002) makes of a probability.

Plain NumPy. Source: https://kexue.fm/archives/6906.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = ["focal_posterior", "focal_probability"]


def focal_posterior(p: ArrayLike, alpha: float = 0.25, gamma: float = 2.0) -> np.ndarray:
    r"""Posterior (后验概率) at which focal loss is least for the output `p`.

    Where a share :math:`\pi` of the labels is 1, the expected loss is
    :math:`-\alpha\pi(1-p)^\gamma\log p-(1-\alpha)(1-\pi)p^\gamma\log(1-p)`. It is least where

    .. math:: \begin{aligned}\frac{\pi}{1-\pi}&=\frac{1-\alpha}{\alpha}\frac{h(1-p)}{h(p)},\\
        h(p)&=\frac{(1-p)^\gamma}{p}-\gamma(1-p)^{\gamma-1}\log p.\end{aligned}

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

    Examples:
        >>> focal_posterior([0.3, 0.5]).round(3).tolist()  # an output of 0.5 means 0.75
        [0.236, 0.75]
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

    Examples:
        >>> focal_probability([0.01, 0.5]).round(4).tolist()  # rare labels come out too high
        [0.1084, 0.3988]
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
        raise ValueError(f"{name} must lie between 0 and 1, got {values!r}")
    return array


def _check_focal(alpha: float, gamma: float) -> None:
    _checks.probability("alpha", alpha, zero=False, one=False)
    _checks.real("gamma", gamma, least=0)


# Dilation
