"""Several test processes: groups stay whole and in order, and every way to end leaves nothing."""

import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import uuid

import fixture_notebooks as fixtures
import nbformat
import psutil
import pytest

from kexian_utils.runner.checks import pytest_groups as workers

pytestmark = pytest.mark.in_turn(
    "kexian_utils/runner/checks/pytest_groups.py", "tools/run_tests.py"
)

COMMAND = [
    *(sys.executable, "-m", "pytest", "-c", os.devnull, "-p", "no:cacheprovider", "--color=no"),
    *(
        "-p",
        "kexian_utils.runner.checks.nbval_plugin",
        "-p",
        "kexian_utils.runner.checks.pytest_groups",
        "--nbval",
    ),
    *("-ra", "-n2"),
]
MARK = "KEXIAN_TEST_OF_WORKERS"
UNITS = """
import os, pytest

def note(name):
    with open(os.environ["NOTES"], "a") as file:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "none")
        print(worker, os.environ.get("OMP_NUM_THREADS", "any"), name, file=file)

@pytest.mark.parametrize("number", range(12))
def test_{name}(number):
    note(f"{name} {{number}}")

def test_skipped():
    pytest.skip("not here")

def test_fails():
    note("{name} 12")
    assert 1 == 2

@pytest.mark.backends
def test_on_both():
    note(os.environ["KERAS_BACKEND"] + " " + os.environ.get("XLA_FLAGS", ""))
"""
OTHERS = {
    "tests/book/test_pages.py": "def test_of_the_book(book):\n    pass\n",
    "tests/book/conftest.py": "import pytest\n\n@pytest.fixture\ndef book():\n    return 1\n",
    "tests/notebooks/test_chapters.py": (
        "import pytest\n\n@pytest.mark.chapters\ndef test_runs():\n    pass\n\n"
        "def test_reads():\n    pass\n"
    ),
}


