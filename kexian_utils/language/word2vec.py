r"""Word vectors (词向量) from a softmax over few words: losses, negatives, windows, neighbours.

A model gives a word :math:`i` in a context the logit :math:`z_i`. The softmax over all :math:`n`
words costs :math:`n` logits for each example; the losses here take the right word (target) and
:math:`K` others (negatives, 负样本), drawn with probabilities :math:`q`. Equation numbers are those
of the chapter on article 4402 (https://kexue.fm/archives/4402).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = [
    "cbow_windows",
    "expected_random_softmax_loss",
    "log_uniform_probabilities",
    "most_similar",
    "nce_loss",
    "random_softmax_loss",
    "sample_negatives",
    "sampled_softmax_loss",
]

LARGEST_ENUMERATION = 5_000_000


def random_softmax_loss(target: Any, negatives: Any) -> Any:
    r"""Cross-entropy of the softmax among the target and its negatives, equation (3).

    With uniform negatives, drawn independently and *with* those that equal the target, it has the
    optimum of the full softmax for any number of them. For other probabilities :math:`q` take
    :math:`\log q` from all logits first.

    Args:
        target: logits of the right words, shape ``(...)``.
        negatives: logits of the words drawn, shape ``(..., K)``.

    Returns:
        Shape ``(...)``.

    Raises:
        ValueError: if there is no negative, or the shapes do not fit.

    Examples:
        >>> from keras import ops
        >>> loss = random_softmax_loss(np.zeros(2), np.zeros((2, 3)))
        >>> ops.convert_to_numpy(loss).round(4).tolist()  # the logarithm of four words
        [1.3863, 1.3863]
    """
    target, negatives = _logits(target, negatives)
    return ops.logsumexp(_joined(target, negatives), axis=-1) - target


def sampled_softmax_loss(
    target: Any, negatives: Any, target_log_q: Any, negative_log_q: Any, hits: Any = None
) -> Any:
    r"""Sampled softmax (采样softmax): the loss (3) of the logits :math:`z-\log q`, equation (7).

    Args:
        target: logits of the right words, shape ``(...)``.
        negatives: logits of the words drawn, shape ``(..., K)``.
        target_log_q: logarithms of the probabilities of being drawn, broadcast to ``(...)``.
        negative_log_q: the same of the negatives, broadcast to ``(..., K)``.
        hits: true where a negative is the target and is to be left out, shape ``(..., K)``, as
            ``tf.nn.sampled_softmax_loss`` does by default. None leaves all in, which alone keeps
            the optimum.

    Returns:
        Shape ``(...)``.

    Raises:
        ValueError: as for :func:`random_softmax_loss`.

    Examples:
        >>> from keras import ops
        >>> log_q = np.log([0.5, 0.5])
        >>> loss = sampled_softmax_loss(np.zeros(1), np.zeros((1, 2)), log_q[:1], log_q)
        >>> ops.convert_to_numpy(loss).round(4).tolist()  # of three words
        [1.0986]
        >>> hit = np.array([[True, False]])
        >>> loss = sampled_softmax_loss(np.zeros(1), np.zeros((1, 2)), log_q[:1], log_q, hit)
        >>> ops.convert_to_numpy(loss).round(4).tolist()  # of two
        [0.6931]
    """
    target, negatives = _logits(target, negatives)
    target = target - ops.cast(target_log_q, target.dtype)
    negatives = negatives - ops.cast(negative_log_q, negatives.dtype)
    if hits is not None:
        negatives = ops.where(hits, -math.inf, negatives)
    return ops.logsumexp(_joined(target, negatives), axis=-1) - target


def nce_loss(target: Any, negatives: Any, target_log_q: Any, negative_log_q: Any) -> Any:
    r"""Noise-contrastive estimation (NCE, 噪声对比估计), equation (11).

    Each word drawn is judged by itself: is it the text's or the noise's? The classifier's logit is
    :math:`z-\log(Kq)`. Unlike the softmaxes it fixes the constant of the logits: at its optimum
    they are log-probabilities. Start output biases at the logarithms of the frequencies.

    Args:
        target: logits of the right words, shape ``(...)``.
        negatives: logits of the words drawn, shape ``(..., K)``.
        target_log_q: logarithms of the probabilities of being drawn, broadcast to ``(...)``.
        negative_log_q: the same of the negatives, broadcast to ``(..., K)``.

    Returns:
        Shape ``(...)``.

    Raises:
        ValueError: as for :func:`random_softmax_loss`.

    Examples:
        >>> from keras import ops
        >>> log_q = np.log([0.5, 0.5])
        >>> loss = nce_loss(np.zeros(1), np.zeros((1, 2)), log_q[:1], log_q)
        >>> ops.convert_to_numpy(loss).round(4).tolist()  # three fair coins
        [2.0794]
    """
    target, negatives = _logits(target, negatives)
    log_k = math.log(negatives.shape[-1])
    target = target - ops.cast(target_log_q, target.dtype) - log_k
    negatives = negatives - ops.cast(negative_log_q, negatives.dtype) - log_k
    return ops.softplus(-target) + ops.sum(ops.softplus(negatives), axis=-1)


def log_uniform_probabilities(size: int) -> np.ndarray:
    r"""What TensorFlow's sampler draws: :math:`q_i=\log\frac{i+2}{i+1}/\log(n+1)`.

    Meant for words numbered from the most frequent to the rarest, of which it is a rough model.

    Args:
        size: :math:`n`, at least 1.

    Returns:
        Shape ``(n,)``, its sum is 1.

    Raises:
        ValueError: for another size.

    Examples:
        >>> log_uniform_probabilities(3).round(3).tolist()
        [0.5, 0.292, 0.208]
    """
    number = np.arange(_checks.whole("size", size, 1))
    return np.log((number + 2) / (number + 1)) / np.log(size + 1)


def sample_negatives(
    shape: int | Sequence[int],
    size: int,
    rng: np.random.Generator,
    probabilities: ArrayLike | None = None,
) -> np.ndarray:
    """Draw words independently, with replacement.

    Args:
        shape: of the result.
        size: number of words; they are 0 to ``size - 1``.
        rng: source of randomness.
        probabilities: shape ``(size,)``, none negative, not all zero; None draws uniformly.

    Returns:
        int32.

    Raises:
        ValueError: for a size below 1 or other probabilities.

    Examples:
        >>> sample_negatives((2, 3), 5, np.random.default_rng(0)).shape
        (2, 3)
        >>> sample_negatives(3, 2, np.random.default_rng(0), [0, 1]).tolist()
        [1, 1, 1]
    """
    _checks.whole("size", size, 1)
    if probabilities is None:
        return rng.integers(size, size=shape, dtype=np.int32)
    weights = _checks.finite("probabilities", np.asarray(probabilities, dtype=float))
    _checks.shape("probabilities", weights, (size,))
    if weights.min() < 0 or weights.sum() <= 0:
        raise ValueError("probabilities must hold no negative number and not only zeros")
    ends = np.cumsum(weights)
    drawn = np.searchsorted(ends, rng.random(shape) * ends[-1], side="right")
    return np.minimum(drawn, np.flatnonzero(weights)[-1]).astype(np.int32)


def cbow_windows(ids: ArrayLike, window: int, pad_id: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Each word of a text with the words around it.

    Args:
        ids: numbers of the words, shape ``(N,)``, N at least 1.
        window: how many words to each side, at least 1.
        pad_id: stands where the text has ended.

    Returns:
        The contexts, shape ``(N, 2 * window)``, from left to right without the word itself; and
        the words, shape ``(N,)``. Both int32.

    Raises:
        ValueError: for numbers of another shape, or a window below 1.

    Examples:
        >>> contexts, targets = cbow_windows([5, 6, 7], window=2)
        >>> contexts.tolist(), targets.tolist()
        ([[0, 0, 6, 7], [0, 5, 7, 0], [5, 6, 0, 0]], [5, 6, 7])
    """
    _checks.whole("window", window, 1)
    numbers = np.asarray(ids, dtype=np.int32)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(f"ids must have shape (N,), N at least 1, got {numbers.shape}")
    padded = np.pad(numbers, window, constant_values=pad_id)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * window + 1)
    return np.delete(windows, window, axis=1), numbers


