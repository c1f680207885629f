"""How long it takes to know which statements still hold, beside the usual ways.

    .venv/bin/python benchmarks/rerun.py [--profile smoke] [--output FILE.json] [--figure FILE.svg]
    .venv/bin/python benchmarks/rerun.py --output benchmarks/rerun.json \\
        --figure benchmarks/rerun.svg --report benchmarks/README.md      # what is committed here

Four ways to execute every chapter once more and compare, all in this run, one after the other:

- papermill, one notebook after the other, then nbval on what it wrote (each executes: the usual way
  to get both an executed copy and a comparison);
- papermill alone, one after the other, which compares nothing;
- two papermill processes at a time, one thread each;
- `kexian check --no-cache`, which executes once, in forked kernels beside each other, compares, and
  keeps the executed copies.

The usual ways are given cold kernels and the environment of the project's own kernels. What is
reported is wall time, the CPU seconds of all processes, and by how much the machine's free memory
fell (other programs count, too: let none start or end). Profiles may be measured one at a time into
the same file. With `--show FILE.json` nothing is measured: figure and report are made from that.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from kexian_utils import catalogue, plots
from kexian_utils.experiment.backend import thread_variables
from kexian_utils.experiment.records import processor, versions
from kexian_utils.runner.execution.execute import kernel_variables

ROOT = Path(__file__).resolve().parents[1]
WAYS = {
    "papermill, then nbval": "one notebook after the other, executed twice",
    "papermill alone": "one notebook after the other, nothing compared",
    "two papermills at a time": "one thread each, nothing compared",
    "kexian check": "executed once, compared, copies kept",
}
MARKS = ("<!-- rerun -->", "<!-- /rerun -->")
BARS = {  # how many times faster `kexian check` has to be
    "smoke": {"papermill, then nbval": 4, "papermill alone": 2.5, "two papermills at a time": 2},
    "default": {
        "papermill, then nbval": 3,
        "papermill alone": 1.5,
        "two papermills at a time": 1.1,
    },
}


def main() -> int:
    """Measure, print the table, write the record and the figure; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--profile", choices=list(BARS), action="append", help="default: both")
    parser.add_argument("--jobs", type=int, default=2, help="of kexian check")
    parser.add_argument("--chapters", nargs="*", help="ids; default: all that are written")
    parser.add_argument("--output", type=Path, help="JSON file for the numbers")
    parser.add_argument("--figure", type=Path, help="SVG file for the picture")
    parser.add_argument("--report", type=Path, help="Markdown file whose table is to be replaced")
    parser.add_argument("--show", type=Path, help="a JSON file measured before: measure nothing")
    options = parser.parse_args()
    if options.show:
        record = json.loads(options.show.read_text(encoding="utf-8"))
        missed = [
            line for name in record["profiles"] for line in show(name, record["profiles"][name])
        ]
    else:
        record, missed = measure_all(options)
    if options.figure:
        draw(record, options.figure)
    if options.report:
        options.report.write_text(
            with_table(options.report.read_text(encoding="utf-8"), record), encoding="utf-8"
        )
    return int(bool(missed))


