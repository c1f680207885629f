"""Perturbed masking (扰动掩码): what hiding one unit of a sentence does to another in a model.

A unit (a word, a character) is replaced by [MASK], and the model's state there is looked at; then
a second unit is masked as well. The distance between the two states is the impact of the second on
the first. Nothing is trained. Source: kexue.fm/archives/7476, after Wu, Chen, Kao and Liu,
*Perturbed Masking* (2020, https://arxiv.org/abs/2004.14786).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from kexian_utils.bert.checkpoints import Checkpoint
from kexian_utils.bert.fast_encoder import PIECE, FastEncoder, pieces
from kexian_utils.bert.tensor_names import source_names
from kexian_utils.bert.wordpiece import AlignedTokens, Tokenizer

__all__ = [
    "DISTANCES",
    "HEAD_DISTANCES",
    "MODES",
    "MaskedVariants",
    "ProbingModel",
    "impact_matrices",
    "impact_matrix",
    "masked_variants",
]

MODES = ("double", "single")
DISTANCES = ("euclidean", "cosine")  # between states
HEAD_DISTANCES = ("pmi", "probability", "kl")  # between predictions of a masked-language model
_WINDOW = 64 * PIECE  # tokens of masked rows that are worked on together
_READS = 256  # predictions that are held at a time

Spans = Sequence[tuple[int, int]]
Sentence = str | Sequence[str] | AlignedTokens


@dataclass(frozen=True)
class MaskedVariants:
    """The masked copies of a sentence that a probe needs, each once.

    Attributes:
        rows: token numbers, shape ``(R, T)``.
        index: shape ``(N, N)``; ``index[i, i]`` is the row with unit i masked, ``index[i, j]`` and
            ``index[j, i]`` that with units i and j masked, -1 where there is none.
        unmasked: row of the sentence itself, or -1.

    Examples:
        >>> found = masked_variants([2, 10, 11, 3], None, "all", mask_id=4)
        >>> found.rows[found.index[0, 1]].tolist()  # the row with both units masked
        [2, 4, 4, 3]
    """

    rows: np.ndarray
    index: np.ndarray
    unmasked: int


def masked_variants(
    ids: Sequence[int] | np.ndarray,
    spans: Spans | None,
    pairs: Literal["all", "neighbours", "none"] | Sequence[tuple[int, int]],
    mask_id: int,
) -> MaskedVariants:
    """Copies of a sentence with its units masked one by one and in pairs.

    Args:
        ids: token numbers, shape ``(T,)``, the first [CLS] and the last [SEP].
        spans: (start, end) of the N units' tokens, in ascending order; they must not overlap, but
            may leave tokens out. By default every token but the first and the last is a unit.
        pairs: which units are masked together: "all", giving N (N + 1) / 2 rows; "neighbours",
            2N − 1; "none" gives N + 1 rows, that of the sentence itself among them, and is for the
            variant with one mask; or pairs of unit numbers.
        mask_id: number of [MASK].

    Raises:
        ValueError: for spans that are empty, overlap, are out of order or out of range; for pairs
            that are not two different units; for ids that hold `mask_id` in a unit.

    Source: kexue.fm/archives/7476, equation (3) of the chapter.

    Examples:
        >>> masked_variants([2, 10, 11, 3], None, "all", mask_id=4).rows.tolist()
        [[2, 4, 11, 3], [2, 10, 4, 3], [2, 4, 4, 3]]
    """
    ids = np.asarray(ids)
    owner = _owners(ids, spans, mask_id)
    n = owner.max() + 1
    if isinstance(pairs, str):
        if pairs not in ("all", "neighbours", "none"):
            raise ValueError(f"pairs must be 'all', 'neighbours', 'none' or a list, got {pairs!r}")
        single = pairs == "none"
        first, second = _pairs(n, pairs)
    else:
        single = False
        chosen = np.asarray(pairs, int).reshape(-1, 2)
        if chosen.size and (chosen.min() < 0 or chosen.max() >= n):
            raise ValueError(f"pairs must be of units from 0 to {n - 1}, got {chosen.tolist()}")
        if (chosen[:, 0] == chosen[:, 1]).any():
            raise ValueError(f"pairs must be of two different units, got {chosen.tolist()}")
        first, second = np.unique(np.sort(chosen, axis=1), axis=0).T
    units = np.arange(n)
    hidden = np.concatenate([units, first])[:, None], np.concatenate([units, second])[:, None]
    rows = np.where((owner == hidden[0]) | (owner == hidden[1]), mask_id, ids)
    index = np.full((n, n), -1)
    index[units, units] = units
    index[first, second] = index[second, first] = n + np.arange(len(first))
    if single:
        rows = np.concatenate([rows, ids[None]])
    return MaskedVariants(rows, index, n if single else -1)


class ProbingModel:
    """A BERT with its tokenizer, ready to be probed.

    Attributes:
        encoder: computes states.
        tokenizer: cuts text and words.
        mask_id: number of [MASK].

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> model = ProbingModel(chinese_bert())
        >>> tokens = model.tokens("今天")
        >>> model(np.array([tokens.ids])).shape  # embeddings and four layers of [CLS] 今 天 [SEP]
        (5, 1, 4, 256)
    """

    def __init__(
        self,
        folder: str | os.PathLike | Checkpoint,
        dtype: Any = np.float32,
        threads: int | None = None,
    ) -> None:
        """Open a folder in Hugging Face's form, or ``hf://OWNER/NAME``.

        Args:
            folder: with config.json, vocab.txt and model.safetensors.
            dtype: float32 or float64.
            threads: by default as many as NumPy's BLAS uses; results do not depend on it.

        Raises:
            ValueError: for a folder, a file in it, or a model that cannot be used.
        """
        checkpoint = folder if isinstance(folder, Checkpoint) else Checkpoint(folder)
        self.tokenizer = Tokenizer.open(checkpoint.folder)
        if "[MASK]" not in self.tokenizer.vocabulary:
            raise ValueError(f"{checkpoint.folder}/vocab.txt must hold [MASK], which is missing")
        self.mask_id = self.tokenizer.vocabulary["[MASK]"]
        table = source_names(checkpoint).get("embeddings.word_embeddings.weight")
        last = max(self.tokenizer.vocabulary.values())
        if table is not None and last >= checkpoint.shapes[table][0]:
            raise ValueError(
                f"{checkpoint.folder}/vocab.txt must have no more tokens than the token table has "
                f"rows, {checkpoint.shapes[table][0]}, got {last + 1}: it belongs to another model"
            )
        self.encoder = FastEncoder(checkpoint, checkpoint.config, dtype, threads)

    def tokens(self, sentence: Sentence) -> AlignedTokens:
        """Tokens and units of a text or of words.

        Raises:
            ValueError: if there are more tokens than the model has positions for.
        """
        if isinstance(sentence, AlignedTokens):
            return sentence
        return self.tokenizer(sentence, self.encoder.limit)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """States of all layers at all positions, shape ``(L + 1, R, T, d)``."""
        return self.encoder(rows)


def impact_matrix(
    encode: ProbingModel | Callable[[np.ndarray], np.ndarray],
    ids: Sequence[int] | np.ndarray,
    spans: Spans | None = None,
    mode: str = "double",
    distance: str = "euclidean",
    layers: Sequence[int] | None = None,
    mask_id: int | None = None,
) -> np.ndarray:
    """Impact of each unit of a sentence on each other one.

    Entry ``[l, i, j]`` is the impact of unit j on unit i in layer l: the distance between two
    states of unit i, averaged over its positions. With mode "double" these are its states when it
    is masked and when j is masked as well, equations (1) and (2) of the chapter; with "single",
    its states in the sentence and when j alone is masked, equation (4). The diagonal is zero, which
    for "single" is a convention: (4) itself would give there how far masking a unit moves itself,
    several times the other entries.

    Args:
        encode: a model; or any function from token numbers, shape ``(R, T)``, to states, shape
            ``(layers, R, T, d)``: a Keras model's, say.
        ids: token numbers, shape ``(T,)``, [CLS] first and [SEP] last; they are never masked.
        spans: as for :func:`masked_variants`.
        mode: "double" or "single".
        distance: "euclidean", or "cosine" for 1 − cos. A model with a head also takes those of
            :func:`impact_matrices` with mode "double", which have no layers.
        layers: by default all that `encode` gives, 0 being the embeddings.
        mask_id: number of [MASK]; a model knows its own.

    Returns:
        Shape ``(layers, N, N)``.

    Raises:
        ValueError: for a mode, distance, layers or spans that do not fit.

    Examples:
        >>> table = np.eye(5)
        >>> def encode(rows):  # a state is the mean of the tokens before and after, and itself
        ...     x = table[rows]
        ...     return ((np.roll(x, 1, 1) + x + np.roll(x, -1, 1)) / 3)[None]
        >>> impact_matrix(encode, [0, 1, 2, 3, 0], mode="single", mask_id=4)[0].round(2).tolist()
        [[0.0, 0.47, 0.0], [0.47, 0.0, 0.47], [0.0, 0.47, 0.0]]
    """
    if isinstance(encode, ProbingModel):
        if spans is None:
            spans = [(t, t + 1) for t in range(1, len(ids) - 1)]
        tokens = AlignedTokens(list(ids), list(spans), [])
        return next(impact_matrices(encode, [tokens], mode, distance, layers))
    _check("mode", mode, MODES)
    _check("distance", distance, DISTANCES)
    if mask_id is None:
        raise ValueError("mask_id must be given with a function: it is the number of [MASK]")
    ids = np.asarray(ids)
    owner = _owners(ids, spans, mask_id)
    variants = masked_variants(ids, spans, "all" if mode == "double" else "none", mask_id)
    states = np.asarray(encode(variants.rows))
    states = states if layers is None else states[list(layers)]
    n = len(variants.index)
    average = (owner == np.arange(n)[:, None]).astype(states.dtype)
    states = average / average.sum(axis=1, keepdims=True) @ states  # (layers, R, N, d)
    unit = np.arange(n)[:, None]
    if mode == "double":
        before, after = variants.index.diagonal()[:, None], variants.index
    else:
        before, after = variants.unmasked, variants.index.diagonal()[None]
    result = _distances(distance, states[:, before, unit], states[:, after, unit])
    result[:, range(n), range(n)] = 0
    return result


def impact_matrices(
    model: ProbingModel,
    sentences: Iterable[Sentence],
    mode: str = "double",
    distance: str | Sequence[str] = "euclidean",
    layers: Sequence[int] | None = None,
    neighbours: bool = False,
) -> Iterator[Any]:
    """Impact matrices of many sentences, in their order, at constant memory.

    Masked rows of sentences with equally many tokens are computed together. With distances of the
    head, where ``p`` is the prediction at unit i when i is masked, and ``q`` when j is masked too:

    - "pmi": ln p(x_i) − ln q(x_i), equation (5) of the chapter, the conditional pointwise mutual
      information of i and j if the model's predictions are consistent; it may be negative;
    - "probability": p(x_i) − q(x_i), may be negative;
    - "kl": the Kullback–Leibler divergence of q from p, Σ p ln(p/q).

    In units of several tokens, "pmi" and "kl" are sums over them, as if they were independent, and
    "probability" is the mean.

    Args:
        model: to be probed.
        sentences: texts, sequences of words, or tokens from ``model.tokens``; read as needed.
        mode: "double" or "single", as for :func:`impact_matrix`.
        distance: "euclidean", "cosine", and with mode "double" those above; or several of them,
            which are computed in one pass.
        layers: from 0 (embeddings) to L; all by default. Layers above the last are not run.
        neighbours: compute only what neighbouring units do to each other, and return
            ``s[t] = (F[t, t + 1] + F[t + 1, t]) / 2``, equation (6) of the chapter.

    Yields:
        For each sentence shape ``(layers, N, N)``, or ``(layers, N − 1)`` with `neighbours`; of
        the head without the first axis. Given several distances, a dict of them.

    Raises:
        ValueError: for a mode, distance, layers or sentence that do not fit, or a distance that
            needs a head which the model does not have.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> model = ProbingModel(chinese_bert())
        >>> (scores,) = impact_matrices(model, ["今天天气"], distance="pmi", neighbours=True)
        >>> scores.argmin().item()  # the gap between the two words
        1
    """
    _check("mode", mode, MODES)
    names = (distance,) if isinstance(distance, str) else tuple(distance)
    for name in names:
        _check("distance", name, DISTANCES + HEAD_DISTANCES)
    of_head = [name for name in names if name in HEAD_DISTANCES]
    if of_head and mode != "double":
        raise ValueError(f"mode must be 'double' for the distance {of_head[0]!r}, got {mode!r}")
    if of_head and not model.encoder.has_head:
        raise ValueError(
            f"distance {of_head[0]!r} needs a model with a masked-language-model head "
            f"(cls.predictions), which is missing: use one of {DISTANCES}"
        )
    layers = model.encoder.checked_layers(layers)
    probe = _Probe(model, mode, names, tuple(layers), bool(neighbours))
    if isinstance(distance, str):
        return (found[distance] for found in probe.run(sentences))
    return probe.run(sentences)


@dataclass
class _Group:
    """Sentences of equally many tokens. Their units' tokens have running numbers, for `base`."""

    numbers: list[int]  # of the sentences in the window
    ids: np.ndarray  # (sentences, T)
    owner: np.ndarray  # (sentences, T): number of the unit that a token belongs to, or -1
    units: np.ndarray = field(init=False)  # in each sentence
    token: np.ndarray = field(init=False)  # (sentences, T): running number of a unit's token
    square: np.ndarray = field(init=False)  # where each sentence's matrix begins in `found`
    base: np.ndarray = field(init=False)  # (layers, tokens of units, d): states to compare with
    found: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        self.units = self.owner.max(axis=1) + 1
        self.token = np.cumsum(self.owner.ravel() >= 0).reshape(self.owner.shape) - 1
        self.square = np.cumsum(self.units**2) - self.units**2


