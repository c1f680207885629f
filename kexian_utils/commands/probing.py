"""The commands that read words and trees off a masked language model: `segment` and `parse`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kexian_utils.commands.common import RealRange, WholeRange
from kexian_utils.commands.streams import Lines, Output, figure_path, json_line, unreachable
from kexian_utils.errors import ENVIRONMENT, USAGE, KexianError

Command = Callable[..., Any]


def _input_options(command: Command) -> Command:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="One JSON object a line."),
        click.option(
            "--model",
            metavar="NAME",
            help="chinese or minilm, which are bundled; a folder in Hugging Face's form; or "
            "OWNER/NAME of Hugging Face, which is downloaded.",
        ),
        click.option(
            "--file",
            "files",
            multiple=True,
            type=click.Path(),
            metavar="PATH",
            help="Text in UTF-8, - for standard input; may be given several times.",
        ),
        click.argument("texts", nargs=-1, metavar="[TEXT]..."),
    ):
        command = decorate(command)
    return command


@click.command()
@_input_options
@click.option("--separator", default=" ", metavar="TEXT", help="Between words; default: a space.")
@click.option(
    "--score",
    metavar="NAME",
    help="pmi, kl, probability (they need a masked-language-model head), euclidean or cosine. "
    "Default: what goes with the model (with the bundled one counts+euclidean, a sum with counts "
    "of neighbours), else pmi, or euclidean without a head.",
)
@click.option(
    "--layer",
    type=WholeRange(min=0),
    metavar="N",
    help="Of euclidean and cosine; default: the last.",
)
@click.option("--threshold", type=RealRange(), metavar="X", help="Cut gaps whose score is lower.")
@click.option(
    "--cut-share",
    type=RealRange(0, 1),
    metavar="P",
    help="Take the threshold below which this share of the gaps lies. Default where no threshold "
    "goes with the model: 0.6.",
)
@click.option(
    "--no-rules",
    is_flag=True,
    help="Leave letters, digits and punctuation to the model, too.",
)
def segment(
    texts: tuple[str, ...],
    files: tuple[str, ...],
    model: str | None,
    as_json: bool,
    separator: str,
    score: str | None,
    layer: int | None,
    threshold: float | None,
    cut_share: float | None,
    no_rules: bool,
) -> None:
    """Cut text into words with a masked language model that was never taught where words end.

    Text comes from the arguments and files, else from standard input; each line gives one line,
    empty ones stay empty. A line is read as UTF-8 without the byte-order mark of its file. Long
    input streams through at constant memory.

    No character is lost or changed: joined, the words are the line. White space stays with the
    word before it, and there is always a cut after it; a separator that is white space is not
    written where the text has it already. Punctuation stands alone, letters and digits that
    follow each other stay together. Where the text may hold the separator, use --json: text,
    words, units (what could have been words), the scores of the gaps between units (null where
    there is a cut whatever the model says), score, threshold, model.

    The bundled model's score is a sum with counts of neighbouring characters; README.md in the
    folder of the model says what either is worth alone, and without rules. A page of a thousand
    characters takes some five seconds.

    A model without a threshold of its own gets it from the first 1000 lines, which are read
    before the first is written; give --threshold where a stream must not wait.

    \b
    Examples:
      kexian segment 今天天气很好
      kexian segment --separator / --file novel.txt > words.txt
      cat novel.txt | kexian segment --json --model google-bert/bert-base-chinese
    """
    with Output() as out:
        lines = Lines(texts, files, out.flush)
        from kexian_utils.bert.segmenter import Segmenter

        opened = _opened(model or "chinese")
        segmenter = Segmenter(
            opened,
            score,
            layer,
            threshold,
            cut_share,
            rules=not no_rules,
        )
        chosen = segmenter.threshold is None
        for found in segmenter(lines):
            if chosen:
                chosen = False
                click.echo(f"kexian: the threshold is {segmenter.threshold:.6g}.", err=True)
            if as_json:
                out.write(json_line(_segmentation_record(found, opened.name, segmenter)))
            else:
                out.write(_joined(found.words, separator))


def _joined(words: list[str], separator: str) -> str:
    parts: list[str] = []
    for word in words:
        if parts and not (separator.isspace() and parts[-1].endswith(separator)):
            parts.append(separator)
        parts.append(word)
    return "".join(parts)


def _segmentation_record(found: Any, model: str, segmenter: Any) -> dict[str, Any]:
    return {
        "text": found.text,
        "words": found.words,
        "units": found.units,
        "scores": found.scores,
        "score": segmenter.score,
        "layer": segmenter.layer,
        "threshold": found.threshold,
        "model": model,
    }


@click.command()
@_input_options
@click.option(
    "--tree",
    metavar="KIND",
    help="spanning: the heaviest undirected tree; eisner: projective heads; phrases: nested pairs. "
    "Default: phrases for sentences with Chinese characters, spanning for others.",
)
@click.option(
    "--mode",
    default="single",
    metavar="MODE",
    help="single: mask one word at a time (default); double: two, which takes longer.",
)
@click.option(
    "--layer",
    type=WholeRange(min=0),
    metavar="N",
    help="Default: 5/6 of the way up for spanning trees, 4/6 for others (MiniLM: 5 and 4).",
)
@click.option("--keep-punctuation", is_flag=True, help="Give punctuation a place in the tree.")
@click.option(
    "--tokenized", is_flag=True, help="A line is one sentence, its words are separated by spaces."
)
@click.option(
    "--figure",
    metavar="PATH",
    help="Draw tree and matrix to a .svg, .png or .pdf; of several sentences to PATH-1, PATH-2, …",
)
def parse(
    texts: tuple[str, ...],
    files: tuple[str, ...],
    model: str | None,
    as_json: bool,
    tree: str | None,
    mode: str,
    layer: int | None,
    keep_punctuation: bool,
    tokenized: bool,
    figure: str | None,
) -> None:
    """Show the tree of each sentence that a masked language model was never taught.

    Text comes from the arguments and files, else from standard input, and is cut into sentences.
    By default MiniLM parses them, and the bundled Chinese BERT those with Chinese characters,
    which it first cuts into words as `kexian segment` does.

    Spanning trees are printed an arc a line, under the sentence; `--tree eisner` in ten columns
    of CoNLL-U, in which 0 heads the root; `--tree phrases` as brackets, a sentence a line.
    Punctuation is read by the model, but left out of the tree. A sentence of one word has a tree
    without arcs, one of punctuation alone an empty tree; no text, no tree. --json gives line,
    text, words, offsets, tree (counted from 0), matrix (row: the word that is changed by masking
    the column's), mode, layer, model.

    How good they are: on 500 English sentences (UD PUD, on which the layer was chosen) the
    spanning trees find 53 % of the arcs, the chain of neighbours 42 %; on 200 Chinese ones (UD
    GSDSimp, words as given there) the phrases find 45 % of the constituents, cuts by distance
    alone 24 %, random ones 23 %.

    \b
    Examples:
      kexian parse "The quick brown fox jumps over the lazy dog."
      kexian parse --tree phrases --file story.txt
      kexian parse --figure tree.svg 大肠杆菌是一种细菌
    """
    with Output() as out:
        figures = _Figures(figure) if figure else None
        lines = Lines(texts, files, out.flush)
        from kexian_utils.bert.parser import Parser

        parser = Parser(
            None if model is None else _opened(model),
            tree,
            mode,
            layer,
            keep_punctuation,
        )
        for found in parser(lines, tokenized):
            out.write(json_line(_parse_record(found)) if as_json else _tree_text(found))
            if figures:
                figures.add(found)
        if figures:
            figures.close()


def _parse_record(found: Any) -> dict[str, Any]:
    return {
        "line": found.number + 1,
        "text": found.text,
        "words": found.words,
        "offsets": found.offsets,
        "kind": found.kind,
        "tree": found.tree.tolist() if hasattr(found.tree, "tolist") else found.tree,
        "matrix": [[float(f"{x:.5g}") for x in row] for row in found.matrix.tolist()],
        "mode": found.mode,
        "layer": found.layer,
        "model": found.model,
    }


def _tree_text(found: Any) -> str:
    words = [_printable(word) for word in found.words]
    if found.kind == "phrases":
        return _brackets(found.tree, words)
    lines = ["# text = " + " ".join(_printable(part) for part in found.text.split())]
    if found.kind == "spanning":
        named = [f"{number} {word}" for number, word in enumerate(words, start=1)]
        lines += [f"{named[a]} -- {named[b]}" for a, b in found.tree.tolist()]
    else:
        for number, (word, head) in enumerate(zip(words, found.tree.tolist(), strict=True), 1):
            relation = "root" if head < 0 else "dep"
            columns = (number, word, "_", "_", "_", "_", head + 1, relation, "_", "_")
            lines.append("\t".join(map(str, columns)))
    return "\n".join([*lines, ""])


def _printable(word: str) -> str:
    return "".join(c if c.isprintable() or c == "\u200d" else "\ufffd" for c in word)


def _brackets(tree: Any, words: list[str]) -> str:
    """Nested pairs as brackets; brackets among the words as in the Penn Treebank."""
    if tree is None:
        return "()"
    parts, todo = [], [tree]
    while todo:  # trees may be too deep for recursion
        item = todo.pop()
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, tuple):
            todo += [")", item[1], " ", item[0], "("]
        else:
            parts.append(words[item].replace("(", "-LRB-").replace(")", "-RRB-"))
    return "".join(parts)


def _opened(name: str) -> Any:
    from kexian_utils.bert.models import open_model

    try:
        return open_model(name)
    except ValueError as error:
        raise KexianError(str(error), ENVIRONMENT if unreachable(error) else USAGE) from None


class _Figures:
    """A file for each sentence: PATH for a single one, PATH-1, PATH-2, … for several."""

    def __init__(self, path: str) -> None:
        self._path = figure_path("--figure", path)
        self._count, self._first = 0, None

    def add(self, found: Any) -> None:
        self._count += 1
        if self._count == 1:
            self._first = found
            return
        if self._count == 2:
            self._draw(self._first, self._numbered(1))
        self._draw(found, self._numbered(self._count))

    def close(self) -> None:
        if self._count == 1:
            self._draw(self._first, self._path)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}-{number}{self._path.suffix}")

    def _draw(self, found: Any, path: Path) -> None:
        if len(found.words) < 2:
            click.echo(f"kexian: {path} is not drawn: fewer than two words in a tree.", err=True)
            return
        from kexian_utils.bert.drawing import save_parse

        save_parse(found, path)


COMMANDS = (segment, parse)
