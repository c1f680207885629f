"""The command that answers questions from passages: `answer`."""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import click

from kexian_utils.pictures import SUFFIXES
from kexian_utils.qa.reading import sliding_windows
from kexian_utils.runner.cli_models import _number
from kexian_utils.runner.cli_probing import _json, _Output, _progress
from kexian_utils.runner.errors import ENVIRONMENT, KexianError

_QUESTIONS, _WINDOWS = 64, 2048  # that are answered together, at most


class _Window(NamedTuple):
    """A piece of a passage: the passage's number from 0, the place of its first character."""

    passage: int
    offset: int
    text: str


class _Item(NamedTuple):
    """A question of the input, or the error that stands in its place."""

    id: Any
    question: str = ""
    windows: tuple[_Window, ...] = ()
    error: str = ""


# Asking


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
    type=click.Path(),
    help="A reader that train-reader wrote; default: the bundled one.",
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
    "--max-length",
    default="256",
    metavar="N",
    show_default=True,
    help="Longer passages are cut into windows of N characters, each N/2 after the one before.",
)
def answer(
    question: str | None,
    passages: tuple[str, ...],
    jsonl: str | None,
    folder: str | None,
    as_json: bool,
    votes: bool,
    explain: str | None,
    max_length: str,
) -> None:
    """Answer a factoid question from passages, most of which may have nothing to say to it.

    Each PASSAGE is a file in UTF-8; - stands for standard input, where every line is a passage,
    and is the default. The answer is a piece of a passage, found by a convolutional network and a
    vote of all passages. It is printed alone on a line, which is empty if no passage proposes one.

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
    size = _length(max_length)
    if jsonl is not None and (question is not None or explain):
        what = "--explain draws a single question" if explain else "--jsonl has the questions"
        raise KexianError(f"{what}; give either --jsonl FILE, or QUESTION and PASSAGE files.")
    if jsonl is None and question is None:
        raise KexianError("give QUESTION and PASSAGE files, or --jsonl FILE.")
    figure = None if explain is None else _figure_path(explain)
    with _Output() as out:
        if jsonl is None:
            items = iter([_single(question, passages, size)])
        else:
            items = _items(_raw_lines(jsonl, out.flush), jsonl, size)
        reader = _reader(folder, size)
        questions = bad = 0
        for item, reading in _answered(reader, items):
            questions += 1
            bad += bool(item.error)
            if item.error:
                click.echo(f"kexian: {item.error}", err=True)
            if as_json:
                out.write(_json(_record(item, reading)))
            else:
                out.write(_plain(reading, votes, many=jsonl is not None))
            if jsonl is None and not as_json and not reading.answer:
                click.echo(f"kexian: no answer: {_reason(item, reading)}.", err=True)
            if figure is not None:
                _explain(figure, reader, item, reading)
        if bad:
            raise KexianError(f"{bad} of {questions} questions could not be read.")


def _length(text: str) -> int:
    size = _number("max-length", text, int)
    if size < 1:
        raise KexianError(f"--max-length must be a whole number of at least 1, got {size}")
    return size


def _figure_path(name: str) -> Path:
    path = Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise KexianError(f"--explain must end in {', '.join(SUFFIXES)}, got {name!r}")
    if not path.parent.is_dir():
        raise KexianError(f"--explain {name}: there is no folder {path.parent}.")
    return path


def _single(question: str, names: Sequence[str], size: int) -> _Item:
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
        return _Item(None, *_checked(question, texts, size))
    except ValueError as error:
        raise KexianError(f"{error}.") from None


def _standard_input() -> list[str]:
    texts = []
    for number, raw in enumerate(_raw_lines("-"), start=1):
        try:
            texts.append(raw.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise KexianError(f"standard input, line {number} {_not_utf_8(error)}.") from None
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
        raise KexianError(f"{name} {_not_utf_8(error)}.") from None
    if not text:
        raise KexianError(f"{name} is empty; leave it out.")
    return text


def _not_utf_8(error: UnicodeDecodeError) -> str:
    return (
        f"must be UTF-8: byte {error.start} is not (0x{error.object[error.start]:02x}); convert "
        "it, for example with iconv -f GB18030 -t UTF-8"
    )


def _checked(question: str, texts: Sequence[str], size: int) -> tuple[str, tuple[_Window, ...]]:
    """The question and the windows of the passages; ValueError says what is wrong."""
    if not question.strip():
        raise ValueError("the question is empty")
    if len(question) > size:
        raise ValueError(
            f"the question has {len(question)} characters, --max-length allows {size}: shorten it"
        )
    stride = max(1, size // 2)
    windows = tuple(
        _Window(number, offset, part)
        for number, text in enumerate(texts)
        for offset, part in sliding_windows(text, size, stride)
    )
    return question, windows


def _items(lines: Iterator[bytes], name: str, size: int) -> Iterator[_Item]:
    for number, value, error in _objects(lines, name):
        key = value.get("id", number) if isinstance(value, dict) else number
        if not error:
            try:
                question = _text(value, "question")
                yield _Item(key, *_checked(question, _passages(value), size))
                continue
            except ValueError as wrong:
                error = f"{_named(name)}, line {number}: {wrong}."
        yield _Item(key, error=error)


def _answered(reader: Any, items: Iterator[_Item]) -> Iterator[tuple[_Item, Any]]:
    """Items in their order with readings; None for errors."""
    together: list[_Item] = []
    windows = 0
    for item in items:
        together.append(item)
        windows += len(item.windows)
        if len(together) == _QUESTIONS or windows >= _WINDOWS:
            yield from _answered_together(reader, together)
            together, windows = [], 0
    yield from _answered_together(reader, together)


def _answered_together(reader: Any, items: Sequence[_Item]) -> Iterator[tuple[_Item, Any]]:
    asked = [(i.question, [window.text for window in i.windows]) for i in items if not i.error]
    readings = iter(reader.answer_many(asked))
    for item in items:
        yield item, None if item.error else next(readings)


def _plain(reading: Any, votes: bool, many: bool) -> str:
    """A line; with votes a line for each, and one that is empty between questions."""
    if reading is None or not votes:
        return "" if reading is None else _one_line(reading.answer)
    lines = [f"{_one_line(text)}\t{value:.5g}" for text, value in reading.votes.items()]
    return "\n".join([*lines, ""] if many and lines else lines)


def _one_line(text: str) -> str:
    return " ".join(text.split()) if any(map(str.isspace, text)) else text


def _reason(item: _Item, reading: Any) -> str | None:
    if reading.answer:
        return None
    return "no passage proposes one" if item.windows else "there are no passages"


def _record(item: _Item, reading: Any) -> dict[str, Any]:
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


def _explain(path: Path, reader: Any, item: _Item, reading: Any) -> None:
    from kexian_utils.pictures import save_figure
    from kexian_utils.qa.features import alike, match_features
    from kexian_utils.qa.figures import reading_figure

    features = None
    if reader.config.features:
        features = match_features(alike(item.question), [alike(w.text) for w in item.windows])
    save_figure(lambda: reading_figure(item.question, reading, features=features), path)


def _reader(folder: str | None, size: int) -> Any:
    _prepare_keras()
    from kexian_utils.qa import reader as readers

    try:
        reader = readers.DGCNNReader.load(folder or readers.bundled_reader())
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


def _prepare_keras() -> None:
    """Import Keras without the greetings of its backend."""
    from kexian_utils.experiment import backend

    try:
        backend.import_keras(backend.choose_backend(None), threads=0)
    except RuntimeError as error:
        raise KexianError(str(error), ENVIRONMENT) from None
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new shape


# JSON lines


def _named(name: str) -> str:
    return "standard input" if name == "-" else name


def _raw_lines(name: str, before_reading: Callable[[], None] = lambda: None) -> Iterator[bytes]:
    """Lines of a file or standard input, without its byte-order mark, read as they are needed."""
    if name != "-" and not Path(name).exists():
        raise KexianError(f"{name}: there is no such file.")
    if name != "-" and Path(name).is_dir():
        raise KexianError(f"{name} is a folder; give the files in it.")
    if name == "-" and (sys.stdin is None or sys.stdin.isatty()):
        raise KexianError("- needs text on standard input (cat a | …).")
    try:
        file = sys.stdin.buffer if name == "-" else open(name, "rb")
    except OSError as error:
        raise KexianError(f"{name}: {error.strerror or error}.", ENVIRONMENT) from None
    return _read_lines(file, before_reading)


def _read_lines(file: BinaryIO, before_reading: Callable[[], None]) -> Iterator[bytes]:
    size = None
    with contextlib.suppress(OSError):
        found = os.fstat(file.fileno())
        size = found.st_size if stat.S_ISREG(found.st_mode) else None
    # Standard input is not ours to close.
    with nullcontext() if file is sys.stdin.buffer else file, _progress(size) as advance:
        for number, raw in enumerate(file):
            advance(len(raw))
            yield raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            before_reading()


def _objects(lines: Iterator[bytes], name: str) -> Iterator[tuple[int, Any, str]]:
    """Number, value and error of each line that is not blank."""
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        value, error = None, ""
        try:
            value = json.loads(raw.rstrip().decode("utf-8"))
            if not isinstance(value, dict):
                error = f"must be a JSON object, got {type(value).__name__}"
        except UnicodeDecodeError as wrong:
            error = _not_utf_8(wrong)
        except json.JSONDecodeError as wrong:
            error = f"is not JSON at column {wrong.colno}: {wrong.msg}"
        except (ValueError, RecursionError) as wrong:
            error = f"is not JSON: {wrong}"
        yield number, value, f"{_named(name)}, line {number} {error}." if error else ""


def _text(value: dict[str, Any], name: str) -> str:
    if not isinstance(value.get(name), str):
        raise ValueError(f'"{name}" must be a string, got {_shown(value, name)}')
    return value[name]


def _passages(value: dict[str, Any]) -> list[str]:
    """Texts of the passages, which are strings or objects with a text."""
    given = value.get("passages")
    if not isinstance(given, list):
        raise ValueError(f'"passages" must be a list, got {_shown(value, "passages")}')
    texts = [item.get("text") if isinstance(item, dict) else item for item in given]
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(
                f'"passages"[{number}] must be a string, or an object with a string "text", '
                f"got {given[number]!r:.40}"
            )
    return texts


def _shown(value: dict[str, Any], name: str) -> str:
    return f"{value[name]!r:.40}" if name in value else "none"


COMMANDS = (answer,)
