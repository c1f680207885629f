"""Losses for many labels against double sums, brute force, Keras's own losses and SciPy."""

import itertools

import numpy as np
import pytest
from scipy.special import expit, logsumexp

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import autodiff, losses  # noqa: E402

pytestmark = [
    pytest.mark.backends,
    pytest.mark.usefixtures("float64_on_jax"),
    pytest.mark.in_turn("kexian_utils/losses", phase="jax"),
]

rng = np.random.default_rng(0)
SCORES = 3 * rng.normal(size=(40, 6))
LABELS = rng.integers(0, 2, size=(40, 6))  # of integer dtype, some rows all 0 or all 1
LABELS[0], LABELS[1] = 0, 1


def array(value):
    return ops.convert_to_numpy(value)


def gradient(function, labels, scores):
    slope = autodiff.gradient(lambda s: ops.sum(function(labels, s)))(scores)
    return array(slope)


def by_pairs(labels, scores, threshold=0.0):
    """Log of one plus the sum over all wanted s_i < s_j, the threshold class among them."""
    found = []
    for y, s in zip(labels, scores, strict=True):
        low = [*s[y == 0], threshold]
        high = [*s[y == 1], threshold]
        # the pair (threshold, threshold) is the one
        found.append(np.log(sum(np.exp(a - b) for a in low for b in high)))
    return np.array(found)


def test_it_is_the_sum_over_pairs_with_the_threshold():
    loss = array(losses.multilabel_categorical_crossentropy(LABELS, SCORES))
    assert loss.shape == (40,)
    np.testing.assert_allclose(loss, by_pairs(LABELS, SCORES), rtol=1e-12)
    deep = losses.multilabel_categorical_crossentropy(
        LABELS.reshape(4, 5, 2, 6), SCORES.reshape(4, 5, 2, 6)
    )
    np.testing.assert_array_equal(array(deep).ravel(), loss)


def test_one_class_is_binary_crossentropy():
    ours = losses.multilabel_categorical_crossentropy(LABELS[:, :1], SCORES[:, :1])
    own = keras.losses.binary_crossentropy(LABELS[:, :1] * 1.0, SCORES[:, :1], from_logits=True)
    np.testing.assert_allclose(array(ours), array(own), rtol=1e-6)


def test_soft_labels():
    soft = rng.uniform(size=(40, 6))
    soft[:, 0], soft[:, 1] = 0, 1
    expected = np.log1p(np.sum(soft * np.exp(-SCORES), -1)) + np.log1p(
        np.sum((1 - soft) * np.exp(SCORES), -1)
    )
    loss = array(losses.multilabel_categorical_crossentropy(soft, SCORES))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    # Its minimum is at t = sigmoid(2 s).
    at_minimum = gradient(
        losses.multilabel_categorical_crossentropy, expit(2 * SCORES[:4] / 3), SCORES[:4] / 3
    )
    np.testing.assert_allclose(at_minimum, 0, atol=1e-12)


def test_gradient_is_a_softmax_with_the_threshold():
    slope = gradient(losses.multilabel_categorical_crossentropy, LABELS, SCORES)
    for y, s, g in zip(LABELS, SCORES, slope, strict=True):
        up, down = np.exp(s) * (y == 0), np.exp(-s) * (y == 1)
        np.testing.assert_allclose(g, up / (1 + up.sum()) - down / (1 + down.sum()), atol=1e-13)


def test_masked_scores_do_not_count_and_get_no_gradient():
    scores = SCORES.copy()
    scores[:, 2] = -np.inf
    scores[3] = -np.inf  # a whole sample
    kept = [0, 1, 3, 4, 5]
    loss = array(losses.multilabel_categorical_crossentropy(LABELS, scores))
    others = [i for i in range(40) if i != 3]
    np.testing.assert_allclose(
        loss[others],
        array(losses.multilabel_categorical_crossentropy(LABELS[:, kept], SCORES[:, kept]))[others],
        rtol=1e-13,
    )
    assert loss[3] == 0
    slope = gradient(losses.multilabel_categorical_crossentropy, LABELS, scores)
    assert np.isfinite(slope).all()
    assert not slope[:, 2].any()
    assert not slope[3].any()
    assert np.abs(slope[others][:, kept]).min() > 0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_large_scores_in_low_precision(dtype):
    scores = np.array([[80.0, -80.0, 30.0]], dtype)
    for labels in ([[1, 0, 0]], [[0, 1, 0]], [[1, 1, 1]]):
        labels = np.array(labels)
        value = array(losses.multilabel_categorical_crossentropy(labels, scores))
        expected = logsumexp([0, *scores[0][labels[0] == 0].astype(float)]) + logsumexp(
            [0, *-scores[0][labels[0] == 1].astype(float)]
        )
        assert value.dtype == dtype
        np.testing.assert_allclose(value, expected, rtol=2e-3)
        assert np.isfinite(gradient(losses.unified_pair_loss, labels, scores)).all()


