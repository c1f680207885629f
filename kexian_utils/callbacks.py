"""Callbacks: what happens between the steps of a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from kexian_utils import _checks

__all__ = ["BestWeights", "ScheduledVariable"]


class ScheduledVariable(keras.callbacks.Callback):
    """Set a variable at the beginning of each epoch, for instance a weight inside a loss.

    The variable must be one that the model or its optimizer tracks, such as a layer's
    ``add_weight(trainable=False)``. On JAX a free ``keras.Variable`` is compiled into the step as a
    constant, and nothing that is assigned later arrives; this callback refuses it on all backends.

    Args:
        variable: a variable of the model in training.
        schedule: called with the number of the epoch, from 0, returns the value.

    The value is logged under the variable's name.

    Source: article 5765 of kexue.fm.

    Raises:
        TypeError: `variable` is no ``keras.Variable``, or `schedule` is not callable.
        ValueError: when training begins, if the model does not track the variable.

    Examples:
        >>> import keras, numpy as np
        >>> layer = keras.layers.Dense(1)
        >>> model = keras.Sequential([keras.Input((1,)), layer])
        >>> model.compile("sgd", "mse")
        >>> halve = ScheduledVariable(layer.bias, lambda epoch: [0.5**epoch])
        >>> history = model.fit(np.zeros((1, 1)), np.zeros((1, 1)), epochs=2, verbose=0,
        ...                     callbacks=[halve]).history
        >>> [round(value, 3) for value in history["loss"]]  # the squares of 1 and 1/2
        [1.0, 0.25]
    """

    def __init__(self, variable: keras.Variable, schedule: Callable[[int], Any]) -> None:
        super().__init__()
        if not isinstance(variable, keras.Variable):
            raise TypeError(f"variable must be a keras.Variable, got {type(variable).__name__}")
        if not callable(schedule):
            raise TypeError(f"schedule must be callable, got {type(schedule).__name__}")
        self.variable, self.schedule = variable, schedule

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuse a variable that the model does not track."""
        optimizer = getattr(self.model, "optimizer", None)
        tracked = [*self.model.variables, *(optimizer.variables if optimizer else ())]
        if not any(variable is self.variable for variable in tracked):
            raise ValueError(
                f"the model does not track the variable {self.variable.path!r}: make it with "
                "add_weight(trainable=False) in a layer"
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Assign this epoch's value."""
        self.variable.assign(self.schedule(epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log this epoch's value, if it is one number."""
        value = keras.ops.convert_to_numpy(self.variable)
        if logs is not None and value.size == 1:
            logs[self.variable.name] = float(value.reshape(()))


class BestWeights(keras.callbacks.Callback):
    """Keep the weights of the epoch with the best score, by any function of the model.

    The score need not be a metric of Keras: it may count decoded answers, call scikit-learn, or
    write and read files. Choose on data that is neither for training nor for the final test.

    Args:
        score: called with the model after each epoch, returns a number; NaN is never the best.
        mode: ``"max"`` or ``"min"``. Of equal scores the first one stays.
        name: under which the score is logged.

    Attributes:
        scores: one per epoch of the last ``fit``.
        best, best_epoch: the best score and its epoch, from 0; None before the first.

    When training ends, the model has the best weights again.

    Source: article 5765 of kexue.fm.

    Raises:
        TypeError: `score` is not callable.
        ValueError: `mode` is unknown.

    Examples:
        >>> import keras, numpy as np
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> model.compile(keras.optimizers.SGD(0.5), "mse")
        >>> nearest_to_one = lambda model: -abs(model.get_weights()[0].item() - 1)
        >>> best = BestWeights(nearest_to_one)
        >>> model.set_weights([np.array([[3.0]])])
        >>> history = model.fit(np.ones((1, 1)), np.zeros((1, 1)), epochs=3, verbose=0,
        ...                     callbacks=[best])
        >>> best.best_epoch, model.get_weights()[0].item()
        (0, 0.0)
    """

    def __init__(
        self, score: Callable[[keras.Model], float], mode: str = "max", name: str = "score"
    ) -> None:
        super().__init__()
        if not callable(score):
            raise TypeError(f"score must be callable, got {type(score).__name__}")
        self.score, self.name = score, name
        self.mode = _checks.choice("mode", mode, ("max", "min"))
        self._forget()

    def _forget(self) -> None:
        self.scores: list[float] = []
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._weights: list[Any] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start anew: an earlier training does not count."""
        self._forget()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score the model, and keep its weights if it is the best so far."""
        value = float(self.score(self.model))
        self.scores.append(value)
        if logs is not None:
            logs[self.name] = value
        sign = 1 if self.mode == "max" else -1
        if not math.isnan(value) and (self.best is None or sign * value > sign * self.best):
            self.best, self.best_epoch = value, epoch
            self._weights = self.model.get_weights()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Put the best weights back."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
