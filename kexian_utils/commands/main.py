"""The `kexian` command."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import click

from kexian_utils import __version__
from kexian_utils import catalogue as catalogues
from kexian_utils.commands import (
    answer,
    models,
    probing,
    runs,
    train_reader,
    translate,
    word_vectors,
)
from kexian_utils.commands.common import Root, WholeRange, complete_names, names_argument, select
from kexian_utils.commands.streams import INTERRUPTED, PIPE_CLOSED, forget_standard_output
from kexian_utils.errors import ENVIRONMENT, FOUND, USAGE, KexianError
from kexian_utils.runner.execution.homes import own_homes

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_DISTRIBUTIONS = {"jupyter_book": "'jupyter-book<2'", "sklearn": "scikit-learn", "yaml": "pyyaml"}


class _Group(click.Group):
    """A group that turns the project's errors into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # what cannot be written is told, too
            return result
        except KeyboardInterrupt:
            click.echo("kexian: interrupted; what was finished is kept.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            forget_standard_output()
            ctx.exit(PIPE_CLOSED)
        except OSError as error:
            if sys.stdout is not None and error.filename is None:
                forget_standard_output()
            where = f"{error.filename}: " if error.filename else "standard output: "
            click.echo(f"kexian: {where}{error.strerror or error}.", err=True)
            ctx.exit(ENVIRONMENT)
        except KexianError as error:
            click.echo(f"kexian: {error}", err=True)
            ctx.exit(error.code)
        except click.UsageError as error:  # of a command; click's own form has three lines
            click.echo(f"kexian: {_first_small(error.format_message())}", err=True)
            ctx.exit(USAGE)
        except ModuleNotFoundError as error:
            name = (error.name or "").partition(".")[0]
            click.echo(
                f"kexian: this command needs the package {name!r}: "
                f"`make setup` in a checkout, or pip install {_DISTRIBUTIONS.get(name, name)}.",
                err=True,
            )
            ctx.exit(ENVIRONMENT)
        except (ValueError, TypeError) as error:
            click.echo(f"kexian: {error}", err=True)
            ctx.exit(USAGE)


def _first_small(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


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
      kexian answer 法国的首都是哪里？ a.txt    an answer, read off noisy passages
      kexian word2vec a.txt --out a.vec   word vectors of your own text

    \b
    Exit codes: 0 all is well, 1 a claim missed or outputs differ, 2 bad input,
    3 trouble with the machine (disk, memory, network, a missing program).

    \b
    Tab completion (bash; zsh and fish alike):
      eval "$(_KEXIAN_COMPLETE=bash_source kexian)"
    """
    if sys.stdout is None:
        raise KexianError("standard output is closed; leave out >&-.", ENVIRONMENT)
    if sys.stderr is None:  # nobody wants to hear
        sys.stderr = open(os.devnull, "w")
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):  # as an exception: what is half made is removed
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
                signal.signal(getattr(signal, name), lambda number, _: sys.exit(128 + number))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a C or Latin-1 locale must not stop the output
            stream.reconfigure(errors="backslashreplace")
    os.environ.update(own_homes())
    ctx.obj = Root()


@main.command("list")
@click.option("--part", metavar="PART", help="Only this part.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def list_articles(root: Root, part: str | None, as_json: bool) -> None:
    """Show the articles of the catalogue."""
    known = root.catalogue
    if part:
        known.part(part)
    checkout = catalogues.project_root()
    chosen = [a for a in known.articles if part in (None, a.part)]
    written = {a.id for a in chosen if checkout and (checkout / a.path).is_file()}
    if as_json:
        records = [
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
        click.echo(json.dumps(records, ensure_ascii=False, indent=1))
        return
    for item in known.parts:
        rows = [a for a in chosen if a.part == item.id]
        if rows:
            click.echo(f"{item.id}: {item.title} ({item.title_zh})")
        for a in rows:
            mark = ("written  " if a.id in written else "to come  ") if checkout else ""
            click.echo(f"  {a.id}  {mark}{a.title}  {a.title_zh}")
    if checkout:
        click.echo(f"{len(written)} of {len(chosen)} chapters are written.")
    else:
        click.echo(f"{len(chosen)} articles; a checkout of the project has the chapters.")


@main.command()
@names_argument()
@click.option(
    "--verdict", type=click.Choice(["holds", "refuted", "not shown", "quoted", "not run"])
)
@click.option(
    "--json", "as_json", is_flag=True, help="Machine-readable, with every measured value."
)
@click.pass_obj
def claims(root: Root, names: tuple[str, ...], verdict: str | None, as_json: bool) -> None:
    """Show the claims ledger: what each chapter states and what was decided.

    \b
    Examples:
      kexian claims 6992
      kexian claims --verdict refuted --json
    """
    from kexian_utils.runner.pages import ledger

    known = root.catalogue
    chosen = {a.id: a for name in names or ("all",) for a in known.select(name)}
    recorded, unread = [], []
    for article in chosen.values():
        try:
            recorded += ledger.entries(root.path, [article])
        except KexianError as error:
            unread.append(error)
            click.echo(f"kexian: {error}", err=True)
    found = [e for e in recorded if verdict in (None, *e.record.verdicts)]
    if as_json:
        click.echo(json.dumps([e.record.to_json() for e in found], ensure_ascii=False, indent=1))
    for e in found if not as_json else ():
        record = e.record
        click.echo(
            f"{e.article.id} {record.claim:<4} {record.verdict_text()} "
            f"[{record.kind}] {record.sentence}"
        )
        if measured := record.measured_text():
            click.echo(f"          {measured}")
    if not as_json:
        click.echo(ledger.summary(known, recorded))
    if unread:
        sys.exit(max(error.code for error in unread))


@main.command()
@click.option("--notebooks", is_flag=True, help="Check the hygiene of every notebook instead.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.pass_obj
def doctor(root: Root, notebooks: bool, as_json: bool) -> None:
    """Say what is installed and what is wrong, with the remedy."""
    if notebooks:
        from kexian_utils.runner.checks.hygiene import check_notebook

        problems = [
            f"{a.path}: {p}"
            for a in select(root, ())
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
@click.argument("id", shell_complete=complete_names)
@click.pass_obj
def new(root: Root, id: str) -> None:
    """Write a chapter's two files, notebook and descriptor, and its bibliography entry.

    \b
    Example:
      kexian new 8757
    """
    from kexian_utils.runner.skeleton import write_chapter

    for line in write_chapter(root.path, root.catalogue.article(id)):
        click.echo(line)


@main.command()
@names_argument()
@click.pass_obj
def refresh(root: Root, names: tuple[str, ...]) -> None:
    """Rewrite what is generated: references, the Colab cell, the rules in CONTRIBUTING.md."""
    from kexian_utils.runner.skeleton import refresh_contributing, refresh_notebook

    if refresh_contributing(root.path):
        click.echo("CONTRIBUTING.md: refreshed")
    for article in select(root, names):
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
def book(root: Root, source: str) -> None:
    """Build the HTML and print the path of its first page."""
    from kexian_utils.runner.pages.book import build

    click.echo(f"The book is ready: {build(source=source, root=root.path)}")


@main.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it; default: kexian.pdf in the build folder. The Chinese edition goes "
    "beside it, as kexian-zh.pdf.",
)
@click.pass_obj
def pdf(root: Root, out: Path | None) -> None:
    """Print the built book into one PDF with bookmarks, and its Chinese edition into another.

    It takes minutes and needs Chromium.
    """
    from kexian_utils.runner.execution.files import build_folder
    from kexian_utils.runner.pages.chinese import FOLDER
    from kexian_utils.runner.pages.pdf import NAME, write_pdf

    folder = build_folder(root.path)
    target = out or folder / NAME
    editions = {folder / "book": target}
    if (folder / "book" / FOLDER / "index.html").is_file():
        chinese = target.with_name(f"{target.stem}-{FOLDER}{target.suffix}")
        editions[folder / "book" / FOLDER] = chinese
    for pages, file in editions.items():
        made = write_pdf(pages, file)
        click.echo(f"The book is printed: {made} ({made.stat().st_size / 1e6:.0f} MB)")


@main.command()
@click.option("--port", default=8888, type=WholeRange(1, 65535), show_default=True)
@click.option("--browser/--no-browser", default=True, help="Open a browser window.")
@click.pass_obj
def lab(root: Root, port: int, browser: bool) -> None:
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


for _module in (runs, models, probing, answer, train_reader, translate, word_vectors):
    for _command in _module.COMMANDS:
        main.add_command(_command)


if __name__ == "__main__":
    main()
