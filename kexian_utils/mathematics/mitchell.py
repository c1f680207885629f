r"""Mitchell's approximation: products and quotients of floats by one addition of their bits.

The bits of a positive float32 :math:`p=2^n(1+x)`, read as a whole number, are
:math:`2^{23}(127+n+x)`: a constant plus a piecewise linear logarithm of :math:`p`, times
:math:`2^{23}`. So adding the patterns of two floats and subtracting that of 1.0 multiplies them,
with an error of at most one ninth. Equation numbers are those of the chapter on article 7991
(https://kexue.fm/archives/7991); J. N. Mitchell, *Computer Multiplication and Division Using Binary
Logarithms*, 1962.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kexian_utils import _checks

__all__ = [
    "ONE",
    "float32_bits",
    "mitchell_divide",
    "mitchell_exp2",
    "mitchell_log2",
    "mitchell_matmul",
    "mitchell_multiply",
]

ONE = 0x3F800000  # the bits of 1.0, 127 * 2**23
_MAGNITUDE = np.int32(0x7FFFFFFF)  # all bits but the sign's
_SMALLEST = 0x00800000  # bits of the smallest normal float32, 2**-126
_INFINITY = 0x7F800000
_FRACTION = 23  # bits of the fraction


def float32_bits(value: float) -> str:
    """The 32 bits of a number in single precision: sign, exponent, fraction.

    Args:
        value: any real number, infinities and NaN included; it is rounded to float32.

    Returns:
        "s eeeeeeee fffffffffffffffffffffff", 34 characters.

    Examples:
        >>> float32_bits(9.75)
        '0 10000010 00111000000000000000000'
    """
    with np.errstate(over="ignore"):
        pattern = f"{np.float32(value).view(np.uint32):032b}"
    return f"{pattern[0]} {pattern[1:9]} {pattern[9:]}"


def mitchell_log2(p: Any) -> np.ndarray:
    r"""Mitchell's logarithm, equation (3): :math:`n+x` for :math:`p=2^n(1+x)`, :math:`0\le x<1`.

    Args:
        p: positive finite numbers, any shape; computed in float64.

    Returns:
        The logarithms, float64, in the shape of `p`; at most 0.0861 below the base-2 logarithm
        and never above it.

    Raises:
        ValueError: a number is not positive and finite.

    Examples:
        >>> mitchell_log2([0.5, 1, 1.5, 2, 12]).tolist()
        [-1.0, 0.0, 0.5, 1.0, 3.5]
    """
    p = _checks.finite("p", np.asarray(p, dtype=float))
    if not (p > 0).all():
        raise ValueError(f"p must be positive, got {p[~(p > 0)].flat[0]:g}")
    half, exponent = np.frexp(p)  # p = half * 2**exponent with half in [0.5, 1)
    return exponent - 1 + (2 * half - 1)


def mitchell_exp2(s: Any) -> np.ndarray:
    r"""Mitchell's power of two, the inverse of :func:`mitchell_log2`, equation (4).

    Args:
        s: finite numbers, any shape; computed in float64.

    Returns:
        :math:`2^{\lfloor s\rfloor}(1+s-\lfloor s\rfloor)`, float64, in the shape of `s`.

    Raises:
        ValueError: a number is not finite.

    Examples:
        >>> mitchell_exp2([-1, 0.5, 3.5]).tolist()
        [0.5, 1.5, 12.0]
    """
    s = _checks.finite("s", np.asarray(s, dtype=float))
    whole = np.floor(s)
    return np.ldexp(1 + (s - whole), whole.astype(np.int64))


def mitchell_multiply(a: Any, b: Any, offset: float = 0.0) -> np.ndarray:
    r"""Mitchell's product by one addition of the bits, equation (7), safe for every input.

    Args:
        a: numbers, any shape; rounded to float32.
        b: numbers of a shape that broadcasts with that of `a`; rounded to float32.
        offset: added to the sum of the logarithms, from 0 to below 1, equation (17).

    Returns:
        The products, float32. Zero where an operand is zero or subnormal or the result is below
        the smallest normal number; infinite where it is above the largest; where an operand is
        not finite, the ordinary product (so NaN comes out as NaN).

    Raises:
        ValueError: the shapes do not broadcast, or `offset` is outside [0, 1).

    Examples:
        >>> mitchell_multiply([1.5, -3.0, 0.0], [1.5, 4.0, 7.0]).tolist()
        [2.0, -12.0, 0.0]
    """
    shift = round(_checks.real("offset", offset, least=0, below=1) * 2**_FRACTION)
    a, b = _float32(a), _float32(b)
    return _combine(a, b, lambda p, q: (p - ONE) + q + shift, np.multiply)


def mitchell_divide(a: Any, b: Any) -> np.ndarray:
    r"""Mitchell's quotient by one subtraction of the bits, equation (15), safe for every input.

    Args:
        a: numerators, any shape; rounded to float32.
        b: denominators of a shape that broadcasts with that of `a`; rounded to float32.

    Returns:
        The quotients, float32, at most an eighth too large. A subnormal operand counts as zero;
        where an operand is zero or not finite, the ordinary quotient (0/0 is NaN); zero where the
        result is below the smallest normal number, infinite where it is above the largest.

    Raises:
        ValueError: the shapes do not broadcast.

    Examples:
        >>> mitchell_divide([1.0, 12.0, 0.0], [1.5, -4.0, 3.0]).tolist()
        [0.75, -3.0, 0.0]
    """
    a, b = _float32(a), _float32(b)
    return _combine(a, b, lambda p, q: p - (q - ONE), np.divide)


def mitchell_matmul(a: Any, b: Any) -> np.ndarray:
    """Matrix product in which every product of two numbers is Mitchell's; sums are ordinary ones.

    Args:
        a: shape ``(m, k)``; rounded to float32.
        b: shape ``(k, n)``; rounded to float32.

    Returns:
        Shape ``(m, n)``, float32. It takes m*k*n numbers of working memory.

    Raises:
        ValueError: the arguments are no matrices, or their inner sizes differ.

    Examples:
        >>> mitchell_matmul([[1.5, 2.0]], [[1.5], [4.0]]).tolist()
        [[10.0]]
    """
    a, b = _float32(a), _float32(b)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(
            f"a and b must have shapes (m, k) and (k, n), got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return mitchell_multiply(a[:, :, None], b[None]).sum(axis=1)


def _float32(value: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(value, dtype=np.float32)


def _combine(a: np.ndarray, b: np.ndarray, rule: Any, ordinary: Any) -> np.ndarray:
    """Apply `rule` to the patterns without signs, and treat what is no normal number."""
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"b must have a shape that broadcasts with {a.shape}, got {b.shape}"
        ) from None
    # At least one axis: arithmetic of NumPy's scalars warns where that of arrays wraps round.
    p, q = (np.atleast_1d(v).view(np.int32) for v in (a, b))
    sign = (p ^ q) & ~_MAGNITUDE
    p, q = p & _MAGNITUDE, q & _MAGNITUDE
    # Of two normal numbers the pattern lies between -0x3f7fffff and 0xbffffffe, before it wraps
    # round at 0x80000000: so what is too large comes out above infinity or below -0x40000000.
    pattern = rule(p, q)
    large = (pattern >= _INFINITY) | (pattern < -0x40000000)
    pattern = np.where(large, _INFINITY, np.where(pattern < _SMALLEST, 0, pattern))
    normal_p, normal_q = (v >= _SMALLEST for v in (p, q))
    usual = normal_p & normal_q & (p < _INFINITY) & (q < _INFINITY)
    result = (pattern.astype(np.int32) | sign).view(np.float32)
    if not usual.all():
        with np.errstate(all="ignore"):
            flushed = [
                np.where(ok, v, np.copysign(np.float32(0), v))
                for ok, v in ((normal_p, a), (normal_q, b))
            ]
            result = np.where(usual, result, ordinary(*flushed))
    return result.reshape(shape)
