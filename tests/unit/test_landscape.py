"""Probes on quadratics, where every entry has a closed form; eigenvalues against NumPy."""

import numpy as np
import pytest

from kexian_utils import statistics
from kexian_utils.optimisation import landscape

rng = np.random.default_rng(0)
FACTOR = rng.normal(size=(6, 6))
CURVED = FACTOR @ FACTOR.T
THETA = rng.normal(size=6)
ETAS = (0.01, 0.1, 0.5)


def quadratic(theta):
    return theta @ CURVED @ theta / 2, CURVED @ theta


def symmetric(dim, seed=0):
    factor = np.random.default_rng(seed).normal(size=(dim, dim))
    return (factor + factor.T) / 2


def test_probe_of_a_quadratic():
    probe = landscape.loss_landscape_probe(quadratic, THETA, ETAS)
    g = CURVED @ THETA
    losses = np.array([quadratic(THETA - eta * g)[0] for eta in ETAS])
    assert probe["loss"] == pytest.approx(THETA @ CURVED @ THETA / 2)
    assert probe["grad_norm"] == pytest.approx(np.linalg.norm(g))
    np.testing.assert_allclose(probe["losses"], losses)
    np.testing.assert_allclose(probe["grad_distances"], np.array(ETAS) * np.linalg.norm(CURVED @ g))
    assert probe["effective_smoothness"] == pytest.approx(
        np.linalg.norm(CURVED @ g) / np.linalg.norm(g)
    )
    assert probe["effective_smoothness"] <= np.linalg.eigvalsh(CURVED)[-1] * (1 + 1e-12)
    assert probe["overshoot"] == pytest.approx(max(losses.max() - probe["loss"], 0))


def test_no_overshoot_on_small_steps():
    limit = 2 / np.linalg.eigvalsh(CURVED)[-1]
    assert landscape.loss_landscape_probe(quadratic, THETA, [0.9 * limit])["overshoot"] == 0
    top = np.linalg.eigh(CURVED)[1][:, -1]  # here the limit is sharp
    assert landscape.loss_landscape_probe(quadratic, top, [1.1 * limit])["overshoot"] > 0


@pytest.mark.parametrize("steps", [[], [0.1, 0.0], [-0.1], [np.nan], [np.inf], [[0.1]]], ids=str)
def test_probe_refuses_step_sizes(steps):
    with pytest.raises(ValueError, match="step_sizes"):
        landscape.loss_landscape_probe(quadratic, THETA, steps)


def test_probe_refuses_other_bad_input():
    with pytest.raises(ValueError, match="its norm is 0"):
        landscape.loss_landscape_probe(quadratic, np.zeros(6), ETAS)
    with pytest.raises(ValueError, match="its norm is nan"):
        landscape.loss_landscape_probe(quadratic, np.full(6, np.nan), ETAS)
    with pytest.raises(ValueError, match=r"theta must have shape \(n,\)"):
        landscape.loss_landscape_probe(quadratic, np.eye(6), ETAS)


@pytest.mark.parametrize("dim", [1, 2, 5, 40])
@pytest.mark.parametrize("seed", range(5))
def test_lanczos_with_all_steps_is_exact(dim, seed):
    matrix = symmetric(dim, seed)
    got = landscape.hessian_extremal_eigenvalues(lambda v: matrix @ v, dim, dim, seed)
    np.testing.assert_allclose(got, np.linalg.eigvalsh(matrix)[[0, -1]], atol=1e-9)


def test_few_steps_stay_inside_the_spectrum_and_find_an_outlier():
    matrix = np.diag(np.append(np.linspace(-1, 1, 299), 20.0))
    low, high = landscape.hessian_extremal_eigenvalues(lambda v: matrix @ v, 300)
    assert high == pytest.approx(20, rel=1e-8)
    assert -1 - 1e-12 <= low < -0.8
    negative = landscape.hessian_extremal_eigenvalues(lambda v: -(matrix @ v), 300)
    np.testing.assert_allclose(negative, (-high, -low), atol=1e-9)


