"""A pytest plugin that divides the tests among several processes (pytest-xdist), by groups.

``pytest -n 2`` (with this plugin loaded) keeps together, and in order, what shares a kernel or an
expensive fixture: the cells of a notebook, the smoke runs of a chapter, the tests of a file. Groups
that take long come first, so that at the end no process waits long for another. Each process and
its children use one thread. At the end the slowest groups are listed, with ``-n`` and without.

``make test`` runs one phase after the other (``--kexian-phase``), because processes do not wait for
each other: unit tests and what reads stored notebooks, which show most faults within minutes; those
of the unit tests that are marked ``backends``, once more on JAX; all that executes chapters; and
the book, which is built from the executed copies that the chapters' tests leave behind.

Several machines share the work with ``--kexian-shard 1/4`` and so on: each takes its part of the
groups, the same at every call, and about as much of the time as the others.

Costly tests of a tool are marked ``in_turn`` with the paths that they guard. ``--kexian-in-turn``,
which ``make test`` gives, runs them where such a path was touched lately, else every third time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
import zlib
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kexian_utils.experiment.backend import fix_threads
from kexian_utils.runner.checks import choice

SHOWN = 25
BOOK = "book"

# Where the tests of each phase are; a phase collects nothing else (collecting the unit tests means
# to import the frameworks). "units" is what no other phase takes.
PHASES = {
    "units": ("tests",),
    "jax": ("tests/unit",),
    "chapters": ("notebooks", "tests/notebooks"),
    "book": ("tests/book",),
}
COSTS = Path("tests") / "costs.json"  # seconds of each group, as `tools/forecast.py --keep` left it

# Roughly, in seconds, for groups that were not measured yet; what is not named counts as OTHER.
_RANKS = {
    "planted mistakes": 60,
    "slow": 60,
    "reruns": 25,
    "cells": 40,
    "small book": 60,
    "bert": 50,
    BOOK: -1,
}
OTHER = 10
RECENT = 30  # commits, in which what a costly test of a tool guards may have been touched
SHIFTS = 3  # of the runs, that take turns with the costly tests of tools
NOT_ITS_TURN = (
    "in turn: what it guards was not touched lately; it runs every third time and in the weekly run"
)
LOCK = "uv.lock"  # other packages may break anything

# On JAX nearly all of the time goes into compiling small functions, which need no optimisation.
_QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

_GROUPS = pytest.StashKey[dict[str, str]]()
_FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that divide the tests, and that of the file for their times."""
    group = parser.getgroup("kexian", "Kexian notebooks")
    group.addoption(
        "--kexian-phase",
        choices=("all", *PHASES),
        default="all",
        help="units: what executes no chapter; jax: the unit tests marked `backends`, on JAX; "
        "chapters: what executes chapters; book: the book made of the executed chapters; "
        "all: everything in one go, but nothing twice (without jax)",
    )
    group.addoption(
        "--kexian-shard",
        type=shard,
        default=(1, 1),
        metavar="I/N",
        help="the I-th of N parts, from 1/N to N/N",
    )
    group.addoption(
        "--kexian-in-turn",
        action="store_true",
        help="skip tests marked `in_turn` whose paths were not touched, two times of three",
    )
    group.addoption(
        "--kexian-costs",
        default=None,
        metavar="FILE",
        help="write the seconds of each group to this file, as JSON",
    )


