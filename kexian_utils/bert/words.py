"""What characters alone say of words: Chinese or not, punctuation, what stays together."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from kexian_utils.bert.characters import normal_form

__all__ = ["has_chinese", "is_punctuation", "split_words"]

# Punctuation that is often part of a word: the model decides.
_WORD_LIKE = frozenset("%‰‱&@#*/\\_-·•・§†‡")
_CHINESE = re.compile(
    "[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff\U00030000-\U000323af]"
)


def has_chinese(text: str) -> bool:
    """Whether a text holds a Chinese character (which Japanese writes, too).

    Examples:
        >>> has_chinese("BERT 模型"), has_chinese("a BERT")
        (True, False)
    """
    return _CHINESE.search(text) is not None


def is_punctuation(word: str) -> bool:
    """Whether a word is made of punctuation and what cannot be seen; not so ``%&@#`` and ``$``.

    Examples:
        >>> is_punctuation("……"), is_punctuation("%"), is_punctuation("好。")
        (True, False, False)
    """
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

    Examples:
        >>> text = "It's 3.14, not 3!"
        >>> [text[start:end] for start, end in split_words(text)]
        ["It's", '3.14', ',', 'not', '3', '!']
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


def with_rules(
    text: str, starts: list[int], scores: list[float | None]
) -> tuple[list[int], list[float | None]]:
    """Letters and digits kept together, punctuation set apart."""
    units = [visible(unit) for unit in parts(text, starts)]
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


def parts(text: str, starts: Sequence[int]) -> list[str]:
    """The pieces of a text that begin at these places, the first of which is 0."""
    if not text:
        return []
    return [text[a:b] for a, b in pairwise([*starts, len(text)])]


def visible(unit: str) -> str:
    """The unit without marks, white space and control characters."""
    return "".join(c for c in unit if unicodedata.category(c)[0] not in "CMZ")


def _alphanumeric(character: str) -> bool:
    """Letters and digits of scripts whose words are written apart: Latin, Greek, Cyrillic, …"""
    return character.isalnum() and character < "\u0700"


def _stands_alone(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and (
        normal_form(character) not in _WORD_LIKE
    )
