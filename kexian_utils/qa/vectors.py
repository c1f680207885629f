"""Fixed vectors of Chinese characters from the bundled BERT.

The reader of article 6906 mixes trained character vectors with fixed word vectors from a large
corpus (字词混合). Here the input table of the small BERT that comes with the package stands for
them: it was trained on newspaper text (``kexian_utils/data/chinese_bert`` describes it).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.checkpoints import Checkpoint
from kexian_utils.bert.models import chinese_bert
from kexian_utils.bert.wordpiece import read_vocabulary

__all__ = ["character_vectors"]

_TABLE = "bert.embeddings.word_embeddings.weight"


@cache
def character_vectors(width: int = 64) -> tuple[str, np.ndarray]:
    """Characters and their vectors: the first principal components, at standard deviation 1/2.

    Args:
        width: number of components, 1 to 256.

    Returns:
        A string of `n` different characters, and an array of shape ``(n, width)``, float32.

    Raises:
        ValueError: for a width outside its range.

    Examples:
        >>> characters, vectors = character_vectors()
        >>> units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        >>> cosines = units @ units[characters.index("三")]
        >>> [characters[place] for place in cosines.argsort()[::-1][:3]]
        ['三', '四', '一']
    """
    checkpoint = Checkpoint(chinese_bert())
    table = checkpoint[_TABLE].astype(float)
    _checks.whole("width", width, 1, table.shape[1])
    tokens = read_vocabulary(checkpoint.folder / "vocab.txt")
    single = [token for token in tokens if len(token) == 1]
    rows = table[[tokens[token] for token in single]]
    rows = rows - rows.mean(axis=0)
    _, _, axes = np.linalg.svd(rows, full_matrices=False)
    parts = rows @ axes[:width].T
    return "".join(single), (0.5 * parts / parts.std()).astype(np.float32)
