"""Running chapters on the workers of a Dask cluster, with the records of a run on this machine.

The workers need the same checkout of `kexian_utils`, installed as here; each chapter travels as
text and comes back executed. A worker that is lost in the middle is no failure: the scheduler hands
its chapter to another one.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kexian_utils.catalogue import Article
from kexian_utils.errors import ENVIRONMENT, KexianError
from kexian_utils.runner.execution import budgets
from kexian_utils.runner.execution.cache import finished_run, run_key, write_record
from kexian_utils.runner.execution.dependencies import content_digest
from kexian_utils.runner.execution.execute import RunResult, run_notebook
from kexian_utils.runner.execution.files import Run, Setting, failed_path, read_notebook, write_text
from kexian_utils.runner.execution.pool import Outcome, as_they_end

CONNECT_SECONDS = 15


def package_digest() -> str:
    """A digest of the modules of `kexian_utils` as they are installed here."""
    base = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for path in sorted(base.rglob("*.py")):
        digest.update(f"{path.relative_to(base)} {content_digest(path)}\n".encode())
    return digest.hexdigest()


def execute_task(task: dict[str, Any]) -> dict[str, Any]:
    """On a worker: run the notebook of a task and return the executed copy, or the error.

    Args:
        task: as `_task` makes it.

    Returns:
        "files" (name to text: the copy with its record, or what was kept of a failed run) and the
        "folder" where they were, "seconds" and "peak_mib", or "error" and its "code".
    """
    if task["package"] != package_digest():
        return {
            "error": f"{task['name']}: a worker has another version of kexian_utils; install this "
            "checkout there and restart the workers.",
            "code": ENVIRONMENT,
        }
    setting = Setting(**task["setting"])
    with tempfile.TemporaryDirectory(prefix="kexian-task-") as folder:
        for name, text in task["files"].items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        output = Path(folder) / "runs" / task["name"]
        answer: dict[str, Any] = {"folder": str(output.parent)}
        try:
            result = run_notebook(
                Path(folder) / task["name"], output, setting, timeout=task["timeout"]
            )
            write_record(output, task["key"], setting, result.seconds, result.peak_mib)
            answer |= {"seconds": result.seconds, "peak_mib": result.peak_mib}
        except KexianError as error:
            answer |= {"error": str(error), "code": error.code}
        files = {path.name: path.read_text(encoding="utf-8") for path in output.parent.glob("*")}
        return answer | {"files": files}


def run_on_cluster(
    root: Path,
    articles: Sequence[Article],
    setting: Setting,
    address: str,
    *,
    cache: bool = True,
    timeout: float | None = None,
) -> Iterator[Outcome]:
    """Run chapters on a Dask cluster; yields each as soon as it is done.

    Interrupted, it calls back what waits; what a worker has begun it brings to its end.

    Args:
        root: the checkout.
        articles: the chapters.
        setting: profile, seed and backend.
        address: of the scheduler, such as "tcp://10.0.0.1:8786".
        cache: False runs all of them; else valid runs are taken up.
        timeout: seconds that one cell may take.

    Raises:
        KexianError: there is no scheduler, or it has no workers.
    """
    import distributed

    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise KexianError(
            f"no Dask scheduler answers at {address} ({error}); start one with `dask scheduler` "
            "and workers with `dask worker ADDRESS --nthreads 1`, or leave --scheduler out.",
            ENVIRONMENT,
        ) from error
    with client:
        workers = len(client.scheduler_info()["workers"])
        if not workers:
            raise KexianError(
                f"the Dask scheduler at {address} has no workers; start some with `dask worker "
                f"{address} --nthreads 1`.",
                ENVIRONMENT,
            )
        runs = {a.id: Run(root, a, setting) for a in articles}
        seconds = {number: budgets.expected_seconds(run) for number, run in runs.items()}
        executor = client.get_executor(pure=False)
        running: dict[Future, Article] = {}
        try:
            for article in sorted(articles, key=lambda a: -seconds[a.id]):
                found = finished_run(runs[article.id]) if cache else None
                if found is not None:
                    yield Outcome(article, RunResult(found, 0.0, True, 0.0), None, 0.0)
                    continue
                task = _task(runs[article.id], timeout)
                running[executor.submit(execute_task, task)] = article
            yield from as_they_end(
                running, seconds, workers, lambda f, a: _result(f, a, runs[a.id].copy)
            )
        finally:
            for future in running:
                future.cancel()


def _task(run: Run, timeout: float | None) -> dict[str, Any]:
    paths = (run.source, run.root / run.article.study_path)
    notebook = read_notebook(run.source)
    return {
        "name": run.source.name,
        "files": {path.name: path.read_text("utf-8") for path in paths if path.is_file()},
        "key": run_key(run.root, run.article, notebook, run.setting),  # of this machine
        "setting": asdict(run.setting),
        "timeout": timeout,
        "package": package_digest(),
    }


def _result(future: Future, article: Article, output: Path) -> RunResult:
    """Put what came back where a run on this machine would have put it."""
    try:
        answer = future.result()
    except Exception as error:  # whatever a worker raises: the other chapters go on
        lost = (
            "every worker that had it was lost, most likely for want of memory; give the workers "
            "more, or choose a smaller profile."
        )
        failed = f"a worker failed ({type(error).__name__}: {error}); its log says more."
        reason = lost if type(error).__name__ == "KilledWorker" else failed
        raise KexianError(f"{article.path.name}: {reason}", ENVIRONMENT) from error
    for name, text in answer.get("files", {}).items():
        write_text(output.with_name(name), text)
    if "error" in answer:
        text = answer["error"].replace(answer.get("folder", "\0"), str(output.parent))
        raise KexianError(text, answer["code"])
    failed_path(output).unlink(missing_ok=True)
    return RunResult(output, answer["seconds"], False, answer["peak_mib"])
