"""AdaX against the published recursion in float64; once more on JAX."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops  # noqa: E402

from kexian_utils.optimizers import AdaX  # noqa: E402
from kexian_utils.training.stacked import StackTrainer  # noqa: E402

pytestmark = pytest.mark.backends

RNG = np.random.default_rng(0)
SLOPES = RNG.normal(size=(40, 3)) * [1, 10, 0.1]


def published(slopes, rate, beta_1=0.9, beta_2=1e-4, epsilon=1e-7):
    """Equation (2) with its growing sum; positions after each step, from 1."""
    x, m, v, path = np.ones(slopes.shape[1]), 0.0, 0.0, []
    for t, g in enumerate(slopes, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = (1 + beta_2) * v + beta_2 * g**2
        x = x - rate * m / (np.sqrt(v / ((1 + beta_2) ** t - 1)) + epsilon)
        path.append(x)
    return np.array(path)


@pytest.mark.parametrize("beta_2", [1e-4, 0.05, 1.0])
def test_it_is_the_published_recursion(beta_2):
    """Compiled, as a stack of one: the loss has the given slopes."""
    trainer = StackTrainer(
        lambda p, g: ops.sum(p[0] * g), [np.ones(3, "float32")], AdaX(0.1, beta_2=beta_2)
    )
    path = []
    for g in SLOPES.astype("float32"):
        trainer(g)
        path.append(ops.convert_to_numpy(trainer.parameters[0]))
    np.testing.assert_allclose(path, published(SLOPES, 0.1, beta_2=beta_2), rtol=2e-5, atol=1e-5)


def test_far_beyond_the_overflow_of_the_published_form():
    weights = ops.convert_to_numpy(AdaX().current_weight(ops.convert_to_tensor([1.0, 1e5, 9e5])))
    np.testing.assert_allclose(weights[:2], [1, 1e-4 / np.expm1(1e5 * np.log1p(1e-4))], rtol=1e-3)
    assert weights[2] == 0


def test_sparse_gradients_of_an_embedding_are_dense_ones():
    def fitted(one_hot):
        table = layers.Embedding(5, 2, embeddings_initializer="ones")
        dense = layers.Dense(2, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential(
            [keras.Input((5,) if one_hot else ()), dense if one_hot else table]
        )
        model.compile(AdaX(0.1, weight_decay=0.01), "mse")
        tokens = np.array([0, 3, 3])
        for _ in range(3):
            model.train_on_batch(np.eye(5)[tokens] if one_hot else tokens, RNG2.normal(size=(3, 2)))
        return model.get_weights()[0]

    RNG2 = np.random.default_rng(1)
    sparse = fitted(False)
    RNG2 = np.random.default_rng(1)
    np.testing.assert_allclose(sparse, fitted(True), rtol=1e-5)


def test_gradient_accumulation_counts_updates():
    def end(k):
        variable = keras.Variable(np.ones(3, "float32"))
        optimizer = AdaX(0.1, gradient_accumulation_steps=k if k > 1 else None)
        optimizer.build([variable])
        for g in SLOPES[:4].astype("float32"):
            for _ in range(k):
                optimizer.apply([ops.convert_to_tensor(g)])
        return ops.convert_to_numpy(variable)

    np.testing.assert_allclose(end(3), end(1), rtol=1e-5)


def test_refusals():
    for name, value in (("beta_1", 1.0), ("beta_2", 0.0), ("beta_2", 1.5), ("epsilon", 0.0)):
        with pytest.raises(ValueError, match=name):
            AdaX(**{name: value})
