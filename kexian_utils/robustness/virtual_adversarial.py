r"""Smoothness without labels: virtual adversarial training (虚拟对抗训练) and Jacobian penalties.

Everything here works on tensors of the TensorFlow and JAX backends, is differentiable, and may be
compiled. A function ``logits_fn(x)`` returns the scores of the classes along its last axis, before
the softmax; one score alone is that of class 1 of two. Randomness comes in as an argument. Equation
numbers are those of the chapter on article 7466 (https://kexue.fm/archives/7466).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kexian_utils import _checks
from kexian_utils.autodiff import input_gradient
from kexian_utils.robustness import adversarial

__all__ = [
    "jacobian_penalty",
    "kl_from_logits",
    "virtual_adversarial_direction",
    "virtual_adversarial_loss",
]


def kl_from_logits(target: Any, logits: Any) -> Any:
    r"""Kullback–Leibler divergence :math:`\sum_it_i\log(t_i/f_i)` of two softmax outputs.

    Args:
        target: scores of :math:`t`, shape ``(..., classes)``; with one class, a sigmoid's score.
        logits: scores of :math:`f`, of the same shape.

    Returns:
        Shape ``(...)``, at least float32. Scores of any finite size give finite values.

    Raises:
        ValueError: the two have different numbers of classes.

    Examples:
        >>> from keras import ops
        >>> import numpy as np
        >>> value = kl_from_logits(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0986123]]))
        >>> ops.convert_to_numpy(value).round(4).tolist()  # (1/2, 1/2) against (1/4, 3/4)
        [0.1438]
    """
    from keras import ops

    if target.shape[-1] != logits.shape[-1]:
        raise ValueError(
            f"logits must have the classes of target, {target.shape[-1]}, got {logits.shape[-1]}"
        )
    expected, found = _log_probabilities(target), _log_probabilities(logits)
    return ops.sum(ops.exp(expected) * (expected - found), axis=-1)


def virtual_adversarial_direction(
    logits_fn: Callable[[Any], Any],
    x: Any,
    start: Any,
    xi: float = 1e-3,
    iterations: int = 1,
    axes: int | Sequence[int] | None = None,
) -> Any:
    r"""The direction in which a model's answer changes most: power iteration, equation (13).

    Args:
        logits_fn: the model, called at `x` and near it.
        x: inputs of a floating dtype, samples along the first axis.
        start: where the iteration starts, shape of `x`; usually standard normal numbers.
        xi: length :math:`\xi>0` of the step of the finite difference.
        iterations: at least 0; with 0 it is the direction of `start`.
        axes: over which norms are taken, as for
            :func:`kexian_utils.robustness.adversarial.fgm_perturbation`.

    Returns:
        Unit vectors, shape of `x`, without a gradient. Zero where the model does not depend on
        the input.

    Raises:
        ValueError: `xi` is not a positive number or `iterations` no whole number of at least 0.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> slant = lambda x: ops.concatenate([0 * x[:, :1], x[:, :1] + x[:, 1:]], axis=-1)
        >>> found = virtual_adversarial_direction(slant, np.zeros((1, 2)), np.array([[1.0, 0.0]]))
        >>> ops.convert_to_numpy(found).round(3).tolist()
        [[0.707, 0.707]]
    """
    from keras import ops

    _checks.real("xi", xi, above=0)
    _checks.whole("iterations", iterations, 0)
    x = ops.convert_to_tensor(x)
    direction = adversarial.fgm_perturbation(ops.cast(start, x.dtype), 1.0, axes=axes)
    if iterations:
        target = ops.stop_gradient(logits_fn(x))

        def divergence(moved: Any, answer: Any) -> Any:
            return kl_from_logits(answer, logits_fn(moved))

        for _ in range(iterations):
            slope = input_gradient(divergence, x + xi * direction, target)
            direction = adversarial.fgm_perturbation(slope, 1.0, axes=axes)
    return ops.stop_gradient(direction)


def virtual_adversarial_loss(
    logits_fn: Callable[[Any], Any],
    x: Any,
    start: Any,
    epsilon: Any = 1.0,
    xi: float = 1e-3,
    iterations: int = 1,
    axes: int | Sequence[int] | None = None,
    stop_target: bool = True,
) -> Any:
    r"""Change of the answer under the worst small change of the input (Miyato et al., 2019).

    Args:
        logits_fn: the model.
        x: inputs of a floating dtype, samples along the first axis. No labels are needed.
        start: random numbers of the shape of `x`.
        epsilon: length :math:`\epsilon\ge0` of the change, a number or what broadcasts.
        xi: as for :func:`virtual_adversarial_direction`.
        iterations: as there.
        axes: as there.
        stop_target: the answer at `x` is a constant, as in the authors' code; False differentiates
            it, too, which alters the gradient in first order.

    Returns:
        One number per sample, with the gradient of the step, not of the search.

    Raises:
        ValueError: `epsilon` is negative, and as for :func:`virtual_adversarial_direction`.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> slant = lambda x: ops.concatenate([0 * x, x], axis=-1)
        >>> start = np.ones((1, 1))
        >>> value = virtual_adversarial_loss(slant, np.zeros((1, 1)), start, epsilon=1.0986123)
        >>> ops.convert_to_numpy(value).round(4).tolist()  # (1/2, 1/2) against (1/4, 3/4)
        [0.1438]
    """
    from keras import ops

    adversarial.check_size("epsilon", epsilon)
    x = ops.convert_to_tensor(x)
    direction = virtual_adversarial_direction(logits_fn, x, start, xi, iterations, axes)
    target = logits_fn(x)
    if stop_target:
        target = ops.stop_gradient(target)
    return kl_from_logits(target, logits_fn(x + epsilon * direction))


def jacobian_penalty(logits_fn: Callable[[Any], Any], x: Any, signs: Any = None) -> Any:
    r"""Trace of the Fisher information of the answer with respect to the input, equation (10).

    :math:`\sum_i\lVert\nabla f_i\rVert^2/f_i=4\sum_i\lVert\nabla\sqrt{f_i}\rVert^2`; times
    :math:`\sigma^2/2` it is what noise of variance :math:`\sigma^2` adds to the divergence.

    Args:
        logits_fn: the model, scores of shape ``(batch, classes)`` or, for a stack of networks,
            ``(R, batch, classes)``.
        x: inputs of a floating dtype, shape ``(batch, ...)`` or ``(R, batch, features)``.
        signs: independent numbers of mean 0 and variance 1 that broadcast against the scores, best
            signs: one backward pass then estimates the sum (11) without bias. None: the sum itself,
            a pass for each class.

    Returns:
        Shape of the scores without their last axis; differentiable.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> slant = lambda x: ops.concatenate([0 * x, 2 * x], axis=-1)
        >>> value = jacobian_penalty(slant, np.zeros((1, 1)))
        >>> ops.convert_to_numpy(value).round(6).tolist()  # 2² f (1 - f)
        [1.0]
    """
    from keras import ops

    x = ops.convert_to_tensor(x)

    def roots(moved: Any) -> Any:
        return 2 * ops.exp(_log_probabilities(logits_fn(moved)) / 2)

    scores = logits_fn(x)
    classes, rank = max(scores.shape[-1], 2), len(scores.shape) - 1

    def squared(weights: Any) -> Any:
        slope = input_gradient(lambda z, w: ops.sum(w * roots(z), axis=-1), x, weights)
        return ops.sum(slope * slope, axis=tuple(range(rank, len(x.shape))))

    if signs is not None:
        return squared(ops.cast(signs, x.dtype))
    chosen = ops.eye(classes, dtype=x.dtype)
    return sum(squared(chosen[i]) for i in range(classes))


def _log_probabilities(logits: Any) -> Any:
    """Logarithm of the softmax; of one score, of the sigmoid and its complement."""
    from keras import backend, ops

    logits = ops.convert_to_tensor(logits)
    if backend.standardize_dtype(logits.dtype) in ("float16", "bfloat16"):
        logits = ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        logits = ops.concatenate([ops.zeros_like(logits), logits], axis=-1)
    return ops.log_softmax(logits, axis=-1)
