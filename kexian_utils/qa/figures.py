r"""A question that was answered, as a picture: passages as heat strips (热力条), then the votes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks, plots
from kexian_utils.qa.features import FEATURES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from kexian_utils.qa.reader import PassageReading, Reading

__all__ = ["reading_figure"]

# CSS pixels
_MARGIN, _LABELS, _SCORE = 8, 128, 46
_CHARACTERS, _FEATURE, _GATE, _PROBABILITY = 22, 15, 7, 17  # heights of the rows
_GROUP_GAP, _LINE_GAP, _PASSAGE_GAP = 3, 7, 16
_VOTE, _HEADING = 22, 22

_WINNER, _OTHER, _EMPTY, _QUIET = plots.PALETTE[1], plots.PALETTE[0], "#e4e4e4", "#505050"
_SMALL, _PLAIN, _LARGE = 9.2, 10.0, 12.0  # points: the page of a phone shrinks them to 57 %
_UPRIGHT: dict[str, Any] = {
    "family": "DejaVu Sans",
    "weight": "bold",
}  # the Chinese font has one weight
_COUNTED_VOTES = 5


class _Row(NamedTuple):
    """Values of the characters of a passage, shape (n,), within 0 to 1; `gap` is above them."""

    label: str
    height: int
    values: np.ndarray
    probability: bool = False
    gap: int = 0


def reading_figure(
    question: str,
    reading: Reading,
    *,
    features: Sequence[ArrayLike] | None = None,
    gates: Sequence[ArrayLike] | None = None,
    title: str | None = None,
    shown: int = 6,
    columns: int = 24,
    lines: int = 3,
) -> Figure:
    r"""Draw what each passage says to a question and how the votes end.

    A passage is a block of lines: the characters, and under them rows of cells for features and
    gates, if given, and for the probabilities of start and end, the global score included. A bar
    beside the block shows the global score :math:`p^g`, and an outline the place of the winning
    answer. Below are the five best answers with the results of the vote.

    Features and gates are coloured in proportion, start and end by their square root, because
    focal loss keeps even sure probabilities low; two scales show this.

    If there are more passages than fit, those that give the winner the highest scores are shown,
    then those with the best candidates, in the order of the passages; the others are counted. Of a
    long passage as many characters are shown as fit in its lines: around the winning answer, else
    around the likeliest start; dots mark where it was cut.

    Args:
        question: its text.
        reading: what :meth:`kexian_utils.qa.reader.DGCNNReader.answer` found.
        features: of each passage, shape ``(n, 5)``, as
            :func:`kexian_utils.qa.features.match_features` returns them.
        gates: openness of the gates of each passage, shape ``(layers, n)``, within 0 to 1.
        title: stands above the question.
        shown: most passages that are drawn, at least 1.
        columns: characters in a line, at least 4.
        lines: most lines of a passage, at least 1.

    Returns:
        A figure 600 CSS pixels wide, in the style of the book, as high as it needs.

    Raises:
        ValueError: if features or gates do not fit the passages, or a number is out of range.

    Examples:
        >>> from kexian_utils.qa.reader import DGCNNReader, bundled_reader
        >>> question, passages = "日本的首都是哪里？", ["东京是日本的首都。", "巴黎很美。"]
        >>> reading = DGCNNReader.load(bundled_reader()).answer(question, passages)
        >>> figure = reading_figure(question, reading)
        >>> figure.get_size_inches()[0].item() * 96  # CSS pixels
        600.0
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    for name, value, least in (("shown", shown, 1), ("columns", columns, 4), ("lines", lines, 1)):
        _checks.whole(name, value, least)
    rows = _rows(reading.passages, features, gates)
    with mpl.rc_context():
        plots.use_style()
        figure = Figure()
        figure.set_layout_engine("none")
        page = _Page(figure.add_axes((0, 0, 1, 1)), columns, lines)
        page.heading(title, question, reading)
        chosen = _chosen(reading, shown)
        for number in chosen:
            page.passage(number, reading.passages[number], rows[number])
        page.others([p for k, p in enumerate(reading.passages) if k not in chosen], reading.answer)
        if chosen:
            page.scales(features is not None, gates is not None)
        page.votes(reading)
        page.close()
    return figure


