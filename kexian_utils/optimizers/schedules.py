"""Learning-rate schedules."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["PerUpdateSchedule"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class PerUpdateSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that counts updates under ``gradient_accumulation_steps``.

    Keras evaluates schedules at the number t of micro-batches, so that they run K times too fast.
    This one evaluates `schedule` at the integer part of t/K, which is the number of updates made.

    Args:
        schedule: any ``LearningRateSchedule``, written for updates.
        accumulation_steps: K, the same number as the optimiser's, at least 1.

    Raises:
        TypeError: `schedule` is no ``LearningRateSchedule``.
        ValueError: `accumulation_steps` is not an integer of at least 1.

    Examples:
        >>> import keras
        >>> halving = keras.optimizers.schedules.PiecewiseConstantDecay([0], [1.0, 0.5])
        >>> schedule = PerUpdateSchedule(halving, accumulation_steps=4)
        >>> [float(schedule(step)) for step in (0, 3, 4)]  # micro-steps
        [1.0, 1.0, 0.5]
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule,
        accumulation_steps: int,
    ) -> None:
        super().__init__()
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise TypeError(
                f"schedule must be a LearningRateSchedule, got {type(schedule).__name__}"
            )
        self.schedule = schedule
        self.accumulation_steps = _checks.whole("accumulation_steps", accumulation_steps, 1)

    def __call__(self, step: Any) -> Any:
        """The learning rate after `step` micro-batches."""
        return self.schedule(ops.floor_divide(step, self.accumulation_steps))

    def get_config(self) -> dict[str, Any]:
        """Both arguments, the schedule in serialised form."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "accumulation_steps": self.accumulation_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PerUpdateSchedule:
        """The schedule with this config."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["accumulation_steps"])
