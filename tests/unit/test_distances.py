"""Distances of samples against closed forms, brute force and SciPy."""

from itertools import permutations

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from kexian_utils.generative import distances

RNG = np.random.default_rng(0)
CENTERS = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])


def test_assignment_is_the_best_of_all_permutations():
    a, b = RNG.normal(size=(2, 6, 3))
    every = [np.linalg.norm(a - b[list(p)], axis=1).mean() for p in permutations(range(6))]
    assert distances.wasserstein1_exact(a, b) == pytest.approx(min(every), rel=1e-12)


def test_on_a_line_both_are_scipys():
    a, b = RNG.normal(size=(2, 50, 1)) * [[[1]], [[2]]]
    expected = wasserstein_distance(a[:, 0], b[:, 0])
    assert distances.wasserstein1_exact(a, b) == pytest.approx(expected, rel=1e-12)
    assert distances.sliced_wasserstein(a, b, 3) == pytest.approx(expected, rel=1e-12)


def test_a_shift():
    a = RNG.normal(size=(80, 2))
    shifted = a + [3.0, -4.0]
    assert distances.wasserstein1_exact(a, shifted) == pytest.approx(5, rel=1e-12)
    # In the plane the mean of |cos| over all directions is 2/pi.
    sliced = distances.sliced_wasserstein(a, shifted, 4000, np.random.default_rng(1))
    assert sliced == pytest.approx(5 * 2 / np.pi, rel=0.03)
    assert distances.frechet_distance(a, shifted) == pytest.approx(25, rel=1e-10)


def test_slices_never_exceed_the_distance_and_take_unequal_sizes():
    a, b = RNG.normal(size=(2, 40, 3)) + np.array([0, 1])[:, None, None]
    assert distances.sliced_wasserstein(a, b) < distances.wasserstein1_exact(a, b)
    assert distances.sliced_wasserstein(a, np.repeat(a, 3, axis=0)) == pytest.approx(0, abs=1e-12)
    assert distances.sliced_wasserstein(a, b, rng=4) == distances.sliced_wasserstein(a, b, rng=4)
    assert distances.sliced_wasserstein(a, b, rng=4) != distances.sliced_wasserstein(a, b, rng=5)


def test_frechet_against_scipys_matrix_root():
    mix = RNG.normal(size=(4, 4))
    a, b = RNG.normal(size=(60, 4)), RNG.normal(size=(90, 4)) @ mix + 1
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(0) - b.mean(0)
    expected = shift @ shift + np.trace(first + second - 2 * sqrtm(first @ second)).real
    assert distances.frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert distances.frechet_distance(b, a) == pytest.approx(expected, rel=1e-8)
    assert distances.frechet_distance(a, a) < 1e-9
    assert distances.frechet_distance(a, 3 * a) == pytest.approx(
        4 * (a.mean(0) @ a.mean(0) + np.trace(first)), rel=1e-9
    )


def test_frechet_where_a_feature_is_constant():
    a = np.c_[RNG.normal(size=30), np.zeros(30)]
    assert distances.frechet_distance(a, a + [0, 2]) == pytest.approx(4, rel=1e-9)


def test_coverage_counts_shares():
    samples = np.repeat([[0.1, 0], [4, 0.2], [0, 4.9], [2, 2]], [50, 3, 40, 7], axis=0)
    found = distances.mode_coverage(samples, CENTERS, radius=0.5)
    assert found == (2, 0.53)
    assert distances.mode_coverage(samples, CENTERS, 1.0) == (3, 0.93)
    assert distances.mode_coverage(samples, CENTERS, 1.0, min_share=0.04).modes == 2
    assert distances.mode_coverage(CENTERS, CENTERS, 0.1, 1 / 3) == (3, 1.0)


def test_a_sample_counts_for_its_nearest_mode_only():
    close = np.array([[0.0], [1.0]])
    assert distances.mode_coverage(np.full((9, 1), 0.2), close, 5.0).modes == 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: distances.wasserstein1_exact(np.ones(3), np.ones((3, 1))), "a must have shape"),
        (lambda: distances.wasserstein1_exact(np.ones((3, 2)), np.ones((3, 1))), "dimension"),
        (lambda: distances.wasserstein1_exact(np.ones((3, 1)), np.ones((4, 1))), "3 and 4"),
        (lambda: distances.sliced_wasserstein([[np.nan]], [[1.0]]), "a must be finite"),
        (lambda: distances.sliced_wasserstein([[1.0]], [[1.0]], 0), "directions must be"),
        (lambda: distances.frechet_distance([[1.0]], [[1.0], [2.0]]), "at least 2 points"),
        (lambda: distances.mode_coverage(CENTERS, np.ones((0, 2)), 1), "centers must have shape"),
        (lambda: distances.mode_coverage(CENTERS, CENTERS, 0), "radius must be positive"),
        (lambda: distances.mode_coverage(CENTERS, CENTERS, 1, 0), "min_share must lie"),
        (lambda: distances.mode_coverage(CENTERS, CENTERS, 1, 1.5), "min_share must lie"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
