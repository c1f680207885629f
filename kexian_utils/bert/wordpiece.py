"""Tokens from a vocab.txt, as BERT cuts text, and which characters each of them stands for."""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tokenizers

from kexian_utils._json import read_json
from kexian_utils.bert.characters import normal_form

__all__ = [
    "AlignedTokens",
    "Tokenizer",
    "aligned_tokens",
    "aligned_words",
    "read_vocabulary",
    "token_ids",
]

_JOINER = "\u200d"  # makes one sign of the two beside it
_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST = 100  # characters of a word; BERT's own tokenizer calls longer ones unknown


@dataclass(frozen=True)
class AlignedTokens:
    """A text between [CLS] and [SEP], and the units that it is made of.

    Attributes:
        ids: numbers of the tokens.
        spans: (start, end) of each unit's tokens in `ids`; units are in order, none is empty.
        offsets: (start, end) of each unit in the text; the first begins at 0, each ends where the
            next begins, and the last ends with the text. For a list of words, its number and the
            next.

    Examples:
        >>> tokens = ["[CLS]", "[SEP]", "[UNK]", "深", "un", "##do"]
        >>> vocabulary = {token: number for number, token in enumerate(tokens)}
        >>> found = aligned_tokens("undo 深", vocabulary)
        >>> found.ids, found.spans, found.offsets  # two tokens of one unit, then one of one
        ([0, 4, 5, 3, 1], [(1, 3), (3, 4)], [(0, 5), (5, 6)])
    """

    ids: list[int]
    spans: list[tuple[int, int]]
    offsets: list[tuple[int, int]]


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Tokens of a vocab.txt, one a line, and their numbers.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> list(read_vocabulary(chinese_bert() / "vocab.txt").items())[:6]
        [('[PAD]', 0), ('[UNK]', 1), ('[CLS]', 2), ('[SEP]', 3), ('[MASK]', 4), (',', 5)]
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be UTF-8: {error}") from None
    return {token.rstrip("\r"): number for number, token in enumerate(lines) if token}


def token_ids(text: str, vocabulary: Mapping[str, int], lowercase: bool = True) -> list[int]:
    """Numbers of the tokens of a text between [CLS] and [SEP].

    Args:
        text: any text; Chinese characters and punctuation are words of their own.
        vocabulary: must hold [CLS], [SEP] and [UNK].
        lowercase: also strips accents, as the uncased models of BERT do.

    Raises:
        ValueError: if one of the special tokens is missing.

    Source: Devlin et al. (2019); greedy longest match from the left.

    Examples:
        >>> tokens = ["[CLS]", "[SEP]", "[UNK]", "深", "un", "##do"]
        >>> vocabulary = {token: number for number, token in enumerate(tokens)}
        >>> token_ids("Undo 深!", vocabulary)  # [CLS] un ##do 深 [UNK] [SEP]
        [0, 4, 5, 3, 2, 1]
    """
    return aligned_tokens(text, vocabulary, lowercase).ids


