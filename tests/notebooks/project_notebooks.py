"""The chapters that exist, as parameters of tests, and the choice of the rotating ones."""

from __future__ import annotations

import os
import subprocess

import pytest
from fixture_notebooks import ROOT

from kexian_utils import catalogue
from kexian_utils.runner.audit import SMOKE_SEED as SMOKE_SEED

CHAPTERS = [a for a in catalogue.load(ROOT).articles if (ROOT / a.path).is_file()]
ARTICLES = [pytest.param(article, id=article.id) for article in CHAPTERS]
LATELY = 20  # commits
IN_TURN = 3  # chapters that take their turn in tests of the checks themselves
WEEKLY = os.environ.get("KEXIAN_WEEKLY") == "1"


def rotation() -> int:
    """A number that moves on with each commit; KEXIAN_ROTATION sets it by hand."""
    setting = os.environ.get("KEXIAN_ROTATION")
    if setting is not None:
        if not setting.isdecimal():
            raise ValueError(f"KEXIAN_ROTATION must be a whole number, got {setting!r}")
        return int(setting)
    return int(_git("rev-list", "--count", "HEAD") or 0)


def _git(*words: str) -> str:
    """What git prints, "" without git or in an archive of the source."""
    try:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def touched(chapters: list, commits: int = LATELY) -> list:
    """The chapters whose notebook or descriptor changed lately, or are not committed."""
    names = _git("log", f"-{commits}", "--name-only", "--format=")
    names += _git("diff", "--name-only", "HEAD")
    names += _git("ls-files", "--others", "--exclude-standard")
    paths = set(names.splitlines())
    return [
        article
        for article in chapters
        if {article.path.as_posix(), article.descriptor_path.as_posix()} & paths
    ]


def some(chapters: list) -> list:
    """The chapters for tests of the checks themselves: touched ones and, in turn, the others."""
    if WEEKLY:
        return list(chapters)
    wanted = {article.id for article in (*touched(chapters), *rotating(chapters, IN_TURN))}
    return [article for article in chapters if article.id in wanted]


def rotating(chapters: list, count: int = 2, step: int | None = None) -> list:
    """``count`` of the chapters, others at the next step, each as often as any other."""
    if len(chapters) <= count:
        return list(chapters)
    step = rotation() if step is None else step
    return [chapters[(step * count + k) % len(chapters)] for k in range(count)]
