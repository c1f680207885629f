"""Words of texts of any length, read off a model that was not trained for them.

This lies beneath ``kexian segment``. Texts are cut into sentences first, so length is no limit;
what comes out joins to what went in. Texts are read as they are needed, in blocks, at constant
memory. Source: https://kexue.fm/archives/7476.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kexian_utils.bert.characters import normal_form
from kexian_utils.bert.models import WITH_COUNTS, ReadingModel, checked_layer
from kexian_utils.bert.probing import (
    DISTANCES,
    HEAD_DISTANCES,
    ProbingModel,
    impact_matrices,
)
from kexian_utils.bert.wordpiece import AlignedTokens
from kexian_utils.bert.words import parts, visible, with_rules
from kexian_utils.language.text import cut_sentences

__all__ = ["Segmentation", "Segmenter"]

CUT_SHARE = 0.6  # of the gaps, where no threshold is known: Chinese words are that short
SAMPLE = 1000  # texts that a threshold is taken from
_LONGEST = 126  # characters of a sentence that is segmented in one piece
_WHOLE = 40  # units that are masked in their whole sentence: the cost grows with its square
_CORE, _CONTEXT = 8, 5  # of a longer one: gaps that are scored together; units on each side
_BRIDGE = 16  # characters on each side of a place where a sentence had to be cut
_BLOCK = 4096  # characters of texts that are worked on together
_BLOCK_TEXTS = 512


@dataclass(frozen=True)
class Segmentation:
    """A text cut into words.

    Attributes:
        text: as it was given.
        units: the smallest parts, which no rule lets be cut; joined they give the text.
        scores: one for each gap between units, larger where they belong together; None where the
            cut does not depend on the model.
        threshold: gaps with a lower score are cut.

    Examples:
        >>> Segmentation("今天天气", list("今天天气"), [2.0, -1.0, 3.0], threshold=0.0).words
        ['今天', '天气']
    """

    text: str
    units: list[str]
    scores: list[float | None]
    threshold: float

    @property
    def words(self) -> list[str]:
        """The words; joined they give the text. An empty text has none."""
        words = self.units[:1]
        for unit, score in zip(self.units[1:], self.scores, strict=True):
            if score is None or score < self.threshold:
                words.append(unit)
            else:
                words[-1] += unit
        return words


class Segmenter:
    """Word segmentation (分词) by the impact of neighbours on each other, equation (6).

    A gap is cut if its score is below the threshold. White space belongs to the word before it
    (at the beginning of a text, to the first word), and there is always a cut after it, as at the
    end of a sentence. What a model does not read, such as control characters, belongs to the word
    before it, too. Two rules more, unless they are turned off: letters and digits (but not Chinese
    characters) that follow each other stay together, and punctuation stands alone, except inside
    a number or a word (3.14), and where one mark follows another of its kind (……).

    In a sentence of more than 40 characters each gap is scored with 5 characters or more on each
    side of it, in overlapping windows. One of more than 126 is worked on in parts besides, and the
    gap between two parts is scored with 16 characters on each side.

    Attributes:
        model: that is asked.
        score: name of the score.
        layer: of a score that compares states; None for one of the head.
        threshold: None before it is chosen.

    Examples:
        >>> from kexian_utils.bert import open_model
        >>> segmenter = Segmenter(open_model("chinese"))
        >>> next(segmenter(["今天天气很好。"])).words
        ['今天', '天气', '很好', '。']
    """

    def __init__(
        self,
        model: ReadingModel,
        score: str | None = None,
        layer: int | None = None,
        threshold: float | None = None,
        cut_share: float | None = None,
        rules: bool = True,
    ) -> None:
        """Choose how to segment.

        Args:
            model: to be asked.
            score: "pmi", "kl" or "probability" of the masked-language-model head, "euclidean" or
                "cosine" of states; see :func:`impact_matrices`. By default the one that goes with
                the model, which may weigh counts of neighbours in ("counts+euclidean"); else
                "pmi" with a head, "euclidean" without.
            layer: from 1 to L for scores of states; by default the last.
            threshold: by default the one that goes with the model, if `score` and `layer` are the
                defaults, else by `cut_share`.
            cut_share: the threshold is the quantile below which this share of the gaps lies that
                the rules leave, in the first 1000 texts; these are read before anything is given
                back. From 0 to 1, by default 0.6.
            rules: whether the rules for letters, digits and punctuation hold.

        Raises:
            ValueError: for arguments out of range, or that do not fit the model or each other.
        """
        encoder = model.probe.encoder
        known = model.known if score in (None, model.known and model.known[0]) else None
        self.model, self.rules = model, rules
        self.score = known[0] if known else score or ("pmi" if encoder.has_head else "euclidean")
        self._ties = model.ties if known else None
        self._asked = self.score.removeprefix(WITH_COUNTS) if self._ties else self.score
        if self._asked not in DISTANCES + HEAD_DISTANCES:
            names = ", ".join(HEAD_DISTANCES + DISTANCES)
            raise ValueError(f"score must be one of {names}, got {score!r}")
        if self._asked in HEAD_DISTANCES and not encoder.has_head:
            raise ValueError(
                f"score {self.score!r} needs a model with a masked-language-model head, which "
                f"{model.name} lacks: choose euclidean or cosine"
            )
        if self._asked in HEAD_DISTANCES and layer is not None:
            raise ValueError(
                f"layer belongs to the scores euclidean and cosine, {self.score} reads the head"
            )
        self.layer = None
        if self._asked in DISTANCES:
            self.layer = checked_layer(model, encoder.layers if layer is None else layer)
        if threshold is not None and not math.isfinite(threshold):
            raise ValueError(f"threshold must be a finite number, got {threshold}")
        if threshold is not None and cut_share is not None:
            raise ValueError("threshold and cut_share exclude each other: give one of them")
        if cut_share is not None and not 0 <= cut_share <= 1:
            raise ValueError(f"cut_share must be from 0 to 1, got {cut_share}")
        if threshold is None and cut_share is None and known and layer is None:
            threshold = known[1]
        self.threshold = threshold
        self.cut_share = CUT_SHARE if cut_share is None else cut_share

    def __call__(self, texts: Iterable[str]) -> Iterator[Segmentation]:
        """Cut texts into words, each text by itself, in their order; they are read as needed.

        A threshold that has to be chosen from texts is chosen at the first call, and kept.

        Raises:
            TypeError: if `texts` is one string, or holds what is none.
            ValueError: if the model gives scores that are not finite.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts must be an iterable of strings, got the string {texts[:20]!r}")
        scored = self._scored(texts)
        if self.threshold is None:
            sample = list(itertools.islice(scored, SAMPLE))
            values = [v for _, _, scores in sample for v in scores if v is not None]
            self.threshold = float(np.quantile(values, self.cut_share)) if values else 0.0
            scored = itertools.chain(sample, scored)
        for text, units, scores in scored:
            yield Segmentation(text, units, scores, self.threshold)

    def _scored(self, texts: Iterable[str]) -> Iterator[tuple[str, list[str], list[float | None]]]:
        for block in blocks(texts):
            plans = [_Plan(text, self.model.probe) for text in block]
            wanted = (tokens for plan in plans for tokens in plan.wanted())
            layers = None if self.layer is None else [self.layer]
            found = impact_matrices(
                self.model.probe, wanted, "double", self._asked, layers, neighbours=True
            )
            for plan in plans:
                starts, scores = plan.assemble(self._rounded(found))
                if self._ties:
                    scores = self._ties.sums(*_neighbours(plan.text, starts), scores)
                if self.rules:
                    starts, scores = with_rules(plan.text, starts, scores)
                yield plan.text, parts(plan.text, starts), scores

    def _rounded(self, found: Iterator[np.ndarray]) -> Iterator[list[float]]:
        """Rounded before they are compared, so that printed scores explain the cuts."""
        for values in found:
            values = values if self.layer is None else values[0]
            if not np.isfinite(values).all():
                raise ValueError(f"{self.model.name} gives scores that are not finite: {values}")
            yield [float(f"{value:.6g}") for value in values.tolist()]


