"""Gated convolutions and attention pooling against NumPy loops; once more on JAX."""

import numpy as np
import pytest
from scipy.special import expit, softmax

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils.layers import AttentionPooling1D, DilatedGatedConv1D  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.in_turn("kexian_utils/layers", phase="jax")]

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 20, 5)).astype("float32")
MASK = np.arange(20) < np.array([[20], [13], [1]])


def array(value):
    return ops.convert_to_numpy(value)


def built(filters=5, **options):
    """A layer with random weights, biases included."""
    layer = DilatedGatedConv1D(filters, **options)
    layer.build(X.shape)
    for weight in layer.trainable_weights:
        weight.assign(0.4 * rng.normal(size=weight.shape))
    return layer


def convolved(x, kernel, bias, rate):
    """Position by position and tap by tap: zeros outside."""
    n, taps = x.shape[1], len(kernel)
    result = np.zeros((*x.shape[:2], kernel.shape[-1])) + bias
    for i in range(n):
        for t in range(taps):
            j = i + rate * (t - (taps - 1) // 2)
            if 0 <= j < n:
                result[:, i] += x[:, j] @ kernel[t]
    return result


def reference(layer, x, mask=None):
    shown = np.ones(x.shape[:2]) if mask is None else mask
    x = x * shown[..., None]
    kernel, bias = (array(w).astype(float) for w in layer.convolution.weights)
    value, logits = np.split(convolved(x, kernel, bias, layer.dilation_rate), 2, axis=-1)
    gate = expit(logits)
    if layer.projection is not None:
        w, b = (array(w).astype(float) for w in layer.projection.weights)
        x = x @ w[0] + b
    if layer.residual is None:
        result = value * gate
    elif layer.residual == "additive":
        result = x + value * gate
    else:
        result = x * (1 - gate) + value * gate
    return result * shown[..., None]


@pytest.mark.parametrize("residual", ["highway", "additive", None])
@pytest.mark.parametrize("rate", [1, 2, 8])
def test_against_loops(residual, rate):
    for filters, mask in ((5, None), (5, MASK), (4, MASK)):
        layer = built(filters, residual=residual, dilation_rate=rate)
        np.testing.assert_allclose(array(layer(X, mask=mask)), reference(layer, X, mask), atol=1e-5)


def test_even_kernels_without_a_residual():
    layer = built(residual=None, kernel_size=4)
    np.testing.assert_allclose(array(layer(X)), reference(layer, X), atol=1e-5)


@pytest.mark.parametrize("rate", [1, 2, 8])
def test_both_residuals_are_the_same_functions(rate):
    """Article 6906, (3) and (4): add the identity to the centre tap."""
    additive = built(residual="additive", dilation_rate=rate)
    highway = built(residual="highway", dilation_rate=rate)
    kernel, bias = (array(w).copy() for w in additive.convolution.weights)
    kernel[1, :, :5] += np.eye(5)
    highway.convolution.set_weights([kernel, bias])
    np.testing.assert_allclose(
        array(highway(X, mask=MASK)), array(additive(X, mask=MASK)), atol=1e-5
    )


def test_padding_changes_nothing():
    stack = [built(dilation_rate=rate) for rate in (1, 2, 4)]
    pool = AttentionPooling1D()

    def run(x, mask):
        for layer in stack:
            x = layer(x, mask=mask)
        return array(x), array(pool(x, mask=mask))

    states, pooled = run(X, MASK)
    noise = rng.normal(size=(3, 20, 5)).astype("float32")  # not even zeros
    longer = np.concatenate([X, noise], axis=1)
    padded, pooled_too = run(longer, np.pad(MASK, [(0, 0), (0, 20)]))
    np.testing.assert_allclose(padded[:, :20], states, atol=1e-5)
    assert not padded[:, 20:].any()
    np.testing.assert_allclose(pooled_too, pooled, atol=1e-5)


def test_number_of_parameters():
    assert built(7).count_params() == 6 * 5 * 7 + 2 * 7 + 5 * 7 + 7  # with the projection
    assert built(5).count_params() == 6 * 25 + 10
    pool = AttentionPooling1D()
    pool.build((None, None, 5))
    assert pool.count_params() == 25 + 5


def test_gates_are_disturbed_in_training_only():
    layer = DilatedGatedConv1D(2, residual=None, gate_dropout=0.25, seed=1)
    x = np.ones((50, 40, 1), "float32")
    layer.build(x.shape)
    layer.convolution.set_weights([np.zeros((3, 1, 4)), np.array([1.0, 1.0, 2.0, 2.0])])
    found = array(layer(x, training=True))
    half, rest = np.isclose(found, 0.5), np.isclose(found, expit(2 / 0.75))
    assert np.all(half | rest)
    assert half.mean() == pytest.approx(0.25, abs=0.03)
    np.testing.assert_allclose(array(layer(x, training=False)), expit(2), atol=1e-6)

    noisy = DilatedGatedConv1D(2, residual=None, gate_noise=0.1, seed=1)
    noisy.build(x.shape)
    noisy.convolution.set_weights(layer.convolution.get_weights())
    logits = np.log(1 / (1 / array(noisy(x, training=True)).astype(float) - 1))
    assert 1.8 <= logits.min() < 1.82
    assert 2.18 < logits.max() <= 2.2001
    assert len(np.unique(logits)) > 1000
    np.testing.assert_allclose(array(noisy(x)), expit(2), atol=1e-6)


def test_pooling_against_softmax():
    pool = AttentionPooling1D(units=7)
    pool.build(X.shape)
    for weight in pool.weights:
        weight.assign(rng.normal(size=weight.shape))
    w, query = (array(v).astype(float) for v in pool.weights)
    scores = np.where(MASK[..., None], np.tanh(X @ w) @ query, -np.inf)
    expected = np.sum(softmax(scores, axis=1) * X, axis=1)
    np.testing.assert_allclose(array(pool(X, mask=MASK)), expected, atol=1e-5)
    np.testing.assert_allclose(array(pool(X))[0], expected[0], atol=1e-5)


def test_a_row_without_positions_is_zero():
    nothing = np.zeros((3, 20), bool)
    assert not array(AttentionPooling1D()(X, mask=nothing)).any()
    assert not array(built()(X, mask=nothing)).any()


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("mixed_float16", 1e-2), ("mixed_bfloat16", 5e-2)]
)
def test_half_precision(policy, tolerance):
    exact, pool = built(dilation_rate=2), AttentionPooling1D()
    half = DilatedGatedConv1D(5, dilation_rate=2, dtype=policy)
    half.build(X.shape)
    half.set_weights(exact.get_weights())
    pooled = pool(exact(X, mask=MASK), mask=MASK)
    half_pool = AttentionPooling1D(dtype=policy)
    half_pool.build(X.shape)
    half_pool.set_weights(pool.get_weights())
    for mask in (MASK, np.zeros_like(MASK)):
        found = array(ops.cast(half_pool(half(X, mask=mask), mask=mask), "float32"))
        assert np.isfinite(found).all()
        if mask is MASK:
            np.testing.assert_allclose(found, array(pooled), atol=tolerance)