def test_the_loss_class_trains_and_is_serialised(tmp_path):
    x = rng.normal(size=(64, 5)).astype("float32")
    y = (x @ rng.normal(size=(5, 4)) > 1).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.05), losses.MultilabelCategoricalCrossentropy())
    history = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    first = np.mean(np.log1p(y.sum(1)) + np.log1p(4 - y.sum(1)))  # at scores of zero
    assert history[0] < first
    assert history[-1] < 0.5 * first
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, losses.MultilabelCategoricalCrossentropy)
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0))


def test_lists_of_targets_give_the_same_as_zeros_and_ones():
    scores = SCORES[:, None, :] + np.zeros((1, 2, 1))
    targets = np.array([[rng.permutation(6)[:3] for _ in range(2)] for _ in range(40)])
    dense = np.zeros(scores.shape)
    np.put_along_axis(dense, targets, 1, axis=-1)
    ours = losses.sparse_multilabel_categorical_crossentropy(targets, scores)
    expected = losses.multilabel_categorical_crossentropy(dense, scores)
    np.testing.assert_allclose(array(ours), array(expected), rtol=1e-12)


def test_padded_lists_of_targets():
    padded = np.array([[3, 5, 0], [1, 0, 0], [0, 0, 0], [2, 4, 1]])
    dense = np.zeros((4, 6))
    np.put_along_axis(dense, padded, 1, axis=-1)
    far = SCORES[:4] + 60 * dense  # targets far ahead: a difference of sums would cancel
    for scores in (SCORES[:4], far):
        ours = losses.sparse_multilabel_categorical_crossentropy(padded, scores, mask_zero=True)
        expected = losses.multilabel_categorical_crossentropy(dense[:, 1:], scores[:, 1:])
        np.testing.assert_allclose(array(ours), array(expected), rtol=1e-12)
    sparse_slope = autodiff.gradient(
        lambda s: ops.sum(
            losses.sparse_multilabel_categorical_crossentropy(padded, s, mask_zero=True)
        )
    )(far)
    dense_slope = gradient(losses.multilabel_categorical_crossentropy, dense[:, 1:], far[:, 1:])
    np.testing.assert_allclose(array(sparse_slope)[:, 1:], dense_slope, atol=1e-14)
    assert not array(sparse_slope)[:, 0].any()


def test_empty_lists_of_targets():
    for mask_zero in (False, True):
        none = losses.sparse_multilabel_categorical_crossentropy(
            np.zeros((2, 0), int), np.ones((2, 3)), mask_zero
        )
        expected = np.log(1 + (2 if mask_zero else 3) * np.e)
        np.testing.assert_allclose(array(none), [expected, expected], rtol=1e-12)


def test_unified_pair_loss():
    for scale, margin in ((1.0, 0.0), (4.0, 0.25), (0.5, -1.0)):
        loss = array(losses.unified_pair_loss(LABELS, SCORES, scale, margin))
        for y, s, value in zip(LABELS, SCORES, loss, strict=True):
            pairs = [
                np.exp(scale * (a - b + margin)) for a, b in itertools.product(s[y == 0], s[y == 1])
            ]
            assert value == pytest.approx(np.log1p(sum(pairs)), rel=1e-12)
    slope = gradient(losses.unified_pair_loss, LABELS, SCORES)
    assert np.isfinite(slope).all()
    assert not slope[:2].any()  # no target, or nothing else
    np.testing.assert_allclose(slope.sum(axis=-1), 0, atol=1e-13)  # only differences count


