"""Chapters on a Dask cluster: same records, and a lost worker loses nothing."""

import asyncio
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from kexian_utils.commands.main import main
from kexian_utils.runner.execution import cache, cluster, files
from kexian_utils.runner.execution.files import Setting

pytestmark = pytest.mark.in_turn("kexian_utils/runner/execution")

distributed = pytest.importorskip("distributed")

ROOT = Path(__file__).resolve().parents[2]
SMOKE = Setting("smoke")


@pytest.fixture
def checkout(empty_checkout):
    return empty_checkout


@pytest.fixture(scope="module")
def workers():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    ) as made:
        yield made


def gone(pid, seconds=15):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.1)
    return False


def test_records_are_those_of_a_run_on_this_machine(checkout, write_chapters, workers):
    code = "import numpy as np\nprint(profile, seed, repr(np.random.default_rng(seed).normal()))"
    (article, failing, other) = write_chapters(a6992=code, a7076="print(1); 1 / 0", a8397=code)
    options = ["run", "all", "--profile", "smoke", "--seed", "5"]
    result = CliRunner().invoke(main, [*options, "--scheduler", workers.scheduler_address])
    assert result.exit_code == 2, result.output
    assert "random-vector-angles.ipynb, code cell 2 (code): ZeroDivisionError" in result.stderr
    assert "1 of 3 chapters failed: 7076" in result.stderr
    setting = Setting("smoke", 5)
    kept = files.Run(checkout, failing, setting).failed
    assert str(kept) in result.stderr
    assert files.read_notebook(kept).cells[-1].outputs[0].text == "1\n"
    remote = files.read_notebook(files.Run(checkout, article, setting).copy)
    assert cache.finished_run(files.Run(checkout, article, setting)), "not taken up again"
    again = CliRunner().invoke(main, ["run", "6992", "8397", *options[2:]])
    assert again.output.count("is up to date") == 2
    CliRunner().invoke(main, [*options, "--no-cache"])
    local = files.read_notebook(files.Run(checkout, article, setting).copy)
    assert remote.cells[-1].outputs == local.cells[-1].outputs


def test_the_chapters_of_a_killed_worker_run_elsewhere(checkout, write_chapters, workers):
    # The first one who runs it finds no mark, leaves one, and waits to be killed.
    mark = checkout / "mark"
    code = (
        f"import os, time\nfrom pathlib import Path\nmark = Path({str(mark)!r})\n"
        "if not mark.exists():\n"
        "    mark.write_text(str(os.getpid()))\n    time.sleep(120)\nprint('done')"
    )
    articles = write_chapters(a6992=code, a7076="print('other')")
    outcomes = []
    running = cluster.run_on_cluster(checkout, articles, SMOKE, workers.scheduler_address)
    outcomes.append(next(running))
    assert outcomes[0].article.id == "7076"
    deadline = time.monotonic() + 60
    while not mark.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    kernel = int(mark.read_text())
    with distributed.Client(workers.scheduler_address, set_as_default=False) as client:
        (worker,) = [w for w, tasks in client.processing().items() if tasks]
        os.kill(client.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
    outcomes += list(running)
    assert [outcome.error for outcome in outcomes] == [None, None]
    copy = files.read_notebook(files.Run(checkout, articles[0], SMOKE).copy)
    assert copy.cells[-1].outputs[0].text == "done\n"
    assert gone(kernel), "the kernel of the killed worker is left"


def test_no_scheduler_no_workers_and_another_version_are_named(
    checkout, write_chapters, workers, monkeypatch
):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 2)
    (article,) = write_chapters(a6992="print(1)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        result = CliRunner().invoke(main, ["run", "6992", "--scheduler", nobody])
    assert result.exit_code == 3, result.output
    assert "no Dask scheduler answers" in result.stderr
    assert "Traceback" not in result.output
    result = CliRunner().invoke(main, ["run", "6992", "--scheduler", "nonsense://here"])
    assert result.exit_code == 3, result.output
    monkeypatch.setattr(cluster, "package_digest", lambda: "another")
    (outcome,) = cluster.run_on_cluster(checkout, [article], SMOKE, workers.scheduler_address)
    assert "another version of kexian_utils" in str(outcome.error)


def test_a_cluster_without_workers_is_refused(checkout, write_chapters):
    (article,) = write_chapters(a6992="print(1)")

    async def serve():
        async with distributed.Scheduler(port=0, dashboard=False) as scheduler:
            running = asyncio.get_running_loop()
            return await running.run_in_executor(
                None,
                lambda: CliRunner().invoke(main, ["run", "6992", "--scheduler", scheduler.address]),
            )

    with ThreadPoolExecutor(1) as thread:  # this one may have a loop already, of the browser
        result = thread.submit(lambda: asyncio.run(serve())).result()
    assert result.exit_code == 3, result.output
    assert "has no workers" in result.stderr
