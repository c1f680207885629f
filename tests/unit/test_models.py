"""Adversarial training in `fit` against closed forms and ordinary training; once more on JAX."""

import numpy as np
import pytest
from scipy.special import expit

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils.models import AdversarialModel  # noqa: E402

pytestmark = [
    pytest.mark.backends,
    pytest.mark.in_turn("kexian_utils/models", "kexian_utils/robustness", phase="jax"),
]

V, D, N, EPSILON = 7, 3, 4, 0.8
TOKENS = np.array([[1, 2, 2, 5], [0, 1, 3, 3], [5, 5, 5, 5]])
LABELS = np.array([[1.0], [0.0], [1.0]])


def linear_reader(seed=0):
    return keras.Sequential(
        [
            keras.Input((N,), dtype="int32"),
            layers.Embedding(V, D, embeddings_initializer="uniform", name="words"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, kernel_initializer="ones"),
        ]
    )


def start(model, **options):
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model = AdversarialModel(model, "words", EPSILON, **options)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    return model


def by_hand(weights, mode):
    """Weights after a step of SGD with rate 0.5, the gradients worked out on paper."""
    table, kernel, bias = (np.array(w, dtype=float) for w in weights)
    slope_to_words = kernel[:, 0] / N  # of the logit, at every word
    logits = table[TOKENS].mean(1) @ kernel + bias
    error = expit(logits) - LABELS  # of each sample's own loss with respect to the logit
    if mode == "activations":
        unit = slope_to_words / np.linalg.norm(slope_to_words) / np.sqrt(N)
        delta = EPSILON * np.sign(error)[..., None] * np.tile(unit, (3, N, 1))
    else:
        matrix = np.zeros((V, D))
        np.add.at(matrix, TOKENS, np.broadcast_to(error[..., None] * slope_to_words, (3, N, D)))
        delta = (EPSILON * matrix / np.linalg.norm(matrix))[TOKENS]
    words = table[TOKENS] + delta
    error = (expit(words.mean(1) @ kernel + bias) - LABELS) / 3
    slope = np.zeros((V, D))
    np.add.at(slope, TOKENS, np.broadcast_to(error[..., None] * slope_to_words, (3, N, D)))
    new = table - 0.5 * slope, kernel - 0.5 * words.mean(1).T @ error, bias - 0.5 * error.sum(0)
    return new, np.sum(np.logaddexp(0, words.mean(1) @ kernel + bias) - LABELS * (
        words.mean(1) @ kernel + bias)) / 3  # fmt: skip


@pytest.mark.parametrize("mode", ["activations", "embedding matrix"])
def test_one_step_by_hand(mode):
    model = start(linear_reader(), mode=mode)
    before = model.get_weights()
    wanted, loss = by_hand(before, mode)
    logs = model.train_on_batch(TOKENS, LABELS, return_dict=True)
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)
    for mine, theirs in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    unused = [4, 6]  # tokens that are in no text: not a bit has changed
    assert np.array_equal(model.get_weights()[0][unused], before[0][unused])
    assert "call" not in vars(model.model.get_layer("words"))


def attacked_loss(batch, norm, policy="float32", scaled=False, reduction="sum_over_batch_size"):
    """The loss of one step of a linear model, and the weights after it."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential(
        [
            keras.Input((3,), dtype="float32"),
            layers.Identity(name="input", dtype="float32"),
            layers.Dense(1, dtype=policy, kernel_regularizer=keras.regularizers.L2(0.125)),
        ]
    )
    inner.set_weights([np.array([[0.5], [-1.0], [2.0]]), np.zeros(1)])
    model = AdversarialModel(inner, "input", 0.1, norm=norm)
    optimizer = keras.optimizers.SGD(0.0)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=32768.0)
    model.compile(optimizer, keras.losses.MeanSquaredError(reduction=reduction), jit_compile=False)
    x, y = STEPS[:batch], np.zeros((batch, 1), "float32")
    return model.train_on_batch(x, y)


STEPS = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")


@pytest.mark.parametrize(
    ("batch", "norm", "policy", "scaled", "reduction", "tolerance"),
    [
        *[(b, "none", "float32", False, "sum_over_batch_size", 1e-5) for b in (1, 4, 8)],
        *[(8, norm, "float32", True, "sum_over_batch_size", 1e-5) for norm in ("none", "l2")],
        *[(b, "none", "mixed_float16", True, "sum_over_batch_size", 3e-3) for b in (1, 8)],
        (8, "linf", "mixed_float16", True, "sum_over_batch_size", 3e-3),
        (4, "none", "float32", False, "sum", 1e-5),
    ],
)
def test_every_sample_is_moved_by_its_own_gradient(
    batch, norm, policy, scaled, reduction, tolerance
):
    kernel = np.array([0.5, -1.0, 2.0])
    score = STEPS[:batch].astype(float) @ kernel
    slope = 2 * score[:, None] * kernel
    unit = {
        "none": slope,
        "l2": slope / np.linalg.norm(slope, axis=1, keepdims=True),
        "linf": np.sign(slope),
    }[norm]
    moved = (STEPS[:batch] + 0.1 * unit) @ kernel
    regular = 0.125 * np.sum(kernel**2)
    found = attacked_loss(batch, norm, policy, scaled, reduction)
    over = np.sum if reduction == "sum" else np.mean
    assert found == pytest.approx(over(moved**2) + regular, rel=tolerance)


@pytest.mark.parametrize("mode", ["activations", "embedding matrix"])
def test_nothing_but_the_optimiser_moves_the_weights(mode):
    model = start(linear_reader(), mode=mode)
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(TOKENS, LABELS, batch_size=2, epochs=3, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


def noisy_reader():
    """A model with all kinds of state: dropout's seed and moving averages."""
    keras.utils.set_random_seed(7)
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Identity(name="input"),
            layers.Dense(5, activation="relu"),
            layers.Dropout(0.5, seed=1),
            layers.BatchNormalization(),
            layers.Dense(3),
        ]
    )


