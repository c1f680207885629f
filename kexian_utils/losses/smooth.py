r"""Smooth stand-ins (光滑化) for maximum, position, accuracy, F1 and the k largest.

Each approximates something that has no useful gradient by something that has one. Equation numbers
are those of the chapter on article 6620 (https://kexue.fm/archives/6620).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks
from kexian_utils.losses.multilabel import log_elementary_symmetric

__all__ = [
    "SoftAccuracyLoss",
    "SoftF1Loss",
    "smooth_max",
    "soft_accuracy",
    "soft_argmax",
    "soft_f1",
    "soft_topk",
    "soft_topk_recursive",
]


def smooth_max(x: Any, sharpness: float = 1.0, axis: int = -1) -> Any:
    r"""Smooth maximum :math:`\frac1K\log\sum_ie^{Kx_i}`, equation (1); its gradient is a softmax.

    It lies above the maximum, by at most :math:`\log(n)/K`.

    Args:
        x: scores, of any shape; minus infinity masks an entry.
        sharpness: :math:`K`, positive.
        axis: over which the maximum is taken.

    Returns:
        The shape of `x` without `axis`.

    Raises:
        ValueError: `sharpness` is not positive and finite.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> value = smooth_max(np.array([2.0, 1.0, 4.0, 5.0, 3.0]), sharpness=5)
        >>> ops.convert_to_numpy(value).round(4).item()
        5.0014
    """
    _checks.real("sharpness", sharpness, above=0)
    x = _floating(x)
    # The shift is no part of the function: without it K x overflows in float16.
    top = ops.stop_gradient(ops.max(x, axis=axis, keepdims=True))
    top = ops.where(ops.isinf(top), ops.zeros_like(top), top)
    return ops.squeeze(top, axis) + ops.logsumexp(sharpness * (x - top), axis=axis) / sharpness


def soft_argmax(x: Any, sharpness: float = 1.0, axis: int = -1, base: int = 0) -> Any:
    """Mean position under ``softmax(sharpness * x)``, equation (9).

    It is near the position of the maximum if there is *one* maximum; between two equal ones it
    lies in the middle, whatever the sharpness.

    Args:
        x: scores, of any shape.
        sharpness: positive.
        axis: along which positions are counted.
        base: number of the first position.

    Returns:
        The shape of `x` without `axis`.

    Raises:
        ValueError: `sharpness` is not positive and finite, or `base` is no whole number.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> x = np.array([2.0, 1.0, 4.0, 5.0, 3.0])
        >>> ops.convert_to_numpy(soft_argmax(x, sharpness=5, base=1)).round(4).item()
        3.9934
    """
    _checks.real("sharpness", sharpness, above=0)
    x = _floating(x)
    x = ops.moveaxis(x, axis, -1)
    top = ops.stop_gradient(ops.max(x, axis=-1, keepdims=True))
    p = ops.softmax(sharpness * (x - top), axis=-1)
    places = ops.arange(p.shape[-1], dtype=p.dtype) + _checks.whole("base", base)
    return ops.sum(p * places, axis=-1)


def soft_accuracy(y_true: Any, probabilities: Any) -> Any:
    """Mean probability of the right class, equation (10): accuracy without the rounding.

    It is the accuracy that a classifier expects which draws its answers from `probabilities`.

    Args:
        y_true: classes, integers of shape ``(...)`` or ``(..., 1)``, or one-hot ``(..., n)``.
        probabilities: shape ``(..., n)``. Zeros and ones give the accuracy itself.

    Returns:
        A scalar.

    Raises:
        ValueError: the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> value = soft_accuracy([0, 1], np.array([[0.9, 0.1], [0.6, 0.4]]))
        >>> ops.convert_to_numpy(value).round(4).item()
        0.65
    """
    return ops.mean(_right_class(y_true, _floating(probabilities)))


def soft_f1(y_true: Any, probabilities: Any) -> Any:
    r"""F1 of probabilities, equation (12): :math:`2\sum tp/\sum(t+p)` over all entries.

    It is a ratio of sums: of a mini-batch it is a *biased* estimate of that of all data, and
    averages of it over batches mean nothing.

    Args:
        y_true: labels 0 and 1, of any shape.
        probabilities: of the same shape. Zeros and ones give F1 itself.

    Returns:
        A scalar; 0 where there is nothing to find and nothing was found.

    Raises:
        ValueError: the shapes differ.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> value = soft_f1([1, 0, 0], np.array([0.8, 0.3, 0.1]))
        >>> ops.convert_to_numpy(value).round(4).item()
        0.7273
    """
    return _f1(y_true, _floating(probabilities), None)


def soft_topk(x: Any, k: int) -> Any:
    r"""Probability of belonging to the k largest, equation (16), for all entries.

    Subsets of k entries are drawn with a weight :math:`e^{\text{sum of their scores}}`. The result
    lies between 0 and 1, adds up to k, and orders the entries as their scores do; divide `x` by a
    temperature to come close to zeros and ones. Takes time and memory of the order of
    :math:`n^2k`.

    Source: article 10373 for the smoothing of the maximum over subsets.

    Args:
        x: finite scores, shape ``(..., n)``.
        k: from 1 to n.

    Returns:
        The shape of `x`.

    Raises:
        ValueError: `k` is no whole number from 1 to n.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> ops.convert_to_numpy(soft_topk(np.array([3.0, 2.0, 0.0]), 2)).round(3).tolist()
        [0.958, 0.886, 0.156]
    """
    x = _floating(x)
    n = x.shape[-1]
    _checks.whole("k", k, 1, n)
    if k == n:
        return ops.ones_like(x) + 0 * x  # NaN stays NaN
    others = [[j for j in range(n) if j != i] for i in range(n)]
    without = ops.take(x, others, axis=-1)  # shape (..., n, n - 1)
    rest = log_elementary_symmetric(without, k - 1)[..., -1]
    whole = log_elementary_symmetric(x, k)[..., -1:]
    return ops.exp(x + rest - whole)


def soft_topk_recursive(x: Any, k: int) -> Any:
    """The article's recursion for the k largest, equation (15): take, cross out, take again.

    For comparison; :func:`soft_topk` is better. Its entries add up to k, but they may exceed 1,
    and a larger score may get less.

    Args:
        x: finite scores, shape ``(..., n)``.
        k: from 1 to n.

    Returns:
        The shape of `x`.

    Raises:
        ValueError: `k` is no whole number from 1 to n.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> shares = soft_topk_recursive(np.array([10.0, 9.5, 0.0]), 2)
        >>> ops.convert_to_numpy(shares).round(3).tolist()
        [0.728, 1.27, 0.002]
    """
    x = _floating(x)
    _checks.whole("k", k, 1, x.shape[-1])
    x = x - ops.min(x, axis=-1, keepdims=True)
    taken = ops.zeros_like(x)
    for _ in range(k):
        taken = taken + ops.softmax((1 - taken) * x, axis=-1)
    return taken


@keras.saving.register_keras_serializable(package="kexian_utils")
class SoftAccuracyLoss(keras.losses.Loss):
    """One minus the probability of the right class: half the distance to its one-hot vector.

    A loss for fine-tuning. What the network gets badly wrong has next to no gradient, so that
    wrong labels are ignored, and so are classes that a bad start puts at a disadvantage: train
    with cross-entropy first. Its minimiser puts everything on the likeliest class; the
    probabilities that come out are not calibrated.

    Args:
        from_logits: True if the model has no softmax at its end.
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import numpy as np
        >>> loss = SoftAccuracyLoss(from_logits=True)
        >>> float(loss(np.array([0, 1]), np.zeros((2, 4))))  # labels: integers or one-hot
        0.75
    """

    def __init__(
        self,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "soft_accuracy_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        p = _floating(y_pred)
        return 1 - _right_class(y_true, ops.softmax(p, axis=-1) if self.from_logits else p)

    def get_config(self) -> dict[str, Any]:
        """What makes the same loss again."""
        return {**super().get_config(), "from_logits": self.from_logits}


@keras.saving.register_keras_serializable(package="kexian_utils")
class SoftF1Loss(keras.losses.Loss):
    """One minus :func:`soft_f1` of the batch.

    One number for the whole batch, of which `reduction` takes nothing away. Sample weights and
    masks weigh the entries of its sums. Small batches make it see too little F1 and, where labels
    are rare, hold no label 1 at all: then F1 is 0 and the gradient, too.

    Args:
        from_logits: True if the model has no sigmoid at its end.
        reduction: kept for Keras; there is nothing to combine.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import numpy as np
        >>> loss = SoftF1Loss()
        >>> round(float(loss(np.array([[1], [0]]), np.array([[0.8], [0.3]]))), 4)
        0.2381
    """

    def __init__(
        self,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str = "soft_f1_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.from_logits = from_logits

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of the batch."""
        weights = [getattr(y_pred, "_keras_mask", None), sample_weight]
        p = ops.cast(ops.convert_to_tensor(y_pred), self.dtype)
        p = ops.sigmoid(p) if self.from_logits else p
        together = None
        for weight in weights:
            if weight is not None:
                weight = _fitted(ops.cast(ops.convert_to_tensor(weight), self.dtype), p)
                together = weight if together is None else together * weight
        return 1 - _f1(y_true, p, together)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of the batch, without weights."""
        p = _floating(y_pred)
        return 1 - _f1(y_true, ops.sigmoid(p) if self.from_logits else p, None)

    def get_config(self) -> dict[str, Any]:
        """What makes the same loss again."""
        return {**super().get_config(), "from_logits": self.from_logits}


def _floating(values: Any) -> Any:
    tensor = ops.convert_to_tensor(values)
    if "float" not in keras.backend.standardize_dtype(tensor.dtype):
        tensor = ops.cast(tensor, keras.backend.floatx())
    return tensor


def _right_class(y_true: Any, p: Any) -> Any:
    """The probability of the right class, shape ``(...)`` for p of shape ``(..., n)``."""
    labels = ops.convert_to_tensor(y_true)
    found, n = tuple(labels.shape), p.shape[-1]
    before = tuple(p.shape[:-1])
    if found == tuple(p.shape) and (n > 1 or "float" in str(labels.dtype)):
        wanted = ops.cast(labels, p.dtype)
    elif found in (before, (*before, 1)):
        classes = labels if found == before else ops.squeeze(labels, -1)
        wanted = ops.one_hot(ops.cast(classes, "int32"), n, dtype=p.dtype)
    else:
        raise ValueError(
            f"y_true must have shape {before}, {(*before, 1)} or {tuple(p.shape)}, got {found}"
        )
    return ops.sum(wanted * p, axis=-1)  # not by an index: NaN anywhere comes out as NaN


def _f1(y_true: Any, p: Any, weights: Any) -> Any:
    labels = ops.cast(ops.convert_to_tensor(y_true), p.dtype)
    if tuple(labels.shape) != tuple(p.shape):
        # Broadcasting (B,) against (B, 1) would compare each label with each prediction.
        raise ValueError(
            f"y_true must have the shape of y_pred, {tuple(p.shape)}, got {tuple(labels.shape)}"
        )
    dtype = p.dtype
    if keras.backend.standardize_dtype(dtype) in ("float16", "bfloat16"):  # sums would overflow
        labels, p = ops.cast(labels, "float32"), ops.cast(p, "float32")
    weights = ops.ones_like(p) if weights is None else ops.cast(weights, p.dtype)
    hits, all_of_them = ops.sum(weights * labels * p), ops.sum(weights * (labels + p))
    nothing = ops.equal(all_of_them, 0)  # not `> 0`, which is False for NaN
    safe = ops.where(nothing, ops.ones_like(all_of_them), all_of_them)
    return ops.cast(ops.where(nothing, 0 * hits, 2 * hits / safe), dtype)


def _fitted(weights: Any, like: Any) -> Any:
    """Weights of samples with as many axes as the entries have."""
    while len(weights.shape) < len(like.shape):
        weights = ops.expand_dims(weights, -1)
    if len(weights.shape) > len(like.shape) and weights.shape[-1] == 1:
        weights = ops.squeeze(weights, -1)
    return weights
