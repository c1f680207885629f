"""A sequence as one vector, by attention."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["AttentionPooling1D"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class AttentionPooling1D(keras.layers.Layer):
    r"""Additive attention pooling (加性注意力): a weighted mean over the positions.

    .. math:: \lambda=\mathrm{softmax}_i\bigl(\alpha^\top\tanh(Wx_i)\bigr),\qquad
        x=\sum_i\lambda_ix_i.

    Source: article 6906, equation (6); R-Net (Wang et al., ACL 2017).

    Args:
        units: rows of W; default as many as the input has features.

    Input: (batch, n, d), mask (batch, n) or None. Output: (batch, d); zeros where a row has no
    position at all.

    Raises:
        ValueError: `units` is not a whole number of at least 1.

    Examples:
        >>> from keras import ops
        >>> x, mask = ops.ones((2, 5, 3)), ops.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
        >>> tuple(AttentionPooling1D()(x, mask=mask).shape)
        (2, 3)
    """

    def __init__(self, units: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = None if units is None else _checks.whole("units", units, 1)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create W and alpha for inputs of `input_shape`."""
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(f"inputs must have shape (batch, n, d), got {tuple(input_shape)}")
        units = self.units or input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], units))
        self.query = self.add_weight(name="query", shape=(units, 1))
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Return the weighted mean over the positions that the mask shows."""
        shown = None if mask is None else ops.cast(ops.expand_dims(mask, -1), "bool")
        if shown is not None:
            inputs = ops.where(shown, inputs, 0)
        scores = ops.matmul(ops.tanh(ops.matmul(inputs, self.kernel)), self.query)
        if shown is not None:
            scores = ops.where(shown, scores, -3e4)  # float16 holds it, and exp makes 0 of it
        weights = ops.softmax(scores, axis=1)
        if shown is not None:
            weights = ops.where(shown, weights, 0)  # a row without any position
        return ops.sum(weights * inputs, axis=1)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Nothing is left to mask."""
        return None

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's without positions."""
        return (input_shape[0], input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        return {**super().get_config(), "units": self.units}
