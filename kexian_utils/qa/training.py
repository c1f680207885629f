"""Training of the convolutional reader: rows, batches of like length, and a loop that can go on.

Sources: https://kexue.fm/archives/5409 and https://kexue.fm/archives/6906.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from kexian_utils import _checks
from kexian_utils.qa.features import FEATURES
from kexian_utils.qa.network import PAD, reader_loss
from kexian_utils.training.resume import open_run, run_steps, unchanged
from kexian_utils.training.state import read_state, write_state

__all__ = ["LengthBuckets", "Row", "Training", "length_batches", "padded", "train"]

PASSAGE_STEP, QUESTION_STEP = 16, 8  # lengths are filled up to multiples of these


class Row(NamedTuple):
    """A question with one passage: numbers (m,) and (n,), features (n, 5).

    Examples:
        >>> row = Row(np.array([2, 3]), np.array([4, 5, 6]), np.zeros((3, 5)))
        >>> len(row.question), len(row.passage), row.features.shape
        (2, 3, (3, 5))
    """

    question: np.ndarray
    passage: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class Training:
    """How a reader is trained.

    Attributes:
        epochs: passes over all passages.
        batch_size: passages per step.
        learning_rate: of Adam; of several epochs the last has a fifth of it.
        ema_momentum: of the moving average of the weights (滑动平均), which the reader keeps. The
            article's 0.9999 needs tens of thousands of steps.

    Examples:
        >>> Training(epochs=2)
        Training(epochs=2, batch_size=64, learning_rate=0.004, ema_momentum=0.99)
    """

    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 4e-3
    ema_momentum: float = 0.99

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, by name."""
        for name in ("epochs", "batch_size"):
            object.__setattr__(self, name, _checks.whole(name, getattr(self, name), 1))
        _checks.real("learning_rate", self.learning_rate, above=0)
        _checks.probability("ema_momentum", self.ema_momentum, one=False)


