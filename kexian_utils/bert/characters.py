"""Characters as tokens: what the project's own Chinese BERT reads, and the files that say so."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = [
    "END",
    "MASK",
    "PAD",
    "SPECIAL",
    "START",
    "UNKNOWN",
    "character_ids",
    "character_vocabulary",
    "normal_form",
    "tokenizer_files",
]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNKNOWN, START, END, MASK = range(len(SPECIAL))


def normal_form(character: str) -> str:
    """The character's compatibility form (NFKC) if that is one character, else itself.

    Full-width digits, letters and punctuation become the usual ones; ㈱, which would become three
    characters, stays, so a text never changes its length.

    Examples:
        >>> normal_form("Ａ"), normal_form("％"), normal_form("㈱")
        ('A', '%', '㈱')
    """
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def character_ids(text: str, vocabulary: Mapping[str, int]) -> list[int]:
    """One token number per character; spaces are left out, unknown characters are [UNK].

    Examples:
        >>> vocabulary = character_vocabulary(["天天好好好"])
        >>> character_ids("好 天！", vocabulary)  # the mark is unknown
        [5, 6, 1]
    """
    unknown = vocabulary["[UNK]"]
    return [vocabulary.get(normal_form(c), unknown) for c in text if not c.isspace()]


def character_vocabulary(texts: Iterable[str], minimum_count: int = 2) -> dict[str, int]:
    """Numbers of the characters of a text, after the five special tokens, the commonest first.

    Characters count in their normal form; spaces are left out.

    Raises:
        ValueError: if no character occurs `minimum_count` times.

    Examples:
        >>> list(character_vocabulary(["天天好好好", "气"]))
        ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', '好', '天']
    """
    counts = Counter(normal_form(c) for text in texts for c in text)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    characters = [c for c, n in ranked if n >= minimum_count and not c.isspace()]
    if not characters:
        raise ValueError(
            f"the text must hold characters that occur {minimum_count} times or more, it has none"
        )
    return {token: number for number, token in enumerate([*SPECIAL, *characters])}


def tokenizer_files(vocabulary: Mapping[str, int], positions: int) -> dict[str, str]:
    """The files that tell us and `transformers` to read single characters, by name.

    Args:
        vocabulary: tokens and their numbers, from 0, in order.
        positions: longest row that the model reads, in tokens.

    Examples:
        >>> files = tokenizer_files(character_vocabulary(["天天好好好"]), positions=128)
        >>> sorted(files), files["vocab.txt"].split()[-2:]
        (['tokenizer.json', 'tokenizer_config.json', 'vocab.txt'], ['好', '天'])
    """
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "kexian_characters": True,
        "model_max_length": positions,
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    return {
        "vocab.txt": "".join(f"{token}\n" for token in vocabulary),
        "tokenizer_config.json": json.dumps(config, indent=2) + "\n",
        "tokenizer.json": json.dumps(_tokenizer(vocabulary), ensure_ascii=False) + "\n",
    }


def _normalizer(vocabulary: Mapping[str, int]) -> dict[str, object]:
    """What :func:`normal_form` does, as far as the vocabulary tells it, and no spaces.

    Not the library's NFKC, which takes a whole text: it makes … three dots and joins a letter
    with the accent behind it.
    """
    sources: dict[str, str] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        plain = "" if character.isspace() else normal_form(character)
        if plain != character and (not plain or plain in vocabulary):
            sources[plain] = sources.get(plain, "") + character
    steps = [
        {"type": "Replace", "pattern": {"Regex": f"[{characters}]"}, "content": plain}
        for plain, characters in sources.items()
    ]
    return {"type": "Sequence", "normalizers": steps}


def _tokenizer(vocabulary: Mapping[str, int]) -> dict[str, object]:
    """The form of the library `tokenizers`: every character a token, in its normal form."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, token in enumerate(SPECIAL)
        ],
        "normalizer": _normalizer(vocabulary),
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": "."},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", END],
            "cls": ["[CLS]", START],
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": dict(vocabulary), "unk_token": "[UNK]"},
    }
