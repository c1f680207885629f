"""Accumulation helpers against big batches, closed forms and Keras's SGD; once more on JAX."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils import optimizers  # noqa: E402
from kexian_utils.training import accumulation  # noqa: E402

pytestmark = pytest.mark.backends

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(24, 3)), rng.normal(size=24)


def slope(w, x, y):
    """Gradient of the mean squared error of a linear model."""
    return 2 * x.T @ (x @ w - y) / len(y)


def rows(*sizes):
    ends = np.cumsum(sizes)
    return [slice(e - n, e) for e, n in zip(ends, sizes, strict=True)]


def trained(optimizer, groups, start=(0.5, -1.0, 2.0)):
    """Weights after every micro-batch."""
    weight = keras.Variable(np.array(start), dtype="float32")
    apply, path = accumulation.compiled_apply(optimizer, [weight]), []
    for group in groups:
        w = ops.convert_to_numpy(weight).astype(float)
        apply([slope(w, X[group], Y[group])])
        path.append(ops.convert_to_numpy(weight).copy())
    return np.array(path)


def test_weights_give_the_gradient_of_the_whole():
    w = np.array([1.0, -2.0, 0.5])
    parts = [(w, X[g], Y[g]) for g in rows(10, 10, 4)]
    whole = slope(w, X, Y)
    np.testing.assert_allclose(
        accumulation.accumulate_gradients(slope, parts, [10, 10, 4]), whole, rtol=1e-12
    )
    plain = accumulation.accumulate_gradients(slope, iter(parts))
    np.testing.assert_allclose(plain, np.mean([slope(*p) for p in parts], axis=0), rtol=1e-12)
    assert np.abs(plain - whole).max() > 1e-3
    both = accumulation.accumulate_gradients(lambda *p: [slope(*p), p[0]], parts, (10, 10, 4))
    np.testing.assert_allclose(both[0], whole, rtol=1e-12)
    np.testing.assert_allclose(both[1], w, rtol=1e-12)


@pytest.mark.parametrize(
    ("count", "weights", "message"),
    [
        (0, None, "batches must hold at least one"),
        (0, [], "batches must hold at least one"),
        (2, [1], "one per batch, got 1 for more"),
        (2, [1, 1, 1], "got 3 for 2 batches"),
        (2, [1, -1], "not negative, got -1"),
        (2, [1, np.nan], "finite"),
        (2, [0, 0], "positive sum, got 0"),
    ],
)
def test_bad_weights(count, weights, message):
    batches = [(np.zeros(3), X, Y)] * count
    with pytest.raises(ValueError, match=message):
        accumulation.accumulate_gradients(slope, batches, weights)


def test_schedule_counts_updates():
    def cosine():
        return keras.optimizers.schedules.CosineDecay(0.1, 4)

    per_update = optimizers.PerUpdateSchedule(cosine(), 3)
    rates = [float(ops.convert_to_numpy(per_update(t))) for t in range(15)]
    expected = [0.05 * (1 + np.cos(np.pi * min(t // 3, 4) / 4)) for t in range(15)]
    np.testing.assert_allclose(rates, expected, atol=1e-7)
    big = trained(keras.optimizers.SGD(cosine()), rows(12, 12))
    for schedule, agrees in ((per_update, True), (cosine(), False)):
        micro = trained(
            keras.optimizers.SGD(schedule, gradient_accumulation_steps=3), rows(*6 * [4])
        )
        assert (np.abs(micro[[2, 5]] - big).max() < 1e-6) == agrees


def test_schedule_is_saved_with_its_optimizer():
    schedule = optimizers.PerUpdateSchedule(keras.optimizers.schedules.CosineDecay(0.1, 4), 3)
    optimizer = keras.optimizers.Adam(schedule, gradient_accumulation_steps=3)
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(copy._learning_rate, optimizers.PerUpdateSchedule)
    for t in (0, 2, 3, 7):
        assert float(copy._learning_rate(t)) == float(schedule(t))


def test_bad_schedules():
    with pytest.raises(TypeError, match="schedule must be a LearningRateSchedule, got float"):
        optimizers.PerUpdateSchedule(0.1, 2)
    cosine = keras.optimizers.schedules.CosineDecay(0.1, 4)
    for wrong in (0, 2.0, True):
        with pytest.raises(ValueError, match="accumulation_steps must be a whole number"):
            optimizers.PerUpdateSchedule(cosine, wrong)


def test_compiled_apply_is_the_eager_step():
    gradients = rng.normal(size=(5, 3)).astype("float32")
    weights = [keras.Variable(np.ones(3), dtype="float32") for _ in range(2)]
    apply = accumulation.compiled_apply(keras.optimizers.Adam(0.1), weights[:1])
    eager = keras.optimizers.Adam(0.1)
    for g in gradients:
        apply([g])
        eager.apply([ops.convert_to_tensor(g)], weights[1:])
    np.testing.assert_allclose(*map(ops.convert_to_numpy, weights), atol=1e-6)
    assert np.abs(ops.convert_to_numpy(weights[0]) - 1).max() > 0.1
    with pytest.raises(ValueError, match="variables must hold"):
        accumulation.compiled_apply(eager, [])


@pytest.mark.parametrize("clip", [None, 0.5])
def test_flush_divides_by_what_is_there(clip):
    """Two full groups and a third of two micro-batches are three big batches, the last smaller."""

    def adam(**options):
        return keras.optimizers.Adam(0.1, global_clipnorm=clip, **options)

    big = trained(adam(), rows(6, 6, 4))
    optimizer = adam(gradient_accumulation_steps=3)
    weight = keras.Variable(np.array([0.5, -1.0, 2.0]), dtype="float32")
    apply = accumulation.compiled_apply(optimizer, [weight])
    for group in rows(*8 * [2]):
        apply([slope(ops.convert_to_numpy(weight).astype(float), X[group], Y[group])])
    np.testing.assert_allclose(ops.convert_to_numpy(weight), big[1], atol=1e-6)
    assert accumulation.flush_accumulated(optimizer) == 2
    np.testing.assert_allclose(ops.convert_to_numpy(weight), big[2], atol=1e-6)
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 3
    assert accumulation.flush_accumulated(optimizer) == 0
    for group in rows(*11 * [2])[8:]:  # the buffers are empty again
        apply([slope(ops.convert_to_numpy(weight).astype(float), X[group], Y[group])])
    more = trained(adam(), [*rows(6, 6, 4), slice(16, 22)])
    np.testing.assert_allclose(ops.convert_to_numpy(weight), more[3], atol=1e-6)


def test_flush_through_a_loss_scale():
    """Under mixed_float16 `compile` wraps the optimiser; the update is that of two samples."""
    start = np.array([[0.5], [-1.0], [2.0]])
    x, y = X[:4].astype("float32"), Y[:4].astype("float32").reshape(4, -1)[:, :1]

    def trained_model(steps):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
        model.set_weights([start])
        optimizer = keras.optimizers.SGD(0.25, gradient_accumulation_steps=steps)
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0)
        model.compile(optimizer, "mse", jit_compile=False)
        return model

    model = trained_model(3)
    for i in range(2):
        model.train_on_batch(x[2 * i : 2 * i + 2], y[2 * i : 2 * i + 2])
    np.testing.assert_array_equal(model.get_weights()[0], start)
    assert accumulation.flush_accumulated(model.optimizer) == 2
    expected = start - 0.25 * 2 * x.T @ (x @ start - y) / 4
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-5)
    assert accumulation.flush_accumulated(model.optimizer) == 0


def test_flush_refuses():
    with pytest.raises(ValueError, match="gradient_accumulation_steps set, got none"):
        accumulation.flush_accumulated(keras.optimizers.SGD(0.1))
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    with pytest.raises(ValueError, match="must be built"):
        accumulation.flush_accumulated(optimizer)
    optimizer.build([keras.Variable(np.ones(2))])
    del optimizer._accumulated_gradients
    with pytest.raises(RuntimeError, match="keeps accumulated gradients elsewhere"):
        accumulation.flush_accumulated(optimizer)


@pytest.mark.parametrize("steps", [1, 4])
def test_momentum_is_its_own_accumulator(steps):
    size = 24 // (2 * steps)
    groups = rows(*2 * steps * [size]) * 3
    options = {} if steps == 1 else {"gradient_accumulation_steps": steps}
    sgd = keras.optimizers.SGD(0.02, momentum=0.8, **options)
    mine = optimizers.MomentumAccumulatedSGD(0.1, 0.8, steps)
    expected, path = trained(sgd, groups), trained(mine, groups)
    np.testing.assert_allclose(path, expected, atol=1e-6)
    assert len(mine.variables) == len(sgd.variables) - (steps > 1)
    moves = np.abs(np.diff(path, axis=0)).max(axis=1)
    waiting = np.arange(1, len(groups)) % steps < steps - 1
    assert not moves[waiting].any()
    assert moves[~waiting].all()
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(mine))
    assert copy.get_config() == mine.get_config()
    np.testing.assert_array_equal(trained(copy, groups), path)


def test_momentum_in_fit():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[0.5], [-1.0], [2.0]])])
    model.compile(optimizers.MomentumAccumulatedSGD(0.1, 0.8, 4), "mse")
    model.fit(X, Y, batch_size=3, epochs=2, shuffle=False, verbose=0)
    sgd = keras.optimizers.SGD(0.02, momentum=0.8)
    expected = trained(sgd, rows(12, 12) * 2)[-1]
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, atol=1e-6)


def test_bad_momentum():
    with pytest.raises(ValueError, match=r"momentum must be a finite number of at least 0"):
        optimizers.MomentumAccumulatedSGD(momentum=1.0)
    with pytest.raises(ValueError, match="accumulation_steps must be a whole number"):
        optimizers.MomentumAccumulatedSGD(accumulation_steps=0)