def _neighbours(text: str, starts: list[int]) -> tuple[str, str]:
    """The characters on the left and on the right of each gap between units, in normal form."""
    units = [visible(unit) or "\0" for unit in parts(text, starts)]
    left = "".join(normal_form(unit[-1])[-1] for unit in units[:-1])
    return left, "".join(normal_form(unit[0])[0] for unit in units[1:])


@dataclass(frozen=True)
class _Piece:
    start: int  # in the text
    tokens: AlignedTokens
    bridge: AlignedTokens | None = None  # over the place where it was cut off the piece before
    place: int = 0  # of that, in the bridge's text


class _Plan:
    """What a model is asked about a text, and how the answers make up the scores of its gaps."""

    def __init__(self, text: str, probe: ProbingModel) -> None:
        self.text = text
        longest = max(1, min(probe.encoder.limit - 2, _LONGEST))
        self.pieces: list[_Piece] = []
        for start, tokens in _fitting_pieces(text, probe, longest):
            if not tokens.spans:
                continue
            bridge, place = None, 0
            if self.pieces and not _ends_naturally(text[start - 1]):
                bridge, place = _bridge(text, start, probe)
            self.pieces.append(_Piece(start, tokens, bridge, place))

    def wanted(self) -> Iterator[AlignedTokens]:
        for piece in self.pieces:
            if piece.bridge is not None and len(piece.bridge.spans) > 1:
                yield piece.bridge
            yield from _windows(piece.tokens)

    def assemble(self, found: Iterator[list[float]]) -> tuple[list[int], list[float | None]]:
        """Where units start, and the scores of the gaps between them."""
        starts: list[int] = []
        scores: list[float | None] = []
        for piece in self.pieces:
            begins = [piece.start + start for start, _ in piece.tokens.offsets]
            if starts:
                inside, value = _bridged(self.text, piece, found)
                if inside:
                    begins = begins[1:]
                else:
                    scores.append(value)
            starts += begins
            for _ in _windows(piece.tokens):
                scores += next(found)
        return [0, *starts[1:]], self._cut_at_spaces(starts, scores)

    def _cut_at_spaces(self, starts: list[int], scores: list[float | None]) -> list[float | None]:
        units = parts(self.text, [0, *starts[1:]])[:-1]
        return [
            None if any(c.isspace() for c in unit.lstrip()) else score
            for unit, score in zip(units, scores, strict=True)
        ]


