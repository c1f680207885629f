r"""What each training sample added to a prediction: the tangent kernel summed along training.

Gradient descent changes a prediction by a sum over the training samples, each with its pull (minus
the slope of its loss) times a similarity, the tangent kernel
:math:`K_\theta(x,x')=\langle\nabla_\theta f_\theta(x),\nabla_\theta f_\theta(x')\rangle`.
Equation numbers are those of the chapter on article 8009 (https://kexue.fm/archives/8009).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from kexian_utils import _checks, autodiff

__all__ = ["Trace", "kernel_regression", "path_kernel_trace", "tangent_map"]


class Trace(NamedTuple):
    """What :func:`path_kernel_trace` found.

    Attributes:
        initial: outputs for the queries before training, shape ``(q,)``.
        final: the same after training.
        terms: what each training sample added to each output, shape ``(q, n)``; the rows sum to
            ``final - initial``, exactly if `nodes` was positive and large enough.
        path_kernel: the kernel summed along training, times the learning rate, shape ``(q, n)``.
        pulls: the pulls of the training samples in each step, shape ``(steps, n)``.
        theta: the parameters after training, one vector.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> x, y = np.eye(2, dtype="float32"), np.array([1.0, -1.0])
        >>> found = path_kernel_trace(
        ...     model, lambda y, f: y - f, x, y, x, learning_rate=0.1, steps=3
        ... )
        >>> found.terms.shape, found.pulls.shape
        ((2, 2), (3, 2))
    """

    initial: np.ndarray
    final: np.ndarray
    terms: np.ndarray
    path_kernel: np.ndarray
    pulls: np.ndarray
    theta: np.ndarray


def tangent_map(
    model: Any, output_index: int | None = None
) -> tuple[Callable[[Any, Any], tuple[Any, Any]], np.ndarray]:
    r"""A Keras model's outputs with their gradients in all trainable parameters.

    Args:
        model: a built Keras model whose outputs have the shape ``(n, outputs)``. No sample's
            output may depend on another sample (as behind batch normalization in training); the
            model is called with ``training=False``.
        output_index: which output; may be left out if there is only one.

    Returns:
        ``(function, theta)``: `theta` is a NumPy vector of shape ``(P,)`` with the model's present
        parameters; ``function(theta, x)``, compiled, returns the outputs, shape ``(n,)``, and the
        tangent features :math:`\nabla_\theta f_\theta(x)`, shape ``(n, P)``. The inner products
        of the features are the tangent kernel. TensorFlow and JAX only.

    Raises:
        ValueError: the model is not built, has no trainable parameters, its outputs are not of
            rank 2, or `output_index` is missing or out of range.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
        >>> function, theta = tangent_map(model)
        >>> outputs, features = function(theta, np.array([[3.0, 4.0]], "float32"))
        >>> np.asarray(features).tolist()  # of a linear model: the input itself
        [[3.0, 4.0]]
    """
    shape = tuple(getattr(model, "output_shape", None) or ())
    if len(shape) != 2:
        raise ValueError(f"model must be built with outputs of shape (n, outputs), got {shape}")
    if output_index is None and shape[1] != 1:
        raise ValueError(f"output_index must say which of the {shape[1]} outputs is meant")
    index = _checks.whole("output_index", output_index or 0, 0, shape[1] - 1)
    if not model.trainable_variables:
        raise ValueError("model must have trainable variables, got none")
    theta, unflatten = autodiff.flatten_parameters(model.trainable_variables)
    state = list(model.non_trainable_variables)

    def outputs_of(point: Any, x: Any) -> Any:
        values, _ = model.stateless_call(
            unflatten(point), [v.value for v in state], x, training=False
        )
        return values[:, index]

    def with_features(point: Any, x: Any) -> tuple[Any, Any]:
        import keras

        if keras.backend.backend() == "jax":
            import jax

            return outputs_of(point, x), jax.jacrev(outputs_of)(point, x)
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(point)
            values = outputs_of(point, x)
        return values, tape.jacobian(values, point)

    return autodiff.compiled(with_features), theta


def path_kernel_trace(
    model: Any,
    pull: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x_train: Any,
    y_train: Any,
    x_query: Any,
    *,
    learning_rate: float,
    steps: int,
    nodes: int = 4,
    output_index: int | None = None,
) -> Trace:
    r"""Train by gradient descent on the sum of the losses, and book every sample's part.

    Each step adds :math:`\varepsilon\,\alpha_i\langle\int_0^1\nabla f_{\theta+s\Delta}(x)\,ds,
    \nabla f_\theta(x_i)\rangle` to the term of sample `i`, equation (6), with the integral by
    Gauss-Legendre quadrature. The model itself stays as it is.

    Args:
        model: a built Keras model, as for :func:`tangent_map`; with ``dtype="float64"`` the terms
            add up to rounding, on JAX to that of 32 bits, in which layers of Keras compute there.
        pull: ``pull(y, f)`` of shape ``(n,)``, minus the derivative of each sample's loss in the
            output; for half the squared error ``y - f``.
        x_train: training inputs, first axis n.
        y_train: targets, shape ``(n,)``.
        x_query: inputs whose outputs are followed, first axis q.
        learning_rate: :math:`\varepsilon`, positive.
        steps: number of steps, at least 1.
        nodes: of the quadrature; 0 takes the gradient at the beginning of each step, equation (2)
            as a sum, which is right to first order in the learning rate.
        output_index: which output, if there are several.

    Raises:
        ValueError: sizes, rate or numbers of steps and nodes outside their range.

    Examples:
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> x, y = np.eye(2, dtype="float32"), np.array([1.0, -1.0])
        >>> trace = path_kernel_trace(
        ...     model, lambda y, f: y - f, x, y, x, learning_rate=0.1, steps=5
        ... )
        >>> bool(np.allclose(trace.initial + trace.terms.sum(axis=1), trace.final, atol=1e-5))
        True
    """
    _checks.real("learning_rate", learning_rate, above=0)
    _checks.whole("steps", steps, 1)
    _checks.whole("nodes", nodes, 0)
    if len(x_train) != len(y_train) or not len(x_train) or not len(x_query):
        raise ValueError(
            "x_train and y_train must be of one length, and x_query not empty; got "
            f"{len(x_train)}, {len(y_train)} and {len(x_query)}"
        )
    from keras import ops

    evaluate, theta = tangent_map(model, output_index)

    def numpy_of(point: np.ndarray, x: Any) -> tuple[np.ndarray, np.ndarray]:
        outputs, features = evaluate(point, x)
        return ops.convert_to_numpy(outputs), ops.convert_to_numpy(features)

    places, weights = np.polynomial.legendre.leggauss(nodes) if nodes else ([-1.0], [2.0])
    initial, _ = numpy_of(theta, x_query)
    path_kernel = np.zeros((len(x_query), len(x_train)))
    terms, pulls = np.zeros_like(path_kernel), []
    for _ in range(steps):
        outputs, features = numpy_of(theta, x_train)
        alpha = np.asarray(pull(np.asarray(y_train), outputs))
        move = (learning_rate * alpha @ features).astype(theta.dtype)
        towards = sum(
            weight / 2 * numpy_of(theta + ((1 + place) / 2 * move).astype(theta.dtype), x_query)[1]
            for place, weight in zip(places, weights, strict=True)
        )
        kernel = learning_rate * towards @ features.T
        path_kernel += kernel
        terms += alpha * kernel
        pulls.append(alpha)
        theta = theta + move
    final, _ = numpy_of(theta, x_query)
    return Trace(initial, final, terms, path_kernel, np.array(pulls), theta)


def kernel_regression(
    k_train: np.ndarray, k_query: np.ndarray, residual: np.ndarray, time: float | None = None
) -> np.ndarray:
    r"""The change of the queries' outputs when a model with a fixed tangent kernel is trained.

    With squared loss :math:`\sum_i\frac12(f(x_i)-y_i)^2` and gradient flow the residuals on the
    training set obey :math:`\dot r=-Kr`, and the outputs elsewhere change by
    :math:`K(x,X)\,K^{-1}(I-e^{-KT})\,r_0`, equation (9).

    Args:
        k_train: kernel of the training inputs, shape ``(n, n)``, symmetric and positive
            semidefinite.
        k_query: kernel of queries and training inputs, shape ``(q, n)``.
        residual: targets minus initial outputs, shape ``(n,)``.
        time: learning rate times steps, at least 0; None trains to the end, which is
            interpolation by the kernel.

    Returns:
        Shape ``(q,)``.

    Raises:
        ValueError: the shapes do not fit, a value is not finite, `time` is negative, or `k_train`
            is not symmetric positive semidefinite.
        numpy.linalg.LinAlgError: `time` is None and `k_train` is singular.

    Examples:
        >>> kernel_regression(np.eye(2), np.array([[1.0, 0.0]]), np.array([2.0, 3.0])).tolist()
        [2.0]
    """
    k_train, k_query, residual = (
        _checks.finite(name, np.asarray(value, dtype=float))
        for name, value in (("k_train", k_train), ("k_query", k_query), ("residual", residual))
    )
    n = len(residual) if residual.ndim == 1 else 0
    if not n or k_train.shape != (n, n) or k_query.ndim != 2 or k_query.shape[1] != n:
        raise ValueError(
            "k_train, k_query and residual must have the shapes (n, n), (q, n) and (n,), got "
            f"{k_train.shape}, {k_query.shape} and {residual.shape}"
        )
    rates, axes = np.linalg.eigh(k_train)
    noise = 1e-10 * max(np.abs(rates).max(), np.finfo(float).tiny)
    if not np.allclose(k_train, k_train.T, rtol=1e-8, atol=noise) or rates[0] < -noise:
        raise ValueError(
            f"k_train must be symmetric positive semidefinite, its lowest eigenvalue is {rates[0]}"
        )
    if time is None:
        if rates[0] <= noise * 1e-4:
            raise np.linalg.LinAlgError(
                f"k_train is singular (eigenvalues {rates[0]:g} to {rates[-1]:g}): give a time, or "
                "add a ridge to its diagonal"
            )
        gains = 1 / rates
    else:
        _checks.real("time", time, least=0)
        rates = np.maximum(rates, 0)
        small = rates * time < 1e-12
        gains = np.where(small, time, -np.expm1(-rates * time) / np.where(small, 1, rates))
    return k_query @ (axes @ (gains * (axes.T @ residual)))
