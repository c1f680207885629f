"""Adversarial training of any model with an embedding or a dense first layer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks
from kexian_utils.robustness import adversarial

__all__ = ["AdversarialModel"]

MODES = ("activations", "embedding matrix")


@keras.saving.register_keras_serializable(package="kexian_utils")
class AdversarialModel(keras.Model):
    """Adversarial training (对抗训练) of a model, by the fast gradient method on one of its layers.

    A training step computes the gradient of the loss with respect to what the layer puts out,
    moves the output by ε along it, and takes the ordinary step of the optimiser on the loss there.
    Each sample is moved by the gradient of its own compiled loss: neither the size of the batch
    nor a loss scale nor a regularizer counts.
    Only ``fit`` and ``train_on_batch`` differ: calls, ``evaluate`` and ``predict`` are those of
    the model inside, with which the weights are shared. No weight is moved to and fro: the
    perturbation is added to the layer's output, so nothing has to be restored. Both passes of a
    step use the same dropout masks, and only the second moves averages and random states.

    For small inputs of floating type, take the ``Input`` through a layer that does nothing,
    ``keras.layers.Identity(name="input")``, and name that. Source: article 7234, step 5; Miyato et
    al., arXiv:1605.07725. Backends: TensorFlow and JAX.

    Args:
        model: a built Keras model.
        layer: name of one of its layers, called once, with one tensor as output.
        epsilon: size of the perturbation, at least 0; 0 is ordinary training.
        mode: ``"activations"``: every sample has its own perturbation of norm `epsilon`, over all
            its words and features. ``"embedding matrix"``, as in the article's code, for an
            ``Embedding``: the matrix is perturbed, with one Frobenius norm for the whole batch,
            and every occurrence of a token shares the perturbation; the loss is that of the
            batch. Other uses of a tied matrix are not perturbed.
        norm: ``"l2"``, ``"linf"`` or ``"none"``, as for
            :func:`kexian_utils.robustness.adversarial.fgm_perturbation`.
        name: of the model.

    Raises:
        ValueError: `epsilon`, `mode` or `norm` is outside its range, there is no such layer, or it
            is no ``Embedding`` and the mode asks for one.

    Examples:
        >>> import keras
        >>> from keras import ops
        >>> plain = keras.Sequential(
        ...     [keras.Input((5,), dtype="int32"), keras.layers.Embedding(9, 4, name="words"),
        ...      keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(1)]
        ... )
        >>> model = AdversarialModel(plain, "words", epsilon=0.5)
        >>> model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
        >>> history = model.fit(ops.zeros((8, 5), "int32"), ops.zeros((8, 1)), verbose=0)
        >>> "loss" in history.history
        True
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        epsilon: float = 0.5,
        mode: str = "activations",
        norm: str = "l2",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        adversarial.check_size("epsilon", epsilon)
        adversarial.check_norm(norm)
        _checks.choice("mode", mode, MODES)
        _checks.choice("layer", layer, [part.name for part in model.layers])
        if mode == MODES[1] and not isinstance(model.get_layer(layer), keras.layers.Embedding):
            raise ValueError(f"mode 'embedding matrix' needs an Embedding layer, got {layer!r}")
        super().__init__(name=name, **kwargs)
        self.model = model
        self.layer = layer
        self.epsilon = float(epsilon)
        self.mode = mode
        self.norm = norm

    def build(self, input_shape: Any = None) -> None:
        """The model inside is built already."""
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The model inside."""
        return self.model(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """What :meth:`from_config` needs; the model inside included."""
        return {
            "name": self.name,
            "model": keras.saving.serialize_keras_object(self.model),
            "layer": self.layer,
            "epsilon": self.epsilon,
            "mode": self.mode,
            "norm": self.norm,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> AdversarialModel:
        """The inverse of :meth:`get_config`."""
        inner = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**{**config, "model": inner})

    def _watched(self, change: Callable[[Any, Any], Any]) -> contextlib.AbstractContextManager:
        """Let the layer put out ``change(inputs, outputs)`` for as long as the context lasts."""
        return adversarial.changed_output(self.model.get_layer(self.layer), change)

    def _perturbation(self, tokens: Any, slope: Any) -> Any:
        """From the gradient at the layer's output to what is added there."""
        if self.mode == "activations":
            moved = adversarial.fgm_perturbation(slope, self.epsilon, self.norm)
        else:
            matrix = self.model.get_layer(self.layer).embeddings
            tokens = ops.cast(tokens, "int32")
            flat = ops.reshape(slope, (-1, matrix.shape[1]))
            summed = ops.segment_sum(flat, ops.reshape(tokens, (-1,)), matrix.shape[0])
            moved = adversarial.fgm_perturbation(summed, self.epsilon, self.norm, axes=(0, 1))
            moved = ops.take(moved, tokens, axis=0)
        return ops.stop_gradient(moved)

    def train_step(self, *args: Any) -> Any:
        """One step on the attacked batch; the arguments are those of the backend's trainer."""
        if keras.backend.backend() == "tensorflow":
            delta = self._attack_in_tensorflow(*args)
            with self._watched(lambda _, outputs: outputs + delta):
                return super().train_step(*args)
        if keras.backend.backend() == "jax":
            return super().train_step(*args)  # which calls compute_loss_and_updates
        raise RuntimeError("AdversarialModel supports the tensorflow and jax backends")

    def _attacked_loss(self, compute: Callable, y: Any, outputs: Any, sample_weight: Any) -> Any:
        """What the attack raises: the sum of the samples' own losses, or the batch's loss.

        Not the trainer's loss, which a loss scale multiplies and a mean divides by the batch.
        `compute` is called as ``compute(y, outputs, sample_weight)``.
        """
        if self.mode != "activations":  # one perturbation for the whole batch
            return compute(y, outputs, sample_weight)
        given = {"y": y, "outputs": outputs, "sample_weight": sample_weight}
        given = {name: value for name, value in given.items() if value is not None}

        def alone(sample: dict[str, Any]) -> Any:
            one = keras.tree.map_structure(lambda value: ops.expand_dims(value, 0), sample)
            return compute(one.get("y"), one["outputs"], one.get("sample_weight"))

        return ops.sum(ops.vectorized_map(alone, given))

    def _attack_in_tensorflow(self, data: Any) -> Any:
        import tensorflow as tf

        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        seen: list[tuple[Any, Any]] = []

        def record(inputs: Any, outputs: Any) -> Any:
            tape.watch(outputs)
            seen.append((inputs, outputs))
            return outputs

        def compute(y: Any, outputs: Any, sample_weight: Any) -> Any:
            return self.compute_loss(x, y, outputs, sample_weight, training=True)

        # What the first pass would store is dropped; the second draws the same random numbers.
        with keras.StatelessScope(), tf.GradientTape() as tape, self._watched(record):
            outputs = self(x, training=True)
        self._check_calls(seen)
        flat = keras.tree.flatten(outputs)
        # Keras hands regularizers in such a scope only values that it is told.
        state = [(v, v.value) for v in self.trainable_variables]
        with keras.StatelessScope(state_mapping=state), tf.GradientTape() as upper:
            upper.watch(flat)
            loss = self._attacked_loss(compute, y, outputs, sample_weight)
        # In two parts, so that losses beside the compiled one (regularizers) have no say.
        to_outputs = upper.gradient(loss, flat, unconnected_gradients="zero")
        tokens, watched = seen[0]
        slope = tape.gradient(flat, watched, to_outputs, unconnected_gradients="zero")
        return self._perturbation(tokens, slope)

    def compute_loss_and_updates(
        self,
        trainable_variables: Any,
        non_trainable_variables: Any,
        metrics_variables: Any,
        x: Any,
        y: Any,
        sample_weight: Any,
        training: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The trainer's loss on JAX: at the attacked outputs while training."""
        state = (trainable_variables, non_trainable_variables, metrics_variables)
        evaluate = super().compute_loss_and_updates
        if not training:
            return evaluate(*state, x, y, sample_weight, training=False, **kwargs)
        import jax

        def shifted(delta: Any) -> Any:
            seen: list = []

            def change(inputs: Any, outputs: Any) -> Any:
                seen.append((inputs, outputs))
                return outputs if delta is None else outputs + delta

            with self._watched(change):
                outputs, _ = self.stateless_call(*state[:2], x, training=True)
            self._check_calls(seen)
            return outputs, seen[0]

        def compute(y: Any, outputs: Any, sample_weight: Any) -> Any:
            return self.stateless_compute_loss(
                *state, x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
            )[0]

        shape = jax.eval_shape(lambda: shifted(None)[1][1])
        start = jax.numpy.zeros(shape.shape, shape.dtype)
        outputs, to_layer, (tokens, _) = jax.vjp(shifted, start, has_aux=True)
        to_outputs = jax.grad(lambda out: self._attacked_loss(compute, y, out, sample_weight))
        (slope,) = to_layer(to_outputs(outputs))
        delta = self._perturbation(*jax.lax.stop_gradient((tokens, slope)))
        with self._watched(lambda _, outputs: outputs + delta):
            return evaluate(*state, x, y, sample_weight, training=True, **kwargs)

    def _check_calls(self, seen: list) -> None:
        if len(seen) != 1:
            raise ValueError(
                f"layer must be called once in the model, got {self.layer!r}, called "
                f"{len(seen)} times"
            )
