"""Distances to a trainable centre for each class."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kexian_utils import _checks

__all__ = ["CenterDistances"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class CenterDistances(keras.layers.Layer):
    r"""Squared distances of feature vectors to one trainable centre (类中心) per class.

    As a second output of a classifier it makes the centre loss an ordinary loss: for a sample of
    the class y, take the y-th distance. No labels enter the model, which therefore works at
    inference as it is, and the nearest centre classifies.

    Args:
        units: number of classes K, at least 1.
        centers_initializer: of the centres, a Keras initializer or its name.

    Input: shape ``(..., F)``, a floating dtype.

    Output: shape ``(..., K)``, the distances :math:`\lVert f-c_k\rVert^2`.

    Weights: ``centers``, shape ``(K, F)``.

    Source: article 5765 of kexue.fm; Y. Wen et al., *A Discriminative Feature Learning Approach for
    Deep Face Recognition*, ECCV 2016. As in the article, the optimiser moves the centres.

    Raises:
        ValueError: `units` is below 1, or the size of the last axis is unknown.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> layer = CenterDistances(2, centers_initializer="zeros")
        >>> ops.convert_to_numpy(layer(ops.array([[3.0, 4.0]]))).tolist()
        [[25.0, 25.0]]
        >>> def center_loss(y_true, distances):  # integer labels, shape (batch,) or (batch, 1)
        ...     own = ops.one_hot(ops.reshape(y_true, (-1,)), 2, dtype=distances.dtype)
        ...     return ops.sum(own * distances, axis=-1)
        >>> ops.convert_to_numpy(center_loss(np.array([1]), layer(np.ones((1, 2))))).tolist()
        [2.0]
    """

    def __init__(self, units: int, centers_initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.units = _checks.whole("units", units, 1)
        self.centers_initializer = keras.initializers.get(centers_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the centres for inputs of `input_shape`."""
        size = input_shape[-1]
        if size is None:
            raise ValueError("the last axis of the input must have a known size, got None")
        self.centers = self.add_weight(
            name="centers", shape=(self.units, size), initializer=self.centers_initializer
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Return the squared distance of each feature vector to each centre."""
        centers = ops.cast(self.centers, inputs.dtype)
        return ops.sum(ops.square(ops.expand_dims(inputs, -2) - centers), axis=-1)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape with K in the last place."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """Return what is needed to build the layer again."""
        initializer = keras.initializers.serialize(self.centers_initializer)
        return {**super().get_config(), "units": self.units, "centers_initializer": initializer}
