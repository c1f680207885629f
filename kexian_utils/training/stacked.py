"""Many small networks in one array: seeds and settings trained side by side in one compiled step.

A *stack* of R networks of the same shape is a list of arrays with a leading axis of length R. A
loss that sums over the networks trains all of them at once, each exactly as if it were alone,
because its gradient, and the step of an optimizer like Adam, are taken entry by entry. For tiny
networks this is many times faster than one after the other: a step costs one round trip, whatever
R is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from kexian_utils import _checks, autodiff

if TYPE_CHECKING:
    import keras

__all__ = ["StackTrainer", "cross_entropy", "he_normal", "mlp_logits", "train"]


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

    Examples:
        >>> weights = he_normal((64, 32, 10), [np.random.default_rng(seed) for seed in (0, 1)])
        >>> [w.shape for w in weights]
        [(2, 64, 32), (2, 1, 32), (2, 32, 10), (2, 1, 10)]
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

    Examples:
        >>> weights = he_normal((64, 32, 10), [np.random.default_rng(seed) for seed in (0, 1)])
        >>> tuple(mlp_logits(weights, np.zeros((2, 5, 64), "float32")).shape)
        (2, 5, 10)
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

    Examples:
        >>> from keras import ops
        >>> losses = cross_entropy(np.zeros((2, 5, 10)), np.zeros((2, 5), int))
        >>> ops.convert_to_numpy(losses).round(4).tolist()
        [2.3026, 2.3026]
    """
    from keras import ops

    chosen = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)[..., 0]
    return ops.mean(ops.logsumexp(logits, axis=-1) - chosen, axis=-1)


class StackTrainer:
    """A stack and a Keras optimizer, which moves it by one compiled step per call.

    The optimizer sees each array of the stack as one variable. Entry by entry, as with Adam, each
    network is trained as if it were alone; what takes a norm over a variable would mix them.

    Args:
        loss: scalar-valued, written with ``keras.ops``; called as ``loss(parameters, *args)``. For
            a stack: the *sum* of the networks' losses.
        parameters: arrays, where to start.
        optimizer: any Keras optimizer, not used before.

    Raises:
        ValueError: no parameters, an optimizer that has been used, or one that clips by norms.
        RuntimeError: when called, if the backend is neither TensorFlow nor JAX.

    Examples:
        >>> import keras
        >>> loss = lambda parameters: keras.ops.sum((parameters[0] - 3.0) ** 2)
        >>> step = StackTrainer(loss, [np.array([[0.0], [2.0]])], keras.optimizers.SGD(0.25))
        >>> float(step())  # (0 - 3)² + (2 - 3)²
        10.0
        >>> keras.ops.convert_to_numpy(step.parameters[0]).tolist()  # half the way to 3
        [[1.5], [2.5]]
    """

    def __init__(
        self,
        loss: Callable[..., Any],
        parameters: Sequence[Any],
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        import keras

        if not len(parameters):
            raise ValueError("parameters must hold at least one array, got none")
        if optimizer.built:
            raise ValueError("optimizer must be a new one, this one has been used before")
        for name in ("clipnorm", "global_clipnorm"):
            if getattr(optimizer, name, None) is not None:
                raise ValueError(
                    f"optimizer must not set {name}, which would mix the networks of the stack: "
                    "clip each network's gradient in the loss"
                )
        self.optimizer = optimizer
        self._variables = [keras.Variable(p, dtype=np.asarray(p).dtype.name) for p in parameters]
        optimizer.build(self._variables)
        evaluate = autodiff.value_and_gradient(loss)
        on_jax = keras.backend.backend() == "jax"
        self._step = self._on_jax(evaluate) if on_jax else self._on_tensorflow(evaluate)

    @property
    def parameters(self) -> list[Any]:
        """The present parameters, as tensors that later steps leave alone."""
        from keras import ops

        return [ops.copy(variable) for variable in self._variables]

    def __call__(self, *args: Any, learning_rate: float | None = None) -> Any:
        """Make one step.

        Args:
            *args: further arguments of the loss: arrays, tensors, or lists of them.
            learning_rate: from this step on; by default what the optimizer has.

        Returns:
            The loss before the step.
        """
        if learning_rate is not None:
            self.optimizer.learning_rate = learning_rate
        return self._step(*args)

    def _on_tensorflow(self, evaluate: Callable) -> Callable:
        from keras import ops

        def step(*args: Any) -> Any:
            value, slopes = evaluate(self.parameters, *args)
            self.optimizer.apply([ops.convert_to_tensor(s) for s in slopes], self._variables)
            return value

        return autodiff.compiled(step)

    def _on_jax(self, evaluate: Callable) -> Callable:
        def step(values: list, state: list, *args: Any) -> tuple:
            value, slopes = evaluate(values, *args)
            return value, *self.optimizer.stateless_apply(state, slopes, values)

        compiled = autodiff.compiled(step)

        def stateful(*args: Any) -> Any:
            changed = [*self._variables, *self.optimizer.variables]
            state = [v.value for v in self.optimizer.variables]
            value, moved, state = compiled([v.value for v in self._variables], state, *args)
            for variable, new in zip(changed, [*moved, *state], strict=True):
                variable.assign(new)
            return value

        return stateful


def train(
    loss: Callable[..., Any],
    parameters: Sequence[Any],
    batches: Iterable[tuple],
    optimizer: keras.optimizers.Optimizer | float,
    watch: Callable[[int, list], Any] | None = None,
) -> tuple[list[Any], np.ndarray]:
    """Train a stack, one step per batch.

    Args:
        loss: as for :class:`StackTrainer`.
        parameters: where to start.
        batches: tuples of the further arguments of `loss`, all of the same shapes.
        optimizer: a new Keras optimizer; a number is the learning rate of Adam.
        watch: called after every step with the number of steps made and the parameters.

    Returns:
        The parameters after the last step, as tensors, and the losses before each step.

    Raises:
        ValueError: if there are no batches, and as for :class:`StackTrainer`.

    Examples:
        >>> import keras
        >>> loss = lambda parameters, target: keras.ops.sum((parameters[0] - target) ** 2)
        >>> start, batches = [np.array([[0.0], [2.0]], "float32")], [(np.float32(4.0),)] * 3
        >>> (end,), losses = train(loss, start, batches, keras.optimizers.SGD(0.25))
        >>> losses.tolist(), keras.ops.convert_to_numpy(end).tolist()  # each step halves the rest
        ([20.0, 5.0, 1.25], [[3.5], [3.75]])
    """
    import keras

    if isinstance(optimizer, Real):
        optimizer = keras.optimizers.Adam(_checks.real("optimizer", optimizer, above=0))
    step, losses = StackTrainer(loss, parameters, optimizer), []
    for batch in batches:
        losses.append(step(*batch))
        if watch is not None:
            watch(len(losses), step.parameters)
    if not losses:
        raise ValueError("batches must hold at least one batch, got none")
    return step.parameters, np.array([keras.ops.convert_to_numpy(value) for value in losses])
