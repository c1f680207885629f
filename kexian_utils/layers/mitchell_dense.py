"""A dense layer whose products are additions of bits."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["MitchellDense", "mitchell_matmul"]

_ONE = 0x3F800000  # bits of 1.0
_SMALLEST = 0x00800000  # of the smallest normal float32
_INFINITY = 0x7F800000
_MAGNITUDE = 0x7FFFFFFF  # all bits but the sign's


@keras.saving.register_keras_serializable(package="kexian_utils")
class MitchellDense(keras.layers.Layer):
    """A dense layer whose products are Mitchell's: one addition of bit patterns each.

    Output ``activation(x @ kernel + bias)``, where every product of two numbers in ``@`` is
    Mitchell's approximation, never too large in magnitude and at most one ninth too small. In
    training the two matrix products of the backward pass are Mitchell's, too, as in Mogami's
    paper: they take the place of the exact products in the ordinary gradient. (The approximate
    product itself has jumps in its slope, so it is not differentiated.)

    It simulates cheap hardware and is slower than `keras.layers.Dense`; it takes
    batch * inputs * units numbers of memory where the compiler does not fuse its operations.

    Args:
        units: number of outputs, at least 1.
        activation: as in `keras.layers.Dense`.
        use_bias: whether a bias is added.
        kernel_initializer: of the kernel, shape ``(inputs, units)``.
        bias_initializer: of the bias, shape ``(units,)``.

    Input shape ``(batch, ..., inputs)``, output shape ``(batch, ..., units)``. Patterns are those
    of float32 under every dtype policy. What is not finite makes its whole row NaN.

    Source: article 7991 of kexue.fm; T. Mogami, *Deep neural network training without
    multiplications*, arXiv 2012.03458.

    Raises:
        ValueError: `units` is no whole number of at least 1, or the size of the last axis of the
            input is unknown.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> from keras import ops
        >>> layer = MitchellDense(1, kernel_initializer=keras.initializers.Constant(1.5))
        >>> ops.convert_to_numpy(layer(np.array([[1.5, 2.0]], "float32"))).tolist()
        [[5.0]]
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = _checks.whole("units", units, 1)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.bias: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel and bias for inputs of `input_shape`."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "the input must have shape (batch, ..., inputs) with a known last axis, got "
                f"{tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units,), initializer=self.bias_initializer
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the outputs for `inputs` of shape (batch, ..., inputs)."""
        rows = ops.reshape(ops.cast(inputs, "float32"), (-1, inputs.shape[-1]))
        result = mitchell_matmul(rows, ops.cast(self.kernel, "float32"))
        shape = (*ops.shape(inputs)[:-1], self.units)
        result = ops.cast(ops.reshape(result, shape), self.compute_dtype)
        if self.bias is not None:
            result = result + ops.cast(self.bias, self.compute_dtype)
        return self.activation(result)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return `input_shape` with `units` in the place of the last size."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


def mitchell_matmul(a: Any, b: Any) -> Any:
    """Matrix product whose products are Mitchell's, in the forward and in the backward pass.

    Args:
        a: float32 tensor of shape ``(m, k)``.
        b: float32 tensor of shape ``(k, n)``.

    Returns:
        Shape ``(m, n)``. Its gradient is the ordinary one with Mitchell's products in it. A row
        or column that holds what is not finite gives NaN.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> a, b = np.array([[1.5, 2.0]], "float32"), np.array([[1.5], [4.0]], "float32")
        >>> ops.convert_to_numpy(mitchell_matmul(a, b)).tolist()
        [[10.0]]
    """
    return _differentiable(ops.convert_to_tensor(a), ops.convert_to_tensor(b))


@ops.custom_gradient
def _differentiable(a: Any, b: Any) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> Any:
        (slope,) = args if upstream is None else (upstream,)
        return _matmul(slope, ops.transpose(b)), _matmul(ops.transpose(a), slope)

    return _matmul(a, b), gradient


def _matmul(a: Any, b: Any) -> Any:
    return ops.sum(_multiply(ops.expand_dims(a, 2), ops.expand_dims(b, 0)), axis=1)


def _multiply(a: Any, b: Any) -> Any:
    """Mitchell's product; NaN where an operand is not finite, zero where it is subnormal."""
    p, q = _view(a, "int32"), _view(b, "int32")
    sign = ops.bitwise_and(ops.bitwise_xor(p, q), -_MAGNITUDE - 1)
    p, q = ops.bitwise_and(p, _MAGNITUDE), ops.bitwise_and(q, _MAGNITUDE)
    pattern = (p - _ONE) + q  # wraps round for results that are too large
    large = ops.logical_or(pattern >= _INFINITY, pattern < -0x40000000)
    pattern = ops.where(large, _INFINITY, pattern)
    small = ops.logical_or(pattern < _SMALLEST, ops.minimum(p, q) < _SMALLEST)
    pattern = ops.where(small, 0, pattern)
    result = _view(ops.bitwise_or(pattern, sign), "float32")
    return ops.where(ops.maximum(p, q) < _INFINITY, result, float("nan"))


def _view(x: Any, dtype: str) -> Any:
    """The same bits as another type of the same width."""
    if hasattr(ops, "view"):  # since Keras 3.13
        return ops.view(x, dtype)
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.bitcast_convert_type(x, dtype)
    import tensorflow as tf

    return tf.bitcast(x, dtype)
