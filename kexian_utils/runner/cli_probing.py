"""The commands that read words and trees off a masked language model: `segment` and `parse`."""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from kexian_utils.runner.cli_models import _number
from kexian_utils.runner.errors import ENVIRONMENT, USAGE, KexianError

INTERRUPTED = 130
PIPE_CLOSED = 141  # as a program that the signal ends
FIGURE_SUFFIXES = (".svg", ".png", ".pdf")
_FLUSH_SECONDS = 0.5
_SURROGATE = re.compile("[\ud800-\udfff]")

Command = Callable[..., Any]


def _input_options(command: Command) -> Command:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option(
            "--model",
            metavar="NAME",
            help="chinese or minilm, which are bundled; a folder in Hugging Face's form; or "
            "OWNER/NAME of Hugging Face, which is downloaded.",
        ),
        click.option(
            "--file",
            "files",
            multiple=True,
            type=click.Path(),
            metavar="PATH",
            help="Text in UTF-8, - for standard input; may be given several times.",
        ),
        click.argument("texts", nargs=-1, metavar="[TEXT]..."),
    ):
        command = decorate(command)
    return command


@click.command()
@_input_options
@click.option("--separator", default=" ", metavar="TEXT", help="Between words; default: a space.")
@click.option(
    "--score",
    metavar="NAME",
    help="pmi, kl, probability (they need a masked-language-model head), euclidean or cosine. "
    "Default: what goes with the model, else pmi, or euclidean without a head.",
)
@click.option("--layer", metavar="N", help="Of euclidean and cosine; default: the last.")
@click.option("--threshold", metavar="X", help="Cut gaps whose score is lower.")
@click.option(
    "--cut-share",
    metavar="P",
    help="Take the threshold below which this share of the gaps lies. Default where no threshold "
    "goes with the model: 0.6.",
)
@click.option(
    "--no-rules",
    is_flag=True,
    help="Leave letters, digits and punctuation to the model, too.",
)
def segment(
    texts: tuple[str, ...],
    files: tuple[str, ...],
    model: str | None,
    as_json: bool,
    separator: str,
    score: str | None,
    layer: str | None,
    threshold: str | None,
    cut_share: str | None,
    no_rules: bool,
) -> None:
    """Cut text into words with a masked language model that was never taught where words end.

    Text comes from the arguments and files, else from standard input; each line gives one line,
    empty ones stay empty. A line is read as UTF-8 without the byte-order mark of its file. Long
    input streams through at constant memory.

    No character is lost or changed: joined, the words are the line. White space stays with the
    word before it, and there is always a cut after it; a separator that is white space is not
    written where the text has it already. Punctuation stands alone, letters and digits that
    follow each other stay together. Where the text may hold the separator, use --json: text,
    words, units (what could have been words), the scores of the gaps between units (null where
    there is a cut whatever the model says), score, threshold, model.

    A model without a threshold of its own gets it from the first 1000 lines, which are read
    before the first is written; give --threshold where a stream must not wait.

    \b
    Examples:
      kexian segment 今天天气很好
      kexian segment --separator / --file novel.txt > words.txt
      cat novel.txt | kexian segment --json --model google-bert/bert-base-chinese
    """
    with _Output() as out:
        lines = _Lines(texts, files, out.flush)
        from kexian_utils.bert.reading import Segmenter

        opened = _opened(model or "chinese")
        segmenter = Segmenter(
            opened,
            score,
            None if layer is None else _number("layer", layer, int),
            None if threshold is None else _number("threshold", threshold, float),
            None if cut_share is None else _number("cut-share", cut_share, float),
            rules=not no_rules,
        )
        chosen = segmenter.threshold is None
        for found in segmenter(lines):
            if chosen:
                chosen = False
                click.echo(f"kexian: the threshold is {segmenter.threshold:.6g}.", err=True)
            if as_json:
                out.write(_json(_segmentation_record(found, opened.name, segmenter)))
            else:
                out.write(_joined(found.words, separator))


def _joined(words: list[str], separator: str) -> str:
    parts = []
    for word in words:
        if parts and not (separator.isspace() and parts[-1].endswith(separator)):
            parts.append(separator)
        parts.append(word)
    return "".join(parts)


def _segmentation_record(found: Any, model: str, segmenter: Any) -> dict[str, Any]:
    return {
        "text": found.text,
        "words": found.words,
        "units": found.units,
        "scores": found.scores,
        "score": segmenter.score,
        "layer": segmenter.layer,
        "threshold": found.threshold,
        "model": model,
    }


