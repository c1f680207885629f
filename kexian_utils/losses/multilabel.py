r"""Losses that Keras does not have: many labels at once (多标签分类), with a built-in threshold.

Scores are raw outputs of a network, without activation; a class is predicted when its score is
positive. Equation numbers are those of the chapter on article 7359 (https://kexue.fm/archives/7359).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kexian_utils import _checks

__all__ = [
    "MultilabelCategoricalCrossentropy",
    "log_elementary_symmetric",
    "multilabel_categorical_crossentropy",
    "sparse_multilabel_categorical_crossentropy",
    "unified_pair_loss",
]


def multilabel_categorical_crossentropy(y_true: Any, y_pred: Any) -> Any:
    r"""Softmax cross-entropy extended to many labels (ZLPR), equations (10) and (14).

    .. math:: \log\Bigl(1+\sum_i(1-t_i)e^{s_i}\Bigr)+\log\Bigl(1+\sum_it_ie^{-s_i}\Bigr)

    Source: article 7359 for labels 0 and 1, article 9064 for labels between them;
    Su et al., ZLPR, 2022, arXiv:2208.02955.

    Args:
        y_true: labels :math:`t_i` in [0, 1], of any dtype, shape ``(..., n)``.
        y_pred: scores :math:`s_i`, without activation, shape ``(..., n)``. A score of minus
            infinity masks its class: it contributes nothing and gets no gradient.

    Returns:
        The loss of each sample, shape ``(...)``; NaN where a score is NaN.

    Raises:
        ValueError: shapes differ, or a label is outside [0, 1] (looked at only when the values
            are known, not while a function is being traced).

    Examples:
        >>> from keras import ops
        >>> y_true, y_pred = np.array([[1, 0, 0, 1]]), np.array([[4.0, -3.0, -5.0, 2.0]])
        >>> loss = multilabel_categorical_crossentropy(y_true, y_pred)
        >>> ops.convert_to_numpy(loss).round(4).tolist()
        [0.1979]
    """
    scores = _floating(y_pred)
    _check_labels(y_true, scores)
    labels = ops.cast(ops.convert_to_tensor(y_true), scores.dtype)
    # NaN counts as present, and as a label between 0 and 1: it comes out as NaN. (Not by asking
    # `not labels >= 1`, which TensorFlow's graphs rewrite to `labels < 1`.)
    present = ops.not_equal(scores, -np.inf)
    scores = ops.where(present, scores, 0.0)
    # Twice `where`: the logarithm of the branch that is not taken must be finite, too.
    unknown = ops.isnan(labels)
    other, target = (ops.logical_or(known, unknown) for known in (labels < 1, labels > 0))
    for_negative = ops.logical_and(present, other)
    for_positive = ops.logical_and(present, target)
    negative = scores + ops.log1p(-ops.where(other, labels, 0.0))
    positive = -scores + ops.log(ops.where(target, labels, 1.0))
    return _log_one_plus_sum(negative, for_negative) + _log_one_plus_sum(positive, for_positive)


@keras.saving.register_keras_serializable(package="kexian_utils")
class MultilabelCategoricalCrossentropy(keras.losses.Loss):
    """:func:`multilabel_categorical_crossentropy` for ``model.compile``.

    The last layer of the model must have no activation. Predict the classes with positive scores.

    Args:
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])  # no activation
        >>> model.compile("adam", MultilabelCategoricalCrossentropy())
        >>> chosen = model.predict(np.zeros((2, 3)), verbose=0) > 0
        >>> chosen.shape
        (2, 5)
    """

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str = "multilabel_categorical_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return multilabel_categorical_crossentropy(y_true, y_pred)


def sparse_multilabel_categorical_crossentropy(
    y_true: Any, y_pred: Any, mask_zero: bool = False
) -> Any:
    """The same loss from lists of target classes, without a tensor of zeros and ones.

    Source: the form used by GPLinker, articles 8888 and 8926. There the sum over the other classes
    is the sum over all less that over the targets, which cancels when the targets lead by far;
    here the targets are masked instead.

    Args:
        y_true: indices of the target classes, integers from 0 to n - 1, shape ``(..., k)``; no
            class twice in one list. With k = 0 no sample has a target.
        y_pred: scores, without activation, shape ``(..., n)``, finite.
        mask_zero: True if 0 in `y_true` is padding of shorter lists. Class 0 then is no class:
            its score does not count.

    Returns:
        The loss of each sample, shape ``(...)``.

    Raises:
        TypeError: `y_true` is not of an integer dtype.
        ValueError: `y_true` and `y_pred` differ in shape before the last axis, or an index is
            outside its range (looked at only when the values are known).

    Examples:
        >>> from keras import ops
        >>> y_true, y_pred = np.array([[0, 3]]), np.array([[4.0, -3.0, -5.0, 2.0]])
        >>> loss = sparse_multilabel_categorical_crossentropy(y_true, y_pred)
        >>> ops.convert_to_numpy(loss).round(4).tolist()
        [0.1979]
    """
    scores = _floating(y_pred)
    n = scores.shape[-1]
    indices = _indices(y_true, scores)
    if indices.shape[-1] == 0:  # no target; below, a reshape to (-1, 0) has no answer
        counted = ops.arange(n) >= (1 if mask_zero else 0)
        return _log_one_plus_sum(scores, ops.broadcast_to(counted, ops.shape(scores)))
    rows = ops.reshape(scores, (-1, n))
    flat = ops.reshape(indices, (-1, indices.shape[-1]))
    keep = ops.ones_like(rows, dtype="bool")
    counted = ops.ones_like(flat, dtype="bool")
    if mask_zero:
        keep = ops.logical_and(keep, ops.arange(n) > 0)
        counted = flat > 0
    positive = _log_one_plus_sum(-ops.take_along_axis(rows, flat, axis=-1), counted)
    sample = ops.repeat(ops.arange(ops.shape(rows)[0]), flat.shape[-1])
    places = ops.stack([ops.cast(sample, "int32"), ops.reshape(flat, (-1,))], axis=-1)
    is_target = ops.scatter_update(
        ops.zeros_like(rows), places, ops.ones_like(places[:, 0], dtype=rows.dtype)
    )
    negative = _log_one_plus_sum(rows, ops.logical_and(keep, is_target < 0.5))
    return ops.reshape(negative + positive, ops.shape(scores)[:-1])


def unified_pair_loss(y_true: Any, y_pred: Any, scale: float = 1.0, margin: float = 0.0) -> Any:
    r"""Every target class against every other one, equation (8): for a known number of labels.

    .. math:: \log\Bigl(1+\sum_{i\in N}\sum_{j\in P}e^{\gamma(s_i-s_j+m)}\Bigr)

    With one target, scale 1 and margin 0 it is softmax cross-entropy. Only differences of scores
    count, so there is no threshold: predict the k largest.

    Source: article 7359; equation (1) of Sun et al., Circle Loss, 2020, arXiv:2002.10857.

    Args:
        y_true: labels 0 and 1, shape ``(..., n)``.
        y_pred: scores, without activation, shape ``(..., n)``.
        scale: :math:`\gamma`, positive.
        margin: :math:`m`, by which targets have to lead.

    Returns:
        The loss of each sample, shape ``(...)``; 0 for a sample without targets, or with nothing
        else.

    Raises:
        ValueError: shapes differ, a label is outside [0, 1], `scale` is not positive, or either
            number is not finite.

    Examples:
        >>> from keras import ops
        >>> y_true, y_pred = np.array([[1, 0, 0]]), np.array([[2.0, 0.0, 0.0]])
        >>> ops.convert_to_numpy(unified_pair_loss(y_true, y_pred)).round(4).tolist()
        [0.2395]
    """
    _checks.real("scale", scale, above=0)
    _checks.real("margin", margin)
    scores = _floating(y_pred)
    _check_labels(y_true, scores)
    labels = ops.cast(ops.convert_to_tensor(y_true), scores.dtype)
    is_target = labels > 0.5
    scores = ops.where(ops.isnan(labels), labels, scale * scores)  # NaN > 0.5 is False
    low = ops.cast(_lowest(scores), scores.dtype)
    others = ops.logsumexp(ops.where(is_target, low, scores), axis=-1)
    targets = ops.logsumexp(ops.where(is_target, -scores, low), axis=-1)
    return ops.softplus(others + targets + scale * margin)


def log_elementary_symmetric(scores: Any, k_max: int) -> Any:
    r"""Logarithms of the elementary symmetric polynomials (初等对称多项式), by recursion (5).

    .. math:: \log Z_k=\log\sum_{i_1<\dots<i_k}e^{s_{i_1}+\dots+s_{i_k}}

    Classes are added one by one, and only positive terms are added, so nothing cancels, unlike in
    Newton's identities. Cost: n times `k_max`.

    Args:
        scores: finite, shape ``(..., n)``.
        k_max: from 0 to n.

    Returns:
        Shape ``(..., k_max + 1)``; the first entry is 0.

    Raises:
        ValueError: `k_max` is no whole number from 0 to n.

    Examples:
        >>> from keras import ops
        >>> logs = log_elementary_symmetric(np.log([1.0, 2.0, 3.0]), 2)  # 1, 1 + 2 + 3, 2 + 3 + 6
        >>> np.exp(ops.convert_to_numpy(logs)).round(3).tolist()
        [1.0, 6.0, 11.0]
    """
    scores = _floating(scores)
    n = scores.shape[-1]
    _checks.whole("k_max", k_max, 0, n)
    logs = ops.zeros_like(scores[..., :1])  # grows to k_max + 1 entries: none is ever log 0
    for score in ops.split(scores, n, axis=-1) if k_max else ():
        with_class = logs + score
        # Not `logaddexp`, whose derivative is wrong on TensorFlow where both terms are equal.
        sums = ops.logsumexp(ops.stack([logs[..., 1:], with_class[..., :-1]]), axis=0)
        longer = [with_class[..., -1:]] if logs.shape[-1] <= k_max else []
        logs = ops.concatenate([logs[..., :1], sums, *longer], axis=-1)
    return logs


def _log_one_plus_sum(exponents: Any, counted: Any) -> Any:
    """The logarithm of one plus the sum of exponentials over the last axis, where counted."""
    kept = ops.where(counted, exponents, ops.cast(-np.inf, exponents.dtype))
    zero = ops.zeros_like(kept[..., :1])  # the one; it also keeps the maximum finite
    return ops.logsumexp(ops.concatenate([zero, kept], axis=-1), axis=-1)


def _floating(values: Any) -> Any:
    tensor = ops.convert_to_tensor(values)
    if "float" not in keras.backend.standardize_dtype(tensor.dtype):
        tensor = ops.cast(tensor, keras.backend.floatx())
    if len(tensor.shape) < 1:
        raise ValueError("scores must have a last axis over the classes, got a scalar")
    return tensor


def _lowest(tensor: Any) -> float:
    """A number that its dtype holds, low enough that its exponential is 0, even twice."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return -1e4 if dtype == "float16" else -1e30


