"""Several chapters at a time: order, failures, interruption, digits."""

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from kexian_utils import catalogue
from kexian_utils.commands.main import main
from kexian_utils.errors import KexianError
from kexian_utils.runner.execution import budgets, cells, files, pool
from kexian_utils.runner.execution.files import Setting

pytestmark = pytest.mark.in_turn("kexian_utils/runner/execution")

ROOT = Path(__file__).resolve().parents[2]
SMOKE = Setting("smoke")


@pytest.fixture
def checkout(empty_checkout):
    return empty_checkout


def text_of(root, article, setting=SMOKE):
    notebook = files.read_notebook(files.Run(root, article, setting).copy)
    return "".join(output.get("text", "") for output in notebook.cells[-1].outputs)


def test_kernels_run_beside_each_other_in_their_own_folders(checkout, write_chapters):
    # Each waits until the other has begun: one after the other they would wait in vain.
    wait = (
        "import os, time\nfrom pathlib import Path\nPath('../{mine}').touch()\n"
        "for _ in range(400):\n    if Path('../{other}').exists():\n        break\n"
        "    time.sleep(0.05)\nprint(Path('../{other}').exists(), os.getcwd())"
    )
    articles = write_chapters(
        a6992=wait.format(mine="one", other="two"),
        a7076=wait.format(mine="two", other="one"),
    )
    here = os.getcwd()
    outcomes = list(pool.run_articles(checkout, articles, SMOKE, jobs=2))
    assert [outcome.error for outcome in outcomes] == [None, None]
    for article in articles:
        assert text_of(checkout, article) == f"True {(checkout / article.path).parent}\n"
    assert os.getcwd() == here


def test_the_longest_comes_first(checkout, write_chapters, monkeypatch):
    code = "import time; print(time.time())"
    articles = write_chapters(a6992=code, a7076=code, a8397=code)
    expected = {"6992": 1.0, "7076": 30.0, "8397": 10.0}
    monkeypatch.setattr(budgets, "expected_seconds", lambda run: expected[run.article.id])
    outcomes = list(pool.run_articles(checkout, articles, SMOKE, jobs=1))
    began = sorted(articles, key=lambda article: float(text_of(checkout, article)))
    assert [article.id for article in began] == ["7076", "8397", "6992"]
    assert [outcome.left for outcome in outcomes] == [11.0, 1.0, 0.0]


def test_a_failure_is_named_by_cell_and_stops_no_other(checkout, write_chapters):
    write_chapters(a6992="1 / 0", a7076="print('fine')", a8397="import os; os._exit(9)")
    result = CliRunner().invoke(main, ["run", "all", "--profile", "smoke", "--jobs", "2"])
    assert result.exit_code == 3  # the worst of them: a kernel died
    assert "batch-normalization.ipynb, code cell 2 (code): ZeroDivisionError" in result.stderr
    assert "rope-2d.ipynb: the kernel died" in result.stderr
    assert "2 of 3 chapters failed" in result.stderr
    assert "random-vector-angles ran in" in result.stdout
    kept = checkout / "_build/runs/smoke-s0-tensorflow/transformers/rope-2d.failed.ipynb"
    assert kept.is_file()


