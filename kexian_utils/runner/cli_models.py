"""The commands that work on models rather than on the book: `kexian expand`."""

from __future__ import annotations

import sys
from typing import Any

import click

from kexian_utils.runner.errors import ENVIRONMENT, KexianError


@click.command()
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option("--width", default="1", metavar="K", help="Factor of the width, such as 2.")
@click.option(
    "--heads",
    type=click.Choice(["wider", "more"]),
    default="wider",
    show_default=True,
    help="A wider model has wider heads, or more of them.",
)
@click.option("--depth", default="0", metavar="+N", help="Number of new layers, such as +2.")
@click.option(
    "--after",
    metavar="LAYER",
    help="New layers follow this one, counted from 0; default: the last.",
)
@click.option(
    "--break-ties",
    default="0",
    metavar="STD",
    help="Noise that makes copied units differ and cancels in the output, relative to the "
    "weights; without it they learn alike for ever.",
)
@click.option("--seed", default="0", metavar="N", show_default=True, help="Of that noise.")
def expand(
    source: str,
    target: str,
    width: str,
    heads: str,
    depth: str,
    after: str | None,
    break_ties: str,
    seed: str,
) -> None:
    """Write a wider or deeper BERT to TARGET that computes what SOURCE computes.

    SOURCE is a folder in Hugging Face's form (config.json, vocab.txt, model.safetensors), or
    hf://OWNER/NAME, which is downloaded. Both models run on the same sentences before TARGET gets
    its name; on any failure nothing is left.

    \b
    Examples:
      kexian expand small big --width 2
      kexian expand small big --width 2 --heads more --break-ties 0.5
      kexian expand small deep --depth +2 --after 5
    """
    from kexian_utils.bert.expand_checkpoint import expand_checkpoint

    try:
        report = expand_checkpoint(
            source,
            target,
            width=_number("width", width, int),
            heads=heads,
            depth=_number("depth", depth, int),
            after=None if after is None else _number("after", after, int),
            break_ties=_number("break-ties", break_ties, float),
            seed=_number("seed", seed, int),
            progress=_step_bars(),
        )
    except KeyboardInterrupt:
        raise KexianError("interrupted; nothing was written.", 130) from None
    except OSError as error:
        raise KexianError(
            f"{error.filename or target}: {error.strerror or error}; free some space or choose a "
            "target elsewhere. Nothing was written.",
            ENVIRONMENT,
        ) from None
    for line in _expansion_lines(report):
        click.echo(line)


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        words = "whole number" if kind is int else "number"
        raise KexianError(f"--{name} must be a {words}, got {text!r}") from None


def _step_bars() -> Any:
    """A progress bar for each step; on a terminal only."""
    bars: dict[str, Any] = {}

    def show(step: str, done: int, total: int) -> None:
        if not sys.stderr.isatty():
            return
        if step not in bars:
            bars[step] = click.progressbar(length=total, label=step, file=sys.stderr)
            bars[step].render_progress()
        bars[step].update(done - bars[step].pos)
        if done == total:
            bars[step].render_finish()

    return show


def _expansion_lines(report: Any) -> list[str]:
    small, large = report.source_config, report.target_config

    def sizes(config: Any) -> str:
        d, heads = config["hidden_size"], config["num_attention_heads"]
        layers = config["num_hidden_layers"]
        return f"{layers} layers, width {d}, {heads} heads of {d // heads}"

    lines = [
        f"{report.target} is written: {report.parameters_before:,} -> "
        f"{report.parameters_after:,} parameters "
        f"({sizes(small)} -> {sizes(large)}).",
        f"It computes the same on {report.sequences} token sequences, {report.sentences} of them "
        f"sentences: largest relative difference {report.error:.1e} in float64 "
        f"(allowed: {report.tolerance:g}).",
    ]
    if not report.sentences:
        lines.append("There is no vocab.txt that fits, so all sequences were random.")
    if report.from_16_bit:
        lines.append("Weights of 16 bits were written as float32, so that none is rounded.")
    return lines


COMMANDS = (expand,)
