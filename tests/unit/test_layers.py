"""BatchCenter against NumPy and against Keras's own BatchNormalization."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils import autodiff  # noqa: E402
from kexian_utils.layers import BatchCenter  # noqa: E402

pytestmark = pytest.mark.backends

rng = np.random.default_rng(0)
BATCH = rng.normal(loc=3.0, size=(8, 5, 4)).astype("float32")


def array(value):
    return ops.convert_to_numpy(value)


@pytest.mark.parametrize(("axis", "others"), [(-1, (0, 1)), (1, (0, 2))])
def test_training_subtracts_the_batch_mean(axis, others):
    layer = BatchCenter(axis=axis, momentum=0.9)
    output = array(layer(BATCH, training=True))
    mean = BATCH.mean(axis=others, keepdims=True)
    np.testing.assert_allclose(output, BATCH - mean, atol=1e-5)
    np.testing.assert_allclose(array(layer.moving_mean), 0.1 * mean.ravel(), rtol=1e-5)


def test_inference_uses_the_moving_mean_and_changes_nothing():
    layer = BatchCenter(momentum=0.5)
    layer(BATCH, training=True)
    stored = array(layer.moving_mean).copy()
    np.testing.assert_allclose(array(layer(BATCH)), BATCH - stored, atol=1e-6)
    np.testing.assert_array_equal(array(layer.moving_mean), stored)


def test_moving_mean_is_that_of_batch_normalization():
    ours, keras_own = BatchCenter(), layers.BatchNormalization()
    for _ in range(3):
        ours(BATCH, training=True)
        keras_own(BATCH, training=True)
    np.testing.assert_allclose(array(ours.moving_mean), array(keras_own.moving_mean), rtol=1e-5)


def test_the_gradient_flows_through_the_mean():
    layer = BatchCenter()
    layer.build((None, 4))
    flat = BATCH[:, 0]
    weights = rng.normal(size=flat.shape).astype("float32")

    def loss(x):
        state = [v.value for v in layer.non_trainable_variables]
        output, _ = layer.stateless_call([], state, x, training=True)
        return ops.sum(output * weights)

    slope = array(autodiff.gradient(loss)(flat))
    np.testing.assert_allclose(slope, weights - weights.mean(axis=0), atol=1e-5)


def test_serialisation(tmp_path):
    model = keras.Sequential([keras.Input((4,)), BatchCenter(momentum=0.7), layers.Dense(2)])
    model(BATCH[:, 0], training=True)
    path = tmp_path / "model.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    assert loaded.layers[0].get_config() == model.layers[0].get_config()
    np.testing.assert_allclose(array(loaded(BATCH[:, 0])), array(model(BATCH[:, 0])), rtol=1e-6)
    assert loaded.compute_output_shape((3, 4)) == (3, 2)
    assert BatchCenter().compute_output_shape((None, 7)) == (None, 7)


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"momentum must be a finite number from 0 to 1, got 1.5"):
        BatchCenter(momentum=1.5)
    with pytest.raises(ValueError, match="axis must be a whole number, got"):
        BatchCenter(axis="last")
    for axis, shape in ((0, (2, 3)), (5, (2, 3)), (-1, (3,))):
        with pytest.raises(ValueError, match="axis must name a feature axis"):
            BatchCenter(axis=axis).build(shape)
    with pytest.raises(ValueError, match="known size"):
        BatchCenter().build((2, None))
