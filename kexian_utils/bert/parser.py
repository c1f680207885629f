"""Trees of sentences, read off a model that was not trained for them.

This lies beneath ``kexian parse``. Texts are cut into sentences first, so length is no limit; what
comes out joins to what went in. Texts are read as they are needed, in blocks, at constant memory.
Source: https://kexue.fm/archives/7476.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from kexian_utils.bert.models import ReadingModel, checked_layer, open_model
from kexian_utils.bert.probing import (
    MODES,
    impact_matrices,
)
from kexian_utils.bert.segmenter import Segmenter, blocks, unknown_token
from kexian_utils.bert.wordpiece import AlignedTokens
from kexian_utils.bert.words import has_chinese, is_punctuation, split_words
from kexian_utils.language import trees
from kexian_utils.language.text import cut_sentences

__all__ = ["TREES", "ParsedSentence", "Parser"]

TREES = ("spanning", "eisner", "phrases")
_LONGEST_PARSED = 256  # tokens of a sentence that is parsed


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

    Examples:
        >>> from kexian_utils.bert import open_model
        >>> found = next(Parser(open_model("chinese"), "spanning")(["我们热爱中国。"]))
        >>> [(found.words[i], found.words[j]) for i, j in found.tree.tolist()]
        [('我们', '热爱'), ('热爱', '中国')]
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

    Examples:
        >>> from kexian_utils.bert import open_model
        >>> parser = Parser(open_model("chinese"))
        >>> found = next(parser(["我们热爱中国。"]))
        >>> found.words, found.kind, found.tree
        (['我们', '热爱', '中国'], 'phrases', ((0, 1), 2))
    """

    def __init__(
        self,
        model: ReadingModel | None = None,
        tree: str | None = None,
        mode: str = "single",
        layer: int | None = None,
        keep_punctuation: bool = False,
    ) -> None:
        """Choose how to parse.

        Args:
            model: by default the bundled Chinese BERT for sentences with Chinese characters, and
                all-MiniLM-L6-v2 for others.
            tree: "spanning": undirected, of greatest weight, of impacts divided by the sum of
                their row; "eisner": projective heads; "phrases": top down, by the exact cut rule
                (9). By default phrases for sentences with Chinese characters, whose spanning trees
                hardly ever differ from the chain of neighbours, and spanning for others.
            mode: "single" for equation (4), "double" for (1) and (2).
            layer: from 1 to L; by default 5/6 of the way up for spanning trees, 4/6 for others.
            keep_punctuation: whether punctuation marks are words of the tree.

        Raises:
            ValueError: for arguments out of range.
        """
        for name, value, values in (("tree", tree or TREES[0], TREES), ("mode", mode, MODES)):
            if value not in values:
                raise ValueError(f"{name} must be one of {', '.join(values)}, got {value!r}")
        self.tree, self.mode, self.layer = tree, mode, layer
        self.keep_punctuation = keep_punctuation
        self._given = model
        self._models: dict[str, ReadingModel] = {}
        self._segmenters: dict[str, Segmenter] = {}
        if model is not None:
            self._layer(model, tree or TREES[0])

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
        for block in blocks(texts):
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
            self._layer(self._models[name], self._kind(text))
        return self._models[name]

    def _kind(self, text: str) -> str:
        return self.tree or ("phrases" if has_chinese(text) else "spanning")

    def _layer(self, model: ReadingModel, kind: str) -> int:
        if self.layer is not None:
            return checked_layer(model, self.layer)
        sixths = 5 if kind == "spanning" else 4
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
            sentence.tokens = unknown_token(probe, [(0, 1)])
            yield sentence
        else:
            half = len(words) // 2
            place = sentence.words[half][0]
            first, last = sentence.words[:half], sentence.words[half:]
            last = [(a - place, b - place) for a, b in last]
            for text, part in ((sentence.text[:place], first), (sentence.text[place:], last)):
                yield from self._fitting(_Sentence(sentence.number, text, sentence.model, part))

    def _parsed(self, sentences: list[_Sentence]) -> Iterator[ParsedSentence]:
        ways = {(s.model.name, self._kind(s.text)): s.model for s in sentences}
        found = {way: self._matrices(model, way[1], sentences) for way, model in ways.items()}
        for s in sentences:
            kind = self._kind(s.text)
            offsets = [s.words[t] for t in self._kept(s)]
            matrix = np.zeros((len(offsets), len(offsets)))
            if len(offsets) > 1:
                matrix = next(found[s.model.name, kind])[0]
            yield ParsedSentence(
                number=s.number,
                text=s.text,
                words=[s.text[a:b] for a, b in offsets],
                offsets=offsets,
                kind=kind,
                tree=_decoded(kind, matrix),
                matrix=matrix,
                mode=self.mode,
                layer=self._layer(s.model, kind),
                model=s.model.name,
            )

    def _matrices(
        self, model: ReadingModel, kind: str, sentences: list[_Sentence]
    ) -> Iterator[np.ndarray]:
        """Matrices of those sentences of two words or more that a model reads for such a tree."""
        own = (s for s in sentences if s.model is model and self._kind(s.text) == kind)
        kept = ((s.tokens, self._kept(s)) for s in own)
        tokens = (
            AlignedTokens(tokens.ids, [tokens.spans[t] for t in words], [])
            for tokens, words in kept
            if len(words) > 1
        )
        layers = [self._layer(model, kind)]
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
    if kind == "spanning":
        sums = matrix.sum(axis=1, keepdims=True)
        shares = np.divide(matrix, sums, out=np.zeros_like(matrix), where=sums > 0)
        return trees.max_spanning_tree(shares) if len(matrix) else np.zeros((0, 2), np.int64)
    if kind == "eisner":
        return trees.eisner(matrix.T) if len(matrix) else np.zeros(0, np.int64)
    return trees.top_down_tree(matrix, "min_between") if len(matrix) else None
