"""Virtual adversarial steps and their model against NumPy by hand and SciPy; once more on JAX."""

import numpy as np
import pytest
from scipy.special import log_softmax, rel_entr, softmax

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.models import LabelledAndUnlabelled, VirtualAdversarialModel  # noqa: E402
from kexian_utils.robustness import virtual_adversarial as vat  # noqa: E402

pytestmark = [
    pytest.mark.backends,
    pytest.mark.usefixtures("float64_on_jax"),
    pytest.mark.in_turn("kexian_utils/models", "kexian_utils/robustness", phase="jax"),
]

RNG = np.random.default_rng(0)
W, V = RNG.normal(size=(5, 6)), RNG.normal(size=(6, 4))
X, START = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 5))


def tensor(x):
    return ops.convert_to_tensor(np.asarray(x), dtype="float64")


def numpy(x):
    return ops.convert_to_numpy(x)


def tanh(x):
    return 1 - 2 / (1 + ops.exp(2 * x))  # ops.tanh is of float32 on JAX


def network(x):
    return ops.matmul(tanh(ops.matmul(x, tensor(W))), tensor(V))


def jacobians(x):
    """Of the probabilities with respect to the input, (samples, classes, inputs), and those."""
    hidden = np.tanh(x @ W)
    slopes = np.einsum("kc,nk,dk->ncd", V, 1 - hidden**2, W)
    p = softmax(hidden @ V, axis=-1)
    return p[:, :, None] * (slopes - np.einsum("nc,ncd->nd", p, slopes)[:, None]), p


def test_kl_is_scipys():
    target, logits = RNG.normal(size=(2, 3, 4))
    wanted = rel_entr(softmax(target, -1), softmax(logits, -1)).sum(-1)
    np.testing.assert_allclose(
        numpy(vat.kl_from_logits(tensor(target), tensor(logits))), wanted, rtol=1e-10
    )
    one = numpy(
        vat.kl_from_logits(tensor(target[:, :1]), tensor(logits[:, :1]))
    )  # a sigmoid's score
    pairs = [np.concatenate([np.zeros((3, 1)), s[:, :1]], axis=-1) for s in (target, logits)]
    np.testing.assert_allclose(one, rel_entr(*softmax(pairs, axis=-1)).sum(-1), rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_kl_of_large_scores_is_finite(dtype):
    scores = ops.convert_to_tensor([[1e3, -1e3], [-1e3, 1e3]], dtype=dtype)
    value, slope = autodiff.value_and_gradient(lambda s: ops.sum(vat.kl_from_logits(s[::-1], s)))(
        scores
    )
    assert np.isfinite(numpy(slope)).all()
    assert float(value) == pytest.approx(4e3, rel=1e-3)


def test_the_direction_tends_to_the_top_eigenvector():
    slopes, p = jacobians(X)
    curvature = np.einsum("ncd,nc,nce->nde", slopes, 1 / p, slopes)
    top = np.linalg.eigh(curvature)[1][:, :, -1]
    found = numpy(
        vat.virtual_adversarial_direction(network, tensor(X), tensor(START), 1e-5, iterations=60)
    )
    np.testing.assert_allclose(np.abs(np.sum(found * top, axis=1)), 1, atol=1e-4)
    once = numpy(vat.virtual_adversarial_direction(network, tensor(X), tensor(START), 1e-5))
    by_hand = np.einsum("nde,ne->nd", curvature, START)
    by_hand /= np.linalg.norm(by_hand, axis=1, keepdims=True)
    np.testing.assert_allclose(once, by_hand, atol=1e-4)
    none = numpy(vat.virtual_adversarial_direction(network, tensor(X), tensor(START), iterations=0))
    np.testing.assert_allclose(none, START / np.linalg.norm(START, axis=1, keepdims=True))


def test_loss_and_its_gradient():
    table = tensor(W)

    def losses(w, stop):
        def inner(x):
            return ops.matmul(tanh(ops.matmul(x, w)), tensor(V))

        return ops.sum(
            vat.virtual_adversarial_loss(inner, tensor(X), tensor(START), 0.3, stop_target=stop)
        )

    unit = numpy(vat.virtual_adversarial_direction(network, tensor(X), tensor(START)))
    scores = [np.tanh(x @ W) @ V for x in (X, X + 0.3 * unit)]
    wanted = rel_entr(*(softmax(s, axis=-1) for s in scores)).sum()
    kept, full = (autodiff.value_and_gradient(losses)(table, stop) for stop in (True, False))
    assert float(kept[0]) == pytest.approx(wanted, rel=1e-9)

    def frozen(w, target_too):
        moved = np.tanh((X + 0.3 * unit) @ w) @ V
        target = np.tanh(X @ (w if target_too else W)) @ V
        return rel_entr(softmax(target, -1), softmax(moved, -1)).sum()

    for slope, target_too in ((kept[1], False), (full[1], True)):
        change = np.zeros_like(W)
        change[2, 3] = 1e-6
        difference = frozen(W + change, target_too) - frozen(W - change, target_too)
        assert numpy(slope)[2, 3] == pytest.approx(difference / 2e-6, rel=1e-5)


def test_jacobian_penalty_and_its_estimate():
    slopes, p = jacobians(X)
    wanted = np.einsum("ncd,nc->n", slopes**2, 1 / p)
    np.testing.assert_allclose(numpy(vat.jacobian_penalty(network, tensor(X))), wanted, rtol=1e-9)
    signs = 1 - 2 * ((np.arange(16)[:, None] >> np.arange(4)) & 1)  # all of four signs
    found = [numpy(vat.jacobian_penalty(network, tensor(X), tensor(s))) for s in signs]
    np.testing.assert_allclose(np.mean(found, axis=0), wanted, rtol=1e-9)


def test_a_flat_model_and_bad_arguments():
    flat = vat.virtual_adversarial_loss(lambda x: 0 * x, X, START)
    assert numpy(flat).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="epsilon"):
        vat.virtual_adversarial_loss(network, X, START, epsilon=-1.0)
    with pytest.raises(ValueError, match="xi"):
        vat.virtual_adversarial_direction(network, tensor(X), tensor(START), xi=0.0)
    with pytest.raises(ValueError, match="iterations"):
        vat.virtual_adversarial_direction(network, tensor(X), tensor(START), iterations=-1)
    with pytest.raises(ValueError, match="classes"):
        vat.kl_from_logits(np.zeros((1, 2)), np.zeros((1, 3)))


