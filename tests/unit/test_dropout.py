"""Dropout's bits, covariance and penalty against enumeration, Keras and augmented data."""

import itertools

import numpy as np
import pytest

from kexian_utils.foundations import dropout

SHAPE = (3, 4, 5)
NOISE_SHAPES = list(itertools.product(*[(1, size) for size in SHAPE]))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("noise_shape", NOISE_SHAPES)
def test_a_mask_is_constant_exactly_along_the_shared_axes(noise_shape):
    masks = np.stack([dropout.dropout_mask(SHAPE, 0.6, noise_shape, rng=rng(s)) for s in range(99)])
    assert set(np.unique(masks)) == {0.0, 2.5}
    for axis, size in enumerate(noise_shape):
        varies = np.ptp(masks, axis=axis + 1).any()
        assert varies == (size > 1)
    # 99 masks of P bits each: five standard deviations of the mean
    bits = 99 * np.prod(noise_shape)
    assert abs(masks.mean() - 1) < 5 * np.sqrt(1.5 / bits)


def test_groups_number_the_bits():
    for noise_shape in NOISE_SHAPES:
        groups = dropout.noise_groups(SHAPE, noise_shape)
        assert groups.shape == SHAPE
        assert len(np.unique(groups)) == np.prod(noise_shape)
        mask = dropout.dropout_mask(SHAPE, 0.5, noise_shape, rng=rng(1))
        for group in np.unique(groups):
            assert len(np.unique(mask[groups == group])) == 1
    assert np.array_equal(dropout.noise_groups((2, 3), (2, 1)), [[0, 0, 0], [1, 1, 1]])
    assert np.array_equal(dropout.noise_groups((2, 3), (None, 1)), [[0, 0, 0], [1, 1, 1]])


def test_keras_shares_the_same_bits():
    keras = pytest.importorskip("keras")
    for noise_shape in NOISE_SHAPES:
        drawn = [
            keras.ops.convert_to_numpy(
                keras.random.dropout(np.ones(SHAPE, "f4"), 0.5, noise_shape, seed=s)
            )
            for s in range(20)
        ]
        draws = np.stack(drawn).reshape(20, -1)
        together = (draws[:, :, None] == draws[:, None, :]).all(axis=0)
        groups = dropout.noise_groups(SHAPE, noise_shape).ravel()
        # two independent bits agree 20 times once in a million
        assert np.array_equal(together, groups[:, None] == groups)


def test_rates_at_the_ends():
    assert np.array_equal(dropout.dropout_mask((2, 2), 0, rng=rng()), np.ones((2, 2)))
    assert np.array_equal(dropout.dropout_mask((2, 2), 1, rng=rng()), np.zeros((2, 2)))
    first, again = (dropout.dropout_mask((9, 9), 0.3, rng=rng(7)) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.flags.writeable


def all_masks(groups, rate):
    """Every mask with its probability."""
    count = groups.max() + 1
    for bits in itertools.product((0, 1), repeat=int(count)):
        kept = np.array(bits)
        yield kept[groups] / (1 - rate), np.prod(np.where(kept, 1 - rate, rate))


@pytest.mark.parametrize("noise_shape", [(2, 3), (1, 3), (2, 1), (1, 1)])
def test_covariance_by_enumeration(noise_shape):
    x = rng(2).normal(size=(2, 3))
    pairs = list(all_masks(dropout.noise_groups(x.shape, noise_shape), 0.3))
    weights = np.array([p for _, p in pairs])
    values = np.array([(x * mask).ravel() for mask, _ in pairs])
    assert weights.sum() == pytest.approx(1)
    expected = np.cov(values.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(
        dropout.dropout_covariance(x, 0.3, noise_shape), expected, atol=1e-12
    )


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2], [0, 0, 0, 0]])
def test_ridge_solution_is_least_squares_on_all_masked_copies(groups):
    x, y = rng(3).normal(size=(7, 4)), rng(4).normal(size=7)
    numbers = np.arange(4) if groups is None else np.array(groups)
    pairs = list(all_masks(numbers, 0.4))
    copies = np.vstack([np.sqrt(p) * x * mask for mask, p in pairs])
    targets = np.concatenate([np.sqrt(p) * y for _, p in pairs])
    expected = np.linalg.lstsq(copies, targets, rcond=None)[0]
    found = dropout.dropout_ridge_solution(x, y, 0.4, None if groups is None else numbers)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    both = dropout.dropout_ridge_solution(x, np.column_stack([y, 2 * y]), 0.4)
    np.testing.assert_allclose(both[:, 1], 2 * both[:, 0])


