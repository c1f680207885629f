"""Decoders of a language model: greedy, beam search, sampling. They also tell which texts end.

A model is any callable ``model(tokens, state) -> (log_probabilities, state)``: tokens of shape
(n,), one new token for each of n texts; log-probabilities of shape (n, V); and a state that is None
before the first token and afterwards an array, or a tuple of arrays, whose first axis counts the
texts. So a bigram table, a recurrent network and a cached Transformer are decoded alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = ["Decoded", "beam_search", "greedy_decode", "sample_decode", "truncate_distribution"]

Model = Callable[[np.ndarray, Any], tuple[np.ndarray, Any]]


class Decoded(NamedTuple):
    """What a decoder wrote, for each of n prompts.

    Attributes:
        tokens: for each prompt the new tokens; the end token is the last, if the text ends.
        finished: shape (n,), whether the text ends.
        steps: shape (n,), the number of new tokens, the end token counted.
        log_probability: shape (n,), of the new tokens under the model, not under its truncation.

    Examples:
        >>> table = np.log([[0.1, 0.9], [0.5, 0.5]])
        >>> greedy_decode(lambda t, s: (table[t], s), [[0]], end=1, max_steps=5).steps.tolist()
        [1]
    """

    tokens: list[list[int]]
    finished: np.ndarray
    steps: np.ndarray
    log_probability: np.ndarray


def truncate_distribution(
    p: ArrayLike,
    *,
    top_k: int | None = None,
    top_p: float | None = None,
    always_keep: int | None = None,
) -> np.ndarray:
    """Top-k or nucleus (top-p) truncation of distributions, normalised again.

    Args:
        p: shape (..., V), probabilities.
        top_k: keep so many of the likeliest tokens.
        top_p: keep the fewest likeliest tokens whose mass reaches this share, in (0, 1].
        always_keep: a token that is kept in any case, such as the end of the text.

    Returns:
        Shape (..., V). Of equal probabilities the lower number comes first.

    Source: article 7500 of kexue.fm; Fan et al., arXiv 1805.04833; Holtzman et al., arXiv
    1904.09751.

    Raises:
        ValueError: a `top_k` below 1, a `top_p` outside (0, 1], or a token that does not exist.

    Examples:
        >>> p = [0.45, 0.45, 0.1]
        >>> truncate_distribution(p, top_k=1).tolist()
        [1.0, 0.0, 0.0]
        >>> truncate_distribution(p, top_p=0.8).tolist()
        [0.5, 0.5, 0.0]
        >>> truncate_distribution(p, top_k=1, always_keep=2).round(3).tolist()
        [0.818, 0.0, 0.182]
    """
    p = np.asarray(p, dtype=np.float64)
    size = p.shape[-1]
    kept = np.ones(p.shape, bool)
    if top_k is not None or top_p is not None:
        order = np.argsort(-p, axis=-1, kind="stable")
        if top_k is not None:
            top_k = _checks.whole("top_k", top_k, 1)
            np.put_along_axis(kept, order[..., top_k:], False, axis=-1)
        if top_p is not None:
            top_p = _checks.probability("top_p", top_p, zero=False)
            sorted_p = np.take_along_axis(p, order, axis=-1)
            before = np.cumsum(sorted_p, axis=-1) - sorted_p
            inside = np.take_along_axis(kept, order, axis=-1)
            # rounding of the sums must not keep one token more
            np.put_along_axis(kept, order, inside & (before < top_p - 1e-9), axis=-1)
    if always_keep is not None:
        kept[..., _checks.whole("always_keep", always_keep, 0, size - 1)] = True
    p = np.where(kept, p, 0.0)
    return p / p.sum(axis=-1, keepdims=True)


def greedy_decode(model: Model, prompts: ArrayLike, *, end: int, max_steps: int) -> Decoded:
    """Always the likeliest next token; of equal ones the lower number.

    Args:
        model: as the module's first lines say.
        prompts: shape (n, m), whole numbers, m at least 1.
        end: the token that ends a text.
        max_steps: new tokens at most.

    Source: article 7500 of kexue.fm.

    Raises:
        ValueError: prompts of another shape, or fewer than one step.

    Examples:
        >>> table = np.log([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [1e-9, 1e-9, 1.0]])
        >>> found = greedy_decode(lambda t, s: (table[t], s), [[0], [1]], end=2, max_steps=5)
        >>> found.tokens, found.finished.tolist()
        ([[1, 2], [2]], [True, True])
    """

    def choose(log_probabilities: np.ndarray) -> np.ndarray:
        return log_probabilities.argmax(axis=-1)

    return _decode(model, prompts, choose, end, max_steps)


def sample_decode(
    model: Model,
    prompts: ArrayLike,
    *,
    end: int,
    max_steps: int,
    rng: np.random.Generator,
    top_k: int | None = None,
    top_p: float | None = None,
    keep_end: bool = False,
) -> Decoded:
    """Draw each token: from the model itself (ancestral), or from its truncation.

    Args:
        model, prompts, end, max_steps: as for :func:`greedy_decode`.
        rng: the source of randomness.
        top_k, top_p: as for :func:`truncate_distribution`.
        keep_end: keep the end token in each truncation.

    Source: article 7500 of kexue.fm.

    Raises:
        ValueError: as :func:`greedy_decode` and :func:`truncate_distribution`.

    Examples:
        >>> table = np.log([[0.5, 0.5], [1e-9, 1.0]])
        >>> rng = np.random.default_rng(0)
        >>> model = lambda t, s: (table[t], s)
        >>> sample_decode(model, [[0]] * 1000, end=1, max_steps=99, rng=rng).steps.mean().round(1)
        np.float64(2.0)
    """

    def choose(log_probabilities: np.ndarray) -> np.ndarray:
        p = np.exp(np.asarray(log_probabilities, np.float64))
        p = truncate_distribution(
            p, top_k=top_k, top_p=top_p, always_keep=end if keep_end else None
        )
        drawn = (np.cumsum(p, axis=-1) > rng.random((len(p), 1))).argmax(axis=-1)
        return drawn

    return _decode(model, prompts, choose, end, max_steps)


def beam_search(
    model: Model,
    prompts: ArrayLike,
    width: int,
    *,
    end: int,
    max_steps: int,
    length_penalty: float = 0.0,
) -> Decoded:
    """Keep the `width` best partial texts; those that end keep their place and their score.

    The search stops when all of them have ended, or after `max_steps`. The best text that ended is
    returned, the best of all where none did.

    Args:
        model, prompts, end, max_steps: as for :func:`greedy_decode`.
        width: the number of hypotheses k; 1 is greedy decoding.
        length_penalty: the final choice is by log-probability over steps to this power: 0 for the
            total, 1 for the mean of a token.

    Source: article 7500 of kexue.fm.

    Raises:
        ValueError: as :func:`greedy_decode`; a width below 1; a negative penalty.

    Examples:
        >>> table = np.log([[0.1, 0.5, 0.4], [0.6, 0.2, 0.2], [1e-9, 1e-9, 1.0]])
        >>> model = lambda t, s: (table[t], s)
        >>> [beam_search(model, [[0]], k, end=2, max_steps=9).tokens[0] for k in (1, 2)]
        [[1, 0, 1, 0, 1, 0, 1, 0, 1], [2]]
    """
    width = _checks.whole("width", width, 1)
    penalty = _checks.real("length_penalty", length_penalty, 0)
    prompts, max_steps = _checked(prompts, max_steps)
    found = [_beam(model, prompt[None], width, end, max_steps, penalty) for prompt in prompts]
    tokens = [row[0] for row in found]
    return Decoded(
        tokens,
        np.array([text[-1] == end for text in tokens]),
        np.array([len(text) for text in tokens]),
        np.array([row[1] for row in found]),
    )


def _beam(
    model: Model, prompt: np.ndarray, width: int, end: int, max_steps: int, penalty: float
) -> tuple[list[int], float]:
    log_probabilities, state = _read(model, prompt)
    texts: list[list[int]] = [[]]
    scores = np.zeros(1)
    ended = np.zeros(1, bool)
    for _ in range(max_steps):
        candidates = scores[:, None] + np.asarray(log_probabilities, np.float64)
        candidates[ended] = -np.inf
        candidates[ended, end] = scores[ended]  # one place for each that has ended
        best = _largest(candidates.ravel(), width)
        parents, tokens = np.unravel_index(best, candidates.shape)
        scores = candidates[parents, tokens]
        texts = [
            texts[parent] if ended[parent] else [*texts[parent], int(token)]
            for parent, token in zip(parents, tokens, strict=True)
        ]
        ended = ended[parents] | (tokens == end)
        if ended.all():
            break
        log_probabilities, state = model(tokens, _gather(state, parents))
    quality = scores / np.array([len(text) for text in texts], dtype=float) ** penalty
    if ended.any():
        quality[~ended] = -np.inf
    winner = int(quality.argmax())
    return texts[winner], float(scores[winner])


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Where the largest values are, in decreasing order, but those of -inf; the first first."""
    places = np.flatnonzero(values > -np.inf)
    if count < len(places):
        possible = values[places]
        least = np.partition(possible, len(possible) - count)[len(possible) - count]
        places = places[possible >= least]
    return places[np.argsort(-values[places], kind="stable")][:count]


