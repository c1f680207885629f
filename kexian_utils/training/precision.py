"""Float64 in Keras models, where identities are to be told from round-off (双精度)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["double_precision"]


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Let Keras compute in float64 what is float64, on JAX as on TensorFlow.

    On JAX it is not enough to enable 64-bit types: Keras's own rules of type promotion (as of 3.15)
    then still turn float64 into float32 inside LayerNormalization, means, tanh and more, while most
    results come back as float64. Here both are put right, and put back at the end. Functions have
    to be traced inside. On other backends nothing is changed.

    Raises:
        RuntimeError: on JAX, if this version of Keras keeps its rules elsewhere.

    Examples:
        >>> import keras
        >>> with double_precision():
        ...     third = keras.ops.mean(keras.ops.array([0.0, 0.0, 1.0], dtype="float64"))
        >>> keras.ops.convert_to_numpy(third).item()
        0.3333333333333333
    """
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    try:
        from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as demotions
    except ImportError as error:
        raise RuntimeError(
            f"double_precision cannot make Keras {keras.__version__} compute in float64 on JAX; "
            "set KERAS_BACKEND=tensorflow"
        ) from error
    before = jax.config.jax_enable_x64, dict(demotions)
    try:
        jax.config.update("jax_enable_x64", True)
        demotions["float64"] = "float64"
        yield
    finally:
        jax.config.update("jax_enable_x64", before[0])
        demotions.update(before[1])
