"""All tests on all cores: first everything but the book, then the book of the executed notebooks.

Called by `make test`. KEXIAN_JOBS sets the number of processes; 1 runs pytest as it is.
"""

import os
import signal
import subprocess
import sys
import time

from kexian_utils.runner.execution.pool import default_jobs

INTERRUPTED = 2  # exit code of pytest


def jobs() -> int:
    """KEXIAN_JOBS, else as many processes as there are cores, while the memory lasts."""
    setting = os.environ.get("KEXIAN_JOBS")
    if setting is not None:
        if not setting.isdecimal() or int(setting) < 1:
            sys.exit(f"kexian: KEXIAN_JOBS must be a whole number from 1 on, got {setting!r}")
        return int(setting)
    return default_jobs()


def run(*options: str) -> int:
    """Run pytest to its end, also when it is interrupted: it stops its processes itself."""
    # A job in the background of a shell inherits that Ctrl-C is ignored; tests want it to work.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen([sys.executable, "-m", "pytest", *options])
    # The terminal sends Ctrl-C to pytest, too; what is sent to us alone is handed on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ended = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, ended)


def main(arguments: list[str]) -> int:
    """Run both parts and return the exit code of the first that failed."""
    number = jobs()
    if number == 1:
        return run(*arguments)
    parts = {
        f"notebooks and units, {number} processes": ("--kexian-phase=first", f"-n{number}"),
        "the book": ("--kexian-phase=book", "tests/book"),
    }
    codes, lines = [], []
    for name, options in parts.items():
        started = time.monotonic()
        codes.append(run(*options, *arguments))
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        lines.append(f"kexian: {name}: exit code {codes[-1]} after {minutes}:{seconds:02}")
        if codes[-1] == INTERRUPTED:
            break
    print(*lines, sep="\n", flush=True)
    return next((code for code in codes if code != 0), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
