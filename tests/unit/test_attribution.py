"""Attributions against closed forms, all orders of deletion, and sums that must come out."""

from itertools import permutations

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops  # noqa: E402

from kexian_utils.robustness import attribution  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.usefixtures("float64_on_jax")]

rng = np.random.default_rng(0)
X, START, W = rng.normal(size=(3, 5))


def ridge(z):
    return ops.sigmoid(ops.matmul(z, W[:, None])[:, 0])


def value(function, x):
    return float(ops.convert_to_numpy(function(np.asarray(x)[None]))[0])


@pytest.mark.parametrize("rule", attribution.RULES)
def test_rules_integrate_what_they_must(rule):
    nodes, weights = attribution.quadrature(4, rule)
    np.testing.assert_allclose(weights.sum(), 1)
    exact = {"gauss": 7, "midpoint": 1, "trapezoid": 1}.get(rule, 0)  # highest exact power
    for power in range(exact + 1):
        np.testing.assert_allclose(weights @ nodes**power, 1 / (power + 1), rtol=1e-12)
    assert abs(weights @ nodes ** (exact + 1) - 1 / (exact + 2)) > 1e-9


def test_ridge_functions_have_linear_shares():
    change = value(ridge, X) - value(ridge, START)
    expected = W * (X - START) / (W @ (X - START)) * change
    found = attribution.integrated_gradients(ridge, X, START, steps=32)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    shaped = attribution.integrated_gradients(
        lambda z: ridge(ops.reshape(z, (-1, 5))), X.reshape(5, 1), START.reshape(5, 1)
    )
    np.testing.assert_allclose(shaped[:, 0], expected, rtol=1e-9)


def test_every_path_gives_the_whole_difference():
    def bent(t):
        t = t[:, None]
        return START + t * (X - START) + np.sin(np.pi * t) * W

    change = value(ridge, X) - value(ridge, START)
    found = attribution.path_attribution(ridge, bent, 2000)
    np.testing.assert_allclose(found.sum(), change, rtol=1e-5)
    line = attribution.path_attribution(ridge, lambda t: START + t[:, None] * (X - START), 2000)
    straight = attribution.integrated_gradients(ridge, X, START)
    np.testing.assert_allclose(line, straight, rtol=1e-5)


def test_true_contributions_give_the_lowest_curve_of_a_linear_model():
    weights, x = np.array([1.0, 5.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0, 0.5])
    areas = [
        attribution.deletion_curve(lambda z: z @ weights, x, order).mean()
        for order in permutations(range(4))
    ]
    best = attribution.deletion_curve(lambda z: z @ weights, x, weights * x)
    assert best.mean() == min(areas)
    assert best.tolist() == [14.5, 8.5, 3.5, 1.5, 0.0]


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="steps must be"):
        attribution.quadrature(0)
    with pytest.raises(ValueError, match="rule must be"):
        attribution.quadrature(3, "simpson")
    with pytest.raises(ValueError, match="baseline must have shape"):
        attribution.integrated_gradients(ridge, X, START[:4])
    with pytest.raises(ValueError, match="one number for each input"):
        attribution.integrated_gradients(lambda z: z, X)
    with pytest.raises(ValueError, match="scores must have shape"):
        attribution.deletion_curve(lambda z: z.sum(axis=1), X, W[:3])
    with pytest.raises(ValueError, match="x must have shape"):
        attribution.deletion_curve(lambda z: z.sum(axis=1), X[None], W[None])
