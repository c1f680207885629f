r"""From probabilities to an answer: spans (片段) of a passage, and the vote (投票) of passages.

Plain NumPy. Sources: https://kexue.fm/archives/5409 and https://kexue.fm/archives/6906.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = ["extract_spans", "vote"]

SpanScore = Literal["product", "root", "sum"]
VoteRule = Literal["soft_square", "squares", "sum", "mean", "max", "count"]

_SPAN_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "product": lambda start, end: start * end,
    "root": lambda start, end: np.sqrt(start * end),
    "sum": lambda start, end: start + end,
}


def extract_spans(
    p_start: ArrayLike,
    p_end: ArrayLike,
    text: str,
    max_len: int = 12,
    threshold: float = 0.1,
    score: SpanScore = "product",
) -> dict[str, float]:
    r"""Candidate answers of one passage, each with its score.

    A candidate runs from a place :math:`i` with :math:`p^{st}_i>\tau` to a place :math:`j\ge i`
    with :math:`p^{en}_j>\tau`, the end included. A string that is found several times scores as
    high as its best place: one passage, one vote.

    Args:
        p_start: shape ``(n,)``; probability that an answer starts at each character.
        p_end: shape ``(n,)``; that one ends there.
        text: the `n` characters.
        max_len: longest candidate in characters, at least 1.
        threshold: :math:`\tau`, at least 0 and less than 1.
        score: ``"product"`` :math:`p^{st}_ip^{en}_j`, its ``"root"``, or the ``"sum"`` of both,
            which goes up to 2. Within a passage product and root agree on the order.

    Returns:
        String to score, in the order of the first place of each string; empty without candidates.

    Raises:
        TypeError: if `text` is no string.
        ValueError: if lengths differ, a probability lies outside 0 to 1, or another argument is
            outside its range.

    Examples:
        >>> found = extract_spans([0.9, 0.0, 0.0], [0.0, 0.8, 0.5], "东京都")
        >>> {text: round(value, 2) for text, value in found.items()}
        {'东京': 0.72, '东京都': 0.45}
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    start = _probabilities("p_start", p_start, len(text))
    end = _probabilities("p_end", p_end, len(text))
    _checks.whole("max_len", max_len, 1)
    _checks.probability("threshold", threshold, one=False)
    if score not in _SPAN_SCORES:
        raise ValueError(f"score must be one of {', '.join(_SPAN_SCORES)}, got {score!r}")
    best: dict[str, float] = {}
    ends = np.flatnonzero(end > threshold)
    for i in np.flatnonzero(start > threshold):
        near = ends[(ends >= i) & (ends < i + max_len)]
        for j, value in zip(near, _SPAN_SCORES[score](start[i], end[near]), strict=True):
            span = text[i : j + 1]
            best[span] = max(best.get(span, 0.0), float(value))
    return best


def _probabilities(name: str, values: ArrayLike, length: int) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if array.shape != (length,):
        raise ValueError(
            f"{name} must have shape ({length},), one value per character of text, "
            f"got {array.shape}"
        )
    if not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"{name} must lie between 0 and 1, got {array.tolist()}")
    return array


def _soft_square(scores: Sequence[float]) -> float:
    return math.fsum(s * s for s in scores) / (1 + math.fsum(scores))


# fsum: the result must not depend on the order of the passages.
_RULES: dict[str, Callable[[Sequence[float]], float]] = {
    "soft_square": _soft_square,
    "squares": lambda scores: math.fsum(s * s for s in scores),
    "sum": math.fsum,
    "mean": lambda scores: math.fsum(scores) / len(scores),
    "max": max,
    "count": lambda scores: float(len(scores)),
}


def vote(
    candidates: Sequence[Mapping[str, float]], rule: VoteRule = "soft_square"
) -> tuple[str, dict[str, float]]:
    r"""One answer from the candidates of all passages.

    With :math:`s_1,\dots,s_m` the scores of an answer in the `m` passages that propose it, it gets

    - ``"soft_square"``: :math:`\sum s_j^2/(1+\sum s_j)`, the articles' rule. It lies below the
      largest :math:`s_j`, and a further voter raises it only if its score is above it;
    - ``"squares"``: :math:`\sum s_j^2`; ``"sum"``: :math:`\sum s_j`;
    - ``"mean"`` of the `m` scores; ``"max"``: the largest; ``"count"``: `m`.

    Ties: among answers with the same result the one with the largest single score wins, then the
    first one in the order of code points. So the order of the passages never matters.

    Args:
        candidates: for each passage its candidates and their scores, as
            :func:`extract_spans` returns them; passages without candidates are allowed.
        rule: how scores are added up.

    Returns:
        The answer and the results of all candidates, best first; ``""`` and nothing if no passage
        has a candidate.

    Raises:
        TypeError: if `candidates` is not a sequence of dictionaries.
        ValueError: for another rule, an empty candidate, or a score that is negative or not
            finite.

    Examples:
        >>> answer, results = vote([{"东京": 0.8}, {"东京": 0.7, "大阪": 0.75}])
        >>> answer, {text: round(value, 3) for text, value in results.items()}
        ('东京', {'东京': 0.452, '大阪': 0.321})
    """
    if rule not in _RULES:
        raise ValueError(f"rule must be one of {', '.join(_RULES)}, got {rule!r}")
    scores = _by_answer(candidates)
    totals = {answer: _RULES[rule](values) for answer, values in scores.items()}
    order = sorted(totals, key=lambda answer: (-totals[answer], -max(scores[answer]), answer))
    ranked = {answer: totals[answer] for answer in order}
    return next(iter(ranked), ""), ranked


def _by_answer(candidates: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    if isinstance(candidates, (Mapping, str)):
        raise TypeError(
            "candidates must be a list of dictionaries, one per passage, "
            f"got one {type(candidates).__name__}"
        )
    scores: dict[str, list[float]] = {}
    for number, passage in enumerate(candidates):
        if not isinstance(passage, Mapping):
            raise TypeError(
                f"candidates[{number}] must be a dictionary, got {type(passage).__name__}"
            )
        for answer, score in passage.items():
            if not isinstance(answer, str) or not answer:
                raise ValueError(
                    f"candidates[{number}] must have non-empty strings as keys, got {answer!r}"
                )
            if not (math.isfinite(score) and score >= 0):
                raise ValueError(
                    f"candidates[{number}][{answer!r}] must be finite and at least 0, got {score}"
                )
            scores.setdefault(answer, []).append(float(score))
    return scores
