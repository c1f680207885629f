"""The activations against their pieces in NumPy, their gradients, and a saved model."""

import numpy as np
import pytest
from scipy import stats

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.activations import x_laplace, x_min_exp  # noqa: E402

pytestmark = pytest.mark.backends

GRID = np.array([-1e4, -100, -30, -2, -1, -0.5, -1e-3, 0, 1e-3, 0.5, 1, 30, 88, 89, 1e4], "float32")


def slope(function, x):
    return ops.convert_to_numpy(autodiff.gradient(lambda z: ops.sum(function(z)))(x))


def test_x_min_exp_against_its_pieces():
    x = GRID.astype(float)
    below = np.exp(np.minimum(x, 0))
    found = ops.convert_to_numpy(x_min_exp(GRID))
    np.testing.assert_allclose(found, np.where(x < 0, x * below, x), rtol=1e-6, atol=1e-37)
    np.testing.assert_allclose(
        slope(x_min_exp, GRID), np.where(x < 0, (1 + x) * below, 1), rtol=1e-5, atol=1e-7
    )


def test_x_laplace_against_the_distribution():
    x = GRID.astype(float)
    gate, density = stats.laplace.cdf(x), stats.laplace.pdf(x)
    np.testing.assert_allclose(
        ops.convert_to_numpy(x_laplace(GRID)), x * gate, rtol=1e-6, atol=1e-37
    )
    expected = gate + x * density
    np.testing.assert_allclose(slope(x_laplace, GRID), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [x_min_exp, x_laplace])
def test_dtypes_shapes_and_nan(function):
    for dtype in ("float16", "float32"):
        result = function(ops.convert_to_tensor(GRID[3:10].reshape(1, 7), dtype))
        assert keras.backend.standardize_dtype(result.dtype) == dtype
        assert tuple(result.shape) == (1, 7)
    assert np.isnan(ops.convert_to_numpy(function(np.float32([np.nan])))).all()


@pytest.mark.parametrize("function", [x_min_exp, x_laplace])
def test_a_saved_model_knows_them(function, tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation=function)])
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), ops.convert_to_numpy(again(x)))