def test_geometric_mean_is_the_product_of_powers():
    p = rng(5).dirichlet(np.ones(4), size=(3, 2))
    weights = np.array([0.5, 0.3, 0.2])
    product = p[0] ** 0.5 * p[1] ** 0.3 * p[2] ** 0.2
    expected = product / product.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(dropout.geometric_mean_probs(np.log(p), weights), expected)
    shifted = np.log(p) + rng(6).normal(size=(3, 2, 1))  # logits
    np.testing.assert_allclose(dropout.geometric_mean_probs(shifted, weights), expected)
    equal = dropout.geometric_mean_probs(1e4 + np.log(p))
    np.testing.assert_allclose(equal, dropout.geometric_mean_probs(np.log(p), np.full(3, 1 / 3)))


def test_drop_words_replaces_whole_words():
    words = np.arange(1, 10_001, dtype=np.int32).reshape(100, 100)
    found = dropout.drop_words(words, 0.3, -1, rng=rng())
    assert found.dtype == words.dtype
    assert np.array_equal(found[found != -1], words[found != -1])
    assert abs(np.mean(found == -1) - 0.3) < 5 * np.sqrt(0.21 / 1e4)
    assert np.array_equal(dropout.drop_words(words, 0, -1, rng=rng()), words)
    assert (dropout.drop_words(words, 1, -1, rng=rng()) == -1).all()


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), True])
def test_rates_out_of_range_are_refused(rate):
    with pytest.raises(ValueError, match="rate must be a finite number from 0 to 1, got"):
        dropout.dropout_mask((2,), rate, rng=rng())
    with pytest.raises(ValueError, match="rate must be a finite number from 0 to 1, got"):
        dropout.drop_words(np.arange(3), rate, 0, rng=rng())


@pytest.mark.parametrize(
    ("noise_shape", "message"),
    [
        ((5,), "as many entries as shape"),
        ((1, 3, 4, 5), "as many entries as shape"),
        ((2, 4, 5), "1, None or the size of the axis"),
        ((0, 4, 5), "1, None or the size of the axis"),
    ],
)
def test_noise_shapes_that_do_not_fit_are_refused(noise_shape, message):
    for call in (
        lambda: dropout.dropout_mask(SHAPE, 0.5, noise_shape, rng=rng()),
        lambda: dropout.noise_groups(SHAPE, noise_shape),
        lambda: dropout.dropout_covariance(np.ones(SHAPE), 0.5, noise_shape),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_other_bad_input():
    x, y = np.ones((3, 2)), np.ones(3)
    with pytest.raises(ValueError, match="rate must be less than 1"):
        dropout.dropout_ridge_solution(x, y, 1)
    with pytest.raises(ValueError, match="rate must be less than 1"):
        dropout.dropout_covariance(y, 1.0)
    with pytest.raises(ValueError, match="x must have shape"):
        dropout.dropout_ridge_solution(x, np.ones(4), 0.5)
    with pytest.raises(ValueError, match=r"groups must have shape \(2,\)"):
        dropout.dropout_ridge_solution(x, y, 0.5, np.arange(3))
    with pytest.raises(ValueError, match="log_probs needs shape"):
        dropout.geometric_mean_probs(np.zeros(3))
    for weights in ([0.5, 0.6], [1.0], [-0.5, 1.5]):
        with pytest.raises(ValueError, match="weights must be 2 numbers"):
            dropout.geometric_mean_probs(np.zeros((2, 3)), weights)
    with pytest.raises(TypeError, match="token_ids must be integers, got float64"):
        dropout.drop_words(np.ones(3), 0.5, 0, rng=rng())
