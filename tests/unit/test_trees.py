"""Decoders against all trees of small sentences; scores and the treebank reader by hand."""

import itertools
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kexian_utils.datasets import treebanks
from kexian_utils.language import trees

EXAMPLE = np.array(
    [[0, 5, 1, 1, 0], [4, 0, 2, 1, 0], [1, 2, 0, 6, 1], [1, 1, 5, 0, 3], [0, 1, 1, 4, 0]]
)
DECODERS = [trees.eisner, trees.chu_liu_edmonds]


def reaches_root(heads):
    for word in range(len(heads)):
        seen = set()
        while word >= 0:
            if word in seen:
                return False
            seen.add(word)
            word = heads[word]
    return True


def crosses(heads):
    """Whether two arcs cross, the root's arc from a point before the sentence among them."""
    arcs = [tuple(sorted(arc)) for arc in enumerate(heads)]
    return any(a < c < b < d for (a, b), (c, d) in itertools.permutations(arcs, 2))


def arborescences(n):
    """All head vectors with one root and no cycle."""
    choices = [[h for h in range(-1, n) if h != m] for m in range(n)]
    every = (h for h in itertools.product(*choices) if h.count(-1) == 1)
    return [heads for heads in every if reaches_root(heads)]


def spanning_trees(n):
    found = []
    for edges in itertools.combinations(itertools.combinations(range(n), 2), n - 1):
        parts = [{i} for i in range(n)]
        for a, b in edges:
            one, two = (next(p for p in parts if x in p) for x in (a, b))
            if one is two:
                break
            one |= two
            parts.remove(two)
        else:
            found.append(edges)
    return found


ALL = {n: arborescences(n) for n in range(1, 6)}
PROJECTIVE = {n: [heads for heads in ALL[n] if not crosses(heads)] for n in ALL}


def total(heads, scores, root_scores):
    return sum(root_scores[m] if h < 0 else scores[h, m] for m, h in enumerate(heads))


def matrices(n, seed, count=200):
    """Random scores, half of them small integers, where many trees are equally good."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        draw = rng.normal if i % 2 else (lambda size: rng.integers(-2, 3, size=size))
        yield draw(size=(n, n)), draw(size=n)


def test_the_numbers_of_trees():
    """n^(n-1) arborescences by Cayley; projective ones are sequence A006013 of the OEIS."""
    assert [len(ALL[n]) for n in (1, 2, 3, 4, 5)] == [1, 2, 9, 64, 625]
    assert [len(PROJECTIVE[n]) for n in (1, 2, 3, 4, 5)] == [1, 2, 7, 30, 143]
    assert [len(spanning_trees(n)) for n in (2, 3, 4, 5)] == [1, 3, 16, 125]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("decode", "every"), [(trees.eisner, PROJECTIVE), (trees.chu_liu_edmonds, ALL)]
)
def test_decoders_find_the_best_of_all_trees(decode, every, n):
    for index, (scores, root_scores) in enumerate(matrices(n, seed=n, count=200 if n > 2 else 20)):
        zero = np.zeros(n)
        for root in (None, root_scores, index % n):
            free = root_scores if isinstance(root, np.ndarray) else zero
            allowed = [h for h in every[n] if not isinstance(root, int) or h[root] < 0]
            best = max(total(h, scores, free) for h in allowed)
            heads = decode(scores, root)
            assert heads.dtype == np.int64
            assert tuple(heads.tolist()) in allowed
            assert total(heads, scores, free) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_max_spanning_tree_finds_the_best_of_all_trees(n):
    every = spanning_trees(n)
    for scores, _ in matrices(n, seed=10 + n):
        sums = scores + scores.T
        edges = trees.max_spanning_tree(scores)
        assert edges.shape == (n - 1, 2)
        found = tuple(map(tuple, edges.tolist()))
        assert found in every
        best = max(sum(sums[e] for e in tree) for tree in every)
        assert sum(sums[e] for e in found) == pytest.approx(best, abs=1e-12)


def test_larger_sentences():
    """At 12 words: the decoders' order of merit, and a planted tree is recovered."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        scores = rng.normal(size=(12, 12))
        free = trees.chu_liu_edmonds(scores)
        flat = trees.eisner(scores)
        assert reaches_root(free)
        assert reaches_root(flat)
        assert not crosses(flat)
        zero = np.zeros(12)
        assert total(free, scores, zero) >= total(flat, scores, zero) - 1e-12
        planted = rng.integers(0, np.arange(1, 12))  # each word hangs from an earlier one
        scores[planted, np.arange(1, 12)] += 20
        assert trees.chu_liu_edmonds(scores, root=0).tolist() == [-1, *planted]


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e200])
@pytest.mark.parametrize("decode", DECODERS)
def test_decoders_do_not_depend_on_the_scale(decode, scale):
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores, root = rng.normal(size=(7, 7)), rng.normal(size=7)
        np.testing.assert_array_equal(decode(scale * scores, scale * root), decode(scores, root))
        equal = decode(np.full((7, 7), scale))
        assert (equal == -1).sum() == 1


