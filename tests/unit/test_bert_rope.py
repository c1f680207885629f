"""RoPE against rotation matrices, the error formula against sampling, the exact routes at once."""

import numpy as np
import pytest
from scipy.linalg import expm

from kexian_utils.transformers import rope

rng = np.random.default_rng(0)
LAYOUTS = ("interleaved", "half")


def rotation_matrix(angles, layout):
    """The rotation as the exponential of its generator, acting on row vectors."""
    count = len(angles)
    generator = np.zeros((2 * count, 2 * count))
    for i, angle in enumerate(angles):
        a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + count)
        generator[a, b], generator[b, a] = angle, -angle
    return expm(generator)


def scores(query, key, frequencies=None, layout="interleaved"):
    """Scaled scores between all positions."""
    positions = np.arange(query.shape[-2])
    query, key = (rope.rotate(x, positions, frequencies, layout=layout) for x in (query, key))
    return query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])


def test_frequencies():
    np.testing.assert_allclose(rope.rope_frequencies(8, 10000.0), [1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rotation_is_that_of_its_generator(layout):
    x, positions, angles = rng.normal(size=(2, 3, 6)), np.array([0, 2, 7]), rng.normal(size=3)
    turned = rope.rotate(x, positions, angles, layout=layout)
    for n, position in enumerate(positions):
        expected = x[:, n] @ rotation_matrix(position * angles, layout)
        np.testing.assert_allclose(turned[:, n], expected, atol=1e-12)
    for kind in ("float32", "float16"):
        assert rope.rotate(x.astype(kind), positions, layout=layout).dtype == kind
        assert rope.repeat_rope_pairs(x.astype(kind), 2, layout=layout).dtype == kind


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_depend_on_distance_only(layout):
    query, key = rng.normal(size=(2, 1, 8))
    pair = [
        rope.rotate(np.repeat(x, 4, axis=0), np.array(p), layout=layout)
        for x, p in ((query, [0, 3, 50, 9]), (key, [5, 8, 55, 10]))
    ]
    inner = np.sum(pair[0] * pair[1], axis=-1)
    np.testing.assert_allclose(inner[:3], inner[0], atol=1e-12)
    assert abs(inner[3] - inner[0]) > 1e-3


def test_repeated_pairs():
    x = np.array([[1.0, 2, 3, 4]])
    np.testing.assert_allclose(
        rope.repeat_rope_pairs(x, 2) * np.sqrt(2), [[1, 2, 1, 2, 3, 4, 3, 4]]
    )
    np.testing.assert_allclose(
        rope.repeat_rope_pairs(x, 2, "half") * np.sqrt(2), [[1, 1, 2, 2, 3, 3, 4, 4]]
    )
    np.testing.assert_array_equal(rope.repeat_rope_pairs(x, 1), x)
    assert rope.repeat_rope_pairs(x.astype("float32"), 3).dtype == "float32"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("route", rope.ROUTES)
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_three_routes_keep_every_score(route, layout, factor):
    query, key = rng.normal(size=(2, 3, 40, 6))
    expected = scores(query, key, layout=layout)
    large = rope.expand_rope_query_key(query, key, factor, route, layout)
    heads = factor if route == "more heads" else 1
    assert large[0].shape == large[1].shape == (3 * heads, 40, 6 * factor // heads)
    got = scores(*large, layout=layout)
    np.testing.assert_allclose(got, np.repeat(expected, heads, axis=0), atol=1e-12)
    if route == "slots":  # the larger head's own table, and anything in the key's free slots
        np.testing.assert_array_equal(large[2], rope.rope_frequencies(6 * factor))
        free = large[0] == 0
        assert free.sum() == query.size * (factor - 1)
        key_with_rubbish = np.where(free, rng.normal(size=free.shape), large[1])
        got = scores(large[0], key_with_rubbish, large[2], layout)
        np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_error_formula_agrees_with_random_queries(factor, layout):
    distances = np.array([0, 1, 2, 4, 8, 16, 64, 256])
    query, key = rng.normal(size=(2, 4000, 1, 32))

    def inner(query, key):
        key = rope.rotate(np.repeat(key, 8, axis=1), distances, layout=layout)
        return np.sum(query * key, axis=-1)

    small = inner(query, key)
    large = inner(*(rope.repeat_rope_pairs(x, factor, layout) for x in (query, key)))
    measured = np.sqrt(np.mean((large - small) ** 2, axis=0) / np.mean(small**2, axis=0))
    expected = rope.rope_expansion_error(32, 10000.0, distances, factor)
    assert expected[0] == 0
    np.testing.assert_allclose(measured, expected, rtol=0.08, atol=1e-12)
    assert rope.rope_expansion_error(32, 10000.0, 4, factor) == pytest.approx(expected[3])


def test_error_formula_is_that_of_the_chapter_for_factor_two():
    theta, n = rope.rope_frequencies(32), 4.0
    other = theta * 10000.0 ** (-1 / 32)
    expected = np.sqrt(2 / 32 * np.sum(np.sin((theta - other) * n / 2) ** 2))
    assert rope.rope_expansion_error(32, 10000.0, n) == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.145, abs=0.005)  # measured independently, chapter 8444


def test_interleaving_single_components_tears_pairs_apart():
    query, key = rng.normal(size=(2, 1, 40, 6))
    torn = [np.repeat(x, 2, axis=-1) / 2**0.25 for x in (query, key)]
    error = np.abs(scores(*torn) - scores(query, key))
    assert error[0].max() > 0.1
    assert np.diagonal(error[0]).max() < 1e-12  # at distance 0 nothing is lost


def test_bad_input():
    x = rng.normal(size=(1, 2, 5))
    for call in (
        lambda: rope.rope_frequencies(5),
        lambda: rope.rope_frequencies(0),
        lambda: rope.rotate(x, [0, 1]),
        lambda: rope.repeat_rope_pairs(x, 2),
        lambda: rope.rope_expansion_error(7, 1e4, 1),
        lambda: rope.expand_rope_query_key(x, x, 2),
    ):
        with pytest.raises(ValueError, match="even"):
            call()
    x = rng.normal(size=(1, 2, 6))
    with pytest.raises(ValueError, match="base must be a finite number above 0, got 0"):
        rope.rope_frequencies(4, 0)
    with pytest.raises(ValueError, match="layout must be one of"):
        rope.rotate(x, [0, 1], layout="tiled")
    with pytest.raises(ValueError, match="x must hold real numbers, got complex128"):
        rope.rotate(x + 1j, [0, 1])
    with pytest.raises(ValueError, match=r"positions must have shape \(2,\), got \(3,\)"):
        rope.rotate(x, np.arange(3))
    with pytest.raises(ValueError, match=r"frequencies must have shape \(3,\), got \(2,\)"):
        rope.rotate(x, np.arange(2), np.ones(2))
    with pytest.raises(ValueError, match="factor must be a whole number of at least 1, got 0"):
        rope.repeat_rope_pairs(x, 0)
    with pytest.raises(ValueError, match="route must be one of"):
        rope.expand_rope_query_key(x, x, 2, "magic")
    with pytest.raises(ValueError, match=r"one shape .* got \(1, 2, 6\) and \(2, 6\)"):
        rope.expand_rope_query_key(x, x[0], 2)