def _known(values: Any) -> np.ndarray | None:
    """The values as an array, or None while a function is being traced."""
    if isinstance(values, (np.ndarray, list, tuple, int, float)):
        return np.asarray(values)
    try:
        return np.asarray(values)
    except Exception:  # each backend refuses to read a traced tensor in its own way
        return None


def _check_labels(y_true: Any, scores: Any) -> None:
    shape = np.shape(y_true) if isinstance(y_true, (list, tuple)) else tuple(y_true.shape)
    if tuple(shape) != tuple(scores.shape):
        raise ValueError(
            f"y_true must have the shape of y_pred, {tuple(scores.shape)}, got {tuple(shape)}"
        )
    labels = _known(y_true)
    if labels is None:
        return
    inside = np.logical_and(labels >= 0, labels <= 1)
    if not inside.all():
        raise ValueError(f"y_true must lie in [0, 1], got {labels[~inside].flat[0]}")


def _indices(y_true: Any, scores: Any) -> Any:
    indices = ops.convert_to_tensor(y_true)
    dtype = keras.backend.standardize_dtype(indices.dtype)
    if "int" not in dtype:
        raise TypeError(f"y_true must hold indices of an integer dtype, got {dtype}")
    if tuple(indices.shape[:-1]) != tuple(scores.shape[:-1]):
        raise ValueError(
            "y_true and y_pred must have the same shape before the last axis, got "
            f"{tuple(indices.shape)} and {tuple(scores.shape)}"
        )
    values, n = _known(y_true), scores.shape[-1]
    if values is not None and values.size and not (values.min() >= 0 and values.max() < n):
        wrong = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"y_true must hold indices from 0 to {n - 1}, got {wrong}")
    return ops.cast(indices, "int32")
