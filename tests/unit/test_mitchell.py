"""Mitchell's product against a float64 reference by `frexp`, brute force, and the proven bounds."""

import struct

import numpy as np
import pytest

from kexian_utils.mathematics import mitchell

rng = np.random.default_rng(0)
ANY_BITS = rng.integers(0, 2**32, (2, 4000), dtype=np.uint32).view(np.float32)
SPECIAL = np.float32(
    [0, -0.0, 1, -1, 1.5, 1e-40, -1e-40, 2**-126, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan]
)


def reference(a, b, offset=0.0, sign=1):
    """E(L(|a|) + sign L(|b|) + offset) in float64, flushed and clipped to float32's range."""
    with np.errstate(all="ignore"):
        exact = (np.multiply if sign > 0 else np.divide)(*(flushed(v) for v in (a, b)))
    usual = np.isfinite(a) & np.isfinite(b) & (flushed(a) != 0) & (flushed(b) != 0)
    result = np.array(exact, dtype=float)
    p, q = (np.abs(np.where(usual, v, 1).astype(float)) for v in (a, b))
    logs = []
    for v in (p, q):
        half, exponent = np.frexp(v)
        logs.append(exponent - 1 + 2 * half - 1)
    s = logs[0] + sign * logs[1] + offset
    size = np.ldexp(1 + s - np.floor(s), np.floor(s).astype(int))
    size = np.where(size < 2.0**-126, 0, np.where(size >= 2.0**128, np.inf, size))
    signs = np.sign(np.where(usual, a, 1)) * np.sign(np.where(usual, b, 1))
    return np.where(usual, signs * size, result)


def flushed(v):
    return np.where(np.abs(v) < np.float32(2**-126), np.copysign(np.float32(0), v), v)


@pytest.mark.parametrize("offset", [0.0, 1 / 16, 0.5])
def test_products_of_any_bits(offset):
    found = mitchell.mitchell_multiply(*ANY_BITS, offset=offset)
    np.testing.assert_array_equal(found, reference(*ANY_BITS, offset).astype(np.float32))


def test_quotients_of_any_bits():
    expected = reference(*ANY_BITS, sign=-1).astype(np.float32)
    np.testing.assert_array_equal(mitchell.mitchell_divide(*ANY_BITS), expected)


def test_special_numbers_and_their_signs():
    a, b = SPECIAL[:, None], SPECIAL[None]
    for function, sign in ((mitchell.mitchell_multiply, 1), (mitchell.mitchell_divide, -1)):
        found, expected = function(a, b), reference(a, b, sign=sign)
        np.testing.assert_array_equal(found, expected.astype(np.float32))
        known = ~np.isnan(expected)
        zero = known & (found == 0)
        negative = np.signbit(a) ^ np.signbit(b)
        np.testing.assert_array_equal(np.signbit(found)[zero], negative[zero])


def test_the_bounds_are_kept_and_reached():
    p = np.float32(1 + np.arange(256) / 256)
    ratio = mitchell.mitchell_multiply(p[:, None], p[None]) / np.outer(p, p).astype(float)
    assert (ratio.min(), ratio.max()) == (pytest.approx(8 / 9, abs=1e-15), 1)
    ratio = mitchell.mitchell_divide(p[:, None], p[None]) * p[None].astype(float) / p[:, None]
    assert (ratio.min(), ratio.max()) == (1, 1.125)


def test_logarithm_and_power_are_inverse():
    p = np.exp(rng.normal(scale=20, size=500))
    np.testing.assert_allclose(mitchell.mitchell_exp2(mitchell.mitchell_log2(p)), p, rtol=1e-13)
    s = rng.uniform(-50, 50, 500)
    np.testing.assert_allclose(mitchell.mitchell_log2(mitchell.mitchell_exp2(s)), s, atol=1e-12)
    whole = np.arange(-40, 41)
    np.testing.assert_array_equal(mitchell.mitchell_log2(2.0**whole), whole)
    gap = np.log2(p) - mitchell.mitchell_log2(p)
    assert gap.min() >= -1e-12
    assert gap.max() <= 0.0861


def test_matrix_product_by_a_double_loop():
    a, b = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)
    a[0, 0] = 0
    expected = [[reference(row, column).sum() for column in b.T] for row in a]
    np.testing.assert_allclose(mitchell.mitchell_matmul(a, b), expected, rtol=1e-5)
    a[1, 2] = np.nan
    spoilt = mitchell.mitchell_matmul(a, b)
    assert np.isnan(spoilt[1]).all()
    assert np.isfinite(spoilt[[0, 2]]).all()


@pytest.mark.parametrize("value", [9.75, 1.0, -0.0, np.inf, -3.1e-40, 1e300])
def test_bits_against_struct(value):
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    whole = struct.unpack("<I", struct.pack("<f", single))[0]
    bits = mitchell.float32_bits(value)
    assert int(bits.replace(" ", ""), 2) == whole
    assert [len(part) for part in bits.split()] == [1, 8, 23]


def test_shapes():
    assert mitchell.mitchell_multiply(1.5, 1.5).shape == ()
    assert mitchell.mitchell_multiply(np.ones((2, 1)), np.ones(3)).shape == (2, 3)
    assert mitchell.mitchell_multiply(np.ones(0), 2.0).shape == (0,)
    assert mitchell.mitchell_divide(np.ones((2, 3)), 4.0).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mitchell.mitchell_log2([1.0, 0.0]), "p must be positive, got 0"),
        (lambda: mitchell.mitchell_log2([np.nan]), "p must"),
        (lambda: mitchell.mitchell_exp2(np.inf), "s must"),
        (lambda: mitchell.mitchell_multiply(np.ones(2), np.ones(3)), "broadcasts"),
        (lambda: mitchell.mitchell_multiply(1, 1, offset=1.0), "offset"),
        (lambda: mitchell.mitchell_matmul(np.ones((2, 3)), np.ones((2, 3))), "shapes"),
        (lambda: mitchell.mitchell_matmul(np.ones(3), np.ones((3, 2))), "shapes"),
    ],
)
def test_what_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
