"""A block of layers that is recomputed in the backward pass, dropout included (article 7367)."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["RematBlock"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class RematBlock(keras.layers.Layer):
    """Layers in a row that keep only their input, and recompute the rest for the gradient.

    The output and the gradient are those of the layers applied one after the other; the memory
    between the forward and the backward pass is one input instead of all that the layers keep. The
    price is one more evaluation of the block in each step. For a network of n equal layers,
    `kexian_utils.training.recomputation.checkpoint_plan` says how many to put into a block.

    Unlike `keras.remat` and `keras.RematScope` of Keras 3.15 on TensorFlow, the block recomputes
    the *same* dropout mask: the random seeds of its layers are drawn before the part that is
    recomputed. It works under `fit` and `jit_compile` on TensorFlow and on JAX. Layers that update
    something else in their call, such as batch normalization, would do it twice: they are refused.

    Input: a tensor of the shape that the first layer takes. Output: that of the last layer. A mask
    is handed to the layers that take one, and on.

    Args:
        layers: the layers, at least one. Each is called with one tensor (and `training` and `mask`
            if it takes them).
        remat: whether to recompute; False gives the plain block, to compare with.
        kwargs: `name`, `dtype` and so on, as of any Keras layer. Inside each layer has the `dtype`
            that it was made with; the output gets the block's.

    Raises:
        TypeError: `layers` is no sequence of Keras layers.
        ValueError: `layers` is empty, or a layer normalises by the batch.

    Source: articles 7367 (the wrapper around `call`) and T. Chen et al., "Training Deep Nets with
    Sublinear Memory Cost", arXiv 1604.06174 (one wrapper around several layers).

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> dense = [keras.layers.Dense(8, activation="tanh") for _ in range(4)]
        >>> block = RematBlock([*dense, keras.layers.Dropout(0.1, seed=0)])
        >>> block(np.ones((2, 8), "float32"), training=True).shape[1]
        8
    """

    def __init__(
        self, layers: Sequence[keras.layers.Layer], remat: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
            raise TypeError(f"layers must be a list of Keras layers, got {type(layers).__name__}")
        if not layers:
            raise ValueError("layers must hold at least one layer, got none")
        for layer in layers:
            if not isinstance(layer, keras.layers.Layer):
                raise TypeError(
                    f"layers must be a list of Keras layers, got one of {type(layer).__name__}"
                )
            for inner in layer._flatten_layers():
                if isinstance(inner, _UPDATING):
                    raise ValueError(
                        f"layers must not update anything in their call, got {inner.name!r}, a "
                        f"{type(inner).__name__}: recomputed, its statistics would move twice. Put "
                        "it between two blocks"
                    )
        self.layers = list(layers)
        self.remat = bool(remat)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Build the layers, one after the other."""
        for layer in self.layers:
            if not layer.built:
                layer.build(input_shape)
            input_shape = _shape_after(layer, input_shape)
        self.built = True

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Apply the layers; differentiated, apply them a second time."""
        if not self.remat:
            return self._in_a_row(inputs, mask, training)
        generators = self._generators_inside()
        seeds = [generator.next() for generator in generators]

        def inside(x: Any) -> Any:
            with _drawn_before(generators, seeds):
                return self._in_a_row(x, mask, training)

        return keras.remat(inside)(inputs)

    def _in_a_row(self, x: Any, mask: Any, training: bool | None) -> Any:
        for layer in self.layers:
            taken = inspect.signature(layer.call).parameters
            extra: dict[str, Any] = {"training": training} if "training" in taken else {}
            if "mask" in taken:
                extra["mask"] = mask
            before, x = x, layer(x, **extra)
            mask = layer.compute_mask(before, mask)
        return ops.cast(x, self.compute_dtype) if _is_float(x) else x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """What the last layer makes of the mask."""
        for layer in self.layers:
            previous_mask = layer.compute_mask(inputs, previous_mask)
        return previous_mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape after the last layer."""
        for layer in self.layers:
            input_shape = _shape_after(layer, input_shape)
        return input_shape

    def _generators_inside(self) -> list[Any]:
        """The generators of all layers inside, each once."""
        found = {}
        for layer in self._flatten_layers(include_self=False):
            for value in vars(layer).values():
                if isinstance(value, keras.random.SeedGenerator):
                    found[id(value)] = value
        return list(found.values())

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the block again."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers, "remat": self.remat}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RematBlock:
        """Build the block again from its configuration."""
        config = dict(config)
        config["layers"] = [
            keras.saving.deserialize_keras_object(layer) for layer in config["layers"]
        ]
        return cls(**config)


# Layers of Keras that assign to their own variables when they are called for training.
_UPDATING = (keras.layers.BatchNormalization, keras.layers.SpectralNormalization)


def _is_float(x: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(x.dtype)


def _shape_after(layer: keras.layers.Layer, shape: Any) -> Any:
    try:
        return layer.compute_output_shape(shape)
    except NotImplementedError:  # a layer that leaves it to Keras to find out
        return layer.compute_output_spec(keras.KerasTensor(shape)).shape


@contextlib.contextmanager
def _drawn_before(generators: list[Any], seeds: list[Any]) -> Iterator[None]:
    """Let each generator give its seed that was drawn before, and the next integers after it."""
    for generator, seed in zip(generators, seeds, strict=True):
        generator.next = _repeat(seed)
    try:
        yield
    finally:
        for generator in generators:
            del generator.next


def _repeat(seed: Any) -> Any:
    asked = 0

    def following(ordered: bool = True) -> Any:
        nonlocal asked
        asked += 1
        return seed + (asked - 1)

    return following
