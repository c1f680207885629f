"""What commands share: the checkout, its catalogue, and the argument that names chapters."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from kexian_utils import catalogue as catalogues
from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.errors import KexianError


class Root:
    """The checkout and its catalogue, looked up when a command needs them."""

    @property
    def path(self) -> Path:
        """The checkout (KexianError outside one)."""
        root = catalogues.project_root()
        if root is None:
            raise KexianError(
                "this command works inside a checkout of the project; go there first."
            )
        return root

    @property
    def catalogue(self) -> Catalogue:
        """The catalogue of the checkout, or of the installed package."""
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


def select(root: Root, names: Sequence[str]) -> list[Article]:
    """The written chapters of these ids and parts, each once.

    Raises:
        KexianError: a name stands for no written chapter.
    """
    chosen: dict[str, Article] = {}
    for name in names or ("all",):
        for article in _written(root.path, root.catalogue.select(name), name):
            chosen[article.id] = article
    return list(chosen.values())


def complete_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids, parts and `all`, for the completion of the shell."""
    try:
        known = catalogues.load()
    except ValueError:
        return []
    names = ["all", *(p.id for p in known.parts), *(a.id for a in known.articles)]
    return [name for name in names if name.startswith(incomplete)]


class WholeRange(click.IntRange):
    """click's range of whole numbers, with one sentence for whatever is not in it."""

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The number (KexianError for anything else)."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            raise _not_in_range(self, "a whole number", value, param) from None


class RealRange(click.FloatRange):
    """click's range of numbers without nan and infinity, with one sentence for anything else."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """The number (KexianError for anything else)."""
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            raise _not_in_range(self, "a number", value, param)
        return number


def _not_in_range(
    kind: click.IntRange | click.FloatRange, words: str, value: Any, param: Any
) -> KexianError:
    low, high = kind.min, kind.max
    if low is not None and high is not None:
        words += f" from {low} to {high}"
    elif low is not None:
        words += f" {'of more than' if kind.min_open else 'of at least'} {low}"
    return KexianError(f"{param.opts[0]} must be {words}, got {str(value)!r}")


def count_option(name: str, default: int, words: str) -> Any:
    """An option that takes a whole number of at least 1."""
    kind = WholeRange(min=1)
    return click.option(
        name, default=default, type=kind, metavar="N", show_default=True, help=words
    )


def seed_option(words: str) -> Any:
    """The option for a seed; `words` say of what."""
    kind = WholeRange(0, 2**32 - 1)
    return click.option("--seed", default=0, type=kind, metavar="N", show_default=True, help=words)


def names_argument(required: bool = False) -> Any:
    """The argument of a command that takes chapters."""
    return click.argument(
        "names",
        nargs=-1,
        required=required,
        metavar="[ID|PART|all]...",
        shell_complete=complete_names,
    )


def training_lines(clock: Callable[[], float]) -> Callable[[dict[str, Any]], None]:
    """A line at the end of each epoch; on a terminal one that is overwritten in between."""
    shown, losses = clock(), []

    def show(state: dict[str, Any]) -> None:
        nonlocal shown
        if math.isfinite(state["loss"]):  # a batch may be empty
            losses.append(state["loss"])
        minutes, seconds = divmod(round(state["seconds_left"]), 60)
        left = f"{minutes} min {seconds:02d} s left"
        step, steps = state["step"], state["steps"]
        if step % (steps // state["epochs"]) == 0:
            loss = sum(losses) / len(losses) if losses else math.nan
            click.echo(f"epoch {state['epoch']} of {state['epochs']}: loss {loss:.3f}; {left}")
            losses.clear()
        elif sys.stderr.isatty() and clock() - shown > 1:
            shown = clock()
            line = f"step {step:,} of {steps:,}: loss {state['loss']:.2f}; {left}"
            click.echo(f"\r{line}   \r", err=True, nl=False)

    return show


def diverged(state: Path) -> KexianError:
    """What a command says of a training whose loss is no number any more."""
    return KexianError(
        "the training diverged: its loss is no number any more; choose a smaller --learning-rate, "
        f"and remove {state}."
    )


def remove_run(state: Path) -> None:
    """What the training wrote there, and the folder if it is empty then."""
    for name in ("state.npz", "state.npz.part", "training.json", "training.json.part"):
        (state / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        state.rmdir()