def most_similar(vectors: ArrayLike, index: int, topn: int = 10) -> list[tuple[int, float]]:
    """The rows of a matrix that point most nearly where one of them does.

    Args:
        vectors: shape ``(n, d)``, finite. A row of zeros is similar to none.
        index: of the row asked for, from 0 to ``n - 1``.
        topn: how many, at least 1; no more come than there are others.

    Returns:
        (number of the row, cosine), the most similar first, without the row itself.

    Raises:
        ValueError: for another index, number or shape, or vectors that are not finite.

    Examples:
        >>> most_similar([[1, 0], [0, 1], [3, 4]], 0, topn=2)
        [(2, 0.6), (1, 0.0)]
    """
    table = _checks.finite("vectors", np.asarray(vectors, dtype=float))
    _checks.shape("vectors", table, ("n", "d"))
    index = _checks.whole("index", index, 0, len(table) - 1)
    _checks.whole("topn", topn, 1)
    lengths = np.linalg.norm(table, axis=1)
    scale = np.where(lengths > 0, lengths, 1)
    cosines = (table / scale[:, None]) @ (table[index] / scale[index])
    order = np.argsort(-cosines, kind="stable")
    return [(int(i), float(cosines[i])) for i in order[order != index][:topn]]


def expected_random_softmax_loss(
    logits: ArrayLike, p: ArrayLike, q: ArrayLike, negatives: int, drop_hits: bool = False
) -> float:
    """The mean of the loss (3) over all targets and negatives, by enumeration.

    Args:
        logits: of the n words, shape ``(n,)``.
        p: probabilities of the targets, shape ``(n,)``.
        q: probabilities of the negatives, shape ``(n,)``.
        negatives: how many are drawn, at least 1.
        drop_hits: leave out negatives that equal the target.

    Raises:
        ValueError: shapes that do not fit, numbers that are no probabilities, or more than five
            million tuples.

    Examples:
        >>> value = expected_random_softmax_loss([0, 0], [0.9, 0.1], [0.5, 0.5], negatives=1)
        >>> round(value, 4)  # the logarithm of two words, whatever p
        0.6931
    """
    z = _checks.finite("logits", np.asarray(logits, dtype=float))
    n, k = z.size, _checks.whole("negatives", negatives, 1)
    _checks.shape("logits", z, ("n",))
    wanted, noise = _probabilities("p", p, n), _probabilities("q", q, n)
    if n ** (k + 1) > LARGEST_ENUMERATION:
        raise ValueError(
            f"negatives must be so few that {LARGEST_ENUMERATION:,} tuples are enough, {k} of "
            f"{n} words give {n ** (k + 1):,}"
        )
    tuples = np.array(list(product(range(n), repeat=k + 1)))
    weights = wanted[tuples[:, 0]] * noise[tuples[:, 1:]].prod(axis=1)
    scores = np.exp(z - z.max())[tuples]
    if drop_hits:
        scores[:, 1:][tuples[:, 1:] == tuples[:, :1]] = 0
    return float(weights @ (np.log(scores.sum(axis=1)) - np.log(scores[:, 0])))


def _probabilities(name: str, values: ArrayLike, size: int) -> np.ndarray:
    array = _checks.finite(name, np.asarray(values, dtype=float))
    _checks.shape(name, array, (size,))
    if array.min() < 0 or abs(array.sum() - 1) > 1e-9:
        raise ValueError(f"{name} must hold probabilities with the sum 1, got {array}")
    return array


def _logits(target: Any, negatives: Any) -> tuple[Any, Any]:
    target, negatives = _floating(target), _floating(negatives)
    if tuple(target.shape) != tuple(negatives.shape[:-1]) or len(negatives.shape) == 0:
        raise ValueError(
            f"negatives must have the shape of target and one axis more, got "
            f"{tuple(negatives.shape)} with target {tuple(target.shape)}"
        )
    if negatives.shape[-1] == 0:
        raise ValueError("negatives must hold at least one logit for each target, got none")
    return target, negatives


def _floating(values: Any) -> Any:
    tensor = ops.convert_to_tensor(values)
    if "float" in keras.backend.standardize_dtype(tensor.dtype):
        return tensor
    return ops.cast(tensor, keras.backend.floatx())


def _joined(target: Any, negatives: Any) -> Any:
    return ops.concatenate([ops.expand_dims(target, -1), negatives], axis=-1)
