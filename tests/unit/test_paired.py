"""Networks that differ in the loss alone, against the compiled stacks and single runs."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.special import expit

from kexian_utils.statistics import expected_calibration_error
from kexian_utils.training.paired import PairedNetworks

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 4))
Y = (X[:, 0] > X[:, 1] ** 2).astype(int)
SLOPES = {"cross-entropy": lambda m: -expit(-m), "square": lambda m: 2 * (m - 1)}


def made(slopes=SLOPES, x=X, **options):
    options = dict(hidden=5, rates=0.05, batch=20) | options
    networks = PairedNetworks(slopes, x, Y, np.random.default_rng(1), **options)
    networks.train_epoch()
    networks.train_epoch()
    return networks


@pytest.mark.parametrize("adam", [False, True])
def test_each_is_trained_as_if_alone(adam):
    together = made(adam=adam, rates=(0.05, 0.02)).logits(X)
    for k, name in enumerate(SLOPES):
        alone = made({name: SLOPES[name]}, adam=adam, rates=(0.05, 0.02)[k]).logits(X)
        np.testing.assert_allclose(together[:, [k]], alone, rtol=1e-10)


def test_sparse_inputs_give_the_same():
    np.testing.assert_allclose(
        made(x=csr_matrix(X), adam=True).margins(), made(adam=True).margins(), rtol=1e-10
    )


@pytest.mark.parametrize("adam", [False, True])
def test_it_is_what_keras_does(adam):
    keras = pytest.importorskip("keras")
    from keras import ops

    from kexian_utils.training import stacked

    start = np.random.default_rng(1)
    first = start.normal(scale=np.sqrt(2 / 4), size=(1, 4, 5)).astype("f4")
    last = start.normal(scale=np.sqrt(1 / 5), size=(1, 5, 1)).astype("f4")
    zeros = [np.zeros((1, 1, n), "f4") for n in (5, 1)]
    batches = []
    for _ in range(2):
        order = start.permutation(60)
        for i in range(0, 60, 20):
            rows = order[i : i + 20]
            batches.append((X[None, rows].astype("f4"), Y[None, rows, None].astype("f4")))

    def loss(parameters, x, y):
        return ops.mean(ops.softplus(-(2 * y - 1) * stacked.mlp_logits(parameters, x)))

    rule = keras.optimizers.Adam(0.05) if adam else keras.optimizers.SGD(0.05)
    end, _ = stacked.train(loss, [first, zeros[0], last, zeros[1]], batches, rule)
    expected = ops.convert_to_numpy(stacked.mlp_logits(end, X[None].astype("f4")))[0]
    found = made({"cross-entropy": SLOPES["cross-entropy"]}, adam=adam).logits(X)
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (dict(slopes={}), "slopes"),
        (dict(x=X[:5]), "shapes"),
        (dict(rates=(0.1, 0.2, 0.3)), "rates"),
        (dict(rates=0.0), "rates"),
        (dict(hidden=0), "hidden"),
        (dict(batch=61), "batch"),
    ],
)
def test_bad_arguments(change, word):
    with pytest.raises(ValueError, match=word):
        made(**change)


def test_calibration_error():
    p = np.random.default_rng(2).uniform(size=100_000)
    y = (np.random.default_rng(3).uniform(size=100_000) < p).astype(int)
    assert expected_calibration_error(p, y) < 0.01
    assert expected_calibration_error(np.ones(4), [1, 0, 0, 1]) == 0.5
    by_bins = sum(abs((y - p**2)[(p**2 * 10).astype(int) == b].sum()) for b in range(10)) / len(p)
    assert expected_calibration_error(p**2, y) == pytest.approx(by_bins)
    for bad in (([1.2], [1]), ([np.nan], [1]), ([0.5], [2]), ([], [])):
        with pytest.raises(ValueError, match=r"p |y "):
            expected_calibration_error(*bad)
