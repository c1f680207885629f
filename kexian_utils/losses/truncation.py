r"""Cross-entropy that lets go of what is right: cut at a margin (截断), or faded out (软化).

Every loss here is a function of the signed margin :math:`m=(2y-1)x` of a logit :math:`x` with the
label :math:`y`, positive where the sample is right; the last one takes scores of many classes.
Equation numbers are those of the chapters on articles 4293 (https://kexue.fm/archives/4293) and
4733 (https://kexue.fm/archives/4733).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kexian_utils import _checks

__all__ = [
    "CategoricalSoftTruncatedCrossentropy",
    "MarginCrossentropy",
    "SoftTruncatedCrossentropy",
    "categorical_soft_truncated_crossentropy",
    "hard_truncated_crossentropy",
    "margin_crossentropy",
    "soft_truncated_crossentropy",
]


def hard_truncated_crossentropy(y_true: Any, y_pred: Any, threshold: float = 0.5) -> Any:
    r"""Cross-entropy times a switch, 0 where the right class has more than `threshold`.

    .. math:: -\theta(m_0-m)\log\sigma(m),\qquad m_0=\log\frac{\text{threshold}}{1-\text{threshold}}

    with the unit step :math:`\theta`, one half at 0, which counts as a constant when gradients are
    taken. The value jumps at the threshold and can rise while its own gradient is followed; to
    train, take :func:`margin_crossentropy`, which has the same gradient and no jump.

    Source: article 4733, equation (2); article 4293, equations (3) and (4), with threshold 0.6.

    Args:
        y_true: labels 0 and 1, of any dtype, any shape.
        y_pred: logits, of the same shape.
        threshold: at least 0.5 and less than 1.

    Returns:
        The loss of each entry, of the same shape; NaN where a logit or a label is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1 (looked at only when the values are
            known, not while a function is being traced), or a threshold outside its range.

    Examples:
        >>> from keras import ops
        >>> loss = hard_truncated_crossentropy(np.array([1, 1, 0]), np.array([-1.0, 1.0, 1.0]))
        >>> ops.convert_to_numpy(loss).round(4).tolist()
        [1.3133, 0.0, 1.3133]
    """
    _checks.real("threshold", threshold, least=0.5, below=1)
    margin = _signed_margin(y_true, y_pred)
    switch = (1 - ops.sign(margin - _logit(threshold))) / 2
    return ops.stop_gradient(switch) * ops.softplus(-margin)


def margin_crossentropy(y_true: Any, y_pred: Any, margin: float = 0.6) -> Any:
    r"""The hinge of the cross-entropy: what is missing to the probability `margin`.

    .. math:: \max\bigl(0,\ \log\text{margin}-\log p_y\bigr)

    where :math:`p_y` is the probability of the right class. It is continuous and convex in the
    logit, and its gradient is that of :func:`hard_truncated_crossentropy`. In expectation it is
    least at the true probability, clipped to [1 - margin, margin]: beyond, outputs say nothing.

    Source: article 4293, equation (7).

    Args:
        y_true: labels 0 and 1, of any dtype, any shape.
        y_pred: logits, of the same shape.
        margin: more than 0.5 and less than 1. At 0.5 the loss no longer tells the classes apart.

    Returns:
        The loss of each entry, of the same shape; NaN where a logit or a label is NaN.

    Raises:
        ValueError: as for :func:`hard_truncated_crossentropy`.

    Examples:
        >>> from keras import ops
        >>> loss = margin_crossentropy(np.array([1, 1]), np.array([0.0, 1.0]))
        >>> ops.convert_to_numpy(loss).round(4).tolist()  # log 0.6 - log 0.5, and 0
        [0.1823, 0.0]
    """
    _checks.real("margin", margin, above=0.5, below=1)
    missing = ops.softplus(-_signed_margin(y_true, y_pred)) + float(np.log(margin))
    # Not `relu` or `maximum`: what they make of NaN depends on the backend.
    return ops.where(missing < 0, ops.zeros_like(missing), missing)


def soft_truncated_crossentropy(y_true: Any, y_pred: Any, sharpness: float = 1.0) -> Any:
    r"""Cross-entropy, faded out smoothly where the sample is right.

    .. math:: -\sigma(-Km)\log\sigma(m)

    For :math:`K=1` it is focal loss with :math:`\gamma=1`; for :math:`K\to\infty` it tends to
    :func:`hard_truncated_crossentropy`. It falls strictly with :math:`m`: no sample is given up.

    Source: article 4733, equation (4).

    Args:
        y_true: labels 0 and 1, of any dtype, any shape.
        y_pred: logits, of the same shape.
        sharpness: :math:`K`, positive.

    Returns:
        The loss of each entry, of the same shape; NaN where a logit or a label is NaN.

    Raises:
        ValueError: as for :func:`hard_truncated_crossentropy`, or `sharpness` is not positive.

    Examples:
        >>> from keras import ops
        >>> loss = soft_truncated_crossentropy(np.array([1, 0]), np.array([0.0, 1.0]), sharpness=2)
        >>> ops.convert_to_numpy(loss).round(4).tolist()
        [0.3466, 1.1567]
    """
    _checks.real("sharpness", sharpness, above=0)
    margin = _signed_margin(y_true, y_pred)
    return ops.sigmoid(-sharpness * margin) * ops.softplus(-margin)


def categorical_soft_truncated_crossentropy(
    y_true: Any, y_pred: Any, sharpness: float = 1.0
) -> Any:
    r"""The same for many classes: softmax cross-entropy, faded out where the target leads.

    .. math:: -\bigl(1-\mathrm{softmax}(Kx)_t\bigr)\log\mathrm{softmax}(x)_t

    The article has :math:`\mathrm{softmax}(-Kx)_t` in the place of the first factor, which is the
    same for two classes and wrong for more: it is large where the target is the *lowest* score.

    Source: article 4733, equation (14), which a reader proposed there.

    Args:
        y_true: one-hot targets, of any dtype, shape ``(..., n)``.
        y_pred: scores, without activation, shape ``(..., n)``.
        sharpness: :math:`K`, positive.

    Returns:
        The loss of each sample, shape ``(...)``; NaN where a score or a label is NaN.

    Raises:
        ValueError: shapes differ, a label is neither 0 nor 1, or `sharpness` is not positive.

    Examples:
        >>> from keras import ops
        >>> scores = np.array([[0.0, 1.0]])  # with two classes: the logit is their difference
        >>> two = categorical_soft_truncated_crossentropy(np.array([[1, 0]]), scores, sharpness=2)
        >>> one = soft_truncated_crossentropy(np.array([1]), np.array([-1.0]), sharpness=2)
        >>> bool(ops.convert_to_numpy(ops.abs(two - one) < 1e-6)[0])
        True
    """
    _checks.real("sharpness", sharpness, above=0)
    labels, scores = _pair(y_true, y_pred)
    scores = scores - ops.stop_gradient(ops.max(scores, axis=-1, keepdims=True, initial=-np.inf))
    # The sum over the other classes, not 1 minus the target's share: nothing cancels.
    others = ops.sum((1 - labels) * ops.softmax(sharpness * scores, axis=-1), axis=-1)
    return others * (ops.logsumexp(scores, axis=-1) - ops.sum(labels * scores, axis=-1))


@keras.saving.register_keras_serializable(package="kexian_utils")
class MarginCrossentropy(keras.losses.Loss):
    """:func:`margin_crossentropy` for ``model.compile``; the last layer has no activation.

    Args:
        margin: more than 0.5 and less than 1.
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])  # no activation
        >>> model.compile("adam", MarginCrossentropy(0.8))
        >>> MarginCrossentropy(0.8).get_config()["margin"]
        0.8
    """

    def __init__(
        self,
        margin: float = 0.6,
        reduction: str | None = "sum_over_batch_size",
        name: str = "margin_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.margin = _checks.real("margin", margin, above=0.5, below=1)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, the mean over its last axis."""
        return ops.mean(margin_crossentropy(y_true, y_pred, self.margin), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The arguments, from which ``from_config`` makes the same loss."""
        return {**super().get_config(), "margin": self.margin}


@keras.saving.register_keras_serializable(package="kexian_utils")
class SoftTruncatedCrossentropy(keras.losses.Loss):
    """:func:`soft_truncated_crossentropy` for ``model.compile``; no activation in the last layer.

    Args:
        sharpness: positive; 1 is focal loss with exponent 1.
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])  # no activation
        >>> model.compile("adam", SoftTruncatedCrossentropy(2.0))
        >>> SoftTruncatedCrossentropy(2.0).get_config()["sharpness"]
        2.0
    """

    def __init__(
        self,
        sharpness: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "soft_truncated_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.sharpness = _checks.real("sharpness", sharpness, above=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, the mean over its last axis."""
        return ops.mean(soft_truncated_crossentropy(y_true, y_pred, self.sharpness), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """The arguments, from which ``from_config`` makes the same loss."""
        return {**super().get_config(), "sharpness": self.sharpness}


@keras.saving.register_keras_serializable(package="kexian_utils")
class CategoricalSoftTruncatedCrossentropy(keras.losses.Loss):
    """:func:`categorical_soft_truncated_crossentropy` for ``model.compile``.

    Args:
        sharpness: positive; 1 is focal loss with exponent 1.
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])  # no activation
        >>> model.compile("adam", CategoricalSoftTruncatedCrossentropy(2.0))
        >>> model.evaluate(np.zeros((2, 3)), np.eye(5)[:2], verbose=0) > 0
        True
    """

    def __init__(
        self,
        sharpness: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "categorical_soft_truncated_crossentropy",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.sharpness = _checks.real("sharpness", sharpness, above=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample."""
        return categorical_soft_truncated_crossentropy(y_true, y_pred, self.sharpness)

    def get_config(self) -> dict[str, Any]:
        """The arguments, from which ``from_config`` makes the same loss."""
        return {**super().get_config(), "sharpness": self.sharpness}


def _logit(probability: float) -> float:
    return float(np.log(probability) - np.log1p(-probability))


def _signed_margin(y_true: Any, y_pred: Any) -> Any:
    labels, logits = _pair(y_true, y_pred)
    return (2 * labels - 1) * logits


def _pair(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels and logits as tensors of one floating dtype and one shape."""
    logits = ops.convert_to_tensor(y_pred)
    if "float" not in keras.backend.standardize_dtype(logits.dtype):
        logits = ops.cast(logits, keras.backend.floatx())
    found = np.shape(y_true) if isinstance(y_true, (list, tuple)) else tuple(y_true.shape)
    if tuple(found) != tuple(logits.shape):
        raise ValueError(
            f"y_true must have the shape of y_pred, {tuple(logits.shape)}, got {tuple(found)}"
        )
    try:
        known = np.asarray(y_true)
    except Exception:  # each backend refuses to read a traced tensor in its own way
        known = np.zeros(0)
    wrong = known[~((known == 0) | (known == 1) | (known != known))]
    if wrong.size:
        raise ValueError(f"y_true must hold labels 0 and 1, got {wrong.flat[0]}")
    return ops.cast(ops.convert_to_tensor(y_true), logits.dtype), logits