def test_epsilon_zero_is_ordinary_training_with_all_its_state():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 6)).astype("float32"), rng.integers(3, size=12)
    trained = []
    for wrap in (lambda m: m, lambda m: AdversarialModel(m, "input", 0.0)):
        model = wrap(noisy_reader())
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
        history = model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
        trained.append((model.get_weights(), history["loss"], model.predict(x, verbose=0)))
    for plain, adversarial in zip(trained[0][0], trained[1][0], strict=True):
        np.testing.assert_allclose(adversarial, plain, atol=1e-6)
    np.testing.assert_allclose(trained[1][1], trained[0][1], rtol=1e-5)
    np.testing.assert_allclose(trained[1][2], trained[0][2], atol=1e-5)


def test_it_trains_inputs_to_withstand_a_step():
    """Loss at an FGM step: lower after adversarial training than after ordinary training."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 6)).astype("float32"), rng.integers(3, size=60)
    attacked = {}
    for epsilon in (0.0, 0.5):
        keras.utils.set_random_seed(2)
        inner = keras.Sequential(
            [keras.Input((6,)), layers.Identity(name="input"), layers.Dense(20, "relu"),
             layers.Dense(3)]
        )  # fmt: skip
        model = AdversarialModel(inner, "input", epsilon)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.02), loss)
        model.fit(x, y, batch_size=20, epochs=40, verbose=0)
        from kexian_utils.autodiff import input_gradient
        from kexian_utils.robustness.adversarial import fgm_perturbation

        def samples(x, y, inner=inner):
            return keras.losses.sparse_categorical_crossentropy(y, inner(x), from_logits=True)

        step = fgm_perturbation(input_gradient(samples, x, y), 0.5)
        attacked[epsilon] = float(ops.mean(samples(x + step, y)))
    assert attacked[0.5] < 0.8 * attacked[0.0]


@pytest.mark.parametrize("mode", ["activations", "embedding matrix"])
def test_saved_and_loaded(mode, tmp_path):
    model = start(linear_reader(), mode=mode, norm="linf")
    model.train_on_batch(TOKENS, LABELS)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert (loaded.layer, loaded.epsilon, loaded.mode, loaded.norm) == (
        "words", EPSILON, mode, "linf"
    )  # fmt: skip
    assert np.array_equal(model.predict(TOKENS, verbose=0), loaded.predict(TOKENS, verbose=0))
    for each in (model, loaded):
        each.train_on_batch(TOKENS, LABELS)
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_bad_input():
    inner = linear_reader()
    with pytest.raises(ValueError, match=r"layer must be one of .words., .*, got 'nowhere'"):
        AdversarialModel(inner, "nowhere")
    with pytest.raises(ValueError, match="epsilon must be finite and at least 0, got -1"):
        AdversarialModel(inner, "words", -1)
    with pytest.raises(ValueError, match="mode must be one of .*, got 'weights'"):
        AdversarialModel(inner, "words", mode="weights")
    with pytest.raises(ValueError, match="norm must be one of .*, got 'l3'"):
        AdversarialModel(inner, "words", norm="l3")
    with pytest.raises(ValueError, match="needs an Embedding layer"):
        AdversarialModel(inner, inner.layers[-1].name, mode="embedding matrix")
    shared = layers.Dense(3, name="twice")
    entry = keras.Input((3,))
    twice = AdversarialModel(keras.Model(entry, shared(shared(entry))), "twice")
    twice.compile("sgd", "mse")
    with pytest.raises(ValueError, match="called once in the model, got 'twice', called 2 times"):
        twice.train_on_batch(np.ones((2, 3)), np.ones((2, 3)))
    assert "call" not in vars(shared)
