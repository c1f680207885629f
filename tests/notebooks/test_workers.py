"""Several test processes: groups stay whole and in order, and every way to end leaves nothing."""

import importlib.util
import os
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

@pytest.fixture(scope="session")
def book():
    return 1

def note(name):
    with open(os.environ["NOTES"], "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], os.environ["OMP_NUM_THREADS"], name, file=file)

@pytest.mark.parametrize("number", range(12))
def test_{name}(number):
    note(f"{name} {{number}}")

def test_skipped():
    pytest.skip("not here")

def test_fails():
    note("{name} 12")
    assert 1 == 2

def test_of_the_book(book):
    note("book")
"""


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
    (tmp_path / "tests").mkdir()
    for name in ("one", "two"):
        (tmp_path / "tests" / f"test_{name}.py").write_text(UNITS.format(name=name))
    mark = uuid.uuid4().hex
    variables = {MARK: mark, "NOTES": str(tmp_path / "notes"), "PYTHONPATH": str(fixtures.ROOT)}
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | variables
    variables.pop("OMP_NUM_THREADS", None)
    variables["KEXIAN_PREIMPORT"] = "ipykernel.kernelapp"  # no framework is needed here

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
    run = project("notebooks", "tests", "--kexian-phase=first")
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 1, output
    assert "4 failed, 39 passed, 2 skipped" in output
    assert "the kernel died in cell 1" in output
    copies = {path.stem for path in project.root.glob("_build/runs/*/*.ipynb")}
    assert copies == {"x", "y"}
    # Names are as they are without workers.
    assert re.search(r"^FAILED tests/test_one.py::test_fails - assert 1 == 2$", output, re.M)
    assert len(re.findall(r"^SKIPPED \[1\] tests/test_\w+.py:\d+: not here$", output, re.M)) == 2
    slowest = output[output.index("slowest groups, of") :]
    names = re.findall(r"^ +[\d.]+ s  (\S+)$", slowest, re.M)
    notebooks = [f"notebooks/{name}.ipynb" for name in "xyz"]
    assert sorted(names) == [*notebooks, "tests/test_one.py", "tests/test_two.py"]
    notes = [line.split() for line in (project.root / "notes").read_text().splitlines()]
    for name in ("one", "two"):
        mine = [note for note in notes if note[2] == name]
        assert [int(note[3]) for note in mine] == list(range(13))
        assert len({note[0] for note in mine}) == 1
    assert {note[1] for note in notes} == {"1"}


def test_the_book_has_a_phase_of_its_own(project):
    run = project("tests", "--kexian-phase=book", "-n0", "--collect-only", "-q")
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 0, output
    assert re.findall(r"^tests/.*", output, re.M) == [
        f"tests/test_{name}.py::test_of_the_book" for name in ("one", "two")
    ]


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


@pytest.mark.parametrize(
    ("number", "codes", "code", "phases"),
    [("1", [3], 3, 1), ("2", [1, 0], 1, 2), ("3", [0, 4], 4, 2), ("2", [2], 2, 1)],
)
def test_the_exit_codes_of_both_phases_count(driver, monkeypatch, number, codes, code, phases):
    calls, left = [], list(codes)
    monkeypatch.setenv("KEXIAN_JOBS", number)
    monkeypatch.setattr(driver, "run", lambda *options: calls.append(options) or left.pop(0))
    assert driver.main(["-x"]) == code
    assert len(calls) == phases
    assert all("-x" in options for options in calls)
    assert (f"-n{number}" in calls[0]) == (number != "1")


def test_a_wrong_number_of_processes_is_named(driver, monkeypatch):
    monkeypatch.setenv("KEXIAN_JOBS", "0")
    with pytest.raises(SystemExit, match="KEXIAN_JOBS must be a whole number from 1 on, got '0'"):
        driver.jobs()
    monkeypatch.delenv("KEXIAN_JOBS")
    assert 1 <= driver.jobs() <= os.cpu_count()