@click.command()
@_input_options
@click.option(
    "--tree",
    default="spanning",
    metavar="KIND",
    help="spanning: the heaviest undirected tree (default); eisner: projective heads; phrases.",
)
@click.option(
    "--mode",
    default="single",
    metavar="MODE",
    help="single: mask one word at a time (default); double: two, which takes longer.",
)
@click.option(
    "--layer", metavar="N", help="Default: 5/6 of the way up, 4/6 for phrases (MiniLM: 5 and 4)."
)
@click.option("--keep-punctuation", is_flag=True, help="Give punctuation a place in the tree.")
@click.option(
    "--tokenized", is_flag=True, help="A line is one sentence, its words are separated by spaces."
)
@click.option(
    "--figure",
    metavar="PATH",
    help="Draw tree and matrix to a .svg, .png or .pdf; of several sentences to PATH-1, PATH-2, …",
)
def parse(
    texts: tuple[str, ...],
    files: tuple[str, ...],
    model: str | None,
    as_json: bool,
    tree: str,
    mode: str,
    layer: str | None,
    keep_punctuation: bool,
    tokenized: bool,
    figure: str | None,
) -> None:
    """Show the tree of each sentence that a masked language model was never taught.

    Text comes from the arguments and files, else from standard input, and is cut into sentences.
    By default MiniLM parses them, and the bundled Chinese BERT those with Chinese characters,
    which it first cuts into words as `kexian segment` does.

    Spanning trees are printed an arc a line, under the sentence; `--tree eisner` in ten columns
    of CoNLL-U, in which 0 heads the root; `--tree phrases` as brackets, a sentence a line.
    Punctuation is read by the model, but left out of the tree. A sentence of one word has a tree
    without arcs, one of punctuation alone an empty tree; no text, no tree. --json gives line,
    text, words, offsets, tree (counted from 0), matrix (row: the word that is changed by masking
    the column's), mode, layer, model.

    \b
    Examples:
      kexian parse "The quick brown fox jumps over the lazy dog."
      kexian parse --tree phrases --file story.txt
      kexian parse --figure tree.svg 大肠杆菌是一种细菌
    """
    with _Output() as out:
        figures = _Figures(figure) if figure else None
        lines = _Lines(texts, files, out.flush)
        from kexian_utils.bert.reading import Parser

        parser = Parser(
            None if model is None else _opened(model),
            tree,
            mode,
            None if layer is None else _number("layer", layer, int),
            keep_punctuation,
        )
        for found in parser(lines, tokenized):
            out.write(_json(_parse_record(found)) if as_json else _tree_text(found))
            if figures:
                figures.add(found)
        if figures:
            figures.close()


def _parse_record(found: Any) -> dict[str, Any]:
    return {
        "line": found.number + 1,
        "text": found.text,
        "words": found.words,
        "offsets": found.offsets,
        "kind": found.kind,
        "tree": found.tree.tolist() if hasattr(found.tree, "tolist") else found.tree,
        "matrix": [[float(f"{x:.5g}") for x in row] for row in found.matrix.tolist()],
        "mode": found.mode,
        "layer": found.layer,
        "model": found.model,
    }


def _tree_text(found: Any) -> str:
    words = [_printable(word) for word in found.words]
    if found.kind == "phrases":
        return _brackets(found.tree, words)
    lines = ["# text = " + " ".join(_printable(part) for part in found.text.split())]
    if found.kind == "spanning":
        named = [f"{number} {word}" for number, word in enumerate(words, start=1)]
        lines += [f"{named[a]} -- {named[b]}" for a, b in found.tree.tolist()]
    else:
        for number, (word, head) in enumerate(zip(words, found.tree.tolist(), strict=True), 1):
            relation = "root" if head < 0 else "dep"
            columns = (number, word, "_", "_", "_", "_", head + 1, relation, "_", "_")
            lines.append("\t".join(map(str, columns)))
    return "\n".join([*lines, ""])


def _printable(word: str) -> str:
    return "".join(c if c.isprintable() or c == "\u200d" else "\ufffd" for c in word)


def _brackets(tree: Any, words: list[str]) -> str:
    """Nested pairs as brackets; brackets among the words as in the Penn Treebank."""
    if tree is None:
        return "()"
    parts, todo = [], [tree]
    while todo:  # trees may be too deep for recursion
        item = todo.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, tuple):
            todo += [")", item[1], " ", item[0], "("]
        else:
            parts.append(words[item].replace("(", "-LRB-").replace(")", "-RRB-"))
    return "".join(parts)


