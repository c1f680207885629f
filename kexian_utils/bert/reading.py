"""Words and trees of texts of any length, read off a model that was not trained for them.

This lies beneath ``kexian segment`` and ``kexian parse``. Texts are cut into sentences first, so
length is no limit; what comes out joins to what went in. Texts are read as they are needed, in
blocks, at constant memory. Source: kexue.fm/archives/7476.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.characters import normal_form
from kexian_utils.bert.checkpoints import Checkpoint, minilm
from kexian_utils.bert.probing import (
    DISTANCES,
    HEAD_DISTANCES,
    MODES,
    ProbingModel,
    impact_matrices,
)
from kexian_utils.bert.wordpiece import AlignedTokens
from kexian_utils.text import cut_sentences

__all__ = [
    "BUNDLED",
    "TREES",
    "ParsedSentence",
    "Parser",
    "ReadingModel",
    "Segmentation",
    "Segmenter",
    "chinese_bert",
    "has_chinese",
    "is_punctuation",
    "open_model",
    "split_words",
]

TREES = ("spanning", "eisner", "phrases")
CUT_SHARE = 0.6  # of the gaps, where no threshold is known: Chinese words are that short
SAMPLE = 1000  # texts that a threshold is taken from
_LONGEST = 126  # characters of a sentence that is segmented: the cost grows with its square
_LONGEST_PARSED = 256  # tokens of a sentence that is parsed
_BRIDGE = 16  # characters on each side of a place where a sentence had to be cut
_BLOCK = 4096  # characters of texts that are worked on together
_BLOCK_TEXTS = 512
# Punctuation that is often part of a word: the model decides.
_WORD_LIKE = frozenset("%‰‱&@#*/\\_-·•・§†‡")
_CHINESE = re.compile(
    "[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff\U00030000-\U000323af]"
)


# Models


def chinese_bert() -> Path:
    """The folder of the Chinese character BERT that the package carries.

    Its segmentation.json holds the score and the threshold for word segmentation that were chosen
    on development documents.

    Raises:
        ValueError: if the installation lacks it.
    """
    folder = Path(__file__).parent.parent / "data" / "chinese_bert"
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} must hold model.safetensors, which is missing: install again")
    return folder


BUNDLED: dict[str, Callable[[], Path]] = {"chinese": chinese_bert, "minilm": minilm}


@dataclass(frozen=True)
class ReadingModel:
    """A model that is to segment or parse.

    Attributes:
        name: by which results call it.
        probe: the model.
        known: score and threshold of word segmentation that go with it, or None.
    """

    name: str
    probe: ProbingModel
    known: tuple[str, float] | None = None


def open_model(name: str | os.PathLike, threads: int | None = None) -> ReadingModel:
    """Find and read a model.

    Args:
        name: a folder in Hugging Face's form; else "chinese" or "minilm", which are bundled; else
            ``hf://OWNER/NAME`` or OWNER/NAME of Hugging Face, which is downloaded.
        threads: as for :class:`ProbingModel`.

    Raises:
        ValueError: for an unknown name, a folder or a model that cannot be used, or a
            segmentation.json without a known "score" and a finite "threshold".
        kexian_utils.datasets.DatasetUnavailable: if a bundled model cannot be reached.
    """
    checkpoint = _checkpoint(os.fspath(name))
    probe = ProbingModel(checkpoint, threads=threads)
    return ReadingModel(os.fspath(name), probe, _known_threshold(checkpoint.folder))


def _checkpoint(name: str) -> Checkpoint:
    if os.path.isdir(name) or name.startswith("hf://"):
        return Checkpoint(name)
    if name in BUNDLED:
        return Checkpoint(BUNDLED[name]())
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not os.path.exists(name):
        try:
            return Checkpoint(f"hf://{name}")
        except ValueError as error:
            raise ValueError(f"there is no folder {name}, and {error}") from error.__cause__
    raise ValueError(
        f"model must be {', '.join(BUNDLED)}, a folder, or OWNER/NAME of Hugging Face, got "
        f"{name!r}, which is none of these"
    )


def _known_threshold(folder: Path) -> tuple[str, float] | None:
    path = folder / "segmentation.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        score, threshold = values["score"], float(values["threshold"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must hold a score and a threshold ({error!r})") from None
    if score not in DISTANCES + HEAD_DISTANCES or not math.isfinite(threshold):
        raise ValueError(
            f"{path} must hold a score out of {', '.join(DISTANCES + HEAD_DISTANCES)} and a "
            f"finite threshold, got {score!r} and {threshold}"
        )
    return score, threshold


# Words


@dataclass(frozen=True)
class Segmentation:
    """A text cut into words.

    Attributes:
        text: as it was given.
        units: the smallest parts, which no rule lets be cut; joined they give the text.
        scores: one for each gap between units, larger where they belong together; None where the
            cut does not depend on the model.
        threshold: gaps with a lower score are cut.
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

    A sentence of more than 126 characters is worked on in parts, and the gap between two parts is
    scored with 16 characters on each side of it.

    Attributes:
        model: that is asked.
        score: name of the score.
        layer: of a score that compares states; None for one of the head.
        threshold: None before it is chosen.
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
                the model; else "pmi" with a head, "euclidean" without.
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
        if self.score not in DISTANCES + HEAD_DISTANCES:
            names = ", ".join(HEAD_DISTANCES + DISTANCES)
            raise ValueError(f"score must be one of {names}, got {score!r}")
        if self.score in HEAD_DISTANCES and not encoder.has_head:
            raise ValueError(
                f"score {self.score!r} needs a model with a masked-language-model head, which "
                f"{model.name} lacks: choose euclidean or cosine"
            )
        if self.score in HEAD_DISTANCES and layer is not None:
            raise ValueError(
                f"layer belongs to the scores euclidean and cosine, {self.score} reads the head"
            )
        self.layer = None
        if self.score in DISTANCES:
            self.layer = _checked_layer(model, encoder.layers if layer is None else layer)
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
        for block in _blocks(texts):
            plans = [_Plan(text, self.model.probe) for text in block]
            wanted = (tokens for plan in plans for tokens in plan.wanted())
            layers = None if self.layer is None else [self.layer]
            found = impact_matrices(
                self.model.probe, wanted, "double", self.score, layers, neighbours=True
            )
            for plan in plans:
                starts, scores = plan.assemble(self._rounded(found))
                if self.rules:
                    starts, scores = _with_rules(plan.text, starts, scores)
                yield plan.text, _parts(plan.text, starts), scores

    def _rounded(self, found: Iterator[np.ndarray]) -> Iterator[list[float]]:
        """Rounded before they are compared, so that printed scores explain the cuts."""
        for values in found:
            values = values if self.layer is None else values[0]
            if not np.isfinite(values).all():
                raise ValueError(f"{self.model.name} gives scores that are not finite: {values}")
            yield [float(f"{value:.6g}") for value in values.tolist()]


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
            for tokens in (piece.bridge, piece.tokens):
                if tokens is not None and len(tokens.spans) > 1:
                    yield tokens

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
            if len(piece.tokens.spans) > 1:
                scores += next(found)
        return [0, *starts[1:]], self._cut_at_spaces(starts, scores)

    def _cut_at_spaces(self, starts: list[int], scores: list[float | None]) -> list[float | None]:
        units = _parts(self.text, [0, *starts[1:]])[:-1]
        return [
            None if any(c.isspace() for c in unit.lstrip()) else score
            for unit, score in zip(units, scores, strict=True)
        ]


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
            yield start, _unknown(probe, [(0, len(piece))])
        start += len(piece)


