"""The page *Losses compared*: what each loss of the book asks for, measured on its formula."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from kexian_utils import sliders
from kexian_utils.catalogue import Catalogue
from kexian_utils.losses.comparison import (
    COMPARED,
    ComparedLoss,
    LossFacts,
    best_output,
    loss_facts,
)
from kexian_utils.runner.pages import library as library_pages

__all__ = ["figure", "page", "rows"]

CLASSES = (2, 10)
SHARES = (0.01, 0.3)  # of the labels, for the tables
MARGINS = np.linspace(-6, 6, 121)
POSTERIORS = np.concatenate([[0.005], np.linspace(0.02, 0.98, 49), [0.995]])
ALT = (
    "Three diagrams for a chosen loss, strength and number of classes, cross-entropy beside it: "
    "the loss over the lead of the right class, its slope, and the output that it asks for over "
    "the share of the labels. Cross-entropy's outputs are the diagonal; focal loss and "
    "soft truncation pull them to the middle, the margin loss cuts them off, soft accuracy makes a "
    "step of them."
)


def page(library: library_pages.Library, catalogue: Catalogue, written: Mapping[str, str]) -> str:
    """The Markdown of the page.

    Args:
        library: for links to the components.
        catalogue: all articles.
        written: id of each finished chapter to the path of its page, without the ending.
    """

    def trained_with(loss: ComparedLoss) -> str:
        names = []
        for path in loss.components:  # those of Keras have no page here
            module, _, name = path.rpartition(".")
            entry = library.find(module, name)
            names.append(f"[`{name}`](#{entry.anchor})" if entry else f"`{path}`")
        return ", ".join(names)

    environment = library_pages.templates(catalogue, written)
    environment.filters |= {"trained_with": trained_with}
    return environment.get_template("losses.md").render(
        losses=COMPARED.values(),
        rows=[row for loss in COMPARED.values() for row in rows(loss)],
        figure=figure(),
        entries={entry.name: entry for entry in library.room("losses")},
    )


def rows(loss: ComparedLoss) -> list[dict[str, str]]:
    """A row of the tables for each strength of a loss, all cells measured."""
    found = []
    for number, strength in enumerate(loss.strengths):
        facts, many = (facts_of(loss.name, strength, n) for n in CLASSES)
        outputs = {
            f"{n} classes, {share:g}": _share(best_output(loss, strength, share, n))
            for n in CLASSES
            for share in SHARES
        }
        found.append(
            {
                "name": "" if number else loss.name,
                "strength": f"${loss.symbol}={strength:g}$" if loss.symbol else "",
                "slope": _number(facts.slope_at_zero),
                "slope, many": _number(many.slope_at_zero),
                "tail": _tail(facts.right_tail),
                "far wrong": _number(facts.left_slope),
                "convex": _yes(facts.convex),
                "calibrated": _yes(facts.calibrated),
                "proper": _yes(facts.proper),
                **outputs,
            }
        )
    return found


@cache
def facts_of(name: str, strength: float, classes: int) -> LossFacts:
    """The facts on a loss of this name, measured once."""
    return loss_facts(COMPARED[name], strength, classes)


def figure() -> str:
    """The interactive figure: any loss, any strength, with 2 or 10 classes."""
    names = list(COMPARED)
    most = max(len(loss.strengths) for loss in COMPARED.values())
    plain = COMPARED["cross-entropy"]
    answers: dict[tuple[str, float, int], np.ndarray] = {}

    def answer(loss: ComparedLoss, strength: float, classes: int) -> np.ndarray:
        key = (loss.name, strength, classes)
        if key not in answers:
            answers[key] = best_output(loss, strength, POSTERIORS, classes)
        return answers[key]

    def frame(loss: float, strength: float, classes: float) -> dict[str, Any]:
        chosen, n = COMPARED[names[int(loss)]], int(classes)
        at = chosen.strengths[min(int(strength), len(chosen.strengths) - 1)]
        lines: dict[str, list[dict[str, Any]]] = {"loss": [], "slope": [], "answer": []}
        for color, (one, parameter) in enumerate(((chosen, at), (plain, 0.0))):
            drawn = {
                "loss": (MARGINS, one.of_margin(MARGINS, parameter, n)),
                "slope": (MARGINS, -np.gradient(one.of_margin(MARGINS, parameter, n), MARGINS)),
                "answer": (POSTERIORS, answer(one, parameter, n)),
            }
            for name, (x, y) in drawn.items():
                entry = {"x": x, "y": y, "label": one.name, "color": color}
                lines[name].append(entry)
        if chosen is plain:
            lines = {name: drawn[:1] for name, drawn in lines.items()}
        slope = facts_of(chosen.name, at, n).slope_at_zero
        symbol = chosen.symbol.replace(r"\mu", "μ").replace(r"\gamma", "γ")
        return {name: {"lines": drawn} for name, drawn in lines.items()} | {
            "numbers": {
                "loss": chosen.name,
                "parameter": f"{symbol} = {at:g}" if symbol else "none",
                "slope where all scores are equal": _number(slope),
                "output for a class of 1 %": _share(best_output(chosen, at, 0.01, n)),
                "output for a class of 30 %": _share(best_output(chosen, at, 0.3, n)),
            }
        }

    lead = "lead of the right class in score"
    spec = {
        "sliders": [
            {"name": "loss", "label": "loss", "values": range(len(names)), "texts": names,
             "start": names.index("focal loss")},
            {"name": "strength", "label": "strength", "values": range(most),
             "texts": [f"{k + 1} of {most}" for k in range(most)], "start": 2},
            {"name": "classes", "label": "classes", "values": CLASSES, "format": "{:.0f}"},
        ],
        "panels": [
            {"name": "loss", "kind": "lines", "title": "loss", "xlabel": lead, "ylabel": "loss",
             "xlim": (-6, 6), "ylim": (0, 6)},
            {"name": "slope", "kind": "lines", "title": "how hard it pulls", "xlabel": lead,
             "ylabel": "minus the slope", "xlim": (-6, 6), "ylim": (0, 1.6)},
            {"name": "answer", "kind": "lines", "title": "what it asks for",
             "xlabel": "share of the labels", "ylabel": "best output",
             "xlim": (0, 1), "ylim": (0, 1)},
            {"name": "numbers", "kind": "text"},
        ],
        "frames": frame,
    }  # fmt: skip
    return sliders.build(spec, alt=ALT, fallback=_still(answer))[0]


def _still(answer: Any) -> Any:
    """The picture in print: all losses, at the third of their strengths."""
    from kexian_utils import plots

    fig, axes = plots.subplots(1, 2, width=760, height=320)
    for loss in COMPARED.values():
        at = loss.strengths[min(2, len(loss.strengths) - 1)]
        axes[0].plot(MARGINS, loss.of_margin(MARGINS, at), label=loss.name)
        axes[1].plot(POSTERIORS, answer(loss, at, 2))
    axes[0].set(xlim=(-6, 6), ylim=(0, 6), xlabel="lead of the right class", ylabel="loss")
    axes[1].set(xlim=(0, 1), ylim=(0, 1), xlabel="share of the labels", ylabel="best output")
    axes[0].legend()
    return fig


def _number(value: float) -> str:
    # What is left of a slope that tends to 0 is rounding.
    return f"{value:.3g}".replace("-", "−") if abs(value) > 1e-6 else "0"


def _tail(rate: float) -> str:
    if rate == np.inf:
        return "0"
    return "$e^{-m}$" if round(rate, 3) == 1 else f"$e^{{-{rate:.3g}m}}$"


def _share(value: float | np.ndarray) -> str:
    if value < 1e-6 or value > 1 - 1e-6:
        return "0" if value < 0.5 else "1"
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