def test_in_a_model_with_masks_saved_and_loaded(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    hidden = keras.layers.Embedding(9, 5, mask_zero=True)(ids)
    hidden = DilatedGatedConv1D(6, dilation_rate=2, gate_dropout=0.1)(hidden)
    model = keras.Model(ids, AttentionPooling1D(3)(hidden))
    short = np.array([[1, 2, 3, 4]])
    expected = array(model(short))
    np.testing.assert_allclose(array(model(np.pad(short, [(0, 0), (0, 5)]))), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(again(short)), expected)
    assert again.layers[2].get_config() == model.layers[2].get_config()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DilatedGatedConv1D(0), "filters must be a whole number of at least 1, got 0"),
        (lambda: DilatedGatedConv1D(3, dilation_rate=1.5), "dilation_rate must be"),
        (lambda: DilatedGatedConv1D(3, kernel_size=2), "kernel_size must be odd"),
        (lambda: DilatedGatedConv1D(3, residual="skip"), "residual must be one of .*'skip'"),
        (lambda: DilatedGatedConv1D(3, gate_dropout=1.0), "gate_dropout must be a finite"),
        (lambda: DilatedGatedConv1D(3, gate_noise=-0.1), "gate_noise must be a finite"),
        (lambda: DilatedGatedConv1D(3).build((None, 4)), r"shape \(batch, n, d\)"),
        (lambda: AttentionPooling1D(True), "units must be a whole number"),
        (lambda: AttentionPooling1D().build((None, 4)), r"shape \(batch, n, d\)"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
