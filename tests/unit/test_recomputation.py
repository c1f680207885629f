"""Recomputation: the cut of a chain, its cost, the measurement, and the layer of article 7367."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

from kexian_utils import autodiff
from kexian_utils.layers import RematBlock
from kexian_utils.training import recomputation


@pytest.mark.parametrize(("n", "inner"), [(1, 0), (7, 0), (64, 0), (12, 7), (100, 8)])
def test_the_plan_is_the_best_of_all_cuts(n, inner):
    plan = recomputation.checkpoint_plan(n, 1, inner)
    pieces = [np.array_split(range(n), k) for k in range(1, n + 1)]
    peaks = [len(cut) + max(map(len, cut)) * (1 + inner) for cut in pieces]
    assert plan.peak == min(peaks) == plan.segments + plan.size * (1 + inner)
    assert plan.segments * plan.size >= n > (plan.segments - 1) * plan.size


def test_the_cost_is_that_of_the_recursion():
    table = {(1, s): 0 for s in range(1, 9)}
    table |= {(n, 1): n * (n - 1) // 2 for n in range(1, 41)}
    for n in range(2, 41):
        for s in range(2, 9):
            table[n, s] = min(m + table[n - m, s - 1] + table[m, s] for m in range(1, n))
    for key, value in table.items():
        assert recomputation.optimal_checkpoint_cost(*key) == value


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: recomputation.checkpoint_plan(0), "n must be"),
        (lambda: recomputation.checkpoint_plan(3, 0.0), "boundary must be"),
        (lambda: recomputation.checkpoint_plan(3, 1.0, float("nan")), "inner must be"),
        (lambda: recomputation.optimal_checkpoint_cost(0, 1), "length must be"),
        (lambda: recomputation.optimal_checkpoint_cost(1, 0), "slots must be"),
        (lambda: RematBlock([]), "at least one layer"),
        (lambda: RematBlock([layers.BatchNormalization()]), "twice"),
        (lambda: RematBlock([keras.Sequential([layers.BatchNormalization()])]), "twice"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("wrong", ["Dense", layers.Dense(2), ["Dense"]])
def test_layers_must_be_a_list_of_layers(wrong):
    with pytest.raises(TypeError, match="layers must be a list of Keras layers"):
        RematBlock(wrong)


def test_the_peak_of_a_process_is_seen():
    """In a process of its own, or what this one has freed before would hide it."""
    code = (
        "import numpy as np; from kexian_utils.training.recomputation import peak_rss\n"
        "f = lambda: float(np.ones(4_000_000).sum())\n"
        "print([peak_rss(f) for _ in range(3)])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for value, grown in eval(done.stdout):
        assert value == 4e6
        assert grown is None or abs(grown - 32e6) < 2e6


def test_where_the_system_tells_nothing_the_function_still_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(recomputation, "Path", lambda path: tmp_path / "nowhere")
    assert recomputation.peak_rss(lambda: 3) == (3, None)


@pytest.mark.backends
@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_block_trains_as_its_layers_do(jit_compile):
    ends = []
    for remat in (True, False):
        keras.utils.set_random_seed(0)
        inside = [layers.Dense(4, "tanh"), layers.Dropout(0.5, seed=1), layers.Dropout(0.2, seed=2)]
        block = RematBlock([*inside, layers.Dense(4)], remat=remat)
        model = keras.Sequential([keras.Input((4,)), block, layers.Dense(1)])
        model.compile("sgd", "mse", jit_compile=jit_compile)
        x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
        model.fit(x, x[:, :1], batch_size=8, epochs=2, shuffle=False, verbose=0)
        ends.append([ops.convert_to_numpy(v) for v in model.trainable_variables])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


@pytest.mark.backends
def test_a_mask_reaches_the_layers_inside():
    x = np.array([[1, 2, 0], [3, 0, 0]])
    outcome = []
    for remat in (True, False):
        keras.utils.set_random_seed(0)
        block = RematBlock([layers.Dropout(0.1), layers.LSTM(3)], remat=remat)
        model = keras.Sequential([layers.Embedding(4, 3, mask_zero=True), block])
        outcome.append([ops.convert_to_numpy(model(x)), ops.convert_to_numpy(model(x[:, :2]))])
    np.testing.assert_allclose(outcome[0], outcome[1], atol=1e-6)
    np.testing.assert_allclose(outcome[0][0], outcome[0][1], atol=1e-6)


@pytest.mark.backends
def test_what_a_layer_draws_twice_is_two_masks():
    """A layer may ask its generator several times in one call."""

    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.seed_generator = keras.random.SeedGenerator(0)

        def call(self, x):
            one, other = (keras.random.dropout(x, 0.5, seed=self.seed_generator) for _ in range(2))
            return one + 3 * other

    y = ops.convert_to_numpy(RematBlock([Twice()])(np.ones((100, 10), "float32")))
    shares = [np.mean(y == value) for value in (0, 2, 6, 8)]
    assert np.abs(np.array(shares) - 0.25).max() < 0.06


def test_dropout_in_the_wrapper_of_keras_is_still_wrong():
    """When this fails, Keras is mended: see the comment in the cell `claim-8` of article 7367."""
    dropout = layers.Dropout(0.5, seed=0)
    inside = keras.remat(lambda x: dropout(x, training=True))
    ones = np.ones((100, 100), "float32")
    value, slope = autodiff.value_and_gradient(lambda w: ops.sum(inside(w * ones)))(np.float32(1))
    assert float(value) != float(slope), (
        "keras.remat now repeats the mask of a dropout. Say so in the chapter on recomputation "
        "(since which release), change its claim C8, and simplify RematBlock"
    )