def test_many_roots_would_score_higher_but_are_refused():
    heads = trees.chu_liu_edmonds(np.full((6, 6), -5.0), root=[3.0, 4.0, 3.0, 3.0, 3.0, 3.0])
    assert (heads == -1).sum() == 1
    assert heads[1] == -1


def test_worked_example():
    assert trees.eisner(EXAMPLE.T).tolist() == [1, 2, 3, -1, 3]
    assert trees.max_spanning_tree(EXAMPLE).tolist() == [[0, 1], [1, 2], [2, 3], [3, 4]]
    assert trees.top_down_tree(EXAMPLE) == ((0, 1), (2, (3, 4)))
    assert trees.top_down_tree(EXAMPLE, heads=False) == ((0, 1), ((2, 3), 4))
    assert trees.top_down_tree(EXAMPLE, "min_between") == ((0, 1), ((2, 3), 4))


@pytest.mark.parametrize("constant", [0.0, 1.0, -2.0])
def test_ties_of_the_dependency_decoders(constant):
    """With lower splits first, words before the root hang from it, and those after form a chain.

    By hand: what a head covers on its left ends with an arc to its farthest word, since the lowest
    split is before that; on its right it starts with an arc to its neighbour, which goes on.
    """
    equal = np.full((4, 4), constant)
    assert trees.eisner(equal).tolist() == [-1, 0, 1, 2]
    assert trees.eisner(equal, root=3).tolist() == [3, 3, 3, -1]
    assert trees.eisner(equal, root=1).tolist() == [1, -1, 1, 2]
    assert trees.max_spanning_tree(equal).tolist() == [[0, 1], [0, 2], [0, 3]]
    assert trees.eisner(equal / 7 * 10).tolist() == [-1, 0, 1, 2]


def test_round_off_decides_no_ties():
    for n in (9, 30):
        for constant in (0.1, 1 / 3, 1e5 / 7):
            np.testing.assert_array_equal(
                trees.eisner(np.full((n, n), constant)), trees.eisner(np.zeros((n, n)))
            )


def leaves(tree):
    return 1 if isinstance(tree, int) else sum(map(leaves, tree))


@pytest.mark.parametrize("constant", [1.0, 0.1, 1 / 7, 1e6 / 3, 1e-30])
def test_first_cut_of_a_constant_matrix(constant):
    """-c (1/k + 1/(n-k)) is largest in the middle; of two middles the first is taken."""
    for heads in (None, False):
        cuts = [
            leaves(trees.top_down_tree(np.full((n, n), constant), heads=heads)[0])
            for n in range(3, 13)
        ]
        assert cuts == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    big = trees.top_down_tree(np.full((200, 200), constant), heads=False)
    assert leaves(big[0]) == 100
    assert leaves(big[1][0]) == 50
    even = trees.top_down_tree(np.full((9, 9), constant), "min_between")
    assert even == trees.right_branching(9)  # every cut is as good: the first wins


def by_definition(matrix, criterion, heads, words):
    """The rule written out with means of blocks, recursively."""
    if len(words) == 1:
        return words[0]

    def mean(rows, columns):
        return np.mean([[matrix[i, j] if i != j else 0 for j in columns] for i in rows])

    values = []
    for k in range(1, len(words)):
        a, b = words[:k], words[k:]
        inside = mean(a, a) + mean(b, b) if criterion == "article" else 0
        values.append(inside - mean(a, b) - mean(b, a))
    k = 1 + int(np.argmax(values))
    left = by_definition(matrix, criterion, heads, words[:k])
    if heads and len(words) - k > 1:
        rest = by_definition(matrix, criterion, heads, words[k + 1 :])
        return (left, (words[k], rest))
    return (left, by_definition(matrix, criterion, heads, words[k:]))


