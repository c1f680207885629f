r"""Adversarial examples (对抗样本): input gradients, the steps that raise the loss, and attacks.

Everything here works on tensors of the TensorFlow and JAX backends, is differentiable, and may be
compiled. A loss function is called as ``loss_fn(x, y)`` and returns one loss *per sample*: the
gradient of a batch mean would carry a factor 1/b. Equation numbers are those of the chapter on
article 7234 (https://kexue.fm/archives/7234).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils.autodiff import input_gradient

__all__ = ["changed_output", "fgm_perturbation", "input_gradient_penalty", "pgd_attack"]

NORMS = ("l2", "linf", "none")


def fgm_perturbation(
    gradient: Any, epsilon: Any, norm: str = "l2", axes: int | Sequence[int] | None = None
) -> Any:
    r"""One step uphill: the fast gradient method, equations (3) and (4).

    Args:
        gradient: input gradients :math:`g`, samples along the first axis.
        epsilon: size :math:`\epsilon\ge0`, a number or what broadcasts against `gradient`.
        norm: ``"l2"`` for :math:`\epsilon g/\lVert g\rVert_2` (Miyato et al., arXiv:1605.07725),
            ``"linf"`` for :math:`\epsilon\,\mathrm{sign}(g)` (FGSM; Goodfellow et al.,
            arXiv:1412.6572), ``"none"`` for :math:`\epsilon g`.
        axes: over which the norm is taken; default all but the first, so that each sample has its
            own. The article's code takes one norm over all entries of the embedding matrix.

    Returns:
        Shape of `gradient`. Where the gradient vanishes, so does the perturbation; where one of
        a sample's entries is NaN, its whole perturbation is, unless each entry stands alone.

    Raises:
        ValueError: `epsilon` is negative or not finite, or `norm` is unknown.

    Examples:
        >>> from keras import ops
        >>> ops.convert_to_numpy(fgm_perturbation(np.array([[3.0, 4.0]]), 0.5)).round(3).tolist()
        [[0.3, 0.4]]
        >>> ops.convert_to_numpy(fgm_perturbation(np.array([[3.0, -4.0]]), 0.5, 'linf')).tolist()
        [[0.5, -0.5]]
    """
    from keras import ops

    check_size("epsilon", epsilon)
    check_norm(norm)
    if norm == "none":
        return epsilon * gradient
    if norm == "linf":
        return epsilon * ops.sign(gradient)
    # Divided by the largest entry first: the squares of a small float32 gradient underflow.
    axes = _sample_axes(gradient, axes)
    largest = ops.max(ops.absolute(gradient), axis=axes, keepdims=True, initial=0)
    scaled = gradient / ops.where(ops.equal(largest, 0), ops.ones_like(largest), largest)
    return epsilon * scaled / _safe_norm(scaled, axes, at_zero=1.0)


def pgd_attack(
    loss_fn: Callable[[Any, Any], Any],
    x: Any,
    y: Any,
    epsilon: Any,
    steps: int,
    step_size: Any,
    norm: str = "l2",
    project: bool = True,
    clip: tuple[float, float] | None = None,
    axes: int | Sequence[int] | None = None,
) -> Any:
    r"""Projected gradient ascent on the loss, equation (6) (Madry et al., arXiv:1706.06083).

    Starts at `x` and repeats: a normalised step uphill, then the projection onto the ball of
    radius :math:`\epsilon` about `x`.

    Args:
        loss_fn: as for :func:`input_gradient`.
        x: inputs, samples along the first axis.
        y: passed on to `loss_fn`.
        epsilon: radius of the ball, a number or what broadcasts against `x`.
        steps: number of steps, at least 0; with 0, `x` itself is returned.
        step_size: length of a step, as `epsilon`.
        norm: ``"l2"`` or ``"linf"``, for the steps and the ball.
        project: False leaves the projection out.
        clip: least and largest value of an input, or None.
        axes: as for :func:`fgm_perturbation`.

    Returns:
        The attacked inputs, shape of `x`, without a gradient.

    Raises:
        ValueError: a size is negative, `steps` is not a whole number of at least 0, `norm` is
            unknown or ``"none"``, or `clip` is not an increasing pair.

    Examples:
        >>> from keras import ops
        >>> squares = lambda x, y: ops.sum(x * x, axis=-1)
        >>> moved = pgd_attack(squares, ops.array([[3.0, 4.0]]), None, 0.5, steps=3, step_size=0.3)
        >>> ops.convert_to_numpy(moved).astype(float).round(3).tolist()  # outward, half a unit
        [[3.3, 4.4]]
    """
    from keras import ops

    check_size("epsilon", epsilon)
    check_size("step_size", step_size)
    check_norm(norm, balls=True)
    _checks.whole("steps", steps, 0)
    if clip is not None and not (len(clip) == 2 and clip[0] < clip[1]):
        raise ValueError(f"clip must be an increasing pair of numbers, got {clip!r}")
    x = ops.convert_to_tensor(x)
    axes = _sample_axes(x, axes)

    def step(_: Any, attacked: Any) -> Any:
        slope = input_gradient(loss_fn, attacked, y)
        moved = attacked + fgm_perturbation(slope, step_size, norm, axes) - x
        if project:
            moved = _project(moved, epsilon, norm, axes)
        return x + moved if clip is None else ops.clip(x + moved, *clip)

    return ops.stop_gradient(ops.fori_loop(0, int(steps), step, x)) if steps else x


def input_gradient_penalty(
    loss_fn: Callable[[Any, Any], Any],
    x: Any,
    y: Any,
    norm: str = "l2",
    axes: int | Sequence[int] | None = None,
) -> Any:
    r"""What a small adversarial step adds to the loss, per unit of ε: equations (9) and (10).

    Args:
        loss_fn: as for :func:`input_gradient`; differentiable twice.
        x: inputs, samples along the first axis.
        y: passed on to `loss_fn`.
        norm: of the step, as for :func:`fgm_perturbation`: ``"l2"`` gives
            :math:`\lVert g\rVert_2`, ``"linf"`` the dual norm :math:`\lVert g\rVert_1`, and
            ``"none"`` :math:`\frac12\lVert g\rVert_2^2` (Drucker and LeCun's double
            backpropagation, 1992).
        axes: as for :func:`fgm_perturbation`.

    Returns:
        One number per sample; differentiable, with gradient zero where the input gradient is. Of
        16-bit inputs it is computed and returned in float32.

    Raises:
        ValueError: `norm` is unknown.

    Examples:
        >>> from keras import ops
        >>> losses = lambda x, y: ops.sum(x * x, axis=-1)
        >>> found = input_gradient_penalty(losses, ops.array([[3.0, 4.0]]), None)
        >>> ops.convert_to_numpy(found).tolist()
        [10.0]
    """
    from keras import backend, ops

    check_norm(norm)
    slope = input_gradient(loss_fn, x, y)
    if backend.standardize_dtype(slope.dtype) in ("float16", "bfloat16"):
        slope = ops.cast(slope, "float32")  # squares and sums leave the range of float16
    axes = _sample_axes(slope, axes)
    if norm == "linf":
        return ops.sum(ops.absolute(slope), axis=axes)
    if norm == "none":
        return ops.sum(slope * slope, axis=axes) / 2
    return ops.squeeze(_safe_norm(slope, axes), axis=axes)


@contextlib.contextmanager
def changed_output(layer: Any, change: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Let a Keras layer put out something else for as long as the context lasts.

    Args:
        layer: a Keras layer, also one inside a model.
        change: called with the layer's inputs and outputs; returns what to put out.

    Examples:
        >>> import keras
        >>> layer = keras.layers.Identity()
        >>> with changed_output(layer, lambda inputs, outputs: outputs + 1):
        ...     float(layer(np.zeros(1))[0])
        1.0
        >>> float(layer(np.zeros(1))[0])
        0.0
    """
    original = layer.call

    def call(inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return change(inputs, original(inputs, *args, **kwargs))

    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")


def _sample_axes(tensor: Any, axes: int | Sequence[int] | None) -> tuple[int, ...]:
    if axes is None:
        return tuple(range(1, len(tensor.shape)))
    return (axes,) if isinstance(axes, int) else tuple(axes)


def _safe_norm(tensor: Any, axes: tuple[int, ...], at_zero: float = 0.0) -> Any:
    """Euclidean norms with kept axes; a zero vector gets `at_zero`, and gradient zero."""
    from keras import ops

    square = ops.sum(tensor * tensor, axis=axes, keepdims=True)
    zero = ops.equal(square, 0)  # not `square > 0`, which takes NaN for a vector of zeros
    root = ops.sqrt(ops.where(zero, ops.ones_like(square), square))
    return ops.where(zero, at_zero * ops.ones_like(square), root)


def _project(moved: Any, epsilon: Any, norm: str, axes: tuple[int, ...]) -> Any:
    from keras import ops

    epsilon = ops.convert_to_tensor(epsilon, dtype=moved.dtype)
    if norm == "linf":
        return ops.minimum(ops.maximum(moved, -epsilon), epsilon)
    length = _safe_norm(moved, axes, at_zero=1.0)
    return moved * ops.minimum(1.0, epsilon / length)


def check_norm(norm: str, balls: bool = False) -> None:
    """Refuse another norm; with `balls` the one that has no ball, too."""
    _checks.choice("norm", norm, NORMS[:2] if balls else NORMS)


def check_size(name: str, value: Any) -> None:
    """Refuse negative sizes where the value is known, that is unless it is a tensor."""
    if isinstance(value, (int, float, np.ndarray, np.generic)):
        if not (np.all(np.isfinite(value)) and np.all(np.asarray(value) >= 0)):
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}")