def _unknown(probe: ProbingModel, offsets: list[tuple[int, int]]) -> AlignedTokens:
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
        if end > piece.place and _visible(text[piece.start : shift + end]):
            begin = shift + piece.bridge.offsets[unit][0]
            if _visible(text[begin : piece.start]):
                return True, None
            return False, values[unit - 1] if unit else None
    return False, None


def _parts(text: str, starts: Sequence[int]) -> list[str]:
    if not text:
        return []
    return [text[a:b] for a, b in pairwise([*starts, len(text)])]


def _with_rules(
    text: str, starts: list[int], scores: list[float | None]
) -> tuple[list[int], list[float | None]]:
    """Letters and digits kept together, punctuation set apart."""
    units = [_visible(unit) for unit in _parts(text, starts)]
    ends = [(normal_form(u[0]), normal_form(u[-1])) if u else ("", "") for u in units]
    inner = [score is not None for score in scores]  # no white space, no end of a sentence

    def continues(left: int, right: int) -> bool:
        gaps = range(max(left, 0), min(right, len(inner)))
        within = 0 <= left and right < len(units) and all(inner[t] for t in gaps)
        return within and _alphanumeric(ends[left][1]) and _alphanumeric(ends[right][0])

    alone = [
        bool(unit) and all(map(_stands_alone, unit)) and not continues(t - 1, t + 1)
        for t, unit in enumerate(units)
    ]
    kept, values = [0], []
    for t, score in enumerate(scores):
        if continues(t, t + 1):
            continue
        if (alone[t] or alone[t + 1]) and ends[t][1] != ends[t + 1][0]:
            score = None
        kept.append(starts[t + 1])
        values.append(score)
    return kept, values


