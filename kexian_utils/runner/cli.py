"""The `kexian` command."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from kexian_utils import __version__
from kexian_utils import catalogue as catalogues
from kexian_utils.catalogue import BACKENDS, PROFILES, Article, Catalogue
from kexian_utils.runner import cli_models, cli_probing
from kexian_utils.runner.errors import ENVIRONMENT, FOUND, USAGE, KexianError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Group(click.Group):
    """A group that turns the project's errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KexianError as error:
            click.echo(f"kexian: {error}", err=True)
            ctx.exit(error.code)
        except ModuleNotFoundError as error:
            click.echo(
                f"kexian: this command needs the package {error.name!r}: "
                "pip install 'kexian-utils[dev]', or `make help` in a checkout.",
                err=True,
            )
            ctx.exit(ENVIRONMENT)
        except (ValueError, TypeError) as error:
            click.echo(f"kexian: {error}", err=True)
            ctx.exit(USAGE)


class _Root:
    """The checkout and its catalogue, looked up when a command needs them."""

    @property
    def path(self) -> Path:
        root = catalogues.project_root()
        if root is None:
            raise KexianError(
                "this command works inside a checkout of the project; go there first."
            )
        return root

    @property
    def catalogue(self) -> Catalogue:
        return catalogues.load()


def _written(root: Path, found: Sequence[Article], name: str) -> list[Article]:
    written = [article for article in found if (root / article.path).is_file()]
    if not written and len(found) == 1:
        raise KexianError(
            f"article {found[0].id} has no chapter yet; `kexian new {found[0].id}` starts one."
        )
    if not written:
        raise KexianError(f"no chapter of {name!r} is written yet; `kexian list` shows which are.")
    return written


def _select(root: _Root, names: Sequence[str]) -> list[Article]:
    chosen: dict[str, Article] = {}
    for name in names or ("all",):
        for article in _written(root.path, root.catalogue.select(name), name):
            chosen[article.id] = article
    return list(chosen.values())


def _complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        known = catalogues.load()
    except ValueError:
        return []
    names = ["all", *(p.id for p in known.parts), *(a.id for a in known.articles)]
    return [name for name in names if name.startswith(incomplete)]


def _names(required: bool = False) -> Any:
    return click.argument(
        "names",
        nargs=-1,
        required=required,
        metavar="[ID|PART|all]...",
        shell_complete=_complete_names,
    )


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="kexian")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run, check and build Kexian, the executable companion to Scientific Spaces.

    \b
    Examples:
      kexian list                         the 36 articles, and which are written
      kexian run 6992 --profile smoke     re-execute a chapter in seconds
      kexian check 6992                   does a fresh run still say the same?
      kexian claims --verdict refuted     the ledger in the terminal
      kexian expand small big --width 2   a wider BERT that computes the same
      kexian segment 今天天气很好               words, read off a Chinese BERT

    \b
    Exit codes: 0 all is well, 1 a claim missed or outputs differ, 2 bad input,
    3 trouble with the machine (disk, memory, network, a missing program).

    \b
    Tab completion (bash; zsh and fish alike):
      eval "$(_KEXIAN_COMPLETE=bash_source kexian)"
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a C or Latin-1 locale must not stop the output
            stream.reconfigure(errors="backslashreplace")
    ctx.obj = _Root()


