"""Chinese text: word segmentation (分词) and its scores, cutting into sentences.

A segmentation is a list of words that join to the text. Scores of a text of `n` characters belong
to its `n - 1` gaps: gap `t` lies between characters `t` and `t + 1`, both counted from 0.

Plain NumPy. Source of the segmenter: https://kexue.fm/archives/7476.
"""

from __future__ import annotations

import os
import re
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = [
    "NeighbourPMI",
    "WordCounts",
    "WordScore",
    "cut_sentences",
    "segment_by_threshold",
    "word_counts",
    "word_f1",
    "word_spans",
]

_CLOSERS = "”』」’）)】》〉〕］}\\]\"'"
_NOT_WITHIN = rf"(?=[{_CLOSERS}]*(?:\s|\Z|[^\x00-\x7f]))"  # 3.14, a.txt?b=1 and 1,000 stay whole
_SENTENCE_END = re.compile(
    rf"(?:[。！？；…｡]|[.!?;]+{_NOT_WITHIN})+[{_CLOSERS}]*\s*|[\n\r\u2028\u2029]\s*"
)
_PAUSE = re.compile(rf"(?:[，、：﹑､]|[,:]+{_NOT_WITHIN})+[{_CLOSERS}]*\s*")
_SPACE = re.compile(r"\s+")


# Words


def segment_by_threshold(
    text: str | Sequence[str], scores: ArrayLike, threshold: float
) -> list[str]:
    """Cut a text wherever the tie between neighbours is weaker than a threshold.

    Args:
        text: `n` characters (or other units, such as sub-words), at least 1.
        scores: shape ``(n - 1,)``, one per gap; larger: the neighbours belong together.
        threshold: a gap is cut if and only if its score is less; infinities are allowed.

    Returns:
        The words; joined they give the text.

    Raises:
        ValueError: for an empty text, scores of another shape, or NaN.

    Examples:
        >>> segment_by_threshold("今天天气", [2.0, -1.0, 3.0], 0.0)
        ['今天', '天气']
    """
    units = list(text)
    values = np.asarray(scores, dtype=float)
    if not units or not all(units):
        raise ValueError(f"text must hold at least one character and no empty unit, got {text!r}")
    if values.shape != (len(units) - 1,):
        raise ValueError(
            f"scores must have shape ({len(units) - 1},), one for each gap between the "
            f"{len(units)} characters of text, got {values.shape}"
        )
    if np.isnan(values).any() or np.isnan(threshold):
        raise ValueError(f"scores and threshold must not be NaN, got {values} and {threshold}")
    ends = [0, *(np.flatnonzero(values < threshold) + 1).tolist(), len(units)]
    return ["".join(units[start:end]) for start, end in pairwise(ends)]


def word_spans(words: Sequence[str]) -> list[tuple[int, int]]:
    """(start, end) of each word in the text that they join to, in characters, the end excluded.

    Raises:
        TypeError: if `words` is a single string.
        ValueError: if there is no word, or an empty one.

    Examples:
        >>> word_spans(["今天", "天气", "好"])
        [(0, 2), (2, 4), (4, 5)]
    """
    _check_words("words", words)
    ends = np.cumsum([0, *map(len, words)]).tolist()
    return list(pairwise(ends))


class WordCounts(NamedTuple):
    """Words found with both boundaries right, words predicted, words in the gold segmentation.

    Examples:
        >>> counts = word_counts(["今天", "天", "气"], ["今天", "天气"])
        >>> counts.correct, counts.predicted, counts.gold
        (1, 3, 2)
    """

    correct: int
    predicted: int
    gold: int


class WordScore(NamedTuple):
    """Precision, recall and F1 of words, and the counts that they come from.

    Examples:
        >>> score = word_f1(["今天", "天", "气"], ["今天", "天气"])  # one word of three, one of two
        >>> round(score.precision, 3), score.recall, score.f1
        (0.333, 0.5, 0.4)
        >>> score.counts
        WordCounts(correct=1, predicted=3, gold=2)
    """

    precision: float
    recall: float
    f1: float
    counts: WordCounts