def _rows(
    passages: Sequence[PassageReading],
    features: Sequence[ArrayLike] | None,
    gates: Sequence[ArrayLike] | None,
) -> list[list[_Row]]:
    """The rows of each passage, from top to bottom."""
    short = [n.replace("character", "char").replace("other passages", "others") for n in FEATURES]
    every = []
    for number, passage in enumerate(passages):
        n, rows = len(passage.text), []
        if features is not None:
            table = _fitting("features", features, number, passages)
            if table.shape != (n, len(FEATURES)):
                raise ValueError(
                    f"features[{number}] must have shape {(n, len(FEATURES))}, got {table.shape}"
                )
            rows += [_Row(name, _FEATURE, v) for name, v in zip(short, table.T, strict=True)]
        if gates is not None:
            table = _fitting("gates", gates, number, passages)
            if table.ndim != 2 or table.shape[1] != n:
                raise ValueError(
                    f"gates[{number}] must have shape (layers, {n}), got {table.shape}"
                )
            middle = (len(table) - 1) // 2  # one label for all of them
            for layer, values in enumerate(table):
                label = f"gates, layers 1–{len(table)}" if layer == middle else ""
                gap = _GROUP_GAP if rows and layer == 0 else 0
                rows.append(_Row(label, _GATE, values, gap=gap))
        start, end = (np.asarray(p, float) for p in (passage.p_start, passage.p_end))
        rows.append(_Row("start", _PROBABILITY, start, True, _GROUP_GAP if rows else 0))
        rows.append(_Row("end", _PROBABILITY, end, True))
        every.append(rows)
    return every


def _fitting(
    name: str, values: Sequence[ArrayLike], number: int, passages: Sequence[Any]
) -> np.ndarray:
    if len(values) != len(passages):
        raise ValueError(
            f"{name} must have an array for each of the {len(passages)} passages, got {len(values)}"
        )
    table = np.asarray(values[number], float)
    if not ((table >= 0) & (table <= 1)).all():
        raise ValueError(f"{name}[{number}] must lie between 0 and 1")
    return table


def _chosen(reading: Reading, shown: int) -> list[int]:
    def weight(number: int) -> tuple[float, float, float]:
        passage = reading.passages[number]
        own = passage.candidates
        return own.get(reading.answer, 0.0), max(own.values(), default=0.0), passage.answerable

    order = sorted(range(len(reading.passages)), key=weight, reverse=True)
    return sorted(order[:shown])


