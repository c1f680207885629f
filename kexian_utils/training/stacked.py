"""Many small networks in one array: seeds and settings trained side by side in one compiled step.

A *stack* of R networks of the same shape is a list of arrays with a leading axis of length R. A
loss that sums over the networks trains all of them at once, each exactly as if it were alone,
because gradient and Adam's step are taken entry by entry. For tiny networks this is many times
faster than one after the other: a step costs one round trip, whatever R is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kexian_utils import autodiff

__all__ = ["adam_start", "adam_step", "cross_entropy", "he_normal", "mlp_logits", "train"]


def he_normal(widths: Sequence[int], rngs: Sequence[np.random.Generator]) -> list[np.ndarray]:
    """Start a stack of fully connected networks: He's normal weights, zero biases.

    Args:
        widths: inputs, hidden layers and outputs, at least two positive numbers.
        rngs: one generator per network.

    Returns:
        Weights and biases of each layer in turn, float32, shapes ``(R, in, out)`` and
        ``(R, 1, out)``.

    Raises:
        ValueError: for fewer than two widths, one below 1, or no generator.
    """
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths must be at least two positive numbers, got {tuple(widths)}")
    if not rngs:
        raise ValueError("rngs must hold one generator per network, got none")
    parameters = []
    for i, (inputs, outputs) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        # He's variance 2/n makes up for a ReLU behind the layer; behind the last there is none.
        scale = np.sqrt((1 if i == len(widths) - 2 else 2) / inputs)
        weights = [rng.normal(scale=scale, size=(inputs, outputs)) for rng in rngs]
        parameters += [np.stack(weights).astype("float32"), np.zeros((len(rngs), 1, outputs), "f4")]
    return parameters


def mlp_logits(
    parameters: Sequence[Any], x: Any, masks: Sequence[Any] = (), negative_slope: float = 0.0
) -> Any:
    """Outputs of a stack of ReLU networks, before any softmax.

    Args:
        parameters: as from :func:`he_normal`.
        x: inputs, shape ``(R, batch, in)``, or ``(1, batch, in)`` for the same to all.
        masks: what the hidden layers are multiplied by, in order, each broadcast to
            ``(R, batch, hidden)``; layers without a mask are left as they are.
        negative_slope: of the activation below 0; 0.2 makes it the leaky ReLU of many critics.

    Returns:
        Shape ``(R, batch, out)``.
    """
    from keras import ops

    hidden, layers = x, len(parameters) // 2
    for i in range(layers):
        hidden = ops.matmul(hidden, parameters[2 * i]) + parameters[2 * i + 1]
        if i < layers - 1:
            hidden = ops.leaky_relu(hidden, negative_slope) if negative_slope else ops.relu(hidden)
            if i < len(masks):
                hidden = hidden * masks[i]
    return hidden


def cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean negative log-likelihood of integer labels, network by network.

    Args:
        logits: shape ``(R, batch, classes)``.
        labels: integers, shape ``(R, batch)``.

    Returns:
        Shape ``(R,)``.
    """
    from keras import ops

    chosen = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)[..., 0]
    return ops.mean(ops.logsumexp(logits, axis=-1) - chosen, axis=-1)


def adam_start(parameters: Sequence[Any]) -> list[np.ndarray]:
    """The state of Adam before the first step: zero moments, and the count of steps."""
    zeros = [np.zeros(np.shape(p), "float32") for p in parameters]
    return [*zeros, *(z.copy() for z in zeros), np.float32(0)]


def adam_step(
    function: Callable[..., Any], beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-7
) -> Callable[..., tuple[list, list, Any]]:
    """Return a compiled step of Adam, the same as Keras's.

    Args:
        function: scalar-valued, written with ``keras.ops``; its first argument is the list of
            parameters. For a stack: the *sum* of the networks' losses.
        beta_1: memory of the mean gradient.
        beta_2: memory of the mean square.
        epsilon: added to the root of the mean square.

    Returns:
        A compiled function of ``(parameters, state, learning_rate, *args)`` that returns ``(new
        parameters, new state, value before the step)``; start the state with :func:`adam_start`.
    """
    from keras import ops

    # Not Keras's `stateless_apply`: on TensorFlow it does not run inside a compiled function.
    evaluate = autodiff.value_and_gradient(function)

    def step(parameters: list, state: list, learning_rate: Any, *args: Any) -> tuple:
        count = len(parameters)
        first, second, t = state[:count], state[count:-1], state[-1] + 1
        value, slopes = evaluate(list(parameters), *args)
        first = [m + (1 - beta_1) * (g - m) for m, g in zip(first, slopes, strict=True)]
        second = [v + (1 - beta_2) * (g * g - v) for v, g in zip(second, slopes, strict=True)]
        rate = learning_rate * ops.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        moved = [
            p - rate * m / (ops.sqrt(v) + epsilon)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return moved, [*first, *second, t], value

    return autodiff.compiled(step)


def train(
    loss: Callable[..., Any],
    parameters: Sequence[Any],
    batches: Iterable[tuple],
    learning_rate: float,
    watch: Callable[[int, list], Any] | None = None,
) -> tuple[list[Any], np.ndarray]:
    """Train a stack by Adam, one step per batch.

    Args:
        loss: as `function` of :func:`adam_step`.
        parameters: where to start.
        batches: tuples of the further arguments of `loss`, all of the same shapes.
        learning_rate: of Adam.
        watch: called after every step with the number of steps made and the parameters.

    Returns:
        The parameters after the last step, as tensors, and the losses before each step.

    Raises:
        ValueError: if there are no batches.
    """
    from keras import ops

    step, state, losses = adam_step(loss), adam_start(parameters), []
    parameters = list(parameters)
    for batch in batches:
        parameters, state, value = step(parameters, state, learning_rate, *batch)
        losses.append(value)
        if watch is not None:
            watch(len(losses), parameters)
    if not losses:
        raise ValueError("batches must hold at least one batch, got none")
    return parameters, np.array([ops.convert_to_numpy(value) for value in losses])
