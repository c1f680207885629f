"""Make a Transformer larger without changing what it computes (无损放大): width, depth, ties.

The rules themselves, one per tensor, stand in :mod:`kexian_utils.bert.rules`; the derivation is
that of kexue.fm/archives/8444 with its corrections. NumPy throughout, except where a Keras model
comes in; Keras is imported only then.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kexian_utils.bert.rules import AXES, HEADS, check_factor

__all__ = ["antisymmetric_noise", "twin_axis"]

PATTERNS = ("interleave", "tile")


def twin_axis(role: str, heads: str = "wider") -> int | None:
    """The axis of a tensor along which equal twins come in (成对的输入), in the layout of Keras.

    Args:
        role: a name in ``rules.AXES``.
        heads: how the model was expanded, "wider" or "more". The attention output reads twins
            inside each head in the first case, whole twin heads in the second.

    Returns:
        The axis; None for tensors that read no twins: embeddings, biases, LayerNorm parameters.

    Raises:
        ValueError: for an unknown role or word.
    """
    if role not in AXES:
        raise ValueError(f"role must be one of {', '.join(AXES)}, got {role!r}")
    if heads not in HEADS:
        raise ValueError(f"heads must be one of {HEADS}, got {heads!r}")
    if not role.endswith("_kernel"):
        return None
    return 1 if role == "attention_output_kernel" and heads == "wider" else 0


def antisymmetric_noise(
    kernel: np.ndarray,
    factor: int,
    axis: int,
    relative_std: float,
    seed: int | Sequence[int],
    pattern: str = "interleave",
) -> np.ndarray:
    r"""Random numbers whose twins along `axis` add up to zero (反对称噪声).

    A kernel that reads :math:`\tilde x`, in which each component comes `factor` times, computes
    the same with the noise as without: :math:`\tilde x(\tilde W+N)=\tilde x\tilde W`. But twins
    then receive different gradients, which those of plain copies never do.

    Args:
        kernel: an expanded kernel of any shape; its length along `axis` is a multiple of `factor`.
        factor: k, at least 2. For 2 the twins are +n and -n; for more, independent normal numbers
            less their mean over the twins, rescaled.
        axis: the axis along which equal twins come in, see :func:`twin_axis`.
        relative_std: standard deviation of the noise in units of the kernel's own; not negative.
        seed: whole number, or several, not negative.
        pattern: "interleave" when twins are neighbours, "tile" when they are a whole copy apart.

    Returns:
        An array of the kernel's shape and type. All zeros where the kernel is constant.

    Raises:
        ValueError: for a factor below 2, an axis that is not there or not divisible, a standard
            deviation that is negative or not finite, another pattern, a negative seed.

    Source: kexue.fm/archives/8444, comments; chapter 8444, the section on breaking ties.
    """
    kernel = np.asarray(kernel)
    if check_factor(factor) < 2:
        raise ValueError("factor must be at least 2: without twins there is no such noise, got 1")
    if not -kernel.ndim <= axis < kernel.ndim:
        raise ValueError(f"axis must be one of the {kernel.ndim} axes of the kernel, got {axis}")
    _check_pattern("pattern", pattern)
    if not (np.isfinite(relative_std) and relative_std >= 0):
        raise ValueError(f"relative_std must be finite and not negative, got {relative_std}")
    if np.min(seed) < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    moved = np.moveaxis(kernel, axis, 0)
    if len(moved) % factor:
        raise ValueError(
            f"axis {axis} of the kernel must have a multiple of {factor} components, "
            f"got {len(moved)}"
        )
    rng = np.random.default_rng(seed)
    if factor == 2:
        noise = rng.standard_normal((1, len(moved) // 2, *moved.shape[1:]))
        noise = np.concatenate([noise, -noise])
    else:
        noise = rng.standard_normal((factor, len(moved) // factor, *moved.shape[1:]))
        noise = (noise - noise.mean(axis=0)) * np.sqrt(factor / (factor - 1))
    if pattern == "interleave":
        noise = noise.swapaxes(0, 1)
    noise = noise.reshape(moved.shape) * (relative_std * np.std(kernel, dtype=float))
    return np.moveaxis(noise, 0, axis).astype(kernel.dtype)


def _check_pattern(name: str, pattern: str) -> None:
    if pattern not in PATTERNS:
        raise ValueError(f"{name} must be one of {PATTERNS}, got {pattern!r}")