def chapter(*sources):
    """A notebook without framework whose cells exchange a variable."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(s, execution_count=1) for s in sources]
    for cell in notebook.cells:
        cell.metadata["tags"] = ["nbval-ignore-output"]
    return notebook


@pytest.fixture
def project(tmp_path):
    """A folder with two notebooks and two files of tests, and how to start pytest there."""
    (tmp_path / "notebooks").mkdir()
    files = {f"tests/unit/test_{name}.py": UNITS.format(name=name) for name in ("one", "two")}
    for path, text in (files | OTHERS).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    mark = uuid.uuid4().hex
    variables = {MARK: mark, "NOTES": str(tmp_path / "notes"), "PYTHONPATH": str(fixtures.ROOT)}
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | variables
    variables.pop("OMP_NUM_THREADS", None)
    variables["KEXIAN_PREIMPORT"] = "ipykernel.kernelapp"  # no framework is needed here
    variables["KERAS_BACKEND"] = "tensorflow"

    def start(*options):
        return subprocess.Popen(
            [*COMMAND, f"--rootdir={tmp_path}", *map(str, options)],
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    start.root, start.mark = tmp_path, mark
    yield start
    left = processes(mark)
    for process in left:
        process.kill()
    assert not left


def processes(mark):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            pass
    return found


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_groups_stay_whole_and_in_order_and_a_killed_kernel_fails_alone(project):
    sources = ["a = [0]", *[f"assert a.pop() == {k}\na.append({k + 1})" for k in range(6)]]
    killed = ["a = 1", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "a"]
    for name, cells in {"x": sources, "y": sources, "z": killed}.items():
        nbformat.write(chapter(*cells), project.root / "notebooks" / f"{name}.ipynb")
    costs = project.root / "_build" / "costs" / "all.json"
    run = project("notebooks", "tests/unit", f"--kexian-costs={costs}")
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 1, output
    assert "4 failed, 41 passed, 2 skipped" in output
    assert "the kernel died in cell 1" in output
    copies = {path.stem for path in project.root.glob("_build/runs/*/*.ipynb")}
    assert copies == {"x", "y"}
    # Names are as they are without workers.
    assert re.search(r"^FAILED tests/unit/test_one.py::test_fails - assert 1 == 2$", output, re.M)
    assert len(re.findall(r"^SKIPPED \[1\] tests/\S+.py:\d+: not here$", output, re.M)) == 2
    slowest = output[output.index("slowest groups, of") :]
    names = re.findall(r"^ +[\d.]+ s  (\S+)$", slowest, re.M)
    notebooks = [f"notebooks/{name}.ipynb" for name in "xyz"]
    files = [f"tests/unit/test_{name}.py" for name in ("one", "two")]
    assert sorted(names) == [*notebooks, *files]
    record = json.loads(costs.read_text())
    assert sorted(record["groups"]) == sorted(names)
    assert all(seconds >= 0 for seconds in record["groups"].values())
    assert len(record["tests"]) == 45  # without those that were skipped
    assert sum(record["tests"].values()) == pytest.approx(sum(record["groups"].values()), abs=1)
    assert (record["phase"], record["processes"]) == ("all", 2)
    assert 0 < sum(record["groups"].values()) < 2 * record["wall"]
    notes = [line.split() for line in (project.root / "notes").read_text().splitlines()]
    for name in ("one", "two"):
        mine = [note for note in notes if note[2] == name]
        assert [int(note[3]) for note in mine] == list(range(13))
        assert len({note[0] for note in mine}) == 1
    assert {note[1] for note in notes} == {"1"}


class Names:
    """Keeps the names of what was collected and not deselected."""

    def pytest_collection_finish(self, session):
        self.names = [item.nodeid for item in session.items]


@pytest.fixture
def collected(project, monkeypatch):
    """Collect in this process, which takes a tenth of the time: names, or the exit code."""
    for name in ("KERAS_BACKEND", "XLA_FLAGS"):
        monkeypatch.setenv(name, "")  # the phase sets them; they are as before at the end
    monkeypatch.chdir(project.root)

    def collect(*options):
        found = Names()
        options = [*COMMAND[3:-1], f"--rootdir={project.root}", "--import-mode=importlib", *options]
        before = set(sys.modules)
        code = pytest.main([*map(str, options), "-n0", "--collect-only", "-q"], plugins=[found])
        for name in set(sys.modules) - before:
            if name.split(".")[0] == "tests":  # another project has modules of these names
                del sys.modules[name]
        return found.names if code in (0, 5) else code

    return collect


def test_each_test_has_its_phase_and_the_marked_ones_a_second(project, collected):
    nbformat.write(chapter("a = 1", "a"), project.root / "notebooks" / "x.ipynb")
    found = {
        phase: collected(*folders, f"--kexian-phase={phase}")
        for phase, folders in workers.PHASES.items()
    }
    assert found["book"] == ["tests/book/test_pages.py::test_of_the_book"]
    assert found["chapters"] == [
        *(f"notebooks/x.ipynb::Cell {number}" for number in (0, 1)),
        "tests/notebooks/test_chapters.py::test_runs",
    ]
    twice = [f"tests/unit/test_{name}.py::test_on_both" for name in ("one", "two")]
    assert found["jax"] == twice
    once = [name for phase in ("units", "chapters", "book") for name in found[phase]]
    assert sorted(once) == sorted(collected("notebooks", "tests"))
    assert set(twice) <= set(found["units"])


def test_the_phase_of_jax_runs_on_jax(project):
    run = project("tests/unit", "--kexian-phase=jax", "-n0")  # workers inherit the variables
    assert run.wait(timeout=120) == 0
    notes = [line.split()[2:] for line in (project.root / "notes").read_text().splitlines()]
    assert [words[0] for words in notes] == ["jax"] * 2
    assert all("--xla_backend_optimization_level=0" in words for words in notes)


@pytest.mark.parametrize(
    ("path", "text", "phase"),
    [
        ("tests/test_x.py", "@pytest.mark.backends\ndef test_x(): pass", "jax"),
        ("tests/unit/test_x.py", "@pytest.mark.chapters\ndef test_x(): pass", "chapters"),
        ("tests/unit/test_x.py", "@pytest.mark.usefixtures('book')\ndef test_x(): pass", "book"),
    ],
)
def test_a_test_that_its_phase_would_not_find_is_refused(
    project, collected, capsys, path, text, phase
):
    (project.root / path).write_text(f"import pytest\n{text}\n")
    assert collected("tests", "--kexian-phase=units") == 4
    assert f"{path} holds a test of the phase {phase}, which collects" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_test_is_in_exactly_one_shard(project, collected, count):
    for name in "xyz":
        nbformat.write(chapter("a = 1", "a"), project.root / "notebooks" / f"{name}.ipynb")
    (project.root / workers.COSTS).write_text('{"notebooks/y.ipynb": 1000}')
    parts = [
        collected("notebooks", "tests", f"--kexian-shard={number + 1}/{count}")
        for number in range(count)
    ]
    every = collected("notebooks", "tests")
    assert sorted(sum(parts, [])) == sorted(every)
    homes = [{name.split("::")[0] for name in part} for part in parts]
    assert sum(map(len, homes)) == len(set().union(*homes)) or count == 7  # groups are files here
    assert parts == [[name for name in every if name in set(part)] for part in parts], (
        "the order within a part is that of all"
    )
    if count > 1:  # the long one stays alone
        assert {"notebooks/y.ipynb"} in homes


def test_parts_cost_about_the_same_and_are_the_same_every_time():
    rng = random.Random(0)
    costs = {f"group {k}": rng.lognormvariate(3, 1) for k in range(200)}
    for count in (1, 2, 4, 6):
        parts = workers.divide(costs, count)
        assert set().union(*parts) == set(costs)
        assert sum(map(len, parts)) == len(costs)
        totals = [sum(costs[name] for name in part) for part in parts]
        assert max(totals) < 1.02 * min(totals)
        assert parts == workers.divide(dict(reversed(costs.items())), count)
    assert workers.divide({"a": 1.0}, 3) == [{"a"}, set(), set()]
    assert list(map(len, workers.divide(dict.fromkeys("abcdef", 0.0), 3))) == [2, 2, 2]


@pytest.mark.parametrize("text", ["[1]", "{", '{"tests/unit/test_one.py": "long"}'])
def test_a_damaged_file_of_costs_is_named(project, collected, capsys, text):
    (project.root / workers.COSTS).write_text(text)
    assert collected("tests") == 4
    assert "tests/costs.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3"])
def test_a_wrong_part_is_named(driver, capsys, text):
    with pytest.raises(SystemExit):
        driver.main([f"--shard={text}"])
    assert f"must look like 2/4, from 1/4 to 4/4, got '{text}'" in capsys.readouterr().err


SLEEP = (
    "import os, pathlib, time\npathlib.Path('{there}.part').write_text(str(os.getpid()))\n"
    "os.rename('{there}.part', '{there}')\ntime.sleep(600)"
)


@pytest.mark.parametrize("how", ["a worker is killed", "Ctrl-C"])
def test_no_kernel_is_left_behind(project, how):
    there = project.root / "there"
    nbformat.write(chapter("a = 1", SLEEP.format(there=there)), project.root / "notebooks/x.ipynb")
    nbformat.write(chapter("a = 1", "a"), project.root / "notebooks/y.ipynb")
    run = project("notebooks", "--max-worker-restart=0")
    wait_until(there.exists)
    if how == "Ctrl-C":
        run.send_signal(signal.SIGINT)
    else:
        kernel = psutil.Process(int(there.read_text()))
        template = kernel.parent()
        assert "template.py" in " ".join(template.cmdline())
        template.parent().kill()
    output = run.communicate(timeout=60)[0]
    assert run.returncode == (2 if how == "Ctrl-C" else 1), output
    wait_until(lambda: not processes(project.mark), 15)


@pytest.fixture
def driver():
    spec = importlib.util.spec_from_file_location("run_tests", fixtures.ROOT / "tools/run_tests.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FOUR = ["units", "jax", "chapters", "book"]


@pytest.mark.parametrize(
    ("arguments", "codes", "code", "phases"),
    [
        ([], [0, 0, 0, 0], 0, FOUR),
        ([], [0, 3, 1, 0], 3, FOUR),
        ([], [0, 0, 0, 4], 4, FOUR),
        ([], [1, 2], 1, FOUR[:2]),  # interrupted
        ([], [0, 5, 5, 5], 0, FOUR),
        ([], [5, 5, 5, 5], 5, FOUR),  # no test at all
        (["--shard", "2/3"], [0, 0, 1], 1, FOUR[:3]),
        (["--phase=book"], [0], 0, ["book"]),
        (["--phase=jax", "--phase=units"], [5, 0], 0, ["jax", "units"]),
    ],
)
@pytest.mark.parametrize("number", ["1", "2"])
def test_the_exit_codes_of_all_phases_count(
    driver, monkeypatch, capsys, number, arguments, codes, code, phases
):
    calls, left = [], list(codes)
    monkeypatch.setenv("KEXIAN_JOBS", number)
    monkeypatch.setattr(driver, "run", lambda *options: calls.append(options) or left.pop(0))
    assert driver.main([*arguments, "-x"]) == code
    assert [options[0] for options in calls] == [f"--kexian-phase={phase}" for phase in phases]
    shown = capsys.readouterr().out
    for phase, options in zip(phases, calls, strict=True):
        assert "-x" in options
        of = "-2of3" if "--shard" in arguments else ""
        assert f"--kexian-costs=_build/costs/{phase}{of}.json" in options
        assert set(workers.PHASES[phase]) <= set(options)
        divided = phase != "book"
        assert ("-n2" in options) == (number == "2")
        part = "2/3" if "--shard" in arguments else "1/1"
        assert (f"--kexian-shard={part}" in options) == divided
        assert f"kexian: {driver.WORDS[phase]}: exit code " in shown


def test_the_first_failed_phase_is_the_last_if_wanted(driver, monkeypatch):
    monkeypatch.setenv("KEXIAN_JOBS", "2")
    for setting, number in (("1", 2), ("0", 4), ("", 4)):
        calls = []
        monkeypatch.setenv("KEXIAN_FAIL_FAST", setting)
        answers = iter([5, 1, 1, 1])
        monkeypatch.setattr(driver, "run", lambda *o, a=answers, c=calls: c.append(o) or next(a))
        assert driver.main([]) == 1
        assert len(calls) == number


def test_the_book_cannot_be_divided(driver, capsys):
    with pytest.raises(SystemExit):
        driver.main(["--phase=book", "--shard=1/2"])
    assert "cannot be divided; run it with --phase book" in capsys.readouterr().err


def test_a_wrong_number_of_processes_is_named(driver, monkeypatch):
    monkeypatch.setenv("KEXIAN_JOBS", "0")
    with pytest.raises(SystemExit, match="KEXIAN_JOBS must be a whole number from 1 on, got '0'"):
        driver.jobs()
    monkeypatch.delenv("KEXIAN_JOBS")
    assert 1 <= driver.jobs() <= os.cpu_count()
