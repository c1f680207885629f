r"""The two losses of GAN-QP: a critic that needs no Lipschitz constraint.

Equation numbers are those of the chapter on article 6163 (https://kexue.fm/archives/6163).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["QPCriticLoss", "qp_critic_loss", "qp_generator_loss"]


def qp_critic_loss(difference: Any, distance: Any, lam: float = 1.0) -> Any:
    r"""What the critic of GAN-QP minimises, pair by pair.

    .. math:: -t+\frac{t^2}{2\lambda d}

    A pair at the distance 0 is the same sample twice, of which the critic's difference is 0, too:
    its loss is 0. Source: article 6163, equation (13).

    Args:
        difference: :math:`t`, the critic's score of a real sample minus that of a generated one,
            any shape.
        distance: :math:`d` of the two samples, at least 0, of the same shape.
        lam: the scale :math:`\lambda`, above 0.

    Returns:
        The loss of each pair, of the same shape; NaN where a difference or a distance is NaN.

    Raises:
        ValueError: shapes differ, or `lam` is not above 0.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> loss = qp_critic_loss(np.array([2.0, 4.0, 0.0]), np.array([2.0, 2.0, 0.0]))
        >>> ops.convert_to_numpy(loss).tolist()
        [-1.0, 0.0, 0.0]
    """
    _checks.real("lam", lam, above=0)
    difference = ops.convert_to_tensor(difference)
    distance = ops.cast(distance, difference.dtype)
    if tuple(difference.shape) != tuple(distance.shape):
        raise ValueError(
            f"difference and distance must have one shape, got {tuple(difference.shape)} and "
            f"{tuple(distance.shape)}"
        )
    apart = distance != 0  # also where it is NaN
    bound = 2 * lam * ops.where(apart, distance, ops.ones_like(distance))
    # Divided before it is multiplied: the square alone could overflow.
    loss = difference * (difference / bound) - difference
    return ops.where(apart, loss, 0 * difference)


def qp_generator_loss(difference: Any) -> Any:
    """What the generator of GAN-QP minimises: the mean difference of the critic.

    The quadratic term stays out, see article 6163, step 10 and equation (13).

    Args:
        difference: of the critic, real minus generated, any shape.

    Returns:
        A scalar.

    Examples:
        >>> import numpy as np
        >>> float(qp_generator_loss(np.array([1.0, 3.0])))
        2.0
    """
    return ops.mean(ops.convert_to_tensor(difference))


@keras.saving.register_keras_serializable(package="kexian_utils")
class QPCriticLoss(keras.losses.Loss):
    r"""Loss of the critic of GAN-QP: :func:`qp_critic_loss`, averaged.

    Args:
        lam: the scale :math:`\lambda`, above 0.
        reduction: how the losses of the samples are combined, as for every Keras loss.
        name: of the loss.
        **kwargs: passed on to ``keras.losses.Loss``.

    It is called with the distances of real and generated samples, shape (B, ...), as ``y_true``,
    and the critic's differences, of the same shape, as ``y_pred``.

    Raises:
        ValueError: as :func:`qp_critic_loss`.

    Examples:
        >>> import numpy as np
        >>> loss = QPCriticLoss(lam=0.5)
        >>> float(loss(np.array([[2.0], [2.0]]), np.array([[1.0], [3.0]])))
        0.5
    """

    def __init__(
        self,
        lam: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "qp_critic_loss",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, **kwargs)
        self.lam = _checks.real("lam", lam, above=0)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, the mean over its pairs."""
        return ops.mean(qp_critic_loss(y_pred, y_true, self.lam), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs."""
        return {**super().get_config(), "lam": self.lam}
