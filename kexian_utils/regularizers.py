"""Regularisers that Keras does not have.

Equation numbers are those of the chapter on article 7681.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["LogNormRegularizer"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class LogNormRegularizer(keras.regularizers.Regularizer):
    r"""Penalty on the logarithm of a weight's norm, blind to scale moved between layers.

    .. math:: \lambda_1\log\lVert W\rVert+\lambda_2\,\Bigl\lVert\frac W{\lVert W\rVert}\Bigr\rVert_1

    The norm is the root of the sum of all squares, as in ``keras.regularizers.L2``, and
    :math:`\lVert W\rVert^2` stands for the sum of squares plus the square of `floor`, so that a
    weight of zeros has a finite value and no gradient. Summed over the layers of a network the
    first part is the logarithm of the product of their norms: dividing one layer by a number and
    multiplying another by it leaves it as it is. Its pull does not fade as W shrinks: where
    :math:`\lambda_1` exceeds what the task pulls outwards, W collapses to zero, and below a norm
    of :math:`\sqrt{\eta\lambda_1}` a step of SGD at rate :math:`\eta` overshoots. Source: article
    7681, equation (7), after Liu, Cui and Chan, arXiv:2008.02965 (WEISSI).

    Args:
        coefficient: :math:`\lambda_1`, at least 0.
        direction_coefficient: :math:`\lambda_2`, at least 0.
        floor: at least 1e-15, so that its square is a number of float32.

    Raises:
        ValueError: an argument outside its range.

    Examples:
        >>> import keras, numpy as np
        >>> penalty = LogNormRegularizer(0.5)
        >>> kernel = np.full((2, 2), 2.0, "float32")  # of norm 4
        >>> [round(float(penalty(w)), 4) for w in (kernel, 3 * kernel)]  # log 4 / 2, log 12 / 2
        [0.6931, 1.2425]
        >>> layer = keras.layers.Dense(10, kernel_regularizer=penalty)
    """

    def __init__(
        self, coefficient: float = 0.01, direction_coefficient: float = 0.0, floor: float = 1e-12
    ) -> None:
        self.coefficient = _checks.real("coefficient", coefficient, 0)
        self.direction_coefficient = _checks.real("direction_coefficient", direction_coefficient, 0)
        self.floor = _checks.real("floor", floor, 1e-15)

    def __call__(self, x: Any) -> Any:
        """The penalty of one weight.

        Args:
            x: of any shape; numbers of 16 bits are computed with 32.

        Returns:
            A scalar tensor.
        """
        x = ops.convert_to_tensor(x)
        if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
            x = ops.cast(x, "float32")
        square = ops.add(ops.sum(ops.square(x)), self.floor**2)
        penalty = ops.multiply(0.5 * self.coefficient, ops.log(square))
        if self.direction_coefficient:
            # Not ops.abs: at 0 its slope is 1 on JAX, which the norm of a small weight magnifies.
            absolute = ops.multiply(x, ops.stop_gradient(ops.sign(x)))
            direction = ops.divide(ops.sum(absolute), ops.sqrt(square))
            penalty = ops.add(penalty, ops.multiply(self.direction_coefficient, direction))
        return penalty

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "coefficient": self.coefficient,
            "direction_coefficient": self.direction_coefficient,
            "floor": self.floor,
        }
