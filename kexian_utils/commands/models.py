"""The commands that work on models rather than on the book."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from kexian_utils.commands.common import RealRange, WholeRange, count_option, seed_option
from kexian_utils.commands.streams import unreachable
from kexian_utils.errors import ENVIRONMENT, KexianError, from_stopped_run, is_full


@click.command()
@click.argument("source", type=click.Path())
@click.argument("target", type=click.Path())
@click.option(
    "--width",
    default=1,
    type=WholeRange(min=1),
    metavar="K",
    help="Factor of the width, such as 2.",
)
@click.option(
    "--heads",
    type=click.Choice(["wider", "more"]),
    default="wider",
    show_default=True,
    help="A wider model has wider heads, or more of them.",
)
@click.option(
    "--depth",
    default=0,
    type=WholeRange(min=0),
    metavar="+N",
    help="Number of new layers, such as +2.",
)
@click.option(
    "--after",
    type=WholeRange(min=0),
    metavar="LAYER",
    help="New layers follow this one, counted from 0; default: the last.",
)
@click.option(
    "--break-ties",
    default=0.0,
    type=RealRange(0, 100),
    metavar="STD",
    help="Noise that makes copied units differ and cancels in the output, relative to the "
    "weights; without it they learn alike for ever.",
)
@seed_option("Of that noise.")
def expand(
    source: str,
    target: str,
    width: int,
    heads: str,
    depth: int,
    after: int | None,
    break_ties: float,
    seed: int,
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
            width=width,
            heads=heads,
            depth=depth,
            after=after,
            break_ties=break_ties,
            seed=seed,
            progress=_step_bars(),
        )
    except KeyboardInterrupt:
        raise KexianError("interrupted; nothing was written.", 130) from None
    except ValueError as error:
        if not unreachable(error):
            raise
        raise KexianError(str(error), ENVIRONMENT) from None
    except OSError as error:
        raise KexianError(
            f"{error.filename or target}: {error.strerror or error}; "
            f"{'free some space or ' if is_full(error) else ''}choose a target elsewhere. Nothing "
            "was written.",
            ENVIRONMENT,
        ) from None
    for line in _expansion_lines(report):
        click.echo(line)


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


@click.command("pretrain-bert")
@click.argument("folder", type=click.Path())
@click.option(
    "--text",
    "texts",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Text in UTF-8 whose documents are separated by empty lines; may be given several times. "
    "Default: the People's Daily (人民日报) of January 1998.",
)
@count_option("--steps", 6000, "Optimiser steps.")
@count_option("--layers", 4, "Layers.")
@count_option("--width", 256, "Width.")
@count_option("--heads", 4, "Heads per layer.")
@count_option("--batch-tokens", 4096, "Tokens per step.")
@seed_option("Of all that is random.")
def pretrain_bert(folder: str, texts: tuple[str, ...], **sizes: int) -> None:
    """Pre-train a small Chinese character BERT in FOLDER, or go on with the run that is there.

    Each character is a token. Five per cent of the documents are held out, of the vocabulary, too;
    the weights with the lowest loss on them are written to FOLDER/model in Hugging Face's form.
    Interrupted and called again in the same words, the run goes on where it stopped and ends with
    the same weights.

    \b
    Examples:
      kexian pretrain-bert runs/bert
      kexian pretrain-bert runs/novel --text novel.txt --steps 2000
    """
    from kexian_utils.bert.pretrain import Recipe, pretrain, read_documents, split_documents

    recipe = Recipe(**sizes, hidden=4 * sizes["width"])
    train, held_out = (
        split_documents(read_documents(texts), seed=recipe.seed)
        if texts
        else (_peoples_daily_sentences())
    )
    try:
        model = pretrain(folder, train, held_out, recipe, report=_training_lines(time.monotonic))
    except KeyboardInterrupt:
        raise KexianError(
            f"interrupted; {folder} is kept: the same command goes on where it stopped.", 130
        ) from None
    except OSError as error:
        raise from_stopped_run(error, folder) from None
    click.echo(f"{model} is written. Try: kexian segment --model {model} 今天天气很好")


def _peoples_daily_sentences() -> Any:
    from kexian_utils.bert.masking import pretraining_sentences
    from kexian_utils.datasets import DatasetUnavailable, peoples_daily_split

    try:
        split = peoples_daily_split()
    except DatasetUnavailable as error:
        raise KexianError(str(error), ENVIRONMENT) from None
    return tuple(
        [pretraining_sentences(["".join(words) for words in document]) for document in part]
        for part in (split.train, split.development)
    )


def _training_lines(clock: Any) -> Any:
    """A line at each measurement; on a terminal a line that is overwritten in between."""
    shown = [clock()]

    def show(state: dict[str, Any]) -> None:
        minutes, seconds = divmod(round(state["seconds_left"]), 60)
        line = f"step {state['step']:,} of {state['steps']:,}"
        left = f"{minutes} min {seconds:02d} s left"
        scores = state["held_out"]
        if scores is not None:
            click.echo(
                f"{line}: held-out loss {scores['loss']:.3f} nats, accuracy "
                f"{scores['accuracy']:.3f}; {left}"
            )
        elif sys.stderr.isatty() and clock() - shown[0] > 1:
            shown[0] = clock()
            click.echo(f"\r{line}: loss {state['loss']:.2f}; {left}   \r", err=True, nl=False)

    return show


COMMANDS = (expand, pretrain_bert)
