"""The noise of a variational autoencoder, and what it costs (article 7725)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["Sampling"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class Sampling(keras.layers.Layer):
    r"""Draw :math:`z=\mu+\sigma\varepsilon` with normal :math:`\varepsilon`: reparameterisation.

    The first half of the last axis is :math:`\mu`, the second :math:`\log\sigma^2`, as a
    ``Dense(2 * L)`` gives them. The noise is drawn in training; at inference the layer returns
    :math:`\mu`. With `kl_weight` it adds to the model's loss, each time that it is called, the
    mean over the batch of :math:`\sum_i\frac12(\mu_i^2+\sigma_i^2-\log\sigma_i^2-1)`, which is
    KL(N(μ, σ²), N(0, I)). Keras's losses are *means* over pixels as a rule: for the loss of a VAE
    divide the weight by their number.

    Input: ``(batch, ..., 2L)``. Output: ``(batch, ..., L)``.

    Args:
        kl_weight: of the KL term, at least 0; with 0 no loss is added.
        temperature: multiplies the noise, at least 0.
        seed: of the noise; by default another in each run.
        kwargs: `name`, `dtype` and so on, as of any Keras layer. Computed in at least float32.

    Raises:
        ValueError: a negative weight or temperature, or a last axis that is unknown or odd.

    Source: article 7725, equations (2) and (3); Kingma and Welling, arXiv 1312.6114.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> layer = Sampling(kl_weight=1.0, seed=0)
        >>> x = np.array([[2.0, 0.0, 0.0, 0.0]], "float32")  # means 2 and 0, variances 1
        >>> keras.ops.convert_to_numpy(layer(x)).tolist()
        [[2.0, 0.0]]
        >>> float(layer.losses[0])  # half the square of 2
        2.0
    """

    def __init__(
        self,
        kl_weight: float = 0.0,
        temperature: float = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kl_weight = _checks.real("kl_weight", kl_weight, least=0)
        self.temperature = _checks.real("temperature", temperature, least=0)
        self.seed = None if seed is None else _checks.seed(seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = False

    def build(self, input_shape: Any) -> None:
        """Refuse a last axis that cannot be halved."""
        self._latents(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return means, in training with noise; add the KL term."""
        latents = self._latents(inputs.shape)
        x = inputs
        if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
            x = ops.cast(x, "float32")
        mean, log_variance = x[..., :latents], x[..., latents:]
        if self.kl_weight:
            each = 0.5 * (mean**2 + ops.exp(log_variance) - log_variance - 1)
            self.add_loss(self.kl_weight * ops.sum(ops.mean(each, axis=0)))
        if training and self.temperature:
            noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
            mean = mean + self.temperature * ops.exp(log_variance / 2) * noise
        else:  # a NaN in the variance must show at inference as well
            mean = mean + 0 * log_variance
        return ops.cast(mean, self.compute_dtype)

    def _latents(self, shape: Any) -> int:
        last = tuple(shape)[-1] if len(shape) > 1 else None
        if last is None or last % 2 or last == 0:
            raise ValueError(
                "the last axis must hold a mean and a log-variance per latent, an even number, got "
                f"shape {tuple(shape)}: give the layer the output of Dense(2 * L)"
            )
        return last // 2

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Half the last axis."""
        return (*input_shape[:-1], self._latents(input_shape))

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        config = {"kl_weight": self.kl_weight, "temperature": self.temperature, "seed": self.seed}
        return {**super().get_config(), **config}
