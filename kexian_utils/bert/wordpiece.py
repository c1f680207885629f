"""Tokens from a vocab.txt, as BERT cuts text, and which characters each of them stands for."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """

    ids: list[int]
    spans: list[tuple[int, int]]
    offsets: list[tuple[int, int]]


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Tokens of a vocab.txt, one a line, and their numbers."""
    lines = Path(path).read_text(encoding="utf-8").split("\n")
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
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {type(text).__name__}")
    units = _characters(text) if characters else _words(text, lowercase)
    found = [(start, _unit_pieces(parts, vocabulary)) for start, parts in units]
    starts = [0, *(start for start, _ in found[1:]), len(text)]
    offsets = list(zip(starts, starts[1:], strict=False)) if found else []
    return _aligned([pieces for _, pieces in found], offsets, vocabulary, limit, "text")


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
    """
    if isinstance(words, str):
        raise TypeError("words must be a sequence of str, got one str: see aligned_tokens")
    if not all(words):
        raise ValueError("words must not be empty strings")
    units = ((_characters(w) if characters else _words(w, lowercase)) for w in words)
    pieces = [[p for _, parts in unit for p in _unit_pieces(parts, vocabulary)] for unit in units]
    offsets = [(i, i + 1) for i in range(len(words))]
    return _aligned([p or ["[UNK]"] for p in pieces], offsets, vocabulary, limit, "words")


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary and how a model's folder says that text is to be cut with it.

    Attributes:
        vocabulary: tokens and their numbers.
        lowercase: as for :func:`aligned_tokens`; ``do_lower_case`` of tokenizer_config.json.
        characters: as for :func:`aligned_tokens`; ``kexian_characters`` of that file.
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
        config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
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


def _aligned(
    pieces: list[list[str]],
    offsets: list[tuple[int, int]],
    vocabulary: Mapping[str, int],
    limit: int | None,
    name: str,
) -> AlignedTokens:
    for token in ("[CLS]", "[SEP]", "[UNK]"):
        if token not in vocabulary:
            raise ValueError(f"vocabulary must hold {token}, which is missing")
    ids, spans = [vocabulary["[CLS]"]], []
    for unit in pieces:
        spans.append((len(ids), len(ids) + len(unit)))
        ids.extend(vocabulary[piece] for piece in unit)
    ids.append(vocabulary["[SEP]"])
    if limit is not None and len(ids) > limit:
        raise ValueError(
            f"{name} must give at most {limit} tokens with [CLS] and [SEP], for which the model "
            f"has positions, got {len(ids)}: cut it into sentences first "
            "(kexian_utils.language.text.cut_sentences)"
        )
    return AlignedTokens(ids, spans, offsets)


def _words(text: str, lowercase: bool) -> Iterator[tuple[int, list[str]]]:
    """Where BERT's words begin, and the words; more than one if a character becomes several."""
    begin, word = 0, ""
    for place, character in enumerate(text):
        shown = _shown(character, lowercase)
        if shown.strip() and not _stands_alone(shown):
            begin, word = (begin if word else place), word + shown
        elif shown:
            if word:
                yield begin, [word]
                word = ""
            if shown.strip():
                yield place, list(shown)
    if word:
        yield begin, [word]


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


def _shown(character: str, lowercase: bool) -> str:
    """What BERT keeps of a character: nothing, a space, or a few characters."""
    if character in "\t\n\r":
        return " "
    if character == "\ufffd" or unicodedata.category(character).startswith("C"):
        return ""
    if character.isspace():
        return " "
    if not lowercase:
        return character
    decomposed = unicodedata.normalize("NFD", character.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def _stands_alone(characters: str) -> bool:
    return any(_is_symbol(c) or _is_ideograph(ord(c)) for c in characters)


def _is_symbol(character: str) -> bool:
    code = ord(character)
    ascii_symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_symbol or unicodedata.category(character).startswith("P")


def _is_ideograph(code: int) -> bool:
    return (
        0x3400 <= code <= 0x4DBF or 0x4E00 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2CEAF or 0x2F800 <= code <= 0x2FA1F
    )  # fmt: skip


def _unit_pieces(parts: Iterable[str], vocabulary: Mapping[str, int]) -> list[str]:
    return [piece for part in parts for piece in _pieces(part, vocabulary)]


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    found, start = [], 0
    if len(word) > _LONGEST:
        return ["[UNK]"]
    while start < len(word):
        prefix = "##" if start else ""
        for end in range(len(word), start, -1):
            if prefix + word[start:end] in vocabulary:
                break
        else:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found