def word_counts(predicted: Sequence[str], gold: Sequence[str]) -> WordCounts:
    """Compare two segmentations of one text.

    For intervals: F1 is the ratio of ``2 * correct`` to ``predicted + gold``.

    Raises:
        TypeError: if an argument is a single string.
        ValueError: if one is empty or they do not join to the same text.

    Examples:
        >>> word_counts(["今天", "天", "气"], ["今天", "天气"])
        WordCounts(correct=1, predicted=3, gold=2)
    """
    _check_words("predicted", predicted)
    _check_words("gold", gold)
    ours, theirs = "".join(predicted), "".join(gold)
    if ours != theirs:
        same = next(
            (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
            min(len(ours), len(theirs)),
        )
        raise ValueError(
            f"predicted must join to the text of gold ({len(theirs)} characters), its "
            f"{len(ours)} characters differ from number {same} on: {ours[same : same + 10]!r} "
            f"instead of {theirs[same : same + 10]!r}"
        )
    common = set(word_spans(predicted)) & set(word_spans(gold))
    return WordCounts(len(common), len(predicted), len(gold))


def word_f1(
    predicted: Sequence[str] | Sequence[Sequence[str]],
    gold: Sequence[str] | Sequence[Sequence[str]],
) -> WordScore:
    """Precision, recall and F1 of words, from the counts of all sentences together.

    Args:
        predicted: the words of one sentence, or a list of such lists.
        gold: of the same form, and joining to the same text sentence by sentence.

    Raises:
        TypeError: if an argument is a single string, or one is a sentence and the other is not.
        ValueError: if one is empty or they do not join to the same text.

    Examples:
        >>> round(word_f1([["今天", "天", "气"]], [["今天", "天气"]]).f1, 3)
        0.4
    """
    corpora = [_as_corpus("predicted", predicted), _as_corpus("gold", gold)]
    if isinstance(predicted[0], str) != isinstance(gold[0], str):
        raise TypeError("predicted and gold must both be sentences or both be lists of sentences")
    if len(corpora[0]) != len(corpora[1]):
        raise ValueError(
            f"predicted must have as many sentences as gold, {len(corpora[1])}, "
            f"got {len(corpora[0])}"
        )
    counts = []
    for number, pair in enumerate(zip(*corpora, strict=True)):
        try:
            counts.append(word_counts(*pair))
        except ValueError as error:
            raise ValueError(f"sentence {number}: {error}") from None
    correct, ours, theirs = (sum(column) for column in zip(*counts, strict=True))
    return WordScore(
        correct / ours,
        correct / theirs,
        2 * correct / (ours + theirs),
        WordCounts(correct, ours, theirs),
    )


def _as_corpus(name: str, value: Sequence) -> Sequence[Sequence[str]]:
    if isinstance(value, str):
        raise TypeError(f"{name} must be a list of words, got the string {value[:20]!r}")
    if len(value) == 0:
        raise ValueError(f"{name} must not be empty")
    return [value] if isinstance(value[0], str) else value


def _check_words(name: str, words: Sequence[str]) -> None:
    if isinstance(words, str):
        raise TypeError(f"{name} must be a list of words, got the string {words[:20]!r}")
    if len(words) == 0 or not all(words):
        raise ValueError(f"{name} must hold at least one word and no empty one, got {list(words)}")


class NeighbourPMI:
    r"""Pointwise mutual information (点互信息) of neighbouring characters, from counts.

    With :math:`c(ab)` the count of a pair of neighbours and
    :math:`e(ab)=c(a\,\cdot)\,c(\cdot\,b)/N` the count expected if neighbours were independent,

    .. math:: \mathrm{PMI}(a,b)=\ln\frac{c(ab)+\delta}{e(ab)+\delta}.

    Without :math:`\delta` this is :math:`\ln p(ab)/(p(a)p(b))`. The constant keeps unseen pairs
    finite and draws pairs towards 0, more so the less was to be expected of them; the PMI of a
    pair with an unknown character is 0. (Constants from 0.0003 to 3 were tried on the development
    part of :func:`kexian_utils.datasets.peoples_daily_split`: up to 0.1 they make no difference,
    larger ones do harm.)

    Args:
        texts: strings to count in; no pair goes over the border of two strings.
        smoothing: the constant, in counts, more than 0.

    Raises:
        TypeError: if `texts` is a single string.
        ValueError: if no text has two characters, or for another smoothing.

    Examples:
        >>> pmi = NeighbourPMI(["今天天气好", "今天很好", "天气很好"])
        >>> scores = pmi("今天天气")
        >>> bool(scores[0] > scores[1])  # 今天 holds together, 天天 does not
        True
    """

    def __init__(self, texts: Iterable[str], smoothing: float = 0.01):
        if isinstance(texts, str):
            raise TypeError(f"texts must be a list of strings, got the string {texts[:20]!r}")
        if not (np.isfinite(smoothing) and smoothing > 0):
            raise ValueError(f"smoothing must be positive and finite, got {smoothing}")
        parts = [_pairs(_code_points(text)) for text in texts]
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *parts])
        if len(pairs) == 0:
            raise ValueError("texts must hold a text of at least two characters, got none")
        self.smoothing = float(smoothing)
        self.total = len(pairs)
        self._pairs = np.unique(_keys(pairs), return_counts=True)
        self._left, self._right = (np.unique(side, return_counts=True) for side in pairs.T)

    def __call__(self, text: str) -> np.ndarray:
        """PMI at the gaps of a text of at least one character, shape ``(len(text) - 1,)``."""
        if not isinstance(text, str) or not text:
            raise ValueError(f"text must be a string of at least one character, got {text!r}")
        return self._of(_pairs(_code_points(text)))

    def __len__(self) -> int:
        return len(self._pairs[0])

    def between(self, left: str, right: str) -> np.ndarray:
        """PMI of each character of `left` with the one at its place in `right`, which follows it.

        Raises:
            ValueError: if the two are not equally long.
        """
        if len(left) != len(right):
            raise ValueError(
                f"left and right must be equally long, got {len(left)} and {len(right)} characters"
            )
        return self._of(np.column_stack([_code_points(left), _code_points(right)]))

    def _of(self, pairs: np.ndarray) -> np.ndarray:
        found = _look_up(self._pairs, _keys(pairs))
        left, right = _look_up(self._left, pairs[:, 0]), _look_up(self._right, pairs[:, 1])
        expected = left * right / self.total
        return np.log((found + self.smoothing) / (expected + self.smoothing))

    def save(self, path: str | os.PathLike) -> None:
        """Write the counts to a compressed .npz file; counts above 65,535 become that."""
        keys, counts = self._pairs
        codes, places = np.unique(np.stack([keys >> 21, keys & _CODE]), return_inverse=True)
        left, right = places.reshape(2, -1)
        numbers = left * len(codes) + right  # in the order of the keys, which is ascending
        with open(path, "wb") as file:
            np.savez_compressed(
                file,
                characters=codes.astype("<u4"),
                steps=np.diff(numbers, prepend=0).astype("<u4"),
                counts=np.minimum(counts, 65535).astype("<u2"),
                smoothing=self.smoothing,
            )

    @classmethod
    def load(cls, path: str | os.PathLike) -> NeighbourPMI:
        """Read a file that :meth:`save` wrote.

        Raises:
            ValueError: it is damaged or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                codes = file["characters"].astype(np.int64)
                numbers = np.cumsum(file["steps"], dtype=np.int64)
                counts = file["counts"].astype(np.int64)
                smoothing = float(file["smoothing"])
            left, right = (codes[part] for part in np.divmod(numbers, len(codes)))
            found = cls.__new__(cls)
            found.smoothing, found.total = smoothing, int(counts.sum())
            found._pairs = left << 21 | right, counts
            found._left, found._right = _sums(left, counts), _sums(right, counts)
        except FileNotFoundError:
            raise
        except (OSError, EOFError, LookupError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} must hold counts of neighbours: {error}") from None
        return found


def _sums(sides: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, places = np.unique(sides, return_inverse=True)
    return values, np.bincount(places, weights=counts).astype(np.int64)


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)


def _pairs(codes: np.ndarray) -> np.ndarray:
    return np.column_stack([codes[:-1], codes[1:]])


_CODE = (1 << 21) - 1  # code points have 21 bits


def _keys(pairs: np.ndarray) -> np.ndarray:
    return pairs[:, 0] << 21 | pairs[:, 1]


def _look_up(table: tuple[np.ndarray, np.ndarray], keys: np.ndarray) -> np.ndarray:
    values, counts = table
    place = np.minimum(np.searchsorted(values, keys), len(values) - 1)
    return np.where(values[place] == keys, counts[place], 0).astype(float)


# Sentences


def cut_sentences(text: str, max_length: int | None = None) -> list[str]:
    """Cut a text after its sentences; joined, the pieces give the text back exactly.

    A sentence ends at 。！？；…, at their half-width forms before a space, a character outside
    ASCII or the end, and at a line break; closing quotes, brackets and white space stay with it.
    A piece that is too long is cut after its last comma or other pause that fits, else after the
    last white space, else between characters. What makes up one visible character stays together:
    combining marks, variation selectors, emoji joined by ZWJ, skin tones, flags, Hangul jamo,
    surrogate pairs.

    Args:
        text: any string.
        max_length: largest length of a piece in code points, or None. Only a single visible
            character may be longer.

    Returns:
        The pieces, none of them empty; an empty text has none.

    Raises:
        TypeError: if `text` is no string.
        ValueError: if `max_length` is below 1.

    Examples:
        >>> cut_sentences("今天很好。你呢？Pi is 3.14. Yes.")
        ['今天很好。', '你呢？', 'Pi is 3.14. ', 'Yes.']
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {type(text).__name__}")
    if max_length is not None:
        _checks.whole("max_length", max_length, 1)
    ends = {match.end() for match in _SENTENCE_END.finditer(text)} | {len(text)}
    cuts = [0] + [end for end in sorted(ends) if end > 0 and _may_cut(text, end)]
    pieces = [text[start:end] for start, end in pairwise(cuts)]
    if max_length is None:
        return pieces
    return [part for piece in pieces for part in _shorten(piece, int(max_length))]