def shard(text: str) -> tuple[int, int]:
    """Read "2/4" as (2, 4).

    Raises:
        argparse.ArgumentTypeError: anything else than two numbers, the first from 1 to the second.
    """
    match = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"must look like 2/4, from 1/4 to 4/4, got {text!r}")
    return int(match[1]), int(match[2])


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Give each process one thread; choose the backend of the phase before it is imported."""
    if not hasattr(config, "workerinput"):
        if getattr(config.option, "numprocesses", None):
            fix_threads(1)
        if config.option.kexian_phase == "jax":
            flags = f"{os.environ.get('XLA_FLAGS', '')} {_QUICK_COMPILATION}".strip()
            os.environ |= {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags}
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    """Start with no groups and no times."""
    config.stash[_GROUPS] = {}
    config.pluginmanager.register(_Times(config), "kexian-times")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where to write down its groups."""
    if _FOLDER not in node.config.stash:
        folder = tempfile.TemporaryDirectory(prefix="kexian-groups-")
        node.config.stash[_FOLDER] = Path(folder.name)
        node.config.add_cleanup(folder.cleanup)
    node.workerinput["kexian_groups"] = str(node.config.stash[_FOLDER] / node.gateway.id)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Divide by groups, unless `--dist` asks for something else."""
    if config.option.dist != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    groups = config.stash[_GROUPS]

    class ByGroup(LoadScopeScheduling):
        # xdist's own groups (3.8) are lost with pytest 9.2: it writes them into names that are
        # read-only by now.
        def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
            text = Path(node.workerinput["kexian_groups"]).read_text(encoding="utf-8")
            groups.update(json.loads(text))
            super().add_node_collection(node, collection)

        def _split_scope(self, nodeid: str) -> str:
            return groups[nodeid]

    config.option.loadscopereorder = False  # they come in order
    return ByGroup(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the items of the phase and the shard; with workers, long groups first."""
    phase = config.getoption("--kexian-phase")
    chosen = [item for item in items if phase == "all" or phase in phases(item)]
    names, costs = config.stash[_GROUPS], measured_costs(config.rootpath)
    ranks: dict[str, float] = {}
    for item in chosen:
        name, rank = group(item)
        name += ":jax" if phase == "jax" else ""
        names[item.nodeid] = name
        ranks[name] = costs.get(name, max(rank, ranks.get(name, rank)))
    if config.getoption("--kexian-in-turn"):
        waiting = wait_their_turn(chosen, phase, names, ranks, config.rootpath)
        for item in waiting:
            item.add_marker(pytest.mark.skip(reason=NOT_ITS_TURN))
        ranks |= {names[item.nodeid]: 0.0 for item in waiting}
    number, count = config.getoption("--kexian-shard")
    mine = divide(ranks, count)[number - 1]
    chosen = [item for item in chosen if names[item.nodeid] in mine]
    if len(chosen) < len(items):
        taken = set(chosen)
        config.hook.pytest_deselected(items=[item for item in items if item not in taken])
        items[:] = chosen
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -ranks[names[item.nodeid]])
        Path(config.workerinput["kexian_groups"]).write_text(json.dumps(names), encoding="utf-8")


def wait_their_turn(
    items: Sequence[pytest.Item],
    phase: str,
    names: Mapping[str, str],
    costs: Mapping[str, float],
    root: Path,
) -> list[pytest.Item]:
    """The items marked ``in_turn`` that a run may leave out: untouched, and not in its third.

    Args:
        items: tests.
        phase: the phase; ``in_turn(..., phase="jax")`` counts in that one only.
        names: the group of each item, by its id.
        costs: the seconds of each group; the thirds cost about the same.
        root: the root of the checkout.
    """
    guarded = {}
    for item in items:
        mark = item.get_closest_marker("in_turn")
        if mark is not None and mark.kwargs.get("phase", phase) == phase:
            guarded[item] = (LOCK, item.path.relative_to(root).as_posix(), *mark.args)
    if not guarded:
        return []
    changed = choice.changed_paths(root, RECENT)
    late = [
        item
        for item, paths in guarded.items()
        if not any(Path(path).is_relative_to(guard) for path in changed for guard in paths)
    ]
    thirds = divide({names[item.nodeid]: costs[names[item.nodeid]] for item in guarded}, SHIFTS)
    due = thirds[choice.rotation() % SHIFTS]
    return [item for item in late if names[item.nodeid] not in due]


def phases(item: pytest.Item) -> tuple[str, ...]:
    """The phases that an item belongs to; only those on both backends belong to two.

    Raises:
        pytest.UsageError: the file is in a folder where such a phase does not look.
    """
    path = item.path.relative_to(item.config.rootpath).as_posix()
    if path.endswith(".ipynb") or item.get_closest_marker("chapters"):
        found: tuple[str, ...] = ("chapters",)
    elif _uses(item, BOOK):
        found = ("book",)
    else:
        found = ("units", "jax") if item.get_closest_marker("backends") else ("units",)
    for phase in found:
        if not path.startswith(tuple(f"{folder}/" for folder in PHASES[phase])):
            raise pytest.UsageError(
                f"{path} holds a test of the phase {phase}, which collects only "
                f"{' and '.join(PHASES[phase])}; move the test there."
            )
    return found


