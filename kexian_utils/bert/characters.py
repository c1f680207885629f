"""Characters as tokens: what the project's own Chinese BERT reads."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

__all__ = ["SPECIAL", "character_ids", "normal_form"]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # token numbers 0 to 4


def normal_form(character: str) -> str:
    """The character's compatibility form (NFKC) if that is one character, else itself.

    Full-width digits, letters and punctuation become the usual ones; ㈱, which would become three
    characters, stays, so a text never changes its length.
    """
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def character_ids(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """One token number per character; spaces are left out, unknown characters are [UNK]."""
    unknown = vocabulary["[UNK]"]
    return [vocabulary.get(normal_form(c), unknown) for c in text if not c.isspace()]
