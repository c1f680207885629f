"""The command that trains the convolutional reader: `train-reader`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from kexian_utils import _checks
from kexian_utils.commands.common import (
    RealRange,
    WholeRange,
    count_option,
    diverged,
    remove_run,
    seed_option,
    training_lines,
)
from kexian_utils.commands.questions import (
    WINDOW,
    Item,
    Window,
    answered,
    checked,
    passages_of,
    prepare_keras,
    shown,
    text_of,
)
from kexian_utils.commands.streams import INTERRUPTED, named, objects, raw_lines
from kexian_utils.errors import KexianError, from_stopped_run

_FACTQA = re.compile(r"factqa:([12])(?::(train|SS|NS|SN|NN))?")
_CELL_SIZE = 1000  # questions of a test cell


@click.command("train-reader")
@click.argument("data")
@click.option(
    "--out", required=True, metavar="FOLDER", type=click.Path(), help="Where the reader goes."
)
@click.option(
    "--questions",
    type=WholeRange(min=1),
    metavar="N",
    help="Of factqa:1 and factqa:2, how many are generated; default: 1200.",
)
@count_option("--epochs", 4, "Passes over the data.")
@count_option("--batch-size", 64, "Passages a step.")
@click.option(
    "--learning-rate",
    default=0.004,
    type=RealRange(min=0, min_open=True),
    metavar="X",
    show_default=True,
    help="Of Adam.",
)
@count_option("--width", 24, "Of the network.")
@click.option(
    "--max-length",
    default=256,
    type=WholeRange(min=1),
    metavar="N",
    show_default=True,
    help=f"{WINDOW}; the reader keeps to it.",
)
@seed_option("Of all that is random.")
@click.option(
    "--run",
    metavar="FOLDER",
    type=click.Path(),
    help="Where the state of the training is kept until the reader is written; default: "
    "OUT.run, beside OUT.",
)
@click.option(
    "--save-every",
    default=30.0,
    type=RealRange(min=0),
    metavar="SECONDS",
    show_default=True,
    help="Save the state.",
)
@click.option(
    "--held-out",
    metavar="DATA",
    help="Score the reader on these questions after the training; of factqa:1 and factqa:2 they "
    "are the 1,000 of the test cell NN, others are factqa:2:SS, NS and SN.",
)
def train_reader(
    data: str,
    out: str,
    questions: int | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    width: int,
    max_length: int,
    seed: int,
    run: str | None,
    save_every: float,
    held_out: str | None,
) -> None:
    """Train a reader for `kexian answer` on DATA and write it to the folder OUT.

    DATA is factqa:1 or factqa:2, generated questions about facts, or a file with a JSON object a
    line: {"question", "answer": TEXT or [TEXT, …], "passages": [TEXT, …]}. Passages may be
    objects with a "text", too. The reader learns from where an answer stands literally in a
    passage, and from passages without it to keep silent.

    Killed or interrupted and called again in the same words, the training goes on where its state
    was saved last and ends, on a CPU, with the very same reader. The folder of the run is removed
    when the reader is written.

    \b
    Examples:
      kexian train-reader factqa:2 --out reader --held-out factqa:2
      kexian train-reader mine.jsonl --out mine --epochs 10 --held-out test.jsonl
    """
    target, state = Path(out), Path(run or f"{out.rstrip('/')}.run")
    _check_target(target, state)
    examples = _examples("DATA", data, "train", questions, seed, max_length)
    test = _examples("--held-out", held_out, "NN", None, 0, max_length) if held_out else []
    try:
        reader = _new_reader(width, max_length, seed)
        plan = (epochs, batch_size, learning_rate)
        _train(reader, examples, plan, state, save_every)
        reader.save(target)
        remove_run(state)
        click.echo(
            f"{target} is written. Try: echo 巴黎是法国的首都。 | "
            f"kexian answer --reader {target} 法国的首都是哪里？"
        )
        if test:
            click.echo(_scores(reader, test))
    except KeyboardInterrupt:
        message = f"interrupted; {state} is kept: the same command goes on where it stopped."
        if not state.exists():
            message = f"interrupted; {target} is written." if target.exists() else "interrupted."
        raise KexianError(message, INTERRUPTED) from None
    except FloatingPointError:
        raise diverged(state) from None
    except OSError as error:
        raise from_stopped_run(error, target) from None


class _Example(NamedTuple):
    question: str
    windows: tuple[Window, ...]
    answers: tuple[str, ...]
    accepted: tuple[str, ...]  # as right, by the score


def _check_target(target: Path, state: Path) -> None:
    """Before the training rather than after it."""
    _checks.new_path("--out", target)
    _checks.new_path("--run", state)
    if not target.parent.is_dir():
        raise KexianError(f"--out {target}: there is no folder {target.parent}.")
    if not state.parent.is_dir():
        raise KexianError(f"--run {state}: there is no folder {state.parent}.")
    if target.resolve() == state.resolve():
        raise KexianError(f"--run {state} must be another folder than --out.")
    if target.exists() and not target.is_dir():
        raise KexianError(f"--out {target} is a file; choose a folder.")
    # With a run beside it the reader in it is what a kill at the last moment left.
    if target.exists() and any(target.iterdir()) and not state.exists():
        raise KexianError(f"--out {target} must be empty or new; choose another folder.")


def _examples(
    what: str, data: str, cell: str, questions: int | None, seed: int, size: int
) -> list[_Example]:
    generated = _FACTQA.fullmatch(data)
    if generated:
        version, split = generated.groups(cell)
        return _generated(version, split, questions, seed, size)
    if data != "-" and not Path(data).exists():
        raise KexianError(
            f"{what} must be factqa:1, factqa:2 or a file with JSON lines; there is no file {data}."
        )
    if questions is not None:
        raise KexianError("--questions goes with factqa:1 and factqa:2; a file is read whole.")
    examples = []
    for number, value, error in objects(raw_lines(data), data):
        if error:
            raise KexianError(error)
        try:
            examples.append(_example(value, size))
        except ValueError as wrong:
            raise KexianError(f"{named(data)}, line {number}: {wrong}.") from None
    if not examples:
        raise KexianError(f"{named(data)} holds no question.")
    return examples


def _generated(
    version: str, split: str, questions: int | None, seed: int, size: int
) -> list[_Example]:
    from kexian_utils.datasets.factqa import make_factqa

    count = questions or (1200 if split == "train" else _CELL_SIZE)
    return [
        _Example(*checked(q.question, [p.text for p in q.passages], size), (q.answer,), q.accepted)
        for q in make_factqa(int(version), count, seed, split)
    ]


def _example(value: dict[str, Any], size: int) -> _Example:
    question, windows = checked(text_of(value, "question"), passages_of(value), size)
    given = value.get("answer")
    answers: Any = [given] if isinstance(given, str) else given
    accepted: Any = value.get("accepted", answers)
    for name, texts in (("answer", answers), ("accepted", accepted)):
        if not (isinstance(texts, list) and texts and all(isinstance(t, str) and t for t in texts)):
            raise ValueError(
                f'"{name}" must be a string or a list of strings, none empty, '
                f"got {shown(value, name)}"
            )
    return _Example(question, windows, tuple(answers), tuple(accepted))


def _new_reader(width: int, window: int, seed: int) -> Any:
    prepare_keras()
    from kexian_utils.qa.reader import DGCNNReader, ReaderConfig

    return DGCNNReader(ReaderConfig(width=width, window=window), seed)


def _train(
    reader: Any,
    examples: Sequence[_Example],
    plan: tuple[int, int, float],
    state: Path,
    save_every: float,
) -> None:
    from kexian_utils.qa.reader import Training

    rows = [(e.question, e.answers, [w.text for w in e.windows]) for e in examples]
    click.echo(_summary(rows))
    reader.fit(rows, Training(*plan), state, save_every, training_lines(time.monotonic))


def _summary(rows: Sequence[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    from kexian_utils.qa.features import alike

    pairs = [(answers, text) for _, answers, texts in rows for text in texts]
    held = sum(any(alike(a) in alike(text) for a in answers) for answers, text in pairs)
    return f"{len(rows):,} questions, {len(pairs):,} passages, {held:,} of them hold an answer."


def _scores(reader: Any, examples: Sequence[_Example]) -> str:
    from kexian_utils.qa.scores import qa_scores

    items = iter(Item(n, e.question, e.windows) for n, e in enumerate(examples))
    answers = {str(item.id): reading.answer for item, reading in answered(reader, items)}
    golds = {str(n): (e.answers[0], e.accepted) for n, e in enumerate(examples)}
    found = qa_scores(answers, golds)
    return (
        f"held out, {len(golds):,} questions: accuracy {found.accuracy:.3f}, F1 {found.f1:.3f}, "
        f"final {found.final:.3f}"
    )


COMMANDS = (train_reader,)