def _shorten(piece: str, limit: int) -> list[str]:
    parts = []
    start = 0
    while len(piece) - start > limit:
        end = start + _last_fitting(piece[start : start + limit + 1], limit)
        if end == start:  # one visible character is longer than the limit
            end = start + 1
            while not _may_cut(piece, end):
                end += 1
        parts.append(piece[start:end])
        start = end
    return [*parts, piece[start:]] if start < len(piece) else parts


def _last_fitting(window: str, limit: int) -> int:
    """Best place to cut within the first `limit` characters of a window that has one more."""
    for pattern in (_PAUSE, _SPACE):
        ends = [match.end() for match in pattern.finditer(window)]
        fitting = [end for end in ends if end <= limit and _may_cut(window, end)]
        if fitting:
            return fitting[-1]
    return next((end for end in range(limit, 0, -1) if _may_cut(window, end)), 0)


def _may_cut(text: str, place: int) -> bool:
    """Whether no visible character lies on both sides of a place in the text."""
    if place <= 0 or place >= len(text):
        return True
    before, after = text[place - 1], text[place]
    if unicodedata.category(after) in ("Mn", "Mc", "Me") or "\u200d" in (before, after):
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return False  # skin tones; tags of regional flags
    if before + after == "\r\n" or (
        "\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff"
    ):
        return False
    if "\u1160" <= after <= "\u11ff" and "\u1100" <= before <= "\u11ff":
        return False  # jamo that go on a syllable
    if _is_flag_letter(before) and _is_flag_letter(after):
        run = place
        while run > 0 and _is_flag_letter(text[run - 1]):
            run -= 1
        return (place - run) % 2 == 0  # flags are pairs of letters
    return True


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
