"""The command that trains word vectors on a text of one's own: `word2vec`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kexian_utils import _checks
from kexian_utils.commands.common import (
    RealRange,
    count_option,
    diverged,
    remove_run,
    seed_option,
    training_lines,
)
from kexian_utils.commands.streams import INTERRUPTED, named, raw_lines
from kexian_utils.errors import KexianError, from_stopped_run

_SPACES = 1 / 12  # of the characters: with fewer of them a text is not cut into words
_SHOWN = 5  # words whose neighbours are printed


@click.command("word2vec")
@click.argument("text")
@click.option(
    "--out", required=True, metavar="VECTORS", type=click.Path(), help="The file to write."
)
@click.option(
    "--cut",
    type=click.Choice(["auto", "spaces", "counts"]),
    default="auto",
    show_default=True,
    help="Where words end: at spaces, or by counts of neighbouring characters.",
)
@count_option("--dimension", 100, "Length of a vector.")
@count_option("--window", 5, "Words to each side.")
@count_option("--min-count", 5, "Leave words out that occur less often.")
@count_option("--epochs", 5, "Passes over the text.")
@count_option("--negatives", 256, "Words drawn for a batch.")
@count_option("--batch-size", 1000, "Words a step.")
@click.option(
    "--learning-rate",
    default=0.05,
    type=RealRange(min=0, min_open=True),
    metavar="X",
    show_default=True,
    help="Of Adagrad, at the start.",
)
@seed_option("Of all that is random.")
@click.option(
    "--near",
    multiple=True,
    metavar="WORD",
    help="Print the nearest words of this one at the end; may be given again. Default: the five "
    "most frequent words of two or more letters.",
)
@click.option(
    "--run",
    metavar="FOLDER",
    type=click.Path(),
    help="Where the state of the training is kept until the vectors are written; default: "
    "VECTORS.run, beside VECTORS.",
)
@click.option(
    "--save-every",
    default=30.0,
    type=RealRange(min=0),
    metavar="SECONDS",
    show_default=True,
    help="Save the state.",
)
def word2vec(
    text: str,
    out: str,
    cut: str,
    dimension: int,
    window: int,
    min_count: int,
    epochs: int,
    negatives: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    near: tuple[str, ...],
    run: str | None,
    save_every: float,
) -> None:
    """Train word vectors (CBOW) on TEXT and write them to the file VECTORS.

    TEXT is a file in UTF-8, a document a line, or - for standard input. Words are what stands
    between spaces. A text with less than a space for 12 characters is cut by counts of
    neighbouring characters in it, which is rough (--cut counts; --cut spaces forbids it). Better
    words come from `kexian segment`, slowly.

    VECTORS is in the text format of word2vec, as gensim reads it:
    KeyedVectors.load_word2vec_format("VECTORS").

    The loss is the softmax among the right word and random ones, drawn by frequency to the power
    3/4 and not corrected (article 4402).
    On the People's Daily (1.12 million words, gold segmentation; November 2026, one thread,
    tools/compare_word_vectors.py) the share of the ten nearest words that have the same part of
    speech was 0.40 after 34 s of processor time, by chance 0.17. gensim 4.4 with its defaults:
    CBOW 0.35 after 7 s, Skip-Gram 0.36 after 26 s, CBOW with 20 epochs 0.44 after 28 s. So gensim
    is faster, and better in equal time. Our settings were chosen on this corpus by this score and
    gensim's left at their defaults, so that 0.40 flatters. Cut by counts, the F1 of the words is
    0.55 for 8,000 words of that text, 0.60 for 40,000 and 0.69 for all.

    Killed or interrupted and called again in the same words, the training goes on where its state
    was saved last. The folder of the run is removed when the vectors are written.

    \b
    Examples:
      kexian word2vec novel.txt --out novel.vec --near 宝玉
      kexian segment --file raw.txt | kexian word2vec - --out raw.vec --epochs 10
    """
    target, state = Path(out), Path(run or f"{out.rstrip('/')}.run")
    _check_target(target, state)
    numbered = _numbered(text, cut, min_count, window)
    unknown = [word for word in near if word not in set(numbered.words)]
    if unknown:
        raise KexianError(
            f"--near {unknown[0]}: the text does not have this word --min-count {min_count} times "
            "or more; choose another word or a smaller --min-count."
        )
    from kexian_utils.language.word_vectors import VectorTraining, train_word_vectors

    plan = VectorTraining(dimension, epochs, negatives, batch_size, learning_rate)
    click.echo(
        f"{numbered.counts.sum():,} words, {len(numbered.words):,} different ones, that occur "
        f"{min_count} times or more."
    )
    try:
        show = training_lines(time.monotonic)
        vectors = train_word_vectors(numbered, plan, seed, state, save_every, show)
        vectors.save(target)
        remove_run(state)
    except KeyboardInterrupt:
        message = f"interrupted; {state} is kept: the same command goes on where it stopped."
        if not state.exists():
            message = f"interrupted; {target} is written." if target.exists() else "interrupted."
        raise KexianError(message, INTERRUPTED) from None
    except FloatingPointError:
        raise diverged(state) from None
    except OSError as error:
        raise from_stopped_run(error, target) from None
    click.echo(f"{target} is written.")
    for word in near or [w for w in numbered.words if len(w) > 1 and w.isalpha()][:_SHOWN]:
        found = vectors.most_similar(word, 8)
        click.echo(f"{word}: " + ", ".join(f"{other} {cosine:.2f}" for other, cosine in found))


def _check_target(target: Path, state: Path) -> None:
    """Before the training rather than after it."""
    _checks.new_path("--out", target)
    _checks.new_path("--run", state)
    for option, path in (("--out", target), ("--run", state)):
        if not path.parent.is_dir():
            raise KexianError(f"{option} {path}: there is no folder {path.parent}.")
    if target.resolve() == state.resolve():
        raise KexianError(f"--run {state} must be another path than --out.")
    if target.is_dir():
        raise KexianError(f"--out {target} is a folder; give the name of a file in it.")
    # With a run beside it the file is what a kill at the last moment left.
    if target.exists() and not (state / "training.json").is_file():
        raise KexianError(f"--out {target} exists; choose another name, or remove it.")


def _numbered(text: str, cut: str, min_count: int, window: int) -> Any:
    from kexian_utils.language.word_vectors import cut_by_neighbours, documents_of, number_words

    lines = _lines(text)
    if cut == "counts" or (cut == "auto" and not _has_spaces(lines)):
        documents = cut_by_neighbours(lines)
        click.echo("words are cut by counts of neighbouring characters.", err=True)
    else:
        documents = documents_of(lines)
    try:
        return number_words(documents, min_count, window)
    except ValueError as error:
        words = str(error).replace("min_count", "--min-count")
        raise KexianError(f"{named(text)}: {words}.") from None


def _lines(text: str) -> list[str]:
    lines, done = [], 0
    for number, raw in enumerate(raw_lines(text), start=1):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise KexianError(
                f"{named(text)} must be UTF-8: line {number} is not, at byte "
                f"{done + error.start} of the file (0x{raw[error.start]:02x}); convert it, for "
                "example with iconv -f GB18030 -t UTF-8."
            ) from None
        done += len(raw)
    return lines


def _has_spaces(lines: Sequence[str]) -> bool:
    size = sum(len(line.strip()) for line in lines)
    return sum(max(len(line.split()) - 1, 0) for line in lines) >= _SPACES * size


COMMANDS = (word2vec,)
