"""First and second derivatives that work alike on Keras's TensorFlow and JAX backends.

Everything here takes a *point*, which is either one vector (the usual case in this book: all
parameters of a network, flattened) or a list of tensors, and returns derivatives of the same
structure. Functions are ordinary Python functions written with ``keras.ops``; their first argument
is the point, further arguments (data, targets) are passed through and not differentiated.

The PyTorch backend is not supported: every entry point says so in one sentence. Second-order
quantities are always obtained by automatic differentiation. Finite differences of gradients are
wrong for networks with ReLU units, where a step across a kink is amplified by the inverse step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = [
    "compiled",
    "flat_loss",
    "flatten_parameters",
    "gradient",
    "gradient_descent_step",
    "hessian_vector_product",
    "input_gradient",
    "value_and_gradient",
]

Point = Any  # one tensor, or a list of tensors


def _backend() -> str:
    """Return ``"tensorflow"`` or ``"jax"``; refuse any other Keras backend."""
    import keras

    name = keras.backend.backend()
    if name not in ("tensorflow", "jax"):
        raise RuntimeError(
            f"kexian_utils.autodiff supports the tensorflow and jax backends, not {name!r}: "
            "set KERAS_BACKEND=tensorflow (or jax) before Keras is imported"
        )
    return name


def _map(function: Callable, point: Point) -> Point:
    """Apply `function` to a tensor, or to each tensor of a list."""
    if isinstance(point, (list, tuple)):
        return [function(part) for part in point]
    return function(point)


def _scalar(value: Any) -> Any:
    """Return `value`, a tensor, if it has rank 0; raise ``ValueError`` otherwise."""
    if len(value.shape) != 0:
        raise ValueError(
            f"function must return a scalar to be differentiated, got shape {tuple(value.shape)}"
        )
    return value


def _check_callable(function: Any) -> None:
    if not callable(function):
        raise TypeError(f"function must be callable, got {type(function).__name__}")


def flatten_parameters(variables: Sequence[Any]) -> tuple[np.ndarray, Callable[[Any], list]]:
    """Put all entries of a list of variables into one vector.

    Args:
        variables: Keras variables, tensors or arrays; all of one floating dtype.

    Returns:
        A pair ``(vector, unflatten)``. `vector` is a NumPy array of shape ``(n,)``, the variables
        in order, each in row-major order. ``unflatten(v)`` cuts a vector of shape ``(n,)`` (NumPy
        array or tensor of the backend, also while a function is being traced) into a list of
        the original shapes. The round trip is exact, bit for bit.

    Raises:
        ValueError: if `variables` is empty, or holds more than one dtype, or a dtype that is not
            floating; and from ``unflatten`` if its argument does not have shape ``(n,)``.

    Examples:
        >>> vector, unflatten = flatten_parameters([np.ones((2, 2)), np.zeros(1)])
        >>> vector.tolist()
        [1.0, 1.0, 1.0, 1.0, 0.0]
        >>> [part.shape for part in unflatten(vector)]
        [(2, 2), (1,)]
    """
    variables = list(variables)
    if not variables:
        raise ValueError("variables must hold at least one variable, got an empty list")
    arrays = [_to_numpy(variable) for variable in variables]
    dtypes = sorted({str(array.dtype) for array in arrays})
    if len(dtypes) > 1:
        raise ValueError(f"variables must share one dtype, got {', '.join(dtypes)}")
    if "float" not in dtypes[0]:
        raise ValueError(f"variables must have a floating dtype, got {dtypes[0]}")
    shapes = [array.shape for array in arrays]
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    size = ends[-1]

    def unflatten(vector: Any) -> list:
        if tuple(vector.shape) != (size,):
            raise ValueError(f"vector must have shape ({size},), got {tuple(vector.shape)}")
        from keras import ops

        reshape = np.reshape if isinstance(vector, np.ndarray) else ops.reshape
        starts = [0, *ends[:-1]]
        return [
            reshape(vector[a:b], shape) for a, b, shape in zip(starts, ends, shapes, strict=True)
        ]

    return np.concatenate([array.reshape(-1) for array in arrays]), unflatten


def _to_numpy(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, (int, float, list, tuple)):
        return np.asarray(value)
    from keras import ops

    return ops.convert_to_numpy(value)


def value_and_gradient(function: Callable[..., Any]) -> Callable[..., tuple[Any, Point]]:
    """Return a function that computes ``(f(point, *args), gradient)``.

    Args:
        function: scalar-valued, written with ``keras.ops``; first argument is the point.

    Returns:
        A function of ``(point, *args)``. The gradient has the structure of the point; where
        `function` does not depend on a tensor of the point, its gradient is zero.

    Raises:
        TypeError: if `function` is not callable.
        ValueError: when called, if `function` does not return a scalar.
        RuntimeError: when called, if the backend is neither TensorFlow nor JAX.

    Examples:
        >>> from keras import ops
        >>> value, slope = value_and_gradient(lambda x: ops.sum(x * x))(ops.array([1.0, 2.0]))
        >>> float(value), ops.convert_to_numpy(slope).tolist()
        (5.0, [2.0, 4.0])
    """
    _check_callable(function)

    def evaluate(point: Point, *args: Any) -> tuple[Any, Point]:
        if _backend() == "jax":
            import jax

            point = _map(jax.numpy.asarray, point)
            return jax.value_and_grad(lambda p: _scalar(function(p, *args)))(point)
        import tensorflow as tf

        point = _map(tf.convert_to_tensor, point)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(point)
            value = _scalar(function(point, *args))
        return value, tape.gradient(value, point, unconnected_gradients="zero")

    return evaluate


def gradient(function: Callable[..., Any]) -> Callable[..., Point]:
    """Return a function that computes the gradient of `function` at its first argument.

    Arguments, result and errors as for :func:`value_and_gradient`, without the value.

    Examples:
        >>> from keras import ops
        >>> ops.convert_to_numpy(gradient(lambda x: ops.sum(x**3))(ops.array([1.0, 2.0]))).tolist()
        [3.0, 12.0]
    """
    evaluate = value_and_gradient(function)

    def evaluate_gradient(point: Point, *args: Any) -> Point:
        return evaluate(point, *args)[1]

    return evaluate_gradient


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Point]:
    r"""Return a function that computes :math:`\nabla^2 f(\theta)\,v` exactly.

    TensorFlow differentiates the inner product of gradient and vector once more (two nested
    tapes); JAX pushes the vector forward through the gradient (``jvp`` of ``grad``). Neither ever
    forms the matrix, and one product costs a few gradients (Pearlmutter, 1994).

    Args:
        function: scalar-valued, written with ``keras.ops``; first argument is the point.

    Returns:
        A function of ``(point, vector, *args)`` with `vector` of the point's structure and shapes.

    Raises:
        TypeError: if `function` is not callable.
        ValueError: when called, if shapes of point and vector differ or `function` does not
            return a scalar.
        RuntimeError: when called, if the backend is neither TensorFlow nor JAX.

    Examples:
        >>> from keras import ops
        >>> product = hessian_vector_product(lambda x: ops.sum(x**3))
        >>> ops.convert_to_numpy(product(ops.array([1.0, 2.0]), ops.array([1.0, 0.5]))).tolist()
        [6.0, 6.0]
    """
    _check_callable(function)
    evaluate_gradient = gradient(function)

    def product(point: Point, vector: Point, *args: Any) -> Point:
        if _backend() == "jax":
            import jax

            point = _map(jax.numpy.asarray, point)
            vector = _like(vector, point, jax.numpy.asarray)
            return jax.jvp(lambda p: evaluate_gradient(p, *args), (point,), (vector,))[1]
        import tensorflow as tf

        point = _map(tf.convert_to_tensor, point)
        vector = _like(vector, point, tf.convert_to_tensor)
        with tf.GradientTape(watch_accessed_variables=False) as outer:
            outer.watch(point)
            slope = evaluate_gradient(point, *args)
            pairs = zip(tf.nest.flatten(slope), tf.nest.flatten(vector), strict=True)
            inner = tf.add_n([tf.reduce_sum(g * v) for g, v in pairs])
        return outer.gradient(inner, point, unconnected_gradients="zero")

    return product


def _like(vector: Point, point: Point, convert: Callable) -> Point:
    """Convert `vector` to tensors with the dtypes of `point`; refuse other shapes."""
    listed = isinstance(point, list)
    if listed != isinstance(vector, (list, tuple)) or (listed and len(point) != len(vector)):
        raise ValueError("vector must have the structure of the point")
    pairs = zip(vector, point, strict=True) if listed else [(vector, point)]
    result = []
    for part, target in pairs:
        part = convert(part, dtype=target.dtype)
        if tuple(part.shape) != tuple(target.shape):
            raise ValueError(
                f"vector must have the shape of the point, {tuple(target.shape)}, "
                f"got {tuple(part.shape)}"
            )
        result.append(part)
    return result if listed else result[0]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of tensors: ``tf.function`` on TensorFlow, ``jax.jit`` on JAX.

    Arguments may be tensors, NumPy arrays, Python numbers or lists of them. Python floats become
    tensors first (of the first floating argument's dtype), so that a new learning rate does not
    compile anew; the function is compiled once per combination of shapes and dtypes.

    Raises:
        TypeError: if `function` is not callable.
        RuntimeError: when called, if the backend is neither TensorFlow nor JAX.

    Examples:
        >>> from keras import ops
        >>> total = compiled(lambda x: ops.sum(x))
        >>> float(total(np.ones(3)))
        3.0
    """
    _check_callable(function)
    cache: dict[Any, Callable] = {}

    def call(*args: Any) -> Any:
        float_type = _float_type(args)
        tensors = [_map(lambda value: _as_tensor(value, float_type), arg) for arg in args]
        if _backend() == "jax":
            import jax

            if "jax" not in cache:
                cache["jax"] = jax.jit(function)
            return cache["jax"](*tensors)
        import tensorflow as tf

        # One concrete function per signature. Calling `tf.function` itself with several batch
        # sizes would do the same, and warn of "excessive retracing" on the way.
        signature = tuple((tuple(t.shape), t.dtype) for t in tf.nest.flatten(tensors))
        if signature not in cache:
            cache[signature] = tf.function(function).get_concrete_function(*tensors)
        return cache[signature](*tensors)

    return call


