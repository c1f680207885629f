"""Building Keras models whose weights are given at once, without drawing random ones first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["weights_at_zero"]

_LOCK = threading.RLock()


@contextlib.contextmanager
def weights_at_zero() -> Iterator[None]:
    """Let the weights of layers that this thread builds inside begin at zero.

    For models whose weights are all assigned right afterwards: random numbers for an initialiser
    that nobody will see take longer than everything else, and on JAX each shape is compiled anew.
    States of seed generators are no weights and begin as always; so do weights that other threads
    build meanwhile.

    Examples:
        >>> import keras
        >>> with weights_at_zero():
        ...     model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> model.get_weights()[0].tolist()
        [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    from keras.layers import Layer

    here = threading.get_ident()
    with _LOCK:  # else two threads could put back each other's version
        plain = Layer.add_weight

        def add_weight(self: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != here:
                return plain(self, *args, **kwargs)
            arguments = dict(zip(("shape", "initializer", "dtype"), args, strict=False))
            return plain(self, **{**kwargs, **arguments, "initializer": "zeros"})

        Layer.add_weight = add_weight
        try:
            yield
        finally:
            Layer.add_weight = plain
