"""How long `make test` will take with more chapters, from the times that the last one left.

`make test` writes the seconds of each test to `_build/costs`. A test that ran for every chapter
grows with them: a further chapter costs what those of today do on average that are no pillar (all
pillars are written). A test that ran for some chapters is in turn, or under the limit of what a
push may spend, and does not grow. What belongs to no chapter is fixed, but each further chapter
brings a file of unit tests, as costly as the median file of today: the few that cost most are
those of the tools. Building the book counts as growing.

    .venv/bin/python tools/forecast.py --chapters 36
    .venv/bin/python tools/forecast.py --keep       # the groups' seconds, by which CI is divided
"""

import argparse
import json
import re
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kexian_utils import catalogue
from kexian_utils.runner.checks.pytest_groups import COSTS, PHASES

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "_build" / "costs"


@dataclass
class Phase:
    """Seconds of processor time of one phase, by what they grow with, and its time on the clock."""

    name: str
    wall: float = 0.0
    processes: int = 1
    every: dict[str, float] = field(default_factory=dict)  # chapter to seconds
    some: dict[str, float] = field(default_factory=dict)
    fixed: float = 0.0
    unit_file: float = 0.0  # what a further file of unit tests costs
    pillars: frozenset[str] = frozenset()  # chapters that are no measure of further ones

    @property
    def now(self) -> float:
        """All of it."""
        return self.fixed + sum(self.every.values()) + sum(self.some.values())

    def at(self, chapters: int) -> float:
        """Seconds of processor time with so many chapters."""
        if not self.every:
            return self.now
        ordinary = [s for chapter, s in self.every.items() if chapter not in self.pillars]
        each = statistics.mean(ordinary or self.every.values())
        return self.now + (each + self.unit_file) * (chapters - len(self.every))

    def wall_at(self, chapters: int) -> float:
        """Seconds on the clock: the processes stay as busy as they were."""
        return self.wall * self.at(chapters) / self.now if self.now else self.wall


def chapter_of(test: str, names: dict[str, str]) -> str | None:
    """The id of the chapter that a test is of: by its file, or by its parameters."""
    path, _, rest = test.partition("::")
    if path.endswith(".ipynb"):
        return names.get(Path(path).stem)
    if path.startswith("tests/unit/"):  # where a parameter "dropout" is no chapter
        return None
    parameters = rest.partition("[")[2].rpartition("]")[0]
    for name, article in names.items():  # parameters are joined by "-"
        edge = r"\w" if name.isdecimal() else r"[\w-]"
        if re.search(rf"(?<!{edge}){re.escape(name)}(?!{edge})", parameters):
            return article
    return None


def read_phase(
    records: list[dict], names: dict[str, str], pillars: frozenset[str] = frozenset()
) -> Phase:
    """One phase from the records of the machines that shared it.

    Args:
        records: as the plugin `kexian_utils.runner.checks.pytest_groups` writes them.
        names: of chapters, by id and by slug.
        pillars: ids of chapters that are longer than those to come.

    Raises:
        ValueError: a record is of a run that was divided and is not all there.
    """
    phase = Phase(records[0]["phase"], pillars=pillars)
    by_function: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    files: dict[str, float] = defaultdict(float)
    for record in records:
        phase.wall += record["wall"]
        phase.processes = record["processes"]
        for test, seconds in record["tests"].items():
            chapter = chapter_of(test, names)
            path = test.partition("::")[0]
            if chapter is not None:
                function = "cells" if path.endswith(".ipynb") else test.partition("[")[0]
                by_function[function][chapter] += seconds
            else:
                phase.fixed += seconds
                if path.startswith("tests/unit/"):
                    files[path] += seconds
    chapters = {chapter for row in by_function.values() for chapter in row}
    phase.every = dict.fromkeys(sorted(chapters), 0.0)
    for row in by_function.values():
        target = phase.every if row.keys() == chapters else phase.some
        for chapter, seconds in row.items():
            target[chapter] = target.get(chapter, 0.0) + seconds
    if phase.name == "book":  # the book is built in front of its first test
        builds = max((s for r in records for s in r["tests"].values()), default=0.0)
        phase.fixed -= builds
        for chapter in phase.every:
            phase.every[chapter] += builds / len(phase.every)
    if files:
        phase.unit_file = statistics.median(files.values())
    return phase


