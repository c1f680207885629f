"""The command that answers questions from passages: `answer`."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from kexian_utils._json import read_json
from kexian_utils.commands.common import RealRange, WholeRange
from kexian_utils.commands.questions import (
    WINDOW,
    Item,
    answered,
    checked,
    passages_of,
    prepare_keras,
    text_of,
)
from kexian_utils.commands.streams import (
    Output,
    figure_path,
    json_line,
    named,
    not_utf_8,
    objects,
    raw_lines,
)
from kexian_utils.errors import ENVIRONMENT, KexianError

BUNDLED = ("wikipedia", "factqa")  # the first is the default
SETTINGS = {"window": 256, "least_vote": 0.03}  # of readers of earlier releases


@click.command()
@click.argument("question", required=False)
@click.argument("passages", nargs=-1, type=click.Path(), metavar="[PASSAGE]...")
@click.option(
    "--jsonl",
    metavar="FILE",
    type=click.Path(),
    help='Many questions, one JSON object a line: {"id", "question", "passages": [TEXT, …]}; '
    "- for standard input.",
)
@click.option(
    "--reader",
    "folder",
    metavar="FOLDER",
    default=BUNDLED[0],
    type=click.Path(),
    help="A reader that train-reader wrote, or one that the package carries: wikipedia, the "
    "default, for encyclopedic text; factqa, for the generated questions of the book's benchmark.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per question.")
@click.option("--votes", is_flag=True, help="All candidates, best first, with their results.")
@click.option(
    "--explain",
    metavar="FIGURE",
    type=click.Path(),
    help="Draw what each passage says to a .svg, .png or .pdf.",
)
@click.option(
    "--least-vote",
    type=RealRange(0.001, 1),
    metavar="X",
    help="Say nothing if the best answer has less than this in the vote; default: the reader's, "
    "chosen on questions kept from its training, half of them without an answer.",
)
@click.option(
    "--max-length",
    type=WholeRange(min=1),
    metavar="N",
    help=f"{WINDOW}; default: as the reader was trained.",
)
def answer(
    question: str | None,
    passages: tuple[str, ...],
    jsonl: str | None,
    folder: str,
    as_json: bool,
    votes: bool,
    explain: str | None,
    least_vote: float | None,
    max_length: int | None,
) -> None:
    """Answer a factoid question from passages, most of which may have nothing to say to it.

    Each PASSAGE is a file in UTF-8; - stands for standard input, where every line is a passage,
    and is the default. The answer is a piece of a passage, found by a convolutional network and a
    vote of all passages. It is printed alone on a line, which is empty if no passage proposes one,
    or none has the least vote: where no passage knows, a few weak voices are no answer.

    The questions of --jsonl stream through at constant memory, 64 at a time, and passages may be
    objects with a "text", too. A line that cannot be read is told on standard error, leaves an
    empty line (with --json an object with "error"), and in the end gives exit code 2; the others
    are answered.

    --json gives id (or the line's number), question, answer, score, reason (why there is no
    answer), votes, and for each passage or window of it: passage (its number, from 1), offset,
    text, answerable (the global score), span of the answer (from, to; in characters of the passage
    as it was given), candidates. Windows vote as if each were a passage.

    \b
    Examples:
      kexian answer 法国的首都是哪里？ paris.txt berlin.txt
      echo 巴黎是法国的首都。 | kexian answer --votes --explain why.svg 法国的首都是哪里？
      kexian answer --jsonl questions.jsonl --json > answers.jsonl
    """
    if jsonl is not None and (question is not None or explain):
        what = "--explain draws a single question" if explain else "--jsonl has the questions"
        raise KexianError(f"{what}; give either --jsonl FILE, or QUESTION and PASSAGE files.")
    figure = None if explain is None else figure_path("--explain", explain)
    settings = _settings(_path(folder))
    size = settings["window"] if max_length is None else max_length
    least = settings["least_vote"] if least_vote is None else least_vote
    with Output() as out:
        if jsonl is not None:
            items = _items(raw_lines(jsonl, out.flush), jsonl, size)
        elif question is not None:
            items = iter([_single(question, passages, size)])
        else:
            raise KexianError("give QUESTION and PASSAGE files, or --jsonl FILE.")
        reader = _reader(_path(folder), size)
        questions = bad = 0
        for item, found in answered(reader, items):
            reading = None if found is None else with_least_vote(found, least)
            questions += 1
            bad += bool(item.error)
            if item.error:
                click.echo(f"kexian: {item.error}", err=True)
            if as_json:
                out.write(json_line(_record(item, reading)))
            else:
                out.write(_plain(reading, votes, many=jsonl is not None))
            if jsonl is None and not as_json and reading is not None and not reading.answer:
                click.echo(f"kexian: no answer: {_reason(item, reading)}.", err=True)
            if figure is not None:
                _explain(figure, reader, item, reading)
        if bad:
            raise KexianError(f"{bad} of {questions} questions could not be read.")


def _single(question: str, names: Sequence[str], size: int) -> Item:
    """The question of the command line; what is wrong with its input is an error at once."""
    names = names or ["-"]
    if names == ["-"] and (sys.stdin is None or sys.stdin.isatty()):
        raise KexianError("give PASSAGE files, or passages on standard input (cat a | …).")
    if names.count("-") > 1:
        raise KexianError("- may be given once: standard input can be read once.")
    texts: list[str] = []
    for name in names:
        if name == "-":
            texts += _standard_input()
        else:
            texts.append(_passage(name))
    try:
        return Item(None, *checked(question, texts, size))
    except ValueError as error:
        raise KexianError(f"{error}.") from None


def _standard_input() -> list[str]:
    texts = []
    for number, raw in enumerate(raw_lines("-"), start=1):
        try:
            texts.append(raw.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise KexianError(f"standard input, line {number} {not_utf_8(error)}.") from None
    if not any(texts):
        raise KexianError("standard input holds no passage; give one on each line.")
    return [text for text in texts if text]


def _passage(name: str) -> str:
    """The text of a file without white space at its ends."""
    path = Path(name)
    if path.is_dir():
        raise KexianError(f"{name} is a folder; give the files in it.")
    try:
        raw = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise KexianError(
            f"{name}: there is no such file; for text instead of a file write: "
            "echo TEXT | kexian answer QUESTION"
        ) from None
    except OSError as error:
        raise KexianError(f"{name}: {error.strerror or error}.", ENVIRONMENT) from None
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise KexianError(f"{name} {not_utf_8(error)}.") from None
    if not text:
        raise KexianError(f"{name} is empty; leave it out.")
    return text


def _items(lines: Iterator[bytes], name: str, size: int) -> Iterator[Item]:
    for number, value, error in objects(lines, name):
        key = value.get("id", number) if isinstance(value, dict) else number
        if not error:
            try:
                question = text_of(value, "question")
                yield Item(key, *checked(question, passages_of(value), size))
                continue
            except ValueError as wrong:
                error = f"{named(name)}, line {number}: {wrong}."
        yield Item(key, error=error)


def _plain(reading: Any, votes: bool, many: bool) -> str:
    """A line; with votes a line for each, and one that is empty between questions."""
    if reading is None or not votes:
        return "" if reading is None else _one_line(reading.answer)
    lines = [f"{_one_line(text)}\t{value:.5g}" for text, value in reading.votes.items()]
    return "\n".join([*lines, ""] if many and lines else lines)


def _one_line(text: str) -> str:
    return " ".join(text.split()) if any(map(str.isspace, text)) else text


def with_least_vote(reading: Any, least: float) -> Any:
    """The reading without its answer, if that has less in the vote."""
    if not reading.answer or reading.score >= least:
        return reading
    passages = tuple(passage._replace(span=None) for passage in reading.passages)
    return reading._replace(answer="", passages=passages)


def _reason(item: Item, reading: Any) -> str | None:
    if reading.answer:
        return None
    if reading.votes:
        best, value = next(iter(reading.votes.items()))
        return (
            f"the best candidate, {_one_line(best)!r}, has {value:.2g} in the vote, less than "
            "--least-vote asks for"
        )
    return "no passage proposes one" if item.windows else "there are no passages"


def _record(item: Item, reading: Any) -> dict[str, Any]:
    if item.error:
        return {"id": item.id, "error": item.error}
    return {
        "id": item.id,
        "question": item.question,
        "answer": reading.answer,
        "score": _rounded(reading.score),
        "reason": _reason(item, reading),
        "votes": {text: _rounded(value) for text, value in reading.votes.items()},
        "passages": [
            {
                "passage": window.passage + 1,
                "offset": window.offset,
                "text": found.text,
                "answerable": _rounded(found.answerable),
                "span": found.span and [window.offset + place for place in found.span],
                "candidates": {text: _rounded(s) for text, s in found.candidates.items()},
            }
            for window, found in zip(item.windows, reading.passages, strict=True)
        ],
    }


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _explain(path: Path, reader: Any, item: Item, reading: Any) -> None:
    from kexian_utils.plots import save_figure
    from kexian_utils.qa.figures import reading_figure

    features = None
    if reader.config.features:
        rows = reader.rows([(item.question, [window.text for window in item.windows])])
        features = [row.features for row in rows]
    save_figure(lambda: reading_figure(item.question, reading, features=features), path)


def _path(folder: str) -> Path:
    """The folder; the one in the package, if it is the name of a bundled reader and no reader."""
    path = Path(folder)
    if folder in BUNDLED and not (path / "reader.json").is_file():
        path = Path(__file__).parents[1] / "data" / f"{folder}_reader"
    return path


def _settings(folder: Path) -> dict[str, Any]:
    """What a reader says of windows and votes, read before Keras is imported, which takes long.

    What is missing or damaged is said when the reader is loaded.
    """
    try:
        config = read_json(folder / "reader.json", dict)["config"]
        found = {name: type(value)(config.get(name, value)) for name, value in SETTINGS.items()}
        return found if found["window"] >= 1 else SETTINGS
    except (OSError, KeyError, TypeError, ValueError, AttributeError):
        return SETTINGS


def _reader(folder: Path, size: int) -> Any:
    for name in ("reader.json", "network.keras"):  # before Keras is imported, which takes long
        if not (folder / name).is_file():
            raise KexianError(
                f"{folder} holds no reader: {name} is missing; give --reader a folder that "
                "train-reader wrote."
            )
    prepare_keras()
    from kexian_utils.qa import reader as readers

    try:
        reader = readers.DGCNNReader.load(folder)
    except FileNotFoundError as error:
        raise KexianError(f"{error}; give --reader a folder that train-reader wrote.") from None
    except ValueError as error:  # Keras's may have many lines
        raise KexianError(" ".join(str(error).split())) from None
    longest = reader.config.max_len
    if size < 2 * longest:
        raise KexianError(
            f"--max-length must be at least {2 * longest}, twice the longest answer of the "
            f"reader, got {size}"
        )
    return reader


COMMANDS = (answer,)