def _visible(unit: str) -> str:
    return "".join(c for c in unit if unicodedata.category(c)[0] not in "CMZ")


def _alphanumeric(character: str) -> bool:
    """Letters and digits of scripts whose words are written apart: Latin, Greek, Cyrillic, …"""
    return character.isalnum() and character < "\u0700"


def _stands_alone(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and (
        normal_form(character) not in _WORD_LIKE
    )


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
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


def _checked_layer(model: ReadingModel, layer: int) -> int:
    top = model.probe.encoder.layers
    return _checks.whole("layer", layer, 1, top)


def has_chinese(text: str) -> bool:
    """Whether a text holds a Chinese character (which Japanese writes, too)."""
    return _CHINESE.search(text) is not None


def is_punctuation(word: str) -> bool:
    """Whether a word is made of punctuation and what cannot be seen; not so ``%&@#`` and ``$``."""
    return all(
        (category := unicodedata.category(c))[0] in "CZ"
        or category == "Sk"
        or (category[0] == "P" and normal_form(c) not in "%‰&@#§")
        for c in word
    )


def split_words(text: str) -> list[tuple[int, int]]:
    """(start, end) of the words of a text in a script that sets spaces between words.

    Punctuation marks and symbols are words of their own, but for an apostrophe within a word, a
    point, comma or colon within a number, and the points within U.S; hyphens are marks.
    """
    found = []
    for chunk in re.finditer(r"\S+", text):
        start, end = chunk.span()
        for place in range(start + 1, end + 1):
            if place < end and (_ties(text, place) or _is_inner(text, place - 1, place)):
                continue
            found.append((start, place))
            start = place
    return found


def _ties(text: str, place: int) -> bool:
    """Whether a character is part of the sign before it: marks, joiners, skin tones."""
    return (
        unicodedata.category(text[place])[0] in "MC"
        or text[place - 1] == "\u200d"
        or "\U0001f3fb" <= text[place] <= "\U0001f3ff"
    )


def _is_inner(text: str, left: int, right: int) -> bool:
    return not (_is_symbol(text, left) or _is_symbol(text, right))


def _is_symbol(text: str, place: int) -> bool:
    character = text[place]
    if unicodedata.category(character)[0] not in "PS" or character == "_":
        return False
    before, after = text[max(place - 2, 0) : place], text[place + 1 : place + 2]
    if not before[-1:].isalnum() or not after.isalnum():
        return True
    if character in ".,:" and before[-1].isdigit() and after.isdigit():
        return False
    initial = character == "." and before[-1].isalpha() and not before[:-1].isalnum()
    return not (initial and after.isalpha()) and character not in "'’"


# Trees


@dataclass(frozen=True)
class ParsedSentence:
    """A sentence and its tree. It may have one word, or, with punctuation alone, none.

    Attributes:
        number: of the text it is from, counted from 0.
        text: the sentence.
        words: of the tree, in order, n of them.
        offsets: (start, end) of each word in the sentence.
        kind: "spanning", "eisner" or "phrases".
        tree: edges, shape ``(n - 1, 2)``, the lower word first; or heads, shape ``(n,)``, -1 for
            the root; or nested pairs of word numbers, None without words.
        matrix: impact of word j on word i, shape ``(n, n)``.
        mode: "single" or "double".
        layer: that was read.
        model: its name.
    """

    number: int
    text: str
    words: list[str]
    offsets: list[tuple[int, int]]
    kind: str
    tree: Any
    matrix: np.ndarray
    mode: str
    layer: int
    model: str


@dataclass
class _Sentence:
    number: int
    text: str
    model: ReadingModel
    words: list[tuple[int, int]] = field(default_factory=list)
    tokens: AlignedTokens | None = None


class Parser:
    """Trees of sentences (句法分析) from the impact of their words on each other.

    Texts are cut into sentences, and each is parsed by itself. Words are set apart by spaces and
    punctuation; sentences with Chinese characters are segmented first, by the same model with its
    default score (see :class:`Segmenter`). The model reads punctuation, but the tree leaves it
    out. Sentences of more than 256 tokens are parsed in parts.
    """

    def __init__(
        self,
        model: ReadingModel | None = None,
        tree: str = "spanning",
        mode: str = "single",
        layer: int | None = None,
        keep_punctuation: bool = False,
    ) -> None:
        """Choose how to parse.

        Args:
            model: by default the bundled Chinese BERT for sentences with Chinese characters, and
                all-MiniLM-L6-v2 for others.
            tree: "spanning": undirected, of greatest weight; "eisner": projective heads;
                "phrases": top down, by the exact cut rule (9).
            mode: "single" for equation (4), "double" for (1) and (2).
            layer: from 1 to L; by default 5/6 of the way up, 4/6 for phrases.
            keep_punctuation: whether punctuation marks are words of the tree.

        Raises:
            ValueError: for arguments out of range.
        """
        for name, value, values in (("tree", tree, TREES), ("mode", mode, MODES)):
            if value not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, got {value!r}")
        self.tree, self.mode, self.layer = tree, mode, layer
        self.keep_punctuation = keep_punctuation
        self._given = model
        self._models: dict[str, ReadingModel] = {}
        self._segmenters: dict[str, Segmenter] = {}
        if model is not None:
            self._layer(model)

    def __call__(self, texts: Iterable[str], tokenized: bool = False) -> Iterator[ParsedSentence]:
        """Parse texts, sentence by sentence in their order; they are read as needed.

        Args:
            texts: of any length. Those without a visible character have no sentences.
            tokenized: each text is one sentence, and its words are set apart by white space.

        Raises:
            TypeError: if `texts` is one string, or holds what is none.
            ValueError: if the layer does not fit a model.
        """
        if isinstance(texts, str):
            raise TypeError(f"texts must be an iterable of strings, got the string {texts[:20]!r}")
        number = 0
        for block in _blocks(texts):
            sentences = []
            for text in block:
                sentences += self._sentences(number, text, tokenized)
                number += 1
            if not tokenized:
                self._find_words(sentences)
            yield from self._parsed([part for s in sentences for part in self._fitting(s)])

    def _sentences(self, number: int, text: str, tokenized: bool) -> list[_Sentence]:
        if tokenized:
            words = [match.span() for match in re.finditer(r"\S+", text)]
            return [_Sentence(number, text, self._model(text), words)] if words else []
        longest = _LONGEST_PARSED - 2 if has_chinese(text) else 4 * _LONGEST_PARSED
        pieces = cut_sentences(text, longest)
        return [_Sentence(number, p, self._model(p)) for p in pieces if not p.isspace()]

    def _model(self, text: str) -> ReadingModel:
        if self._given is not None:
            return self._given
        name = "chinese" if has_chinese(text) else "minilm"
        if name not in self._models:
            self._models[name] = open_model(name)
            self._layer(self._models[name])
        return self._models[name]

    def _layer(self, model: ReadingModel) -> int:
        if self.layer is not None:
            return _checked_layer(model, self.layer)
        sixths = 4 if self.tree == "phrases" else 5
        return max(1, round(sixths * model.probe.encoder.layers / 6))

    def _find_words(self, sentences: list[_Sentence]) -> None:
        chinese = [s for s in sentences if has_chinese(s.text)]
        for name in {s.model.name for s in chinese}:
            group = [s for s in chinese if s.model.name == name]
            if name not in self._segmenters:
                self._segmenters[name] = Segmenter(group[0].model)
            cut = self._segmenters[name](s.text for s in group)
            for sentence, segmentation in zip(group, cut, strict=True):
                ends = list(itertools.accumulate(map(len, segmentation.words), initial=0))
                sentence.words = [_stripped(sentence.text, *span) for span in pairwise(ends)]
                sentence.words = [(a, b) for a, b in sentence.words if a < b]
        for sentence in sentences:
            if not has_chinese(sentence.text):
                sentence.words = split_words(sentence.text)

    def _fitting(self, sentence: _Sentence) -> Iterator[_Sentence]:
        """The sentence with its tokens, or halves of it if there are too many."""
        words = [sentence.text[a:b] for a, b in sentence.words]
        if not words:
            yield sentence
            return
        probe = sentence.model.probe
        tokens = probe.tokenizer(words)
        if len(tokens.ids) <= min(probe.encoder.limit, _LONGEST_PARSED):
            sentence.tokens = tokens
            yield sentence
        elif len(words) == 1:
            sentence.tokens = _unknown(probe, [(0, 1)])
            yield sentence
        else:
            half = len(words) // 2
            place = sentence.words[half][0]
            first, last = sentence.words[:half], sentence.words[half:]
            last = [(a - place, b - place) for a, b in last]
            for text, part in ((sentence.text[:place], first), (sentence.text[place:], last)):
                yield from self._fitting(_Sentence(sentence.number, text, sentence.model, part))

    def _parsed(self, sentences: list[_Sentence]) -> Iterator[ParsedSentence]:
        models = {s.model.name: s.model for s in sentences}
        found = {name: self._matrices(model, sentences) for name, model in models.items()}
        for s in sentences:
            offsets = [s.words[t] for t in self._kept(s)]
            matrix = np.zeros((len(offsets), len(offsets)))
            if len(offsets) > 1:
                matrix = next(found[s.model.name])[0]
            yield ParsedSentence(
                number=s.number,
                text=s.text,
                words=[s.text[a:b] for a, b in offsets],
                offsets=offsets,
                kind=self.tree,
                tree=_decoded(self.tree, matrix),
                matrix=matrix,
                mode=self.mode,
                layer=self._layer(s.model),
                model=s.model.name,
            )

    def _matrices(self, model: ReadingModel, sentences: list[_Sentence]) -> Iterator[np.ndarray]:
        """Matrices of a model's sentences of two words or more."""
        own = (s for s in sentences if s.model is model)
        kept = ((s.tokens, self._kept(s)) for s in own)
        tokens = (
            AlignedTokens(tokens.ids, [tokens.spans[t] for t in words], [])
            for tokens, words in kept
            if len(words) > 1
        )
        layers = [self._layer(model)]
        return impact_matrices(model.probe, tokens, self.mode, "euclidean", layers)

    def _kept(self, sentence: _Sentence) -> list[int]:
        return [
            t
            for t, (a, b) in enumerate(sentence.words)
            if self.keep_punctuation or not is_punctuation(sentence.text[a:b])
        ]


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    word = text[start:end]
    return end - len(word.lstrip()), start + len(word.rstrip())


def _decoded(kind: str, matrix: np.ndarray) -> Any:
    from kexian_utils import trees  # it needs SciPy, which segmentation does not wait for

    if kind == "spanning":
        return trees.max_spanning_tree(matrix) if len(matrix) else np.zeros((0, 2), np.int64)
    if kind == "eisner":
        return trees.eisner(matrix.T) if len(matrix) else np.zeros(0, np.int64)
    return trees.top_down_tree(matrix, "min_between") if len(matrix) else None
