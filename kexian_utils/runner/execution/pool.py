"""Running several chapters: beside each other, longest first, and on to the end whatever fails.

Each chapter has a kernel of its own with one thread, so the number of jobs changes no digit.
"""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kexian_utils.catalogue import Article
from kexian_utils.errors import USAGE, KexianError
from kexian_utils.experiment.records import outputs
from kexian_utils.mime import RUN_MIME
from kexian_utils.runner.execution import budgets
from kexian_utils.runner.execution.cache import finished_run, run_key, write_record
from kexian_utils.runner.execution.execute import RunResult, run_notebook
from kexian_utils.runner.execution.files import COMMITTED, Run, Setting, read_notebook

GIB_EACH = 6  # the largest chapters and tests take up to 5 GiB


def default_jobs(gib_each: float = GIB_EACH) -> int:
    """As many jobs as there are cores, while the memory lasts (at least one)."""
    try:
        cores = len(os.sched_getaffinity(0))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not Linux
        return os.cpu_count() or 1
    return max(1, min(cores, int(memory // (gib_each * 2**30))))


def gpu_in_sight() -> bool:
    """Whether kernels would share a GPU. Each of them would want all of its memory."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def run_article(
    run: Run,
    *,
    cache: bool = True,
    timeout: float | None = None,
    progress: bool = False,
    parameters: dict[str, Any] | None = None,
) -> RunResult:
    """Run a chapter into the build folder, unless a valid run is there already.

    Args:
        run: the chapter and the setting.
        cache: False runs it in any case.
        timeout: seconds that one cell may take.
        progress: show a progress bar over the cells.
        parameters: further parameters; such a run is never taken up again.

    Raises:
        KexianError: no such chapter, bad input, a failing cell, trouble with the machine.
    """
    if not run.source.is_file():
        number = run.article.id
        raise KexianError(
            f"article {number} has no chapter yet; `kexian new {number}` starts one.", USAGE
        )
    if cache and not parameters and (found := finished_run(run)):
        return RunResult(found, 0.0, True, 0.0)
    notebook = read_notebook(run.source)
    key = ""
    if not parameters:  # as the code is now, not when the run ends
        key = run_key(run.root, run.article, notebook, run.setting)
    result = run_notebook(
        run.source,
        run.copy,
        run.setting,
        timeout=timeout,
        progress=progress,
        parameters=parameters,
    )
    write_record(run.copy, key, run.setting, result.seconds, result.peak_mib)
    return result


@dataclass(frozen=True)
class Outcome:
    """What became of one chapter: a result, or the error.

    Attributes:
        article: its entry in the catalogue.
        result: of a run that finished, else None.
        error: of one that did not, else None.
        left: estimate of the seconds until all are done.
    """

    article: Article
    result: RunResult | None
    error: KexianError | None
    left: float


def run_articles(
    root: Path,
    articles: Sequence[Article],
    setting: Setting = COMMITTED,
    *,
    jobs: int = 1,
    cache: bool = True,
    timeout: float | None = None,
    progress: bool = False,
) -> Iterator[Outcome]:
    """Run chapters, `jobs` at a time; yields each as soon as it is done.

    Args:
        root: the checkout.
        articles: the chapters.
        setting: profile, seed and backend.
        jobs: kernels at a time, from 1. With a GPU it is always one.
        cache: False runs all of them; else valid runs are taken up.
        timeout: seconds that one cell may take.
        progress: show a bar over the cells, if there is one job.

    Raises:
        ValueError: `jobs` is less than 1.
        KeyboardInterrupt: after all kernels have ended. Finished runs are kept.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be a whole number from 1 on, got {jobs}")
    if setting.profile == "full" or gpu_in_sight():
        jobs = 1
    runs = {a.id: Run(root, a, setting) for a in articles}
    seconds = {number: budgets.expected_seconds(run) for number, run in runs.items()}
    waiting = sorted(articles, key=lambda article: -seconds[article.id])
    stopped = threading.Event()

    def work(article: Article) -> RunResult:
        if stopped.is_set():
            raise KexianError(f"article {article.id} was not run: interrupted.")
        bar = progress and jobs == 1
        try:
            run = runs[article.id]
            return run_article(run, cache=cache, timeout=timeout, progress=bar)
        except KexianError:
            if stopped.is_set():  # it has not failed: its kernel was ended
                runs[article.id].failed.unlink(missing_ok=True)
            raise

    with ThreadPoolExecutor(jobs) as threads:
        running: dict[Future, Article] = {threads.submit(work, a): a for a in waiting}
        try:
            yield from as_they_end(running, seconds, jobs, lambda future, _: future.result())
        except BaseException:  # Ctrl-C, or whoever reads this stops reading
            stopped.set()
            _end(list(running))
            raise


def as_they_end(
    running: dict[Future, Article],
    seconds: Mapping[str, float],
    jobs: int,
    result: Callable[[Future, Article], RunResult],
) -> Iterator[Outcome]:
    """What becomes of the chapters that run, each as soon as it is done.

    Args:
        running: the chapters; each is taken out when it is done.
        seconds: that each is expected to take, by id.
        jobs: how many run at a time.
        result: makes the result of a future that is done, or raises KexianError.
    """
    while running:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            article = running.pop(future)
            left = sum(seconds[other.id] for other in running.values()) / jobs
            try:
                outcome = Outcome(article, result(future, article), None, left)
            except KexianError as error:
                outcome = Outcome(article, None, error, left)
            except Exception as error:  # a fault of ours stops this chapter and no other
                outcome = Outcome(article, None, _unexpected(article, error), left)
            yield outcome


def _unexpected(article: Article, error: Exception) -> KexianError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return KexianError(
        f"article {article.id}: {type(error).__name__}: {str(error).strip()[:200]} "
        f"({Path(frame.filename).name}, line {frame.lineno}); this is a fault of kexian: report it."
    )


def _end(running: list[Future]) -> None:
    """End what runs: without their kernels, the threads come to an end, too."""
    from kexian_utils.runner.execution.provisioner import end_kernels

    unfinished = [future for future in running if not future.cancel()]
    while unfinished:  # one of them may be about to start a kernel
        end_kernels()
        unfinished = list(wait(unfinished, timeout=0.5).not_done)


def processor_times(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Where the processor time of this process and its kernels went so far, in seconds.

    Ends all templates, because a process is only counted when it has ended. Cells are what the
    chapters measure themselves, from the end of the imports in their set-up cells on.
    """
    import resource

    from kexian_utils.runner.execution.provisioner import end_kernels, usage

    end_kernels()
    cells = 0.0
    for outcome in outcomes:
        if outcome.result is not None and not outcome.result.reused:
            notebook = json.loads(outcome.result.path.read_text(encoding="utf-8"))
            runs = [run for _, run in outputs(notebook, RUN_MIME) if run["phase"] == "finish"]
            cells += sum(run["cpu_seconds"] for run in runs)
    forked = sum(kernel["cpu_seconds"] for kernel in usage())
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    others = children.ru_utime + children.ru_stime - forked
    parts = {
        "cells": cells,
        "forked kernels, besides their cells": forked - cells if forked else 0.0,
        "templates: imports": others if forked else 0.0,
        "cold kernels, besides their cells": 0.0 if forked else others - cells,
        "this command: messages, comparing, records": time.process_time(),
    }
    total = sum(parts.values())
    return {k: v for k, v in parts.items() if v} | {
        f"all; {1 - cells / total:.0%} of it is not cells": total
    }
