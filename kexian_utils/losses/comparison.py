r"""The losses of the book for one right class among n, side by side, and what they ask for.

Plain NumPy, from the formulas alone, as the page *Losses compared* shows them. Each is a function
of the scores :math:`x` and the target :math:`t` by way of :math:`p_t=\mathrm{softmax}(x)_t`; with
two classes :math:`p_t=\sigma(m)`, where the margin (间隔) :math:`m` is the target's score less the
other one. Sources: articles 4293, 4733 and 6620.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, logsumexp, softmax

from kexian_utils import _checks

__all__ = ["COMPARED", "ComparedLoss", "LossFacts", "best_output", "loss_facts"]

Formula = Callable[[np.ndarray, int, float], np.ndarray]
FAR = 60.0  # a margin at which nothing is left to decide in float64


@dataclass(frozen=True)
class ComparedLoss:
    r"""A loss of scores and a target.

    Attributes:
        name: as the page calls it.
        article: that it is from.
        formula: in LaTeX, of :math:`p_t`.
        symbol: of its parameter, in LaTeX; "" if it has none.
        strengths: values of the parameter, from the mildest on; one number if it has none.
        components: what to train with, dotted names.
        of_scores: the formula, from scores of shape ``(..., n)``, the target and the parameter.

    Examples:
        >>> focal = COMPARED["focal loss"]
        >>> focal(np.array([0.0, 0.0]), 0, 2.0).round(4).item()  # 0.25 log 2
        0.1733
    """

    name: str
    article: str
    formula: str
    symbol: str
    strengths: tuple[float, ...]
    components: tuple[str, ...]
    of_scores: Formula

    def __call__(self, scores: ArrayLike, target: int, strength: float) -> np.ndarray:
        """The loss, of the shape of `scores` without the last axis."""
        return self.of_scores(np.asarray(scores, dtype=float), target, strength)

    def of_margin(self, margin: ArrayLike, strength: float, classes: int = 2) -> np.ndarray:
        """The loss where the target leads all other classes by `margin`, of its shape."""
        margin = np.asarray(margin, dtype=float)
        others = np.zeros((*margin.shape, classes - 1))
        return self(np.concatenate([margin[..., None], others], axis=-1), 0, strength)


@dataclass(frozen=True)
class LossFacts:
    """What a loss does, measured on its formula, for a target that leads by a margin.

    Attributes:
        slope_at_zero: derivative by the margin where all scores are equal.
        right_tail: the rate a at which it falls like exp(-a margin); infinite if it gets to 0.
        left_slope: derivative by the margin where the target is far behind.
        convex: whether it is convex in the margin.
        calibrated: whether the likelier of two classes gets the higher score.
        proper: whether the probabilities that come out are those that go in, for two classes.

    Examples:
        >>> loss_facts(COMPARED["margin loss"], 0.6).right_tail  # it gets to 0
        inf
    """

    slope_at_zero: float
    right_tail: float
    left_slope: float
    convex: bool
    calibrated: bool
    proper: bool


def loss_facts(loss: ComparedLoss, strength: float, classes: int = 2) -> LossFacts:
    """Measure a loss.

    Args:
        loss: of :data:`COMPARED`.
        strength: its parameter.
        classes: at least 2.

    Examples:
        >>> facts = loss_facts(COMPARED["focal loss"], 2.0)
        >>> round(facts.slope_at_zero, 3), round(facts.right_tail, 3), facts.convex, facts.proper
        (-0.298, 3.0, False, False)
    """
    _checks.whole("classes", classes, 2)

    def value(margin: ArrayLike) -> np.ndarray:
        return loss.of_margin(margin, strength, classes)

    def slope(margin: float, step: float = 1e-5) -> float:
        return float((value(margin + step) - value(margin - step)) / (2 * step))

    near, far = value([FAR / 4, FAR / 3])
    rate = np.log(near / far) / (FAR / 3 - FAR / 4) if far > 0 else np.inf
    margins = np.linspace(-12, 12, 4801)
    second = np.diff(value(margins), 2)
    shares = np.linspace(0.02, 0.98, 49)
    shares = shares[np.abs(shares - 0.5) > 1e-9]
    answers = best_output(loss, strength, shares)
    return LossFacts(
        slope(0.0),
        float(rate),
        slope(-FAR / 2),
        bool(second.min() > -1e-13),
        bool(np.all((answers > 0.5 + 1e-6) == (shares > 0.5))),
        bool(np.abs(answers - shares).max() < 1e-5),
    )


def best_output(
    loss: ComparedLoss, strength: float, posterior: ArrayLike, classes: int = 2
) -> np.ndarray:
    r"""The output for a class at which the expected loss is least.

    A share `posterior` of the labels is this class, the other labels are shared equally among the
    other classes, whose scores are kept equal. By a search over the lead in score: no formula but
    that of the loss is used.

    Args:
        loss: of :data:`COMPARED`.
        strength: its parameter.
        posterior: of any shape, between 0 and 1, both left out.
        classes: at least 2.

    Returns:
        The best :math:`\mathrm{softmax}(x)_t`, of the shape of `posterior`. Nearly 0 or 1 where
        the loss asks for scores without bound.

    Raises:
        ValueError: a posterior or a number of classes outside its range.

    Examples:
        >>> best_output(COMPARED["focal loss"], 2.0, [0.3, 0.5]).round(3).tolist()
        [0.422, 0.5]
        >>> best_output(COMPARED["margin loss"], 0.6, 0.3).round(3).item()
        0.4
    """
    shares = np.asarray(posterior, dtype=float)[..., None]
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"posterior must lie between 0 and 1, got {posterior!r}")
    _checks.whole("classes", classes, 2)

    def both(leads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The loss for a target that leads, and for one of the others."""
        others = np.zeros((*leads.shape, classes - 1))
        scores = np.concatenate([leads[..., None], others], axis=-1)
        return loss(scores, 0, strength), loss(scores, 1, strength)

    # A grid, then a finer one about the best place, until the steps are those of rounding.
    leads, step = np.linspace(-FAR, FAR, 2401), FAR / 1200
    while True:
        right, wrong = both(leads)
        place = np.argmin(shares * right + (1 - shares) * wrong, axis=-1)[..., None]
        lead = np.take_along_axis(leads + 0 * shares, place, axis=-1)
        if step < 1e-8:
            others = np.zeros((*lead.shape[:-1], classes - 1))
            return softmax(np.concatenate([lead, others], axis=-1), axis=-1)[..., 0]
        leads, step = lead + np.linspace(-2 * step, 2 * step, 41), step / 10


