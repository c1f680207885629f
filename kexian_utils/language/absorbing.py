"""Decoders of a bigram model as absorbing Markov chains: does a text end, and after how long?

A bigram model gives each next token from the last one alone. Whatever rule draws that token, the
text is then a Markov chain on the vocabulary, and the end token absorbs it: with :math:`Q` the
probabilities from token to token and :math:`q` those of the end, the probability to end at all, the
mean number of steps and the rate at which unfinished texts die out are linear algebra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import bicgstab, spsolve

from kexian_utils import _checks

__all__ = [
    "bigram_matrix",
    "expected_steps",
    "greedy_cycles",
    "stop_probability",
    "truncate_rows",
]


def bigram_matrix(sequences: Sequence[Sequence[int]], size: int) -> sparse.csr_matrix:
    """The maximum-likelihood bigram model: how often which token follows which.

    Args:
        sequences: texts as integers from 0 to ``size - 1``, none empty, without an end token.
        size: the number of tokens :math:`V`.

    Returns:
        A sparse matrix of shape (V, V + 1). Row v holds the probabilities of what comes after
        token v; the last column is the end of the text. Rows of tokens that never occur are zero.

    Source: article 7500 of kexue.fm; Step 6 of the chapter.

    Raises:
        ValueError: an empty text, a token out of range, or a size below 1.

    Examples:
        >>> bigram_matrix([[0, 1], [0, 0, 1]], 2).toarray().round(3).tolist()
        [[0.333, 0.667, 0.0], [0.0, 0.0, 1.0]]
    """
    size = _checks.whole("size", size, 1)
    if not sequences or not all(len(sequence) for sequence in sequences):
        raise ValueError("sequences must hold texts of one token or more; leave empty ones out.")
    texts = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    least, most = min(t.min() for t in texts), max(t.max() for t in texts)
    if least < 0 or most >= size:
        raise ValueError(f"tokens must lie from 0 to {size - 1}, got {least} to {most}.")
    joined = np.concatenate([np.append(text, size) for text in texts])
    first, second = joined[:-1], joined[1:]
    inside = first < size
    counts = sparse.coo_matrix(
        (np.ones(inside.sum()), (first[inside], second[inside])), shape=(size, size + 1)
    ).tocsr()
    totals = np.asarray(counts.sum(axis=1))[:, 0]
    scale = np.divide(1.0, totals, out=np.zeros(size), where=totals > 0)
    return (sparse.diags(scale) @ counts).tocsr()


def truncate_rows(
    matrix: sparse.spmatrix,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
    keep_end: bool = False,
) -> sparse.csr_matrix:
    """What top-k or nucleus sampling (top-p) make of each row of a bigram model.

    Args:
        matrix: shape (V, V + 1), rows of probabilities, as :func:`bigram_matrix` gives it.
        top_k: keep so many of the likeliest tokens; 1 is greedy decoding.
        top_p: keep the fewest likeliest tokens whose mass reaches this share, in (0, 1].
        keep_end: keep the end token in any case.

    Returns:
        The same shape, truncated and normalised. Of equal probabilities the lower number comes
        first. Rows of zeros stay zero.

    Source: article 7500 of kexue.fm; Holtzman et al., arXiv 1904.09751 (nucleus sampling).

    Raises:
        ValueError: a `top_k` below 1 or a `top_p` outside (0, 1].

    Examples:
        >>> from scipy import sparse
        >>> row = sparse.csr_matrix([[0.45, 0.45, 0.1]])
        >>> truncate_rows(row, top_k=2).toarray().tolist()
        [[0.5, 0.5, 0.0]]
        >>> truncate_rows(row, top_k=1, keep_end=True).toarray().round(3).tolist()
        [[0.818, 0.0, 0.182]]
    """
    top_k = None if top_k is None else _checks.whole("top_k", top_k, 1)
    top_p = None if top_p is None else _checks.probability("top_p", top_p, zero=False)
    rows = sparse.coo_matrix(matrix)
    order = np.lexsort((rows.col, -rows.data, rows.row))
    row, column, p = rows.row[order], rows.col[order], rows.data[order]
    starts = np.searchsorted(row, np.arange(rows.shape[0]))
    rank = np.arange(len(row)) - starts[row]
    kept = np.ones(len(row), bool) if top_k is None else rank < top_k
    if top_p is not None:
        running = np.append(0.0, np.cumsum(p))
        before = running[:-1] - running[starts[row]]
        kept &= before < top_p - 1e-9  # rounding of the sums must not keep one token more
    if keep_end:
        kept |= column == rows.shape[1] - 1
    row, column, p = row[kept], column[kept], p[kept]
    totals = np.bincount(row, weights=p, minlength=rows.shape[0])
    return sparse.csr_matrix((p / totals[row], (row, column)), shape=rows.shape)


def stop_probability(matrix: sparse.spmatrix) -> np.ndarray:
    """The probability that a text ends, from each token on.

    The smallest solution of :math:`\\pi=Q\\pi+q`. From some tokens the end cannot be reached; there
    it is 0, and there :math:`I-Q` is singular, so that the system is solved on the others.

    Args:
        matrix: shape (V, V + 1); the last column is the end.

    Returns:
        Shape (V,), values in [0, 1].

    Source: article 7500 of kexue.fm, equation (4) of the chapter.

    Examples:
        >>> from scipy import sparse
        >>> chain = sparse.csr_matrix([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
        >>> stop_probability(chain).tolist()
        [0.5, 0.0]
    """
    inner, end = _parts(matrix)
    live = _reaching(inner, end > 0)
    found = np.zeros(len(end))
    if live.any():
        found[live] = np.clip(_solve(inner[live][:, live], end[live]), 0, 1)
    return found


def expected_steps(matrix: sparse.spmatrix) -> np.ndarray:
    """The mean number of tokens to come, the end among them; infinite where the text may not end.

    Solves :math:`(I-Q)\\ell=\\mathbf 1` on the tokens from which every way ends.

    Args:
        matrix: shape (V, V + 1); the last column is the end.

    Returns:
        Shape (V,).

    Source: article 7500 of kexue.fm, section 3 of the chapter.

    Examples:
        >>> from scipy import sparse
        >>> chain = sparse.csr_matrix([[0.45, 0.45, 0.1], [0.45, 0.45, 0.1]])
        >>> expected_steps(chain).round(6).tolist()
        [10.0, 10.0]
    """
    inner, end = _parts(matrix)
    endless = _reaching(inner, ~_reaching(inner, end > 0))
    found = np.full(len(end), np.inf)
    sure = ~endless
    if sure.any():
        found[sure] = _solve(inner[sure][:, sure], np.ones(sure.sum()))
    return found


class GreedyCycles(NamedTuple):
    """Where greedy decoding goes.

    Attributes:
        successor: shape (V,), the likeliest next token; V is the end.
        cycle_of: shape (V,), the number of the cycle that a token ends up in, -1 if the text ends.
        cycles: the tokens of each cycle in their order, from its lowest number on.
    """

    successor: np.ndarray
    cycle_of: np.ndarray
    cycles: list[list[int]]


def greedy_cycles(matrix: sparse.spmatrix) -> GreedyCycles:
    """Follow the likeliest next token from everywhere: to the end, or round and round.

    Args:
        matrix: shape (V, V + 1); of equal probabilities the lower number wins.

    Source: article 7500 of kexue.fm; the functional graph of Step 8 of the chapter.

    Examples:
        >>> from scipy import sparse
        >>> chain = sparse.csr_matrix([[0.0, 0.9, 0.1], [0.8, 0.0, 0.2]])
        >>> greedy_cycles(chain).cycles
        [[0, 1]]
    """
    greedy = truncate_rows(matrix, top_k=1)
    size = greedy.shape[0]
    successor = np.full(size, size)
    successor[np.flatnonzero(np.diff(greedy.indptr))] = greedy.indices
    unknown = -2
    cycle_of = np.full(size + 1, unknown)
    cycles: list[list[int]] = []
    cycle_of[size] = -1
    for start in range(size):
        walk, token = [], start
        while cycle_of[token] == unknown and token not in walk:
            walk.append(token)
            token = int(successor[token])
        number = int(cycle_of[token])
        if number == unknown:  # the walk has met itself
            cycle = walk[walk.index(token) :]
            first = cycle.index(min(cycle))
            number = len(cycles)
            cycles.append(cycle[first:] + cycle[:first])
        cycle_of[walk] = number
    return GreedyCycles(successor, cycle_of[:size], cycles)


def _parts(matrix: sparse.spmatrix) -> tuple[sparse.csr_matrix, np.ndarray]:
    matrix = sparse.csr_matrix(matrix)
    if matrix.shape[1] != matrix.shape[0] + 1:
        raise ValueError(f"matrix must have one column more than rows, got shape {matrix.shape}.")
    return matrix[:, :-1].tocsr(), matrix[:, [-1]].toarray()[:, 0]


def _solve(inner: sparse.csr_matrix, right: np.ndarray) -> np.ndarray:
    """Solve (I - Q) x = right: by iterations, and where these do not converge by elimination."""
    system = sparse.identity(len(right), format="csr") - inner
    found, failed = bicgstab(system, right, rtol=1e-13, maxiter=2000)
    if failed or np.abs(system @ found - right).max() > 1e-9 * np.abs(found).max():
        found = np.atleast_1d(spsolve(system.tocsc(), right))
    return found


def _reaching(inner: sparse.csr_matrix, targets: np.ndarray) -> np.ndarray:
    """Which tokens some way leads from into `targets`, themselves among them."""
    found, before = targets.copy(), -1
    while found.sum() != before:
        before = found.sum()
        found = found | (inner @ found.astype(float) > 0)
    return found
