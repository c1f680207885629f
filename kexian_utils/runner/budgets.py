"""How long a chapter may take: `[budget]` of its descriptor, in CPU seconds of its cells.

CPU seconds, because the clock on the wall says more about the machine's other work. Importing the
frameworks does not count; it belongs to no chapter. A profile may have a budget of its own on one
backend (`smoke-jax`): compiling a chapter's functions is most of a short run on JAX.
"""

from __future__ import annotations

import json
from pathlib import Path

from kexian_utils.catalogue import Article
from kexian_utils.runner.errors import KexianError
from kexian_utils.runner.execute import Setting, run_path

HEADROOM = 2.0  # a busy machine needs more processor time for the same work
_UNKNOWN = {"smoke": 10.0, "default": 60.0, "study": 600.0, "full": 3600.0}


def exceeded(article: Article, run: dict) -> str | None:
    """A sentence if a run took longer than its budget allows on a busy machine, else None.

    Args:
        article: the chapter's entry in the catalogue.
        run: the record that a finished run leaves in its notebook.

    Raises:
        KexianError: the chapter has no budget.
    """
    if not article.budget:
        raise KexianError(
            f"{article.descriptor_path} has no [budget]; add it: a run took "
            f"{run['cpu_seconds']} CPU seconds (profile {run['profile']})."
        )
    profile, row = run["profile"], article.budget
    allowed = row.get(f"{profile}-{run['backend']}", row.get(profile))
    if allowed is None or run["cpu_seconds"] <= HEADROOM * allowed:
        return None
    return (
        f"article {article.id}: {run['cpu_seconds']} CPU seconds in profile {profile} on "
        f"{run['backend']}, and [budget] of "
        f"{article.descriptor_path} allows {allowed} (times {HEADROOM:g} on a busy machine); make "
        "it faster, or change the budget if it is meant."
    )


def expected_seconds(root: Path, article: Article, setting: Setting) -> float:
    """About how long a run will take: as long as the last one, else its budget, else a guess."""
    record = run_path(root, article, setting).with_suffix(".json")
    try:
        return float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return float(article.budget.get(setting.profile, _UNKNOWN[setting.profile]))
