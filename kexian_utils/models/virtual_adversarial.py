"""Virtual adversarial training of any classifier, on labelled and unlabelled batches."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kexian_utils import _checks
from kexian_utils.robustness import adversarial, virtual_adversarial

__all__ = ["LabelledAndUnlabelled", "VirtualAdversarialModel"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class VirtualAdversarialModel(keras.Model):
    """Virtual adversarial training (虚拟对抗训练): a loss plus smoothness without labels.

    ``fit`` takes batches as usual. Where ``x`` is a dictionary with the keys ``"labelled"`` and
    ``"unlabelled"``, the compiled loss is taken at the first and the smoothness at the second; the
    two may differ in their number of samples (:class:`LabelledAndUnlabelled` makes such batches of
    arrays). Any other ``x`` is both at once. Calls, ``evaluate`` and ``predict`` are those of the
    model inside, with which the weights are shared.

    The smoothness is the mean over its samples of
    :func:`kexian_utils.robustness.virtual_adversarial.virtual_adversarial_loss`. Its passes go
    through the model as at test time, without dropout and with stored averages, so that both
    answers are of the same function and nothing stored moves. Source: article 7466, step 10; Miyato
    et al., arXiv:1704.03976. Backends: TensorFlow and JAX.

    Args:
        model: a built Keras model with one input and one output, the scores of the classes before
            the softmax; one score alone is that of class 1 of two.
        epsilon: length of the change, at least 0.
        weight: of the smoothness in the loss, at least 0.
        xi: step of the finite difference, above 0.
        iterations: of the power iteration, at least 0; 0 takes a random direction.
        layer: name of a layer, called once, whose output is moved in the place of the input: the
            ``Embedding`` of a model of texts, for one. None moves the input.
        seed: of the random directions.
        name: of the model.

    Raises:
        ValueError: an argument is outside its range, or there is no such layer.

    Examples:
        >>> import keras
        >>> from keras import ops
        >>> plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model = VirtualAdversarialModel(plain, epsilon=0.5, seed=0)
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("adam", loss, metrics=["accuracy"])
        >>> batches = LabelledAndUnlabelled(
        ...     ops.ones((6, 4)), ops.zeros((6,)), ops.ones((20, 4)), batch_size=2, seed=0)
        >>> sorted(model.fit(batches, epochs=2, verbose=0).history)
        ['accuracy', 'loss']
    """

    def __init__(
        self,
        model: keras.Model,
        epsilon: float = 1.0,
        weight: float = 1.0,
        xi: float = 1e-3,
        iterations: int = 1,
        layer: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        adversarial.check_size("epsilon", epsilon)
        adversarial.check_size("weight", weight)
        _checks.real("xi", xi, above=0)
        _checks.whole("iterations", iterations, 0)
        if layer is not None:
            _checks.choice("layer", layer, [part.name for part in model.layers])
        super().__init__(name=name, **kwargs)
        self.model = model
        self.epsilon = float(epsilon)
        self.weight = float(weight)
        self.xi = float(xi)
        self.iterations = iterations
        self.layer = layer
        self.seed = seed
        self.directions = keras.random.SeedGenerator(seed)

    def build(self, input_shape: Any = None) -> None:
        """The model inside is built already."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The model inside; of a dictionary, at the labelled samples."""
        return self.model(_part(inputs, "labelled"), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The compiled loss and, in training, the smoothness."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        if not training or self.weight == 0:
            return loss
        return loss + ops.cast(self.weight * self.smoothness(_part(x, "unlabelled")), loss.dtype)

    def smoothness(self, x: Any) -> Any:
        """Mean virtual adversarial loss of a batch of inputs; 0 of an empty one."""
        if self.layer is None:
            place = ops.convert_to_tensor(x)

            def logits_at(moved: Any) -> Any:
                return self.model(moved, training=False)

        else:
            place = ops.zeros_like(self._output_of_layer(x))

            def logits_at(moved: Any) -> Any:
                layer = self.model.get_layer(self.layer)
                with adversarial.changed_output(layer, lambda _, outputs: outputs + moved):
                    return self.model(x, training=False)

        losses = virtual_adversarial.virtual_adversarial_loss(
            logits_at,
            place,
            keras.random.normal(ops.shape(place), seed=self.directions),
            epsilon=self.epsilon,
            xi=self.xi,
            iterations=self.iterations,
        )
        count = ops.maximum(ops.size(losses), 1)
        return ops.sum(losses) / ops.cast(count, losses.dtype)

    def _output_of_layer(self, x: Any) -> Any:
        seen: list[Any] = []

        def record(_: Any, outputs: Any) -> Any:
            seen.append(outputs)
            return outputs

        with adversarial.changed_output(self.model.get_layer(self.layer), record):
            self.model(x, training=False)
        if len(seen) != 1:
            raise ValueError(
                f"layer must be called once in the model, got {self.layer!r}, called "
                f"{len(seen)} times"
            )
        return ops.stop_gradient(seen[0])

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs; the model inside included."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "epsilon": self.epsilon,
            "weight": self.weight,
            "xi": self.xi,
            "iterations": self.iterations,
            "layer": self.layer,
            "seed": self.seed,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> VirtualAdversarialModel:
        """The inverse of :meth:`get_config`."""
        inner = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**{**config, "model": inner})


