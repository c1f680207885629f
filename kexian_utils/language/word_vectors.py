"""Word vectors (词向量) of a text of one's own: numbered words, training, the word2vec format.

This lies beneath ``kexian word2vec``. Plain NumPy and SciPy; a run that was stopped goes on.
Source: https://kexue.fm/archives/4402.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from kexian_utils import _checks
from kexian_utils.language.text import NeighbourPMI, segment_by_threshold
from kexian_utils.training.resume import open_run, run_steps
from kexian_utils.training.state import read_state, write_state

__all__ = [
    "NumberedText",
    "VectorTraining",
    "WordVectors",
    "cut_by_neighbours",
    "documents_of",
    "number_words",
    "train_word_vectors",
]

_PIECES = re.compile("[\u3400-\u9fff\uf900-\ufaff]+|[0-9A-Za-z０-９Ａ-Ｚａ-ｚ.．%％]+|\\S")
_CUT_SHARE = 0.6  # of the gaps between characters, as for `kexian segment` without a threshold
_DIVERGED = "the training diverged: choose a smaller learning_rate than {:g}"
_SAMPLE = 1000  # lines that the threshold is taken from
_STATE = ("inputs", "outputs", "input_sums", "output_sums", "losses", "step")


@dataclass(frozen=True)
class NumberedText:
    """A text whose words are numbers, from the most frequent word, 0, to the rarest.

    Attributes:
        words: what the numbers stand for.
        counts: how often each occurs, shape ``(n,)``.
        ids: all documents after each other, int32, with `window` times ``n`` before, between and
            behind them.
        window: how many words to each side may be asked for.

    Examples:
        >>> text = number_words([["a", "b", "a"], ["b", "a"]], min_count=1, window=1)
        >>> text.words, text.counts.tolist(), text.ids.tolist()
        (['a', 'b'], [3, 2], [2, 0, 1, 0, 2, 1, 0, 2])
    """

    words: list[str]
    counts: np.ndarray
    ids: np.ndarray
    window: int

    def digest(self) -> str:
        """SHA-256 of words and numbers."""
        total = hashlib.sha256("\n".join(self.words).encode())
        total.update(self.ids.tobytes())
        return total.hexdigest()


def number_words(
    documents: Sequence[Sequence[str]], min_count: int = 5, window: int = 5
) -> NumberedText:
    """Number the words that occur often enough; others are left out, as if they were not there.

    Args:
        documents: the words of each; read twice.
        min_count: how often a word must occur, at least 1.
        window: words to each side of a word that training will look at, at least 1.

    Returns:
        Words of like counts are in the order in which they came.

    Raises:
        ValueError: if fewer than two words occur often enough.

    Examples:
        >>> number_words([["b", "a", "a", "c", "b"]], min_count=2).words
        ['b', 'a']
    """
    _checks.whole("min_count", min_count, 1)
    _checks.whole("window", window, 1)
    tally = Counter(word for document in documents for word in document)
    kept = [(word, count) for word, count in tally.most_common() if count >= min_count]
    if len(kept) < 2:
        most = tally.most_common(1)
        often = f", the most frequent one {most[0][1]} times" if most else ""
        raise ValueError(
            f"at least two words must occur {min_count} times or more; the text has "
            f"{len(tally):,} different words{often}: give more text or a smaller min_count"
        )
    number = {word: i for i, (word, _) in enumerate(kept)}
    border = np.full(window, len(kept), np.int32)
    parts = [border]
    for document in documents:
        found = [number[word] for word in document if word in number]
        parts += [np.array(found, np.int32), border] if found else []
    counts = np.array([count for _, count in kept])
    return NumberedText(list(number), counts, np.concatenate(parts), window)


def cut_by_neighbours(texts: Sequence[str]) -> list[list[str]]:
    """Cut Chinese texts into words, roughly, by counts of neighbouring characters in them.

    Of the gaps between Chinese characters those six tenths are cut whose neighbours follow each
    other least by :class:`kexian_utils.language.text.NeighbourPMI`, counted in these texts. Letters
    and digits in a row stay together, every other mark stands alone, white space is left out. The
    more text, the better; ``kexian segment`` is better, and slow.

    Args:
        texts: strings.

    Returns:
        The words of each.

    Examples:
        >>> cut_by_neighbours(["苹果和钢铁", "钢铁和梨子", "梨子和苹果 3.5"])[2]
        ['梨子', '和', '苹果', '3.5']
    """
    runs = [_PIECES.findall(text) for text in texts]
    chinese = [run for pieces in runs for run in pieces if len(run) > 1 and _is_chinese(run)]
    if not chinese:
        return runs
    ties = NeighbourPMI(chinese)
    sample = [ties(run) for pieces in runs[:_SAMPLE] for run in pieces if _is_chinese(run)]
    gaps = np.concatenate([scores for scores in sample if len(scores)] or [ties(chinese[0])])
    threshold = float(np.quantile(gaps, _CUT_SHARE))

    def words(run: str) -> list[str]:
        return segment_by_threshold(run, ties(run), threshold) if _is_chinese(run) else [run]

    return [[word for run in pieces for word in words(run)] for pieces in runs]


def _is_chinese(run: str) -> bool:
    return run[0] >= "\u3400" and not run[0] > "\ufaff"


@dataclass(frozen=True)
class VectorTraining:
    """How vectors are trained.

    Attributes:
        dimension: length of a vector.
        epochs: passes over the text.
        negatives: words drawn for a batch.
        batch_size: words of a step, before frequent ones are thinned.
        learning_rate: of Adagrad at the start; it falls to a twentieth along a straight line.
        thinning: frequency above which occurrences are left out at random, as in word2vec; 0
            leaves none out.
        power: negatives are drawn in proportion to the count of a word to this power.

    Examples:
        >>> VectorTraining(epochs=2).learning_rate
        0.05
    """

    dimension: int = 100
    epochs: int = 5
    negatives: int = 256
    batch_size: int = 1000
    learning_rate: float = 0.05
    thinning: float = 1e-3
    power: float = 0.75

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, by name."""
        for name in ("dimension", "epochs", "negatives", "batch_size"):
            object.__setattr__(self, name, _checks.whole(name, getattr(self, name), 1))
        _checks.real("learning_rate", self.learning_rate, above=0)
        _checks.real("thinning", self.thinning, least=0)
        _checks.real("power", self.power, least=0)