def aligned_tokens(
    text: str,
    vocabulary: Mapping[str, int],
    lowercase: bool = True,
    characters: bool = False,
    limit: int | None = None,
) -> AlignedTokens:
    """Tokens of a text, and which stretch of it they stand for.

    A unit is what the text can be cut into: a Chinese character, a punctuation mark, or a run of
    other characters such as a Latin word or a number, in as many pieces as the vocabulary needs.
    With `characters`, every character is a unit, with the combining marks after it and what a
    joiner ties to it. What BERT drops (white space, control characters) belongs to the unit before
    it, or to the first; so the units, one after another, are the text.

    Args:
        text: any text. Without a visible character it has no units.
        vocabulary: must hold [CLS], [SEP] and [UNK].
        lowercase: also strips accents, as the uncased models of BERT do.
        characters: tokens are single characters in the form that
            :func:`kexian_utils.bert.characters.normal_form` gives them, in which full-width
            letters and digits (全角) are ordinary ones; `lowercase` is not used.
        limit: number of tokens, [CLS] and [SEP] included, that the model has positions for.

    Raises:
        ValueError: if a special token is missing, or there are more tokens than `limit`.

    Source: Devlin et al. (2019); greedy longest match from the left.

    Examples:
        >>> tokens = ["[CLS]", "[SEP]", "[UNK]", "深", "un", "##do"]
        >>> vocabulary = {token: number for number, token in enumerate(tokens)}
        >>> found = aligned_tokens("深 undo", vocabulary)
        >>> ["深 undo"[start:end] for start, end in found.offsets]
        ['深 ', 'undo']
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")
    _check_special(vocabulary)
    found = _units(text, vocabulary, lowercase, characters)
    starts = [0, *(start for start, _ in found[1:]), len(text)]
    offsets = list(zip(starts, starts[1:], strict=False)) if found else []
    return _aligned([numbers for _, numbers in found], offsets, vocabulary, limit, "text")


def aligned_words(
    words: Sequence[str],
    vocabulary: Mapping[str, int],
    lowercase: bool = True,
    characters: bool = False,
    limit: int | None = None,
) -> AlignedTokens:
    """Tokens of words that are given, each of them a unit, whatever BERT would cut it into.

    Args:
        words: not empty strings. One of which BERT drops every character is an unknown token.
        vocabulary: must hold [CLS], [SEP] and [UNK].
        lowercase: as for :func:`aligned_tokens`.
        characters: as for :func:`aligned_tokens`.
        limit: as for :func:`aligned_tokens`.

    Raises:
        ValueError: as :func:`aligned_tokens`; for an empty word.

    Examples:
        >>> tokens = ["[CLS]", "[SEP]", "[UNK]", "深", "un", "##do"]
        >>> vocabulary = {token: number for number, token in enumerate(tokens)}
        >>> aligned_words(["深undo", "do"], vocabulary).ids  # a word alone does not begin with ##
        [0, 3, 4, 5, 2, 1]
    """
    if isinstance(words, str):
        raise TypeError("words must be a sequence of str, got one str: see aligned_tokens")
    if not all(words):
        raise ValueError("words must not be empty strings")
    _check_special(vocabulary)
    units = (_units(word, vocabulary, lowercase, characters) for word in words)
    numbers = [[n for _, own in unit for n in own] or [vocabulary["[UNK]"]] for unit in units]
    offsets = [(i, i + 1) for i in range(len(words))]
    return _aligned(numbers, offsets, vocabulary, limit, "words")


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and how a model's folder says that text is to be cut with it.

    Attributes:
        vocabulary: tokens and their numbers.
        lowercase: as for :func:`aligned_tokens`; ``do_lower_case`` of tokenizer_config.json.
        characters: as for :func:`aligned_tokens`; ``kexian_characters`` of that file.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> tokenizer = Tokenizer.open(chinese_bert())
        >>> tokens = list(tokenizer.vocabulary)
        >>> [tokens[number] for number in tokenizer("今天ＡＢ").ids]
        ['[CLS]', '今', '天', 'A', 'B', '[SEP]']
    """

    vocabulary: Mapping[str, int]
    lowercase: bool = True
    characters: bool = False

    @classmethod
    def open(cls, folder: str | os.PathLike) -> Tokenizer:
        """Read vocab.txt and, if there is one, tokenizer_config.json.

        Raises:
            ValueError: if vocab.txt is missing, or for settings that are not supported.
        """
        folder = Path(folder)
        if not (folder / "vocab.txt").is_file():
            raise ValueError(f"{folder} must hold vocab.txt, which is missing")
        path = folder / "tokenizer_config.json"
        config = read_json(path, dict) if path.is_file() else {}
        lowercase = config.get("do_lower_case", True)
        for key, values in (
            ("tokenize_chinese_chars", (None, True)),
            ("strip_accents", (None, lowercase)),
        ):
            if config.get(key) not in values:
                raise ValueError(
                    f"{key} in {path} must be one of {values}, got {config[key]!r}: other ways of "
                    "cutting text are not supported"
                )
        vocabulary = read_vocabulary(folder / "vocab.txt")
        return cls(vocabulary, lowercase, bool(config.get("kexian_characters", False)))

    def __call__(self, text: str | Sequence[str], limit: int | None = None) -> AlignedTokens:
        """`aligned_tokens` of a text, or `aligned_words` of a sequence of words."""
        cut = aligned_tokens if isinstance(text, str) else aligned_words
        return cut(text, self.vocabulary, self.lowercase, self.characters, limit)