@pytest.mark.parametrize("criterion", ["article", "min_between"])
@pytest.mark.parametrize("heads", [True, False])
def test_top_down_tree_by_definition(criterion, heads):
    rng = np.random.default_rng(2)
    for n in (1, 2, 3, 5, 8, 8, 12):
        matrix = rng.normal(size=(n, n))  # with a diagonal that must not count
        expected = by_definition(matrix, criterion, heads, list(range(n)))
        assert trees.top_down_tree(matrix, criterion, heads) == expected


def test_defaults_of_heads():
    matrix = np.random.default_rng(3).random((9, 9))
    for criterion, heads in (("article", True), ("min_between", False)):
        own = trees.top_down_tree(matrix, criterion)
        assert own == trees.top_down_tree(matrix, criterion, heads)
        assert own != trees.top_down_tree(matrix, criterion, not heads)


def ultrametric(n, rng):
    """A random binary tree and a matrix that rises with the depth of the common ancestor."""
    levels = np.cumsum(rng.uniform(0.01, 1.0, size=n))
    matrix = np.zeros((n, n))

    def grow(start, end, depth):
        if end - start == 1:
            return start
        k = int(rng.integers(start + 1, end))
        matrix[start:k, k:end] = matrix[k:end, start:k] = levels[depth]
        return (grow(start, k, depth + 1), grow(k, end, depth + 1))

    return grow(0, n, 0), matrix


def linked_code(matrix, start=0):
    """The code that article 7476 links, as it stands there, with places for words."""
    n = len(matrix)
    if n == 1:
        return start
    if n == 2:
        return (start, start + 1)
    gain = [
        (matrix[:i, :i].mean() + matrix[i:, i:].mean())
        - (matrix[:i, i:].mean() + matrix[i:, :i].mean())
        for i in range(1, n - 1)
    ]
    k = int(np.argmax(gain)) + 1
    rest = linked_code(matrix[k + 1 :, k + 1 :], start + k + 1)
    return (linked_code(matrix[:k, :k], start), (start + k, rest))


def test_phrases_of_the_linked_code():
    smallest = np.array([[0, 5, 1], [5, 0, 1], [1, 1, 0]])
    assert trees.top_down_tree(smallest) == ((0, 1), 2)
    assert trees.top_down_tree(smallest, "article_code") == (0, (1, 2))
    rng = np.random.default_rng(0)
    different = 0
    for _ in range(300):
        matrix = rng.random((rng.integers(1, 9),) * 2)
        np.fill_diagonal(matrix, 0)
        found = trees.top_down_tree(matrix, "article_code")
        assert found == linked_code(matrix)
        different += found != trees.top_down_tree(matrix)
    assert different > 50


def test_min_between_is_exact_on_ultrametric_matrices():
    rng = np.random.default_rng(4)
    for _ in range(1000):
        tree, matrix = ultrametric(int(rng.integers(2, 41)), rng)
        assert trees.top_down_tree(matrix, "min_between") == tree


def test_the_articles_criterion_is_not():
    rng = np.random.default_rng(5)
    pairs = [ultrametric(8, rng) for _ in range(400)]
    exact = np.mean([trees.top_down_tree(m, heads=False) == tree for tree, m in pairs])
    assert 0.3 < exact < 0.7


def test_long_sentences_are_quick():
    matrix = np.random.default_rng(6).random((200, 200))
    start = time.process_time()
    trees.top_down_tree(matrix)
    trees.top_down_tree(matrix, "min_between")
    trees.eisner(matrix[:60, :60])
    assert time.process_time() - start < 2.0
    deep = trees.top_down_tree(np.ones((3000, 3000)), "min_between")  # no recursion limit
    assert len(trees.spans(deep)) == 2999


def test_spans():
    assert trees.spans(0) == set()
    assert trees.spans((0, (1, (2, 3)))) == {(0, 4), (1, 4), (2, 4)}
    assert trees.spans(((0, 1), (2, (3, 4)))) == {(0, 2), (2, 5), (3, 5), (0, 5)}
    assert trees.spans((0, 1, (2, 3))) == {(0, 4), (2, 4)}  # more than two parts
    for bad in ((1, 0), (0, 2), (0, "a"), (0, ()), 1):
        with pytest.raises(ValueError, match="tree must be nested tuples over the words 0, 1, 2"):
            trees.spans(bad)


