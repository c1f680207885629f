"""Callbacks, beside what Keras's own do and what NumPy computes."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kexian_utils.callbacks import BestWeights, ScheduledVariable

pytestmark = pytest.mark.backends
X = np.linspace(-1, 1, 8, dtype="float32")[:, None]


class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones", trainable=False)

    def call(self, x):
        return x * self.scale


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False), Scaled()])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.set_weights([np.array([[2.0]]), np.array(1.0)])
    return model


def test_the_value_arrives_in_the_epoch_that_it_is_for(model):
    model.optimizer.learning_rate = 0.0
    rule = ScheduledVariable(model.layers[-1].scale, lambda epoch: 1.0 if epoch < 2 else 0.5)
    history = model.fit(X, 0 * X, 4, epochs=4, verbose=0, callbacks=[rule]).history
    whole = float(np.mean((2 * X) ** 2))
    np.testing.assert_allclose(history["loss"], [whole, whole, whole / 4, whole / 4], rtol=1e-5)
    assert history["scale"] == [1.0, 1.0, 0.5, 0.5]


def test_a_free_variable_is_refused(model):
    rule = ScheduledVariable(keras.Variable(1.0), lambda epoch: 0.5)
    with pytest.raises(ValueError, match="does not track"):
        model.fit(X, X, verbose=0, callbacks=[rule])
    with pytest.raises(TypeError, match="variable"):
        ScheduledVariable(1.0, lambda epoch: 0.5)
    with pytest.raises(TypeError, match="schedule"):
        ScheduledVariable(keras.Variable(1.0), 0.5)


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_weights_are_put_back(model, mode):
    given = iter([0.1, float("nan"), 0.7, 0.7, 0.2] if mode == "max" else [3, 2, 1, 1, 2])
    seen = []

    def score(trained):
        seen.append(ops.convert_to_numpy(trained.trainable_variables[0]).item())
        return next(given)

    best = BestWeights(score, mode)
    history = model.fit(X, 0 * X, 4, epochs=5, verbose=0, callbacks=[best]).history
    assert best.best_epoch == 2
    assert best.best == best.scores[2] == history["score"][2]
    assert model.get_weights()[0].item() == pytest.approx(seen[2])
    assert len(set(seen)) == 5


def test_it_agrees_with_early_stopping_and_forgets_the_last_training(model):
    loss = BestWeights(lambda m: m.evaluate(X, X, verbose=0), "min", name="val")
    stop = keras.callbacks.EarlyStopping("val", mode="min")
    history = model.fit(X, 0 * X, epochs=4, verbose=0, callbacks=[loss, stop]).history
    assert loss.best == min(history["val"])
    assert stop.best == pytest.approx(loss.best)
    model.fit(X, 0 * X, epochs=2, verbose=0, callbacks=[loss])
    assert len(loss.scores) == 2
    with pytest.raises(ValueError, match="mode"):
        BestWeights(lambda m: 0.0, "largest")
    with pytest.raises(TypeError, match="score"):
        BestWeights("val_accuracy")
