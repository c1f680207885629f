"""The normalised critic against formulas by hand, the variation against staircases."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.generative import jumps  # noqa: E402
from kexian_utils.layers import GradientNormalizedCritic  # noqa: E402

pytestmark = pytest.mark.backends

X = np.array([[1.0, 2.0], [-1.0, 0.5], [0.5, -3.0], [0.2, 0.1]], "float32")


def array(value):
    return ops.convert_to_numpy(value)


def linear(weights, bias, column=True):
    inner = [keras.Input((2,)), keras.layers.Dense(1)]
    critic = keras.Sequential(inner if column else [*inner, keras.layers.Reshape(())])
    critic.set_weights([np.array(weights, "float32")[:, None], np.array([bias], "float32")])
    return critic


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("kind", ["gn", "gran", "raw", "inner"])
def test_a_linear_critic_by_hand(kind, column):
    layer = GradientNormalizedCritic(linear([3.0, 4.0], 1.5, column), kind, epsilon=0.5)
    score = X @ [3.0, 4.0] + 1.5
    expected = {
        "gn": score / (5 + abs(score)),
        "gran": 5 * score / 25.5,
        "raw": score / 5,
        "inner": (score - 1.5) / 5,
    }[kind]
    found = array(layer(X))
    assert found.shape == ((4, 1) if column else (4,))
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-5)


def test_inside_a_piece_the_slope_is_that_of_equation_3():
    relu = keras.layers.Dense(16, activation="leaky_relu", bias_initializer="random_normal")
    critic = keras.Sequential([keras.Input((2,)), relu, keras.layers.Dense(1)])
    layer = GradientNormalizedCritic(critic)
    found = array(autodiff.gradient(lambda x: ops.sum(layer(x)))(X))
    slope = array(autodiff.gradient(lambda x: ops.sum(critic(x)))(X))
    n, score = np.linalg.norm(slope, axis=1), array(critic(X))[:, 0]
    expected = (n / (n + abs(score)) ** 2)[:, None] * slope
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    held = GradientNormalizedCritic(critic, stop_gradient_norm=True)
    again = array(autodiff.gradient(lambda x: ops.sum(held(x)))(X))
    np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["gn", "gran", "raw", "inner"])
def test_a_critic_that_is_zero_everywhere(kind):
    layer = GradientNormalizedCritic(linear([0.0, 0.0], 0.0), kind)
    assert not array(layer(X)).any()
    slope = array(autodiff.gradient(lambda x: ops.sum(layer(x)))(X))
    assert np.isfinite(slope).all()


def test_images_and_one_norm_per_sample():
    flat = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    flat.set_weights([np.full((4, 1), 1.5, "float32"), np.zeros(1, "float32")])
    found = array(GradientNormalizedCritic(flat, "raw")(np.ones((3, 2, 2, 1), "float32")))
    np.testing.assert_allclose(found, np.full((3, 1), 6 / 3), rtol=1e-6)


def test_what_it_refuses():
    with pytest.raises(TypeError, match="critic"):
        GradientNormalizedCritic(lambda x: x)
    with pytest.raises(ValueError, match="kind"):
        GradientNormalizedCritic(keras.layers.Dense(1), "spectral")
    with pytest.raises(ValueError, match="epsilon"):
        GradientNormalizedCritic(keras.layers.Dense(1), "gran", epsilon=0.0)
    for inner in (keras.layers.Dropout(0.1), keras.layers.BatchNormalization()):
        with pytest.raises(ValueError, match="own score"):
            GradientNormalizedCritic(keras.Sequential([inner, keras.layers.Dense(1)]))
    with pytest.raises(ValueError, match="one score per sample"):
        GradientNormalizedCritic(keras.layers.Dense(2))(X)


def test_a_staircase_is_all_jumps_and_a_line_none():
    x = np.linspace(0, 1, 1001)
    stairs = np.floor(10 * x + 1e-9)
    assert jumps.variation(stairs, np.zeros(1001), x) == jumps.SplitVariation(0.0, 10.0)
    found = jumps.variation(-3 * x, np.full(1001, -3.0), x)
    np.testing.assert_allclose(found, (3, 0), atol=1e-9)
    assert np.isnan(jumps.variation([1.0, 1.0], [0.0, 0.0], [0.0, 1.0]).share)


def test_the_example_of_the_chapter():
    x = np.linspace(-1, 1, 20_000)  # no point at 0
    score, n = np.where(x < 0, 1 + x, 1 + 3 * x), np.where(x < 0, 1.0, 3.0)
    found = jumps.variation(score / (n + abs(score)), n**2 / (n + abs(score)) ** 2, x)
    assert found.jumps == pytest.approx(0.25, abs=1e-3)
    assert found.inside == pytest.approx(0.5 + (4 / 7 - 1 / 4), abs=1e-3)
    in_plane = np.column_stack([0.6 * x, 0.8 * x])
    slopes = (n**2 / (n + abs(score)) ** 2)[:, None] * [0.6, 0.8]
    np.testing.assert_allclose(jumps.variation(score / (n + abs(score)), slopes, in_plane), found)


def test_what_variation_refuses():
    with pytest.raises(ValueError, match="finite"):
        jumps.variation([0.0, np.nan], [0.0, 0.0], [0.0, 1.0])
    with pytest.raises(ValueError, match="values"):
        jumps.variation([0.0], [0.0], [0.0])
    with pytest.raises(ValueError, match="slopes and points"):
        jumps.variation([0.0, 1.0], [0.0], [0.0, 1.0])