def read(folder: Path, names: dict[str, str], pillars: frozenset[str] = frozenset()) -> list[Phase]:
    """The phases, in order, that `make test` left in a folder."""
    records = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        records[record["phase"]].append(record)
    return [read_phase(records[name], names, pillars) for name in PHASES if records[name]]


def keep(folder: Path, target: Path) -> int:
    """Write the seconds of each group to `target`; returns how many there are."""
    costs: dict[str, float] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["phase"] != "book":  # which is never divided
            for name, cost in record["groups"].items():  # a name may stand in two phases
                costs[name] = max(round(cost, 1), costs.get(name, 0.0))
    target.write_text(json.dumps(dict(sorted(costs.items())), indent=0) + "\n", encoding="utf-8")
    return len(costs)


def report(phases: list[Phase], chapters: int) -> str:
    """The costs of each chapter, of each phase, and the forecast, as text."""
    every: dict[str, float] = defaultdict(float)
    some: dict[str, float] = defaultdict(float)
    for phase in phases:
        for chapter, seconds in phase.every.items():
            every[chapter] += seconds
        for chapter, seconds in phase.some.items():
            some[chapter] += seconds
    known = len(every)
    lines = ["seconds of one process", "chapter  at each push  in turn"]
    lines += [f"{c:>7}  {every[c]:12.0f}  {some.get(c, 0):7.0f}" for c in every]
    total = sum(every.values())
    lines += [f"{'mean':>7}  {total / max(known, 1):12.0f}", ""]
    lines.append(
        f"{'phase':<9} {'fixed':>6} {'chapters':>9} {'in turn':>8} "
        f"{f'at {known}':>7} {f'at {chapters}':>7}   on the clock"
    )
    for p in phases:
        lines.append(
            f"{p.name:<9} {p.fixed:6.0f} {sum(p.every.values()):9.0f} {sum(p.some.values()):8.0f} "
            f"{p.now:7.0f} {p.at(chapters):7.0f}   {p.wall:.0f} s -> {p.wall_at(chapters):.0f} s"
        )
    now, then = (sum(w) for w in zip(*((p.wall, p.wall_at(chapters)) for p in phases), strict=True))
    lines += [
        "",
        f"make test with {known} chapters: {now / 60:.0f} min; "
        f"with {chapters}: {then / 60:.0f} min, {max(p.processes for p in phases)} processes; "
        "set-up and lint not counted",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the forecast, or keep the costs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chapters", type=int, default=36, help="how many there will be")
    parser.add_argument("--costs", type=Path, default=MEASURED, help="where the times are")
    parser.add_argument("--keep", action="store_true", help=f"write {COSTS}")
    options = parser.parse_args(arguments)
    if options.chapters < 1:
        parser.error(f"--chapters must be 1 at least, got {options.chapters}")
    articles = catalogue.load(ROOT).articles
    names = {name: article.id for article in articles for name in (article.id, article.slug)}
    pillars = frozenset(article.id for article in articles if article.pillar)
    phases = read(options.costs, names, pillars)
    missing = [name for name in PHASES if name not in {phase.name for phase in phases}]
    if missing:
        print(f"{options.costs} has no times of {', '.join(missing)}; run `make test`.")
        if len(missing) == len(PHASES) or options.keep:
            return 3
    if options.keep:
        print(f"{keep(options.costs, ROOT / COSTS)} groups in {COSTS}")
    else:
        print(report(phases, options.chapters))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
