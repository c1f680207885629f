"""A pytest plugin that divides the tests among several processes (pytest-xdist), by groups.

``pytest -n 2`` (with this plugin loaded) keeps together, and in order, what shares a kernel or an
expensive fixture: the cells of a notebook, the smoke runs of a chapter, the tests of a file. Groups
that take long come first, so that at the end no process waits long for another. Each process and
its children use one thread. At the end the slowest groups are listed, with ``-n`` and without.

Some tests read what others leave behind: those with the fixture ``book`` build it from the executed
copies of the notebook tests. They come last; as processes do not wait for each other, ``make test``
runs them on their own (``--kexian-phase``).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from kexian_utils.experiment.backend import fix_threads

SHOWN = 25
BOOK = "book"

# Roughly, in seconds, for the order alone; what is not named counts as OTHER.
_RANKS = {
    "planted mistakes": 150,
    "slow": 120,
    "reruns": 90,
    "cells": 80,
    "jax": 70,
    "small book": 60,
    "bert": 50,
    BOOK: -1,
}
OTHER = 10

_GROUPS = pytest.StashKey[dict[str, str]]()
_FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that tells the tests of the book from all others."""
    parser.getgroup("kexian", "Kexian notebooks").addoption(
        "--kexian-phase",
        choices=("all", "first", "book"),
        default="all",
        help="first: all tests but those of the book made of the executed notebooks; "
        "book: only those",
    )


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Give each process one thread."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        fix_threads(1)
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
    """Take the items of the phase; find the group of each; with workers, long groups first."""
    phase = config.getoption("--kexian-phase")
    if phase != "all":
        chosen = [item for item in items if _uses(item, BOOK) == (phase == BOOK)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen
    ranks: dict[str, int] = {}
    for item in items:
        name, rank = group(item)
        config.stash[_GROUPS][item.nodeid] = name
        ranks[name] = max(rank, ranks.get(name, rank))
    if hasattr(config, "workerinput"):
        groups = config.stash[_GROUPS]
        items.sort(key=lambda item: -ranks[groups[item.nodeid]])
        Path(config.workerinput["kexian_groups"]).write_text(json.dumps(groups), encoding="utf-8")


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
    for fixture, name in ((BOOK, BOOK), ("small_book", "small book")):
        if _uses(item, fixture):
            return name, _RANKS[name]
    if jax:
        return f"{path}:jax", _RANKS["jax"]
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
        "tests/": "tests in " + "/".join(name.split("/")[:2]),
    }
    return next((words for part, words in known.items() if part in name), name)


class _Times:
    """Adds up the seconds of each group and lists the slowest."""

    def __init__(self, config: pytest.Config) -> None:
        self.groups = config.stash[_GROUPS]
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = self.groups.get(report.nodeid, report.nodeid.split("::")[0])
        self.seconds[name] = self.seconds.get(name, 0.0) + report.duration

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