def _float_type(args: Sequence[Any]) -> str:
    """Return the dtype of the first floating array among `args`, else Keras's float type."""
    from keras import backend

    for arg in args:
        for value in arg if isinstance(arg, (list, tuple)) else [arg]:
            dtype = backend.standardize_dtype(value.dtype) if hasattr(value, "dtype") else ""
            if "float" in dtype:
                return dtype
    return backend.floatx()


def _as_tensor(value: Any, float_type: str) -> Any:
    from keras import ops

    if isinstance(value, float) and not isinstance(value, np.generic):
        return ops.convert_to_tensor(value, dtype=float_type)
    if isinstance(value, (int, bool, np.ndarray, np.generic)):
        return ops.convert_to_tensor(value)
    return value


def gradient_descent_step(function: Callable[..., Any]) -> Callable[..., tuple[Point, Any, Point]]:
    r"""Return a compiled step of gradient descent, :math:`\theta\leftarrow\theta-\eta\nabla f`.

    Args:
        function: scalar-valued, written with ``keras.ops``; first argument is the point.

    Returns:
        A compiled function of ``(point, learning_rate, *args)`` that returns ``(new point,
        f(point), gradient at point)``: value and gradient belong to the point *before* the step.
        One compiled function serves all seeds and learning rates.

    Examples:
        >>> from keras import ops
        >>> step = gradient_descent_step(lambda x: ops.sum(x * x))
        >>> moved, value, slope = step(np.array([1.0, 2.0]), 0.25)
        >>> ops.convert_to_numpy(moved).tolist(), float(value)
        ([0.5, 1.0], 5.0)
    """
    evaluate = value_and_gradient(function)

    def step(point: Point, learning_rate: Any, *args: Any) -> tuple[Point, Any, Point]:
        value, slope = evaluate(point, *args)
        if isinstance(point, (list, tuple)):
            moved = [p - learning_rate * g for p, g in zip(point, slope, strict=True)]
        else:
            moved = point - learning_rate * slope
        return moved, value, slope

    return compiled(step)


