r"""Wasserstein GANs: penalties on the critic's slope, and the exact critic on a line.

The critic :math:`D` is small on real samples and large on generated ones, as in the chapter on
article 4439 (https://kexue.fm/archives/4439), whose equation numbers are used; most papers have
the opposite sign. Penalties work on one critic and on a stack of them
(`kexian_utils.training.stacked`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import norm

from kexian_utils import _checks, autodiff

__all__ = [
    "KINDS",
    "OptimalCritic",
    "difference_penalty",
    "gradient_penalty",
    "interpolate",
    "interpolation_density",
    "optimal_critic_1d",
]

KINDS = ("two_sided", "one_sided", "linear", "zero")


def interpolate(real: Any, fake: Any, epsilon: Any) -> Any:
    r"""Points on the segments between paired samples, :math:`\varepsilon y+(1-\varepsilon)z`.

    Args:
        real: :math:`z`, shape (batch, ...), or (R, batch, ...) for a stack.
        fake: :math:`y`, the same shape.
        epsilon: one number in [0, 1] per pair: as many axes, those of a sample of size 1, such
            as (batch, 1), (R, batch, 1) or, for images, (batch, 1, 1, 1).

    Raises:
        ValueError: the shapes do not fit.

    Examples:
        >>> interpolate(np.zeros((2, 3)), np.ones((2, 3)), np.array([[0.25], [1.0]])).tolist()
        [[0.25, 0.25, 0.25], [1.0, 1.0, 1.0]]
    """
    shapes = [tuple(np.shape(value)) for value in (real, fake, epsilon)]
    if shapes[0] != shapes[1] or len(shapes[0]) < 2:
        raise ValueError(f"real and fake must have one shape (..., batch, d), got {shapes[:2]}")
    rank = len(shapes[0])
    fitting = [shapes[0][:k] + (1,) * (rank - k) for k in range(min(rank - 1, 2), 0, -1)]
    if shapes[2] not in fitting:
        words = " or ".join(map(str, fitting))
        raise ValueError(f"epsilon must have shape {words}, one per sample, got {shapes[2]}")
    return epsilon * fake + (1 - epsilon) * real


def gradient_penalty(
    critic: Callable[[Any], Any],
    x: Any,
    kind: str | Sequence[str] = "two_sided",
    target: float = 1.0,
) -> Any:
    r"""Mean penalty on the length n of the critic's gradient in its input, equation (8).

    ``"two_sided"`` is :math:`(n-c)^2` (WGAN-GP), ``"one_sided"`` :math:`\max(n-c,0)^2`
    (WGAN-LP), ``"linear"`` :math:`\max(n-c,0)` (article 4439) and ``"zero"`` :math:`n^2`, with the
    target :math:`c`. The root in n is kept away from 0, where it has no derivative. The norm is
    that of a sample's whole gradient: for images it goes over height, width and channels.

    Args:
        critic: maps the samples to one score each, shape (batch,) or (batch, 1), for a stack of R
            critics (R, batch) or (R, batch, 1); written with ``keras.ops``, no sample's score may
            depend on others. A critic of patches first takes the mean over its patches.
        x: where the slope is taken, shape (batch, ...) or, for a stack, (R, batch, ...).
        kind: one of the four; for a stack of R critics also one of them for each.
        target: :math:`c`, at least 0.

    Returns:
        The mean over the batch, a scalar for one critic, (R,) for a stack. Of 16-bit samples it is
        computed and returned in float32: squares of slopes leave the range of float16.

    Raises:
        ValueError: the critic does not give one score per sample, an unknown kind, a list of kinds
            that does not fit `x`, or `target` below 0.
        RuntimeError: the backend is neither TensorFlow nor JAX.

    Examples:
        >>> from keras import ops
        >>> critic = lambda x: ops.sum(x * np.array([3.0, 4.0]), axis=-1)
        >>> ops.convert_to_numpy(gradient_penalty(critic, ops.ones((2, 2)))).round(4).tolist()
        16.0
    """
    from keras import ops

    kinds = _check_kinds(kind, target)
    samples: tuple[int, ...] = ()

    def total(points: Any) -> Any:
        nonlocal samples
        scores = critic(points)
        samples = _samples(scores, x)
        return ops.sum(scores)

    slope = _at_least_32_bits(autodiff.gradient(total)(x))
    axes = tuple(range(len(samples), len(np.shape(x))))
    length = ops.sqrt(ops.sum(slope**2, axis=axes) + 1e-12)
    _check_stack(kind, kinds, samples)
    return _penalty(length, kinds, target)


def difference_penalty(
    critic: Callable[[Any], Any],
    x1: Any,
    x2: Any,
    kind: str | Sequence[str] = "two_sided",
    target: float = 1.0,
) -> Any:
    r"""Mean penalty on the critic's slope between pairs of points; no second derivative.

    As :func:`gradient_penalty`, with :math:`n=|D(x_1)-D(x_2)|/\lVert x_1-x_2\rVert`. A pair of
    equal points counts as n = 0.

    Args:
        critic: as in :func:`gradient_penalty`.
        x1: first points, shape (batch, ...) or (R, batch, ...).
        x2: second points, the same shape.
        kind: as in :func:`gradient_penalty`.
        target: as in :func:`gradient_penalty`.

    Returns:
        As :func:`gradient_penalty`.

    Raises:
        ValueError: as in :func:`gradient_penalty`, or the shapes differ.

    Examples:
        >>> from keras import ops
        >>> critic = lambda x: ops.sum(x * np.array([3.0, 4.0]), axis=-1)
        >>> steepest = ops.array([[3.0, 4.0]]), ops.array([[0.0, 0.0]])  # slope 5, so (5 - 1)²
        >>> ops.convert_to_numpy(difference_penalty(critic, *steepest)).round(4).item()
        16.0
    """
    from keras import ops

    kinds = _check_kinds(kind, target)
    if tuple(np.shape(x1)) != tuple(np.shape(x2)):
        raise ValueError(
            f"x1 and x2 must have one shape, got {tuple(np.shape(x1))} and {tuple(np.shape(x2))}"
        )
    change = critic(x1) - critic(x2)
    samples = _samples(change, x1)
    _check_stack(kind, kinds, samples)
    change = _at_least_32_bits(ops.reshape(change, samples))
    between = _at_least_32_bits(x1 - x2)
    axes = tuple(range(len(samples), len(np.shape(x1))))
    # sqrt(0) has no derivative: both roots stay away from it, and 0/0 becomes 0.
    rise = ops.sqrt(change**2 + 1e-24)
    distance = ops.sqrt(ops.sum(between**2, axis=axes) + 1e-12)
    return _penalty(rise / distance, kinds, target)


def _samples(scores: Any, x: Any) -> tuple[int, ...]:
    """The leading axes of `x` that count samples: (batch,) or (R, batch), one score for each."""
    shape, found = tuple(np.shape(x)), tuple(np.shape(scores))
    for leading in (shape[:2], shape[:1]):
        if len(leading) < len(shape) and found in (leading, (*leading, 1)):
            return leading
    raise ValueError(
        "critic must return one score per sample, shape (batch,) or (batch, 1), for a stack "
        f"(R, batch) or (R, batch, 1), got scores of shape {found} for samples of shape {shape}: "
        "flatten each sample before its last layer, or take the mean of its scores"
    )


def _at_least_32_bits(tensor: Any) -> Any:
    from keras import backend, ops

    short = backend.standardize_dtype(tensor.dtype) in ("float16", "bfloat16")
    return ops.cast(tensor, "float32") if short else tensor


def _check_kinds(kind: str | Sequence[str], target: float) -> list[str]:
    kinds = [kind] if isinstance(kind, str) else list(kind)
    for name in kinds:
        _checks.choice("kind", name, KINDS)
    _checks.real("target", target, least=0)
    return kinds


def _check_stack(kind: str | Sequence[str], kinds: list[str], samples: tuple[int, ...]) -> None:
    if not isinstance(kind, str) and (len(samples) != 2 or len(kinds) != samples[0]):
        raise ValueError(
            f"kind must name one penalty per critic of the stack: got {len(kinds)} for scores of "
            f"shape {samples}"
        )


def _penalty(length: Any, kinds: list[str], target: float) -> Any:
    """Penalty of the slopes `length`, shape (..., batch), averaged over the batch."""
    from keras import ops

    formulas = {
        "two_sided": lambda n: (n - target) ** 2,
        "one_sided": lambda n: ops.relu(n - target) ** 2,
        "linear": lambda n: ops.relu(n - target),
        "zero": lambda n: n**2,
    }
    batch = np.shape(length)[-1]
    total = 0.0
    for name in dict.fromkeys(kinds):
        mean = ops.sum(formulas[name](length), axis=-1) / batch
        chosen = np.array([name == k for k in kinds], "float32")
        total = total + (mean if len(kinds) == 1 else mean * chosen)
    return total


# -- the line ------------------------------------------------------------------------------------


class OptimalCritic(NamedTuple):
    """The critic of :func:`optimal_critic_1d`: slopes (n,), critic gap, value of its objective.

    Examples:
        >>> x = np.linspace(0.0, 1.0, 5)
        >>> critic = optimal_critic_1d(np.full(5, 0.5), np.ones(5), 1.0, "two_sided", x)
        >>> critic.slope.tolist(), critic.gap
        ([1.25, 1.25, 1.25, 1.25, 1.25], 0.625)
    """

    slope: np.ndarray
    gap: float
    objective: float


def optimal_critic_1d(delta: Any, density: Any, lam: float, kind: str, grid: Any) -> OptimalCritic:
    r"""The best penalised critic on a line, in closed form: equations (9), (10) and (11).

    Maximises :math:`\int\bigl(f\Delta-\lambda r\,\pi(|f|)\bigr)dx` over the slope f, pointwise.

    Args:
        delta: :math:`\Delta=F_z-F_y`, the real law's distribution function less the generated
            one's, shape (n,).
        density: :math:`r`, density of the interpolates, positive, shape (n,).
        lam: penalty weight :math:`\lambda>0`.
        kind: as in :func:`gradient_penalty`, with the target 1.
        grid: increasing points x, shape (n,); integrals are taken by the trapezoidal rule.

    Returns:
        Slope, critic gap :math:`\int f\Delta` and objective. With the linear penalty the slope is
        infinite where :math:`|\Delta|>\lambda r`, and then so are gap and objective.

    Raises:
        ValueError: shapes differ, values are not finite, `density` or `lam` is not positive,
            `grid` does not increase, or `kind` is unknown.

    Examples:
        >>> x = np.linspace(0.0, 1.0, 5)
        >>> found = optimal_critic_1d(np.full(5, 0.5), np.ones(5), 1.0, "zero", x)
        >>> found.slope.tolist()  # Δ / (2 λ r)
        [0.25, 0.25, 0.25, 0.25, 0.25]
        >>> found.gap, found.objective  # the penalty takes half of the gap
        (0.125, 0.0625)
    """
    delta, density, grid = (np.asarray(v, dtype=float) for v in (delta, density, grid))
    if not (delta.shape == density.shape == grid.shape and grid.ndim == 1 and grid.size > 1):
        raise ValueError(
            f"delta, density and grid must have one shape (n,), n > 1, got {delta.shape}, "
            f"{density.shape} and {grid.shape}"
        )
    if not all(np.isfinite(v).all() for v in (delta, density, grid)):
        raise ValueError("delta, density and grid must be finite, got nan or infinity")
    if (density <= 0).any():
        raise ValueError(f"density must be positive, its least value is {density.min():g}")
    if not (np.isfinite(lam) and lam > 0):
        raise ValueError(f"lam must be positive and finite, got {lam!r}")
    if (np.diff(grid) <= 0).any():
        raise ValueError("grid must increase from point to point")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    excess = np.abs(delta) / (2 * lam * density)
    if kind == "zero":
        size = excess
    elif kind == "linear":
        size = np.where(excess > 0.5, np.inf, 1.0)
    else:
        size = np.where(delta == 0, 1.0, 1 + excess)
    slope = np.where(delta == 0, 0.0, np.sign(delta) * np.where(delta == 0, 0.0, size))
    if not np.isfinite(slope).all():
        return OptimalCritic(slope, np.inf, np.inf)
    cost = {"zero": slope**2, "linear": np.zeros_like(slope)}.get(kind, excess**2)
    gap = float(trapezoid(slope * delta, grid))
    return OptimalCritic(slope, gap, gap - float(trapezoid(lam * density * cost, grid)))


def interpolation_density(
    real: tuple[float, float], fake: tuple[float, float], grid: Any, nodes: int = 200
) -> np.ndarray:
    r"""Density r of :math:`\varepsilon y+(1-\varepsilon)z` for independent normal y and z.

    For given :math:`\varepsilon` the interpolate is normal; the mean over uniform
    :math:`\varepsilon` is taken by Gauss–Legendre quadrature.

    Args:
        real: mean and standard deviation of z.
        fake: mean and standard deviation of y.
        grid: points, any shape.
        nodes: number of nodes.

    Returns:
        The density at the points, of their shape.

    Raises:
        ValueError: a standard deviation is not positive, or `nodes` is below 1.

    Examples:
        >>> from scipy.integrate import trapezoid
        >>> x = np.linspace(-5.0, 7.0, 1201)
        >>> r = interpolation_density((0.0, 1.0), (2.0, 1.0), x)
        >>> trapezoid(r, x).round(6).item(), trapezoid(r * x, x).round(6).item()  # mass and mean
        (1.0, 1.0)
    """
    for name, (_, deviation) in (("real", real), ("fake", fake)):
        if not (np.isfinite(deviation) and deviation > 0):
            raise ValueError(f"{name} needs a positive standard deviation, got {deviation!r}")
    if nodes < 1:
        raise ValueError(f"nodes must be at least 1, got {nodes}")
    epsilon, weights = np.polynomial.legendre.leggauss(nodes)
    epsilon, weights = (epsilon + 1) / 2, weights / 2
    mean = epsilon * fake[0] + (1 - epsilon) * real[0]
    spread = np.hypot(epsilon * fake[1], (1 - epsilon) * real[1])
    return norm.pdf(np.asarray(grid, dtype=float)[..., None], mean, spread) @ weights