class _Page:
    """Axes whose unit is a CSS pixel, filled from top to bottom."""

    def __init__(self, axes: Any, columns: int, lines: int) -> None:
        from matplotlib.colors import Normalize, PowerNorm

        self.axes, self.columns, self.lines = axes, columns, lines
        self.left = _MARGIN + _LABELS
        self.right = plots.WIDTH - _MARGIN - _SCORE
        self.cell = (self.right - self.left) / columns
        self.y = float(_MARGIN)
        self.first = True
        self.linear, self.root = Normalize(0, 1), PowerNorm(0.5, 0, 1)
        axes.set_axis_off()

    def close(self) -> None:
        height = self.y + _MARGIN
        self.axes.set_xlim(0, plots.WIDTH)
        self.axes.set_ylim(height, 0)
        self.axes.figure.set_size_inches(plots.WIDTH / plots.CSS_DPI, height / plots.CSS_DPI)

    def text(self, x: float, y: float, text: str, size: float = _PLAIN, **options: Any) -> None:
        given = {"va": "center", "color": "black", "parse_math": False} | options
        self.axes.text(x, y, text, fontsize=size, **given)

    def box(self, x: float, y: float, width: float, height: float, **options: Any) -> None:
        from matplotlib.patches import Rectangle

        self.axes.add_patch(Rectangle((x, y), width, height, **{"linewidth": 0} | options))

    def cells(
        self, x: float, width: float, row: _Row, values: np.ndarray, edges: str = "white"
    ) -> None:
        """A row of cells at the present height."""
        self.axes.pcolormesh(
            x + width * np.arange(len(values) + 1),
            [self.y, self.y + row.height],
            values[None],
            cmap=plots.SEQUENTIAL,
            norm=self.root if row.probability else self.linear,
            edgecolors=edges,
            linewidth=0.4,
        )

    def heading(self, title: str | None, question: str, reading: Reading) -> None:
        """Title, question, and the answer behind a patch of the colour that it has everywhere."""
        width = int((plots.WIDTH - 2 * _MARGIN) / (_LARGE * plots.CSS_DPI / 72 / 2))
        for text in filter(None, (title, _drawn(question))):
            for line in _wrapped(text, width):
                self.text(_MARGIN, self.y + _HEADING / 2, line, _LARGE)
                self.y += _HEADING
        x = _MARGIN
        if reading.answer:
            self.box(x, self.y + 5, 12, 12, facecolor=_WINNER)
            x += 20
        answer = _clipped(_drawn(reading.answer), width - 4) or "no answer"
        self.text(x, self.y + _HEADING / 2, answer, _LARGE)
        self.y += _HEADING + 6

    def passage(self, number: int, passage: PassageReading, rows: Sequence[_Row]) -> None:
        top = self.y
        first, last = self._part(passage)
        self.text(_MARGIN, top + _CHARACTERS / 2, f"passage {number + 1}", **_UPRIGHT)
        if not passage.text:
            self.text(self.left, top + _CHARACTERS / 2, "empty", color=_QUIET)
            self.y += _CHARACTERS
        for start in range(first, last, self.columns):
            stop = min(start + self.columns, last)
            self._line(passage, rows, start, stop, labelled=start == first)
            dots: dict[str, Any] = {"color": _QUIET, "va": "center"}
            middle = self.y - self._height(rows) + _CHARACTERS / 2
            if start == first and start > 0:
                self.text(self.left - 2, middle, "…", ha="right", **dots)
            if stop == last and stop < len(passage.text):
                self.text(self.left + (stop - start) * self.cell + 2, middle, "…", **dots)
            self.y += _LINE_GAP
        if first < last:
            self.y -= _LINE_GAP
            self._score(passage.answerable, top)
        self.y += _PASSAGE_GAP

    def _part(self, passage: PassageReading) -> tuple[int, int]:
        """First and last character to show, the last excluded."""
        n, room = len(passage.text), self.columns * self.lines
        if n <= room:
            return 0, n
        middle = sum(passage.span) // 2 if passage.span else int(np.argmax(passage.p_start))
        first = min(max(middle - room // 2, 0), n - room)
        return first, first + room

    def _height(self, rows: Sequence[_Row]) -> float:
        return _CHARACTERS + sum(row.gap + row.height for row in rows)

    def _line(
        self,
        passage: PassageReading,
        rows: Sequence[_Row],
        start: int,
        stop: int,
        labelled: bool,
    ) -> None:
        top = self.y
        size = min(_LARGE, 0.72 * self.cell)
        for place in range(start, stop):
            x = self.left + (place - start + 0.5) * self.cell
            self.text(x, top + _CHARACTERS / 2, _drawn(passage.text[place]), size, ha="center")
        self.y += _CHARACTERS
        for row in rows:
            self.y += row.gap
            self.cells(self.left, self.cell, row, row.values[start:stop])
            if labelled:
                middle = self.y + row.height / 2
                self.text(self.left - 5, middle, row.label, _SMALL, ha="right", color=_QUIET)
            self.y += row.height
        if passage.span and passage.span[0] < stop and passage.span[1] > start:
            begin, end = (min(max(place, start), stop) - start for place in passage.span)
            x, width = self.left + begin * self.cell, (end - begin) * self.cell
            style = {"fill": False, "edgecolor": _WINNER, "linewidth": 2}
            self.box(x, top + 1, width, self.y - top - 1, **style)

    def _score(self, score: float, top: float) -> None:
        """The global score as a column beside the block."""
        x, width = self.right + 14, _SCORE - 20
        floor, height = self.y, self.y - top - _CHARACTERS
        self.box(x, floor - height, width, height, facecolor=_EMPTY)
        self.box(x, floor - score * height, width, score * height, facecolor=_OTHER)
        middle = top + _CHARACTERS / 2
        self.text(x + width / 2, middle, f"{score:.2f}", _SMALL, ha="center")
        if self.first:
            self.text(x + width / 2, middle - 15, "$p^g$", ha="center", parse_math=True)
            self.first = False

    def others(self, passages: Sequence[PassageReading], answer: str) -> None:
        """How many passages are not drawn, and what they say."""
        if not passages:
            return
        same = sum(answer in passage.candidates for passage in passages)
        unlike = sum(
            bool(passage.candidates) and answer not in passage.candidates for passage in passages
        )
        silent = len(passages) - same - unlike
        kinds = {_clipped(_drawn(answer), 16): same, "other answers": unlike, "nothing": silent}
        counts = ", ".join(f"{kind} ({count})" for kind, count in kinds.items() if count)
        more = f"{len(passages)} more passages propose"
        if len(passages) == 1:
            more = "1 more passage proposes"
        self.text(self.left, self.y, f"{more}: {counts}", color=_QUIET)
        self.y += _PASSAGE_GAP + 4

    def scales(self, features: bool, gates: bool) -> None:
        """What the colours mean."""
        names = " and ".join(["features"] * features + ["gates"] * gates)
        scales: list[tuple[str, tuple[float, ...], bool]] = [("start, end", (0, 0.1, 0.5, 1), True)]
        if names:
            scales.insert(0, (names, (0, 0.5, 1), False))
        x, width = float(self.left), (self.right - self.left - 30) / 2
        norms = {True: self.root, False: self.linear}
        for name, ticks, probability in scales:
            values = np.linspace(0, 1, 51)
            edges = np.asarray(norms[probability].inverse(values))
            row = _Row("", 10, (edges[1:] + edges[:-1]) / 2, probability)
            self.text(x, self.y + 5, name, _SMALL, color=_QUIET)
            self.y += 14
            self.cells(x, width / len(row.values), row, row.values, "face")
            for tick in ticks:
                place = x + width * float(norms[probability](tick))
                self.text(place, self.y + 18, f"{tick:g}", _SMALL, ha="center", color=_QUIET)
            self.y -= 14
            x += width + 30
        self.y += 14 + 10 + 16 + _PASSAGE_GAP

    def votes(self, reading: Reading) -> None:
        """Bars of the best answers."""
        best = list(reading.votes.items())[:_COUNTED_VOTES]
        self.text(_MARGIN, self.y + _VOTE / 2, "votes", **_UPRIGHT)
        if not best:
            self.text(self.left, self.y + _VOTE / 2, "no passage proposes an answer", color=_QUIET)
            self.y += _VOTE
            return
        names = [_clipped(_drawn(answer), 24) for answer, _ in best]
        x = max(self.left, _MARGIN + 50 + 7 * max(map(_width, names)))
        room = (plots.WIDTH - _MARGIN - 58 - x) / max(1.0, best[0][1])
        for name, (answer, value) in zip(names, best, strict=True):
            colour = _WINNER if answer == reading.answer else _OTHER
            middle = self.y + _VOTE / 2
            self.text(x - 6, middle, name, ha="right")
            self.box(x, self.y + 4, room * value, _VOTE - 8, facecolor=colour)
            self.text(x + room * value + 5, middle, f"{value:.3g}", _SMALL)
            self.y += _VOTE
        if len(reading.votes) > len(best):
            rest = len(reading.votes) - len(best)
            text = f"{rest} more candidate{'s' if rest > 1 else ''}"
            self.text(x, self.y + 8, text, _SMALL, color=_QUIET)
            self.y += 16


def _drawn(text: str) -> str:
    """Without what fonts cannot draw and what would break the line."""
    return "".join(
        " "
        if c.isspace()
        else c
        if c.isprintable() and unicodedata.category(c) != "Cs"
        else "\ufffd"
        for c in text
    )


def _width(text: str) -> int:
    """Columns of a terminal: two for each Chinese character."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _clipped(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) >= width:
        text = text[:-1]
    return f"{text}…"


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most this width, three at most; words of letters are kept whole if possible."""
    lines, rest = [], text.strip()
    while rest:
        stop, used = 0, 0
        while stop < len(rest) and used + _width(rest[stop]) <= width:
            used += _width(rest[stop])
            stop += 1
        space = rest.rfind(" ", 0, stop)
        if stop < len(rest) and space > stop // 2:
            stop = space + 1
        lines.append(rest[:stop].rstrip())
        rest = rest[stop:].lstrip()
    if len(lines) > 3:
        lines = [*lines[:2], _clipped(lines[2] + "……", width)]
    return lines or [""]
