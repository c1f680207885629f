"""The two networks of article 4293 for reviews of films, for runs on a GPU.

Source: https://kexue.fm/archives/4293; they are those of Keras's own examples of 2017.
"""

from __future__ import annotations

from typing import Any

import keras

from kexian_utils import _checks

__all__ = ["sentiment_network"]


def sentiment_network(kind: str, words: int, length: int, units: int | None = None) -> Any:
    """A network of article 4293, but with a logit at the end in the place of a sigmoid.

    Args:
        kind: "lstm" (embedding and LSTM of 128, both dropouts 0.2) or "cnn" (embedding of 50, 250
            filters of width 3, the largest value of each, a dense layer of 250, dropout 0.2 twice).
        words: size of the vocabulary.
        length: words of a review.
        units: in the place of 128 or 250, for rehearsals.

    Returns:
        A Keras model, not compiled, from ``(n, length)`` whole numbers to ``(n, 1)`` logits.

    Raises:
        ValueError: for a kind that is unknown, or a size below 1.

    Examples:
        >>> sentiment_network("cnn", 50, 12, units=4).output_shape
        (None, 1)
    """
    _checks.choice("kind", kind, ("lstm", "cnn"))
    _checks.whole("words", words, 1)
    _checks.whole("length", length, 3)
    wide = _checks.whole("units", units, 1) if units is not None else dict(lstm=128, cnn=250)[kind]
    layers = keras.layers
    inputs = keras.Input((length,), dtype="int32")
    if kind == "lstm":
        hidden = layers.Embedding(words, wide)(inputs)
        hidden = layers.LSTM(wide, dropout=0.2, recurrent_dropout=0.2)(hidden)
    else:
        hidden = layers.Dropout(0.2)(layers.Embedding(words, 50)(inputs))
        hidden = layers.Conv1D(wide, 3, activation="relu")(hidden)
        hidden = layers.Dense(wide)(layers.GlobalMaxPooling1D()(hidden))
        hidden = layers.Activation("relu")(layers.Dropout(0.2)(hidden))
    return keras.Model(inputs, layers.Dense(1)(hidden))
