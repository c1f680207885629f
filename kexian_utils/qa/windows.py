r"""What a Transformer reads of a question and a long passage: rows of tokens, windows, kinds.

A row is ``[CLS] question [SEP] window [SEP]``, a token per character. Where the encoder has
segments to tell two sentences apart, a row has *kinds*: they say of each character of the passage
whether the question holds it, alone or as part of two or three in a row, so that the network need
not learn equality from examples. Plain NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.characters import END, PAD, START, UNKNOWN, normal_form

__all__ = ["KINDS", "Characters", "WindowRow", "rows_batch", "window_row", "window_starts"]

KINDS = (
    "question",
    "passage",
    "passage, in question",
    "passage, two in question",
    "passage, three in question",
    "question, in passage",
)
_LONGEST_QUESTION = 64  # characters; of a longer one the last are read


class Characters:
    """A text as token numbers: normal forms, lower case, traditional characters as simplified.

    Args:
        vocabulary: numbers of the characters.
        simplified: pairs of characters, the traditional one and the one that is read for it.

    Examples:
        >>> characters = Characters({"[UNK]": 1, "国": 5, "a": 6}, {"國": "国"})
        >>> characters("國国Ａ 丙").tolist()  # a space is unknown
        [5, 5, 6, 1, 1]
    """

    def __init__(self, vocabulary: Mapping[str, int], simplified: Mapping[str, str]) -> None:
        self.vocabulary, self.simplified = vocabulary, simplified
        self._known: dict[str, int] = {}

    def __call__(self, text: str) -> np.ndarray:
        """One number per character, int32."""
        return np.array([self._number(c) for c in text], np.int32)

    def _number(self, character: str) -> int:
        number = self._known.get(character)
        if number is None:
            plain = self.plain(character)
            number = self._known[character] = self.vocabulary.get(plain, UNKNOWN)
        return number

    def plain(self, character: str) -> str:
        """What is read for a character."""
        plain = normal_form(character)
        plain = self.simplified.get(plain, plain)
        lower = plain.lower()
        return lower if len(lower) == 1 and plain not in self.vocabulary else plain


class WindowRow(NamedTuple):
    """A row of the network.

    Attributes:
        tokens, kinds: int32, shape (n,).
        first: place in the row of the window's first character.
        start, stop: the window's place in the passage.
    """

    tokens: np.ndarray
    kinds: np.ndarray
    first: int
    start: int
    stop: int


def window_row(asked: np.ndarray, passage: np.ndarray, start: int, length: int) -> WindowRow:
    """The row of one window.

    Args:
        asked: numbers of the question's characters.
        passage: numbers of the passage's.
        start: where the window begins.
        length: of the row at most, all marks included.

    Raises:
        ValueError: if there is no room for one character of the passage.

    Examples:
        >>> row = window_row(np.array([7, 8]), np.array([5, 7, 8, 9]), 1, 8)
        >>> row.tokens.tolist(), row.kinds.tolist()
        ([2, 7, 8, 3, 7, 8, 9, 3], [0, 5, 5, 0, 3, 3, 1, 0])
    """
    asked = asked[-_LONGEST_QUESTION:]
    room = length - len(asked) - 3
    _checks.whole("length", room, 1)
    part = passage[start : start + room]
    tokens = np.concatenate([[START], asked, [END], part, [END]]).astype(np.int32)
    kinds = np.zeros(len(tokens), np.int32)
    first = len(asked) + 2
    kinds[first : first + len(part)] = 1 + _depth(part, asked)
    kinds[1 : 1 + len(asked)] = 5 * (_depth(asked, part) > 0)
    return WindowRow(tokens, kinds, first, start, start + len(part))


def _depth(part: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of each token: how many in a row, up to three, it belongs to that stand in `among`, too."""
    depth = np.zeros(len(part), np.int32)
    codes, theirs = part.astype(np.int64), among.astype(np.int64)
    for n in (1, 2, 3):
        if n > min(len(codes), len(theirs)):
            break
        ours, other = (_grams(values, n) for values in (codes, theirs))
        found = np.isin(ours, other) & (_grams(codes != UNKNOWN, n, all_of=True))
        for shift in range(n):
            place = np.flatnonzero(found) + shift
            depth[place] = n
    return depth


def _grams(values: np.ndarray, n: int, all_of: bool = False) -> np.ndarray:
    parts = [values[k : len(values) - n + 1 + k] for k in range(n)]
    if all_of:
        return np.logical_and.reduce(parts)
    made = parts[0]
    for part in parts[1:]:
        made = made << 20 | part
    return made


def window_starts(asked: int, passage: int, length: int, overlap: int = 64) -> list[int]:
    """Where the windows of a passage begin; neighbours share `overlap` characters, or half.

    Examples:
        >>> window_starts(17, 400, 192)
        [0, 108, 216, 228]
        >>> window_starts(17, 30, 192)
        [0]
    """
    room = length - min(asked, _LONGEST_QUESTION) - 3
    step = max(1, max(room - overlap, room // 2))
    last = max(0, passage - room)
    starts = list(range(0, last, step))
    return [*starts, last]


def rows_batch(rows: Sequence[WindowRow], length: int, size: int) -> dict[str, np.ndarray]:
    """The inputs of the network for rows, filled up by empty ones to `size`.

    Examples:
        >>> row = window_row(np.array([7]), np.array([5, 7]), 0, 8)
        >>> batch = rows_batch([row], 8, 2)
        >>> batch["padding_mask"].tolist()
        [[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0]]
    """
    tokens = np.full((size, length), PAD, np.int32)
    kinds = np.zeros((size, length), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row.tokens)] = row.tokens
        kinds[place, : len(row.kinds)] = row.kinds
    return {
        "token_ids": tokens,
        "segment_ids": kinds,
        "padding_mask": (tokens != PAD).astype(np.int32),
    }
