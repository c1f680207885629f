"""Scores of answers against tables worked by hand and a slow reading of the two rules."""

import itertools
import random
import re

import numpy as np
import pytest

from kexian_utils import statistics
from kexian_utils.qa import scores

# prediction, reference, further accepted, right?, F1 of characters: worked by hand from the rule.
OFFICIAL = [
    ("曹雪芹", "曹雪芹", [], True, 1),
    ("作者曹雪芹", "曹雪芹", [], False, 6 / 8),
    ("1707年", "1707", ["1707年"], True, 1),
    ("１７０７", "1707", [], True, 1),
    ("ＮＥＸＯＮ", "nexon", [], True, 1),
    ("《红楼梦》", "红楼梦", [], True, 1),
    ("威廉·琼斯", "威廉琼斯", [], True, 1),
    (" New\tYork ", "new york", [], True, 1),
    ("李白，杜甫", "杜甫、李白", [], True, 1),  # pieces, order free
    ("York New", "new york", [], True, 1),
    ("李白杜甫", "杜甫、李白", [], False, 1),
    ("甲 甲 乙", "甲 乙", [], True, 4 / 5),  # sets
    ("", "曹雪芹", [], False, 0),
    ("　", "曹雪芹", [], False, 0),
    ("高鹗", "曹雪芹", [], False, 0),
    ("aab", "abb", [], False, 2 / 3),
    ("北京市", "北京", ["北平", "北京城"], False, 4 / 5),
    # pitfalls
    ("1.5", "15", [], True, 1),
    ("-5", "5", [], True, 1),
    ("－5", "5", [], True, 1),
    ("50%", "50", [], True, 1),
    ("1、5", "15", [], True, 1),
    ("5.1", "1.5", [], True, 1),
    ("2:1", "1:2", [], True, 1),
    ("C++", "C", [], True, 1),
    ("+", "-", [], True, 0),
    ("《乙》《甲》", "甲、乙", [], False, 1),
    ("佐木", "佐々木", [], True, 1),
    ("−5", "5", [], False, 2 / 3),  # the minus sign of mathematics is not in the list
    ("乙％甲", "甲 乙", [], False, 1),  # full-width marks outside the list do not part pieces
]


@pytest.mark.parametrize(("prediction", "reference", "more", "right", "f1"), OFFICIAL)
def test_contest_rule_by_hand(prediction, reference, more, right, f1):
    assert scores.qa_exact_match(prediction, reference, more) is right
    assert scores.char_f1(prediction, [reference, *more]) == pytest.approx(f1, abs=1e-12)


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("1.5", "15", False),
        ("1.5", "１．５", True),
        (".5", "5", False),
        ("-5", "5", False),
        ("−5", "5", False),
        ("－5", "−5", True),
        ("+5", "5", True),
        ("50%", "50", False),
        ("50％", "50%", True),
        ("1、5", "15", False),
        ("1，000", "1000", False),
        ("1,000", "1000", True),
        ("1,234,567", "1234567", True),
        ("2018,123", "2018123", False),
        ("5.1", "1.5", False),
        ("2:1", "1:2", False),
        ("2∶1", "2：1", True),
        ("1/2", "2/1", False),
        ("3—5", "3-5", True),
        ("3-5", "5-3", False),
        ("3~5", "5~3", False),
        ("1 -5", "1-5", False),
        ("2018-4-15", "2018415", False),
        ("C++", "C", False),
        ("C#", "C", False),
        ("+", "-", False),
        ("，", "。", False),
        ("，", "", False),
        ("《乙》《甲》", "甲、乙", True),
        ("佐木", "佐々木", False),
        ("佐々木", "佐々木", True),
        ("甲 甲 乙", "甲 乙", False),
        ("歼-20", "歼20", True),
        ("Windows 10", "windows10", True),
        ("《红楼梦》。", "红楼梦", True),
        ("威廉·琼斯", "威廉琼斯", True),
        ("u.s.", "US", True),
    ],
)
def test_strict_by_hand(prediction, reference, right):
    assert scores.qa_exact_match(prediction, reference, [], strict=True) is right
    assert scores.qa_exact_match(reference, prediction, [], strict=True) is right
    if not right and reference not in ("", "。") and "々" not in reference:
        same = sorted(scores.qa_normalize(prediction, strict=True))
        assert same == sorted(scores.qa_normalize(reference, strict=True)) or (
            scores.char_f1(prediction, [reference], strict=True) < 1
        )


def test_strict_f1_by_hand():
    assert scores.char_f1("1.5", ["15"], strict=True) == pytest.approx(4 / 5)
    assert scores.char_f1("50%", ["50"], strict=True) == pytest.approx(4 / 5)
    assert scores.char_f1("-5", ["5"], strict=True) == pytest.approx(2 / 3)
    assert scores.char_f1("《红楼梦》", ["红楼梦"], strict=True) == 1


