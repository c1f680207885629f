"""Spans against all pairs of places; votes against the articles' table and what can be proved."""

import math

import numpy as np
import pytest

from kexian_utils.qa import decoding

RULES = ("soft_square", "squares", "sum", "mean", "max", "count")


def _all_spans(p_start, p_end, text, max_len, threshold, score):
    found = {}
    for i in range(len(text)):
        for j in range(i, len(text)):
            a, b = p_start[i], p_end[j]
            if a > threshold and b > threshold and j - i + 1 <= max_len:
                value = {"product": a * b, "root": math.sqrt(a * b), "sum": a + b}[score]
                found.setdefault(text[i : j + 1], []).append(value)
    return {span: max(values) for span, values in found.items()}


@pytest.mark.parametrize("score", ["product", "root", "sum"])
def test_spans_against_all_pairs(score):
    rng = np.random.default_rng(0)
    for _ in range(60):
        n = int(rng.integers(1, 30))
        text = "".join(rng.choice(list("甲乙丙"), n))
        p_start, p_end = rng.uniform(size=(2, n))
        max_len, threshold = int(rng.integers(1, 15)), float(rng.uniform(0, 0.9))
        found = decoding.extract_spans(p_start, p_end, text, max_len, threshold, score)
        expected = _all_spans(p_start, p_end, text, max_len, threshold, score)
        assert found == pytest.approx(expected, abs=1e-15)


def test_spans_by_hand():
    p_start, p_end = [0.9, 0.1, 0.0, 0.6], [0.0, 0.8, 0.1, 0.5]
    found = decoding.extract_spans(p_start, p_end, "巴黎是巴")  # 0.1 is not above 0.1
    assert found == pytest.approx({"巴黎": 0.72, "巴黎是巴": 0.45, "巴": 0.3})
    assert list(found) == ["巴黎", "巴黎是巴", "巴"]
    # The same string twice: one vote, its best place.
    assert decoding.extract_spans([0.5, 0.9], [0.5, 0.9], "巴巴", 1) == pytest.approx({"巴": 0.81})
    assert decoding.extract_spans([0.5, 0.0], [0.0, 0.5], "巴黎", max_len=1) == {}
    assert decoding.extract_spans([0.0, 0.5], [0.5, 0.0], "巴黎") == {}  # the end before the start
    assert decoding.extract_spans([], [], "") == {}
    twelve = "一二三四五六七八九十甲乙丙"
    first, last = np.eye(13)[0], np.eye(13)[11] + np.eye(13)[12]
    assert decoding.extract_spans(first, last, twelve) == {twelve[:12]: 1.0}


def test_product_and_root_agree_within_a_passage():
    rng = np.random.default_rng(3)
    p_start, p_end = rng.uniform(size=(2, 26))
    text = "abcdefghijklmnopqrstuvwxyz"
    ranked = [
        sorted(spans, key=spans.get)
        for spans in (
            decoding.extract_spans(p_start, p_end, text, score=score)
            for score in ("product", "root")
        )
    ]
    assert ranked[0] == ranked[1]
    assert len(ranked[0]) > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.5], [0.5, 0.5], "甲乙"), r"p_start must have shape \(2,\).*got \(1,\)"),
        (([0.5, 0.5], [0.5], "甲乙"), r"p_end must have shape \(2,\).*got \(1,\)"),
        (([[0.5]], [0.5], "甲"), r"got \(1, 1\)"),
        (([1.5], [0.5], "甲"), "p_start must lie between 0 and 1"),
        (([0.5], [np.nan], "甲"), "p_end must lie between 0 and 1"),
        (([0.5], [0.5], "甲", 0), "max_len must be a whole number of at least 1, got 0"),
        (([0.5], [0.5], "甲", 1.5), "max_len must be a whole number"),
        (([0.5], [0.5], "甲", 12, 1.0), "threshold must be a finite number"),
        (([0.5], [0.5], "甲", 12, np.nan), "threshold must be"),
        (([0.5], [0.5], "甲", 12, 0.1, "mean"), "score must be one of product, root, sum"),
    ],
)
def test_spans_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        decoding.extract_spans(*arguments)


def test_spans_refuse_text_that_is_none():
    with pytest.raises(TypeError, match="text must be a string, got list"):
        decoding.extract_spans([0.5], [0.5], ["甲"])


def _vote(scores, rule="soft_square"):
    return decoding.vote([{"a": s} for s in scores], rule)[1]["a"]


