"""Pictures of sentences that were parsed: the tree above the words, the matrix beneath."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

from kexian_utils.plots import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kexian_utils.bert.parser import ParsedSentence

__all__ = ["draw_parse", "save_parse"]

_CELL = 0.42  # inches


def draw_parse(found: ParsedSentence) -> Figure:
    """Arcs of a dependency tree, or the branches of a phrase tree, above the impact matrix.

    Arrows point from a head to its dependent. The diagonal of the matrix is left blank.

    Args:
        found: with two words or more.

    Raises:
        ValueError: for fewer words.

    Examples:
        >>> from kexian_utils.bert import Parser, open_model
        >>> found = next(Parser(open_model("chinese"))(["我们热爱中国。"]))
        >>> figure = draw_parse(found)
        >>> figure.axes[0].get_title()
        'chinese, layer 3, single mask'
        >>> [label.get_text() for label in figure.axes[1].get_xticklabels()]
        ['我们', '热爱', '中国']
    """
    from matplotlib.figure import Figure

    n = len(found.words)
    if n < 2:
        raise ValueError(f"found must have two words or more, got {n}")
    words = [_shown(word) for word in found.words]
    longest = max(map(_columns, words))
    side = _CELL * n
    margin = 0.12 * longest + 0.3
    above = max(1.0, 0.45 * side)
    figure = Figure(figsize=(max(4.0, side + margin + 1.2), side + margin + above + 0.8))
    axes = figure.subplots(2, 1, sharex=True, height_ratios=(above, side))
    tree, cells = axes
    _draw_matrix(cells, found.matrix, words, upright=longest > 3)
    (_draw_phrases if found.kind == "phrases" else _draw_arcs)(tree, found.tree, n)
    tree.set_axis_off()
    tree.set_title(f"{found.model}, layer {found.layer}, {found.mode} mask", parse_math=False)
    return figure


def save_parse(found: ParsedSentence, path: str | os.PathLike) -> None:
    """Draw to a file as :func:`kexian_utils.plots.save_figure` does.

    Raises:
        ValueError: for another suffix than .svg, .png and .pdf, or a sentence of fewer than two
            words.
        OSError: if the file cannot be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from kexian_utils.bert import Parser, open_model
        >>> found = next(Parser(open_model("chinese"))(["我们热爱中国。"]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_parse(found, f"{folder}/parse.svg")
        ...     "<svg" in Path(folder, "parse.svg").read_text(encoding="utf-8")
        True
    """
    save_figure(lambda: draw_parse(found), path)


def _draw_matrix(axes: Any, matrix: np.ndarray, words: list[str], upright: bool) -> None:
    n = len(words)
    values = np.ma.masked_array(matrix, np.eye(n, dtype=bool))
    image = axes.imshow(values, aspect="auto")
    # The words are the labels of the columns, and so stand between the tree and the matrix.
    axes.xaxis.tick_top()
    axes.set_xticks(range(n), words, rotation=90 if upright else 0, parse_math=False)
    axes.set_yticks(range(n), words, parse_math=False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("the word that is masked")
    axes.set_ylabel("the word that changes")
    axes.figure.colorbar(image, ax=axes, label="distance", shrink=min(1, 4 / n))


def _draw_arcs(axes: Any, tree: np.ndarray, n: int) -> None:
    from matplotlib.patches import FancyArrowPatch, PathPatch
    from matplotlib.path import Path as Curve

    directed = tree.ndim == 1
    arcs = [(h, m) for m, h in enumerate(tree) if h >= 0] if directed else tree.tolist()
    top = 2.0  # at least: else the arcs of a chain are steeples
    codes = [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4]
    for a, b in arcs:
        height = 4 / 3 * abs(a - b) ** 0.8  # of the control points; the arc rises to 3/4 of it
        top = max(top, 0.75 * height)
        curve = Curve([(a, 0), (a, height), (b, height), (b, 0)], codes)
        if directed:
            style: dict[str, Any] = {
                "arrowstyle": "-|>",
                "mutation_scale": 9,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            axes.add_patch(FancyArrowPatch(path=curve, lw=1.4, color="C0", **style))
        else:
            axes.add_patch(PathPatch(curve, lw=1.4, edgecolor="C0", facecolor="none"))
    if directed:
        root = int(np.flatnonzero(tree < 0)[0])
        axes.annotate(
            "root", (root, 0), (root, 1.1 * top), ha="center", arrowprops={"arrowstyle": "-|>"}
        )
    axes.set_ylim(0, 1.2 * top)
    axes.set_xlim(-0.5, n - 0.5)


def _draw_phrases(axes: Any, tree: Any, n: int) -> None:
    """Each phrase is a bar over its two parts, as high as the phrases within it require."""
    places: list[tuple[float, int]] = []  # of the trees that are done
    todo: list[tuple[str, Any]] = [("tree", tree)]
    while todo:
        kind, item = todo.pop()
        if kind == "tree" and isinstance(item, tuple):
            todo += [("join", None), ("tree", item[1]), ("tree", item[0])]
        elif kind == "tree":
            places.append((float(item), 0))
        else:
            (x2, y2), (x1, y1) = places.pop(), places.pop()
            y = max(y1, y2) + 1
            axes.plot([x1, x1, x2, x2], [y1, y, y, y2], color="C0", linestyle="-", lw=1.4)
            places.append(((x1 + x2) / 2, y))
    axes.set_ylim(0, places[0][1] + 0.5)
    axes.set_xlim(-0.5, n - 0.5)


def _shown(word: str) -> str:
    """Without what fonts cannot draw and what would break the line."""
    return "".join(
        c if c.isprintable() and unicodedata.category(c) != "Cs" else "\ufffd" for c in word
    )


def _columns(word: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in word)