def measured_costs(root: Path) -> dict[str, float]:
    """Seconds of each group of tests, measured earlier; empty without that file.

    Raises:
        pytest.UsageError: the file holds something else.
    """
    path = root / COSTS
    if not path.is_file():
        return {}
    try:
        return {name: float(cost) for name, cost in json.loads(path.read_text("utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise pytest.UsageError(
            f"{COSTS} cannot be read ({error}); delete it, or write it again with "
            "`tools/forecast.py --keep`."
        ) from error


def divide(costs: Mapping[str, float], count: int) -> list[set[str]]:
    """Parts of about equal cost: each group, the longest first, joins the part with least so far.

    Args:
        costs: the seconds of each group.
        count: the number of parts.
    """
    parts: list[set[str]] = [set() for _ in range(count)]
    totals = [0.0] * count
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        least = totals.index(min(totals))
        parts[least].add(name)
        totals[least] += max(costs[name], 0.1)
    return parts


def group(item: pytest.Item) -> tuple[str, int]:
    """The name of the group of an item, and its rank in the order of groups."""
    path = item.path.relative_to(item.config.rootpath).as_posix()
    article = getattr(item, "callspec", None) and item.callspec.params.get("article")
    jax = item.get_closest_marker("jax") is not None
    if path.endswith(".ipynb"):
        return path, _RANKS["cells"]
    if article is not None:
        backend = "-jax" if jax else ""
        if item.get_closest_marker("slow"):
            return f"{article.id}:{item.originalname}{backend}", _RANKS["slow"]
        if _uses(item, "run"):  # keeps executed copies, which several tests share
            return f"{article.id}:reruns{backend}", _RANKS["reruns"]
        rank = _RANKS["planted mistakes"] if item.path.stem == "test_mutations" else OTHER
        return f"{article.id}:{item.path.stem}{backend}", rank
    if _uses(item, BOOK):  # two processes share the book that one of them builds
        return f"{BOOK} {1 + zlib.crc32(item.nodeid.encode()) % 2}", _RANKS[BOOK]
    if _uses(item, "small_book"):
        return "small book", _RANKS["small book"]
    return path, _RANKS["bert"] if "_bert_" in path else OTHER


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def kind(name: str) -> str:
    """What a group of this name is for."""
    known = {
        ".ipynb": "every chapter: default, compared",
        "test_mutations": "chapters in turn: planted mistakes",
        "test_full_": "chapters in turn: full, rehearsed",
        "test_default_": "two chapters: default at another seed",
        ":reruns": "every chapter: smoke on both backends, cold and disturbed",
        ":test_": "every chapter: other tests",
        ".py:jax": "unit tests on JAX",
        "tests/": "tests in " + "/".join(name.split("/")[:2]),
    }
    return next((words for part, words in known.items() if part in name), name)


class _Times:
    """Adds up the seconds of each group and lists the slowest."""

    def __init__(self, config: pytest.Config) -> None:
        self.groups = config.stash[_GROUPS]
        self.seconds: dict[str, float] = {}
        self.tests: dict[str, float] = {}
        self.skipped: set[str] = set()
        self.started = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = self.groups.get(report.nodeid, report.nodeid.split("::")[0])
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration
        self.tests[report.nodeid] = self.tests.get(report.nodeid, 0.0) + report.duration
        if report.skipped:
            self.skipped.add(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        options = session.config.option
        if options.kexian_costs is None or hasattr(session.config, "workerinput"):
            return
        ran = sorted(self.tests.keys() - self.skipped)
        record = {
            "phase": options.kexian_phase,
            "processes": getattr(options, "numprocesses", None) or 1,
            "wall": round(time.monotonic() - self.started, 1),
            "groups": {name: round(self.seconds[name], 2) for name in sorted(self.seconds)},
            "tests": {name: round(self.tests[name], 2) for name in ran},
        }
        path = Path(options.kexian_costs)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        slowest = sorted(self.seconds.items(), key=lambda item: -item[1])[:SHOWN]
        if len(self.seconds) < 2 or terminalreporter.config.option.verbose < 0:
            return
        total = sum(self.seconds.values())
        terminalreporter.section(f"slowest groups, of {total:.0f} s in {len(self.seconds)}")
        for name, seconds in slowest:
            terminalreporter.line(f"{seconds:7.1f} s  {name}")
        kinds: dict[str, float] = {}
        for name, seconds in self.seconds.items():
            kinds[kind(name)] = kinds.get(kind(name), 0.0) + seconds
        terminalreporter.section("by kind")
        for name, seconds in sorted(kinds.items(), key=lambda item: -item[1]):
            terminalreporter.line(f"{seconds:7.0f} s  {name}")