def linear(**options):
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4)])
    inner.set_weights([0.3 * W[:, :4], np.zeros(4)])
    model = VirtualAdversarialModel(inner, seed=1, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    return model


def test_a_step_on_labelled_and_unlabelled_samples():
    """Of a linear softmax, worked out by hand; the search is random only through its start."""
    model = linear(epsilon=0.7, iterations=40)
    kernel = model.get_weights()[0].astype(float)
    unlabelled, y = RNG.normal(size=(6, 5)), np.array([3, 0, 1])
    inputs = {"labelled": X.astype("float32"), "unlabelled": unlabelled.astype("float32")}
    loss = model.train_on_batch(inputs, y)
    p = softmax(unlabelled @ kernel, axis=-1)
    fisher = np.einsum("nc,cd->ncd", p, np.eye(4)) - p[:, :, None] * p[:, None, :]
    unit = np.linalg.eigh(kernel @ fisher @ kernel.T)[1][:, :, -1]
    # Both signs of the eigenvector are maxima; the sign is the start's.
    results = []
    for sign in (-1, 1):
        moved = unlabelled + sign * 0.7 * unit
        results.append((rel_entr(p, softmax(moved @ kernel, -1)).sum(-1), moved))
    supervised = -log_softmax(X @ kernel, axis=-1)[np.arange(3), y].mean()
    smooth = float(loss) - supervised if np.ndim(loss) == 0 else float(loss[0]) - supervised
    low, high = (np.mean(f([r[0] for r in results], axis=0)) for f in (np.min, np.max))
    assert low - 1e-3 < smooth < high + 1e-3
    assert low > 0.01
    new = model.get_weights()[0]
    plain = linear(weight=0.0)
    plain.train_on_batch(inputs, y)
    assert np.abs(new - plain.get_weights()[0]).max() > 1e-3
    assert model.evaluate(X, y, verbose=0)[0] == pytest.approx(
        -log_softmax(X @ new + model.get_weights()[1], axis=-1)[np.arange(3), y].mean(), rel=1e-4
    )  # without the smoothness


def test_fit_on_batches_of_both_and_on_words():
    x, y = RNG.normal(size=(7, 5)).astype("float32"), np.arange(7) % 4
    histories = []
    for _ in range(2):
        data = LabelledAndUnlabelled(x, y, np.repeat(x, 3, axis=0), 2, 5, seed=3)
        fitted = linear().fit(data, epochs=3, shuffle=False, verbose=0)
        histories.append(fitted.history["loss"])
    assert histories[0] == histories[1]
    assert histories[0][-1] < histories[0][0]
    words = keras.Sequential(
        [keras.Input((4,), dtype="int32"), layers.Embedding(9, 3, name="words"),
         layers.GlobalAveragePooling1D(), layers.Dropout(0.5), layers.BatchNormalization(),
         layers.Dense(1)]
    )  # fmt: skip
    model = VirtualAdversarialModel(words, layer="words", seed=0)
    model.compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))
    tokens = RNG.integers(9, size=(6, 4))
    assert np.isfinite(model.train_on_batch(tokens, np.ones((6, 1))))
    empty = model.smoothness(np.zeros((0, 4), "int32"))
    assert float(empty) == 0
    assert "call" not in vars(words.get_layer("words"))


def test_batches_of_both():
    data = LabelledAndUnlabelled(np.arange(4), np.arange(4), np.arange(10), 3, 2, seed=0)
    inputs, labels = zip(*(data[i] for i in range(len(data))), strict=True)
    assert sorted(np.concatenate([part["unlabelled"] for part in inputs])) == list(range(10))
    few = np.concatenate([part["labelled"] for part in inputs])
    assert np.array_equal(few, np.concatenate(labels))
    assert np.bincount(few).min() >= 3
    before = data[0][0]["unlabelled"]
    data.on_epoch_end()
    assert not np.array_equal(before, data[0][0]["unlabelled"])
    with pytest.raises(ValueError, match="labels"):
        LabelledAndUnlabelled(np.arange(4), np.arange(3), np.arange(10))
    with pytest.raises(ValueError, match="batch_size"):
        LabelledAndUnlabelled(np.arange(4), np.arange(4), np.arange(10), 5)


def test_the_model_refuses():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4)])
    for name, value in (("epsilon", -1.0), ("xi", 0.0), ("iterations", -1), ("layer", "none")):
        with pytest.raises(ValueError, match=name):
            VirtualAdversarialModel(inner, **{name: value})