class WordVectors:
    """Words and their vectors.

    Args:
        words: none twice, none with white space in it or empty.
        vectors: shape ``(n, d)``, finite.

    Raises:
        ValueError: for other words or vectors.

    Examples:
        >>> vectors = WordVectors(["北京", "上海", "苹果"], [[1, 0], [4, 3], [0, 1]])
        >>> vectors.most_similar("北京", topn=1)
        [('上海', 0.8)]
    """

    def __init__(self, words: Sequence[str], vectors: Any) -> None:
        self.words = list(words)
        self.vectors = _checks.finite("vectors", np.asarray(vectors, dtype=np.float32))
        _checks.shape("vectors", self.vectors, (len(self.words), "d"))
        self._numbers = {word: i for i, word in enumerate(self.words)}
        if len(self._numbers) < len(self.words):
            raise ValueError("words must all be different, got some of them twice")
        for word in self.words:
            if word.split() != [word]:
                raise ValueError(f"words must hold no white space and not be empty, got {word!r}")

    def most_similar(self, word: str, topn: int = 10) -> list[tuple[str, float]]:
        """The words whose vectors make the smallest angles with that of `word`, and the cosines.

        Raises:
            KeyError: if the word is not among them; the message says so.
        """
        if word not in self._numbers:
            raise KeyError(f"{word!r} is not among the {len(self.words):,} words with a vector")
        _checks.whole("topn", topn, 1)
        lengths = np.linalg.norm(self.vectors, axis=1)
        units = self.vectors / np.where(lengths > 0, lengths, 1)[:, None]
        cosines = units @ units[self._numbers[word]]
        order = np.argsort(-cosines, kind="stable")
        found = [i for i in order if i != self._numbers[word]][:topn]
        return [(self.words[i], round(float(cosines[i]), 6)) for i in found]

    def save(self, path: str | os.PathLike) -> None:
        """Write the text format of word2vec, all or nothing: a line ``n d``, then one for a word.

        gensim reads it by ``KeyedVectors.load_word2vec_format(path)``.
        """
        path = Path(path)
        partial = path.with_name(f"{path.name}.part")
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.write(f"{len(self.words)} {self.vectors.shape[1]}\n")
            for word, vector in zip(self.words, self.vectors, strict=True):
                file.write(f"{word} {' '.join(f'{value:.6g}' for value in vector)}\n")
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> WordVectors:
        """Read the text format of word2vec.

        Raises:
            ValueError: if the file holds something else; the message names the line.
        """
        with open(path, encoding="utf-8", newline="\n") as file:
            head = file.readline().split()
            if len(head) != 2 or not all(part.isdecimal() for part in head):
                raise ValueError(f"{path}, line 1 must be two whole numbers, words and dimension")
            count, dimension = map(int, head)
            words, rows = [], []
            for number, line in enumerate(file, start=2):
                word, *values = line.rstrip("\n").rstrip(" ").split(" ")
                try:
                    rows.append(np.array(values, dtype=np.float32))
                except ValueError:
                    rows.append(np.zeros(0, np.float32))
                if rows[-1].shape != (dimension,):
                    raise ValueError(
                        f"{path}, line {number} must hold a word and {dimension} numbers"
                    )
                words.append(word)
        if len(words) != count:
            raise ValueError(f"{path} must hold {count} words, as line 1 says, got {len(words)}")
        return cls(words, np.array(rows).reshape(count, dimension))


