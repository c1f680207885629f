r"""Gradient accumulation (梯度累积): what Keras's own keyword leaves to its users.

``gradient_accumulation_steps=K`` makes every Keras optimiser average K micro-batches (微批) and
step once. These helpers cover what it does not: micro-batches of unequal sizes, schedules that
should count updates, a last group that is not full, own training loops on both backends, and
momentum that needs no extra buffer. Equation numbers are those of the chapter on article 6794
(https://kexue.fm/archives/6794).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = [
    "MomentumAccumulatedSGD",
    "PerUpdateSchedule",
    "accumulate_gradients",
    "compiled_apply",
    "flush_accumulated",
]


def accumulate_gradients(
    gradient: Callable[..., Any], batches: Iterable[tuple], weights: Iterable[float] | None = None
) -> Any:
    r"""The weighted mean of the gradients of micro-batches, one in memory at a time.

    For a loss that is a mean over n_j examples (or tokens), the weights n_j make the result equal
    to the gradient over all of them together, :math:`\sum_j\frac{n_j}N\bar g_j`, equation (3).

    Args:
        gradient: called as ``gradient(*batch)``; returns an array or tensor, or a list of them.
        batches: tuples of arguments.
        weights: one finite number per micro-batch, not negative; equal ones if left out. They
            are divided by their sum.

    Returns:
        What `gradient` returns: the same structure and shapes.

    Raises:
        ValueError: no batches; another number of weights than of batches; weights that are
            negative, not finite, or sum to zero.
    """
    given = None if weights is None else [_weight(w) for w in weights]
    total, mass, count = None, 0.0, 0
    for batch in batches:
        if given is not None and count >= len(given):
            raise ValueError(f"weights must be one per batch, got {len(given)} for more batches")
        weight = 1.0 if given is None else given[count]
        slope = gradient(*batch)
        if isinstance(slope, (list, tuple)):
            scaled = [weight * part for part in slope]
            total = scaled if total is None else [a + b for a, b in zip(total, scaled, strict=True)]
        else:
            total = weight * slope if total is None else total + weight * slope
        mass, count = mass + weight, count + 1
    if not count:
        raise ValueError("batches must hold at least one micro-batch, got none")
    if given is not None and len(given) != count:
        raise ValueError(f"weights must be one per batch, got {len(given)} for {count} batches")
    if mass <= 0:
        raise ValueError(f"weights must have a positive sum, got {mass:g}")
    return [part / mass for part in total] if isinstance(total, list) else total / mass


def _weight(value: float) -> float:
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"weights must be finite and not negative, got {value}")
    return float(value)


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


def compiled_apply(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]
) -> Callable[[Sequence[Any]], None]:
    """An optimiser's step for one's own training loop, compiled once, on TensorFlow and JAX.

    On JAX an accumulating optimiser that is applied outside of ``jit`` compiles its conditionals
    again at every call; TensorFlow has no ``stateless_apply``. This hides the difference.

    Args:
        optimizer: any Keras optimiser; it is built here if it is not yet.
        variables: what it updates, in this order.

    Returns:
        A function of a list of gradients, one per variable, which changes `variables` and the
        optimiser's own variables in place.

    Raises:
        ValueError: no variables.
        RuntimeError: the backend is neither TensorFlow nor JAX.
    """
    variables = list(variables)
    if not variables:
        raise ValueError("variables must hold at least one variable, got none")
    if not optimizer.built:
        optimizer.build(variables)
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        step = tf.function(lambda gradients: optimizer.apply(gradients, variables))

        def apply(gradients: Sequence[Any]) -> None:
            step(
                [
                    g if isinstance(g, tf.IndexedSlices) else ops.convert_to_tensor(g, v.dtype)
                    for g, v in zip(gradients, variables, strict=True)
                ]
            )

        return apply
    if backend != "jax":
        raise RuntimeError(f"compiled_apply supports tensorflow and jax, not {backend!r}")
    import jax

    stateless = jax.jit(optimizer.stateless_apply)

    def apply_on_jax(gradients: Sequence[Any]) -> None:
        gradients = [
            ops.convert_to_tensor(g, dtype=v.dtype)
            for g, v in zip(gradients, variables, strict=True)
        ]
        state = [v.value for v in optimizer.variables]
        moved, state = stateless(state, gradients, [v.value for v in variables])
        changed = [*variables, *optimizer.variables]
        for variable, value in zip(changed, [*moved, *state], strict=True):
            variable.assign(value)

    return apply_on_jax


def flush_accumulated(optimizer: keras.optimizers.Optimizer) -> int:
    """Make the update of a last group that is not full, with the right divisor.

    Keras leaves the sum of r < K gradients in its buffers when training ends. This divides by r
    and lets the optimiser step, clip and decay as it always does. Call it after ``fit``.

    It reads and writes two private attributes of Keras 3, the raw counter and the buffers
    (``_iterations``, ``_accumulated_gradients``), and refuses to guess where they are missing.

    Args:
        optimizer: built, with ``gradient_accumulation_steps`` set; or a ``LossScaleOptimizer``
            around such a one, as ``compile`` makes it under ``mixed_float16``.

    Returns:
        r, the number of gradients that waited; 0 if the group was complete (nothing is done).

    Raises:
        ValueError: the optimiser does not accumulate, or is not built.
        RuntimeError: this version of Keras has no such attributes.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # which holds unscaled gradients
    steps = getattr(optimizer, "gradient_accumulation_steps", None)
    if not steps:
        raise ValueError(
            "optimizer must have gradient_accumulation_steps set, got none: give the number to "
            f"{type(optimizer).__name__} when you make it"
        )
    if not optimizer.built:
        raise ValueError("optimizer must be built (train first)")
    if not hasattr(optimizer, "_iterations") or not hasattr(optimizer, "_accumulated_gradients"):
        raise RuntimeError(f"Keras {keras.__version__} keeps accumulated gradients elsewhere")
    raw = int(ops.convert_to_numpy(optimizer._iterations))
    waiting = raw % steps
    if not waiting:
        return 0
    buffers = [b for b in optimizer._accumulated_gradients if b is not None]
    for buffer in buffers:  # the last micro-step divides by K: scaled so that it divides by r
        buffer.assign(buffer * (steps / waiting))
    optimizer._iterations.assign(raw - waiting + steps - 1)
    optimizer.apply([ops.zeros(b.shape, dtype=b.dtype) for b in buffers])
    return waiting


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
