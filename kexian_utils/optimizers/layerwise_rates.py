"""A learning rate of its own for each part of a model, with any optimiser."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["LayerwiseRates"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class LayerwiseRates(keras.optimizers.Optimizer):
    r"""Multiply an optimiser's learning rate variable by variable.

    One optimiser with one state, schedule and count of steps; a variable whose path matches a
    pattern is moved, and decayed, with the rate times that pattern's factor. Clipping, moving
    averages of weights and gradient accumulation are the inner optimiser's, and a global norm is
    one over all variables: what ``keras.optimizers.MultiOptimizer`` does group by group. Source:
    article 6418.

    Args:
        inner_optimizer: a new optimiser, or what ``keras.optimizers.get`` makes one from.
        multipliers: pattern to factor, at least 0; 0 freezes. A pattern is a regular expression
            that has to match the whole ``variable.path``, such as ``"(.*/)?encoder/.*"``. What no
            pattern matches keeps the rate.
        name: of the optimiser.

    Raises:
        ValueError: no multiplier, a factor below 0, an inner optimiser that has been used or is a
            wrapper itself; and when it is built, a pattern that matches no variable, or two that
            match the same.

    Examples:
        >>> import keras
        >>> layers = [keras.layers.Dense(4, name="encoder"), keras.layers.Dense(1)]
        >>> model = keras.Sequential([keras.Input((3,)), *layers])
        >>> model.compile(LayerwiseRates("adam", {".*encoder/.*": 0.1}), "mse")
        >>> model.optimizer.build(model.trainable_variables)
        >>> model.optimizer.factors
        [0.1, 0.1, 1.0, 1.0]
    """

    def __init__(
        self,
        inner_optimizer: Any,
        multipliers: Mapping[str, float],
        name: str = "layerwise_rates",
    ) -> None:
        super().__init__(learning_rate=0.0, name=name)
        inner = keras.optimizers.get(inner_optimizer)
        wrappers = (keras.optimizers.MultiOptimizer, keras.optimizers.LossScaleOptimizer)
        if inner.built or isinstance(inner, (LayerwiseRates, *wrappers)):
            raise ValueError(
                "inner_optimizer must be a new optimiser that wraps no other, got "
                f"{type(inner).__name__}, {'used' if inner.built else 'new'}"
            )
        if not multipliers:
            raise ValueError("multipliers must hold at least one pattern, got none")
        self.inner_optimizer = inner
        self.multipliers = {
            pattern: _checks.real(f"multipliers[{pattern!r}]", factor, 0)
            for pattern, factor in multipliers.items()
        }
        # Not `update_step`: on PyTorch an optimiser moves all its variables in one call.
        self._move = inner._backend_update_step
        inner._backend_update_step = self._in_groups
        inner._apply_weight_decay = self._decay

    def build(self, variables: Sequence[Any]) -> None:
        """Find the factor of each variable, and build the inner optimiser."""
        if self.built:
            return
        matches = [
            [p for p in self.multipliers if re.fullmatch(p, variable.path)]
            for variable in variables
        ]
        for variable, found in zip(variables, matches, strict=True):
            if len(found) > 1:
                raise ValueError(f"multipliers: {found} all match the variable {variable.path}")
        paths = [variable.path for variable in variables]
        for pattern in self.multipliers:
            if [pattern] not in matches:
                raise ValueError(f"multipliers: {pattern!r} matches none of the variables {paths}")
        self.factors = [self.multipliers[found[0]] if found else 1.0 for found in matches]
        self.inner_optimizer.build(variables)
        super().build(variables)

    def _groups(self, variables: Sequence[Any]) -> dict[float, list[int]]:
        groups: dict[float, list[int]] = {}
        for i, variable in enumerate(variables):
            groups.setdefault(self.factors[self._get_variable_index(variable)], []).append(i)
        return groups

    def _in_groups(self, grads: Sequence[Any], variables: Sequence[Any], rate: Any) -> None:
        for factor, places in self._groups(variables).items():
            if factor:
                own = [[values[i] for i in places] for values in (grads, variables)]
                self._move(*own, rate * factor)

    def _decay(self, variables: Sequence[Any]) -> None:
        inner = self.inner_optimizer
        if inner.weight_decay is None:
            return
        for factor, places in self._groups(variables).items():
            for variable in (variables[i] for i in places):
                if inner._use_weight_decay(variable):
                    step = ops.cast(inner.learning_rate, variable.dtype)
                    kept = 1 - step * ops.cast(factor * inner.weight_decay, variable.dtype)
                    variable.assign(variable * kept)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Make a step; the first one may build the optimiser."""
        if not self.built:
            if trainable_variables is None:
                raise ValueError("trainable_variables must be given before the optimizer is built")
            self.build(trainable_variables)
        self.inner_optimizer.apply(grads, trainable_variables or self._trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """Its own two, and the inner optimiser's."""
        return [*self._variables, *self.inner_optimizer.variables]

    @property
    def learning_rate(self) -> Any:
        """The inner optimiser's, before it is multiplied."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def iterations(self) -> Any:
        """Updates that the inner optimiser has made."""
        return self.inner_optimizer.iterations

    def scale_loss(self, loss: Any) -> Any:
        """As the inner optimiser does."""
        return self.inner_optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """As the inner optimiser does."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "multipliers": dict(self.multipliers),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """From the arguments, which are left as they are."""
        packed = copy.deepcopy(config["inner_optimizer"])
        inner = keras.saving.deserialize_keras_object(packed, custom_objects=custom_objects)
        return cls(**{**config, "inner_optimizer": inner})
