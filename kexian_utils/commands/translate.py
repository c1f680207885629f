"""The command `kexian translate`: the catalogues of the Chinese edition."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from kexian_utils.commands.common import Root, complete_names, select
from kexian_utils.errors import FOUND, KexianError

SHOWN = 20


@click.command()
@click.argument("names", nargs=-1, metavar="[ID|PART|all|pages]...", shell_complete=complete_names)
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 for a missing, fuzzy or broken one."
)
@click.option(
    "--notebook",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a chapter as a Chinese notebook: the same code and results.",
)
@click.pass_obj
def translate(root: Root, names: tuple[str, ...], check: bool, notebook: Path | None) -> None:
    """Bring the messages of the Chinese edition up to date, and say what is to be translated.

    A message is a block of Markdown or of an output; its numbers are slots, {1}, {2}. They stand in
    book/locale/zh_CN, one PO file for each chapter. One that changed is marked fuzzy and shows the
    old text; the page shows the English one until it is translated.

    \b
    Examples:
      kexian translate 7076
      kexian translate all --check
      kexian translate 7076 --notebook 7076-zh.ipynb
    """
    from kexian_utils.runner.translation import project

    wanted = [name for name in names if name not in ("all", project.PAGES)]
    chosen = [article.id for article in select(root, wanted)] if wanted else []
    if notebook is not None:
        _write_notebook(root, chosen, notebook)
        return
    if project.PAGES in names:
        chosen.append(project.PAGES)
    articles = root.catalogue.articles
    if check:
        done = project.standing(root.path, articles)
        done = [one for one in done if not chosen or one.name in (*chosen, project.COMMON)]
    else:
        done = project.update(root.path, articles, chosen)
    for one in done:
        click.echo(f"{one.name}: {one.messages} messages, {len(one.problems)} to do")
    problems = [f"{one.name}: {line}" for one in done for line in one.problems]
    for line in problems[:SHOWN]:
        click.echo(f"  {line}")
    if len(problems) > SHOWN:
        click.echo(f"  and {len(problems) - SHOWN} more")
    if check and problems:
        sys.exit(FOUND)


def _write_notebook(root: Root, chosen: list[str], path: Path) -> None:
    import nbformat

    from kexian_utils import _checks
    from kexian_utils.runner.execution.files import read_notebook
    from kexian_utils.runner.translation import edition, project

    if len(chosen) != 1:
        raise KexianError(f"--notebook is of one chapter, got {len(chosen)}; name one by its id.")
    if _checks.new_path("--notebook", path).exists():
        raise KexianError(f"--notebook {path} exists; choose another name, or remove it.")
    article = root.catalogue.article(chosen[0])
    english = read_notebook(root.path / article.path)
    made = edition.translated(english, project.article_words(root.path, article.id))
    nbformat.write(made, path)
    click.echo(f"Wrote {path}.")


COMMANDS = (translate,)