def test_baselines():
    assert trees.chain_heads(4).tolist() == [-1, 0, 1, 2]
    assert trees.chain_heads(4, to="right").tolist() == [1, 2, 3, -1]
    assert trees.right_branching(1) == 0
    assert trees.right_branching(4) == (0, (1, (2, 3)))
    np.testing.assert_array_equal(trees.distance_decay(3), [[0, 1, 0.5], [1, 0, 1], [0.5, 1, 0]])
    assert trees.random_edges(1, seed=0).shape == (0, 2)
    assert trees.random_edges(2, seed=0).tolist() == [[0, 1]]
    for n in (1, 2, 7):
        tree = trees.random_phrases(n, seed=n)
        assert leaves(tree) == n
        assert len(trees.spans(tree)) == n - 1
    same = [trees.random_phrases(20, seed=3) == trees.random_phrases(20, seed=s) for s in (3, 4)]
    assert same == [True, False]


def test_every_random_tree_is_equally_likely():
    rng = np.random.default_rng(7)
    count = Counter(tuple(map(tuple, trees.random_edges(4, rng).tolist())) for _ in range(16_000))
    assert set(count) == set(spanning_trees(4))
    # 1000 expected each; five standard deviations of a binomial count are 153.
    assert max(abs(v - 1000) for v in count.values()) < 153
    first_cut = Counter(leaves(trees.random_phrases(5, rng)[0]) for _ in range(4_000))
    assert sorted(first_cut) == [1, 2, 3, 4]
    assert max(abs(v - 1000) for v in first_cut.values()) < 140


GOLD = [1, -1, 4, 4, 1, 1]  # the last word is punctuation in the tests below
PUNCTUATION = [False] * 5 + [True]


def test_undirected_attachment():
    assert trees.undirected_attachment(GOLD, GOLD) == (5, 5)
    assert trees.undirected_attachment(GOLD, GOLD, PUNCTUATION) == (4, 4)
    chain = trees.chain_heads(6)
    assert trees.undirected_attachment(chain, GOLD, PUNCTUATION) == (2, 4)
    assert trees.undirected_attachment(chain, GOLD, PUNCTUATION, shortest=2) == (0, 2)
    edges = [[1, 0], [2, 4], [4, 1], [3, 5]]  # order within a pair is no matter
    found = trees.undirected_attachment(edges, GOLD, PUNCTUATION)
    assert (found.found, found.total) == (3, 4)
    by_length = trees.undirected_attachment_by_length(edges, GOLD)
    assert by_length.tolist() == [[0, 0], [1, 2], [1, 1], [1, 1], [0, 1], [0, 0]]
    assert trees.undirected_attachment(np.zeros((0, 2), int), [-1]) == (0, 0)
    ignored_head = [False, False, False, False, True, False]  # of words 2 and 3, beside its own
    assert trees.undirected_attachment(GOLD, GOLD, ignored_head) == (2, 2)


def test_two_words_are_heads_unless_pairs():
    """For two words, heads have shape (2,) and edges (1, 2)."""
    assert trees.undirected_attachment([1, -1], [-1, 0]) == (1, 1)
    assert trees.undirected_attachment([[0, 1]], [-1, 0]) == (1, 1)


def test_attachment():
    assert trees.attachment(GOLD, GOLD) == (6, 6)
    assert trees.attachment(trees.chain_heads(6), GOLD) == (0, 6)
    guess = [1, -1, 3, 4, 2, 0]
    assert trees.attachment(guess, GOLD) == (3, 6)
    assert trees.attachment(guess, GOLD, PUNCTUATION) == (3, 5)
    assert trees.attachment(guess, GOLD, PUNCTUATION, count_root=False) == (2, 4)


def test_gold_spans():
    assert trees.gold_spans(GOLD) == {(2, 5)}
    # 0 1 2 3 with 0 <- 2 and 1 <- 3: the subtrees of 2 and 3 are not contiguous or the whole.
    assert trees.gold_spans([2, 3, 3, -1]) == set()
    assert trees.gold_spans(trees.chain_heads(4)) == {(1, 4), (2, 4)}
    assert trees.gold_spans([-1]) == set()
    assert trees.span_recall({(0, 6), (2, 5)}, trees.gold_spans(GOLD)) == (1, 1)
    assert trees.span_recall([(0, 2), (1, 3)], [(0, 2), (2, 4), (1, 4)]) == (1, 3)


