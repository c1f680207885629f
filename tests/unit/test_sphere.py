"""The law of the angle against SciPy's beta distribution and quadrature; data by brute force."""

import numpy as np
import pytest
from scipy import integrate, stats

from kexian_utils.mathematics import sphere

DIMENSIONS = (1.5, 2, 3, 4, 5.7, 10, 64, 384, 5000)
THETA = np.linspace(0.01, np.pi - 0.01, 101)


def beta(dim):
    """The law of the cosine: a beta distribution stretched to [-1, 1]."""
    return stats.beta((dim - 1) / 2, (dim - 1) / 2, loc=-1, scale=2)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_densities_and_distribution_function_against_the_beta_law(dim):
    cosine = np.cos(THETA)
    expected = beta(dim).pdf(cosine)
    np.testing.assert_allclose(sphere.cosine_pdf(cosine, dim), expected, rtol=1e-8, atol=1e-300)
    expected = expected * np.sin(THETA)
    np.testing.assert_allclose(sphere.angle_pdf(THETA, dim), expected, rtol=1e-8, atol=1e-300)
    expected = beta(dim).sf(cosine)
    np.testing.assert_allclose(sphere.angle_cdf(THETA, dim), expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("dim", DIMENSIONS)
def test_variance_against_quadrature(dim):
    width = min(np.pi / 2, 12 / np.sqrt(dim))  # what lies beyond is below 1e-15

    def integrand(offset):
        return offset**2 * sphere.angle_pdf(np.pi / 2 + offset, dim)

    half, _ = integrate.quad(integrand, 0, width, epsabs=0, epsrel=1e-9)
    assert sphere.angle_variance(dim) == pytest.approx(2 * half, rel=1e-6)


def test_known_dimensions():
    np.testing.assert_allclose(sphere.angle_pdf(THETA, 2), 1 / np.pi, rtol=1e-14)
    np.testing.assert_allclose(sphere.cosine_pdf(np.linspace(-1, 1, 11), 3), 0.5, rtol=1e-14)
    np.testing.assert_allclose(sphere.angle_variance([2, 3]), [np.pi**2 / 12, np.pi**2 / 4 - 2])


def test_edges_of_the_support():
    assert sphere.angle_pdf([-0.1, 4.0, 0.0, np.pi], 3).tolist() == [0, 0, 0, 0]
    assert sphere.angle_cdf([-1.0, 0.0, np.pi, 9.0], 7).tolist() == [0, 0, 1, 1]
    assert sphere.cosine_pdf([-1.1, 1.1, 1.0, -1.0], 4).tolist() == [0, 0, 0, 0]
    assert sphere.cosine_pdf([1.0, -1.0], 2).tolist() == [np.inf, np.inf]
    for function in (sphere.angle_pdf, sphere.angle_cdf, sphere.cosine_pdf):
        assert np.isnan(function(np.nan, 3))
        assert function(np.zeros((2, 3)), 5).shape == (2, 3)


def test_the_left_tail_keeps_its_relative_precision():
    # For a small angle the integral of sin(s)**(n-2) is nearly t**(n-1) / (n-1).
    dim, t = 64, 1e-3
    expected = sphere.angle_pdf(t, dim) * t / (dim - 1)
    assert sphere.angle_cdf(t, dim) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


@pytest.mark.parametrize("dim", [1, 0.5, -3, np.nan, np.inf, "3", None])
@pytest.mark.parametrize(
    "function", [sphere.angle_pdf, sphere.angle_cdf, sphere.cosine_pdf], ids=lambda f: f.__name__
)
def test_bad_dimensions_are_named(function, dim):
    with pytest.raises(ValueError, match=f"dim must be a finite number above 1, got {dim!r}"):
        function(0.3, dim)


def test_bad_dimension_of_the_variance_is_named():
    with pytest.raises(ValueError, match=r"dim must be finite and above 1, got \[3.0, 1.0\]"):
        sphere.angle_variance([3, 1])


def test_random_directions_are_isotropic_unit_vectors():
    units = sphere.random_directions(np.random.default_rng(0), 200_000, 5)
    np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1, rtol=1e-12)
    # An entry of u u' deviates by at most sqrt(3/35); 0.007 is ten times that of the mean.
    np.testing.assert_allclose(units.T @ units / len(units), np.eye(5) / 5, atol=0.007)
    np.testing.assert_allclose(units.mean(axis=0), 0, atol=0.01)
    again = sphere.random_directions(np.random.default_rng(0), 200_000, 5)
    assert np.array_equal(units, again)
    assert sphere.random_directions(np.random.default_rng(0), 0, 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("size", "dim", "error", "message"),
    [
        (-1, 3, ValueError, "size must be a whole number of at least 0, got -1"),
        (3, 0, ValueError, "dim must be a whole number of at least 1, got 0"),
        (3, 2.0, ValueError, "dim must be a whole number of at least 1, got 2.0"),
        (True, 2, ValueError, "size must be a whole number of at least 0, got True"),
    ],
)
def test_random_directions_refuse(size, dim, error, message):
    with pytest.raises(error, match=message):
        sphere.random_directions(np.random.default_rng(0), size, dim)


def test_pairwise_cosines_and_effective_dimension_against_loops():
    x = np.random.default_rng(1).normal(size=(12, 4)) + 0.5
    cosines = [
        x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])
        for i in range(12)
        for j in range(i + 1, 12)
    ]
    np.testing.assert_allclose(sphere.pairwise_cosines(x), cosines, rtol=0, atol=1e-14)
    assert sphere.effective_dimension(x) == pytest.approx(1 / np.mean(np.square(cosines)))
    # Fewer rows than columns: the other Gram matrix.
    wide = np.hstack([x[:3], np.zeros((3, 9))])
    expected = 1 / np.mean(np.square(sphere.pairwise_cosines(wide)))
    assert sphere.effective_dimension(wide) == pytest.approx(expected)


def test_effective_dimension_of_known_data():
    rng = np.random.default_rng(2)
    isotropic = rng.normal(size=(4000, 20))
    assert sphere.effective_dimension(isotropic) == pytest.approx(20, rel=0.02)
    assert sphere.effective_dimension(isotropic + 7, center=True) == pytest.approx(20, rel=0.02)
    assert sphere.effective_dimension(isotropic + 7) < 1.1
    assert sphere.effective_dimension(np.outer(rng.normal(size=50), np.ones(8))) == pytest.approx(1)
    assert sphere.effective_dimension(np.eye(5)) == np.inf


@pytest.mark.parametrize("function", [sphere.pairwise_cosines, sphere.effective_dimension])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.ones(3), r"at least two rows, got shape \(3,\)"),
        (np.ones((1, 3)), r"at least two rows, got shape \(1, 3\)"),
        (np.array([[1.0, 2.0], [0.0, 0.0]]), "row 1 is not"),
        (np.array([[np.nan, 2.0], [1.0, 0.0]]), "row 0 is not"),
    ],
)
def test_bad_rows_are_named(function, x, message):
    with pytest.raises(ValueError, match=message):
        function(x)


def test_centring_that_leaves_a_zero_row_is_refused():
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="row 2 is not"):
        sphere.effective_dimension(x, center=True)
