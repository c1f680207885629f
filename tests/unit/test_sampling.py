"""The sampling layer: moments of its draws, its KL term against quadrature, its seed."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402
from scipy.integrate import quad  # noqa: E402
from scipy.stats import norm  # noqa: E402

from kexian_utils.layers import Sampling  # noqa: E402

pytestmark = pytest.mark.backends


def array(value):
    return ops.convert_to_numpy(value)


def kl_by_quadrature(mean, scale):
    p, q = norm(mean, scale), norm()
    low, high = mean - 12 * scale, mean + 12 * scale
    return quad(lambda z: p.pdf(z) * (p.logpdf(z) - q.logpdf(z)), low, high)[0]


def test_moments_of_the_draws():
    x = np.tile(np.array([[1.0, -2.0, np.log(0.25), np.log(4.0)]], "float32"), (20_000, 1))
    drawn = array(Sampling(seed=1)(x, training=True))
    np.testing.assert_allclose(drawn.mean(axis=0), [1, -2], atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), [0.5, 2], rtol=0.03)
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
    cold = array(Sampling(temperature=0.5, seed=1)(x, training=True))
    np.testing.assert_allclose(cold.std(axis=0), [0.25, 1], rtol=0.03)
    np.testing.assert_array_equal(array(Sampling(temperature=0.0)(x, training=True)), x[:, :2])


def test_at_inference_it_is_the_mean():
    x = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    np.testing.assert_array_equal(array(Sampling()(x)), x[:, :3])


def test_the_kl_term_is_the_integral():
    means, scales = np.array([[0.3, -2.0], [1.5, 0.0]]), np.array([[0.2, 1.0], [3.0, 1.0]])
    layer = Sampling(kl_weight=0.5)
    layer(np.concatenate([means, 2 * np.log(scales)], axis=1).astype("float32"))
    pairs = zip(means.ravel(), scales.ravel(), strict=True)
    expected = 0.5 * sum(kl_by_quadrature(m, s) for m, s in pairs) / 2
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)
    plain = Sampling()
    plain(np.ones((1, 2), "float32"))
    assert not plain.losses


def test_the_same_seed_draws_the_same_and_each_call_anew():
    x = np.zeros((4, 6), "float32")
    one, two = Sampling(seed=3), Sampling(seed=3)
    first = array(one(x, training=True))
    np.testing.assert_array_equal(first, array(two(x, training=True)))
    assert np.abs(first - array(one(x, training=True))).min() > 0


def test_a_vae_learns_one_number_with_it():
    """x is always 0: the best code is the prior, and the KL term falls to 0."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(2, bias_initializer="ones"), Sampling(1.0, seed=0)]
    )
    model.compile(keras.optimizers.Adam(0.05), lambda y, z: 0 * ops.sum(z, axis=-1))
    history = model.fit(np.zeros((8, 1)), np.zeros((8, 1)), epochs=200, verbose=0).history["loss"]
    assert history[0] > 0.5
    assert history[-1] < 1e-3


def test_what_it_refuses():
    with pytest.raises(ValueError, match="kl_weight"):
        Sampling(-1.0)
    with pytest.raises(ValueError, match="temperature"):
        Sampling(temperature=-0.5)
    for shape in ((2, 3), (2, 0), (4,)):
        with pytest.raises(ValueError, match="last axis"):
            Sampling()(np.zeros(shape, "float32"))