class LabelledAndUnlabelled(keras.utils.PyDataset):
    """Batches of few labelled and many unlabelled samples, for ``fit``.

    An epoch goes through the unlabelled samples once, in a new order, and takes as many labelled
    batches as that needs, going round in orders that are new, too. What does not fill the last
    batch is left for the next epoch's order.

    Args:
        x: labelled inputs, samples along the first axis.
        y: their labels.
        unlabelled: inputs without labels.
        batch_size: labelled samples in a batch, from 1 to their number.
        unlabelled_batch_size: the same for the unlabelled; default twice `batch_size`.
        seed: of the orders.
        **kwargs: of ``keras.utils.PyDataset``.

    Raises:
        ValueError: a size is outside its range, or `x` and `y` differ in length.

    Examples:
        >>> import numpy as np
        >>> data = LabelledAndUnlabelled(np.eye(4), np.arange(4), np.eye(9, 4), 2, 3, seed=0)
        >>> inputs, labels = data[0]
        >>> len(data), inputs["labelled"].shape, inputs["unlabelled"].shape, labels.shape
        (3, (2, 4), (3, 4), (2,))
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        unlabelled: Any,
        batch_size: int = 32,
        unlabelled_batch_size: int | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.x, self.y, self.unlabelled = (
            ops.convert_to_numpy(part) for part in (x, y, unlabelled)
        )
        if len(self.x) != len(self.y):
            raise ValueError(f"y must have {len(self.x)} labels, one for each x, got {len(self.y)}")
        if unlabelled_batch_size is None:
            unlabelled_batch_size = min(2 * batch_size, len(self.unlabelled))
        for name, size, most in (
            ("batch_size", batch_size, len(self.x)),
            ("unlabelled_batch_size", unlabelled_batch_size, len(self.unlabelled)),
        ):
            if _checks.whole(name, size, 1) > most:
                raise ValueError(
                    f"{name} must be at most the number of samples, {most}, got {size}"
                )
        self.sizes = batch_size, unlabelled_batch_size
        self.seed, self.epoch = seed, 0
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng([self.seed, self.epoch])
        few, many = len(self.x), len(self.unlabelled)
        rounds = -(-len(self) * self.sizes[0] // few)
        self._few = np.concatenate([rng.permutation(few) for _ in range(rounds)])
        self._many = rng.permutation(many)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.unlabelled) // self.sizes[1]

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """One batch: the inputs in a dictionary, and the labels."""
        few, many = (
            order[index * size : (index + 1) * size]
            for order, size in zip((self._few, self._many), self.sizes, strict=True)
        )
        inputs = {"labelled": self.x[few], "unlabelled": self.unlabelled[many]}
        return inputs, self.y[few]

    def on_epoch_end(self) -> None:
        """New orders."""
        self.epoch += 1
        self._shuffle()


def _part(x: Any, key: str) -> Any:
    return x[key] if isinstance(x, dict) and set(x) == {"labelled", "unlabelled"} else x
