"""Derivatives against closed forms; the file runs on TensorFlow, and once more on JAX."""

import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]


def test_the_backend_is_the_one_that_was_asked_for():
    """Else the phase on JAX would say nothing of JAX."""
    assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", "tensorflow")


def array(value):
    return ops.convert_to_numpy(value)


rng = np.random.default_rng(0)
FACTOR = rng.normal(size=(5, 5))
MATRIX = FACTOR + FACTOR.T
POINT, VECTOR = rng.normal(size=(2, 5))


def quartic(x):
    """x'Ax/2 + sum(x^4), whose derivatives have closed forms."""
    return ops.sum(x * ops.matmul(MATRIX, ops.reshape(x, (-1, 1)))[:, 0]) / 2 + ops.sum(x**4)


def two_parts(parts, scale):
    a, b = parts
    return scale * ops.sum(a**2) * ops.sum(b)


def small_model():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=1)),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(seed=2)),
        ]
    )
    return model


def squared(target, output):
    return ops.sum((output - target) ** 2, axis=-1)


def test_value_gradient_and_hessian_vector_product_of_a_quartic():
    value, slope = autodiff.value_and_gradient(quartic)(POINT)
    assert float(value) == pytest.approx(POINT @ MATRIX @ POINT / 2 + np.sum(POINT**4), abs=1e-12)
    np.testing.assert_allclose(array(slope), MATRIX @ POINT + 4 * POINT**3, atol=1e-12)
    np.testing.assert_array_equal(array(autodiff.gradient(quartic)(POINT)), array(slope))
    product = autodiff.hessian_vector_product(quartic)(POINT, VECTOR)
    np.testing.assert_allclose(array(product), MATRIX @ VECTOR + 12 * POINT**2 * VECTOR, atol=1e-12)


def test_lists_of_tensors():
    a, b = np.array([1.0, 2.0]), np.array([[3.0], [4.0]])
    value, (slope_a, slope_b) = autodiff.value_and_gradient(two_parts)([a, b], 2.0)
    assert float(value) == 70.0
    np.testing.assert_allclose(array(slope_a), 2 * 2 * a * 7)
    np.testing.assert_allclose(array(slope_b), np.full((2, 1), 2 * 5.0))
    u, v = np.array([1.0, -1.0]), np.array([[0.5], [1.0]])
    got_a, got_b = autodiff.hessian_vector_product(two_parts)([a, b], [u, v], 2.0)
    np.testing.assert_allclose(array(got_a), 4 * u * 7 + 4 * a * v.sum())
    np.testing.assert_allclose(array(got_b), np.full((2, 1), 4 * (a @ u)))


def test_independent_part_has_zero_gradient():
    slope = autodiff.gradient(lambda parts: ops.sum(parts[0] ** 2))([POINT, VECTOR])
    np.testing.assert_array_equal(array(slope[1]), np.zeros(5))


def test_compiled_agrees_and_serves_new_numbers():
    calls = []

    def scaled(x, rate):
        calls.append(1)  # runs while tracing only
        return rate * quartic(x)

    fast = autodiff.compiled(scaled)
    results = [float(fast(POINT, rate)) for rate in (1.0, 2.0, 3.0)]
    traced = len(calls)
    np.testing.assert_allclose(results, float(quartic(POINT)) * np.array([1, 2, 3]), rtol=1e-6)
    assert traced == 1
    fast(POINT[:4] @ np.ones((4, 5)) + POINT, 1.0)  # the same shape and dtype
    assert len(calls) == traced


