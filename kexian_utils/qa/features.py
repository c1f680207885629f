r"""Hand-made features of a passage: where and how it touches the question and the other passages.

Plain NumPy. Source: https://kexue.fm/archives/5409, which has them at the level of words and of
characters; https://kexue.fm/archives/6906 goes without.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from kexian_utils.qa.scores import HALF_WIDTH

__all__ = ["FEATURES", "alike", "match_features", "relative_edit_distance", "window_jaccard"]

FEATURES = (
    "character in question",
    "bigram in question",
    "character in other passages",
    "bigram in other passages",
    "window Jaccard",
)


def alike(text: str) -> str:
    """The text in half width and lower case, character by character, so that places stay.

    Characters whose lower case is longer (İ) stay as they are.

    Examples:
        >>> alike("ＢＥＲＴ 模型")
        'bert 模型'
    """
    lowered = ((c, c.lower()) for c in text.translate(HALF_WIDTH))
    return "".join(lower if len(lower) == 1 else c for c, lower in lowered)


def check_texts(question: str, passages: Sequence[str]) -> None:
    """Refuse what is no question with a list of passages.

    Raises:
        TypeError: if `question` or a passage is no string, or `passages` is a single string.
        ValueError: if `question` is empty.
    """
    if not isinstance(question, str):
        raise TypeError(f"question must be a string, got {type(question).__name__}")
    if not question:
        raise ValueError("question must hold at least one character, got ''")
    if isinstance(passages, str):
        raise TypeError(f"passages must be a list of strings, got the string {passages[:20]!r}")
    for number, passage in enumerate(passages):
        if not isinstance(passage, str):
            raise TypeError(f"passages[{number}] must be a string, got {type(passage).__name__}")


def match_features(question: str, passages: Sequence[str]) -> list[np.ndarray]:
    r"""Features of every character of every passage, named by ``FEATURES``.

    0. 1 if the character occurs in the question (精确匹配), else 0;
    1. 1 if a bigram that the character is part of does: with the character before or with the one
       after;
    2. share of the other passages that hold the character (共现);
    3. the larger share of the other passages that hold one of its bigrams;
    4. Jaccard similarity of the question and the window around the character, as
       :func:`window_jaccard` gives it (软匹配).

    Characters are compared as they are: :func:`alike` makes width and case equal before.

    Args:
        question: at least one character.
        passages: any number of strings, empty ones allowed. With a single one, columns 2 and 3
            are 0.

    Returns:
        For each passage of `n` characters an array, float32, shape ``(n, 5)``, within 0 to 1.

    Raises:
        TypeError: if `question` or a passage is no string, or `passages` is a single string.
        ValueError: if `question` is empty.

    Examples:
        >>> (first, second) = match_features("日本首都", ["东京", "日本东京"])
        >>> first.round(2).tolist()  # not in the question, but in the other passage
        [[0.0, 0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0, 0.0]]
        >>> second[:, 0].tolist()
        [1.0, 1.0, 0.0, 0.0]
    """
    check_texts(question, passages)
    # All passages of a question go through NumPy at once: its calls cost more than its sums here.
    asked = _code_points(question)
    codes = _code_points("".join(passages))
    lengths = np.array([len(passage) for passage in passages], dtype=np.int64)
    ends = np.cumsum(lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    table = np.zeros((len(codes), len(FEATURES)), dtype=np.float32)
    if len(codes):
        pairs = codes[:-1] << 21 | codes[1:]  # code points have 21 bits
        same = owner[:-1] == owner[1:]  # no bigram goes over the border of two passages
        table[:, 0] = _occurs(codes, asked)
        table[:, 1] = _to_characters(_occurs(pairs, asked[:-1] << 21 | asked[1:]) * same)
        table[:, 2] = _share_of_others(codes, owner, len(lengths))
        shares = np.zeros(len(pairs))
        shares[same] = _share_of_others(pairs[same], owner[:-1][same], len(lengths))
        table[:, 3] = _to_characters(shares)
        starts = (ends - lengths)[owner]
        table[:, 4] = _jaccard(codes, starts, ends[owner], asked)
    return np.split(table, ends[:-1]) if len(lengths) else []


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


def _occurs(values: np.ndarray, among: np.ndarray) -> np.ndarray:
    return (values[:, None] == np.unique(among)).any(axis=1)


def _to_characters(bigrams: np.ndarray) -> np.ndarray:
    """The larger value of the two bigrams that each of n characters belongs to, from n - 1."""
    padded = np.concatenate([[0], bigrams, [0]])
    return np.maximum(padded[:-1], padded[1:])


def _share_of_others(values: np.ndarray, owner: np.ndarray, passages: int) -> np.ndarray:
    if passages < 2 or len(values) == 0:
        return np.zeros(len(values))
    kinds, kind = np.unique(values, return_inverse=True)
    held = np.zeros((len(kinds), passages), dtype=bool)
    held[kind, owner] = True
    return (held.sum(axis=1) - 1)[kind] / (passages - 1)


def window_jaccard(question: Sequence[Hashable], passage: Sequence[Hashable]) -> np.ndarray:
    r"""Jaccard similarity of the question's tokens and those of a window around each token.

    With :math:`m` tokens in the question, the window of token :math:`i` starts at
    :math:`i-\lfloor m/2\rfloor` and has `m` tokens; what lies outside the passage is cut off and
    not counted. Both sides are sets: :math:`|Q\cap W_i|/|Q\cup W_i|`.

    Args:
        question: `m` tokens, at least 1: words, or a string for its characters.
        passage: `n` tokens of the same kind.

    Returns:
        Similarities, float64, shape ``(n,)``.

    Raises:
        ValueError: if `question` is empty.

    Examples:
        >>> window_jaccard("日本", "去日本吧").round(2).tolist()
        [0.0, 0.33, 1.0, 0.33]
    """
    asked, codes = _token_codes(question, passage)
    ends = np.full(len(codes), len(codes))
    return _jaccard(codes, np.zeros_like(codes), ends, asked)


def _jaccard(
    codes: np.ndarray, starts: np.ndarray, ends: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """As above for joined passages; token `i` belongs to the one from starts[i] to ends[i]."""
    place, within = _windows(starts, ends, len(asked))
    # A token of the window counts if no equal one stands before it in the same window.
    before = np.full(len(codes), -1)
    order = np.argsort(codes, kind="stable")
    equal = codes[order[1:]] == codes[order[:-1]]
    before[order[1:][equal]] = order[:-1][equal]
    new = within & (before[place] < place[:, :1])
    kinds = np.unique(asked)
    common = (new & _occurs(codes, kinds)[place]).sum(axis=1)
    return common / (len(kinds) + new.sum(axis=1) - common)


def _windows(starts: np.ndarray, ends: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the windows' tokens, shape (n, size), the first one valid, and which are valid."""
    own = np.arange(len(starts))
    first = np.maximum(own - size // 2, starts)
    last = np.minimum(own - size // 2 + size, ends)
    place = first[:, None] + np.arange(size)
    return np.minimum(place, ends[:, None] - 1), place < last[:, None]


def relative_edit_distance(question: Sequence[Hashable], passage: Sequence[Hashable]) -> np.ndarray:
    r"""Edit distance of the question and a window around each token, divided by its length.

    The windows are those of :func:`window_jaccard`. The distance is Levenshtein's (编辑距离): the
    least number of insertions, deletions and substitutions of tokens.

    Args:
        question: `m` tokens, at least 1: words, or a string for its characters.
        passage: `n` tokens of the same kind.

    Returns:
        Distances divided by `m`, float64, shape ``(n,)``, within 0 to 1.

    Raises:
        ValueError: if `question` is empty.

    Examples:
        >>> relative_edit_distance("日本", "去日本吧").tolist()
        [1.0, 1.0, 0.0, 1.0]
    """
    asked, codes = _token_codes(question, passage)
    n, m = len(codes), len(asked)
    place, within = _windows(np.zeros(n, np.int64), np.full(n, n), m)
    # One row of the table for all windows at once; column j: the window's first j tokens.
    row = np.broadcast_to(np.arange(m + 1), (n, m + 1))
    for number, token in enumerate(asked, start=1):
        below = np.empty_like(row)
        below[:, 0] = number
        unlike = codes[place] != token
        for j in range(1, m + 1):
            kept = np.minimum(row[:, j], below[:, j - 1]) + 1
            below[:, j] = np.minimum(kept, row[:, j - 1] + unlike[:, j - 1])
        row = below
    return row[np.arange(n), within.sum(axis=1)] / m


def _token_codes(
    question: Sequence[Hashable], passage: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray]:
    if len(question) == 0:
        raise ValueError(f"question must hold at least one token, got {question!r}")
    number: dict[Hashable, int] = {}
    coded = [number.setdefault(token, len(number)) for token in (*question, *passage)]
    return np.array(coded[: len(question)]), np.array(coded[len(question) :], dtype=np.int64)