def filled_up(length: int, step: int) -> int:
    """The least positive multiple of `step` that is at least `length`."""
    return max(1, -(-length // step)) * step


def length_batches(
    lengths: Sequence[int], batch_size: int, rng: np.random.Generator | None = None
) -> list[tuple[int, np.ndarray]]:
    """Rows of like length together: (padded length, numbers of the rows) of each batch.

    Args:
        lengths: of the rows.
        batch_size: most rows of a batch; what remains of a length makes a smaller one.
        rng: shuffles rows within their length, and the batches; None leaves their order.

    Examples:
        >>> [(size, rows.tolist()) for size, rows in length_batches([5, 40, 7, 9], batch_size=2)]
        [(16, [0, 2]), (16, [3]), (48, [1])]
    """
    sizes = np.array([filled_up(length, PASSAGE_STEP) for length in lengths], dtype=int)
    batches = []
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        rows = rows if rng is None else rng.permutation(rows)
        batches += [
            (int(size), rows[first : first + batch_size])
            for first in range(0, len(rows), batch_size)
        ]
    return batches if rng is None else [batches[k] for k in rng.permutation(len(batches))]


def padded(
    rows: Sequence[Row], length: int, question_length: int, size: int
) -> dict[str, np.ndarray]:
    """The network's inputs from rows, filled up to `size` rows of `length` places by padding.

    Examples:
        >>> row = Row(np.array([2, 3]), np.array([4, 5, 6]), np.zeros((3, 5)))
        >>> batch = padded([row], length=4, question_length=3, size=2)
        >>> batch["question"].tolist(), batch["passage"].tolist()
        ([[2, 3, 0], [0, 0, 0]], [[4, 5, 6, 0], [0, 0, 0, 0]])
    """
    batch = {
        "question": np.full((size, question_length), PAD, np.int32),
        "passage": np.full((size, length), PAD, np.int32),
        "features": np.zeros((size, length, len(FEATURES)), np.float32),
    }
    for number, row in enumerate(rows):
        for name, values in row._asdict().items():
            batch[name][number, : len(values)] = values
    return batch


class LengthBuckets(keras.utils.PyDataset):
    """Batches of passages of like length (按长度分桶), in an order that seed and epoch decide.

    All batches have `batch_size` rows, the missing ones padded and without weight, so that few
    shapes occur. An item is (inputs, labels, weights of the characters), as Keras takes them.

    Args:
        rows: at least one.
        labels: of each row, shape (n, 2).
        batch_size: rows per batch.
        seed: of the order.

    Examples:
        >>> row = Row(np.array([2, 3]), np.array([4, 5, 6]), np.zeros((3, 5)))
        >>> data = LengthBuckets([row] * 5, [np.zeros((3, 2))] * 5, batch_size=2, seed=0)
        >>> inputs, labels, weights = data[0]
        >>> len(data), inputs["passage"].shape, weights[0].sum().item()
        (3, (2, 16), 3.0)
    """

    def __init__(
        self, rows: Sequence[Row], labels: Sequence[np.ndarray], batch_size: int, seed: int
    ) -> None:
        super().__init__()
        if not rows or len(rows) != len(labels):
            raise ValueError(
                f"rows and labels must be equally many, at least one, got {len(rows)} and "
                f"{len(labels)}"
            )
        self.rows, self.labels, self.batch_size, self.seed = rows, labels, batch_size, seed
        self.question_length = filled_up(max(len(row.question) for row in rows), QUESTION_STEP)
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for this epoch."""
        self.epoch = epoch
        rng = np.random.default_rng([self.seed, epoch])
        lengths = [len(row.passage) for row in self.rows]
        self.batches = length_batches(lengths, self.batch_size, rng)

    def on_epoch_end(self) -> None:
        """Shuffle for the next epoch."""
        self.start_epoch(self.epoch + 1)

    def __len__(self) -> int:
        """Batches per epoch."""
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """A batch."""
        length, rows = self.batches[index]
        chosen = [self.rows[row] for row in rows]
        inputs = padded(chosen, length, self.question_length, self.batch_size)
        labels = np.zeros((self.batch_size, length, 2), np.float32)
        for number, row in enumerate(rows):
            labels[number, : len(self.labels[row])] = self.labels[row]
        return inputs, labels, (inputs["passage"] != PAD).astype(np.float32)

    def digest(self) -> str:
        """SHA-256 of all rows and labels."""
        total = hashlib.sha256()
        for row, labels in zip(self.rows, self.labels, strict=True):
            for array in (*row, labels):
                total.update(f"{array.dtype}{array.shape}".encode())
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def train(
    network: keras.Model,
    data: LengthBuckets,
    training: Training,
    about: Mapping[str, Any] | None = None,
    folder: str | os.PathLike | None = None,
    save_every: float = 30.0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> list[float]:
    """Train the network in place; its weights are at last their moving average.

    A run that was stopped, by a kill at any time or by Ctrl-C, and goes on in its folder ends with
    the same weights, bit for bit on a CPU, as one that was not.

    Args:
        network: of :func:`kexian_utils.qa.network.reader_network`.
        data: batches.
        training: how.
        about: what else a run must share to be gone on with, as JSON has it.
        folder: of the run, for ``state.npz`` and ``training.json``; without one nothing is kept.
        save_every: seconds between two saved states.
        report: called after each step with step, steps, epoch, epochs, loss, seconds_left.

    Returns:
        The mean loss of each epoch, as article 6906 counts it (200 times Keras's).

    Raises:
        ValueError: if the folder holds another run or other things.
        FloatingPointError: if the training diverges.

    Examples:
        >>> from kexian_utils.qa.network import ReaderConfig, reader_network
        >>> config = ReaderConfig(width=4, question_rates=[1], passage_rates=[1], pretrained=0)
        >>> network = reader_network(config, characters=7)
        >>> row = Row(np.array([2, 3]), np.array([4, 5, 6]), np.zeros((3, 5)))
        >>> labels = np.array([[1, 0], [0, 0], [0, 1]])
        >>> data = LengthBuckets([row] * 4, [labels] * 4, batch_size=4, seed=0)
        >>> losses = train(network, data, Training(epochs=8, batch_size=4, learning_rate=0.05))
        >>> len(losses), losses[-1] < losses[0]
        (8, True)
    """
    steps = training.epochs * len(data)
    path = None
    if folder is not None:
        run = {
            "training": asdict(training),
            "seed": data.seed,
            "data": data.digest(),
            "backend": keras.backend.backend(),
            **(about or {}),
        }
        open_run(Path(folder) / "training.json", run)
        path = Path(folder) / "state.npz"
    learner = _learner(network, training, len(data))
    variables = [*learner.variables, *learner.optimizer.variables]
    _warm_up(learner, data, variables)
    losses = np.full(steps, np.nan)
    if path is not None and path.is_file():
        losses[:] = read_state(path, variables, ("losses",))["losses"]

    def step(number: int) -> dict[str, Any]:
        losses[number] = _step(learner, data, number)
        if not math.isfinite(losses[number]):
            raise FloatingPointError(
                f"the training diverged at step {number + 1}: its loss is no number any more; "
                f"choose a learning_rate below {training.learning_rate:g}"
            )
        return {
            "epoch": number // len(data) + 1,
            "epochs": training.epochs,
            "loss": 200 * losses[number],
        }

    def save() -> None:
        if path is not None:
            write_state(path, variables, losses=losses)

    run_steps(_iterations(learner), steps, step, save, save_every, report)
    learner.optimizer.finalize_variable_values(learner.trainable_variables)
    return [200 * float(np.mean(part)) for part in np.split(losses, training.epochs)]


def _learner(network: keras.Model, training: Training, batches: int) -> keras.Model:
    # On start and end alone: the global score is trained through them.
    learner = keras.Model(network.input, network.output["places"])
    rate = training.learning_rate
    if training.epochs > 1:
        last = batches * (training.epochs - 1) - 1  # step before the last epoch, from 0
        rate = keras.optimizers.schedules.PiecewiseConstantDecay([last], [rate, rate / 5])
    optimizer = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=training.ema_momentum)
    # On TensorFlow XLA costs more than it saves in so few steps; JAX without it has no graph.
    learner.compile(optimizer, reader_loss(), weighted_metrics=[], jit_compile=_on_jax())
    optimizer.build(learner.trainable_variables)
    return learner


def _warm_up(learner: keras.Model, data: LengthBuckets, variables: Sequence[Any]) -> None:
    """Let TensorFlow trace the step once, for passages of any length, before the first one counts.

    By itself it would trace the first length, then any.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    inputs = padded([], PASSAGE_STEP, data.question_length, data.batch_size)
    labels = np.zeros((data.batch_size, PASSAGE_STEP, 2), np.float32)
    batch = inputs, labels, labels[..., 0] + 1  # weights of one

    def of_any_length(array: np.ndarray) -> Any:
        length = data.question_length if array is inputs["question"] else None
        return tf.TensorSpec([len(array), length, *array.shape[2:]], array.dtype)

    signature = tf.nest.map_structure(of_any_length, batch)
    learner.make_train_function()
    step = tf.function(lambda batch: learner.train_function(iter([batch])), autograph=False)
    with unchanged(variables):
        step.get_concrete_function(signature)


def trace_once(network: keras.Model) -> None:
    """Let TensorFlow trace the network's predictions for batches of any shape, not thrice.

    By itself it would trace the first shape, then any length, then any number of rows.
    """
    if keras.backend.backend() != "tensorflow" or network.predict_function is not None:
        return
    import tensorflow as tf

    signature = tf.nest.map_structure(
        lambda array: tf.TensorSpec([None, None, *array.shape[2:]], array.dtype),
        padded([], PASSAGE_STEP, QUESTION_STEP, 1),
    )
    network.make_predict_function()
    function: Any = network.predict_function
    function.get_concrete_function([(signature,)])


def _on_jax() -> bool:
    return keras.backend.backend() == "jax"


def _step(learner: keras.Model, data: LengthBuckets, step: int) -> float:
    epoch, index = divmod(step, len(data))
    if data.epoch != epoch:
        data.start_epoch(epoch)
    inputs, labels, weights = data[index]
    learner.reset_metrics()  # else the mean over all steps so far comes back
    return float(learner.train_on_batch(inputs, labels, weights))


def _iterations(learner: keras.Model) -> int:
    return int(np.asarray(learner.optimizer.iterations))