def test_gradient_descent_step_on_vector_and_list():
    step = autodiff.gradient_descent_step(quartic)
    moved, value, slope = step(POINT, np.float64(0.1))
    np.testing.assert_allclose(array(moved), POINT - 0.1 * array(slope), atol=1e-12)
    assert float(value) == pytest.approx(float(quartic(POINT)))
    step = autodiff.gradient_descent_step(lambda parts: ops.sum(parts[0] ** 2))
    moved, _, _ = step([POINT, VECTOR], np.float64(0.5))
    np.testing.assert_allclose(array(moved[0]), np.zeros(5), atol=1e-12)
    np.testing.assert_allclose(array(moved[1]), VECTOR)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flatten_is_an_exact_round_trip(dtype):
    shapes = [(3, 4), (), (5,), (2, 1, 3)]
    arrays = [np.asarray(rng.normal(size=s), dtype=dtype) for s in shapes]
    vector, unflatten = autodiff.flatten_parameters(arrays)
    assert vector.shape == (24,)
    assert vector.dtype == dtype
    for back in (unflatten(vector), map(array, unflatten(ops.convert_to_tensor(vector)))):
        for original, part in zip(arrays, back, strict=True):
            assert part.shape == original.shape
            assert part.tobytes() == original.tobytes()


def test_flatten_refuses_bad_input():
    with pytest.raises(ValueError, match="at least one variable"):
        autodiff.flatten_parameters([])
    with pytest.raises(ValueError, match="share one dtype, got float32, float64"):
        autodiff.flatten_parameters([np.zeros(2, "float32"), np.zeros(2, "float64")])
    with pytest.raises(ValueError, match="floating dtype, got int64"):
        autodiff.flatten_parameters([np.zeros(2, "int64")])
    _, unflatten = autodiff.flatten_parameters([np.zeros(3)])
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(4,\)"):
        unflatten(np.zeros(4))


def test_bad_functions_and_vectors():
    for make in (autodiff.gradient, autodiff.hessian_vector_product, autodiff.compiled):
        with pytest.raises(TypeError, match="callable"):
            make("no function")
    with pytest.raises(ValueError, match="scalar"):
        autodiff.gradient(lambda x: x)(POINT)
    with pytest.raises(ValueError, match="shape of the point"):
        autodiff.hessian_vector_product(quartic)(POINT, VECTOR[:3])
    with pytest.raises(ValueError, match="structure of the point"):
        autodiff.hessian_vector_product(two_parts)([POINT, POINT], VECTOR, 1.0)


def test_flat_loss_agrees_with_the_model_and_leaves_its_state_alone():
    model = small_model()
    x, y = rng.normal(size=(16, 3)).astype("float32"), rng.normal(size=(16, 2)).astype("float32")
    loss, theta, unflatten = autodiff.flat_loss(model, squared)
    before = [array(v).tobytes() for v in model.variables]
    slope = array(autodiff.compiled(autodiff.gradient(loss))(theta, x, y))
    product = autodiff.compiled(autodiff.hessian_vector_product(loss))
    array(product(theta, slope, x, y))
    assert [array(v).tobytes() for v in model.variables] == before
    assert len(unflatten(theta)) == len(model.trainable_variables)

    def by_hand(theta):  # the same network in NumPy, with batch statistics
        w, b, gamma, beta, v, c = unflatten(theta)
        z = x @ w + b
        z = gamma * (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-3) + beta
        return np.mean(np.sum((np.maximum(z, 0) @ v + c - y) ** 2, axis=-1))

    assert float(loss(ops.convert_to_tensor(theta), x, y)) == pytest.approx(
        by_hand(theta.astype(float)), rel=1e-5
    )
    for direction in np.eye(len(theta))[[0, 13, 17, 21, 27, 29]]:
        shift = 1e-5 * direction
        expected = (by_hand(theta + shift) - by_hand(theta - shift)) / 2e-5
        assert slope @ direction == pytest.approx(expected, rel=2e-3, abs=2e-4)
    # At inference the moving averages are used, so the loss is another.
    calm, _, _ = autodiff.flat_loss(model, squared, training=False)
    assert abs(float(calm(ops.convert_to_tensor(theta), x, y)) - by_hand(theta)) > 1e-3


def test_flat_loss_refuses_unusable_models():
    with pytest.raises(ValueError, match="built"):
        autodiff.flat_loss(keras.Sequential([layers.Dense(2)]), squared)
    with pytest.raises(ValueError, match="trainable"):
        autodiff.flat_loss(keras.Sequential([keras.Input((2,)), layers.ReLU()]), squared)


def test_other_backends_are_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="set KERAS_BACKEND=tensorflow"):
        autodiff.gradient(quartic)(POINT)