def _json(record: dict[str, Any]) -> str:
    """One line of JSON; halves of surrogate pairs, which UTF-8 has no form for, are escaped."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _opened(name: str) -> Any:
    from kexian_utils.bert.reading import open_model

    try:
        return open_model(name)
    except ValueError as error:
        offline = ("LocalEntryNotFoundError", "OfflineModeIsEnabled")
        machine = type(error.__cause__).__name__ in offline
        raise KexianError(str(error), ENVIRONMENT if machine else USAGE) from None


# Input


class _Lines:
    """The lines of arguments, files and standard input, read as they are needed."""

    def __init__(
        self, texts: Iterable[str], files: Iterable[str], before_reading: Callable[[], None]
    ) -> None:
        self._before_reading = before_reading
        if not all(texts):
            raise KexianError("TEXT must not be empty; a variable may be unset.")
        self._sources: list[Any] = [text if text == "-" else (text,) for text in texts]
        self._sources += list(files)
        if not self._sources:
            if sys.stdin is None or sys.stdin.isatty():
                raise KexianError("give TEXT, --file PATH, or text on standard input (cat a | …).")
            self._sources = ["-"]
        for path in files:
            if path != "-" and not os.path.exists(path):
                raise KexianError(f"--file {path}: there is no such file.")
            if os.path.isdir(path):
                raise KexianError(f"--file {path} is a folder; give the files in it.")

    def __iter__(self) -> Iterator[str]:
        with _progress(self._size()) as advance:
            for source in self._sources:
                if isinstance(source, tuple):
                    yield from source[0].removesuffix("\n").split("\n")
                else:
                    for line in _file_lines(source, advance):
                        yield line
                        self._before_reading()

    def _size(self) -> int | None:
        """Bytes of all files; None where one of them, such as a pipe, does not know."""
        total = 0
        for source in self._sources:
            if isinstance(source, tuple):
                continue
            try:
                known = os.fstat(sys.stdin.fileno()) if source == "-" else os.stat(source)
            except (OSError, ValueError):
                return None
            if not stat.S_ISREG(known.st_mode):
                return None
            total += known.st_size
        return total


def _file_lines(path: str, advance: Callable[[int], None]) -> Iterator[str]:
    name = "standard input" if path == "-" else path
    try:
        file = nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb")
    except OSError as error:
        raise KexianError(f"{name}: {error.strerror or error}.") from None
    done = 0
    with file as raws:
        for number, raw in enumerate(raws, start=1):
            mark = len(codecs.BOM_UTF8) if number == 1 and raw.startswith(codecs.BOM_UTF8) else 0
            try:
                line = raw[mark:].decode("utf-8")
            except UnicodeDecodeError as error:
                place = done + mark + error.start
                raise KexianError(
                    f"{name} must be UTF-8: line {number} is not, at byte {place} of the file "
                    f"(0x{raw[mark + error.start]:02x}); convert it, for example with "
                    "iconv -f GB18030 -t UTF-8."
                ) from None
            done += len(raw)
            advance(len(raw))
            yield line.removesuffix("\n")


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Bytes read, on a terminal that the results do not go to, and not in the first seconds."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total or None, unit="B", unit_scale=True, file=sys.stderr, delay=2) as bar:
        yield bar.update


# Output


class _Output:
    """Standard output in UTF-8, which leaves nothing unwritten that was found.

    As a context it also gives interruptions, closed pipes and trouble of the machine their ends.
    """

    def __init__(self) -> None:
        self._stream: Any = None
        self._flushed, self._waiting = time.monotonic(), False

    def __enter__(self) -> _Output:
        self._stream = sys.stdout.buffer
        return self

    def write(self, text: str) -> None:
        try:  # bytes of arguments that were not UTF-8 leave as they came
            data = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            data = text.encode("utf-8", "surrogatepass")
        self._stream.write(data + b"\n")
        self._waiting = True
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Hand on what is written, if there is any."""
        if self._waiting:
            self._stream.flush()
            self._waiting, self._flushed = False, time.monotonic()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self.flush()
        except BrokenPipeError as closed:
            error = closed
        if isinstance(error, BrokenPipeError):
            _forget_standard_output()
            raise SystemExit(PIPE_CLOSED) from None
        if isinstance(error, KeyboardInterrupt):
            message = "interrupted; what was found up to then is written."
            raise KexianError(message, INTERRUPTED) from None
        if isinstance(error, MemoryError):
            raise KexianError(
                "there is not enough memory; use a smaller model, or shorter lines.", ENVIRONMENT
            ) from None
        if isinstance(error, RuntimeError) and _is_unavailable(error):
            raise KexianError(str(error), ENVIRONMENT) from None
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            raise KexianError(f"{where}{error.strerror or error}.", ENVIRONMENT) from None


def _is_unavailable(error: RuntimeError) -> bool:
    from kexian_utils.datasets import DatasetUnavailable

    return isinstance(error, DatasetUnavailable)


def _forget_standard_output() -> None:
    """Nobody reads it any more: the interpreter must not complain when it flushes at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, io.UnsupportedOperation):
        pass


class _Figures:
    """A file for each sentence: PATH for a single one, PATH-1, PATH-2, … for several."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() not in FIGURE_SUFFIXES:
            raise KexianError(f"--figure must end in {', '.join(FIGURE_SUFFIXES)}, got {path!r}")
        if not self._path.parent.is_dir():
            raise KexianError(f"--figure {path}: there is no folder {self._path.parent}.")
        self._count, self._first = 0, None

    def add(self, found: Any) -> None:
        self._count += 1
        if self._count == 1:
            self._first = found
            return
        if self._count == 2:
            self._draw(self._first, self._numbered(1))
        self._draw(found, self._numbered(self._count))

    def close(self) -> None:
        if self._count == 1:
            self._draw(self._first, self._path)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")

    def _draw(self, found: Any, path: Path) -> None:
        if len(found.words) < 2:
            click.echo(f"kexian: {path} is not drawn: fewer than two words in a tree.", err=True)
            return
        from kexian_utils.bert.drawing import save_parse

        save_parse(found, path)


COMMANDS = (segment, parse)