def _check_special(vocabulary: Mapping[str, int]) -> None:
    for token in ("[CLS]", "[SEP]", "[UNK]"):
        if token not in vocabulary:
            raise ValueError(f"vocabulary must hold {token}, which is missing")


def _aligned(
    numbers: list[list[int]],
    offsets: list[tuple[int, int]],
    vocabulary: Mapping[str, int],
    limit: int | None,
    name: str,
) -> AlignedTokens:
    ids, spans = [vocabulary["[CLS]"]], []
    for unit in numbers:
        spans.append((len(ids), len(ids) + len(unit)))
        ids.extend(unit)
    ids.append(vocabulary["[SEP]"])
    if limit is not None and len(ids) > limit:
        raise ValueError(
            f"{name} must give at most {limit} tokens with [CLS] and [SEP], for which the model "
            f"has positions, got {len(ids)}: cut it into sentences first "
            "(kexian_utils.language.text.cut_sentences)"
        )
    return AlignedTokens(ids, spans, offsets)


def _characters(text: str) -> Iterator[tuple[int, list[str]]]:
    """Where characters begin, and their normal forms, with those of what is tied to them."""
    place = 0
    while place < len(text):
        end = place + 1
        while end < len(text) and (_joins(text[end]) or text[end - 1] == _JOINER):
            end += 1
        shown = [normal_form(c) for c in text[place:end] if not c.isspace()]
        if shown:
            yield place, shown
        place = end


def _joins(character: str) -> bool:
    return character == _JOINER or unicodedata.category(character).startswith("M")


@dataclass(frozen=True)
class _Same:
    """A vocabulary as a key: equal to itself alone, however many tokens it has."""

    vocabulary: Mapping[str, int]
    size: int  # a vocabulary that has grown is another one

    def __hash__(self) -> int:
        return id(self.vocabulary)

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, _Same) and other.vocabulary is self.vocabulary
        return same and other.size == self.size


@functools.lru_cache(maxsize=8)
def _core(key: _Same, lowercase: bool) -> tokenizers.Tokenizer:
    """BERT's own cutting, without special tokens: "[MASK]" in a text is five characters."""
    model = tokenizers.models.WordPiece(
        dict(key.vocabulary), unk_token="[UNK]", max_input_chars_per_word=_LONGEST
    )
    core = tokenizers.Tokenizer(model)
    core.normalizer = tokenizers.normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=lowercase
    )
    core.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    return core


def _units(
    text: str, vocabulary: Mapping[str, int], lowercase: bool, characters: bool
) -> list[tuple[int, list[int]]]:
    """Where the units of a text begin, and the numbers of their tokens."""
    if characters:
        unknown = vocabulary["[UNK]"]
        return [
            (start, [vocabulary.get(c, unknown) for c in shown])
            for start, shown in _characters(text)
        ]
    # Halves of surrogate pairs are dropped like U+FFFD; the library takes no text with them.
    whole = _SURROGATE.sub("\ufffd", text)
    found = _core(_Same(vocabulary, len(vocabulary)), lowercase).encode(whole)
    units: list[tuple[int, list[int]]] = []
    word, end = None, 0
    for number, own, (start, stop) in zip(found.ids, found.word_ids, found.offsets, strict=True):
        if own != word and (not units or start >= end):  # else one character gave several words
            units.append((start, []))
        units[-1][1].append(number)
        word, end = own, max(end, stop)
    return units
