"""Recurrent cells that solve ordinary differential equations (article 5643)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kexian_utils import _checks

__all__ = ["EulerCell", "RungeKuttaCell"]


class _StepCell(keras.layers.Layer):
    """What both cells share: one state vector, a right-hand side and a step size."""

    def __init__(
        self,
        rhs: Callable[[Any, Any], Any],
        step_size: float,
        num_states: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(rhs):
            raise TypeError(f"rhs must be a Keras layer or a function, got {type(rhs).__name__}")
        if isinstance(step_size, bool) or not isinstance(step_size, (int, float)):
            raise TypeError(f"step_size must be a number, got {type(step_size).__name__}")
        if not 0 < step_size < math.inf:
            raise ValueError(f"step_size must be a finite number above 0, got {step_size}")
        self.rhs = rhs
        self.step_size = float(step_size)
        self.num_states = _checks.whole("num_states", num_states, 1)
        self.state_size = self.output_size = self.num_states

    def build(self, input_shape: Any) -> None:
        """Build the right-hand side, if it is a layer."""
        if isinstance(self.rhs, keras.layers.Layer) and not self.rhs.built:
            self.rhs.build((input_shape[0], self.num_states))
        self.built = True

    def call(self, inputs: Any, states: Sequence[Any], training: bool | None = None) -> Any:
        """One step: the new state, as output and as list of states."""
        state = self.step(states[0], inputs)
        return state, [state]

    def step(self, state: Any, inputs: Any) -> Any:
        """The state after one step."""
        raise NotImplementedError

    def rate(self, state: Any, inputs: Any) -> Any:
        """The right-hand side, with its shape checked."""
        rate = self.rhs(state, inputs)
        if len(rate.shape) != 2 or rate.shape[-1] != self.num_states:
            raise ValueError(
                f"rhs must return shape (batch, {self.num_states}), got {tuple(rate.shape)}"
            )
        return rate

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the cell again."""
        own = {"step_size": self.step_size, "num_states": self.num_states}
        return {**super().get_config(), "rhs": keras.saving.serialize_keras_object(self.rhs), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Build the cell again from its configuration."""
        rhs = keras.saving.deserialize_keras_object(config["rhs"])
        return cls(**{**config, "rhs": rhs})


@keras.saving.register_keras_serializable(package="kexian_utils")
class EulerCell(_StepCell):
    r"""Euler's method (欧拉解法) as a recurrent cell: its state solves :math:`\dot x=f(x,u)`.

    .. math:: x_{n+1}=x_n+h\,f(x_n,u_n).

    Drop it into `keras.layers.RNN`. The start of the solution is the layer's `initial_state`; the
    sequence gives the number of steps and, if the equation has one, the driving input u (time
    itself, say); an equation without input gets zeros of shape (batch, steps, 1). What comes out
    begins *after* the first step. Weights of a right-hand side that is a Keras layer are trained
    through the solution. The error at a fixed time is of the order of the step.

    Args:
        rhs: the right-hand side f: a Keras layer, or a function registered with
            `keras.saving.register_keras_serializable` if the cell is to be saved. Called with the
            state of shape (batch, d) and the input of the step; returns (batch, d).
        step_size: the step h, above 0.
        num_states: the dimension d of the state.
        kwargs: `name`, `dtype` and so on, as of any Keras layer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `step_size` or `num_states` is outside its range, or the right-hand side gives
            another shape.

    Source: article 5643, equation (3).

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> decay = keras.layers.RNN(EulerCell(lambda x, u: -x, 0.1, 1), return_sequences=True)
        >>> solution = decay(np.zeros((1, 10, 1)), initial_state=[keras.ops.ones((1, 1))])
        >>> round(float(solution[0, -1, 0]), 4)  # 0.9 ** 10
        0.3487
    """

    def step(self, state: Any, inputs: Any) -> Any:
        """The state after one step of Euler's method."""
        return state + self.step_size * self.rate(state, inputs)


@keras.saving.register_keras_serializable(package="kexian_utils")
class RungeKuttaCell(_StepCell):
    r"""The classical Runge-Kutta method of order four (龙格-库塔法) as a recurrent cell.

    .. math::
        \begin{aligned}k_1&=f(x_n),&k_2&=f(x_n+\tfrac h2k_1),\\
        k_3&=f(x_n+\tfrac h2k_2),&k_4&=f(x_n+hk_3),\\
        x_{n+1}&=x_n+\tfrac h6(k_1+2k_2+2k_3+k_4).\end{aligned}

    As :class:`EulerCell` in all but the step, at four times the cost: the error at a fixed time is
    of the order of the step's fourth power. The input of a step is held during the step; where it
    varies within a step, this limits the order to one.

    Args:
        rhs: as of `EulerCell`.
        step_size: the step h, above 0.
        num_states: the dimension d of the state.
        kwargs: `name`, `dtype` and so on, as of any Keras layer.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: as of `EulerCell`.

    Source: article 5643 goes as far as Euler; E. Hairer, S. Norsett, G. Wanner, "Solving Ordinary
    Differential Equations I", section II.1.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> decay = keras.layers.RNN(RungeKuttaCell(lambda x, u: -x, 0.1, 1))
        >>> solution = decay(np.zeros((1, 10, 1)), initial_state=[keras.ops.ones((1, 1))])
        >>> round(float(solution[0, 0]), 5)  # exp(-1)
        0.36788
    """

    def step(self, state: Any, inputs: Any) -> Any:
        """The state after one step of order four."""
        h = self.step_size
        first = self.rate(state, inputs)
        second = self.rate(state + h / 2 * first, inputs)
        third = self.rate(state + h / 2 * second, inputs)
        fourth = self.rate(state + h * third, inputs)
        return state + h / 6 * (first + 2 * second + 2 * third + fourth)
