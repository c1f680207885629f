"""Gradient accumulation inside the momentum, without a buffer of its own.

Equation numbers are those of the chapter on article 6794.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["MomentumAccumulatedSGD"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class MomentumAccumulatedSGD(keras.optimizers.Optimizer):
    r"""SGD with momentum that accumulates in the momentum itself, equation (11).

    .. math:: m\leftarrow\beta_jm+\tfrac{1-\beta}K\bar g_j,\qquad
        \beta_1=\beta,\ \beta_2=\dots=\beta_K=1,

    and :math:`\theta\leftarrow\theta-\eta m` after the last micro-batch of K. The same as
    ``keras.optimizers.SGD(eta * (1 - beta), momentum=beta, gradient_accumulation_steps=K)`` with
    one buffer per parameter instead of two. Source: article 8634.

    Clipping, weight decay and moving averages of weights would act on every micro-batch and are
    not offered. A learning-rate schedule needs :class:`PerUpdateSchedule`.

    Args:
        learning_rate: a number or a schedule.
        momentum: beta, at least 0 and below 1.
        accumulation_steps: K, at least 1.
        name: of the optimiser.

    Raises:
        ValueError: `momentum` or `accumulation_steps` outside its range.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        >>> model.compile(MomentumAccumulatedSGD(0.01, accumulation_steps=4), "mse")
        >>> model.optimizer.accumulation_steps
        4
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.9,
        accumulation_steps: int = 1,
        name: str = "momentum_accumulated_sgd",
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name)
        self.momentum = _checks.probability("momentum", momentum, one=False)
        self.accumulation_steps = _checks.whole("accumulation_steps", accumulation_steps, 1)

    def build(self, variables: Sequence[Any]) -> None:
        """Make one momentum per variable, which is all that there is."""
        if self.built:
            return
        super().build(variables)
        self._momenta = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Add a micro-batch to the momentum; move the variable if it was the last of its group."""
        steps, dtype = self.accumulation_steps, variable.dtype
        m = self._momenta[self._get_variable_index(variable)]
        before = ops.convert_to_tensor(variable)
        place = ops.mod(self.iterations, steps)
        memory = ops.where(ops.equal(place, 0), ops.cast(self.momentum, dtype), 1)
        share = ops.cast((1 - self.momentum) / steps, dtype)
        self.assign(m, ops.cast(memory, dtype) * m + share * ops.cast(gradient, dtype))
        moved = before - ops.cast(learning_rate, dtype) * m
        self.assign(variable, ops.where(ops.equal(place, steps - 1), moved, before))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        base = super().get_config()
        return {
            "learning_rate": base["learning_rate"],
            "momentum": self.momentum,
            "accumulation_steps": self.accumulation_steps,
            "name": self.name,
        }
