"""Batch normalization without the division."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["BatchCenter"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class BatchCenter(keras.layers.Layer):
    """Subtract the batch mean: the first half of batch normalization, without the division.

    In training each feature loses its mean over all other axes of the batch, and the gradient
    flows through that mean; at inference a moving average of the means is used. There is nothing
    to learn: a shift after the centring could be merged into the next layer's bias.

    Args:
        axis: the feature axis, each of whose entries keeps its own mean; -1 by default.
        momentum: of the moving average, in [0, 1].

    Input and output: any shape of rank 2 or more, the same.

    Source: article 6992 of kexue.fm, conclusion 1.

    Raises:
        ValueError: for a momentum outside [0, 1], an axis that the input lacks or axis 0 (the
            batch), and when the size of the feature axis is unknown.

    Examples:
        >>> from keras import ops
        >>> layer = BatchCenter()
        >>> x = ops.array([[1.0, 10.0], [3.0, 30.0]])
        >>> ops.convert_to_numpy(layer(x, training=True)).tolist()
        [[-1.0, -10.0], [1.0, 10.0]]
    """

    def __init__(self, axis: int = -1, momentum: float = 0.99, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = _checks.whole("axis", axis)
        self.momentum = _checks.probability("momentum", momentum)
        self.supports_masking = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the moving mean for inputs of `input_shape`."""
        rank = len(input_shape)
        axis = self.axis % rank if -rank <= self.axis < rank else None
        if rank < 2 or axis is None or axis == 0:
            raise ValueError(
                f"axis must name a feature axis of the input, got {self.axis} for shape "
                f"{tuple(input_shape)}"
            )
        size = input_shape[axis]
        if size is None:
            raise ValueError(f"axis {self.axis} of the input must have a known size, got None")
        self._reduced = tuple(i for i in range(rank) if i != axis)
        self._broadcast = tuple(size if i == axis else 1 for i in range(rank))
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=(size,), initializer="zeros", trainable=False
        )
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return `inputs` minus the batch mean (training) or the moving mean (inference)."""
        if not training:
            return inputs - ops.reshape(ops.cast(self.moving_mean, inputs.dtype), self._broadcast)
        mean = ops.mean(inputs, axis=self._reduced)
        old = ops.convert_to_tensor(self.moving_mean)
        new = ops.cast(ops.stop_gradient(mean), old.dtype)
        self.moving_mean.assign(self.momentum * old + (1.0 - self.momentum) * new)
        return inputs - ops.reshape(mean, self._broadcast)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape`: centring changes no shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        return {**super().get_config(), "axis": self.axis, "momentum": self.momentum}