def test_strict_changes_nothing_for_plain_words():
    letters = "李白杜甫new york《》，。、 "
    rng = random.Random(0)
    for _ in range(2000):
        a, b = ("".join(rng.choices(letters, k=rng.randint(1, 6))) for _ in "ab")
        official = scores.qa_exact_match(a, b, [])
        strict = scores.qa_exact_match(a, b, [], strict=True)
        assert scores.qa_normalize(a) == scores.qa_normalize(a, strict=True)
        if official != strict:  # only by empty pieces, nothing but marks, or repetitions
            marked = re.search(r"^[《》，。、 ]|[《》，。、 ]$|[《》，。、 ]{2}", f"{a}\n{b}", re.M)
            repeated = any(len(set(x.split())) < len(x.split()) for x in map(_spaced, (a, b)))
            assert marked or repeated, (a, b)


def _spaced(answer):
    return re.sub("[《》，。、]", " ", answer)


def _slow_rule(prediction, reference, accepted):
    """The contest's rule once more, character by character."""

    def half(c):
        if c == "　":
            return " "
        return chr(ord(c) - 65248) if "！" <= c <= "～" else c

    def spaced(string):
        return "".join(" " if c in scores.QA_PUNCTUATION else c for c in string)

    def form(string):
        return "".join(spaced("".join(map(half, string)).lower()).split())

    if not prediction.strip():
        return False, 0.0
    if form(prediction) in [form(a) for a in accepted]:
        exact = True
    else:
        pieces = [
            {form(piece) for piece in spaced(answer).lower().split(" ")}
            for answer in (prediction.strip(), reference)
        ]
        exact = pieces[0] == pieces[1]
    best = 0.0
    for answer in accepted:
        left = list(form(answer))
        right = 0
        for c in form(prediction):
            if c in left:
                left.remove(c)
                right += 1
        if right:
            precision, recall = right / len(form(prediction)), right / len(form(answer))
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


def test_contest_rule_against_a_slow_reading():
    rng = random.Random(1)
    letters = "甲乙a1.、 ％Ａ《》-"
    right = 0
    for _ in range(5000):
        a, b, c = ("".join(rng.choices(letters, k=rng.randint(0, 5))) for _ in "abc")
        exact, f1 = _slow_rule(a, b, [b, c])
        assert scores.qa_exact_match(a, b, [c]) is exact, (a, b, c)
        assert scores.char_f1(a, [b, c]) == pytest.approx(f1, abs=1e-12)
        right += exact
    assert 100 < right < 4000


def test_punctuation_of_the_contest():
    assert len(scores.QA_PUNCTUATION) == 128
    assert all(len(mark) == 1 for mark in scores.QA_PUNCTUATION)
    assert {mark for mark in scores.QA_PUNCTUATION if mark.isalnum()} == set("々ˇˉ")
    assert {"−", "％", "＋", "－", " "}.isdisjoint(scores.QA_PUNCTUATION)
    for mark in scores.QA_PUNCTUATION:
        assert scores.qa_normalize(f"甲{mark}乙") == "甲乙"


def test_a_mark_that_does_not_show():
    assert scores.qa_exact_match("天命\x7f^", "天命", ["天命"])


@pytest.mark.parametrize("dash", "‒–—―")
def test_dashes_part_words(dash):
    assert scores.cmrc_f1(f"1982{dash}20", ["1982"]) == 0.5


def test_scores_of_a_set():
    golds = {
        "a": ("1707", ["1707年"]),
        "b": ("曹雪芹", ["曹雪芹"]),
        "c": ("北京", []),
        "d": ("15", []),
    }
    predictions = {"d": "1.5", "c": "", "b": "作者曹雪芹", "a": "1707年"}
    found = scores.qa_scores(predictions, golds)
    assert found.ids == ("a", "b", "c", "d")
    np.testing.assert_array_equal(found.exact, [1, 0, 0, 1])
    np.testing.assert_allclose(found.overlap, [1, 0.75, 0, 1])
    assert (found.accuracy, found.f1, found.final) == (0.5, 0.6875, 0.59375)
    np.testing.assert_allclose(found.counts, [[1, 1], [0.375, 1], [0, 1], [1, 1]])
    strict = scores.qa_scores(predictions, golds, strict=True)
    np.testing.assert_array_equal(strict.exact, [1, 0, 0, 0])
    np.testing.assert_allclose(strict.overlap, [1, 0.75, 0, 0.8])


