"""The chapters that exist, as parameters of tests, and the choice of the rotating ones."""

from __future__ import annotations

import os
import subprocess

import pytest
from fixture_notebooks import ROOT

from kexian_utils import catalogue

CHAPTERS = [a for a in catalogue.load(ROOT).articles if (ROOT / a.path).is_file()]
ARTICLES = [pytest.param(article, id=article.id) for article in CHAPTERS]
SMOKE_SEED = 1  # not the committed one
WEEKLY = os.environ.get("KEXIAN_WEEKLY") == "1"


def rotation() -> int:
    """A number that moves on with each commit; KEXIAN_ROTATION sets it by hand."""
    setting = os.environ.get("KEXIAN_ROTATION")
    if setting is not None:
        if not setting.isdecimal():
            raise ValueError(f"KEXIAN_ROTATION must be a whole number, got {setting!r}")
        return int(setting)
    try:
        count = subprocess.run(
            ["git", "rev-list", "--count", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):  # no git: a source archive
        return 0
    return int(count)


def rotating(chapters: list, count: int = 2, step: int | None = None) -> list:
    """``count`` of the chapters, others at the next step, each as often as any other."""
    if len(chapters) <= count:
        return list(chapters)
    step = rotation() if step is None else step
    return [chapters[(step * count + k) % len(chapters)] for k in range(count)]
