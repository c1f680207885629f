"""Which chapters a push tries: read from real repositories of git, whole and shallow."""

import ast
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import project_notebooks
import pytest
import yaml
from project_notebooks import CHAPTERS, ROOT, cost_of_checks, smoked, some

from kexian_utils import catalogue
from kexian_utils.runner.checks import choice, pytest_groups
from kexian_utils.runner.checks.choice import (
    HistoryError,
    changed_paths,
    rotating,
    rotation,
    touched,
    turns,
)

FOUR = CHAPTERS[:4]


def git(folder, *words):
    free = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *words], cwd=folder, env=free, check=True, capture_output=True)


def commit(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with (folder / path).open("a") as file:
            file.write("one more line\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "why")


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """Four chapters in the first commit; then the second one's descriptor, prose, the third one."""
    folder = tmp_path_factory.mktemp("origin")
    git(folder, "init", "--quiet")
    commit(folder, "README.md", *(article.path for article in FOUR))
    commit(folder, FOUR[1].descriptor_path)
    commit(folder, "README.md")
    commit(folder, FOUR[2].path, "README.md")
    return folder


@pytest.fixture
def clone(origin, tmp_path, monkeypatch):
    """Clone the repository: clone("--depth", "1"). CI is not set."""
    monkeypatch.delenv("CI", raising=False)

    def make(*options):
        git(tmp_path, "clone", "--quiet", *options, origin.as_uri(), "clone")
        return tmp_path / "clone"

    return make


def test_a_whole_clone_says_what_was_touched(clone, monkeypatch):
    folder = clone()
    monkeypatch.setenv("CI", "true")
    assert touched(FOUR, folder, commits=1) == [FOUR[2]]
    assert touched(FOUR, folder, commits=3) == [FOUR[2], FOUR[1]]
    assert set(map(id, touched(FOUR, folder, commits=4))) == set(map(id, FOUR))
    (folder / FOUR[3].path).write_text("not committed")
    untracked = folder / FOUR[0].descriptor_path
    untracked.write_text("not added")
    assert {a.id for a in touched(FOUR, folder, commits=1)[:2]} == {FOUR[0].id, FOUR[3].id}
    assert touched(FOUR, folder, commits=1)[2:] == [FOUR[2]]


@pytest.mark.parametrize("depth", ["1", "3"])
def test_a_shallow_clone_is_refused_in_ci(clone, monkeypatch, depth):
    folder = clone("--depth", depth)
    # Outside CI only what is not committed counts; not all four, as git itself would say.
    assert touched(FOUR, folder) == []
    (folder / FOUR[3].path).write_text("not committed")
    assert touched(FOUR, folder) == [FOUR[3]]
    monkeypatch.setenv("CI", "true")
    for choose in (touched, some):
        with pytest.raises(HistoryError, match=r"only the latest commits.*`fetch-depth: 0`"):
            choose(FOUR, folder)


def test_an_archive_is_refused_in_ci(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    assert changed_paths(tmp_path) == []
    monkeypatch.setenv("CI", "true")
    with pytest.raises(HistoryError, match=r"git cannot be asked.*unset CI"):
        changed_paths(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HistoryError, match="git cannot be asked"):
        changed_paths(tmp_path)


def test_a_checkout_of_another_user_is_read_all_the_same(clone, monkeypatch):
    folder = clone()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # of git's own tests
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("HOME", str(folder))  # where no safe.directory is set
    assert touched(FOUR, folder, commits=1) == [FOUR[2]]


# -------------------------------------------------------------------------------- in turn, or late


@pytest.fixture
def everything_touched(monkeypatch):
    monkeypatch.setattr(project_notebooks, "WEEKLY", False)
    for module in (project_notebooks, choice):
        monkeypatch.setattr(module, "touched", lambda chapters, root: chapters[::-1])
    monkeypatch.setattr(project_notebooks, "IN_TURN", 1)
    monkeypatch.setattr(project_notebooks, "cost_of_checks", lambda article: 100)
    monkeypatch.setenv("KEXIAN_ROTATION", "0")


def split(parameters):
    late = [p.id for p in parameters if any(mark.name == "skip" for mark in p.marks)]
    return [p.id for p in parameters if p.id not in late], late


def test_a_push_that_touches_all_chapters_has_a_limit(everything_touched, monkeypatch):
    ids = [article.id for article in FOUR]
    # The first has its turn; the last was touched last.
    monkeypatch.setattr(project_notebooks, "SHARE", 300)
    assert split(some(FOUR)) == ([ids[0], ids[2], ids[3]], [ids[1]])
    monkeypatch.setattr(project_notebooks, "SHARE", 400)
    assert split(some(FOUR)) == (ids, [])
    monkeypatch.setattr(project_notebooks, "SHARE", 0)  # the latest in any case
    assert split(some(FOUR)) == ([ids[0], ids[3]], ids[1:3])
    monkeypatch.setattr(project_notebooks, "WEEKLY", True)
    assert split(some(FOUR)) == (ids, [])


def test_what_is_late_is_named_in_the_report(everything_touched, monkeypatch):
    monkeypatch.setattr(project_notebooks, "SHARE", 0)
    (mark,) = some(FOUR)[1].marks
    assert mark.kwargs["reason"].startswith("postponed: touched lately")


def test_costs_are_those_of_the_budget_and_the_mistakes():
    article = replace(FOUR[0], budget={"smoke": 8, "default": 9}, mistakes=())
    assert cost_of_checks(article) == 16 + 10 * 2
    mistakes = (catalogue.Mistake("C1", "a", "b"),) * 6
    assert cost_of_checks(replace(article, mistakes=mistakes)) == 16 + 10 * 5
    largest = replace(article, budget={})
    assert cost_of_checks(largest) == 40 + 22 * 2


@pytest.mark.parametrize("number", [1, 2, 12, 24, 35, 36])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("first", [0, 739_000], ids=["run number", "date"])
def test_every_chapter_has_its_turn_and_meets_every_seed(number, count, first):
    chapters = list(range(number))
    bound = -(-number // count)  # steps until all had their turn
    for begin in range(first, first + 5):
        steps = range(begin, begin + bound)
        assert {c for s in steps for c in rotating(chapters, count, s)} == set(chapters)
    met = {
        (chapter, turn % 3)
        for step in range(first, first + 3 * bound)
        for chapter, turn in turns(chapters, count, step)
    }
    assert met == {(chapter, seed) for chapter in chapters for seed in range(3)}


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_smoke_has_those_touched_last_and_every_chapter_in_turn(
    everything_touched, monkeypatch, backend
):
    monkeypatch.setattr(project_notebooks, "SMOKED", {backend: (2, 3)})
    seen = set()
    for step in range(len(CHAPTERS)):
        monkeypatch.setenv("KEXIAN_ROTATION", str(step))
        chosen = [article.id for article in smoked(CHAPTERS, backend)]
        assert {CHAPTERS[-1].id, CHAPTERS[-2].id} <= set(chosen)
        assert len(chosen) in (3, 4, 5)
        seen |= set(chosen)
    assert seen == {article.id for article in CHAPTERS}
    monkeypatch.setattr(project_notebooks, "WEEKLY", True)
    assert smoked(CHAPTERS, backend) == CHAPTERS


def test_rotation_reaches_every_chapter_equally_often():
    chapters = list("abcdefg")
    met = [name for step in range(7) for name in rotating(chapters, 2, step)]
    assert sorted(met) == sorted(chapters * 2)
    assert rotating(["a"], 2, 5) == ["a"]
    assert all(len(set(rotating(chapters, 2, step))) == 2 for step in range(20))


def test_the_number_of_the_run_or_the_day_is_the_step(monkeypatch):
    monkeypatch.setenv("KEXIAN_ROTATION", "12")
    assert rotation() == 12
    monkeypatch.setenv("KEXIAN_ROTATION", "x")
    with pytest.raises(ValueError, match="KEXIAN_ROTATION must be a whole number, got 'x'"):
        rotation()
    monkeypatch.delenv("KEXIAN_ROTATION")

    class Clock(choice.datetime.datetime):
        day = 1

        @classmethod
        def now(cls, zone):
            return cls(2026, 11, cls.day, 23, 59, tzinfo=zone)

    monkeypatch.setattr(choice.datetime, "datetime", Clock)
    today = rotation()
    Clock.day = 2
    assert rotation() == today + 1


WORKFLOWS = Path(__file__).resolve().parents[2] / ".github" / "workflows"


def jobs_that_test(name):
    jobs = yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))["jobs"]
    words = ("run_tests.py", ".ci/run", "make test", "pytest")
    return {key: job for key, job in jobs.items() if any(word in str(job) for word in words)}


@pytest.mark.parametrize("name", ["test.yml", "weekly.yml"])
def test_workflows_check_out_what_the_choice_needs(name):
    tested = jobs_that_test(name)
    assert {"book"} < set(tested)
    for job in tested.values():
        (checkout,) = (s for s in job["steps"] if "actions/checkout@" in s.get("uses", ""))
        assert checkout["with"]["fetch-depth"] == 0
        assert job["env"]["KEXIAN_ROTATION"] == "${{ github.run_number }}"


@pytest.mark.parametrize("name", ["test.yml", "weekly.yml"])
def test_workflows_leave_out_no_part_and_the_book_takes_all_of_them(name):
    tested = jobs_that_test(name)
    (part,) = (job for job in tested.values() if "--shard" in str(job))
    (command,) = (s["run"] for s in part["steps"] if "--shard" in s.get("run", ""))
    number = int(command.partition("--shard ${{ matrix.part }}/")[2])
    assert part["strategy"]["matrix"]["part"] == list(range(1, number + 1))
    assert not part["strategy"]["fail-fast"]
    book = tested["book"]
    assert tested[book["needs"]] is part
    (kept,) = (s["with"] for s in part["steps"] if "upload-artifact" in s.get("uses", ""))
    (taken,) = (s["with"] for s in book["steps"] if "download-artifact" in s.get("uses", ""))
    assert kept["path"].split() == ["_build/runs", "_build/costs"]  # of which _build is the base
    assert (taken["path"], taken["merge-multiple"]) == ("_build", True)
    assert taken["pattern"] == kept["name"].replace("${{ matrix.part }}", "*")
    assert (
        part["env"]["KEXIAN_MACHINE"] == book["env"]["KEXIAN_MACHINE"] == "run ${{ github.run_id }}"
    )


def test_the_lowest_releases_replace_those_of_the_lock():
    steps = jobs_that_test("weekly.yml")["lowest"]["steps"]
    (command,) = (s["run"] for s in steps if "lowest-direct" in s.get("run", ""))
    assert "--upgrade" in command.split()  # else whatever satisfies the ranges stays
    assert any("--phase units --phase jax" in s.get("run", "") for s in steps)


# ------------------------------------------------------------------------- costly tests of tools


class Item:
    """As much of a test as decides whether it waits for its turn."""

    def __init__(self, name, *marks):
        self.path, self.nodeid, self.marks = ROOT / f"tests/unit/test_{name}.py", name, marks

    def get_closest_marker(self, name):
        return next((mark for mark in self.marks if mark.name == name), None)


GUARDS = "kexian_utils/guarded"
COSTLY = [Item(f"tool_{n}", pytest.mark.in_turn(f"{GUARDS}/{n}.py").mark) for n in range(6)]
ON_JAX_ONLY = Item("jax", pytest.mark.in_turn(GUARDS, phase="jax").mark)


def waiting(monkeypatch, turn, *changed, phase="units"):
    monkeypatch.setattr(choice, "changed_paths", lambda root, commits: list(changed))
    monkeypatch.setenv("KEXIAN_ROTATION", str(turn))
    items = [Item("cheap"), ON_JAX_ONLY, *COSTLY]
    names = {item.nodeid: item.nodeid for item in items}
    costs = dict.fromkeys(names, 10.0)
    late = pytest_groups.wait_their_turn(items, phase, names, costs, ROOT)
    return {item.nodeid for item in late}


def test_costly_tests_take_turns(monkeypatch):
    every = {item.nodeid for item in COSTLY}
    ran = [every - waiting(monkeypatch, turn) for turn in range(3)]
    assert [len(names) for names in ran] == [2, 2, 2]
    assert set.union(*ran) == every
    assert all("jax" not in waiting(monkeypatch, turn) for turn in range(3))
    on_jax = [waiting(monkeypatch, turn, phase="jax") for turn in range(3)]
    assert sum("jax" in names for names in on_jax) == 2


@pytest.mark.parametrize(
    ("changed", "count"),
    [
        (f"{GUARDS}/3.py", 1),
        ("tests/unit/test_tool_3.py", 1),
        (f"{GUARDS}/3.pyi", 0),
        ("kexian_utils/other.py", 0),
        ("uv.lock", 6),
    ],
)
def test_a_costly_test_runs_when_what_it_guards_was_touched(monkeypatch, changed, count):
    for turn in range(3):
        idle, touched_one = waiting(monkeypatch, turn), waiting(monkeypatch, turn, changed)
        assert idle - touched_one == (idle if count == 6 else {"tool_3"} & idle if count else set())


def test_what_costly_tests_guard_exists():
    """A guard of a file that has moved would never wake its test."""
    found = [
        (path, guard.value)
        for path in ROOT.glob("tests/*/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.in_turn"
        for guard in node.args
        if isinstance(guard, ast.Constant)
    ]
    assert len(found) > 20
    assert [(p.name, guard) for p, guard in found if not (ROOT / guard).exists()] == []