def _log_p(x: np.ndarray, t: int) -> np.ndarray:
    return log_softmax(x, axis=-1)[..., t]


def _log_rest(x: np.ndarray, t: int, sharpness: float = 1.0) -> np.ndarray:
    """Logarithm of 1 - softmax(K x)_t, of positive terms only."""
    x = sharpness * x
    return logsumexp(np.delete(x, t, axis=-1), axis=-1) - logsumexp(x, axis=-1)


COMPARED = {
    loss.name: loss
    for loss in (
        ComparedLoss(
            "cross-entropy",
            "4293",
            r"-\log p_t",
            "",
            (0.0,),
            ("keras.losses.BinaryCrossentropy", "keras.losses.CategoricalCrossentropy"),
            lambda x, t, _: -_log_p(x, t),
        ),
        ComparedLoss(
            "margin loss",
            "4293",
            r"\max(0,\ \log\mu-\log p_t)",
            r"\mu",
            (0.95, 0.8, 0.7, 0.6),
            ("losses.truncation.MarginCrossentropy",),
            lambda x, t, mu: np.maximum(0, np.log(mu) - _log_p(x, t)),
        ),
        ComparedLoss(
            "soft truncation",
            "4733",
            r"-\bigl(1-\mathrm{softmax}(Kx)_t\bigr)\log p_t",
            "K",
            (1.0, 2.0, 5.0, 20.0),
            (
                "losses.truncation.SoftTruncatedCrossentropy",
                "losses.truncation.CategoricalSoftTruncatedCrossentropy",
            ),
            lambda x, t, k: -np.exp(_log_rest(x, t, k)) * _log_p(x, t),
        ),
        ComparedLoss(
            "focal loss",
            "4733",
            r"-(1-p_t)^\gamma\log p_t",
            r"\gamma",
            (0.5, 1.0, 2.0, 5.0),
            ("keras.losses.BinaryFocalCrossentropy", "keras.losses.CategoricalFocalCrossentropy"),
            lambda x, t, gamma: -np.exp(gamma * _log_rest(x, t)) * _log_p(x, t),
        ),
        ComparedLoss(
            "soft accuracy",
            "6620",
            r"1-p_t",
            "",
            (0.0,),
            ("losses.smooth.SoftAccuracyLoss",),
            lambda x, t, _: np.exp(_log_rest(x, t)),
        ),
    )
}
