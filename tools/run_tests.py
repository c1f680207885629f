"""All tests on all cores, one phase after the other; called by `make test`.

First the unit tests and what reads stored notebooks, so that most faults show within minutes; then
the unit tests that also run on JAX; then all that executes chapters; then the book of the executed
chapters. A phase that fails does not stop the next ones, so that one run shows all faults;
KEXIAN_FAIL_FAST=1 stops. KEXIAN_JOBS sets the number of processes.

Several machines share the first three phases with `--shard 1/4` to `--shard 4/4`; the book needs
the executed copies of all of them in `_build/runs` (`--phase book`). What else stands on the
command line goes to pytest.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kexian_utils.runner.checks.pytest_groups import PHASES, shard
from kexian_utils.runner.execution.pool import default_jobs

INTERRUPTED, NO_TESTS = 2, 5  # exit codes of pytest
WORDS = {
    "units": "unit tests, stored notebooks",
    "jax": "unit tests on JAX",
    "chapters": "chapters, executed",
    "book": "the book",
}
COSTS = Path("_build") / "costs"


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


def read_arguments(arguments: list[str]) -> tuple[list[str], tuple[int, int], list[str]]:
    """The phases, the shard as (I, N), and what is left for pytest."""
    parser = argparse.ArgumentParser(
        description="Run the tests, phase by phase; other options go to pytest.", allow_abbrev=False
    )
    parser.add_argument(
        "--phase", action="append", choices=PHASES, help="only this one; repeatable"
    )
    parser.add_argument("--shard", type=shard, default=(1, 1), metavar="I/N", help="one of N parts")
    known, others = parser.parse_known_args(arguments)
    divided = known.shard[1] > 1
    phases = known.phase or [phase for phase in PHASES if not (divided and phase == "book")]
    if divided and "book" in phases:
        parser.error("the book is of all chapters and cannot be divided; run it with --phase book")
    return phases, known.shard, others


def main(arguments: list[str]) -> int:
    """Run the phases and return the exit code of the first that failed."""
    phases, (part, parts), others = read_arguments(arguments)
    suffix = f"-{part}of{parts}" if parts > 1 else ""  # files of several machines lie side by side
    number, fail_fast = jobs(), os.environ.get("KEXIAN_FAIL_FAST", "0") not in ("", "0")
    codes, lines = [], []
    for phase in phases:
        options = [f"--kexian-phase={phase}", f"--kexian-costs={COSTS / phase}{suffix}.json"]
        options += [f"-n{number}"] if number > 1 else []
        options += [] if os.environ.get("KEXIAN_WEEKLY") == "1" else ["--kexian-in-turn"]
        if phase != "book":
            options += [f"--kexian-shard={part}/{parts}"]
        started = time.monotonic()
        code = run(*options, *PHASES[phase], *others)
        minutes, seconds = divmod(round(time.monotonic() - started), 60)
        codes.append(code)
        lines.append(f"kexian: {WORDS[phase]}: exit code {code} after {minutes}:{seconds:02}")
        print(lines[-1], flush=True)
        if code == INTERRUPTED or (fail_fast and code not in (0, NO_TESTS)):
            break
    if len(lines) > 1:
        print("kexian: all phases:", *lines, sep="\n", flush=True)
    # A part of the tests, or a choice of them, may leave a phase without any; but not all phases.
    failed = [code for code in codes if code not in (0, NO_TESTS)]
    return failed[0] if failed else min(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
