"""Features against plain loops over sets, and the worked example of the article."""

import random
import time

import numpy as np
import pytest

from kexian_utils.qa import features

QUESTION = "白云山 的 海拔 是 多少 ？".split()
PASSAGE = "白云山 坐落 在 广州 ， 主峰 海拔 3 8 2 米".split()


def _window(passage, i, size):
    return [passage[j] for j in range(i - size // 2, i - size // 2 + size) if 0 <= j < len(passage)]


def _slow_jaccard(question, passage, i):
    window = set(_window(passage, i, len(question)))
    return len(window & set(question)) / len(window | set(question))


def _slow_distance(a, b):
    if not a or not b:
        return len(a) + len(b)
    if a[-1] == b[-1]:
        return _slow_distance(a[:-1], b[:-1])
    return 1 + min(
        _slow_distance(a[:-1], b), _slow_distance(a, b[:-1]), _slow_distance(a[:-1], b[:-1])
    )


def _bigrams(text):
    return {text[i : i + 2] for i in range(len(text) - 1)}


def _slow_features(question, passages):
    tables = []
    for k, passage in enumerate(passages):
        others = [other for j, other in enumerate(passages) if j != k]
        rows = []
        for i, character in enumerate(passage):
            pairs = [passage[j : j + 2] for j in (i - 1, i) if 0 <= j < len(passage) - 1]
            shares = [sum(pair in _bigrams(o) for o in others) for pair in pairs]
            rows.append(
                [
                    character in question,
                    any(pair in _bigrams(question) for pair in pairs),
                    sum(character in other for other in others) / max(len(others), 1),
                    max(shares, default=0) / max(len(others), 1),
                    _slow_jaccard(question, passage, i),
                ]
            )
        tables.append(np.array(rows, dtype=float).reshape(len(passage), 5))
    return tables


def test_worked_example_of_the_article():
    jaccard = features.window_jaccard(QUESTION, PASSAGE)
    np.testing.assert_allclose(jaccard, [1 / 8, 1 / 9, 1 / 10, *[1 / 11] * 6, 1 / 10, 0])
    assert jaccard.round(2).tolist() == [0.12, 0.11, 0.1, *[0.09] * 6, 0.1, 0.0]
    distance = features.relative_edit_distance(QUESTION, PASSAGE)
    np.testing.assert_allclose(distance, [*[5 / 6] * 4, 1, 1, 1, 5 / 6, 1, 1, 1])


def test_windows_of_an_odd_question_are_centred():
    # Three tokens: from one before to one after.
    np.testing.assert_allclose(features.window_jaccard("abc", "xxaxx"), [0, 1 / 4, 1 / 4, 1 / 4, 0])
    # Windows: za, zab, abc, bcz, cz.
    distance = features.relative_edit_distance("abc", "zabcz")
    np.testing.assert_allclose(distance, np.array([3, 2, 0, 2, 3]) / 3)


def test_columns_by_hand():
    first, second = features.match_features("法国首都", ["巴黎是法国首都", "首尔，巴黎"])
    assert len(features.FEATURES) == 5
    np.testing.assert_array_equal(first[:, 0], [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(first[:, 1], [0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(first[:, 2], [1, 1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(first[:, 3], [1, 1, 0, 0, 0, 0, 0])
    # Windows: 巴黎, 巴黎是, 巴黎是法, 黎是法国, 是法国首, 法国首都, 国首都.
    np.testing.assert_allclose(first[:, 4], [0, 0, 1 / 7, 2 / 6, 3 / 5, 1, 3 / 4], rtol=1e-6)
    np.testing.assert_array_equal(second[:, 0], [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(second[:, 1], [0, 0, 0, 0, 0])
    assert first.dtype == np.float32


def _jaccards(question, passage):
    return [_slow_jaccard(question, passage, i) for i in range(len(passage))]


def test_features_against_loops():
    rng = random.Random(0)
    for number in range(150):
        letters = "甲乙丙丁𠀀"[: rng.randint(1, 5)] + "ab"
        question = "".join(rng.choices(letters, k=rng.randint(1, 9)))
        passages = ["".join(rng.choices(letters, k=rng.randint(0, 14))) for _ in range(number % 6)]
        found = features.match_features(question, passages)
        expected = _slow_features(question, passages)
        assert len(found) == len(passages)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_windows_against_loops():
    rng = random.Random(1)
    for _ in range(150):
        question = rng.choices(["的", "海拔", "是", "？", 7], k=rng.randint(1, 7))
        passage = rng.choices(["的", "海拔", "山", 7, "8"], k=rng.randint(0, 12))
        np.testing.assert_allclose(
            features.window_jaccard(question, passage), _jaccards(question, passage)
        )
        expected = [
            _slow_distance(question, _window(passage, i, len(question))) / len(question)
            for i in range(len(passage))
        ]
        np.testing.assert_allclose(features.relative_edit_distance(question, passage), expected)


def test_passages_that_are_empty_or_alone():
    assert features.match_features("问", []) == []
    shapes = [table.shape for table in features.match_features("问", ["", "答问", ""])]
    assert shapes == [(0, 5), (2, 5), (0, 5)]
    alone = features.match_features("问", ["答问"])[0]
    assert not alone[:, 2:4].any()
    assert features.match_features("问", [""])[0].shape == (0, 5)
    assert features.window_jaccard("问", "").shape == (0,)
    assert features.relative_edit_distance("问", "").shape == (0,)


def test_bigrams_do_not_cross_from_passage_to_passage():
    tables = features.match_features("巴黎", ["巴", "黎"])
    assert not tables[0][:, 1].any()
    assert not tables[1][:, 1].any()


def test_thousand_questions_take_under_three_seconds():
    rng = random.Random(2)
    letters = [chr(0x4E00 + i) for i in range(400)]
    data = [
        ("".join(rng.choices(letters, k=12)), ["".join(rng.choices(letters, k=48))] * 5)
        for _ in range(1000)
    ]
    start = time.process_time()
    for question, passages in data:
        features.match_features(question, passages)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: features.match_features("", ["a"]), ValueError, "question must hold at least one"),
        (lambda: features.match_features(["a"], ["a"]), TypeError, "question must be a string"),
        (lambda: features.match_features("a", "a"), TypeError, "passages must be a list"),
        (lambda: features.match_features("a", ["a", 1]), TypeError, r"passages\[1\] must be"),
        (lambda: features.window_jaccard([], ["a"]), ValueError, "question must hold at least"),
        (lambda: features.relative_edit_distance("", "a"), ValueError, "question must hold"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_alike_keeps_places_and_levels_width_and_case():
    assert features.alike("ＡbＣ，３　Ω") == "abc,3 ω"
    text = "İstanbul ẞ Ａ"  # the lower case of İ has two characters
    assert len(features.alike(text)) == len(text)
    assert features.alike(text)[0] == "İ"