def test_ctrl_c_ends_all_kernels_and_keeps_what_is_finished(checkout, write_chapters):
    sleep = "import os, time\nfrom pathlib import Path\nPath('pid').write_text(str(os.getpid()))\n"
    write_chapters(
        a7533="print('quick')",
        a6992=sleep + "time.sleep(60)",
        a7076=sleep + "time.sleep(60)",
    )
    quick = checkout / catalogue.load(checkout).article("7533").descriptor_path
    with quick.open("a", encoding="utf-8") as file:
        file.write("\n[budget]\nsmoke = 20\ndefault = 20\n")
    command = [sys.executable, "-m", "kexian_utils.commands.main", "run", "all", "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--profile", "smoke"],
        cwd=checkout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    pids = []
    deadline = time.monotonic() + 120
    while len(pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
        pids = [p.read_text() for p in checkout.glob("notebooks/*/pid") if p.read_text()]
    assert len(pids) == 2
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; what was finished is kept" in errors
    assert "Traceback" not in errors
    for pid in pids:
        assert not Path(f"/proc/{pid}").exists(), "a kernel is left"
    runs = checkout / "_build" / "runs" / "smoke-s0-tensorflow"
    assert "ran in" in output
    assert [path.name for path in runs.rglob("*.ipynb")] == ["integrated-gradients.ipynb"]
    again = subprocess.run(
        [sys.executable, "-m", "kexian_utils.commands.main", "run", "7533", "--profile", "smoke"],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert "up to date" in again.stdout


def test_the_number_of_jobs_changes_no_digit(checkout, write_chapters):
    code = "import numpy as np\nx = np.random.default_rng({}).normal(size=(400, 400))\n"
    code += "print(repr(np.linalg.svd(x @ x.T)[1].sum()), np.linalg.inv(x).tobytes().hex()[:200])"
    articles = write_chapters(a6992=code.format(1), a7076=code.format(2), a8397=code.format(3))
    said = []
    for jobs in (1, 3):
        assert all(
            outcome.error is None
            for outcome in pool.run_articles(checkout, articles, SMOKE, jobs=jobs, cache=False)
        )
        said.append([text_of(checkout, article) for article in articles])
    assert said[0] == said[1]
    assert len(set(said[0])) == 3


def test_the_memory_of_a_forked_kernel_counts(checkout, write_chapters):
    (article,) = write_chapters(a6992="data = b'1' * 2**29; print(len(data))")
    output = checkout / "out.ipynb"
    command = (
        "import sys; from pathlib import Path\n"
        "from kexian_utils.runner.execution.execute import Setting, run_notebook\n"
        "path, output = map(Path, sys.argv[1:])\n"
        "print(run_notebook(path, output, Setting('smoke')).peak_mib)"
    )  # in a process of its own, which has had no other children
    arguments = [sys.executable, "-c", command, str(checkout / article.path), str(output)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert 512 < float(done.stdout.split()[-1]) < 1024


def test_with_a_gpu_it_is_one_at_a_time(checkout, write_chapters, monkeypatch):
    code = "import time; print(time.time()); time.sleep(1); print(time.time())"
    articles = write_chapters(a6992=code, a7076=code)
    monkeypatch.setattr(pool, "gpu_in_sight", lambda: True)
    list(pool.run_articles(checkout, articles, SMOKE, jobs=2))
    spans = sorted(tuple(map(float, text_of(checkout, a).split())) for a in articles)
    assert spans[0][1] <= spans[1][0]


def test_bad_numbers_of_jobs_are_refused(checkout, write_chapters):
    articles = write_chapters(a6992="1")
    with pytest.raises(ValueError, match="jobs must be a whole number from 1 on, got 0"):
        list(pool.run_articles(checkout, articles, SMOKE, jobs=0))
    assert CliRunner().invoke(main, ["run", "6992", "--jobs", "0"]).exit_code == 2
    assert pool.default_jobs() >= 1
    assert pool.default_jobs(gib_each=10_000) == 1


def test_other_threads_do_not_see_the_backend_of_a_run(checkout, write_chapters):
    (article,) = write_chapters(a6992="import os; print(os.environ['KERAS_BACKEND'])")
    seen = set()
    stop = threading.Event()

    def look():
        while not stop.wait(0.01):
            seen.add(os.environ.get("KERAS_BACKEND"))

    watcher = threading.Thread(target=look)
    watcher.start()
    setting = Setting("smoke", 0, "jax")
    list(pool.run_articles(checkout, [article], setting))
    stop.set()
    watcher.join()
    assert text_of(checkout, article, setting) == "jax\n"
    assert seen == {None}


# -- comparing with another reference -------------------------------------------------------------


def test_check_against_a_folder(checkout, write_chapters):
    write_chapters(a6992="print(profile)", a7076="print('same')")
    run = CliRunner().invoke
    assert run(main, ["run", "all", "--profile", "smoke"]).exit_code == 0
    reference = checkout / "_build" / "reference"
    (checkout / "_build/runs/smoke-s0-tensorflow").rename(reference)
    options = ["--profile", "smoke", "--against", str(reference)]
    result = run(main, ["check", "all", *options])
    assert result.exit_code == 0, result.output
    write_chapters(a6992="print(profile + 'er')")
    result = run(main, ["check", "all", *options])
    assert result.exit_code == 1, result.output
    assert "6992" in result.output
    assert "7076 random-vector-angles: the fresh run says the same" in result.output
    refused = run(main, ["check", "all", "--profile", "smoke"])
    assert refused.exit_code == 2
    assert "--against" in refused.stderr


# -- budgets --------------------------------------------------------------------------------------


def test_each_written_chapter_of_the_book_has_a_budget_and_no_other():
    for article in catalogue.load(ROOT).articles:
        assert bool(article.budget) == (ROOT / article.path).is_file(), article.descriptor_path


def test_a_run_over_its_budget_is_named(checkout):
    path = checkout / catalogue.load(checkout).article("6992").descriptor_path
    head = path.read_text(encoding="utf-8")

    def article(budget):
        path.write_text(f"{head}\n[budget]\n{budget}\n", encoding="utf-8")
        return catalogue.load(checkout).article("6992")

    plain = article("smoke = 4\ndefault = 40")
    record = {"profile": "smoke", "cpu_seconds": 7.9, "backend": "tensorflow"}
    assert budgets.exceeded(plain, record) is None
    assert "allows 4" in budgets.exceeded(plain, record | {"cpu_seconds": 8.1})
    assert budgets.exceeded(plain, record | {"profile": "full"}) is None
    assert "allows 4" in budgets.exceeded(plain, record | {"cpu_seconds": 8.1, "backend": "jax"})
    run = files.Run(checkout, plain, SMOKE)
    assert budgets.expected_seconds(run) == 4
    files.write_text(run.record, json.dumps({"seconds": 3.5}))
    assert budgets.expected_seconds(run) == 3.5
    own = article("smoke = 4\nsmoke-jax = 5\ndefault = 40")
    assert "allows 4" in budgets.exceeded(own, record | {"cpu_seconds": 8.1})
    on_jax = record | {"backend": "jax"}
    assert budgets.exceeded(own, on_jax | {"cpu_seconds": 9.9}) is None
    assert "allows 5" in budgets.exceeded(own, on_jax | {"cpu_seconds": 10.1})
    with pytest.raises(KexianError, match=r"random-vector-angles.toml has no \[budget\]"):
        budgets.exceeded(catalogue.load(checkout).article("7076"), record)


RUN = {"profile": "default", "backend": "tensorflow", "cpu_seconds": 31.0}


@pytest.mark.parametrize(
    ("budget", "run", "entries"),
    [
        ({}, {"cpu_seconds": 20.0}, {"smoke": 10, "smoke-jax": 15, "default": 24}),
        ({"default": 60}, {}, {}),
        ({"default": 31}, {}, {}),
        ({"default": 30}, {}, {"default": 40}),
        ({"default": 70}, {}, {"default": 40}),
        ({"default": 60}, {"cpu_seconds": 80.0}, {"default": 90}),
        ({"smoke": 10}, {"profile": "smoke", "cpu_seconds": 4.5}, {"smoke": 6}),
        ({"smoke": 10}, {"profile": "smoke", "cpu_seconds": 0.0}, {"smoke": 1}),
        ({"smoke": 10}, {"profile": "smoke", "backend": "jax", "cpu_seconds": 9.0}, {}),
        (
            {"smoke": 9},
            {"profile": "smoke", "backend": "jax", "cpu_seconds": 10},
            {"smoke-jax": 12},
        ),
        ({"smoke": 9}, {"profile": "smoke", "backend": "none", "cpu_seconds": 8.0}, {}),
        ({"smoke": 9}, {"profile": "study", "cpu_seconds": 900.0}, {}),
    ],
)
def test_a_measured_run_proposes_a_budget(checkout, budget, run, entries):
    article = replace(catalogue.load(checkout).article("6992"), budget=budget)
    assert budgets.proposed(article, [RUN | run]) == entries
    with pytest.raises(KexianError, match="no chapter may ask for more than 90"):
        budgets.proposed(article, [RUN | {"cpu_seconds": 90.1}])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "[budget] # seconds\nsmoke = 4 # few\ndefault = 40\n\n[exemptions]\nexempt = 0 # yes\n",
            "[budget] # seconds\nsmoke = 6 # few\ndefault = 40\nsmoke-jax = 9\n\n"
            "[exemptions]\nexempt = 0 # yes\n",
        ),
        (
            "[budget]\nsmoke = 1\ndefault = 40",
            "[budget]\nsmoke = 6\ndefault = 40\nsmoke-jax = 9\n",
        ),
        (
            "[budget]\ndefault = 40\nsmoke = 3.5\n[[mistake]] # smoke = 3\nclaim = 'C1'\n"
            "find = 'smoke = 1'\nreplace = 'x'\n",
            "[budget]\ndefault = 40\nsmoke = 6\nsmoke-jax = 9\n[[mistake]] # smoke = 3\n"
            "claim = 'C1'\nfind = 'smoke = 1'\nreplace = 'x'\n",
        ),
    ],
)
def test_a_budget_is_written_and_nothing_else(checkout, before, after):
    path = checkout / catalogue.load(checkout).article("6992").descriptor_path
    head = path.read_text(encoding="utf-8") + "\n"
    path.write_text(head + before, encoding="utf-8")
    article = catalogue.load(checkout).article("6992")
    budgets.write(checkout, article, {"smoke": 6, "smoke-jax": 9})
    assert path.read_text(encoding="utf-8") == head + after