def train_word_vectors(
    text: NumberedText,
    training: VectorTraining,
    seed: int = 0,
    folder: str | os.PathLike | None = None,
    save_every: float = 30.0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> WordVectors:
    r"""Train CBOW vectors with the softmax among the target and random words, equation (3).

    Negatives are drawn by frequency to a power, once for a batch, and no correction is made: by (6)
    the logits become :math:`\log P(i\mid c)-\log q_i`, so that the vectors need not carry the
    frequencies. Windows are thinned at random as in word2vec.

    Args:
        text: from :func:`number_words`.
        training: how.
        seed: of all that is random, at least 0.
        folder: of the run, for its state; without one nothing is kept. A run that was stopped and
            goes on in its folder ends with the same vectors as one that was not.
        save_every: seconds between two saved states.
        report: called after each step with step, steps, epoch, epochs, loss, seconds_left.

    Raises:
        ValueError: if the folder holds another run or other things.
        FloatingPointError: if the training diverges.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> fruit, metal = ["apple", "pear", "plum"], ["iron", "tin", "zinc"]
        >>> texts = [rng.choice(kind, 20).tolist() for kind in (fruit, metal) * 30]
        >>> vectors = train_word_vectors(number_words(texts), VectorTraining(8, batch_size=50))
        >>> sorted(word for word, _ in vectors.most_similar("apple", 2))
        ['pear', 'plum']
    """
    _checks.seed(seed)
    learner = _Learner(text, training, seed)
    steps = training.epochs * learner.batches
    losses = np.full(steps, np.nan)
    first, path = 0, None
    if folder is not None:
        run = {"training": asdict(training), "seed": seed, "text": text.digest()}
        open_run(Path(folder) / "training.json", run)
        path = Path(folder) / "state.npz"
        if path.is_file():
            state = read_state(path, [], _STATE)
            for name in _STATE[:4]:
                getattr(learner, name)[:] = state[name]
            losses[:], first = state["losses"], int(state["step"])
    made = first

    def step(number: int) -> dict[str, Any]:
        nonlocal made
        losses[number] = learner.step(number, 1 - 0.95 * number / steps)
        made = number + 1
        epoch = number // learner.batches + 1
        return {"epoch": epoch, "epochs": training.epochs, "loss": losses[number]}

    def save() -> None:
        if path is not None:
            arrays = {name: getattr(learner, name) for name in _STATE[:4]}
            write_state(path, [], **arrays, losses=losses, step=made)

    run_steps(first, steps, step, save, save_every, report)
    if not np.isfinite(learner.inputs).all():
        raise FloatingPointError(_DIVERGED.format(training.learning_rate))
    return WordVectors(text.words, learner.inputs[:-1])


class _Learner:
    """Vectors, their sums of squares, and one step."""

    def __init__(self, text: NumberedText, training: VectorTraining, seed: int) -> None:
        n, d = len(text.words), training.dimension
        self.text, self.training, self.seed = text, training, seed
        start = np.random.default_rng(seed).uniform(-0.5 / d, 0.5 / d, (n, d))
        self.inputs = np.concatenate([start, np.zeros((1, d))]).astype(np.float32)  # last: nothing
        self.outputs = np.zeros((n, d), np.float32)
        self.input_sums = np.zeros((n + 1, 1), np.float32)
        self.output_sums = np.zeros((n, 1), np.float32)
        share = text.counts / text.counts.sum()
        limit = training.thinning / share
        kept = np.minimum(1, np.sqrt(limit) + limit) if training.thinning else np.ones(n)
        self._kept = np.append(kept, 1.0)  # borders stay
        self._ends = np.cumsum(share**training.power)
        self.batches = -(-int(text.counts.sum()) // training.batch_size)
        self._epoch = -1
        self._ids, self._places = text.ids, np.zeros(0, int)

    def _start(self, epoch: int) -> None:
        rng = np.random.default_rng([self.seed, epoch])
        ids = self.text.ids
        self._ids = ids[rng.random(len(ids)) < self._kept[ids]]
        self._places = rng.permutation(np.flatnonzero(self._ids < len(self.text.words)))
        self._epoch = epoch

    def step(self, number: int, rate: float) -> float:
        """Make the step of this number; the loss before it, NaN if thinning emptied the batch."""
        epoch, batch = divmod(number, self.batches)
        if epoch != self._epoch:
            self._start(epoch)
        ends = np.linspace(0, len(self._places), self.batches + 1).astype(int)
        places = self._places[ends[batch] : ends[batch + 1]]
        if not len(places):
            return float("nan")
        rng = np.random.default_rng([self.seed, epoch, batch])
        window, nothing = self.text.window, len(self.text.words)
        offsets = np.array([*range(-window, 0), *range(1, window + 1)])
        reach = rng.integers(1, window + 1, size=len(places))  # near words count more, as there
        contexts = self._ids[places[:, None] + offsets]
        contexts = np.where(np.abs(offsets) <= reach[:, None], contexts, nothing)
        drawn = rng.random(self.training.negatives) * self._ends[-1]
        negatives = np.minimum(np.searchsorted(self._ends, drawn), nothing - 1)
        targets = self._ids[places]
        hidden = self.inputs[contexts].sum(axis=1)
        rows, others = self.outputs[targets], self.outputs[negatives]
        z = np.concatenate([(rows * hidden).sum(1, keepdims=True), hidden @ others.T], axis=1)
        z -= z.max(axis=1, keepdims=True)
        weights = np.exp(z)
        total = weights.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - z[:, 0]))
        if not np.isfinite(loss):
            raise FloatingPointError(_DIVERGED.format(self.training.learning_rate))
        weights /= total  # equation (4)
        weights[:, 0] -= 1
        back = weights[:, :1] * rows + weights[:, 1:] @ others
        pull = np.concatenate([weights[:, :1] * hidden, weights[:, 1:].T @ hidden])
        rate = rate * self.training.learning_rate
        each = np.arange(len(pull))
        _descend(self.outputs, self.output_sums, np.append(targets, negatives), each, pull, rate)
        inside = contexts.ravel() < nothing
        examples = np.repeat(np.arange(len(places)), contexts.shape[1])[inside]
        _descend(self.inputs, self.input_sums, contexts.ravel()[inside], examples, back, rate)
        return loss


def _descend(
    table: np.ndarray,
    sums: np.ndarray,
    rows: np.ndarray,
    sources: np.ndarray,
    slopes: np.ndarray,
    rate: float,
) -> None:
    """A step of Adagrad with one rate a row: to rows[k] goes the gradient slopes[sources[k]]."""
    if not len(rows):
        return
    moved, places = np.unique(rows, return_inverse=True)
    ones = np.ones(len(rows), np.float32)
    gather = sparse.csr_matrix((ones, (places.ravel(), sources)), (len(moved), len(slopes)))
    gradient = gather @ slopes
    sums[moved] += (gradient**2).mean(axis=1, keepdims=True)
    table[moved] -= np.float32(rate) * gradient / np.sqrt(sums[moved] + np.float32(1e-8))


def documents_of(lines: Iterable[str]) -> list[list[str]]:
    """The words of each line, parted by white space.

    Examples:
        >>> documents_of(["a b", "", "c"])
        [['a', 'b'], ['c']]
    """
    return [words for line in lines if (words := line.split())]
