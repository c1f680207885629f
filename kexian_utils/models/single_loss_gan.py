"""A generative adversarial network that ``fit`` trains with one loss and one optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["SingleLossGAN"]

Scores = Any

# The discriminator's loss of real and generated scores, and the generator's of generated ones.
# Real samples have low scores.
OBJECTIVES: dict[str, tuple[Callable[[Scores, Scores], Any], Callable[[Scores], Any]]] = {
    "hinge": (
        lambda real, fake: ops.mean(ops.relu(1 + real)) + ops.mean(ops.relu(1 - fake)),
        lambda fake: ops.mean(fake),
    ),
    "non-saturating": (
        lambda real, fake: ops.mean(ops.softplus(real)) + ops.mean(ops.softplus(-fake)),
        lambda fake: ops.mean(ops.softplus(fake)),
    ),
    "least squares": (
        lambda real, fake: ops.mean((real + 1) ** 2) + ops.mean((fake - 1) ** 2),
        lambda fake: ops.mean((fake + 1) ** 2),
    ),
}


@keras.saving.register_keras_serializable(package="kexian_utils")
class SingleLossGAN(keras.Model):
    """Both players of a GAN (生成对抗网络), moved at once by the gradient of one loss.

    ``fit((x, z))`` takes real samples and noise, no targets, and an optimiser without a loss. The
    loss is that of the discriminator, for which generated samples are data, plus `weight` times a
    term that is always 0: the generator's loss minus itself with the generator held fixed. Its
    gradient is that of the generator's loss for the generator, and 0 for the discriminator. So
    the number that ``fit`` shows is the discriminator's loss alone; the metrics ``real_score``
    and ``fake_score`` say more. The discriminator gives **low** scores to real samples.

    Both steps are taken from the same state: this is simultaneous training, not alternating. With
    gradient descent `weight` multiplies the generator's learning rate; with Adam or RMSprop,
    which divide by the size of the gradient, it does next to nothing. Source: article 6387,
    equations (4) and (6). Backends: TensorFlow and JAX.

    Args:
        generator: a built model from noise to samples.
        discriminator: a built model from samples to one score each, shape (B,) or (B, 1).
        weight: of the term that is 0, above 0.
        objective: ``"hinge"``, ``"non-saturating"`` or ``"least squares"``.
        share_scores: score generated samples twice from the same state of the discriminator, so
            that both scores have the same dropout masks and batch statistics and stored averages
            count them once. Without it a discriminator that draws random numbers is refused, for
            the term would not be 0.
        name: of the model.

    Raises:
        ValueError: `weight` or `objective` is outside its range; the discriminator draws random
            numbers and `share_scores` is False; or it has spectral normalization, whose matrix
            changes with every call, so that the term would move the discriminator.

    Examples:
        >>> import keras
        >>> from keras import layers, ops
        >>> generator = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
        >>> discriminator = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
        >>> model = SingleLossGAN(generator, discriminator)
        >>> model.compile(keras.optimizers.SGD(0.1))
        >>> history = model.fit((ops.ones((8, 2)), ops.ones((8, 3))), verbose=0)
        >>> sorted(history.history)
        ['fake_score', 'loss', 'real_score']
        >>> tuple(model.generator(ops.ones((5, 3))).shape)
        (5, 2)
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        weight: float = 1.0,
        objective: str = "hinge",
        share_scores: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        weight = _checks.real("weight", weight, above=0)
        _checks.choice("objective", objective, tuple(OBJECTIVES))
        draws = [layer.name for layer in _random_layers(discriminator)]
        if draws and not share_scores:
            raise ValueError(
                "discriminator must not draw random numbers, or the term of value 0 would have "
                f"another value, got the layers {draws}: pass share_scores=True"
            )
        spectral = [
            layer.name
            for layer in discriminator._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.SpectralNormalization)
        ]
        if spectral:
            raise ValueError(
                "discriminator must not change with every call, or the term of value 0 would move "
                f"it, got the spectrally normalized layers {spectral}: take the wrapper off, or "
                "train the two players in turns"
            )
        super().__init__(name=name, **kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.weight = weight
        self.objective = objective
        self.share_scores = bool(share_scores)
        self.real_score = keras.metrics.Mean(name="real_score")
        self.fake_score = keras.metrics.Mean(name="fake_score")

    def build(self, input_shape: Any = None) -> None:
        """The models inside are built already."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Generated samples, of noise or of a pair of real samples and noise."""
        noise = inputs[1] if isinstance(inputs, (tuple, list)) else inputs
        return self.generator(noise, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The single loss; `y_pred` holds the generated samples, targets are ignored."""
        real = self._score(x[0], training)
        frozen = ops.stop_gradient(y_pred)
        if self.share_scores:  # what this pass would store is dropped: the next starts as it did
            state = [(variable, variable.value) for variable in self.discriminator.variables]
            with keras.StatelessScope(state_mapping=state):
                through = self._score(y_pred, training)
            fake = self._score(frozen, training)
        else:
            fake = self._score(frozen, training)
            through = self._score(y_pred, training)
        self.real_score.update_state(real)
        self.fake_score.update_state(fake)
        of_discriminator, of_generator = OBJECTIVES[self.objective]
        zero = of_generator(through) - of_generator(fake)
        return of_discriminator(real, fake) + self.weight * zero + sum(self.losses)

    def _score(self, samples: Any, training: bool) -> Any:
        scores = self.discriminator(samples, training=training)
        return ops.cast(ops.reshape(scores, (-1,)), "float32")

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs; both models included."""
        return {
            "name": self.name,
            "generator": keras.saving.serialize_keras_object(self.generator),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "weight": self.weight,
            "objective": self.objective,
            "share_scores": self.share_scores,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SingleLossGAN:
        """The inverse of :meth:`get_config`."""
        inner = {
            part: keras.saving.deserialize_keras_object(config[part], custom_objects)
            for part in ("generator", "discriminator")
        }
        return cls(**{**config, **inner})


def _random_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Layers with a state of random numbers, such as dropout of a rate above 0."""
    found = []
    for layer in model._flatten_layers(include_self=False):
        if any(isinstance(part, keras.random.SeedGenerator) for part in vars(layer).values()):
            found.append(layer)
    return found
