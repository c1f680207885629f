"""Stacks of networks against Keras's own layers, losses and optimiser; once more on JAX."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.training import stacked  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.in_turn("kexian_utils/training", phase="jax")]

WIDTHS = (6, 5, 4, 3)


def rngs(count=2):
    return [np.random.default_rng(s) for s in range(count)]


def batches(runs, steps=8, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = rng.normal(size=(runs, 7, 6)).astype("float32")
        mask = 2.0 * rng.integers(2, size=(runs, 7, 5)).astype("float32")
        yield x, rng.integers(3, size=(runs, 7)), mask


def loss(parameters, x, labels, mask):
    return ops.sum(stacked.cross_entropy(stacked.mlp_logits(parameters, x, [mask]), labels))


def test_start_has_hes_variance():
    parameters = stacked.he_normal((400, 300, 200), rngs(3))
    assert [p.shape for p in parameters] == [(3, 400, 300), (3, 1, 300), (3, 300, 200), (3, 1, 200)]
    assert {p.dtype for p in parameters} == {np.dtype("float32")}
    assert parameters[0].std() == pytest.approx(np.sqrt(2 / 400), rel=0.01)
    assert parameters[2].std() == pytest.approx(np.sqrt(1 / 300), rel=0.01)
    assert not parameters[1].any()
    assert np.array_equal(parameters[0][0], stacked.he_normal((400, 300, 200), rngs(1))[0][0])
    with pytest.raises(ValueError, match=r"widths must be .*, got \(4,\)"):
        stacked.he_normal((4,), rngs())
    with pytest.raises(ValueError, match="rngs must hold"):
        stacked.he_normal((4, 3), [])


def test_one_network_trains_as_in_keras():
    parameters, seen = stacked.he_normal(WIDTHS, rngs()), {}
    taught, losses = stacked.train(loss, parameters, batches(2), 0.05, watch=seen.__setitem__)
    assert losses.shape == (8,)
    assert list(seen) == list(range(1, 9))
    for last, end, first in zip(seen[8], taught, seen[1], strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(last), ops.convert_to_numpy(end))
        assert (ops.convert_to_numpy(first) != ops.convert_to_numpy(end)).any()
    for r in range(2):
        model = keras.Sequential(
            [keras.Input((6,))]
            + [
                layers.Dense(n, activation=a)
                for n, a in zip(WIDTHS[1:], ("relu", "relu", None), strict=True)
            ]
        )
        model.set_weights([p[r].reshape(p[r].shape[-2:] if i % 2 == 0 else -1)
                           for i, p in enumerate(parameters)])  # fmt: skip
        first, *rest = model.layers
        optimizer = keras.optimizers.Adam(0.05)
        entry = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        def function(values, x, labels, mask, model=model, first=first, rest=rest, entry=entry):
            hidden, _ = first.stateless_call(values[:2], [], x)
            hidden = hidden * mask
            for i, layer in enumerate(rest):
                hidden, _ = layer.stateless_call(values[2 * i + 2 : 2 * i + 4], [], hidden)
            return entry(labels, hidden)

        slope = autodiff.gradient(function)
        for x, labels, mask in batches(2):
            values = [ops.convert_to_tensor(v) for v in model.get_weights()]
            optimizer.apply(slope(values, x[r], labels[r], mask[r]), model.trainable_variables)
        for mine, theirs in zip(taught, model.get_weights(), strict=True):
            np.testing.assert_allclose(
                ops.convert_to_numpy(mine)[r].reshape(theirs.shape), theirs, atol=2e-5
            )


def test_networks_of_a_stack_do_not_see_each_other():
    taught, _ = stacked.train(loss, stacked.he_normal(WIDTHS, rngs(3)), batches(3), 0.05)
    alone = ([part[1:2] for part in batch] for batch in batches(3))
    single, _ = stacked.train(loss, stacked.he_normal(WIDTHS, rngs(3)[1:2]), alone, 0.05)
    for together, own in zip(taught, single, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(together)[1], ops.convert_to_numpy(own)[0], atol=1e-5
        )


OPTIMIZERS = {
    "adam": lambda rate: keras.optimizers.Adam(rate, beta_1=0.5, beta_2=0.9),
    "momentum": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
    "rmsprop": lambda rate: keras.optimizers.RMSprop(rate),
    "decayed": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_in_one_compiled_step(name):
    """Against the optimizer's own eager step; the learning rate changes on the way."""
    parameters = stacked.he_normal(WIDTHS, rngs(2))
    step = stacked.StackTrainer(loss, parameters, OPTIMIZERS[name](0.05))
    optimizer = OPTIMIZERS[name](0.05)
    variables = [keras.Variable(p) for p in parameters]
    slope = autodiff.gradient(loss)
    for i, batch in enumerate(batches(2)):
        rate = 0.05 / (1 + i)
        value = step(*batch, learning_rate=rate)
        optimizer.learning_rate = rate
        values = [ops.convert_to_tensor(v) for v in variables]
        assert float(value) == pytest.approx(float(loss(values, *batch)), rel=1e-5)
        optimizer.apply(slope(values, *batch), variables)
    for mine, theirs in zip(step.parameters, variables, strict=True):
        found, wanted = ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs)
        np.testing.assert_allclose(found, wanted, atol=2e-5)


