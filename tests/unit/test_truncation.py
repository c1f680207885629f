"""Losses that let go of what is right, against plain NumPy, Keras's losses and limits."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff, datasets, losses  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]

rng = np.random.default_rng(0)
LABELS, LOGITS = rng.integers(0, 2, size=(40, 3)), 3 * rng.normal(size=(40, 3))
MARGINS = (2 * LABELS - 1) * LOGITS


def array(value):
    return ops.convert_to_numpy(value)


def slope(function, logits):
    found = autodiff.gradient(lambda x: ops.sum(function(LABELS, x)))(logits)
    return array(found) * (2 * LABELS - 1)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.9])
def test_hard_truncation_is_a_masked_cross_entropy(threshold):
    kept = MARGINS < np.log(threshold / (1 - threshold))
    loss = array(losses.hard_truncated_crossentropy(LABELS, LOGITS, threshold))
    np.testing.assert_allclose(loss, kept * -np.log(expit(MARGINS)), rtol=1e-10)
    found = slope(lambda y, x: losses.hard_truncated_crossentropy(y, x, threshold), LOGITS)
    np.testing.assert_allclose(found, -1.0 * kept * expit(-MARGINS), rtol=1e-10)


def test_hard_truncation_is_half_at_the_threshold():
    loss = array(losses.hard_truncated_crossentropy(np.array([1, 0]), np.zeros(2)))
    np.testing.assert_allclose(loss, np.log(2) / 2)


@pytest.mark.parametrize("margin", [0.55, 0.6, 0.95])
def test_the_margin_loss_is_the_continuous_form(margin):
    kept = MARGINS < np.log(margin / (1 - margin))
    loss = array(losses.margin_crossentropy(LABELS, LOGITS, margin))
    np.testing.assert_allclose(loss, np.maximum(0, np.log(margin / expit(MARGINS))), atol=1e-12)
    found = slope(lambda y, x: losses.margin_crossentropy(y, x, margin), LOGITS)
    np.testing.assert_allclose(found, -1.0 * kept * expit(-MARGINS), rtol=1e-10)


def test_the_margin_loss_tends_to_cross_entropy():
    loss = array(losses.margin_crossentropy(LABELS, LOGITS, 1 - 1e-9))
    np.testing.assert_allclose(loss, -np.log(expit(MARGINS)), atol=2e-9)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0, 5.0])
def test_soft_truncation_and_its_slope(sharpness):
    loss = array(losses.soft_truncated_crossentropy(LABELS, LOGITS, sharpness))
    value = expit(-sharpness * MARGINS) * -np.log(expit(MARGINS))
    np.testing.assert_allclose(loss, value, rtol=1e-10)
    h = 1e-6
    found = slope(lambda y, x: losses.soft_truncated_crossentropy(y, x, sharpness), LOGITS)
    ends = [expit(-sharpness * m) * -np.log(expit(m)) for m in (MARGINS - h, MARGINS + h)]
    np.testing.assert_allclose(found, (ends[1] - ends[0]) / (2 * h), atol=1e-7)
    assert (found < 0).all()


def test_sharpness_one_is_focal_loss():
    focal = keras.losses.BinaryFocalCrossentropy(gamma=1.0, from_logits=True, reduction=None)
    keras_loss = focal(LABELS.reshape(-1, 1) * 1.0, LOGITS.reshape(-1, 1))
    ours = losses.soft_truncated_crossentropy(LABELS, LOGITS)
    np.testing.assert_allclose(array(ours).ravel(), array(keras_loss), rtol=1e-4, atol=1e-6)


def test_a_sharp_soft_truncation_is_the_hard_one():
    away = np.abs(MARGINS) > 0.05
    soft = array(losses.soft_truncated_crossentropy(LABELS, LOGITS, 1e3))
    hard = array(losses.hard_truncated_crossentropy(LABELS, LOGITS))
    np.testing.assert_allclose(soft[away], hard[away], atol=1e-12)


def test_many_classes():
    scores, targets = 2 * rng.normal(size=(20, 5)), rng.integers(5, size=20)
    found = array(losses.categorical_soft_truncated_crossentropy(np.eye(5)[targets], scores, 3.0))
    rows = np.arange(20)
    weight = 1 - softmax(3 * scores, axis=1)[rows, targets]
    expected = weight * -log_softmax(scores, axis=1)[rows, targets]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)
    two = array(losses.categorical_soft_truncated_crossentropy(np.eye(2)[[0]], [[0.7, -0.4]], 3.0))
    one = array(losses.soft_truncated_crossentropy(np.array([1]), np.array([1.1]), 3.0))
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: losses.margin_crossentropy(LABELS, LOGITS, 0.5), "margin"),
        (lambda: losses.hard_truncated_crossentropy(LABELS, LOGITS, 1.0), "threshold"),
        (lambda: losses.soft_truncated_crossentropy(LABELS, LOGITS, 0.0), "sharpness"),
        (lambda: losses.margin_crossentropy(LABELS[:2], LOGITS), "shape"),
        (lambda: losses.margin_crossentropy(LABELS + 1, LOGITS), "labels 0 and 1, got 2"),
        (lambda: losses.MarginCrossentropy(0.4), "margin"),
    ],
)
def test_bad_arguments(call, word):
    with pytest.raises(ValueError, match=word):
        call()


def test_networks_of_the_article():
    (x, y), _ = datasets.imdb_reviews(20, 8, material="generated")
    assert sorted(np.unique(y)) == [0, 1]
    for kind in ("lstm", "cnn"):
        model = losses.sentiment_network(kind, 20, 8, units=3)
        assert model(x[:2]).shape == (2, 1)
    with pytest.raises(ValueError, match="kind"):
        losses.sentiment_network("gru", 20, 8)
