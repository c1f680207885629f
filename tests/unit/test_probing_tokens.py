"""Tokens and the stretches of text that they stand for, against BERT's rules written plainly."""

import json

import bert_folders
import numpy as np
import pytest
import wordpiece_reference

from kexian_utils.bert.characters import character_ids
from kexian_utils.bert.wordpiece import (
    Tokenizer,
    aligned_tokens,
    aligned_words,
    read_vocabulary,
    token_ids,
)

TOKENS = [*bert_folders.VOCABULARY, "a", "b", "3", "g", "##g", "手", "机", "年", "é", "²", "A", "B"]
VOCABULARY = {token: number for number, token in enumerate(dict.fromkeys(TOKENS))}
SIGNS = list(
    "aB3g ,.'-手机年今ＡＢ１２é İΣßﬁ²①㎏½“…—$+^`가ñ￥·ก็"
    "\u0301\u200d\ufe0f👍👨🏽\t\n\u3000\x00\ufffd\x85\u2028豈\U0002f800"
)


def texts(count, seed):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(SIGNS, rng.integers(0, 14))) for _ in range(count)]


def pieces(text, aligned, vocabulary=VOCABULARY):
    names = {number: token for token, number in vocabulary.items()}
    return [
        (text[a:b], *(names[i] for i in aligned.ids[s:e]))
        for (a, b), (s, e) in zip(aligned.offsets, aligned.spans, strict=True)
    ]


LONG = ["a" * 100, "a" * 101, "3" + "g" * 99, "3" + "g" * 100, "é" * 100, "é" * 101]


@pytest.mark.parametrize("lowercase", [True, False])
def test_tokens_are_those_of_the_paper(tmp_path, lowercase):
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    assert read_vocabulary(tmp_path / "vocab.txt") == VOCABULARY
    for text in [*texts(3000, 0), *LONG, "[MASK]今[SEP]"]:
        own = wordpiece_reference.tokens(text, VOCABULARY, lowercase)
        want = [VOCABULARY[token] for token in ("[CLS]", *own, "[SEP]")]
        assert aligned_tokens(text, VOCABULARY, lowercase).ids == want, ascii(text)
        assert token_ids(text, VOCABULARY, lowercase) == want


def test_halves_of_surrogate_pairs_are_dropped():
    got = aligned_tokens("手\ud83d机\udc4d", VOCABULARY)
    assert pieces("手\ud83d机\udc4d", got) == [("手\ud83d", "手"), ("机\udc4d", "机")]


def test_a_vocabulary_that_grows_is_another_one():
    growing = {t: i for t, i in VOCABULARY.items() if t != "手"}
    assert growing["[UNK]"] in aligned_tokens("手", growing).ids
    growing["手"] = 999
    assert 999 in aligned_tokens("手", growing).ids