def test_accept_puts_the_measured_budget_into_the_descriptor(checkout, write_chapters):
    record = json.dumps(RUN | {"phase": "finish", "cpu_seconds": 20.0})
    (article,) = write_chapters(
        a6992="from IPython.display import display\n"
        f"display({{'application/vnd.kexian.run+json': {record}}}, raw=True)"
    )
    result = CliRunner().invoke(main, ["accept", "6992", "--yes"])
    assert "put smoke = 10, smoke-jax = 15, default = 24 (CPU" in result.output, result.output
    path = checkout / article.descriptor_path
    assert path.read_text(encoding="utf-8").endswith(
        "\n\n[budget]\nsmoke = 10\nsmoke-jax = 15\ndefault = 24\n"
    )


def test_a_chapter_that_is_too_slow_is_named_and_holds_up_no_other(checkout, write_chapters):
    def record(seconds):
        return (
            "from IPython.display import display\n"
            f"display({{'application/vnd.kexian.run+json': "
            f"{json.dumps(RUN | {'phase': 'finish', 'cpu_seconds': seconds})}}}, raw=True)"
        )

    articles = write_chapters(a6992=record(200.0), a7533=record(20.0))
    result = CliRunner().invoke(main, ["accept", "all", "--yes", "--jobs", "1"])
    assert "200.0 CPU seconds" in result.output, result.output
    assert result.exit_code == 1
    assert [f"stored {article.path}" in result.output for article in articles] == [True, True]
    assert "default = 24 (CPU" in result.output


def test_one_thread_parses_at_a_time(monkeypatch):
    inside, most = [], []

    def slow_parse(source):
        inside.append(source)
        most.append(len(inside))
        time.sleep(0.02)
        inside.remove(source)
        return ast.Module([], [])

    monkeypatch.setattr(ast, "parse", slow_parse)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(cells.parse, "abcd"))
    assert most == [1, 1, 1, 1]


def test_commands_start_without_what_they_do_not_need():
    script = (
        "import sys, kexian_utils.runner.execution.pool, kexian_utils.runner.checks.compare\n"
        "print({'matplotlib', 'scipy', 'keras', 'papermill'} & set(sys.modules), "
        "sys.modules['rfc3987_syntax'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set() None", done.stdout + done.stderr
