r"""Rotary position embedding, RoPE (旋转位置编码), and how it grows with the head.

RoPE turns the i-th pair of a query or key of length d' at position n by the angle
:math:`n\theta_i`, :math:`\theta_i=B^{-2i/d'}`. There are two conventions of what a pair is:
"interleaved", components 2i and 2i + 1, as in the paper of Su and others (*RoFormer*,
https://arxiv.org/abs/2104.09864); and "half", components i and i + d'/2, as in most code today.
A larger head has other frequencies, and so repeating a head that RoPE acts on is exact only by one
of the routes of :func:`expand_rope_query_key`.

NumPy only. Arrays have the shape ``(..., positions, head size)``. Equation numbers are those of the
chapter on article 8444.
"""

from __future__ import annotations

import numpy as np

from kexian_utils import _checks

__all__ = [
    "expand_rope_query_key",
    "repeat_rope_pairs",
    "rope_expansion_error",
    "rope_frequencies",
    "rotate",
]

LAYOUTS = ("interleaved", "half")
ROUTES = ("more heads", "frequencies", "slots")


def rope_frequencies(head_dim: int, base: float = 10000.0) -> np.ndarray:
    r"""The angles per position, :math:`\theta_i=B^{-2i/d'}`.

    Args:
        head_dim: d', even and at least 2.
        base: B, positive.

    Returns:
        Shape ``(head_dim / 2,)``, radians per position.

    Raises:
        ValueError: for a head size that is odd or too small, or a base that is not positive.

    Source: kexue.fm/archives/8265; Su et al. 2021, section 3.2.2.

    Examples:
        >>> rope_frequencies(4).tolist()
        [1.0, 0.01]
    """
    if not isinstance(head_dim, (int, np.integer)) or head_dim < 2 or head_dim % 2:
        raise ValueError(f"head_dim must be an even whole number of at least 2, got {head_dim!r}")
    _checks.real("base", base, above=0)
    return float(base) ** (-2.0 * np.arange(head_dim // 2) / head_dim)


def rotate(
    x: np.ndarray,
    positions: np.ndarray,
    frequencies: np.ndarray | None = None,
    base: float = 10000.0,
    layout: str = "interleaved",
) -> np.ndarray:
    """Turn each pair by its frequency times the position.

    Args:
        x: queries or keys, shape ``(..., n, d')``.
        positions: shape ``(n,)``.
        frequencies: shape ``(d' / 2,)``, radians per position; None for the usual table.
        base: of the usual table.
        layout: which components form a pair, "interleaved" or "half".

    Returns:
        An array of the shape and floating type of `x`.

    Raises:
        ValueError: for an odd d', another layout, or shapes that do not fit.

    Examples:
        >>> x = np.array([[[1.0, 0.0], [1.0, 0.0]]])
        >>> rotate(x, [0, 1], frequencies=[np.pi / 2]).round(6).tolist()
        [[[1.0, 0.0], [0.0, 1.0]]]
    """
    pairs = to_pairs(x, layout)
    positions = np.asarray(positions)
    if positions.shape != pairs.shape[-2:-1]:
        raise ValueError(f"positions must have shape {pairs.shape[-2:-1]}, got {positions.shape}")
    if frequencies is None:
        frequencies = rope_frequencies(2 * pairs.shape[-1], base)
    frequencies = np.asarray(frequencies)
    if frequencies.shape != pairs.shape[-1:]:
        raise ValueError(f"frequencies must have shape {pairs.shape[-1:]}, got {frequencies.shape}")
    turns = np.exp(1j * np.outer(positions, frequencies))
    return from_pairs(pairs * turns.astype(pairs.dtype), layout, x)


def repeat_rope_pairs(x: np.ndarray, factor: int, layout: str = "interleaved") -> np.ndarray:
    """Repeat each pair `factor` times where it stands and divide by the root of `factor`.

    Lengths and inner products are kept, before RoPE acts. In the layout "half" this is plain
    repetition of components; in "interleaved" it is not, for that would tear pairs apart.

    Args:
        x: shape ``(..., n, d')``.
        factor: k, a whole number of at least 1.
        layout: "interleaved" or "half".

    Returns:
        Shape ``(..., n, k d')``.

    Raises:
        ValueError: for an odd d', a bad factor or another layout.

    Source: kexue.fm/archives/8444.

    Examples:
        >>> repeat_rope_pairs(np.array([[1.0, 2.0]]), 4).tolist()
        [[0.5, 1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 1.0]]
    """
    factor = _checks.whole("factor", factor, 1)
    return from_pairs(np.repeat(to_pairs(x, layout), factor, axis=-1), layout, x) / factor**0.5


def rope_expansion_error(
    head_dim: int, base: float, distance: float | np.ndarray, factor: int = 2
) -> np.ndarray:
    r"""Relative RMS error of a score when pairs are repeated under the larger head's frequencies.

    .. math:: \mathcal E(n)^2=\frac2{d'}\sum_i\Big|\frac1k\sum_{r=0}^{k-1}
        \big(e^{\mathrm i\tilde\theta_{ki+r}n}-e^{\mathrm i\theta_in}\big)\Big|^2,
        \qquad\tilde\theta_{ki+r}=\theta_iB^{-2r/(kd')},

    for random queries and keys without a preferred direction. With k = 2 the bars hold
    :math:`\sin^2\big((\theta_i-\tilde\theta_{2i+1})n/2\big)`.

    Args:
        head_dim: d' of the small head, even.
        base: B of the frequencies.
        distance: n, positions between query and key; a number or an array of any shape.
        factor: k, a whole number of at least 1.

    Returns:
        The error at each distance, 0 for equality and of order 1 for unrelated scores.

    Raises:
        ValueError: for an odd head size, a base that is not positive, or a bad factor.

    Source: equation (9) of chapter 8444, there for k = 2; not in the article.

    Examples:
        >>> error = rope_expansion_error(64, 10_000.0, np.arange(4))
        >>> error.shape
        (4,)
    """
    factor, distance = _checks.whole("factor", factor, 1), np.asarray(distance, dtype=float)
    small = rope_frequencies(head_dim, base)
    large = rope_frequencies(factor * head_dim, base).reshape(-1, factor)
    turns = np.exp(1j * distance[..., None, None] * large).mean(axis=-1)
    return np.sqrt(np.mean(np.abs(turns - np.exp(1j * distance[..., None] * small)) ** 2, axis=-1))


def expand_rope_query_key(
    query: np.ndarray,
    key: np.ndarray,
    factor: int,
    route: str = "more heads",
    layout: str = "interleaved",
    base: float = 10000.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Enlarge queries and keys so that RoPE gives the same scores, exactly.

    A score is :math:`\langle q,k\rangle/\sqrt{\text{head size}}` of rotated queries and keys. Each
    route keeps it at all positions:

    * "more heads" repeats whole heads and leaves their size and frequencies alone;
    * "frequencies" repeats pairs, and the table of frequencies with them, in place of the table
      that belongs to the larger head;
    * "slots" keeps the larger head's own table, whose frequency number k·i is the small head's
      number i: there the old pair goes. The other slots of the query are zero, and so those of
      the key may hold anything; here they hold copies.

    Wider heads divide scores by another :math:`\sqrt k`, hence a factor of :math:`k^{1/4}` in both.

    Args:
        query: before rotation, shape ``(..., heads, n, d')``.
        key: of the same shape.
        factor: k, a whole number of at least 1.
        route: one of the three.
        layout: "interleaved" or "half".
        base: of the small head's frequencies.

    Returns:
        Query, key and frequencies for :func:`rotate`: ``(..., k heads, n, d')`` and
        ``(d' / 2,)`` for "more heads", ``(..., heads, n, k d')`` and ``(k d' / 2,)`` otherwise.

    Raises:
        ValueError: for an odd d', shapes that differ or lack an axis, or a bad factor or word.

    Source: chapter 8444, the section on RoPE; not in the article.

    Examples:
        >>> q, k = np.random.default_rng(0).normal(size=(2, 1, 3, 4))  # a head of size 4
        >>> def scores(q, k, frequencies):
        ...     q, k = (rotate(x, np.arange(3), frequencies) for x in (q, k))
        ...     return q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
        >>> q2, k2, frequencies = expand_rope_query_key(q, k, 2, "slots")  # of size 8
        >>> np.allclose(scores(q2, k2, frequencies), scores(q, k, rope_frequencies(4)))
        True
    """
    factor, query, key = _checks.whole("factor", factor, 1), np.asarray(query), np.asarray(key)
    if route not in ROUTES:
        raise ValueError(f"route must be one of {ROUTES}, got {route!r}")
    if query.ndim < 3 or query.shape != key.shape:
        raise ValueError(
            "query and key must have one shape (..., heads, n, d'), "
            f"got {query.shape} and {key.shape}"
        )
    pairs = to_pairs(query, layout)
    head_dim = query.shape[-1]
    frequencies = rope_frequencies(head_dim, base)
    if route == "more heads":
        return np.repeat(query, factor, axis=-3), np.repeat(key, factor, axis=-3), frequencies
    if route == "frequencies":
        scale = factor**0.25
        query, key = (scale * repeat_rope_pairs(x, factor, layout) for x in (query, key))
        return query, key, np.repeat(frequencies, factor)
    spread = np.zeros((*pairs.shape[:-1], factor * pairs.shape[-1]), pairs.dtype)
    spread[..., ::factor] = factor**0.25 * pairs
    key = factor**0.75 * repeat_rope_pairs(key, factor, layout)
    return from_pairs(spread, layout, query), key, rope_frequencies(factor * head_dim, base)


def to_pairs(x: np.ndarray, layout: str) -> np.ndarray:
    """Write each pair as one complex number, whose argument RoPE increases."""
    x = np.asarray(x)
    if x.dtype.kind not in "biuf":
        raise ValueError(f"x must hold real numbers, got {x.dtype}")
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {LAYOUTS}, got {layout!r}")
    if x.ndim < 2 or x.shape[-1] % 2 or x.shape[-1] == 0:
        raise ValueError(f"x must have shape (..., n, d') with d' even, got {x.shape}")
    if layout == "interleaved":
        return x[..., ::2] + 1j * x[..., 1::2]
    half = x.shape[-1] // 2
    return x[..., :half] + 1j * x[..., half:]


def from_pairs(pairs: np.ndarray, layout: str, like: np.ndarray) -> np.ndarray:
    """The components, in the floating type of `like`: there are no complex numbers of float16."""
    kind = np.asarray(like).dtype
    parts = [part.astype(kind) if kind.kind == "f" else part for part in (pairs.real, pairs.imag)]
    if layout == "half":
        return np.concatenate(parts, axis=-1)
    return np.stack(parts, axis=-1).reshape(*pairs.shape[:-1], -1)