def _decode(
    model: Model,
    prompts: ArrayLike,
    choose: Callable[[np.ndarray], np.ndarray],
    end: int,
    max_steps: int,
) -> Decoded:
    prompts, max_steps = _checked(prompts, max_steps)
    count = len(prompts)
    log_probabilities, state = _read(model, prompts)
    tokens: list[list[int]] = [[] for _ in range(count)]
    totals, live = np.zeros(count), np.arange(count)
    for _ in range(max_steps):
        chosen = choose(log_probabilities)
        totals[live] += log_probabilities[np.arange(len(live)), chosen]
        for text, token in zip(live, chosen, strict=True):
            tokens[text].append(int(token))
        going = chosen != end
        live = live[going]
        if not len(live):
            break
        log_probabilities, state = model(chosen[going], _gather(state, going))
    finished = np.ones(count, bool)
    finished[live] = False
    return Decoded(tokens, finished, np.array([len(text) for text in tokens]), totals)


def _read(model: Model, prompts: np.ndarray) -> tuple[np.ndarray, Any]:
    """Feed the prompts, token by token."""
    log_probabilities, state = model(prompts[:, 0], None)
    for column in prompts.T[1:]:
        log_probabilities, state = model(column, state)
    return log_probabilities, state


def _gather(state: Any, which: np.ndarray) -> Any:
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(_gather(part, which) for part in state)
    return state[which]


def _checked(prompts: ArrayLike, max_steps: int) -> tuple[np.ndarray, int]:
    prompts = np.asarray(prompts)
    if prompts.ndim != 2 or prompts.shape[1] < 1 or prompts.dtype.kind not in "iu":
        raise ValueError(
            "prompts must be whole numbers of shape (n, m) with m of at least 1, got "
            f"{prompts.dtype} of shape {prompts.shape}; prompts of other lengths go in calls of "
            "their own."
        )
    return prompts, _checks.whole("max_steps", max_steps, 1)
