"""Reviews of films from the Internet Movie Database, as Keras hands them out."""

from __future__ import annotations

from typing import Any

import numpy as np

from kexian_utils import _checks

__all__ = ["imdb_reviews"]

Part = tuple[np.ndarray, np.ndarray]


def imdb_reviews(
    words: int, length: int, material: str = "real", seed: int = 0
) -> tuple[Part, Part]:
    """Reviews of films as numbers of words, marked as positive or negative.

    Args:
        words: size of the vocabulary, at least 10; rarer words share one number.
        length: words of each review: longer ones lose their beginning, shorter ones are padded in
            front with 0.
        material: "real" for the 50,000 reviews that Keras downloads; "generated" for 160 drawn
            texts in which two words tell the classes apart.
        seed: of the generated texts.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: int32 of shape ``(n, length)``, labels as float32
        of shape ``(n, 1)``.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> (x, y), _ = imdb_reviews(50, 12, material="generated")
        >>> x.shape, y.shape
        ((80, 12), (80, 1))
    """
    _checks.whole("words", words, 10)
    _checks.whole("length", length, 2)
    if _checks.choice("material", material, ("real", "generated")) == "real":
        import keras

        train, test = keras.datasets.imdb.load_data(num_words=words)
    else:
        rng = np.random.default_rng(_checks.seed(seed))
        labels = rng.integers(2, size=160)
        texts = rng.integers(6, words, size=(160, length))
        texts[np.arange(160), rng.integers(length, size=160)] = 4 + labels
        train, test = (texts[:80], labels[:80]), (texts[80:], labels[80:])

    def prepared(texts: Any, labels: Any) -> Part:
        padded = np.zeros((len(texts), length), "int32")
        for row, text in zip(padded, texts, strict=True):
            end = text[-length:]
            row[length - len(end) :] = end
        return padded, np.asarray(labels, "float32")[:, None]

    return prepared(*train), prepared(*test)
