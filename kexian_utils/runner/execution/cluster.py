"""Running chapters on the workers of a Dask cluster, with the records of a run on this machine.

The workers need the same checkout of `kexian_utils`, installed as here; each chapter travels as
text and comes back executed. A worker that is lost in the middle is no failure: the scheduler hands
its chapter to another one.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kexian_utils.catalogue import Article
from kexian_utils.errors import ENVIRONMENT, KexianError
from kexian_utils.runner.execution import budgets
from kexian_utils.runner.execution.cache import finished_run, run_key, write_record
from kexian_utils.runner.execution.dependencies import content_digest
from kexian_utils.runner.execution.execute import (
    RunResult,
    Setting,
    failed_path,
    read_notebook,
    run_notebook,
    run_path,
    write_text,
)
from kexian_utils.runner.execution.pool import Outcome

CONNECT_SECONDS = 15


def package_digest() -> str:
    """A digest of the modules of `kexian_utils` as they are installed here."""
    base = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(base.rglob("*.py")):
        digest.update(f"{path.relative_to(base)} {content_digest(path)}\n".encode())
    return digest.hexdigest()


def execute_task(task: dict[str, Any]) -> dict[str, Any]:
    """On a worker: run the notebook of a task and return the executed copy, or the error.

    Args:
        task: "name", "notebook" and "study" (texts, the last one None if there is none),
            "setting", "timeout", "package" (digest of the sender's modules).
    """
    if task["package"] != package_digest():
        return {
            "error": f"{task['name']}: a worker has another version of kexian_utils; install this "
            "checkout there and restart the workers.",
            "code": ENVIRONMENT,
        }
    with tempfile.TemporaryDirectory(prefix="kexian-task-") as folder:
        path = Path(folder) / task["name"]
        path.write_text(task["notebook"], encoding="utf-8")
        if task["study"] is not None:
            path.with_suffix(".study.json").write_text(task["study"], encoding="utf-8")
        output = Path(folder) / "runs" / task["name"]
        try:
            result = run_notebook(path, output, Setting(**task["setting"]), timeout=task["timeout"])
        except KexianError as error:
            failed = failed_path(output)
            kept = failed.read_text(encoding="utf-8") if failed.is_file() else None
            return {"error": str(error), "code": error.code, "kept": kept, "kept_at": str(failed)}
        return {
            "copy": output.read_text(encoding="utf-8"),
            "seconds": result.seconds,
            "peak_mib": result.peak_mib,
        }


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
        if not client.scheduler_info()["workers"]:
            raise KexianError(
                f"the Dask scheduler at {address} has no workers; start some with `dask worker "
                f"{address} --nthreads 1`.",
                ENVIRONMENT,
            )
        seconds = {a.id: budgets.expected_seconds(root, a, setting) for a in articles}
        waiting = []
        for article in articles:
            found = finished_run(root, article, setting) if cache else None
            if found is not None:
                yield Outcome(article, RunResult(found, 0.0, True, 0.0), None, 0.0)
            else:
                waiting.append(article)
        futures, keys = {}, {}
        for article in sorted(waiting, key=lambda a: -seconds[a.id]):
            keys[article.id] = run_key(root, article, read_notebook(root / article.path), setting)
            task = _task(root, article, setting, timeout)
            future = client.submit(execute_task, task, pure=False)
            futures[future] = article
        try:
            workers = len(client.scheduler_info()["workers"])
            for future in distributed.as_completed(list(futures), loop=client.loop):
                article = futures.pop(future)
                left = sum(seconds[a.id] for a in futures.values()) / workers
                try:
                    answer = _answer(future, article)
                    result = _store(root, article, setting, keys[article.id], answer)
                    yield Outcome(article, result, None, left)
                except KexianError as error:
                    yield Outcome(article, None, error, left)
        finally:
            client.cancel(list(futures))


def _task(root: Path, article: Article, setting: Setting, timeout: float | None) -> dict[str, Any]:
    study = root / article.study_path
    return {
        "name": article.path.name,
        "notebook": (root / article.path).read_text(encoding="utf-8"),
        "study": study.read_text(encoding="utf-8") if study.is_file() else None,
        "setting": asdict(setting),
        "timeout": timeout,
        "package": package_digest(),
    }


def _answer(future: Any, article: Article) -> dict[str, Any]:
    import distributed

    try:
        return future.result()
    except distributed.scheduler.KilledWorker as error:
        raise KexianError(
            f"{article.path.name}: every worker that had it was lost, most likely for want of "
            "memory; give the workers more, or choose a smaller profile.",
            ENVIRONMENT,
        ) from error
    except Exception as error:  # whatever a worker raises: the other chapters go on
        raise KexianError(
            f"{article.path.name}: a worker failed ({type(error).__name__}: {error}); its log "
            "says more.",
            ENVIRONMENT,
        ) from error


def _store(
    root: Path, article: Article, setting: Setting, key: str, answer: dict[str, Any]
) -> RunResult:
    """Put what came back where a run on this machine would have put it."""
    output = run_path(root, article, setting)
    failed = failed_path(output)
    if "error" in answer:
        text = answer["error"]
        if answer.get("kept"):
            write_text(failed, answer["kept"])
            text = text.replace(answer["kept_at"], str(failed))
        raise KexianError(text, answer["code"])
    json.loads(answer["copy"])
    write_text(output, answer["copy"])
    failed.unlink(missing_ok=True)
    write_record(output, key, setting, answer["seconds"], answer["peak_mib"])
    return RunResult(output, answer["seconds"], False, answer["peak_mib"])
