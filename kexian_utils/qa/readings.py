"""What a reader answers: a reading of one question, passage by passage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Asked", "PassageReading", "Reading"]

Asked = tuple[str, Sequence[str]]  # a question and its passages


class PassageReading(NamedTuple):
    """What one passage says.

    Attributes:
        text: the passage, of n characters.
        answerable: the global score.
        p_start, p_end: probabilities of start and end, shape (n,), the global score included.
        candidates: strings that the passage votes for, with their scores.
        span: place of the winning answer here, end excluded; None if the passage does not
            propose it.

    Examples:
        >>> from kexian_utils.qa.reader import DGCNNReader, bundled_reader
        >>> reader = DGCNNReader.load(bundled_reader())
        >>> reading = reader.answer("日本的首都是哪里？", ["东京是日本的首都。"])
        >>> passage = reading.passages[0]
        >>> passage.text[passage.p_start.argmax()], passage.text[passage.p_end.argmax()]
        ('东', '京')
    """

    text: str
    answerable: float
    p_start: np.ndarray
    p_end: np.ndarray
    candidates: dict[str, float]
    span: tuple[int, int] | None


class Reading(NamedTuple):
    """What all passages of a question say together.

    Attributes:
        answer: the winner; empty if no passage proposes anything.
        score: its result in the vote, 0 without an answer.
        votes: results of all candidates, best first.
        passages: in the order in which they were given.

    Examples:
        >>> from kexian_utils.qa.reader import DGCNNReader, bundled_reader
        >>> reader = DGCNNReader.load(bundled_reader())
        >>> passages = ["东京是日本的首都。", "日本的首都东京很大。", "巴黎是法国的首都。"]
        >>> reading = reader.answer("日本的首都是哪里？", passages)
        >>> reading.answer, [passage.span for passage in reading.passages]
        ('东京', [(0, 2), (5, 7), None])
    """

    answer: str
    score: float
    votes: dict[str, float]
    passages: tuple[PassageReading, ...]
