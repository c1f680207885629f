"""The commands that execute chapters: `kexian run`, `kexian check`, `kexian accept`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kexian_utils.catalogue import BACKENDS, PROFILES, Article
from kexian_utils.commands.common import RealRange, Root, WholeRange, names_argument, select
from kexian_utils.errors import FOUND, KexianError

if TYPE_CHECKING:
    from kexian_utils.runner.execution.files import Setting
    from kexian_utils.runner.execution.pool import Outcome

_profile = click.option(
    "--profile", default="default", type=click.Choice(PROFILES), show_default=True
)
_seed = click.option("--seed", default=0, type=int, show_default=True, help="From 0 to 2**32 - 1.")
_backend = click.option(
    "--backend", type=click.Choice(BACKENDS), help="Default: KERAS_BACKEND or tensorflow."
)
_timeout = click.option(
    "--timeout", type=RealRange(min=0, min_open=True), help="Seconds that one cell may take."
)
_jobs = click.option(
    "--jobs",
    "-j",
    type=WholeRange(min=1),
    help="Chapters at a time. Default: one for each core, while the memory lasts. Each has one "
    "thread, so the number changes no digit.",
)
_no_cache = click.option(
    "--no-cache", "--force", "no_cache", is_flag=True, help="Run even if a valid run is there."
)
_times = click.option("--times", is_flag=True, help="Say at the end where the processor time went.")
_scheduler = click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Hand the chapters to the workers of a Dask cluster, such as tcp://10.0.0.1:8786.",
)


def _setting(profile: str, seed: int, backend: str | None) -> Setting:
    from kexian_utils.experiment.run import check_seed
    from kexian_utils.runner.execution.files import COMMITTED, Setting

    return Setting(
        profile, check_seed(seed), backend or os.environ.get("KERAS_BACKEND") or COMMITTED.backend
    )


def _outcomes(
    root: Root,
    articles: Sequence[Article],
    setting: Setting,
    *,
    jobs: int | None = None,
    no_cache: bool = False,
    timeout: float | None = None,
    scheduler: str | None = None,
) -> Iterator[Outcome]:
    """Run chapters, with a bar on a terminal; errors are printed as they come."""
    from tqdm import tqdm

    from kexian_utils.runner.execution import pool

    options: dict[str, Any] = {"cache": not no_cache, "timeout": timeout}
    if scheduler is not None:
        from kexian_utils.runner.execution.cluster import run_on_cluster

        outcomes = run_on_cluster(root.path, articles, setting, scheduler, **options)
    else:
        jobs = min(jobs or pool.default_jobs(), len(articles))
        outcomes = pool.run_articles(
            root.path, articles, setting, jobs=jobs, progress=sys.stderr.isatty(), **options
        )
    # disable=None: no bar where standard error is not a terminal
    with tqdm(
        total=len(articles), desc="chapters", unit="chapter", file=sys.stderr, disable=None
    ) as bar:
        for outcome in outcomes:
            bar.update()
            bar.set_postfix_str(f"about {outcome.left / 60:.0f} min left" if outcome.left else "")
            with bar.external_write_mode(file=sys.stdout):
                if outcome.error is not None:
                    click.echo(f"kexian: {outcome.error}", err=True)
                yield outcome


def _no_times_elsewhere(times: bool, options: dict[str, Any]) -> None:
    if times and options["scheduler"] is not None:
        raise KexianError("--times counts this machine alone; leave it out with --scheduler.")


def _end(outcomes: Sequence[Outcome], times: bool = False) -> None:
    """Exit with the worst code if chapters failed, after saying how many."""
    if times:
        from kexian_utils.runner.execution.pool import processor_times

        for name, seconds in processor_times(outcomes).items():
            click.echo(f"{seconds:8.1f} CPU s  {name}")
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        failed = " ".join(o.article.id for o in outcomes if o.error is not None)
        click.echo(f"kexian: {len(errors)} of {len(outcomes)} chapters failed: {failed}", err=True)
        sys.exit(max(error.code for error in errors))


@click.command()
@names_argument()
@_profile
@_seed
@_backend
@_timeout
@_jobs
@_no_cache
@_scheduler
@_times
@click.option(
    "--record", is_flag=True, help="After a study run: write the dated record beside the notebook."
)
@click.pass_obj
def run(
    root: Root,
    names: tuple[str, ...],
    profile: str,
    seed: int,
    backend: str | None,
    record: bool,
    times: bool,
    **options: Any,
) -> None:
    """Re-execute chapters into the build folder; the stored notebooks are not touched.

    Several run at a time, those that take longest first. A failing chapter stops no other, and
    runs that are still valid are taken up, so an interrupted call can be repeated.

    \b
    Examples:
      kexian run all
      kexian run all --profile smoke --jobs 1 --no-cache
      kexian run 6992 --profile smoke --seed 7 --backend jax
      kexian run 6992 --profile study --record
    """
    _no_times_elsewhere(times, options)
    from kexian_utils.experiment.records import study_record
    from kexian_utils.runner.execution.files import read_notebook, write_text
    from kexian_utils.runner.execution.slicing import study_digest

    setting = _setting(profile, seed, backend)
    if record and profile != "study":
        raise KexianError("--record belongs to --profile study: only studies are kept as dated.")
    done = []
    for outcome in _outcomes(root, select(root, names), setting, **options):
        done.append(outcome)
        article, result = outcome.article, outcome.result
        if result is None:
            continue
        words = "is up to date" if result.reused else f"ran in {result.seconds:.0f} s"
        click.echo(f"{article.id} {article.slug} {words} ({setting.name})")
        if record:
            executed = read_notebook(result.path)
            dated = study_record(executed, study_digest(executed))
            text = json.dumps(dated, ensure_ascii=False, indent=1)
            write_text(root.path / article.study_path, text + "\n")
            click.echo(f"wrote {article.study_path}")
    _end(done, times)


def _compared(
    root: Root, outcome: Outcome, reference: Callable[[Article], Path]
) -> tuple[Any, Any, list[Any]]:
    from kexian_utils.runner.checks.compare import compare_notebooks
    from kexian_utils.runner.execution import cells
    from kexian_utils.runner.execution.files import read_notebook, with_outputs_of

    stored = read_notebook(reference(outcome.article))
    fresh = read_notebook(outcome.result.path)
    if outcome.result.reused and cells.digest(stored) == cells.digest(fresh):
        fresh = with_outputs_of(stored, fresh)  # its prose and comments may be older
    return stored, fresh, compare_notebooks(stored, fresh)


def _check_everything(root: Root, articles: Sequence[Article], jobs: int | None) -> None:
    import tempfile
    import time

    from kexian_utils.runner.checks import audit
    from kexian_utils.runner.execution import pool

    count, started = 0, time.perf_counter()
    for article in articles:
        click.echo(f"{article.id} {article.slug}")
        with tempfile.TemporaryDirectory(prefix="kexian-check-") as folder:
            wanted = audit.checks(root.path, root.catalogue, article, Path(folder))
            for finding in audit.run_checks(wanted, jobs or pool.default_jobs()):
                word = "FAILED" if finding.problems else "ok"
                click.echo(f"  {word:<6} {finding.seconds:6.1f} s  {finding.rule}")
                for problem in finding.problems:
                    click.echo(f"         - {problem}")
                count += len(finding.problems)
    words = f"{count} problems" if count else "nothing is wrong"
    click.echo(f"{words} ({time.perf_counter() - started:.0f} s).")
    if count:
        sys.exit(FOUND)


@click.command()
@names_argument()
@_jobs
@_no_cache
@_scheduler
@_times
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="All that the tests ask of these chapters, besides the comparison: hygiene, smoke on both "
    "backends at another seed, planted mistakes, tolerances, `full` refused and rehearsed, seeds.",
)
@click.option(
    "--against",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Compare with the executed copies in this folder (PART/NAME.ipynb), not with the stored "
    "outputs. Only then may the next three differ from the committed setting.",
)
@_profile
@_seed
@_backend
@click.pass_obj
def check(
    root: Root,
    names: tuple[str, ...],
    everything: bool,
    against: Path | None,
    profile: str,
    seed: int,
    backend: str | None,
    times: bool,
    **options: Any,
) -> None:
    """Compare a fresh run (default profile, seed 0, TensorFlow) with the stored outputs.

    Numbers are compared with the tolerances of the notebook, words exactly, claims by verdict
    and value, figures by the arrays that were drawn.

    \b
    Examples:
      kexian check all
      kexian check 6992 --all
      kexian check all --profile smoke --against _build/runs/smoke-s0-tensorflow --no-cache
    """
    _no_times_elsewhere(times, options)
    from kexian_utils.runner.execution.files import COMMITTED

    if everything:
        _check_everything(root, select(root, names), options["jobs"])
        return
    setting = COMMITTED
    if against is not None:
        setting = _setting(profile, seed, backend)
    elif (profile, seed, backend or COMMITTED.backend) != (
        COMMITTED.profile,
        COMMITTED.seed,
        COMMITTED.backend,
    ):
        raise KexianError(
            f"the stored outputs are of {COMMITTED.name}; to compare runs with another profile, "
            "seed or backend, name the folder of the reference with --against."
        )

    def reference(article: Article) -> Path:
        if against is None:
            return root.path / article.path
        return against / article.part / article.path.name

    done, total = [], 0
    for outcome in _outcomes(root, select(root, names), setting, **options):
        done.append(outcome)
        if outcome.error is not None:
            continue
        article = outcome.article
        differences = _compared(root, outcome, reference)[2]
        total += len(differences)
        for difference in differences:
            click.echo(f"{article.id} {difference}")
        if not differences:
            click.echo(f"{article.id} {article.slug}: the fresh run says the same.")
    _end(done, times)
    if total:
        click.echo(
            f"kexian: {total} differences; if they are meant, `kexian accept` stores the "
            "new outputs.",
            err=True,
        )
        sys.exit(FOUND)


def _put_budgets(root: Root, article: Article, fresh: Any) -> None:
    """Put what this run took, and smoke runs that are still valid, into the descriptor."""
    from kexian_utils.experiment.records import outputs
    from kexian_utils.mime import RUN_MIME
    from kexian_utils.runner.execution import budgets
    from kexian_utils.runner.execution.cache import finished_run
    from kexian_utils.runner.execution.files import Run, Setting, read_json

    settings = (Setting("smoke", backend=backend) for backend in ("tensorflow", "jax"))
    paths = (finished_run(Run(root.path, article, setting)) for setting in settings)
    notebooks = [fresh, *(read_json(path) for path in paths if path is not None)]
    runs = [run for notebook in notebooks for _, run in outputs(notebook, RUN_MIME)]
    entries = budgets.proposed(article, [run for run in runs if run["phase"] == "finish"])
    if entries:
        budgets.write(root.path, article, entries)
        shown = ", ".join(f"{name} = {seconds}" for name, seconds in entries.items())
        click.echo(f"put {shown} (CPU seconds) into [budget] of {article.descriptor_path}")


@click.command()
@names_argument(required=True)
@click.option("--yes", is_flag=True, help="Accept without asking.")
@_jobs
@_no_cache
@click.pass_obj
def accept(root: Root, names: tuple[str, ...], yes: bool, **options: Any) -> None:
    """Show old beside new, cell by cell, then replace the stored outputs.

    A budget that the measured run exceeds, or does not use by half, is put right in the chapter's
    descriptor.
    """
    from kexian_utils.runner.execution.files import COMMITTED, with_outputs_of, write_notebook

    done, too_slow = [], False
    for outcome in _outcomes(root, select(root, names), COMMITTED, **options):
        done.append(outcome)
        if outcome.error is not None:
            continue
        article = outcome.article
        stored, fresh, differences = _compared(root, outcome, lambda a: root.path / a.path)
        for difference in differences:
            click.echo(f"{article.id} {difference}")
        click.echo(f"{article.id} {article.slug}: {len(differences)} differences.")
        if yes or click.confirm(f"Store the new outputs in {article.path}?"):
            write_notebook(root.path / article.path, with_outputs_of(stored, fresh))
            click.echo(f"stored {article.path}")
            try:
                _put_budgets(root, article, fresh)
            except KexianError as error:  # of this chapter; the others go on
                click.echo(f"kexian: {error}", err=True)
                too_slow = True
    _end(done)
    if too_slow:
        sys.exit(FOUND)


COMMANDS = (run, check, accept)
