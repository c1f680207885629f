"""Rotary codes of positions in the plane, against exponentials of generators and plain RoPE."""

import numpy as np
import pytest
from scipy.linalg import expm

from kexian_utils.transformers import rope, rope_2d

rng = np.random.default_rng(0)
LAYOUTS = ("interleaved", "half")
CODES = {
    "axial": rope_2d.axial_frequencies(16),
    "diagonal": rope_2d.diagonal_frequencies(16),
    "mixed": rope_2d.mixed_frequencies(16, seed=3),
    "flattened": rope_2d.flattened_frequencies(16, width=7),
}


def generators(frequencies, layout):
    """One skew matrix for each number of a position, acting on column vectors."""
    count, dimensions = frequencies.shape
    found = np.zeros((dimensions, 2 * count, 2 * count))
    for i in range(count):
        a, b = (2 * i, 2 * i + 1) if layout == "interleaved" else (i, i + count)
        found[:, b, a], found[:, a, b] = frequencies[i], -frequencies[i]
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("code", CODES)
def test_rotation_is_the_exponential_of_commuting_generators(code, layout):
    x, positions = rng.normal(size=(2, 5, 16)), rng.normal(scale=5, size=(5, 2))
    turned = rope_2d.rotate_nd(x, positions, CODES[code], layout)
    for n, p in enumerate(positions):
        matrix = expm(np.tensordot(p, generators(CODES[code], layout), 1))
        np.testing.assert_allclose(turned[:, n], x[:, n] @ matrix.T, atol=1e-12)
    assert rope_2d.rotate_nd(x.astype("float32"), positions, CODES[code]).dtype == "float32"


@pytest.mark.parametrize("code", CODES)
def test_scores_depend_on_differences_only(code):
    query, key = rng.normal(size=(2, 9, 16))
    places = rng.normal(scale=4, size=(9, 2))
    scores = [
        rope_2d.rotate_nd(query, places + shift, CODES[code])
        @ rope_2d.rotate_nd(key, places + shift, CODES[code]).T
        for shift in ([0, 0], [3, -2], [0.5, 11])
    ]
    np.testing.assert_allclose(scores[1:], [scores[0]] * 2, atol=1e-11)
    other = rope_2d.rotate_nd(key, places + [0.5, 0], CODES[code])  # only the keys are moved
    assert np.abs(rope_2d.rotate_nd(query, places, CODES[code]) @ other.T - scores[0]).max() > 0.1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_dimension_is_plain_rope(layout):
    x, n = rng.normal(size=(3, 6, 8)), np.arange(6)
    table = rope_2d.axial_frequencies(8, dimensions=1, base=10000.0)
    np.testing.assert_allclose(
        rope_2d.rotate_nd(x, n[:, None], table, layout),
        rope.rotate(x, n, layout=layout),
        atol=1e-14,
    )


def test_flattening_is_plain_rope_of_the_index():
    x, places = rng.normal(size=(35, 16)), rope_2d.grid_positions(5, 7)
    np.testing.assert_allclose(
        rope_2d.rotate_nd(x, places, CODES["flattened"]),
        rope.rotate(x, np.arange(35), base=100.0),
        atol=1e-12,
    )


def test_axes_can_be_swapped_together_with_halves():
    query, key = rng.normal(size=(2, 12, 16))
    places = rope_2d.grid_positions(3, 4)

    def scores(query, key, places):
        turned = [rope_2d.rotate_nd(x, places, CODES["axial"]) for x in (query, key)]
        return turned[0] @ turned[1].T

    swapped = [np.roll(x, 8, axis=-1) for x in (query, key)]
    expected = scores(query, key, places)
    np.testing.assert_allclose(scores(*swapped, places[:, ::-1]), expected, atol=1e-12)


def test_tables():
    np.testing.assert_allclose(
        rope_2d.axial_frequencies(8), [[1, 0], [0.1, 0], [0, 1], [0, 0.1]], atol=1e-15
    )
    assert rope_2d.axial_frequencies(12, dimensions=3).shape == (6, 3)
    np.testing.assert_allclose(
        rope_2d.diagonal_frequencies(8), [[1, 1], [0.1, 0.1], [1, -1], [0.1, -0.1]], atol=1e-15
    )
    np.testing.assert_allclose(
        np.linalg.norm(CODES["mixed"], axis=1), np.tile(10.0 ** -np.arange(0, 2, 0.5), 2)
    )
    assert not np.array_equal(CODES["mixed"], rope_2d.mixed_frequencies(16, seed=4))
    np.testing.assert_array_equal(
        rope_2d.grid_positions(2, 3, first=(1, 2)),
        [[1, 2], [1, 3], [1, 4], [2, 2], [2, 3], [2, 4]],
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: rope_2d.axial_frequencies(10), "head_dim must be divisible by 4"),
        (lambda: rope_2d.axial_frequencies(8, dimensions=3), "divisible by 6"),
        (lambda: rope_2d.axial_frequencies(8, dimensions=0), "dimensions must be a whole"),
        (lambda: rope_2d.axial_frequencies(8, base=0), "base must be a finite"),
        (lambda: rope_2d.diagonal_frequencies(6), "head_dim must be divisible by 4"),
        (lambda: rope_2d.mixed_frequencies(8, seed=-1), "seed must be a whole number"),
        (lambda: rope_2d.flattened_frequencies(8, width=0), "width must be a whole number"),
        (lambda: rope_2d.flattened_frequencies(7, width=2), "even whole number"),
        (lambda: rope_2d.grid_positions(0, 3), "rows must be a whole number of at least 1"),
        (lambda: rope_2d.grid_positions(2, 2.5), "columns must be .* got 2.5"),
        (lambda: rope_2d.rotary_angles(np.ones((4, 3)), np.ones((5, 2))), r"\(4, 3\)"),
        (lambda: rope_2d.rotary_angles(np.ones(2), np.ones(2)), "shapes"),
        (lambda: rope_2d.rotate_nd(np.ones((3, 8)), np.ones((3, 2)), np.ones((3, 2))), "angles"),
        (lambda: rope_2d.rotate_nd(np.ones((3, 7)), np.ones((3, 2)), np.ones((3, 2))), "d' even"),
        (
            lambda: rope_2d.rotate_nd(np.ones((3, 8)), np.ones((3, 2)), np.ones((4, 2)), "other"),
            "layout",
        ),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
