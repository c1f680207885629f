"""AdaX: Adam with a second moment whose memory does not fade.

Equation numbers are those of the chapter on article 7387.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["AdaX"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class AdaX(keras.optimizers.Optimizer):
    r"""Adam with exponential long-term memory (Li et al., arXiv:2004.09740), equations (2) and (5).

    .. math:: \begin{aligned}m&\leftarrow\beta_1m+(1-\beta_1)g,\\
        \hat v&\leftarrow\hat v+\frac{\beta_2}{(1+\beta_2)^t-1}(g^2-\hat v),\\
        \theta&\leftarrow\theta-\frac{\eta\,m}{\sqrt{\hat v}+\epsilon}.\end{aligned}

    The published form keeps a sum that grows like :math:`(1+\beta_2)^t` and divides by it; this one
    keeps the quotient, so nothing overflows. For t far below :math:`1/\beta_2` it is the running
    mean of all squared gradients; far above, the rates stand still. The first moment is not
    corrected, a warm-up over some :math:`1/(1-\beta_1)` steps. Source: article 7387.

    Args:
        learning_rate: a number or a schedule.
        beta_1: decay of the first moment, at least 0 and below 1.
        beta_2: *growth* of the weights of past squared gradients, above 0 and at most 1.
        epsilon: added to the root, above 0.
        name: of the optimiser.
        **kwargs: of ``keras.optimizers.Optimizer``: weight decay, clipping, moving averages of
            weights, loss scale, gradient accumulation.

    Raises:
        ValueError: `beta_1`, `beta_2` or `epsilon` outside its range.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(AdaX(0.001), "mse")
        >>> model.optimizer.beta_2
        0.0001
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 1e-4,
        epsilon: float = 1e-7,
        name: str = "adax",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = _checks.probability("beta_1", beta_1, one=False)
        self.beta_2 = _checks.probability("beta_2", beta_2, zero=False)
        self.epsilon = _checks.real("epsilon", epsilon, above=0)

    def build(self, variables: Sequence[Any]) -> None:
        """Make the two moments of each variable."""
        if self.built:
            return
        super().build(variables)
        self._means = self.add_optimizer_variables(variables, "momentum")
        self._squares = self.add_optimizer_variables(variables, "velocity")

    def current_weight(self, step: Any) -> Any:
        r"""Weight :math:`1-\hat\beta_{2,t}` of the present squared gradient, equation (5).

        A subclass with another rule is another member of the family: ``1 / step`` is the running
        mean.

        Args:
            step: t, from 1, a float32 tensor.

        Returns:
            A tensor of the shape of `step`.
        """
        return self.beta_2 / ops.expm1(step * math.log1p(self.beta_2))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Move one variable."""
        dtype = variable.dtype
        # Dense: of a sparse one, a token that stands twice would be squared before it is added up.
        gradient = ops.add(ops.zeros(variable.shape, dtype), ops.cast(gradient, dtype))
        weight = ops.cast(self.current_weight(ops.cast(self.iterations + 1, "float32")), dtype)
        index = self._get_variable_index(variable)
        m, v = self._means[index], self._squares[index]
        self.assign_add(m, ops.multiply(ops.subtract(gradient, m), 1 - self.beta_1))
        self.assign_add(v, ops.multiply(ops.subtract(ops.square(gradient), v), weight))
        step = ops.multiply(m, ops.cast(learning_rate, dtype))
        self.assign_sub(variable, ops.divide(step, ops.add(ops.sqrt(v), self.epsilon)))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