@pytest.mark.parametrize("characters", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_units_are_the_text(characters, lowercase):
    for text in texts(3000, 1):
        got = aligned_tokens(text, VOCABULARY, lowercase, characters)
        if not got.spans:
            assert got.offsets == []
            assert len(got.ids) == 2
            continue
        assert "".join(text[a:b] for a, b in got.offsets) == text
        assert all(a < b for a, b in got.offsets)
        edges = [got.spans[0][0], *(end for _, end in got.spans)]
        assert got.spans == list(zip(edges, edges[1:], strict=False))
        assert (edges[0], edges[-1]) == (1, len(got.ids) - 1)
        assert all(start < end for start, end in got.spans)


def test_characters_are_those_of_the_chinese_model():
    for text in texts(3000, 2):
        got = aligned_tokens(text, VOCABULARY, characters=True)
        assert got.ids[1:-1] == character_ids(text, VOCABULARY)
        assert (got.ids[0], got.ids[-1]) == (VOCABULARY["[CLS]"], VOCABULARY["[SEP]"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3G手机", [("3G", "3", "##g"), ("手", "手"), ("机", "机")]),
        ("今 天\n", [("今 ", "今"), ("天\n", "天")]),
        (" training.", [(" training", "train", "##ing"), (".", ".")]),
        ("İa手", [("İa", "[UNK]"), ("手", "手")]),
        ("é手", [("é", "[UNK]"), ("手", "手")]),
        ("ＡＢ手", [("ＡＢ", "[UNK]"), ("手", "手")]),
        ("👨\u200d👩手\u200d", [("👨\u200d👩", "[UNK]"), ("手\u200d", "手")]),
        ("\x00手", [("\x00手", "手")]),
    ],
)
def test_units_of_wordpieces(text, expected):
    vocabulary = {t: i for t, i in VOCABULARY.items() if t not in ("é", "e")}
    assert pieces(text, aligned_tokens(text, vocabulary), vocabulary) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3A手", [("3", "3"), ("A", "A"), ("手", "手")]),
        ("３Ａ 手", [("３", "3"), ("Ａ ", "A"), ("手", "手")]),
        ("a\u0301é", [("a\u0301", "a", "[UNK]"), ("é", "é")]),
        ("👨\u200d👩\ufe0f手", [("👨\u200d👩\ufe0f", *["[UNK]"] * 4), ("手", "手")]),
        ("②²", [("②", "[UNK]"), ("²", "[UNK]")]),
    ],
)
def test_units_of_characters(text, expected):
    assert pieces(text, aligned_tokens(text, VOCABULARY, characters=True)) == expected


def test_words_are_units():
    words = ["The", "models", "train.", "\x00", "手机"]
    got = aligned_words(words, VOCABULARY)
    names = list(VOCABULARY)
    assert [[names[i] for i in got.ids[a:b]] for a, b in got.spans] == [
        ["the"], ["model", "##s"], ["train", "."], ["[UNK]"], ["手", "机"],
    ]  # fmt: skip
    assert got.offsets == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    got = aligned_words(["３", "手 机"], VOCABULARY, characters=True)
    assert [[names[i] for i in got.ids[a:b]] for a, b in got.spans] == [["3"], ["手", "机"]]


def test_limit_and_other_errors():
    assert len(aligned_tokens("手" * 8, VOCABULARY, limit=10).ids) == 10
    with pytest.raises(ValueError, match=r"text must give at most 10 .* got 11: .*cut_sentences"):
        aligned_tokens("手" * 9, VOCABULARY, limit=10)
    with pytest.raises(ValueError, match="words must give at most 3"):
        aligned_words(["a", "b"], VOCABULARY, limit=3)
    with pytest.raises(ValueError, match="words must not be empty"):
        aligned_words(["a", ""], VOCABULARY)
    with pytest.raises(TypeError, match="words must be a sequence of str, got one str"):
        aligned_words("ab", VOCABULARY)
    with pytest.raises(TypeError, match="text must be a str, got list"):
        aligned_tokens(["a"], VOCABULARY)
    with pytest.raises(ValueError, match=r"must hold \[SEP\]"):
        aligned_tokens("a", {"[CLS]": 0, "[UNK]": 1})


def test_settings_of_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"must hold vocab\.txt"):
        Tokenizer.open(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY), encoding="utf-8")
    assert (Tokenizer.open(tmp_path).lowercase, Tokenizer.open(tmp_path).characters) == (
        True,
        False,
    )

    def opened(**settings):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
        return Tokenizer.open(tmp_path)

    cased = opened(do_lower_case=False, strip_accents=None)
    assert cased("A").ids == [2, VOCABULARY["A"], 3]
    assert opened(do_lower_case=True)("A").ids == [2, VOCABULARY["a"], 3]
    single = opened(kexian_characters=True)
    assert single("3手A").ids == [2, *(VOCABULARY[c] for c in "3手A"), 3]
    assert single(["3手", "A"]).spans == [(1, 3), (3, 4)]
    with pytest.raises(ValueError, match="at most 4"):
        single("3手A", 4)
    with pytest.raises(ValueError, match="tokenize_chinese_chars .* must be one of"):
        opened(tokenize_chinese_chars=False)
    with pytest.raises(ValueError, match="strip_accents .* got False"):
        opened(strip_accents=False)