def test_unified_pair_loss_with_one_target_is_softmax_crossentropy():
    classes = rng.integers(6, size=40)
    ours = losses.unified_pair_loss(np.eye(6)[classes], SCORES)
    own = keras.losses.sparse_categorical_crossentropy(classes, SCORES, from_logits=True)
    np.testing.assert_allclose(array(ours), array(own), rtol=1e-6)


@pytest.mark.parametrize("k_max", [0, 1, 4, 6])
def test_log_elementary_symmetric_by_brute_force(k_max):
    scores = SCORES[:5].reshape(5, 1, 6)
    logs = array(losses.log_elementary_symmetric(scores, k_max))
    assert logs.shape == (5, 1, k_max + 1)
    for row, values in zip(scores[:, 0], logs[:, 0], strict=True):
        for k in range(k_max + 1):
            sums = [sum(chosen) for chosen in itertools.combinations(row, k)]
            assert values[k] == pytest.approx(logsumexp(sums), rel=1e-13, abs=1e-13)


def test_log_elementary_symmetric_has_a_gradient_at_ties():
    # By symmetry each of n equal scores has the derivative k / n.
    for k in (1, 3, 5):
        slope = autodiff.gradient(lambda s, k=k: losses.log_elementary_symmetric(s, k)[k])(
            np.zeros(7)
        )
        np.testing.assert_allclose(array(slope), k / 7, rtol=1e-12)


def test_losses_work_compiled():
    for function in (losses.multilabel_categorical_crossentropy, losses.unified_pair_loss):
        compiled = autodiff.compiled(lambda y, s, f=function: f(y, s))
        np.testing.assert_allclose(
            array(compiled(LABELS, SCORES)), array(function(LABELS, SCORES)), rtol=1e-12
        )
    targets = np.array([[1, 2], [3, 0]])
    sparse = losses.sparse_multilabel_categorical_crossentropy
    compiled = autodiff.compiled(lambda y, s: sparse(y, s, mask_zero=True))
    np.testing.assert_allclose(
        array(compiled(targets, SCORES[:2])),
        array(sparse(targets, SCORES[:2], mask_zero=True)),
        rtol=1e-12,
    )


def test_bad_arguments():
    loss, sparse = (
        losses.multilabel_categorical_crossentropy,
        losses.sparse_multilabel_categorical_crossentropy,
    )
    for function in (loss, losses.unified_pair_loss):
        with pytest.raises(ValueError, match=r"y_true must have the shape of y_pred, \(40, 6\)"):
            function(LABELS[:, :5], SCORES)
        for wrong in (-0.5, 1.5, np.nan):
            labels = LABELS.astype(float)
            labels[3, 2] = wrong
            with pytest.raises(ValueError, match=rf"y_true must lie in \[0, 1\], got {wrong}"):
                function(labels, SCORES)
            with pytest.raises(ValueError, match="y_true must lie"):
                function(ops.convert_to_tensor(labels), SCORES)
    with pytest.raises(ValueError, match="scale must be a finite number above 0, got 0"):
        losses.unified_pair_loss(LABELS, SCORES, scale=0)
    with pytest.raises(ValueError, match="margin must be a finite number"):
        losses.unified_pair_loss(LABELS, SCORES, margin=np.inf)
    with pytest.raises(TypeError, match="integer dtype, got float"):
        sparse(np.zeros((40, 2)), SCORES)
    with pytest.raises(ValueError, match="indices from 0 to 5, got 6"):
        sparse(np.full((40, 2), 6), SCORES)
    with pytest.raises(ValueError, match="indices from 0 to 5, got -1"):
        sparse(np.full((40, 2), -1), SCORES)
    with pytest.raises(ValueError, match="same shape before the last axis"):
        sparse(np.zeros((39, 2), int), SCORES)
    for wrong in (-1, 7, 2.0, True):
        with pytest.raises(ValueError, match="k_max must be a whole number from 0 to 6"):
            losses.log_elementary_symmetric(SCORES, wrong)
    with pytest.raises(ValueError, match="got a scalar"):
        losses.log_elementary_symmetric(1.0, 1)