def flat_loss(
    model: Any, loss: Callable[[Any, Any], Any], training: bool = True
) -> tuple[Callable[..., Any], np.ndarray, Callable[[Any], list]]:
    """Turn a Keras model into a pure function of one vector of parameters.

    The model is called through ``stateless_call``; what a layer would store (the moving averages
    of batch normalization) is computed and dropped. Probing a network therefore uses the batch
    statistics that training uses, and leaves its moving averages bit-identical.

    Args:
        model: a built Keras model.
        loss: ``loss(targets, outputs)``, returns a tensor; its mean over all entries is taken.
        training: passed to the model.

    Returns:
        ``(function, theta, unflatten)``: ``function(theta, inputs, targets)`` is the mean loss,
        `theta` a NumPy vector with the model's present trainable parameters, and `unflatten` as
        from :func:`flatten_parameters`.

    Raises:
        ValueError: if the model is not built or has no trainable parameters.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> squares = lambda targets, outputs: (targets - outputs) ** 2
        >>> function, theta, unflatten = flat_loss(model, squares)
        >>> theta.shape
        (2,)
        >>> inputs, targets = np.eye(2, dtype="float32"), np.ones((2, 1), dtype="float32")
        >>> float(function(np.zeros(2, dtype="float32"), inputs, targets))
        1.0
    """
    if not getattr(model, "built", False):
        raise ValueError("model must be built (call it once, or give it an Input)")
    if not model.trainable_variables:
        raise ValueError("model must have trainable variables, got none")
    theta, unflatten = flatten_parameters(model.trainable_variables)
    state = list(model.non_trainable_variables)

    def function(point: Any, inputs: Any, targets: Any) -> Any:
        from keras import ops

        outputs, _ = model.stateless_call(
            unflatten(point), [v.value for v in state], inputs, training=training
        )
        return ops.mean(loss(targets, outputs))

    return function, theta, unflatten