@main.command("list")
@click.option("--part", metavar="PART", help="Only this part.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def list_articles(root: _Root, part: str | None, as_json: bool) -> None:
    """Show the articles of the catalogue."""
    known = root.catalogue
    if part:
        known.part(part)
    checkout = catalogues.project_root()
    chosen = [a for a in known.articles if part in (None, a.part)]
    written = {a.id for a in chosen if checkout and (checkout / a.path).is_file()}
    if as_json:
        rows = [
            {
                "id": a.id,
                "part": a.part,
                "slug": a.slug,
                "date": str(a.date),
                "title": a.title,
                "title_zh": a.title_zh,
                "url": a.url,
                "claims": list(a.claims),
                "written": a.id in written,
            }
            for a in chosen
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for item in known.parts:
        rows = [a for a in chosen if a.part == item.id]
        if rows:
            click.echo(f"{item.id}: {item.title} ({item.title_zh})")
        for a in rows:
            mark = "written" if a.id in written else "to come"
            click.echo(f"  {a.id}  {mark}  {a.title}  {a.title_zh}")
    click.echo(f"{len(written)} of {len(chosen)} chapters are written.")


def _setting(profile: str, seed: int, backend: str | None) -> Any:
    from kexian_utils.experiment.run import check_seed
    from kexian_utils.runner.execute import COMMITTED, Setting

    return Setting(
        profile, check_seed(seed), backend or os.environ.get("KERAS_BACKEND") or COMMITTED.backend
    )


@main.command()
@_names()
@click.option("--profile", default="default", type=click.Choice(PROFILES), show_default=True)
@click.option("--seed", default=0, type=int, show_default=True, help="From 0 to 2**32 - 1.")
@click.option(
    "--backend", type=click.Choice(BACKENDS), help="Default: KERAS_BACKEND or tensorflow."
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds that one cell may take."
)
@click.option("--force", is_flag=True, help="Run even if a valid run is there.")
@click.option(
    "--record", is_flag=True, help="After a study run: write the dated record beside the notebook."
)
@click.pass_obj
def run(
    root: _Root,
    names: tuple[str, ...],
    profile: str,
    seed: int,
    backend: str | None,
    timeout: float | None,
    force: bool,
    record: bool,
) -> None:
    """Re-execute chapters into the build folder; the stored notebooks are not touched.

    Goes on after a failing chapter, and reuses runs that are still valid, so an interrupted call
    can be repeated.

    \b
    Examples:
      kexian run all
      kexian run 6992 --profile smoke --seed 7 --backend jax
      kexian run 6992 --profile study --record
    """
    from kexian_utils.experiment.records import study_record
    from kexian_utils.runner.execute import read_notebook, run_article, write_text

    setting = _setting(profile, seed, backend)
    if record and profile != "study":
        raise KexianError("--record belongs to --profile study: only studies are kept as dated.")
    articles = _select(root, names)
    failures = []
    for article in _progress(articles):
        try:
            result = run_article(
                root.path,
                article,
                setting,
                force=force,
                timeout=timeout,
                progress=sys.stderr.isatty(),
            )
        except KexianError as error:
            failures.append(error)
            click.echo(f"kexian: {error}", err=True)
            continue
        words = "is up to date" if result.reused else f"ran in {result.seconds:.0f} s"
        click.echo(f"{article.id} {article.slug} {words} ({setting.name})")
        if record:
            text = json.dumps(
                study_record(read_notebook(result.path)), ensure_ascii=False, indent=1
            )
            write_text(root.path / article.study_path, text + "\n")
            click.echo(f"wrote {article.study_path}")
    if failures:
        click.echo(f"kexian: {len(failures)} of {len(articles)} chapters failed.", err=True)
        sys.exit(max(error.code for error in failures))


def _progress(articles: Sequence[Article]) -> Any:
    from tqdm import tqdm

    # disable=None: no bar where standard error is not a terminal
    return tqdm(articles, desc="chapters", unit="chapter", file=sys.stderr, disable=None)


def _differences(root: _Root, article: Article, force: bool) -> tuple[Any, Any, list[Any]]:
    from kexian_utils.runner.compare import compare_notebooks
    from kexian_utils.runner.execute import COMMITTED, read_notebook, run_article

    result = run_article(root.path, article, COMMITTED, force=force, progress=sys.stderr.isatty())
    stored, fresh = read_notebook(root.path / article.path), read_notebook(result.path)
    return stored, fresh, compare_notebooks(stored, fresh)


@main.command()
@_names()
@click.option("--force", is_flag=True, help="Run anew even if a valid run is there.")
@click.pass_obj
def check(root: _Root, names: tuple[str, ...], force: bool) -> None:
    """Compare a fresh run (default profile, seed 0, TensorFlow) with the stored outputs.

    Numbers are compared with the tolerances of the notebook, words exactly, claims by verdict
    and value, figures by the arrays that were drawn.
    """
    total = 0
    for article in _select(root, names):
        _, _, differences = _differences(root, article, force)
        total += len(differences)
        for difference in differences:
            click.echo(f"{article.id} {difference}")
        if not differences:
            click.echo(f"{article.id} {article.slug}: the fresh run says the same.")
    if total:
        click.echo(
            f"kexian: {total} differences; if they are meant, `kexian accept` stores the "
            "new outputs.",
            err=True,
        )
        sys.exit(FOUND)


@main.command()
@_names(required=True)
@click.option("--yes", is_flag=True, help="Accept without asking.")
@click.option("--force", is_flag=True, help="Run anew even if a valid run is there.")
@click.pass_obj
def accept(root: _Root, names: tuple[str, ...], yes: bool, force: bool) -> None:
    """Show old beside new, cell by cell, then replace the stored outputs."""
    from kexian_utils.runner.execute import with_outputs_of, write_notebook

    for article in _select(root, names):
        stored, fresh, differences = _differences(root, article, force)
        for difference in differences:
            click.echo(f"{article.id} {difference}")
        click.echo(f"{article.id} {article.slug}: {len(differences)} differences.")
        if yes or click.confirm(f"Store the new outputs in {article.path}?"):
            write_notebook(root.path / article.path, with_outputs_of(stored, fresh))
            click.echo(f"stored {article.path}")


@main.command()
@_names()
@click.option(
    "--verdict", type=click.Choice(["holds", "refuted", "not shown", "quoted", "not run"])
)
@click.option(
    "--json", "as_json", is_flag=True, help="Machine-readable, with every measured value."
)
@click.pass_obj
def claims(root: _Root, names: tuple[str, ...], verdict: str | None, as_json: bool) -> None:
    """Show the claims ledger: what each chapter states and what was decided.

    \b
    Examples:
      kexian claims 6992
      kexian claims --verdict refuted --json
    """
    from kexian_utils.runner import ledger

    known = root.catalogue
    chosen = {a.id: a for name in names or ("all",) for a in known.select(name)}
    recorded = ledger.entries(root.path, chosen.values())
    found = [e for e in recorded if verdict in (None, *ledger.verdicts(e.record))]
    if as_json:
        click.echo(json.dumps([e.record for e in found], ensure_ascii=False, indent=1))
        return
    for e in found:
        record = e.record
        click.echo(
            f"{e.article.id} {record['claim']:<4} {ledger.verdict_text(record)} "
            f"[{record['kind']}] {record['sentence']}"
        )
        if measured := ledger.measured_text(record):
            click.echo(f"          {measured}")
    click.echo(ledger.summary(known, recorded))


@main.command()
@click.option("--notebooks", is_flag=True, help="Check the hygiene of every notebook instead.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def doctor(root: _Root, notebooks: bool, as_json: bool) -> None:
    """Say what is installed and what is wrong, with the remedy."""
    if notebooks:
        from kexian_utils.runner.hygiene import check_notebook

        problems = [
            f"{a.path}: {p}"
            for a in _select(root, ())
            for p in check_notebook(root.path / a.path, root.catalogue)
        ]
        report = [
            {"name": "notebooks", "value": f"{len(problems)} problems", "problem": p}
            for p in problems
        ]
    else:
        from kexian_utils.runner.doctor import examine

        report = examine(catalogues.project_root())
        problems = [row["problem"] for row in report if row["problem"]]
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=1))
    else:
        for row in report:
            if not notebooks:
                click.echo(f"{row['name']:<22} {row['value']}")
        for problem in problems:
            click.echo(f"kexian: {problem}", err=True)
        click.echo("nothing is wrong." if not problems else f"{len(problems)} problems.")
    sys.exit(ENVIRONMENT if problems and not notebooks else FOUND if problems else 0)


@main.command()
@click.argument("id", shell_complete=_complete_names)
@click.pass_obj
def new(root: _Root, id: str) -> None:
    """Write the skeleton of a chapter: notebook, claims table, bibliography entry.

    \b
    Example:
      kexian new 7076
    """
    from kexian_utils.runner.new import write_chapter

    for line in write_chapter(root.path, root.catalogue.article(id)):
        click.echo(line)


@main.command()
@_names()
@click.pass_obj
def refresh(root: _Root, names: tuple[str, ...]) -> None:
    """Rewrite what the project generates in notebooks: references and the Colab cell."""
    from kexian_utils.runner.new import refresh_notebook

    for article in _select(root, names):
        changed = refresh_notebook(root.path, root.path / article.path)
        click.echo(f"{article.path}: {'refreshed' if changed else 'up to date'}")


@main.command()
@click.option(
    "--from",
    "source",
    type=click.Choice(["runs", "stored"]),
    default="stored",
    show_default=True,
    help="Executed copies of the build folder, or stored outputs.",
)
@click.pass_obj
def book(root: _Root, source: str) -> None:
    """Build the HTML and print the path of its first page."""
    from kexian_utils.runner.book import build

    click.echo(f"The book is ready: {build(source=source, root=root.path)}")


@main.command()
@click.option("--port", default=8888, type=click.IntRange(1, 65535), show_default=True)
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@click.pass_obj
def lab(root: _Root, port: int, browser: bool) -> None:
    """Start JupyterLab in the notebooks' folder, with the project's kernel."""
    import subprocess

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise KexianError(
                f"port {port} is in use, perhaps by another JupyterLab; choose another: "
                f"make lab PORT={port + 1}",
                ENVIRONMENT,
            ) from None
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root.path}",
        "--LabApp.default_url=/lab/tree/notebooks",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # containers and Colab's terminals run as root
    sys.exit(subprocess.call(command + ([] if browser else ["--no-browser"])))


for _command in (*cli_models.COMMANDS, *cli_probing.COMMANDS):
    main.add_command(_command)


if __name__ == "__main__":
    main()