@dataclass(frozen=True)
class _Probe:
    model: ProbingModel
    mode: str
    names: tuple[str, ...]
    layers: tuple[int, ...]
    neighbours: bool

    @property
    def read_layers(self) -> tuple[int, ...]:
        """The layers that are wanted, and after them the one that the head reads."""
        wanted = self.layers if any(name in DISTANCES for name in self.names) else ()
        head = any(name in HEAD_DISTANCES for name in self.names)
        return wanted + ((self.model.encoder.layers,) if head else ())

    def run(self, sentences: Iterable[Sentence]) -> Iterator[dict[str, np.ndarray]]:
        window, size = [], 0
        for number, sentence in enumerate(sentences):
            try:
                tokens = self.model.tokens(sentence)
                if not tokens.spans:
                    raise ValueError("it must hold a word or a visible character")
                ids = np.asarray(tokens.ids)
                owner = _owners(ids, tokens.spans, self.model.mask_id)
            except ValueError as error:
                raise ValueError(f"sentence {number}: {error}") from None
            window.append((ids, owner))
            size += len(self.changes(owner.max() + 1)[0]) * len(ids)
            if size >= _WINDOW:
                yield from self.window(window)
                window, size = [], 0
        if window:
            yield from self.window(window)

    def window(self, sentences: list[tuple[np.ndarray, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        by_length: dict[int, list[int]] = {}
        for number, (ids, _) in enumerate(sentences):
            by_length.setdefault(len(ids), []).append(number)
        groups = []
        for numbers in by_length.values():
            ids, owner = zip(*(sentences[number] for number in numbers), strict=True)
            groups.append(self.prepared(_Group(numbers, np.stack(ids), np.stack(owner))))
        for step, rows in (
            (self.read_base, self.base_rows),
            (self.read_changed, self.changed_rows),
        ):
            for _ in self.model.encoder.parallel(step, _tasks(groups, rows)):
                pass  # results are in the groups
        found: list[Any] = [None] * len(sentences)
        for group in groups:
            for place, number in enumerate(group.numbers):
                found[number] = self.result(group, place)
        return found

    def prepared(self, group: _Group) -> _Group:
        """With room for what will be read and found."""
        encoder = self.model.encoder
        tokens = group.token[-1, -1] + 1
        group.base = np.empty((len(self.read_layers), tokens, encoder.width), encoder.dtype)
        entries = int((group.units**2).sum())
        group.found = {
            name: np.zeros(((len(self.layers),) if name in DISTANCES else ()) + (entries,))
            for name in self.names
        }
        return group

    def changes(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The two units that each changed row masks; one unit twice with mode "single"."""
        if self.mode == "single":
            return np.arange(n), np.arange(n)
        return _pairs(n, "neighbours" if self.neighbours else "all")

    def base_rows(self, group: _Group) -> tuple[np.ndarray, ...]:
        """Sentence and two masked units of each row: the states there are compared with."""
        if self.mode == "single":
            nothing = np.full(len(group.ids), -2)
            return np.arange(len(group.ids)), nothing, nothing
        unit = np.concatenate([np.arange(n) for n in group.units])
        return np.repeat(np.arange(len(group.ids)), group.units), unit, unit

    def changed_rows(self, group: _Group) -> tuple[np.ndarray, ...]:
        changes = [self.changes(n) for n in group.units]
        first, second = (np.concatenate(part) for part in zip(*changes, strict=True))
        sizes = [len(change[0]) for change in changes]
        return np.repeat(np.arange(len(group.ids)), sizes), first, second

    def states(
        self, group: _Group, sentence: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows and positions that are read, and the states there."""
        owner = group.owner[sentence]
        hidden = (owner == first[:, None]) | (owner == second[:, None])
        ids = np.where(hidden, self.model.mask_id, group.ids[sentence])
        rows, positions = np.nonzero(hidden if self.mode == "double" else owner >= 0)
        found = self.model.encoder.read_piece(ids, rows, positions, self.read_layers)
        return rows, positions, found

    def read_base(self, group: _Group, sentence: np.ndarray, *masked: np.ndarray) -> None:
        rows, positions, states = self.states(group, sentence, *masked)
        group.base[:, group.token[sentence[rows], positions]] = states

    def read_changed(
        self, group: _Group, sentence: np.ndarray, first: np.ndarray, second: np.ndarray
    ) -> None:
        rows, positions, after = self.states(group, sentence, first, second)
        at = sentence[rows]
        before = group.base[:, group.token[at, positions]]
        unit = group.owner[at, positions]
        begins = np.flatnonzero(np.diff(rows, prepend=-1) | np.diff(unit, prepend=-1))
        other = np.where(unit == first[rows], second[rows], first[rows])
        entries = (group.square[at] + unit * group.units[at] + other)[begins]
        of_states = [name for name in self.names if name in DISTANCES]
        if of_states:
            pair = [_unit_means(x[: len(self.layers)], begins) for x in (before, after)]
            for name in of_states:
                group.found[name][:, entries] = _distances(name, *pair)
        of_head = [name for name in self.names if name in HEAD_DISTANCES]
        if of_head:
            targets = group.ids[at, positions]
            values = _head_distances(self.model.encoder, before[-1], after[-1], targets)
            sizes = np.diff(begins, append=len(rows))
            for name in of_head:
                total = np.add.reduceat(values[name], begins)
                group.found[name][entries] = total / sizes if name == "probability" else total

    def result(self, group: _Group, place: int) -> dict[str, np.ndarray]:
        n, start = group.units[place], group.square[place]
        result = {}
        for name, found in group.found.items():
            matrix = found[..., start : start + n * n].reshape(*found.shape[:-1], n, n).copy()
            matrix[..., range(n), range(n)] = 0
            if self.neighbours:
                upper, lower = (np.diagonal(matrix, k, -2, -1) for k in (1, -1))
                matrix = (upper + lower) / 2
            result[name] = matrix
        return result


def _tasks(
    groups: list[_Group], rows: Callable[[_Group], tuple[np.ndarray, ...]]
) -> Iterator[tuple[Any, ...]]:
    for group in groups:
        columns = rows(group)
        for start, stop in pieces(len(columns[0]), group.ids.shape[1]):
            yield group, *(column[start:stop] for column in columns)


def _owners(ids: np.ndarray, spans: Spans | None, mask_id: int) -> np.ndarray:
    """Number of the unit that each token belongs to, or -1; shape ``(T,)``."""
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer) or len(ids) < 3:
        raise ValueError(
            "ids must be 3 or more integers, [CLS] first and [SEP] last, got "
            f"{ids.dtype} of shape {ids.shape}"
        )
    if spans is None:
        spans = [(t, t + 1) for t in range(1, len(ids) - 1)]
    owner, free = np.full(len(ids), -1), 1
    for number, (start, end) in enumerate(spans):
        if not free <= start < end <= len(ids) - 1:
            raise ValueError(
                "spans must not be empty nor overlap, ascend, and stay between 1 and "
                f"{len(ids) - 1} for {len(ids)} ids, got {(start, end)} as number {number}"
            )
        owner[start:end], free = number, end
    if owner.max() < 0:
        raise ValueError("spans must hold at least one (start, end), got none")
    if (ids[owner >= 0] == mask_id).any():
        raise ValueError(f"ids must not hold [MASK], {mask_id}, where something is to be masked")
    return owner


def _pairs(n: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    if kind == "all":
        return np.triu_indices(n, 1)
    count = n - 1 if kind == "neighbours" else 0
    return np.arange(count), np.arange(1, count + 1)


def _unit_means(states: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """Means over the runs of axis 1 that begin there."""
    if len(begins) == states.shape[1]:
        return states
    sizes = np.diff(begins, append=states.shape[1]).astype(states.dtype)
    return np.add.reduceat(states, begins, axis=1) / sizes[:, None]


def _distances(name: str, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Over the last axis. Equal vectors are at distance 0 exactly."""
    if name == "cosine":  # 1 - cos, as half the square between unit vectors
        tiny = np.finfo(before.dtype).tiny
        before, after = (
            x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), tiny) for x in (before, after)
        )
        return np.square(before - after).sum(axis=-1) / 2
    return np.sqrt(np.square(before - after).sum(axis=-1))


def _head_distances(
    encoder: FastEncoder, before: np.ndarray, after: np.ndarray, targets: np.ndarray
) -> dict[str, np.ndarray]:
    """What the predictions from two states lose, shape ``(places,)``; `targets` are right."""
    found = {name: np.empty(len(targets)) for name in HEAD_DISTANCES}
    for start in range(0, len(targets), _READS):
        block = slice(start, start + _READS)
        p, q = encoder.log_probabilities(before[block]), encoder.log_probabilities(after[block])
        here = np.arange(len(p)), targets[block]
        found["pmi"][block] = p[here] - q[here]
        found["probability"][block] = np.exp(p[here]) - np.exp(q[here])
        found["kl"][block] = np.einsum("pv,pv->p", np.exp(p), p - q)
    return found


def _check(name: str, value: str, values: Sequence[str]) -> None:
    if value not in values:
        raise ValueError(f"{name} must be one of {', '.join(values)}, got {value!r}")
