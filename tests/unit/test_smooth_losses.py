"""Smooth stand-ins against SciPy, scikit-learn and brute force over subsets."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff, losses  # noqa: E402

pytestmark = [
    pytest.mark.backends,
    pytest.mark.usefixtures("float64_on_jax"),
    pytest.mark.in_turn("kexian_utils/losses/smooth.py", phase="jax"),
]

rng = np.random.default_rng(0)
X = rng.normal(size=(5, 7))


def array(value):
    return ops.convert_to_numpy(value)


def test_smooth_max_is_scipys_logsumexp():
    for sharpness in (0.3, 1, 10):
        found = array(losses.smooth_max(X, sharpness))
        np.testing.assert_allclose(found, logsumexp(sharpness * X, axis=-1) / sharpness, rtol=1e-12)
    np.testing.assert_allclose(
        array(losses.smooth_max(X, 2, axis=0)), logsumexp(2 * X, axis=0) / 2, rtol=1e-12
    )
    slope = autodiff.gradient(lambda x: ops.sum(losses.smooth_max(x, 3.0)))(X)
    np.testing.assert_allclose(array(slope), softmax(3 * X, axis=-1), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_large_scores(dtype):
    x = np.array([1e4, 1e4 - 8], dtype)
    np.testing.assert_allclose(array(losses.smooth_max(x, 50.0)), 1e4, rtol=1e-6)
    np.testing.assert_allclose(array(losses.soft_argmax(x, 50.0)), 0, atol=1e-6)
    assert array(losses.smooth_max(np.array([-np.inf, 2.0], dtype))) == 2
    assert array(losses.smooth_max(np.full(3, -np.inf, dtype))) == -np.inf
    z = np.array([[1e3, -1e3, 0.0]], dtype)
    for loss, y in (
        (losses.SoftAccuracyLoss(from_logits=True, dtype=dtype), np.array([1])),
        (losses.SoftF1Loss(from_logits=True, dtype=dtype), np.array([[0, 1, 1]], dtype)),
    ):
        value, slope = autodiff.value_and_gradient(lambda z, loss=loss, y=y: loss(y, z))(z)
        assert np.isfinite(array(value))
        assert np.isfinite(array(slope)).all()
        assert np.isnan(array(loss(y, np.array([[np.nan, 0, 1.0]], dtype))))


def test_soft_argmax_is_a_mean_position():
    expected = softmax(4 * X, axis=-1) @ np.arange(7)
    np.testing.assert_allclose(array(losses.soft_argmax(X, 4.0)), expected, rtol=1e-12)
    np.testing.assert_allclose(array(losses.soft_argmax(X, 1e3, base=1)), X.argmax(-1) + 1)
    np.testing.assert_allclose(array(losses.soft_argmax(X.T, 4.0, axis=0)), expected, rtol=1e-12)


def test_soft_accuracy_of_zeros_and_ones_is_accuracy():
    y, guess = rng.integers(4, size=(2, 50))
    hard = np.eye(4)[guess]
    for labels in (y, y[:, None], np.eye(4)[y]):
        np.testing.assert_allclose(array(losses.soft_accuracy(labels, hard)), np.mean(y == guess))
    p = softmax(rng.normal(size=(50, 4)), axis=-1)
    np.testing.assert_allclose(
        array(losses.soft_accuracy(y, p)), p[np.arange(50), y].mean(), rtol=1e-6
    )
    with pytest.raises(ValueError, match="y_true must have shape"):
        losses.soft_accuracy(y[:9], p)


def test_soft_accuracy_gradient_is_that_of_cross_entropy_times_the_probability():
    y, z = rng.integers(4, size=6), rng.normal(size=(6, 4))
    loss = losses.SoftAccuracyLoss(from_logits=True, reduction="sum", dtype="float64")
    p, right = softmax(z, axis=-1), np.eye(4)[y]
    expected = -(right * p).sum(-1, keepdims=True) * (right - p)
    slope = autodiff.gradient(lambda s: loss(y, s))(z)
    np.testing.assert_allclose(array(slope), expected, atol=1e-12)
    weights = np.array([1.0, 0, 2, 1, 0.5, 3])
    weighted = loss(y, z, sample_weight=weights)
    np.testing.assert_allclose(array(weighted), weights @ (1 - (right * p).sum(-1)), rtol=1e-12)


def test_soft_f1_of_zeros_and_ones_is_scikit_learns():
    from sklearn.metrics import f1_score

    y, guess = rng.integers(2, size=(2, 60))
    np.testing.assert_allclose(array(losses.soft_f1(y, guess)), f1_score(y, guess))
    both = array(losses.soft_f1(y[:, None], guess[:, None]))
    np.testing.assert_allclose(both, f1_score(y, guess))
    assert array(losses.soft_f1(np.zeros(3), np.zeros(3))) == 0
    assert array(losses.soft_f1(np.zeros((0, 1)), np.zeros((0, 1)))) == 0
    assert np.isnan(array(losses.soft_f1(np.zeros(2), np.array([np.nan, 0]))))
    with pytest.raises(ValueError, match="the shape of y_pred"):
        losses.soft_f1(y, guess[:, None])


def test_f1_loss_with_weights_masks_and_gradient():
    y, z, weights = np.array([1.0, 0, 1, 0]), rng.normal(size=4), np.array([1.0, 2, 0, 3])
    loss, p = losses.SoftF1Loss(from_logits=True, dtype="float64"), expit(z)
    F = 2 * (weights * y * p).sum() / (weights * (y + p)).sum()
    np.testing.assert_allclose(array(loss(y, z, sample_weight=weights)), 1 - F, rtol=1e-12)
    column = loss(y[:, None], z[:, None], sample_weight=weights)
    np.testing.assert_allclose(array(column), 1 - F, rtol=1e-12)
    masked = ops.convert_to_tensor(z)
    masked._keras_mask = ops.convert_to_tensor(weights > 0)
    expected = loss(y[weights > 0], z[weights > 0])
    np.testing.assert_allclose(array(loss(y, masked)), array(expected), rtol=1e-12)
    slope = autodiff.gradient(lambda s: loss(y, s))(z)
    F = 2 * (y * p).sum() / (y + p).sum()
    np.testing.assert_allclose(array(slope), -(2 * y - F) / (y + p).sum() * p * (1 - p), atol=1e-12)
    nothing_to_find = autodiff.gradient(lambda s: loss(0 * y, s))(z)
    assert not array(nothing_to_find).any()


@pytest.mark.parametrize("k", [1, 3, 6, 7])
def test_soft_topk_is_the_share_of_subsets(k):
    subsets = np.array([np.bincount(c, minlength=7) for c in combinations(range(7), k)])
    expected = softmax(X @ subsets.T, axis=-1) @ subsets
    np.testing.assert_allclose(array(losses.soft_topk(X, k)), expected, rtol=1e-10)
    np.testing.assert_allclose(array(losses.soft_topk(np.zeros(7), k)), k / 7, rtol=1e-6)
    assert np.isnan(array(losses.soft_topk(np.where(X == X[0, 0], np.nan, X), k))).any()


def test_soft_topk_recursive_follows_the_article():
    for x in X:
        y, p = x - x.min(), np.zeros(7)
        for _ in range(3):
            p = p + softmax((1 - p) * y)
        np.testing.assert_allclose(array(losses.soft_topk_recursive(x, 3)), p, rtol=1e-12)
    for bad in (0, 8, 2.0):
        with pytest.raises(ValueError, match="k must be"):
            losses.soft_topk(X, bad)
        with pytest.raises(ValueError, match="k must be"):
            losses.soft_topk_recursive(X, bad)


@pytest.mark.parametrize("make", [losses.smooth_max, losses.soft_argmax])
def test_bad_sharpness_is_refused(make):
    with pytest.raises(ValueError, match="sharpness must be"):
        make(X, 0)


def test_losses_train_and_are_serialised(tmp_path):
    x = rng.normal(size=(64, 5)).astype("float32")
    score = x @ rng.normal(size=5)
    for loss, y, units in (
        (losses.SoftAccuracyLoss(from_logits=True), (score > 0).astype("int32"), 2),
        (losses.SoftF1Loss(from_logits=True), (score > 1).astype("float32")[:, None], 1),
    ):
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(units)])
        model.compile(keras.optimizers.Adam(0.05), loss)
        history = model.fit(x, y, epochs=8, batch_size=64, verbose=0).history["loss"]
        assert history[-1] < history[0]
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        assert type(loaded.loss) is type(loss)
        assert loaded.loss.from_logits
        np.testing.assert_allclose(
            loaded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6
        )