def adam_by_hand(parameters, rate, steps, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Adam's formula, compiled, with the parameters handed in and out."""
    evaluate = autodiff.value_and_gradient(loss)

    @autodiff.compiled
    def step(parameters, first, second, t, rate, *batch):
        _, slopes = evaluate(list(parameters), *batch)
        first = [m + (1 - beta_1) * (g - m) for m, g in zip(first, slopes, strict=True)]
        second = [v + (1 - beta_2) * (g * g - v) for v, g in zip(second, slopes, strict=True)]
        rate = rate * ops.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        moved = [
            p - rate * m / (ops.sqrt(v) + epsilon)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return moved, first, second

    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    for t, batch in enumerate(steps, 1):
        parameters, first, second = step(parameters, first, second, np.float32(t), rate, *batch)
    return parameters


def test_adam_is_its_formula_on_tensorflow_to_the_bit():
    parameters = stacked.he_normal(WIDTHS, rngs(3))
    taught, _ = stacked.train(loss, parameters, batches(3, 40), 0.01)
    for mine, wanted in zip(taught, adam_by_hand(parameters, 0.01, batches(3, 40)), strict=True):
        mine, wanted = ops.convert_to_numpy(mine), ops.convert_to_numpy(wanted)
        if keras.backend.backend() == "jax":  # XLA orders the operations of a program as it likes
            np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(mine, wanted)


def test_optimizers_that_would_mix_the_networks():
    parameters = stacked.he_normal(WIDTHS, rngs())
    for name in ("clipnorm", "global_clipnorm"):
        with pytest.raises(ValueError, match=f"must not set {name}"):
            stacked.StackTrainer(loss, parameters, keras.optimizers.SGD(0.1, **{name: 1.0}))
    used = keras.optimizers.SGD(0.1)
    stacked.StackTrainer(loss, parameters, used)
    with pytest.raises(ValueError, match="optimizer must be a new one"):
        stacked.StackTrainer(loss, parameters, used)
    with pytest.raises(ValueError, match="parameters must hold at least one array"):
        stacked.StackTrainer(loss, [], keras.optimizers.SGD(0.1))
    with pytest.raises(ValueError, match="optimizer must be a finite number above 0, got -1"):
        stacked.train(loss, parameters, batches(2), -1)


def test_one_input_serves_all_networks():
    parameters = stacked.he_normal(WIDTHS, rngs(3))
    x = np.random.default_rng(1).normal(size=(1, 7, 6)).astype("float32")
    shared = ops.convert_to_numpy(stacked.mlp_logits(parameters, x))
    assert shared.shape == (3, 7, 3)
    copied = stacked.mlp_logits(parameters, np.repeat(x, 3, axis=0))
    np.testing.assert_allclose(shared, ops.convert_to_numpy(copied), atol=1e-6)


def test_leaky_units_are_keras_leaky_relu():
    first, bias, last, end = parameters = stacked.he_normal((6, 5, 2), rngs())
    bias += np.linspace(-1, 1, 5, dtype="float32")
    x = np.random.default_rng(1).normal(size=(2, 7, 6)).astype("float32")
    expected = layers.LeakyReLU(0.2)(ops.matmul(x, first) + bias)
    found = stacked.mlp_logits(parameters, x, negative_slope=0.2)
    np.testing.assert_allclose(found, ops.matmul(expected, last) + end, atol=1e-5)
    assert np.abs(found - stacked.mlp_logits(parameters, x)).max() > 0.01


def test_no_batches():
    with pytest.raises(ValueError, match="batches must hold at least one"):
        stacked.train(loss, stacked.he_normal(WIDTHS, rngs()), [], 0.1)
