"""Focal loss against numerical minimisation; paths against enumeration and Stern's recurrence."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from kexian_utils.language import receptive_field
from kexian_utils.losses import focal


def _minimum(share, alpha, gamma):
    """Output at which the expected focal loss is least, by a search over the logit."""

    def loss(logit):
        p = 1 / (1 + np.exp(-logit))
        positive = -alpha * (1 - p) ** gamma * np.log(p)
        negative = -(1 - alpha) * p**gamma * np.log1p(-p)
        return share * positive + (1 - share) * negative

    best = optimize.minimize_scalar(
        loss, bounds=(-15, 15), method="bounded", options={"xatol": 1e-9}
    )
    return 1 / (1 + np.exp(-best.x))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 1.0), (0.75, 0.5), (0.4, 5.0)])
def test_focal_output_is_the_minimum(alpha, gamma):
    shares = np.array([0.01, 0.1, 0.25, 0.5, 0.9, 0.99])
    least = [_minimum(share, alpha, gamma) for share in shares]
    np.testing.assert_allclose(focal.focal_probability(shares, alpha, gamma), least, atol=1e-6)
    np.testing.assert_allclose(focal.focal_posterior(least, alpha, gamma), shares, atol=1e-5)


def test_focal_values():
    shares = [0.5, 0.25, 0.1, 0.05, 0.01]
    outputs = [0.3988, 0.3058, 0.2266, 0.1819, 0.1084]
    np.testing.assert_allclose(focal.focal_probability(shares), outputs, atol=5e-5)
    assert focal.focal_posterior(0.5) == pytest.approx(0.75, abs=1e-15)
    assert focal.focal_posterior(0.1) == pytest.approx(0.0078, abs=5e-5)
    assert focal.focal_probability(0.75) == pytest.approx(0.5, abs=1e-14)


def test_cross_entropy_is_the_special_case():
    p = np.array([[0.0, 1e-300, 1e-9], [0.3, 0.999, 1.0]])
    np.testing.assert_allclose(focal.focal_posterior(p, 0.5, 0.0), p, rtol=1e-12)
    np.testing.assert_allclose(focal.focal_probability(p, 0.5, 0.0), p, rtol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0, 6.0])
def test_focal_posterior_rises_and_inverts(gamma):
    p = np.concatenate([[0, 5e-324, 1e-200], np.linspace(0.01, 0.8, 500), [1 - 1e-15, 1]])
    posterior = focal.focal_posterior(p, gamma=gamma)
    assert posterior[0] == 0
    assert posterior[-1] == 1
    assert (np.diff(posterior) >= 0).all()
    assert (np.diff(posterior[2:-2]) > 0).all()
    inner = p[3:-2]
    back = focal.focal_probability(focal.focal_posterior(inner, gamma=gamma), gamma=gamma)
    np.testing.assert_allclose(back, inner, rtol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.2,), "must lie between 0 and 1, got 1.2"),
        (([0.5, np.nan],), "must lie between 0 and 1"),
        ((0.5, 0.0), "alpha must be a finite number above 0 and below 1, got 0.0"),
        ((0.5, 1.0), "alpha must be"),
        ((0.5, 0.25, -1.0), "gamma must be a finite number of at least 0"),
        ((0.5, 0.25, np.inf), "gamma must be"),
    ],
)
@pytest.mark.parametrize("function", [focal.focal_posterior, focal.focal_probability])
def test_focal_refuses(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


def test_receptive_fields_of_the_articles():
    assert receptive_field.receptive_field(3, [1, 1, 1]) == 7
    assert receptive_field.receptive_field(3, [1, 2, 4]) == 15
    assert receptive_field.receptive_field(3, [1, 2, 1]) == 9
    assert receptive_field.receptive_field(3, [1, 2, 4, 8, 16, 1]) == 65
    assert receptive_field.receptive_field(5, []) == 1
    assert receptive_field.receptive_field(1, [7, 9]) == 1


@pytest.mark.parametrize(
    ("rates", "kernel_size"), [([1, 1, 1], 3), ([1, 2, 4], 3), ([2, 3], 3), ([1, 5], 4), ([3], 5)]
)
def test_paths_against_enumeration(rates, kernel_size):
    ends = [
        sum(tap * rate for tap, rate in zip(taps, rates, strict=True))
        for taps in itertools.product(range(kernel_size), repeat=len(rates))
    ]
    counts = receptive_field.path_multiplicity(rates, kernel_size)
    assert counts.tolist() == np.bincount(ends).tolist()
    assert len(counts) == receptive_field.receptive_field(kernel_size, rates)


def test_powers_of_two_give_the_sequence_of_stern():
    def stern(n):
        if n < 2:
            return n
        return stern(n // 2) if n % 2 == 0 else stern(n // 2) + stern(n // 2 + 1)

    layers = 7
    counts = receptive_field.path_multiplicity([2**i for i in range(layers)]).tolist()
    upward = [stern(n + 1) for n in range(2**layers)]
    assert counts[: 2**layers] == upward
    assert counts == counts[::-1]
    assert receptive_field.path_multiplicity([1, 2, 4]).tolist() == [
        1,
        1,
        2,
        1,
        3,
        2,
        3,
        1,
        3,
        2,
        3,
        1,
        2,
        1,
        1,
    ]
    assert sum(counts) == 3**layers


def test_powers_of_three_give_one_path_each():
    counts = receptive_field.path_multiplicity([3**i for i in range(6)])
    assert counts.tolist() == [1] * 3**6


def test_gaps_appear_as_zeros():
    # No gap if and only if each rate is at most twice the sum of the smaller ones and 1.
    assert receptive_field.path_multiplicity([1, 4]).tolist() == [1, 1, 1, 0, 1, 1, 1, 0, 1, 1, 1]
    for rates in itertools.product(range(1, 9), repeat=3):
        ordered = sorted(rates)
        whole = all(r <= 2 * sum(ordered[:i]) + 1 for i, r in enumerate(ordered))
        assert bool((receptive_field.path_multiplicity(rates) > 0).all()) == whole


def test_many_layers():
    assert receptive_field.path_multiplicity([1] * 39).sum() == 3**39
    with pytest.raises(ValueError, match="fit in 63 bits, got 40 layers of 3 taps"):
        receptive_field.path_multiplicity([1] * 40)


@pytest.mark.parametrize("rates", [[0], [1, -2], [1, 1.5], [True]])
def test_rates_below_one(rates):
    with pytest.raises(ValueError, match="each of rates must be a whole number of at least 1"):
        receptive_field.path_multiplicity(rates)
    with pytest.raises(ValueError, match="each of rates must be a whole number of at least 1"):
        receptive_field.receptive_field(3, rates)


def test_kernel_sizes_below_one():
    with pytest.raises(ValueError, match="kernel_size must be .*got 0"):
        receptive_field.receptive_field(0, [1])
    with pytest.raises(ValueError, match="kernel_size must be .*got 0"):
        receptive_field.path_multiplicity([1], 0)
