"""Errors that a person reads: one sentence, with the remedy, and an exit code for scripts."""

from __future__ import annotations

import errno
from pathlib import Path

FOUND = 1  # a claim was missed, outputs differ, a notebook is unclean
USAGE = 2  # unknown name, bad value, unreadable input
ENVIRONMENT = 3  # the machine: disk, memory, network, a missing program


class KexianError(Exception):
    """One sentence for the reader, and the exit code of the command.

    Attributes:
        code: 1 for findings, 2 for bad input, 3 for trouble with the machine.
    """

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.code = code


def is_full(error: OSError) -> bool:
    """Whether the disk, or somebody's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def from_stopped_run(error: OSError, folder: Path | str) -> KexianError:
    """The sentence for a training that could not write its state or its result."""
    remedy = "free some space" if is_full(error) else f"see to it that {folder} can be written"
    return KexianError(
        f"{error.filename or folder}: {error.strerror or error}; {remedy}, then call the same "
        "command again: it goes on from the last state that was saved.",
        ENVIRONMENT,
    )


def from_os_error(error: OSError, path: Path) -> KexianError:
    """The sentence for a file that could not be written or read."""
    where = error.filename or path
    if is_full(error):
        text = (
            f"the disk is full, so {where} was not written; free some space (`make clean` drops "
            "what can be rebuilt) and call again. Earlier results are untouched."
        )
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        text = (
            f"{where} cannot be written ({error.strerror}); choose another folder with "
            "KEXIAN_BUILD, or change its permissions. Earlier results are untouched."
        )
    else:
        text = f"{where}: {error.strerror or error}. Earlier results are untouched."
    return KexianError(text, ENVIRONMENT)