def test_table_of_the_article():
    passages = [{"A": 0.7}, {"B": 0.2}, {"B": 0.2}, {"B": 0.2}, {"B": 0.2}]
    expected = {
        "sum": ("B", 0.7, 0.8),
        "squares": ("A", 0.49, 0.16),
        "soft_square": ("A", 0.2882, 0.0889),
        "mean": ("A", 0.7, 0.2),
        "max": ("A", 0.7, 0.2),
        "count": ("B", 1, 4),
    }
    for rule, (winner, a, b) in expected.items():
        answer, found = decoding.vote(passages, rule)
        assert answer == winner == next(iter(found))
        assert found == pytest.approx({"A": a, "B": b}, abs=5e-5)


def test_soft_square_stays_below_the_best_score_and_rises_only_by_better_voters():
    rng = np.random.default_rng(1)
    rose = 0
    for _ in range(2000):
        scores = rng.uniform(0.001, 1, size=rng.integers(1, 9))
        total = _vote(scores)
        assert total < scores.max()  # (a)
        further = rng.uniform(0.001, 1)
        assert (_vote([*scores, further]) > total) == (further > total)  # (d)
        rose += further > total
    assert 200 < rose < 1800


def test_soft_square_of_equal_voters():
    for s in (0.05, 0.2, 0.5, 0.9):
        totals = [_vote([s] * m) for m in (1, 2, 5, 20, 100, 5000)]
        assert (np.diff(totals) > 0).all()  # (b)
        assert totals[-1] < s
        assert totals[-1] == pytest.approx(s, rel=0.01)
        np.testing.assert_allclose(totals[2], 5 * s**2 / (1 + 5 * s))


def test_how_many_weak_voters_overtake_a_strong_one():
    # (c): m voters at v overtake one at 0.7 if and only if v > c and m > c / (v (v - c)).
    def first_to_win(v, most):
        strong = {"A": 0.7}
        for m in range(1, most):
            if decoding.vote([strong, *[{"B": v}] * m])[0] == "B":
                return m
        return None

    c = 0.49 / 1.7
    assert first_to_win(0.2, 300) is None
    assert first_to_win(0.288, 300) is None
    assert first_to_win(0.3, 300) == 82
    assert first_to_win(0.5, 300) == 3
    for v in (0.32, 0.4, 0.6, 0.69):
        assert first_to_win(v, 300) == math.floor(c / (v * (v - c))) + 1


def test_votes_without_candidates():
    for rule in RULES:
        assert decoding.vote([], rule) == ("", {})
        assert decoding.vote([{}, {}], rule) == ("", {})
        assert decoding.vote([{}, {"巴黎": 0.0}], rule)[0] == "巴黎"


def test_ties_and_the_order_of_passages():
    assert decoding.vote([{"b": 0.5, "a": 0.5}]) == ("a", {"a": 1 / 6, "b": 1 / 6})
    assert list(decoding.vote([{"b": 0.5, "a": 0.5}])[1]) == ["a", "b"]
    assert decoding.vote([{"a": 0.4}, {"b": 0.6}], "count")[0] == "b"  # the better single score
    rng = np.random.default_rng(2)
    for _ in range(200):
        passages = [
            {str(c): int(rng.integers(9)) / 10 for c in rng.choice(list("abcd"), 3)}
            for _ in range(6)
        ]
        shuffled = [dict(sorted(passages[i].items(), reverse=True)) for i in rng.permutation(6)]
        for rule in RULES:
            one, other = decoding.vote(passages, rule), decoding.vote(shuffled, rule)
            assert one == other
            assert list(one[1]) == list(other[1])


@pytest.mark.parametrize(
    ("candidates", "rule", "error", "message"),
    [
        ([{"a": 0.5}], "median", ValueError, "rule must be one of soft_square, squares, sum"),
        ({"a": 0.5}, "sum", TypeError, "candidates must be a list of dictionaries"),
        ([["a"]], "sum", TypeError, r"candidates\[0\] must be a dictionary, got list"),
        ([{}, {"": 0.5}], "sum", ValueError, r"candidates\[1\] must have non-empty strings"),
        ([{"a": -0.5}], "sum", ValueError, r"candidates\[0\]\['a'\] must be finite and at least"),
        ([{"a": math.nan}], "sum", ValueError, "must be finite"),
    ],
)
def test_vote_refuses(candidates, rule, error, message):
    with pytest.raises(error, match=message):
        decoding.vote(candidates, rule)