def _windows(tokens: AlignedTokens) -> Iterator[AlignedTokens]:
    """Tokens whose gaps, one after the other, are those of a sentence; none if it has no gap.

    The units of a window are those to be masked; the model reads some more on both sides.
    """
    units = len(tokens.spans)
    if 1 < units <= _WHOLE:
        yield tokens
        return
    for first in range(0, units - 1, _CORE):
        last = min(first + _CORE, units - 1)
        begin = tokens.spans[max(0, first - _CONTEXT)][0]
        end = tokens.spans[min(units - 1, last + _CONTEXT)][1]
        spans = [(a - begin + 1, b - begin + 1) for a, b in tokens.spans[first : last + 1]]
        yield AlignedTokens([tokens.ids[0], *tokens.ids[begin:end], tokens.ids[-1]], spans, [])


def _fitting_pieces(
    text: str, probe: ProbingModel, longest: int, start: int = 0
) -> Iterator[tuple[int, AlignedTokens]]:
    """Sentences and their tokens, no more of these than the model has positions for."""
    for piece in cut_sentences(text, longest):
        tokens = probe.tokenizer(piece)
        if len(tokens.ids) <= probe.encoder.limit:
            yield start, tokens
        elif len(piece) > 1 and len(cut_sentences(piece, max(1, len(piece) // 2))) > 1:
            yield from _fitting_pieces(piece, probe, max(1, len(piece) // 2), start)
        else:  # a letter with more marks on it than the model has positions
            yield start, unknown_token(probe, [(0, len(piece))])
        start += len(piece)


def unknown_token(probe: ProbingModel, offsets: list[tuple[int, int]]) -> AlignedTokens:
    """One unit that the vocabulary has no token for."""
    ids = [probe.tokenizer.vocabulary[token] for token in ("[CLS]", "[UNK]", "[SEP]")]
    return AlignedTokens(ids, [(1, 2)], offsets)


def _ends_naturally(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")


def _bridge(text: str, place: int, probe: ProbingModel) -> tuple[AlignedTokens | None, int]:
    reach = min(_BRIDGE, (probe.encoder.limit - 2) // 2)
    while reach > 0:
        begin = max(0, place - reach)
        tokens = probe.tokenizer(text[begin : place + reach])
        if len(tokens.ids) <= probe.encoder.limit:
            return tokens, place - begin
        reach //= 2
    return None, 0


def _bridged(text: str, piece: _Piece, found: Iterator[list[float]]) -> tuple[bool, float | None]:
    """Whether a unit goes over the beginning of a piece; else the score of the gap there."""
    if piece.bridge is None:
        return False, None
    values = next(found) if len(piece.bridge.spans) > 1 else []
    shift = piece.start - piece.place
    for unit, (_, end) in enumerate(piece.bridge.offsets):
        if end > piece.place and visible(text[piece.start : shift + end]):
            begin = shift + piece.bridge.offsets[unit][0]
            if visible(text[begin : piece.start]):
                return True, None
            return False, values[unit - 1] if unit else None
    return False, None


def blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Texts in lists of about 4,096 characters, as they come."""
    block: list[str] = []
    size = 0
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"texts must be strings, got {type(text).__name__}")
        block.append(text)
        size += len(text)
        if size >= _BLOCK or len(block) >= _BLOCK_TEXTS:
            yield block
            block, size = [], 0
    if block:
        yield block