def test_gold_spans_against_subtrees():
    for n in (4, 5):
        for heads in ALL[n]:
            expected = set()
            for top in range(n):
                below = {top}
                for _ in range(n):
                    below |= {w for w in range(n) if heads[w] in below}
                if 1 < len(below) < n and max(below) - min(below) + 1 == len(below):
                    expected.add((min(below), max(below) + 1))
            assert trees.gold_spans(heads) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trees.eisner(np.zeros((2, 3))), r"scores must have shape \(n, n\).*got \(2, 3\)"),
        (lambda: trees.eisner(np.zeros((0, 0))), "n of at least 1"),
        (lambda: trees.eisner([[0, np.nan], [0, 0]]), r"scores must be finite.*\[0, 1\] is nan"),
        (lambda: trees.eisner(np.eye(3), root=3), "root must be a word from 0 to 2, got 3"),
        (lambda: trees.eisner(np.eye(3), root=-1), "root must be a word from 0 to 2, got -1"),
        (lambda: trees.eisner(np.eye(3), root=[1.0, 2.0]), "3 finite scores of shape"),
        (lambda: trees.chu_liu_edmonds(np.eye(3), root=True), "root must be None, a word, or 3"),
        (lambda: trees.chu_liu_edmonds([1.0]), r"scores must have shape \(n, n\)"),
        (lambda: trees.max_spanning_tree([[0, np.inf], [0, 0]]), r"impact must be finite"),
        (lambda: trees.top_down_tree(np.eye(3), "max"), "criterion must be .*got 'max'"),
        (lambda: trees.top_down_tree(np.zeros((2, 2, 2))), "impact must have shape"),
        (lambda: trees.chain_heads(0), "n must be a whole number of at least 1, got 0"),
        (lambda: trees.chain_heads(3, to="up"), 'to must be "left" or "right", got \'up\''),
        (lambda: trees.right_branching(2.0), "n must be a whole number"),
        (lambda: trees.random_edges(3, seed=-1), "seed, if it is no generator, must be"),
        (lambda: trees.random_phrases(True, seed=1), "n must be a whole number"),
        (lambda: trees.undirected_attachment([0, 3, 1], [-1, 0, 1]), "predicted must be from -1"),
        (lambda: trees.undirected_attachment([0, 1], [-1, 0, 1]), r"heads of shape \(3,\) or"),
        (lambda: trees.undirected_attachment([[0, 3]], [-1, 0, 1]), "join words from 0 to 2"),
        (lambda: trees.undirected_attachment([0.5, 1, 2], [-1, 0, 1]), "predicted must hold integ"),
        (lambda: trees.undirected_attachment([-1], [-1], [1]), "ignore must be 1 truth values"),
        (lambda: trees.undirected_attachment([-1], [-1], shortest=0), "shortest must be a whole"),
        (lambda: trees.attachment([-1, 0], [-1]), r"predicted must have shape \(1,\), got \(2,\)"),
        (lambda: trees.attachment([], []), "gold_heads must hold|gold_heads must have shape"),
        (lambda: trees.gold_spans([1, 0]), "must be a tree with one root, but it has 0 roots"),
        (lambda: trees.gold_spans([-1, 2, 1]), r"but words \[2, 3\] form a cycle"),
        (lambda: trees.gold_spans([-1, -1]), r"but it has 2 roots \(words \[1, 2\]\)"),
    ],
)  # fmt: skip
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def row(number, form, head, upos="X", relation="dep"):
    return "\t".join([str(number), form, "_", upos, "_", "_", str(head), relation, "_", "_"])


TEXT = "\n".join(
    [
        "# newdoc",
        "# sent_id = first",
        row("1-2", "im", "_"),
        row(1, "in", 3, "ADP", "case"),
        row(2, "dem", 3, "DET", "det"),
        row(3, "Haus\u2028 und Hof", 0, "NOUN", "root"),
        row("3.1", "steht", "_"),
        row(4, "。", 3, "PUNCT", "punct"),
        "",
        "# text = Ja",
        row(1, "Ja", 0, "INTJ", "root"),
    ]
)


def test_comments_apart_belong_to_no_sentence():
    row = "1\tx\t_\tX\t_\t_\t0\troot\t_\t_\n"
    apart = treebanks.read_conllu(f"# sent_id = a\n\n{row}\n# sent_id = b\n{row}")
    assert [sentence.sent_id for sentence in apart] == ["", "b"]


