"""A layer that trains a multiple of its weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["ScaledParameterization"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class ScaledParameterization(keras.layers.Wrapper):
    r"""Let any layer compute with :math:`\theta=\lambda\varphi` and train :math:`\varphi`.

    The outputs stay what they were, the learning rate of :math:`\theta` does not: it is multiplied
    by :math:`\lambda^2` under SGD, by :math:`\lambda` under Adam and its relatives, and not at all
    under LAMB and Adafactor. The layer's own variables hold :math:`\varphi`: that is what is saved,
    clipped, decayed, regularised and constrained. Source: article 6418, equations (1) to (3).

    Args:
        layer: any layer; if it is built, its weights are divided by `scale` in place.
        scale: lambda, above 0, finite.
        **kwargs: of ``keras.layers.Layer``; a `dtype` is the wrapped layer's own affair.

    Input and output: those of `layer`.

    Raises:
        ValueError: `scale` outside its range, or a layer that is scaled already.

    Examples:
        >>> import keras
        >>> import numpy as np
        >>> inner = keras.layers.Dense(2, kernel_initializer="ones")
        >>> layer = ScaledParameterization(inner, 0.1)
        >>> keras.ops.convert_to_numpy(layer(np.ones((1, 3)))).round(4).tolist()
        [[3.0, 3.0]]
        >>> round(float(inner.kernel[0, 0]), 4)  # what is trained
        10.0
    """

    def __init__(self, layer: keras.layers.Layer, scale: float, **kwargs: Any) -> None:
        # Without autocast phi is multiplied in full precision; the wrapped layer casts.
        kwargs.setdefault("autocast", False)
        super().__init__(layer, **kwargs)
        self.scale = _checks.real("scale", scale, above=0)
        if getattr(layer, "_scaled", False):
            raise ValueError("layer must not be scaled already: wrap it once, with the product")
        layer._scaled = True
        self.supports_masking = layer.supports_masking
        self._takes = set(inspect.signature(layer.call).parameters)

    def build(self, input_shape: Any) -> None:
        """Build the layer and divide what it trains by the scale."""
        super().build(input_shape)
        for variable in self.layer.trainable_variables:
            variable.assign(variable / self.scale)

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """What the layer gives with its weights multiplied by the scale."""
        given = {"training": training, "mask": mask}
        outputs, state = self.layer.stateless_call(
            [self.scale * ops.convert_to_tensor(v) for v in self.layer.trainable_variables],
            [ops.convert_to_tensor(v) for v in self.layer.non_trainable_variables],
            inputs,
            **{name: value for name, value in given.items() if name in self._takes},
        )
        for variable, value in zip(self.layer.non_trainable_variables, state, strict=True):
            variable.assign(value)
        # Called so, some layers keep the type of their weights under a mixed policy.
        return keras.tree.map_structure(self._to_compute_type, outputs)

    def _to_compute_type(self, output: Any) -> Any:
        if "float" not in keras.backend.standardize_dtype(output.dtype):
            return output
        return ops.cast(output, self.layer.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Of the layer."""
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {**super().get_config(), "scale": self.scale}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """From the arguments, which are left as they are (Keras's own wrapper takes one out)."""
        return super().from_config(dict(config), custom_objects)
