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

__all__ = [
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

    Examples:
        >>> import numpy as np
        >>> three, one = np.array([3.0, 3.0, 3.0]), np.array([7.0])
        >>> accumulate_gradients(np.mean, [(three,), (one,)], weights=[3, 1]).item()
        4.0
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

    Examples:
        >>> import keras
        >>> weight = keras.Variable([1.0, 2.0])
        >>> step = compiled_apply(keras.optimizers.SGD(0.5), [weight])
        >>> step([[2.0, -2.0]])
        >>> weight.numpy().tolist()
        [0.0, 3.0]
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

    Examples:
        >>> import keras
        >>> from keras import ops
        >>> weight = keras.Variable([0.0])
        >>> optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=4)
        >>> optimizer.build([weight])
        >>> for gradient in (1.0, 2.0):
        ...     optimizer.apply([ops.array([gradient])], [weight])
        >>> flush_accumulated(optimizer), weight.numpy().tolist()  # the mean of the two
        (2, [-1.5])
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
