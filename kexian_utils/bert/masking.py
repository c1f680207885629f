"""Rows, batches and masks for the pre-training of a character BERT.

Source of the masks: Devlin, Chang, Lee and Toutanova, *BERT* (2019,
https://arxiv.org/abs/1810.04805), section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from kexian_utils.bert.characters import END, MASK, PAD, SPECIAL, START, UNKNOWN, character_ids

__all__ = [
    "LENGTH_STEP",
    "Document",
    "all_batches",
    "cut_into_rows",
    "epoch_batches",
    "mask_rows",
    "pretraining_sentences",
]

Document = Sequence[str]  # the sentences of a document
LENGTH_STEP = 16  # rows are padded to multiples, so that few shapes need compiling
_SENTENCE = re.compile(r"[^。！？；]*[。！？；]+[”’）」』》]*|[^。！？；]+")


def pretraining_sentences(paragraphs: Sequence[str]) -> list[str]:
    """The sentences of a document: cut after 。！？； and closing marks, and between paragraphs.

    Examples:
        >>> pretraining_sentences(["今天很好。“你呢？”", "也好"])
        ['今天很好。', '“你呢？”', '也好']
    """
    return [s for paragraph in paragraphs for s in _SENTENCE.findall(paragraph) if s.strip()]


def cut_into_rows(
    documents: Sequence[Document],
    vocabulary: dict[str, int],
    positions: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Rows ``[CLS] … [SEP]`` of neighbouring sentences, of one sentence or of several.

    Each row is filled with whole sentences of one document up to a length that is drawn anew: a
    quarter, a half or the whole of `positions`, most often a quarter. So the model knows sentences
    that stand alone and sentences in context. Longer sentences are cut.

    Examples:
        >>> from kexian_utils.bert.characters import character_vocabulary
        >>> document = ["今天很好。", "你呢？"]
        >>> vocabulary = character_vocabulary(document, minimum_count=1)
        >>> rows = cut_into_rows([document], vocabulary, 128, np.random.default_rng(0))
        >>> [[list(vocabulary)[number] for number in row] for row in rows]
        [['[CLS]', '今', '天', '很', '好', '。', '你', '呢', '?', '[SEP]']]
    """
    budgets = positions // np.array([4, 2, 1]) - 2
    rows: list[np.ndarray] = []
    for document in documents:
        row: list[int] = []
        budget = 0
        for sentence in document:
            ids = character_ids(sentence, vocabulary)
            if row and len(row) + len(ids) > budget:
                rows.append(_framed(row))
                row = []
            if not row:
                budget = rng.choice(budgets, p=(0.6, 0.25, 0.15))
            row += ids
            while len(row) > positions - 2:
                rows.append(_framed(row[: positions - 2]))
                row = row[positions - 2 :]
        if row:
            rows.append(_framed(row))
    return rows


def _framed(ids: Sequence[int]) -> np.ndarray:
    return np.array([START, *ids, END], np.int32)


def epoch_batches(
    rows: Sequence[np.ndarray], batch_tokens: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Padded batches of rows of similar length, each of about `batch_tokens`, in random order.

    What does not fill a batch is left out; another epoch, another rest.

    Returns:
        Arrays ``(rows, length)``, length a multiple of `LENGTH_STEP`, padded by 0.

    Examples:
        >>> rows = [np.array([2, 5, 3])] * 5 + [np.arange(2, 22)] * 2
        >>> batches = epoch_batches(rows, batch_tokens=32, rng=np.random.default_rng(0))
        >>> sorted(batch.shape for batch in batches)  # one row of the five is left out
        [(1, 32), (1, 32), (2, 16), (2, 16)]
    """
    lengths = np.array([-(-len(row) // LENGTH_STEP) * LENGTH_STEP for row in rows])
    batches = []
    for length in np.unique(lengths):
        group = rng.permutation(np.flatnonzero(lengths == length))
        size = batch_tokens // length
        for start in range(0, len(group) - size + 1, size):
            batches.append(_padded([rows[i] for i in group[start : start + size]], length))
    return [batches[i] for i in rng.permutation(len(batches))]


def _padded(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    batch = np.full((len(rows), length), PAD, np.int32)
    for line, row in zip(batch, rows, strict=True):
        line[: len(row)] = row
    return batch


def mask_rows(
    batch: np.ndarray, mask_rate: float, vocabulary_size: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Choose what is to be predicted, and hide it.

    In each row a share `mask_rate` of the characters, rounded, at least one, is chosen without
    repetition. Each is replaced by [MASK] (80 %), by a random character (10 %), or left (10 %).

    Args:
        batch: token numbers, shape ``(rows, length)``, padded by 0.
        mask_rate: share of the characters.
        vocabulary_size: random characters come from 5 to this, exclusive.
        rng: makes the choices.

    Returns:
        The model's inputs by name; labels, shape ``(rows, slots)``; weights of the labels, 1.0 or,
        in slots that are not used, 0.0.

    Source: Devlin et al. (2019), section 3.1.

    Examples:
        >>> batch = np.array([[2, *range(10, 30), 3, 0, 0]])  # 20 characters
        >>> inputs, labels, weights = mask_rows(batch, 0.15, 100, np.random.default_rng(0))
        >>> places = inputs["mask_positions"]
        >>> weights.tolist(), bool((labels == batch[0, places]).all())
        ([[1.0, 1.0, 1.0]], True)
    """
    real = batch >= len(SPECIAL)
    real |= batch == UNKNOWN
    counts = np.maximum(1, np.rint(mask_rate * real.sum(1))).astype(int)
    slots = max(1, int(np.rint(mask_rate * (batch.shape[1] - 2))))
    order = np.argsort(np.where(real, rng.random(batch.shape), 2.0), axis=1)[:, :slots]
    weights = (np.arange(slots) < counts[:, None]).astype(np.float32)
    chosen = np.sort(np.where(weights > 0, order, batch.shape[1]), axis=1)
    positions = np.where(weights > 0, chosen, 0).astype(np.int32)
    labels = np.take_along_axis(batch, positions, axis=1)
    fate = rng.random(labels.shape)
    strangers = rng.integers(len(SPECIAL), vocabulary_size, labels.shape)
    shown = np.where(fate < 0.8, MASK, np.where(fate < 0.9, strangers, labels))
    hidden = batch.copy()
    lines = np.broadcast_to(np.arange(len(batch))[:, None], labels.shape)
    used = weights > 0
    hidden[lines[used], positions[used]] = shown[used]
    return _inputs(hidden, positions), labels, weights


def _inputs(batch: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "token_ids": batch,
        "segment_ids": np.zeros_like(batch),
        "padding_mask": (batch != PAD).astype(np.int32),
        "mask_positions": positions,
    }


def all_batches(rows: Sequence[np.ndarray], batch_tokens: int) -> list[np.ndarray]:
    """Batches of all rows, the shortest first; the last of each length may be small.

    Examples:
        >>> rows = [np.array([2, 5, 3])] * 5 + [np.arange(2, 22)] * 2
        >>> [batch.shape for batch in all_batches(rows, batch_tokens=32)]
        [(2, 16), (2, 16), (1, 16), (1, 32), (1, 32)]
    """
    lengths = np.array([-(-len(row) // LENGTH_STEP) * LENGTH_STEP for row in rows])
    batches = []
    for length in np.unique(lengths):
        group, size = np.flatnonzero(lengths == length), batch_tokens // length
        for start in range(0, len(group), size):
            batches.append(_padded([rows[i] for i in group[start : start + size]], length))
    return batches
