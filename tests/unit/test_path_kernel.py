"""Path kernels of Keras models against NumPy, and kernel regression against an integrator."""

import numpy as np
import pytest
from scipy import integrate

keras = pytest.importorskip("keras")

from kexian_utils.optimisation import path_kernel  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]
# On JAX layers of Keras compute in 32 bits even with dtype float64.
NEAR = 1e-6 if keras.backend.backend() == "jax" else 1e-9
RNG = np.random.default_rng(8009)
X, Y, QUERY = RNG.normal(size=(5, 3)), RNG.normal(size=5), RNG.normal(size=(5, 3))


def network(outputs=1):
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="float64"),
            keras.layers.Dense(6, activation="tanh", dtype="float64"),
            keras.layers.Dense(outputs, dtype="float64"),
        ]
    )
    shapes = [w.shape for w in model.get_weights()]
    model.set_weights([np.random.default_rng(1).normal(size=shape) for shape in shapes])
    return model


def by_hand(model, x, output=0):
    """Outputs and gradients of the network above, by the chain rule."""
    w, b, v, c = model.get_weights()
    h = np.tanh(x @ w + b)
    d = (1 - h**2) * v[:, output]
    last = np.zeros((len(x), *v.shape))
    last[:, :, output] = h
    bias = np.zeros((len(x), len(c)))
    bias[:, output] = 1
    first = x[:, :, None] * d[:, None, :]
    parts = [first.reshape(len(x), -1), d, last.reshape(len(x), -1), bias]
    return h @ v[:, output] + c[output], np.hstack(parts)


@pytest.mark.parametrize(("outputs", "index"), [(3, 2)])
def test_features_against_the_chain_rule(outputs, index):
    model = network(outputs)
    function, theta = path_kernel.tangent_map(model, index)
    for mine, hand in zip(function(theta, X), by_hand(model, X, index or 0), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(mine), hand, rtol=NEAR, atol=NEAR)


def test_terms_against_numpy_and_their_sum():
    model = network()
    rate, before = 0.05, [np.array(w) for w in model.get_weights()]
    arguments = (model, lambda y, f: y - f, X, Y, QUERY)
    trace = path_kernel.path_kernel_trace(*arguments, learning_rate=rate, steps=6)
    for kept, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, old)
    np.testing.assert_allclose(
        trace.initial + trace.terms.sum(axis=1), trace.final, rtol=0, atol=NEAR
    )
    plain = path_kernel.path_kernel_trace(*arguments, learning_rate=rate, steps=6, nodes=0)
    terms = np.zeros((5, 5))
    for _ in range(6):  # the same by hand, in the same model
        f, features = by_hand(model, X)
        terms += rate * (Y - f) * (by_hand(model, QUERY)[1] @ features.T)
        move, weights = rate * (Y - f) @ features, model.get_weights()
        ends = np.cumsum([w.size for w in weights])
        parts = [m.reshape(w.shape) for m, w in zip(np.split(move, ends), weights, strict=False)]
        model.set_weights([w + m for w, m in zip(weights, parts, strict=True)])
    np.testing.assert_allclose(plain.terms, terms, rtol=10 * NEAR, atol=NEAR)
    np.testing.assert_allclose(plain.final, by_hand(model, QUERY)[0], rtol=10 * NEAR, atol=NEAR)
    assert plain.pulls.shape == (6, 5)
    assert np.abs(plain.initial + plain.terms.sum(axis=1) - plain.final).max() > 1e-3


def test_bad_arguments():
    with pytest.raises(ValueError, match="output_index must say"):
        path_kernel.tangent_map(network(2))
    with pytest.raises(ValueError, match="output_index"):
        path_kernel.tangent_map(network(2), 2)
    with pytest.raises(ValueError, match="must be built"):
        path_kernel.tangent_map(keras.Sequential([keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="trainable"):
        path_kernel.tangent_map(keras.Sequential([keras.Input((3,)), keras.layers.Flatten()]), 0)
    for wrong in ({"steps": 0}, {"learning_rate": 0.0}, {"nodes": -1}):
        settings = {"learning_rate": 0.1, "steps": 1} | wrong
        with pytest.raises(ValueError, match=next(iter(wrong))):
            path_kernel.path_kernel_trace(network(), np.subtract, X, Y, QUERY, **settings)
    with pytest.raises(ValueError, match="one length"):
        path_kernel.path_kernel_trace(
            network(), np.subtract, X, Y[1:], QUERY, learning_rate=0.1, steps=1
        )


@pytest.mark.parametrize("time", [0.0, 0.3, 20.0])
def test_kernel_regression_against_an_integrator(time):
    features = RNG.normal(size=(9, 6))
    k_train, k_query = features[:5] @ features[:5].T, features[5:] @ features[:5].T
    found = path_kernel.kernel_regression(k_train, k_query, Y, time)
    if not time:
        np.testing.assert_array_equal(found, 0)
        return

    def flow(t, state):
        return np.concatenate([-k_train @ state[:5], k_query @ state[:5]])

    end = integrate.solve_ivp(
        flow, (0, time), np.append(Y, np.zeros(4)), method="Radau", rtol=1e-10, atol=1e-12
    ).y[5:, -1]
    np.testing.assert_allclose(found, end, rtol=1e-6, atol=1e-8)


def test_kernel_regression_to_the_end():
    features = RNG.normal(size=(9, 6))
    k_train, k_query = features[:5] @ features[:5].T, features[5:] @ features[:5].T
    found = path_kernel.kernel_regression(k_train, k_query, Y)
    np.testing.assert_allclose(found, k_query @ np.linalg.solve(k_train, Y), rtol=1e-9)
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        path_kernel.kernel_regression(np.ones((2, 2)), np.ones((1, 2)), Y[:2])
    assert np.isfinite(path_kernel.kernel_regression(np.ones((2, 2)), np.ones((1, 2)), Y[:2], 3.0))
    for k, q, r, time, word in (
        (np.eye(3), np.ones((1, 2)), Y[:2], None, "shapes"),
        (-np.eye(2), np.ones((1, 2)), Y[:2], None, "positive semidefinite"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones((1, 2)), Y[:2], 1.0, "symmetric"),
        (np.eye(2), np.ones((1, 2)), Y[:2], -1.0, "time"),
        (np.eye(2), np.ones((1, 2)), [np.nan, 1.0], 1.0, "residual"),
    ):
        with pytest.raises(ValueError, match=word):
            path_kernel.kernel_regression(k, q, r, time)
