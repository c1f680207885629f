"""Activation functions (激活函数) that Keras does not have, registered for saved models.

Use them as ``keras.layers.Dense(32, activation=x_min_exp)``. Source: article 4647.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

__all__ = ["x_laplace", "x_min_exp"]


@keras.saving.register_keras_serializable(package="kexian_utils")
def x_min_exp(x: Any) -> Any:
    r"""The article's own function, :math:`x\min(1,e^x)`, written without overflow.

    Computed as :math:`x\,e^{\min(x,0)}`, which agrees in every floating-point number and whose
    gradient is finite wherever `x` is. The identity for positive x; below 0 it dips to -1/e at
    x = -1 and returns to 0.

    Args:
        x: floating-point tensor of any shape.

    Returns:
        A tensor of the same shape and dtype. Minus infinity gives NaN, the product of infinity
        and 0.

    Examples:
        >>> from keras import ops
        >>> [round(float(value), 4) for value in x_min_exp(ops.array([-1.0, 0.0, 100.0]))]
        [-0.3679, 0.0, 100.0]
    """
    x = ops.convert_to_tensor(x)
    return x * ops.exp(ops.minimum(x, 0))


@keras.saving.register_keras_serializable(package="kexian_utils")
def x_laplace(x: Any) -> Any:
    r"""A relative of :func:`x_min_exp` with :math:`f(x)-f(-x)=x`: x times Laplace's distribution.

    :math:`x\,e^x/2` below 0 and :math:`x(1-e^{-x}/2)` above. Two units can pass a signal through
    unchanged, as with ReLU, swish and GELU (article 11233).

    Args:
        x: floating-point tensor of any shape.

    Returns:
        A tensor of the same shape and dtype. Minus infinity gives NaN.

    Examples:
        >>> from keras import ops
        >>> x = ops.array([0.5, 3.0])
        >>> ops.convert_to_numpy(x_laplace(x) - x_laplace(-x)).tolist()
        [0.5, 3.0]
    """
    x = ops.convert_to_tensor(x)
    tail = ops.exp(-ops.abs(x)) / 2
    return x * ops.where(x < 0, tail, 1 - tail)
