"""MitchellDense against NumPy's product, against Dense, and its gradient by hand."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.layers import MitchellDense, mitchell_dense  # noqa: E402
from kexian_utils.mathematics import mitchell  # noqa: E402

pytestmark = pytest.mark.backends

rng = np.random.default_rng(0)
A = rng.normal(size=(4, 5)).astype("float32")
B = rng.normal(size=(5, 3)).astype("float32")


def array(value):
    return ops.convert_to_numpy(value)


def test_single_products_are_those_of_numpy_bit_for_bit():
    p, q = ((rng.integers(0, 2**32, 3000, dtype=np.uint32)).view(np.float32) for _ in range(2))
    keep = np.isfinite(p) & np.isfinite(q)
    p, q = p[keep], q[keep]
    found = array(mitchell_dense.mitchell_matmul(p[:, None], np.ones((1, 1), "float32")))
    np.testing.assert_array_equal(found[:, 0], mitchell.mitchell_multiply(p, np.float32(1)))
    for i in range(0, 60, 2):  # sizes whose products vanish, stay and overflow
        pair = p[i : i + 1, None], q[i : i + 1, None]
        found = array(mitchell_dense.mitchell_matmul(*pair))[0, 0]
        np.testing.assert_array_equal(found, mitchell.mitchell_multiply(p[i], q[i]))


def test_layer_against_numpy_and_within_a_ninth_of_dense():
    layer = MitchellDense(3)
    dense = keras.layers.Dense(3)
    x = np.abs(A)
    layer(x), dense(x)
    weights = [np.abs(B), np.zeros(3, "float32")]
    layer.set_weights(weights)
    dense.set_weights(weights)
    found, exact = array(layer(x)), array(dense(x))
    np.testing.assert_allclose(found, mitchell.mitchell_matmul(x, np.abs(B)), rtol=1e-6)
    assert (found / exact).min() >= 8 / 9
    assert (found / exact).max() < 1


def test_gradient_is_backpropagation_with_mitchells_products():
    weight = rng.normal(size=(4, 3)).astype("float32")

    def loss(kernel):
        return ops.sum(mitchell_dense.mitchell_matmul(A, kernel) * weight)

    found = array(autodiff.gradient(loss)(B))
    np.testing.assert_allclose(found, mitchell.mitchell_matmul(A.T, weight), rtol=1e-5, atol=1e-6)

    def input_loss(x):
        return ops.sum(mitchell_dense.mitchell_matmul(x, B) * weight)

    found = array(autodiff.gradient(input_loss)(A))
    np.testing.assert_allclose(found, mitchell.mitchell_matmul(weight, B.T), rtol=1e-5, atol=1e-6)


def test_bits_without_keras_view(monkeypatch):
    monkeypatch.delattr(ops, "view", raising=False)
    found = array(mitchell_dense.mitchell_matmul(A, B))
    np.testing.assert_allclose(found, mitchell.mitchell_matmul(A, B), rtol=1e-5, atol=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError, match="units"):
        MitchellDense(0)
    with pytest.raises(ValueError, match="known last axis"):
        MitchellDense(2).build((None, None))
