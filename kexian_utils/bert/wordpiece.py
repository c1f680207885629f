"""WordPiece tokens from a vocab.txt, as BERT cuts text: just enough to feed a model sentences."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path

__all__ = ["read_vocabulary", "token_ids"]


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
    for token in ("[CLS]", "[SEP]", "[UNK]"):
        if token not in vocabulary:
            raise ValueError(f"vocabulary must hold {token}, which is missing")
    if lowercase:
        decomposed = unicodedata.normalize("NFD", text.lower())
        text = "".join(c for c in decomposed if unicodedata.category(c) != "Mn")
    pieces = [piece for word in _words(text) for piece in _pieces(word, vocabulary)]
    return [vocabulary[token] for token in ("[CLS]", *pieces, "[SEP]")]


def _words(text: str) -> list[str]:
    spaced = (f" {c} " if _stands_alone(c) else c for c in text)
    return "".join(spaced).split()


def _stands_alone(character: str) -> bool:
    code = ord(character)
    symbols = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    ideographs = (
        0x3400 <= code <= 0x4DBF or 0x4E00 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2CEAF
    )  # fmt: skip
    return symbols or ideographs or unicodedata.category(character).startswith("P")


def _pieces(word: str, vocabulary: Mapping[str, int]) -> list[str]:
    found, start = [], 0
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