@pytest.mark.parametrize(
    "text", [TEXT, TEXT + "\n\n\n", "\ufeff" + TEXT, TEXT.replace("\n", "\r\n")]
)
def test_read_conllu(text, tmp_path):
    first, second = treebanks.read_conllu(text)
    assert first.words == ("in", "dem", "Haus\u2028 und Hof", "。")
    assert first.upos == ("ADP", "DET", "NOUN", "PUNCT")
    assert first.heads == (2, 2, -1, 2)
    assert first.deprels == ("case", "det", "root", "punct")
    assert (first.sent_id, second.sent_id) == ("first", "")
    assert len(first) == 4
    path = tmp_path / "bank.conllu"
    path.write_bytes(text.encode())
    assert treebanks.read_conllu(path) == [first, second]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1\ta\t_"], "line 1: must have 10 columns separated by tabs, got 3$"),
        (["bank.conllu"], "line 1: must have 10.*a file's name must be given as pathlib.Path"),
        ([row(1, "a", "x")], "line 1: HEAD must be a number, got 'x'"),
        ([row(1, "a", "_")], "line 1: HEAD must be a number, got '_'"),
        ([row(1, "a", "-1")], "line 1: HEAD must be a number, got '-1'"),
        ([row(1, "", 0)], "line 1: FORM must not be empty"),
        ([row(1, "a", 0), row(3, "b", 1)], "line 2: ID must be 2, got '3'"),
        ([row(2, "a", 0)], "line 1: ID must be 1, got '2'"),
        ([row(1, "a", 0), "# text", row(2, "b", 1)], "line 2: comments must stand before"),
        (["# sent_id = s", row(1, "a", 2)], "line 3: the sentence 's'.*head of word 1 is 2 of 1"),
        ([row(1, "a", 0), row(2, "b", 0), "", row(1, "c", 0)], r"line 3: .*2 roots \(words \[1, 2"),
        ([row(1, "a", 0), row(2, "b", 3), row(3, "c", 2)], r"line 4: .*\[2, 3\] form a cycle"),
        ([row(1, "a", 0), row(2, "b", 2)], r"words \[2\] form a cycle"),
        ([row(1, "a", 1)], "it has 0 roots"),
    ],
)  # fmt: skip
def test_broken_treebanks(lines, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        treebanks.read_conllu("\n".join(lines))
    path = tmp_path / "bank.conllu"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match="^bank.conllu, line"):
        treebanks.read_conllu(path)


def test_a_treebank_is_text_or_a_path():
    with pytest.raises(TypeError, match="source must be a string or a path, got bytes"):
        treebanks.read_conllu(b"")
    assert treebanks.read_conllu("") == []


def sentence(heads, upos):
    words = tuple("abcdefgh"[: len(heads)])
    return treebanks.Sentence(words, tuple(upos), tuple(heads), ("dep",) * len(heads), "s")


def test_without_punctuation():
    plain = sentence([1, -1, 1, 4, 1, 1], ["X", "X", "PUNCT", "X", "X", "PUNCT"])
    bare, moved = treebanks.without_punctuation(plain)
    assert bare.words == ("a", "b", "d", "e")
    assert bare.heads == (1, -1, 3, 1)
    assert (bare.upos, bare.sent_id, moved) == (("X",) * 4, "s", 0)
    # b hangs from punctuation, which hangs from punctuation, which hangs from d.
    bare, moved = treebanks.without_punctuation(
        sentence([3, 2, 4, -1, 3], ["X", "X", "PUNCT", "X", "PUNCT"])
    )
    assert bare.heads == (2, 2, -1)
    assert moved == 1
    # The root is punctuation: a becomes the root, d hangs from it; c keeps its head.
    bare, moved = treebanks.without_punctuation(sentence([1, -1, 0, 1], ["X", "PUNCT", "X", "X"]))
    assert bare.heads == (-1, 0, 0)
    assert moved == 2
    bare, moved = treebanks.without_punctuation(plain, tags=("X",))
    assert bare.words == ("c", "f")
    with pytest.raises(ValueError, match="sentence must have a word that is not tagged PUNCT"):
        treebanks.without_punctuation(sentence([-1], ["PUNCT"]))


def test_a_whole_treebank(tmp_path):
    """Every tree of five words, through a file, and back."""
    blocks = [
        "\n".join(row(m + 1, "w", h + 1) for m, h in enumerate(heads)) + "\n" for heads in ALL[5]
    ]
    path = Path(tmp_path) / "all.conllu"
    path.write_text("\n".join(blocks), encoding="utf-8")
    assert [s.heads for s in treebanks.read_conllu(path)] == ALL[5]
