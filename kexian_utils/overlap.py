"""What two sets of texts share: the look-up table (查表), the trivial rival of every text model.

Where copies of test texts stand in the training set, a table that only remembers scores high. Put
it beside any model of texts: the model must beat it, and on texts that are disjoint it must be no
better than the most frequent label. Plain NumPy. Source: article 4638.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

__all__ = ["LookupTable", "overlap_share", "text_key"]


def text_key(text: str) -> str:
    """The letters, digits and characters of a text: texts with one key count as copies.

    After NFKC normalisation, without regard to case, spaces and punctuation.

    Args:
        text: any string.

    Returns:
        A string, empty if the text has no letter, digit or character.

    Examples:
        >>> text_key("很好，ＯＫ！") == text_key("很好 ok")
        True
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if c.isalnum())


def overlap_share(
    train: Iterable[str], other: Sequence[str], key: Callable[[str], str] = text_key
) -> float:
    """Share of `other` that has a copy in `train`; 0 if the two are disjoint.

    Args:
        train: texts of the training set.
        other: texts of the validation or test set, at least one.
        key: texts with equal keys are copies; `str` asks for equality in every character.

    Returns:
        From 0 to 1.

    Raises:
        ValueError: `other` is empty.

    Examples:
        >>> overlap_share(["好", "差"], ["好！", "一般", "差", "很好"])
        0.5
    """
    if len(other) == 0:
        raise ValueError("other must hold at least one text, got none")
    known = set(map(key, train))
    return sum(key(text) in known for text in other) / len(other)


class LookupTable:
    """A "model" that learns the training set by heart and nothing else.

    A text that it has seen gets the label that it had most often; any other text, and one whose
    labels tie, gets the most frequent label of all. Of labels that are equally frequent the one
    that was met first counts.

    Args:
        key: texts with equal keys are one text.

    Attributes:
        default: the most frequent label, after :meth:`fit`.

    Examples:
        >>> table = LookupTable().fit(["好", "不错", "差"], [1, 1, 0])
        >>> table.predict(["差！", "很差"]).tolist()
        [0, 1]
    """

    def __init__(self, key: Callable[[str], str] = text_key) -> None:
        self._key = key
        self._labels: dict[str, Any] | None = None
        self.default: Any = None

    def fit(self, texts: Sequence[str], labels: Sequence[Any] | np.ndarray) -> LookupTable:
        """Remember texts with their labels, in the place of what was known before.

        Args:
            texts: at least one.
            labels: as many; numbers or strings.

        Returns:
            The table itself.

        Raises:
            ValueError: nothing to remember, or another number of labels than of texts.
        """
        labels = np.asarray(labels)
        if labels.shape != (len(texts),) or len(texts) == 0:
            raise ValueError(
                "labels must be one for each text, and texts not empty, "
                f"got {len(texts)} texts and labels of shape {labels.shape}"
            )
        counts: dict[str, Counter] = defaultdict(Counter)
        for text, label in zip(texts, labels.tolist(), strict=True):
            counts[self._key(text)][label] += 1
        self.default = Counter(labels.tolist()).most_common(1)[0][0]
        self._labels = {}
        for text, found in counts.items():
            (label, most), *others = found.most_common(2)
            tied = bool(others) and others[0][1] == most
            self._labels[text] = self.default if tied else label
        return self

    def knows(self, texts: Iterable[str]) -> np.ndarray:
        """Which texts the training set holds: bools, shape ``(texts,)``.

        Raises:
            ValueError: before :meth:`fit`.
        """
        known = self._remembered()
        return np.array([self._key(text) in known for text in texts], dtype=bool)

    def predict(self, texts: Iterable[str]) -> np.ndarray:
        """Labels of texts, shape ``(texts,)``.

        Raises:
            ValueError: before :meth:`fit`.
        """
        known = self._remembered()
        return np.array([known.get(self._key(text), self.default) for text in texts])

    def _remembered(self) -> dict[str, Any]:
        if self._labels is None:
            raise ValueError("the table is empty: call fit(texts, labels) first")
        return self._labels