def test_closed_krylov_spaces():
    calls = []

    def twice(v):
        calls.append(1)
        return 2 * v

    assert landscape.hessian_extremal_eigenvalues(twice, 50) == pytest.approx((2, 2))
    assert len(calls) == 1
    assert landscape.hessian_extremal_eigenvalues(lambda v: 0 * v, 50) == (0, 0)
    values = np.repeat([1.0, 2.0, 5.0], 20)
    np.testing.assert_allclose(
        landscape.hessian_extremal_eigenvalues(lambda v: values * v, 60), (1, 5), atol=1e-9
    )


def test_lanczos_refuses_bad_input():
    for arguments, words in (((0,), "dim"), ((3, 0), "num_steps")):
        with pytest.raises(ValueError, match=f"{words} must be at least 1"):
            landscape.hessian_extremal_eigenvalues(lambda v: v, *arguments)
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        landscape.hessian_extremal_eigenvalues(lambda v: v[:2], 3)
    with pytest.raises(ValueError, match="finite"):
        landscape.hessian_extremal_eigenvalues(lambda v: v * np.nan, 3)


@pytest.mark.parametrize("shape", [(100, 7), (7, 100), (1, 3)])
def test_second_moments(shape):
    x = np.random.default_rng(1).normal(loc=0.5, size=shape)
    summary = landscape.second_moment_summary(x)
    moment, mean = x.T @ x / len(x), x.mean(axis=0)
    covariance = np.cov(x.T, bias=True)
    assert summary["trace"] == pytest.approx(np.trace(moment))
    assert summary["mean_share"] == pytest.approx(mean @ mean / np.trace(moment))
    assert summary["top_eigenvalue"] == pytest.approx(np.linalg.eigvalsh(moment)[-1])
    assert summary["centered_top_eigenvalue"] == pytest.approx(
        np.linalg.eigvalsh(covariance)[-1], abs=1e-12
    )
    low = mean @ mean  # equation (8) of the chapter
    assert low <= summary["top_eigenvalue"] * (1 + 1e-9)
    assert summary["top_eigenvalue"] <= low + summary["centered_top_eigenvalue"] + 1e-9


def test_second_moments_of_zero_and_bad_input():
    assert landscape.second_moment_summary(np.zeros((3, 2)))["mean_share"] == 0
    for bad in (np.zeros(3), np.zeros((0, 3)), np.zeros((2, 2, 2)), 1.0):
        with pytest.raises(ValueError, match="x must be 2-D"):
            landscape.second_moment_summary(bad)
    with pytest.raises(ValueError, match="finite"):
        landscape.second_moment_summary(np.array([[1.0, np.nan]]))


def test_standardize_agrees_with_scikit_learn():
    from sklearn.preprocessing import StandardScaler

    x, new = rng.normal(2, 3, size=(50, 4)), rng.normal(size=(9, 4))
    scaler = StandardScaler().fit(x)
    np.testing.assert_allclose(statistics.standardize(x), scaler.transform(x), atol=1e-12)
    np.testing.assert_allclose(
        statistics.standardize(new, reference=x), scaler.transform(new), atol=1e-12
    )
    shrunk = statistics.standardize(x, 0.5)
    np.testing.assert_allclose(shrunk.var(axis=0), x.var(axis=0) / (x.var(axis=0) + 0.5))


@pytest.mark.parametrize("epsilon", [0.0, 1e-3])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_constant_columns_become_zero(epsilon, value):
    x = np.column_stack([np.full(7, value), np.arange(7.0)])
    result = statistics.standardize(x, epsilon)
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result[:, 0], np.zeros(7))


def test_standardize_refuses_bad_input():
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        statistics.standardize(np.eye(2), -1.0)
    with pytest.raises(ValueError, match="as many columns as x, 2, got 3"):
        statistics.standardize(np.eye(2), reference=np.eye(3))
    with pytest.raises(ValueError, match="reference must be 2-D"):
        statistics.standardize(np.eye(2), reference=np.zeros(2))
