"""A critic divided by the length of its own input gradient (article 8757)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks, autodiff

__all__ = ["GradientNormalizedCritic"]

_KINDS = ("gn", "gran", "raw", "inner")


@keras.saving.register_keras_serializable(package="kexian_utils")
class GradientNormalizedCritic(keras.layers.Layer):
    r"""Scores of a critic :math:`D`, normalised by :math:`n=\lVert\nabla_xD\rVert`.

    ``"gn"`` is :math:`D/(n+|D|)`, ``"gran"`` :math:`Dn/(n^2+\epsilon)`, ``"raw"`` :math:`D/n` and
    ``"inner"`` :math:`\langle\nabla_xD,x\rangle/n`. For a critic of linear maps and (leaky) ReLUs
    the slope is at most 1 inside each linear piece; the scores *jump* from piece to piece, so
    that this is no Lipschitz condition, and for smooth activations ``"gn"`` may be steeper. The
    chapter measures both. "inner" trains no bias.

    Input: samples of any shape ``(batch, ...)`` of a floating dtype. Output: one score each, of
    the shape that `critic` gives. Where D = n = 0 the score is 0, for "raw" and "inner" wherever
    n = 0; the gradient is finite there.

    Args:
        critic: a Keras layer or model that gives one score per sample, shape ``(batch,)`` or
            ``(batch, 1)``.
        kind: one of the four.
        epsilon: of "gran", above 0.
        stop_gradient_norm: treat n as a constant. For piecewise linear critics this is exact in
            the *generator's* step, and saves a part of it; a critic must not be trained with it.
        kwargs: `name`, `dtype` and so on, as of any Keras layer. The slope is taken in at least
            float32.

    Raises:
        TypeError: `critic` is no Keras layer.
        ValueError: unknown kind, `epsilon` not above 0, a critic with dropout or with batch
            statistics, or one that gives more than one score per sample.
        RuntimeError: when called, if the backend is neither TensorFlow nor JAX.

    Source: article 8757, equations (2) and (8); Y.-L. Wu et al., arXiv 2109.02235, and
    V. Bhaskara et al., arXiv 2111.03162.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> dense = keras.layers.Dense(1, kernel_initializer="ones")
        >>> critic = GradientNormalizedCritic(keras.Sequential([dense]))
        >>> x = np.array([[3.0, 1.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]], "float32")  # n = 2
        >>> keras.ops.convert_to_numpy(critic(x)).round(3).tolist()  # 4/(2 + 4), -2/(2 + 2)
        [[0.6669999957084656], [-0.5]]
    """

    def __init__(
        self,
        critic: keras.layers.Layer,
        kind: str = "gn",
        epsilon: float = 0.1,
        stop_gradient_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(critic, keras.layers.Layer):
            raise TypeError(f"critic must be a Keras layer or model, got {type(critic).__name__}")
        for inner in critic._flatten_layers():
            if isinstance(inner, _UPDATING) or _draws(inner):
                raise ValueError(
                    f"critic must give each sample its own score, the same each time, got one with "
                    f"{inner.name!r}, a {type(inner).__name__}: leave it out"
                )
        self.critic = critic
        self.kind = _checks.choice("kind", kind, _KINDS)
        self.epsilon = _checks.real("epsilon", epsilon, above=0)
        self.stop_gradient_norm = bool(stop_gradient_norm)

    def build(self, input_shape: Any) -> None:
        """Build the critic."""
        if not self.critic.built:
            self.critic.build(input_shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the normalised scores."""
        x = inputs
        if keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16"):
            x = ops.cast(x, "float32")
        score = self._score(x)
        slope = ops.cast(autodiff.gradient(lambda p: ops.sum(self._score(p)))(x), score.dtype)
        slope, flat = (ops.reshape(v, (ops.shape(x)[0], -1)) for v in (slope, x))
        square = ops.sum(slope * slope, axis=-1)
        # The root has no derivative at 0: there n is the constant 0.
        zero = square == 0
        length = ops.where(zero, 0.0, ops.sqrt(ops.where(zero, 1.0, square)))
        if self.stop_gradient_norm:
            length = ops.stop_gradient(length)
        if self.kind == "gran":
            made = score * length / (length * length + self.epsilon)
        else:
            above = ops.sum(slope * ops.cast(flat, slope.dtype), axis=-1)
            above = above if self.kind == "inner" else score
            below = length + ops.abs(score) if self.kind == "gn" else length
            nothing = below == 0
            made = ops.where(nothing, 0.0 * above, above / ops.where(nothing, 1.0, below))
        shape = self.critic.compute_output_shape(tuple(inputs.shape))
        made = made[:, None] if len(shape) == 2 else made
        return ops.cast(made, self.compute_dtype)

    def _score(self, x: Any) -> Any:
        scores = self.critic(x)
        if len(scores.shape) > 2 or (len(scores.shape) == 2 and scores.shape[1] != 1):
            raise ValueError(
                "critic must give one score per sample, shape (batch,) or (batch, 1), got "
                f"{tuple(scores.shape)}: let it end in Dense(1), or in the mean of its patches"
            )
        scores = scores[:, 0] if len(scores.shape) == 2 else scores
        half = keras.backend.standardize_dtype(scores.dtype) in ("float16", "bfloat16")
        return ops.cast(scores, "float32") if half else scores

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape that the critic gives."""
        return self.critic.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        return {
            **super().get_config(),
            "critic": keras.saving.serialize_keras_object(self.critic),
            "kind": self.kind,
            "epsilon": self.epsilon,
            "stop_gradient_norm": self.stop_gradient_norm,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GradientNormalizedCritic:
        """Build the layer again from its configuration."""
        config = dict(config)
        config["critic"] = keras.saving.deserialize_keras_object(config["critic"])
        return cls(**config)


# Layers of Keras whose scores depend on the whole batch, or which change what they hold.
_UPDATING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)


def _draws(layer: keras.layers.Layer) -> bool:
    return any(isinstance(v, keras.random.SeedGenerator) for v in vars(layer).values())
