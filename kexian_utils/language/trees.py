r"""Trees over sentences: decoders, baselines and scores.

A decoder turns a matrix of scores between the `n` words of a sentence into a tree. Dependency
trees (依存树) are heads: an integer array of shape ``(n,)`` that holds the index of each word's
head and -1 for the root. Phrase trees (短语结构树) are nested pairs: a word is its index, a phrase
is a pair of trees. Spans are pairs (start, end), the end excluded. Counts are pairs (found,
total), so that scores of sentences can be added up before the division.

Every decoder has a taste of its own and returns a tree for a matrix without information too. What
it returns then depends on its rule for ties, which each function states; `chain_heads`,
`right_branching`, `random_edges`, `random_phrases` and `distance_decay` are the baselines.

Plain NumPy and SciPy. Source of the task: https://kexue.fm/archives/7476.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from kexian_utils import _checks
from kexian_utils.datasets.treebanks import find_cycle, tree_fault

__all__ = [
    "Counts",
    "attachment",
    "chain_heads",
    "chu_liu_edmonds",
    "distance_decay",
    "eisner",
    "gold_spans",
    "max_spanning_tree",
    "random_edges",
    "random_phrases",
    "right_branching",
    "span_recall",
    "spans",
    "top_down_tree",
    "undirected_attachment",
    "undirected_attachment_by_length",
]

Tree: TypeAlias = "int | tuple[Tree, Tree]"
Spans = set[tuple[int, int]]


class Counts(NamedTuple):
    """How many of the gold arcs or spans a prediction found.

    Examples:
        >>> Counts(found=3, total=4)
        Counts(found=3, total=4)
    """

    found: int
    total: int


# Dependency trees


def eisner(scores: ArrayLike, root: int | ArrayLike | None = None) -> np.ndarray:
    """Best projective dependency tree: no two arcs cross, and no arc passes over the root.

    Time O(n³). Source: J. Eisner, *Three New Probabilistic Models for Dependency Parsing*, COLING
    1996, https://aclanthology.org/C96-1058/.

    Ties: among equally good splits of a span the lower index, among equally good roots the first
    word. So where all scores are equal, the words before the root hang from it and those after it
    form a chain. Sums that differ by no more than n²ε times the largest score count as equal.

    Args:
        scores: shape ``(n, n)``; row `h`, column `m` is the score of head `h` for dependent `m`.
            The diagonal is not used.
        root: None: any one word may be the root; an integer: this word is; shape ``(n,)``: scores
            for each word's being the root, added to the sum.

    Returns:
        Heads, int64, shape ``(n,)``, -1 for the one root.

    Raises:
        ValueError: if `scores` is not square and finite or `root` does not fit it.

    Examples:
        >>> eisner([[0, 1, 1], [9, 0, 9], [1, 1, 0]], root=1).tolist()  # the second word heads both
        [1, -1, 1]
    """
    weights = _square("scores", scores)
    n = len(weights)
    root_scores = _root_scores(root, n)
    largest = max(np.abs(weights).max(), np.abs(root_scores[np.isfinite(root_scores)]).max())
    tolerance = n * n * np.finfo(float).eps * largest
    chart = _eisner_chart(weights, tolerance)
    total = root_scores + chart.left[0, :] + chart.right[:, n - 1]
    top = int(_first_maximum(total[None], tolerance)[0])
    return _eisner_heads(chart, top)


class _Chart(NamedTuple):
    # right[s, t]: best sum of arcs over words s..t with head s; left[s, t]: with head t. The other
    # three hold the words at which a span splits: between s and t linked to each other, and within
    # the two kinds of complete spans.
    right: np.ndarray
    left: np.ndarray
    link_split: np.ndarray
    right_split: np.ndarray
    left_split: np.ndarray


def _eisner_chart(weights: np.ndarray, tolerance: float) -> _Chart:
    n = len(weights)
    right, left, to_right, to_left = np.zeros((4, n, n))
    link_split, right_split, left_split = np.zeros((3, n, n), dtype=np.int64)
    for width in range(1, n):
        s = np.arange(n - width)
        t = s + width
        start, end = s[:, None], t[:, None]
        q = start + np.arange(width)

        def best(values: np.ndarray, s: np.ndarray = s) -> tuple[np.ndarray, np.ndarray]:
            index = _first_maximum(values, tolerance)
            return values[s, index], s + index

        value, link_split[s, t] = best(right[start, q] + left[q + 1, end])
        to_right[s, t] = value + weights[s, t]
        to_left[s, t] = value + weights[t, s]
        right[s, t], right_split[s, t] = best(to_right[start, q + 1] + right[q + 1, end])
        left[s, t], left_split[s, t] = best(left[start, q] + to_left[q, end])
    return _Chart(right, left, link_split, right_split + 1, left_split)


def _eisner_heads(chart: _Chart, top: int) -> np.ndarray:
    n = len(chart.right)
    heads = np.full(n, -1)
    todo = [("left", 0, top), ("right", top, n - 1)]
    while todo:
        side, s, t = todo.pop()
        if s == t:
            continue
        if side == "right":  # s heads an arc to the word at the split, which goes on to t
            a, b = s, int(chart.right_split[s, t])
            heads[b] = a
            todo.append(("right", b, t))
        else:
            a, b = int(chart.left_split[s, t]), t
            heads[a] = b
            todo.append(("left", s, a))
        q = int(chart.link_split[a, b])
        todo += [("right", a, q), ("left", q + 1, b)]
    return heads


def chu_liu_edmonds(scores: ArrayLike, root: int | ArrayLike | None = None) -> np.ndarray:
    """Best dependency tree without the demand that arcs do not cross; exactly one root.

    Time O(n³). Sources: Y. Chu and T. Liu 1965; J. Edmonds, *Optimum Branchings*, 1967. A root of
    its own would let several words hang from it, so root scores are lowered by more than all other
    scores can make up for: M. Stanojević and S. Cohen, *A Root of a Problem*, EMNLP 2021,
    https://aclanthology.org/2021.emnlp-main.823/.

    Ties: each word takes the first of its best heads; where that closes a cycle, the first of the
    best ways out of it. This is deterministic, but no simple rule of the whole tree.

    Args:
        scores: as for :func:`eisner`, and so are `root`, the result and the errors raised.
        root: as for :func:`eisner`.

    Returns:
        Heads, int64, shape ``(n,)``, -1 for the one root.

    Raises:
        ValueError: if `scores` is not square and finite or `root` does not fit it.

    Examples:
        >>> chu_liu_edmonds([[0, 1, 1], [9, 0, 9], [1, 1, 0]], root=1).tolist()
        [1, -1, 1]
    """
    weights = _square("scores", scores)
    n = len(weights)
    root_scores = _root_scores(root, n)
    certain = np.isfinite(root_scores)
    if not certain.all():
        top = int(np.argmax(certain))
        return _arborescence(weights, top)
    everything = np.append(weights, root_scores)
    penalty = (n + 1) * (np.ptp(everything) + np.abs(everything).max()) or 1.0
    extended = np.full((n + 1, n + 1), -np.inf)  # node n is an artificial root above the words
    extended[:n, :n] = weights
    extended[n, :n] = root_scores - penalty
    heads = _arborescence(extended, n)[:n]
    return np.where(heads == n, -1, heads)


def _arborescence(weights: np.ndarray, root: int) -> np.ndarray:
    """Heads of the heaviest arborescence of a dense graph from `root`, which gets -1."""
    graph = weights.copy()
    contracted = []
    while True:
        np.fill_diagonal(graph, -np.inf)
        heads = graph.argmax(axis=0)
        heads[root] = -1
        cycle = find_cycle(heads)
        if cycle is None:
            break
        outside = np.setdiff1d(np.arange(len(graph)), cycle)
        # An arc into the cycle replaces the arc of the cycle to the word at which it enters.
        into = graph[np.ix_(outside, cycle)] - graph[heads[cycle], cycle]
        out_of = graph[np.ix_(cycle, outside)]
        contracted.append((outside, cycle, heads, into.argmax(axis=1), out_of.argmax(axis=0)))
        smaller = np.full((len(outside) + 1,) * 2, -np.inf)
        smaller[:-1, :-1] = graph[np.ix_(outside, outside)]
        smaller[:-1, -1] = into.max(axis=1)
        smaller[-1, :-1] = out_of.max(axis=0)
        graph, root = smaller, int(np.searchsorted(outside, root))
    for outside, cycle, inner, entry, exit_ in reversed(contracted):
        whole = inner.copy()
        above = heads[-1]  # the head of the contracted cycle
        for place, node in enumerate(outside):
            head = heads[place]
            if head == len(outside):
                whole[node] = cycle[exit_[place]]
            else:
                whole[node] = outside[head] if head >= 0 else -1
        whole[cycle[entry[above]]] = outside[above]
        heads = whole
    return heads


def max_spanning_tree(impact: ArrayLike) -> np.ndarray:
    """Edges of the heaviest undirected tree, where edge i–j weighs ``impact[i, j] + impact[j, i]``.

    Ties: the pair with the lower first word, then with the lower second word. SciPy finds the tree
    from the ranks of the weights, which are distinct and not zero (zeros it takes for missing).

    Args:
        impact: shape ``(n, n)``. The diagonal is not used.

    Returns:
        Pairs of words, int64, shape ``(n - 1, 2)``, the lower word first, in rising order.

    Raises:
        ValueError: if `impact` is not square and finite.

    Examples:
        >>> max_spanning_tree([[0, 5, 1], [5, 0, 4], [1, 4, 0]]).tolist()
        [[0, 1], [1, 2]]
    """
    matrix = _square("impact", impact)
    n = len(matrix)
    first, second = np.triu_indices(n, 1)
    order = np.argsort(-(matrix + matrix.T)[first, second], kind="stable")
    ranks = np.arange(1, len(order) + 1)
    # SciPy 1.13 wants the indices in 32 bits; later releases convert them.
    places = (first[order].astype(np.int32), second[order].astype(np.int32))
    graph = coo_array((ranks, places), shape=(n, n)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    return _sorted_edges(np.column_stack([tree.row, tree.col]))


# Phrase trees


def top_down_tree(impact: ArrayLike, criterion: str = "article", heads: bool | None = None) -> Tree:
    r"""Split a sentence in two, and the parts again, by an impact matrix.

    With :math:`\overline F` for the mean over a block, the diagonal counted as 0, the cut before
    word `k` is

    - ``"article"``: :math:`\arg\max_k\ \overline F_{<k,<k}+\overline F_{\ge k,\ge k}
      -\overline F_{<k,\ge k}-\overline F_{\ge k,<k}` (article 7476);
    - ``"min_between"``: :math:`\arg\min_k\ \overline F_{<k,\ge k}+\overline F_{\ge k,<k}`, which
      recovers a binary tree exactly if entries depend on the depth of the lowest common ancestor
      only, and rise with it;
    - ``"article_code"``: as ``"article"``, but in a part of three words or more never before its
      last word, as in the code that the article links
      (https://github.com/bojone/perturbed_masking, ``syntax_parsing.py``), whose loop ends one
      place early. The last word then never stands alone on the right.

    Time O(n²) with prefix sums. Ties: the first cut. Values that differ by less than the round-off
    of prefix sums of n² numbers, at most 2n³ε times the largest entry, count as equal; so a
    constant matrix is one, whatever the constant.

    Args:
        impact: shape ``(n, n)``. The diagonal is not used.
        criterion: ``"article"``, ``"article_code"`` or ``"min_between"``.
        heads: True: the first word of the right part is taken off as its head, and only what
            follows is split again, ``(left, (k, rest))``, as in the article; False: both parts are
            split again, ``(left, right)``. None: False for ``"min_between"``, else True.

    Returns:
        Nested pairs of word indices; the tree of a single word is 0.

    Raises:
        ValueError: if `impact` is not square and finite, or for another criterion.

    Examples:
        >>> top_down_tree([[0, 5, 1], [5, 0, 1], [1, 1, 0]])
        ((0, 1), 2)
        >>> top_down_tree([[0, 5, 1], [5, 0, 1], [1, 1, 0]], "article_code")
        (0, (1, 2))
    """
    matrix = _square("impact", impact)
    _checks.choice("criterion", criterion, ("article", "article_code", "min_between"))
    n = len(matrix)
    prefix = np.zeros((n + 1, n + 1))
    prefix[1:, 1:] = matrix.cumsum(axis=0).cumsum(axis=1)
    tolerance = 2 * n**3 * np.finfo(float).eps * np.abs(matrix).max()

    def cut(start: int, end: int) -> int:
        last = end - 1 if criterion == "article_code" and end - start > 2 else end
        k = np.arange(start + 1, last)

        def block(a: Any, b: Any, c: Any, d: Any) -> np.ndarray:
            total = prefix[b, d] - prefix[a, d] - prefix[b, c] + prefix[a, c]
            return total / ((b - a) * (d - c))

        value = -block(start, k, k, end) - block(k, end, start, k)
        if criterion != "min_between":
            value += block(start, k, start, k) + block(k, end, k, end)
        return start + 1 + int(_first_maximum(value[None], tolerance)[0])

    return _grow(n, cut, criterion != "min_between" if heads is None else heads)


def _grow(n: int, cut: Callable[[int, int], int], heads: bool) -> Tree:
    """The tree that `cut`, which places a cut within (start, end), makes of `n` words."""
    todo, made = [(0, n)], []
    while todo:
        start, end = todo.pop()
        if end - start > 1:
            k = cut(start, end)
            made.append((start, k, end))
            todo += [(start, k), (k + 1 if heads else k, end)]
    trees: dict[tuple[int, int], Tree] = {(i, i + 1): i for i in range(n)}
    for start, k, end in reversed(made):  # parts were cut after the whole
        right = trees[k, end] if not heads or end - k == 1 else (k, trees[k + 1, end])
        trees[start, end] = (trees[start, k], right)
    return trees[0, n]


def spans(tree: Tree) -> Spans:
    """Spans (start, end) of all phrases of a tree: two words or more, the whole sentence included.

    Raises:
        ValueError: if the leaves are not the words 0, 1, 2, … in this order.

    Examples:
        >>> sorted(spans(((0, 1), 2)))
        [(0, 2), (0, 3)]
    """
    found: Spans = set()
    todo: list[tuple[str, Any]] = [("tree", tree)]
    position = 0
    while todo:
        kind, item = todo.pop()
        if kind == "end":
            found.add((item, position))
        elif isinstance(item, tuple) and len(item) > 1:
            todo.append(("end", position))
            todo += [("tree", part) for part in reversed(item)]
        elif isinstance(item, (int, np.integer)) and item == position:
            position += 1
        else:
            raise ValueError(
                f"tree must be nested tuples over the words 0, 1, 2, … in order, got {item!r} in "
                f"the place of word {position}"
            )
    return found


# Baselines


def chain_heads(n: int, to: str = "left") -> np.ndarray:
    """Heads of the chain: every word hangs from its left (or right) neighbour.

    As undirected trees the two are the same. Shape ``(n,)``, -1 for the first (or last) word.

    Raises:
        ValueError: for fewer than 1 word or another direction.

    Examples:
        >>> chain_heads(4).tolist()
        [-1, 0, 1, 2]
    """
    _checks.whole("n", n, 1)
    if to not in ("left", "right"):
        raise ValueError(f'to must be "left" or "right", got {to!r}')
    heads = np.arange(n) + (-1 if to == "left" else 1)
    heads[heads == n] = -1
    return heads


def right_branching(n: int) -> Tree:
    """The phrase tree (0, (1, (2, …))) over `n` words, at least 1.

    Examples:
        >>> right_branching(4)
        (0, (1, (2, 3)))
    """
    _checks.whole("n", n, 1)
    return _grow(n, lambda start, end: start + 1, heads=False)


def random_edges(n: int, seed: int | np.random.Generator) -> np.ndarray:
    """Edges of a random undirected tree; all n^(n-2) trees are equally likely.

    From a random Prüfer sequence (H. Prüfer, *Neuer Beweis eines Satzes über Permutationen*, 1918).

    Args:
        n: number of words, at least 1.
        seed: at least 0, or a generator, which is advanced.

    Returns:
        Edges as from :func:`max_spanning_tree`.

    Examples:
        >>> random_edges(4, seed=0).shape
        (3, 2)
    """
    _checks.whole("n", n, 1)
    sequence = _generator(seed).integers(n, size=max(n - 2, 0))
    return _sorted_edges(_prufer_edges(sequence, n))


def _prufer_edges(sequence: np.ndarray, n: int) -> np.ndarray:
    degree = 1 + np.bincount(sequence, minlength=n)
    edges = []
    for node in sequence:
        leaf = int(np.argmax(degree == 1))
        edges.append((leaf, int(node)))
        degree[leaf] -= 1
        degree[node] -= 1
    if n > 1:
        first, second = np.flatnonzero(degree == 1)
        edges.append((int(first), int(second)))
    return np.array(edges, dtype=np.int64).reshape(-1, 2)


def random_phrases(n: int, seed: int | np.random.Generator) -> Tree:
    """A random binary phrase tree: each part is cut at a place chosen uniformly.

    Arguments as for :func:`random_edges`. Not all trees are equally likely: balanced ones are
    more so than under a uniform choice among all trees.

    Examples:
        >>> sorted(spans(random_phrases(2, seed=0)))
        [(0, 2)]
    """
    _checks.whole("n", n, 1)
    rng = _generator(seed)
    return _grow(n, lambda start, end: int(rng.integers(start + 1, end)), heads=False)


def distance_decay(n: int) -> np.ndarray:
    """The matrix with entry 1/|i-j| off the diagonal: all that is known is the distance.

    Examples:
        >>> distance_decay(3).round(3).tolist()
        [[0.0, 1.0, 0.5], [1.0, 0.0, 1.0], [0.5, 1.0, 0.0]]
    """
    _checks.whole("n", n, 1)
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    return np.divide(1.0, distance, out=np.zeros((n, n)), where=distance > 0)


# Scores


def undirected_attachment(
    predicted: ArrayLike, gold_heads: ArrayLike, ignore: ArrayLike | None = None, shortest: int = 1
) -> Counts:
    """Gold arcs found whatever their direction: the counts of UUAS.

    Args:
        predicted: heads, shape ``(n,)``, -1 for the root, or edges, shape ``(k, 2)``.
        gold_heads: heads, shape ``(n,)``.
        ignore: shape ``(n,)``, true for words (such as punctuation) whose arcs do not count.
        shortest: only gold arcs over at least this distance count; 2 leaves neighbours out.

    Returns:
        Gold arcs found and all gold arcs. The root's own arc is none.

    Raises:
        ValueError: for heads or edges outside the sentence, shapes that do not fit, or a distance
            below 1.

    Examples:
        >>> undirected_attachment([[0, 1], [1, 2]], [1, -1, 0])
        Counts(found=1, total=2)
    """
    _checks.whole("shortest", shortest, 1)
    counts = undirected_attachment_by_length(predicted, gold_heads, ignore)
    return Counts(*(int(x) for x in counts[shortest:].sum(axis=0)))


def undirected_attachment_by_length(
    predicted: ArrayLike, gold_heads: ArrayLike, ignore: ArrayLike | None = None
) -> np.ndarray:
    """:func:`undirected_attachment` by the distance of the two words.

    Args:
        predicted: as there, and so are `gold_heads`, `ignore` and the errors raised.
        gold_heads: see `predicted`.
        ignore: see `predicted`.

    Returns:
        int64, shape ``(n, 2)``: row `d` holds (found, total) for gold arcs over distance `d`.

    Examples:
        >>> gold_heads = [2, 2, -1]  # arcs over distance 2, not found, and over distance 1, found
        >>> undirected_attachment_by_length([[0, 1], [1, 2]], gold_heads).tolist()
        [[0, 0], [1, 1], [0, 1]]
    """
    gold = _heads("gold_heads", gold_heads)
    n = len(gold)
    skip = _mask(ignore, n)
    edges = {tuple(sorted(edge)) for edge in _edges(predicted, n).tolist()}
    counts = np.zeros((n, 2), dtype=np.int64)
    for word, head in enumerate(gold.tolist()):
        if head >= 0 and not (skip[word] or skip[head]):
            edge = (min(word, head), max(word, head))
            counts[edge[1] - edge[0]] += (edge in edges, 1)
    return counts


def attachment(
    predicted: ArrayLike,
    gold_heads: ArrayLike,
    ignore: ArrayLike | None = None,
    count_root: bool = True,
) -> Counts:
    """Words that have the right head: the counts of UAS.

    Args:
        predicted: heads, shape ``(n,)``, -1 for the root.
        gold_heads: heads, shape ``(n,)``.
        ignore: shape ``(n,)``, true for words that do not count as dependents.
        count_root: whether the gold root counts, found if it is the predicted root. A decoder
            that was told the root gets this one for nothing.

    Returns:
        Words with the right head, and all words that count.

    Raises:
        ValueError: for heads outside the sentence or shapes that do not fit.

    Examples:
        >>> attachment([1, -1, 1], [1, -1, 0])
        Counts(found=2, total=3)
    """
    gold = _heads("gold_heads", gold_heads)
    guess = _heads("predicted", predicted)
    if len(guess) != len(gold):
        raise ValueError(f"predicted must have shape ({len(gold)},), got {guess.shape}")
    counted = ~_mask(ignore, len(gold))
    if not count_root:
        counted &= gold >= 0
    return Counts(int((guess == gold)[counted].sum()), int(counted.sum()))


def span_recall(predicted: Iterable[tuple[int, int]], gold: Iterable[tuple[int, int]]) -> Counts:
    """How many of the gold spans are among the predicted ones; see :func:`gold_spans`.

    Examples:
        >>> span_recall({(0, 2), (1, 3)}, {(0, 2)})
        Counts(found=1, total=1)
    """
    gold = set(gold)
    return Counts(len(gold & set(predicted)), len(gold))


def gold_spans(heads: ArrayLike) -> Spans:
    """Spans of the words with all that hangs from them, where these lie side by side.

    They stand in for phrases in treebanks without phrases. Only spans of at least two words and
    not the whole sentence are returned.

    Args:
        heads: shape ``(n,)``, -1 for the one root.

    Raises:
        ValueError: if `heads` is not a tree.

    Examples:
        >>> sorted(gold_spans([1, 3, 3, -1]))
        [(0, 2)]
    """
    heads = _heads("heads", heads)
    fault = tree_fault(heads.tolist())
    if fault:
        raise ValueError(f"heads must be a tree with one root, but {fault}")
    n = len(heads)
    first, last, size = np.arange(n), np.arange(n), np.ones(n, dtype=int)
    for word in range(n):  # add each word to all that it hangs from
        above = heads[word]
        while above >= 0:
            first[above] = min(first[above], word)
            last[above] = max(last[above], word)
            size[above] += 1
            above = heads[above]
    solid = (last - first + 1 == size) & (size > 1) & (size < n)
    return {(int(a), int(b) + 1) for a, b in zip(first[solid], last[solid], strict=True)}


# Checks of arguments


def _square(name: str, values: ArrayLike) -> np.ndarray:
    """A copy in float64 with zeros on the diagonal."""
    matrix = np.array(values, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) == 0:
        raise ValueError(f"{name} must have shape (n, n) with n of at least 1, got {matrix.shape}")
    np.fill_diagonal(matrix, 0.0)
    if not np.isfinite(matrix).all():
        h, m = np.argwhere(~np.isfinite(matrix))[0].tolist()
        raise ValueError(f"{name} must be finite off the diagonal, [{h}, {m}] is {matrix[h, m]}")
    return matrix


def _root_scores(root: int | ArrayLike | None, n: int) -> np.ndarray:
    """Shape (n,); -inf for all words but one if the root is given."""
    if root is None:
        return np.zeros(n)
    if isinstance(root, (int, np.integer)) and not isinstance(root, bool):
        if not 0 <= root < n:
            raise ValueError(f"root must be a word from 0 to {n - 1}, got {root}")
        return np.where(np.arange(n) == root, 0.0, -np.inf)
    scores = np.array(root, dtype=float)
    if scores.shape != (n,) or not np.isfinite(scores).all():
        raise ValueError(
            f"root must be None, a word, or {n} finite scores of shape ({n},), got {root!r}"
        )
    return scores


def _first_maximum(values: np.ndarray, tolerance: float) -> np.ndarray:
    """Per row the first index whose value is within `tolerance` of the largest."""
    return np.argmax(values >= values.max(axis=-1, keepdims=True) - tolerance, axis=-1)


def _sorted_edges(edges: np.ndarray) -> np.ndarray:
    edges = np.sort(edges.astype(np.int64), axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]


def _integers(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must hold integers, got dtype {array.dtype}")
    return array.astype(np.int64)


def _heads(name: str, values: ArrayLike) -> np.ndarray:
    heads = _integers(name, values)
    if heads.ndim != 1 or len(heads) == 0:
        raise ValueError(f"{name} must have shape (n,) with n of at least 1, got {heads.shape}")
    if heads.min() < -1 or heads.max() >= len(heads):
        raise ValueError(
            f"{name} must be from -1 (the root) to {len(heads) - 1}, got {heads.tolist()}"
        )
    return heads


def _edges(predicted: ArrayLike, n: int) -> np.ndarray:
    array = _integers("predicted", predicted)
    if array.shape == (n,):
        heads = _heads("predicted", array)
        return np.column_stack([np.arange(n), heads])[heads >= 0]
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(
            f"predicted must be heads of shape ({n},) or edges of shape (k, 2), got {array.shape}"
        )
    if array.size and not (array.min() >= 0 and array.max() < n):
        raise ValueError(f"predicted must join words from 0 to {n - 1}, got {array.tolist()}")
    return array


def _mask(ignore: ArrayLike | None, n: int) -> np.ndarray:
    if ignore is None:
        return np.zeros(n, dtype=bool)
    mask = np.asarray(ignore)
    if mask.shape != (n,) or mask.dtype != bool:
        raise ValueError(
            f"ignore must be {n} truth values of shape ({n},), got {mask.dtype} {mask.shape}"
        )
    return mask


def _generator(seed: int | np.random.Generator) -> np.random.Generator:
    if isinstance(seed, np.random.Generator):
        return seed
    return np.random.default_rng(_checks.seed(seed, "seed, if it is no generator,"))
