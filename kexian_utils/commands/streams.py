"""What commands read and write: lines of text, JSON lines, figures, and how a command ends."""

from __future__ import annotations

import codecs
import contextlib
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
from typing import Any, BinaryIO

from kexian_utils._json import parse_json
from kexian_utils.errors import ENVIRONMENT, KexianError

INTERRUPTED = 130
PIPE_CLOSED = 141  # as a program that the signal ends
FIGURE_SUFFIXES = (".svg", ".png", ".pdf")  # as in `plots`, which takes long to import
_FLUSH_SECONDS = 0.5
_SURROGATE = re.compile("[\ud800-\udfff]")


# Input


class Lines:
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
        with progress(self._size()) as advance:
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
def progress(total: int | None) -> Iterator[Callable[[int], None]]:
    """Bytes read, on a terminal that the results do not go to, and not in the first seconds."""
    if not sys.stderr.isatty() or sys.stdout.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total or None, unit="B", unit_scale=True, file=sys.stderr, delay=2) as bar:
        yield bar.update


def named(name: str) -> str:
    """How messages call a file or, for ``-``, standard input."""
    return "standard input" if name == "-" else name


def raw_lines(name: str, before_reading: Callable[[], None] = lambda: None) -> Iterator[bytes]:
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
    with nullcontext() if file is sys.stdin.buffer else file, progress(size) as advance:
        for number, raw in enumerate(file):
            advance(len(raw))
            yield raw.removeprefix(codecs.BOM_UTF8) if number == 0 else raw
            before_reading()


def objects(lines: Iterator[bytes], name: str) -> Iterator[tuple[int, Any, str]]:
    """Number, value and error of each line that is not blank."""
    for number, raw in enumerate(lines, start=1):
        if not raw.strip():
            continue
        value, error = None, ""
        try:
            value = parse_json(raw.rstrip().decode("utf-8"), dict)
        except UnicodeDecodeError as wrong:
            error = not_utf_8(wrong)
        except ValueError as wrong:
            error = str(wrong)
        yield number, value, f"{named(name)}, line {number} {error}." if error else ""


def not_utf_8(error: UnicodeDecodeError) -> str:
    """The rest of a sentence on bytes that are not UTF-8."""
    return (
        f"must be UTF-8: byte {error.start} is not (0x{error.object[error.start]:02x}); convert "
        "it, for example with iconv -f GB18030 -t UTF-8"
    )


# Output


def json_line(record: dict[str, Any]) -> str:
    """One line of JSON; halves of surrogate pairs, which UTF-8 has no form for, are escaped."""
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Output:
    """Standard output in UTF-8, which leaves nothing unwritten that was found.

    As a context it also gives interruptions, closed pipes and trouble of the machine their ends.
    """

    def __init__(self) -> None:
        self._stream: Any = None
        self._flushed, self._waiting = time.monotonic(), False

    def __enter__(self) -> Output:
        self._stream = sys.stdout.buffer
        return self

    def write(self, text: str) -> None:
        """Write a line."""
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
            forget_standard_output()
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


def unreachable(error: ValueError) -> bool:
    """Whether a model could not be had because Hugging Face does not answer."""
    return type(error.__cause__).__name__ in ("LocalEntryNotFoundError", "OfflineModeIsEnabled")


def forget_standard_output() -> None:
    """Nobody reads it any more: the interpreter must not complain when it flushes at its end."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError, io.UnsupportedOperation):
        pass


def figure_path(option: str, name: str) -> Path:
    """The path of a figure that an option names; a KexianError if none can be drawn there."""
    path = Path(name)
    if path.suffix.lower() not in FIGURE_SUFFIXES:
        raise KexianError(f"{option} must end in {', '.join(FIGURE_SUFFIXES)}, got {name!r}")
    if not path.parent.is_dir():
        raise KexianError(f"{option} {name}: there is no folder {path.parent}.")
    return path