def input_gradient(loss_fn: Callable[[Any, Any], Any], x: Any, y: Any) -> Any:
    """Gradient of every sample's own loss with respect to its own input.

    Args:
        loss_fn: ``loss_fn(x, y)``, written with ``keras.ops``; one loss per sample, shape
            ``(batch,)`` or, for a stack of networks, ``(R, batch)``. No sample's loss may depend
            on another sample's input (as behind batch normalization).
        x: inputs of a floating dtype.
        y: passed on to `loss_fn`.

    Returns:
        Shape and dtype of `x`. It is differentiable with respect to what `loss_fn` closes over.

    Raises:
        ValueError: `loss_fn` returns a scalar.

    Examples:
        >>> from keras import ops
        >>> losses = lambda x, y: ops.sum(y * x * x, axis=-1)
        >>> x, y = ops.array([[1.0, 2.0], [3.0, 0.0]]), ops.array([[1.0, 1.0], [2.0, 2.0]])
        >>> ops.convert_to_numpy(input_gradient(losses, x, y)).tolist()
        [[2.0, 4.0], [12.0, 0.0]]
    """

    def total(x: Any) -> Any:
        from keras import ops

        losses = loss_fn(x, y)
        if len(losses.shape) == 0:
            raise ValueError(
                "loss_fn must return one loss per sample, got a scalar: a mean over the batch "
                "would divide every gradient by the size of the batch"
            )
        return ops.sum(losses)

    return gradient(total)(x)