def test_counts_fit_the_bootstrap():
    golds = {str(i): (str(i), []) for i in range(200)}
    good = scores.qa_scores({i: i if int(i) % 4 else "" for i in golds}, golds)
    poor = scores.qa_scores({i: i if int(i) % 2 else "" for i in golds}, golds)
    own = statistics.bootstrap_interval(good.counts)
    assert own.estimate == pytest.approx(good.final)
    assert own.low < good.final < own.high
    gain = statistics.paired_bootstrap(good.counts, poor.counts)
    assert gain.estimate == pytest.approx(good.final - poor.final) == pytest.approx(0.25)
    assert 0.15 < gain.low < 0.25 < gain.high < 0.35


def test_no_question_is_skipped():
    golds = {"a": ("甲", []), "b": ("乙", [])}
    with pytest.raises(ValueError, match="every question of golds, 1 missing: 'b'"):
        scores.qa_scores({"a": "甲"}, golds)
    with pytest.raises(ValueError, match="every question of predictions, 1 missing: 'c'"):
        scores.qa_scores({"a": "甲", "b": "", "c": ""}, golds)
    with pytest.raises(ValueError, match="9 missing: '0', '1', '2', '3', '4', …"):
        scores.qa_scores({}, {str(i): ("甲", []) for i in range(9)})
    with pytest.raises(ValueError, match="golds must hold at least one question"):
        scores.qa_scores({}, {})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scores.qa_normalize(15), TypeError, "text must be a string, got int"),
        (lambda: scores.qa_exact_match(None, "a", []), TypeError, "prediction must be a string"),
        (lambda: scores.qa_exact_match("a", 1, []), TypeError, "reference must be a string"),
        (lambda: scores.qa_exact_match("a", "a", "a"), TypeError, "accepted must be a list"),
        (lambda: scores.qa_exact_match("a", "a", ["a", 1]), TypeError, r"accepted\[1\] must be"),
        (lambda: scores.char_f1("a", []), ValueError, "accepted must hold at least one"),
        (lambda: scores.char_f1(1, ["a"]), TypeError, "prediction must be a string"),
        (lambda: scores.cmrc_f1("a", []), ValueError, "answers must hold at least one"),
        (lambda: scores.cmrc_f1("a", "a"), TypeError, "answers must be a list"),
        (lambda: scores.cmrc_exact_match("a", [None]), TypeError, r"answers\[0\] must be"),
        (lambda: scores.qa_scores({"a": None}, {"a": ("甲", [])}), TypeError, "prediction must"),
    ],
)
def test_bad_answers(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("踢爆", ["踢爆"], True, 1),
        ("“踢爆”。", ["踢爆"], True, 1),
        (" 踢爆\n", ["踢爆"], True, 1),
        ("北京大学", ["北京的大学"], False, 4 / 9),  # a substring, not a bag or a subsequence
        ("大学北京", ["北京大学"], False, 4 / 8),
        ("Nexon公司", ["nexon"], False, 2 / 4),  # nexon is one token
        ("NEXON", ["nexon"], True, 1),
        ("nexons", ["nexon"], False, 0),
        ("2008-2009年", ["2008—2009年"], False, 2 / 6),  # - goes, — is a token
        ("1.5", ["15"], False, 0),
        ("1,5", ["15"], False, 0),
        ("50%", ["50"], False, 2 / 3),
        ("……", ["…"], False, 0),  # one token of two characters
        ("…", ["…"], True, 1),
        ("a b", ["ab"], False, 0),
        ("new york", ["new york."], False, 4 / 5),
        ("new york city", ["york city", "new"], False, 4 / 5),
        ("it's", ["it"], False, 2 / 3),
        ("1,5", ["1,6"], False, 0),
        ("a..b", ["a"], False, 2 / 4),
        ("(ab)", ["ab"], False, 2 / 4),
        ("，", ["。"], True, 0),
        ("", ["甲"], False, 0),
        ("甲", ["乙", "甲"], True, 1),
    ],
)
def test_cmrc_by_hand(prediction, answers, exact, f1):
    assert scores.cmrc_exact_match(prediction, answers) is exact
    assert scores.cmrc_f1(prediction, answers) == pytest.approx(f1, abs=1e-12)


def test_cmrc_f1_against_all_substrings():
    rng = random.Random(2)
    for _ in range(500):
        a, b = ("".join(rng.choices("甲乙丙", k=rng.randint(1, 8))) for _ in "ab")
        parts = (a[i:j] for i, j in itertools.combinations(range(len(a) + 1), 2))
        longest = max((len(part) for part in parts if part in b), default=0)
        assert scores.cmrc_f1(a, [b]) == pytest.approx(2 * longest / (len(a) + len(b)))