def measure_all(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Measure the wanted profiles and write the record; it, and the bars that are missed."""
    chapters = [
        article
        for article in catalogue.load(ROOT).articles
        if (ROOT / article.path).is_file() and article.id in (options.chapters or article.id)
    ]
    record: dict[str, Any] = {
        "date": str(date.today()),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "jobs": options.jobs,
        "versions": versions(),
        "chapters": [article.id for article in chapters],
        "profiles": {},
    }
    if options.output and options.output.is_file():
        before = json.loads(options.output.read_text(encoding="utf-8"))
        if all(before[key] == record[key] for key in record.keys() - {"date", "profiles"}):
            record["profiles"] = before["profiles"]
    missed = []
    for profile in options.profile or list(BARS):
        with tempfile.TemporaryDirectory(prefix="kexian-rerun-") as folder:
            found = measure(chapters, profile, options.jobs, Path(folder))
        record["profiles"][profile] = found
        missed += show(profile, found)
        if options.output:  # after each profile: the next may be interrupted
            options.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record, missed


def measure(chapters: list, profile: str, jobs: int, folder: Path) -> dict[str, Any]:
    """Wall and CPU seconds of each way, and where ours went."""
    environment = os.environ | kernel_variables("tensorflow") | thread_variables(1)
    environment["PYTHONWARNINGS"] = "ignore"
    # The repository's own pytest plugins stay out of the usual way.
    plain = ["-c", os.devnull, f"--rootdir={folder}", "-pno:cacheprovider", "-q", "--nbval-lax"]
    usual = [papermill(article, profile, folder / "one") for article in chapters]
    nbval = [
        [sys.executable, "-m", "pytest", *plain, "--nbval-cell-timeout=1800", command[4]]
        for command in usual
    ]
    pair = [papermill(article, profile, folder / "pair") for article in chapters]
    alone = timed(lambda: run(usual, 1, environment))
    compared = timed(lambda: run(nbval, 1, environment))
    two = timed(lambda: run(pair, 2, environment))
    ours = timed(lambda: kexian(chapters, profile, jobs, folder))
    both = [alone[0] + compared[0], alone[1] + compared[1], max(alone[2], compared[2])]
    found = {
        name: {way: round(values[place], 1) for way, values in zip(WAYS, ways, strict=True)}
        for place, name in enumerate(("seconds", "cpu_seconds", "memory_mib"))
        for ways in [(both, alone, two, ours)]
    }
    return found | {"parts": ours[3]}


def papermill(article: Any, profile: str, folder: Path) -> list[str]:
    """The command that executes a chapter in a cold kernel into `folder`."""
    output = folder / article.part / article.path.name
    output.parent.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "papermill", str(ROOT / article.path), str(output)),
        *("-k", "python3", "--cwd", str((ROOT / article.path).parent)),
        *("-p", "profile", profile, "--no-progress-bar", "--log-level", "ERROR"),
    ]


def run(commands: list[list[str]], processes: int, environment: dict[str, str]) -> None:
    """Run commands, `processes` at a time (CalledProcessError if one fails)."""
    waiting = deque(commands)
    running: list[subprocess.Popen] = []
    while waiting or running:
        while waiting and len(running) < processes:
            running.append(
                subprocess.Popen(waiting.popleft(), env=environment, stdout=subprocess.DEVNULL)
            )
        ended = [process for process in running if process.poll() is not None]
        for process in ended:
            running.remove(process)
            if process.returncode:
                raise subprocess.CalledProcessError(process.returncode, process.args)
        time.sleep(0.05)


def kexian(chapters: list, profile: str, jobs: int, folder: Path) -> dict[str, float]:
    """Our way, into a build folder of its own; the CPU seconds by part."""
    names = [article.id for article in chapters]
    against = ["--against", str(folder / "one")] if profile != "default" else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "kexian_utils.commands.main",
            "check",
            *names,
            "--no-cache",
            "--times",
        ]
        + ["--jobs", str(jobs), "--profile", profile, *against],
        env=os.environ | {"KEXIAN_BUILD": str(folder / "build")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    lines = [line.split(" CPU s  ") for line in done.stdout.splitlines() if " CPU s  " in line]
    return {name: float(seconds) for seconds, name in lines}


def timed(action: Any) -> tuple[float, float, float, Any]:
    """Wall seconds, CPU seconds of the processes that it ran, memory in MiB, what it returned."""
    free = [psutil.virtual_memory().available]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.25):
            free.append(psutil.virtual_memory().available)

    watcher = threading.Thread(target=watch)
    watcher.start()
    before, started = os.times(), time.perf_counter()
    try:
        result = action()
    finally:
        seconds, after = time.perf_counter() - started, os.times()
        stop.set()
        watcher.join()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return seconds, cpu, (free[0] - min(free)) / 2**20, result


def show(profile: str, found: dict[str, Any]) -> list[str]:
    """Print the table of a profile; the bars that are missed."""
    ours = found["seconds"]["kexian check"]
    print(f"\n{profile}:\n{'':28} {'wall s':>8} {'CPU s':>8} {'MiB':>8} {'ratio':>7} {'bar':>5}")
    missed = []
    for way in WAYS:
        ratio, bar = found["seconds"][way] / ours, BARS[profile].get(way)
        print(
            f"{way:28} {found['seconds'][way]:8.1f} {found['cpu_seconds'][way]:8.1f} "
            f"{found['memory_mib'][way]:8.0f} {ratio:7.2f} {bar or '':>5}"
        )
        if bar and ratio < bar:
            missed.append(f"{profile}, {way}: {ratio:.2f} times, {bar} wanted")
    for name, seconds in found["parts"].items():
        print(f"  {seconds:8.1f} CPU s  {name}")
    for line in missed:
        print("missed:", line)
    return missed


def table(record: dict[str, Any]) -> str:
    """The record in Markdown."""
    lines = [
        "| profile | way | wall s | CPU s | memory, MiB | `kexian check` is faster by |",
        "|:--|:--|--:|--:|--:|--:|",
    ]
    for profile, found in record["profiles"].items():
        ours = found["seconds"]["kexian check"]
        for way, seconds in found["seconds"].items():
            faster = f"{seconds / ours:.1f}" if way != "kexian check" else ""
            cpu, memory = found["cpu_seconds"][way], found["memory_mib"][way]
            lines.append(
                f"| {profile} | {way} | {seconds:.0f} | {cpu:.0f} | {memory:.0f} | {faster} |"
            )
    other = [
        f"{name.split('; ')[1].split('%')[0]}% in `{profile}`"
        for profile, found in record["profiles"].items()
        for name in found["parts"]
        if "is not cells" in name
    ]
    return (
        "\n".join(lines) + f"\n\n{len(record['chapters'])} chapters, {record['cores']} cores, "
        f"{record['processor']}, {record['date']}; the numbers, with versions, are in "
        f"`rerun.json`. Of our processor time this much is not spent in cells: {'; '.join(other)}."
    )


def with_table(text: str, record: dict[str, Any]) -> str:
    """The text with its table replaced (SystemExit if it has no place for one)."""
    try:
        before, rest = text.split(MARKS[0])
        _, after = rest.split(MARKS[1])
    except ValueError:
        raise SystemExit(f"the report needs the lines {MARKS[0]} and {MARKS[1]}, once") from None
    return f"{before}{MARKS[0]}\n\n{table(record)}\n\n{MARKS[1]}{after}"


def draw(record: dict[str, Any], path: Path) -> None:
    """Bars of wall time, one panel a profile, the ratio at each bar."""
    import matplotlib.pyplot as plt

    plots.use_style()
    profiles = record["profiles"]
    figure, axes = plt.subplots(1, len(profiles), figsize=(4.2 * len(profiles), 2.4), squeeze=False)
    for axis, (profile, found) in zip(axes[0], profiles.items(), strict=True):
        ways, ours = list(WAYS)[::-1], found["seconds"]["kexian check"]
        minutes = [found["seconds"][way] / 60 for way in ways]
        colours = ["C1" if way == "kexian check" else "C0" for way in ways]
        axis.barh(range(len(ways)), minutes, color=colours)
        for place, (way, value) in enumerate(zip(ways, minutes, strict=True)):
            ratio = found["seconds"][way] / ours
            axis.text(value, place, "" if way == "kexian check" else f" × {ratio:.1f}", va="center")
        axis.set_yticks(range(len(ways)), ways if axis is axes[0, 0] else [""] * len(ways))
        axis.set_xlim(0, max(minutes) * 1.2)
        axis.set_xlabel("minutes")
        axis.set_title(f"{profile}, {len(record['chapters'])} chapters", loc="left")
        axis.grid(False, axis="y")
    figure.savefig(path, bbox_inches="tight")


if __name__ == "__main__":
    sys.exit(main())
