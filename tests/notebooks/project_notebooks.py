"""The chapters that exist, as parameters of tests, and those whose checks are tried at a push."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fixture_notebooks import ROOT

from kexian_utils import catalogue
from kexian_utils.runner.checks.audit import SMOKE_SEED as SMOKE_SEED
from kexian_utils.runner.checks.choice import rotating, touched, touched_or_in_turn
from kexian_utils.runner.execution import cells
from kexian_utils.runner.execution.files import read_notebook

CHAPTERS = [a for a in catalogue.load(ROOT).articles if (ROOT / a.path).is_file()]
ARTICLES = [pytest.param(article, id=article.id) for article in CHAPTERS]
AT_FULL_SIZE = [a for a in CHAPTERS if "full" in cells.profiles(read_notebook(ROOT / a.path))]
IN_TURN = 2  # chapters that take their turn in tests of the checks themselves
SMOKED = {"tensorflow": (6, 5), "jax": (3, 3)}  # touched last, in turn: chapters run in `smoke`
SHARE = 180  # CPU seconds that a push has for these tests; some chapters need 30, some 200
WEEKLY = os.environ.get("KEXIAN_WEEKLY") == "1"
POSTPONED = (
    "postponed: touched lately, but what a push may spend on the tests of checks is spent; the "
    "chapter takes its turn, and the weekly run takes all"
)


def cost_of_checks(article: catalogue.Article) -> float:
    """About how many CPU seconds the planted mistakes, rehearsal and seed audit of a chapter take.

    A mistake is found halfway through a smoke run, after one in which each cell ran twice; the
    other two are a run each. The kernel of each run costs about two seconds.
    """
    smoke = article.budget.get("smoke", catalogue.BUDGET_LIMITS["smoke"])
    return 2 * smoke + (smoke + 2) * (2 + len(article.mistakes) / 2)


def some(chapters: list, root: Path = ROOT) -> list:
    """The chapters for tests of the checks themselves, as parameters, in the order of the book.

    Some take their turn, whatever they cost; those that were touched join them, the latest first,
    while the share of a push lasts, and the latest in any case. The others are marked as skipped,
    so that the report names them.
    """
    if WEEKLY:
        return [pytest.param(article, id=article.id) for article in chapters]
    lately = touched(chapters, root)
    chosen = {article.id for article in rotating(chapters, IN_TURN)}
    left = SHARE - sum(cost_of_checks(a) for a in chapters if a.id in chosen)
    waiting = [article for article in lately if article.id not in chosen]
    for number, article in enumerate(waiting):
        left -= cost_of_checks(article)
        if left >= 0 or number == 0:
            chosen.add(article.id)
    late = {article.id for article in waiting} - chosen
    return [
        pytest.param(
            article,
            id=article.id,
            marks=[pytest.mark.skip(reason=POSTPONED)] if article.id in late else [],
        )
        for article in chapters
        if article.id in chosen | late
    ]


def smoked(chapters: list, backend: str, root: Path = ROOT) -> list:
    """The chapters that run in `smoke` on a backend; with 36 a push has no time for all of them."""
    return chapters if WEEKLY else touched_or_in_turn(chapters, root, *SMOKED[backend])
