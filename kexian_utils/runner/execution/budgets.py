"""How long a chapter may take: `[budget]` of its descriptor, in CPU seconds of its cells.

CPU seconds, because the clock on the wall says more about the machine's other work. Importing the
frameworks does not count; it belongs to no chapter. A profile may have a budget of its own on one
backend (`smoke-jax`): compiling a chapter's functions is most of a short run on JAX.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from kexian_utils.catalogue import BUDGET_LIMITS, JAX_BUDGET_LIMITS, Article, parse_article
from kexian_utils.errors import KexianError
from kexian_utils.runner.execution.files import Run, write_text

HEADROOM = 2.0  # a busy machine needs more processor time for the same work
DEFAULTS = {"smoke": 10, "smoke-jax": 15, "default": 60}  # of a chapter that has not been measured
_RESERVE = 1.2  # what is proposed over what was measured
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


def proposed(article: Article, runs: Iterable[Mapping]) -> dict[str, int]:
    """Entries of `[budget]` that the measured runs ask for: a fifth more than they took.

    A budget that is kept, and of which at least half is used, stays as it is.

    Args:
        article: the chapter's entry in the catalogue.
        runs: the records that finished runs leave in their notebooks.

    Raises:
        KexianError: a run took longer than any chapter may ask for.
    """
    limits, entries = BUDGET_LIMITS | JAX_BUDGET_LIMITS, dict(article.budget or DEFAULTS)
    changed = {} if article.budget else dict(DEFAULTS)
    for run in runs:
        name, own = run["profile"], f"{run['profile']}-{run['backend']}"
        seconds = float(run["cpu_seconds"])
        if own in entries or (own in limits and seconds > entries.get(name, math.inf)):
            name = own
        if name not in limits:
            continue
        if seconds > limits[name]:
            raise KexianError(
                f"article {article.id}: {seconds} CPU seconds in {run['profile']} on "
                f"{run['backend']}, and no chapter may ask for more than {limits[name]}; make it "
                "faster."
            )
        if not entries.get(name, 0) / 2 <= seconds <= entries.get(name, 0):
            step = 5 if seconds > 20 else 1
            wanted = step * math.ceil(max(_RESERVE * seconds, 1) / step)
            entries[name] = changed[name] = min(wanted, limits[name])
    return changed


def write(root: Path, article: Article, entries: Mapping[str, int]) -> None:
    """Put entries into `[budget]` of a chapter's descriptor, and leave the rest as it stands.

    Raises:
        ValueError: the descriptor would hold something else than it must.
    """
    path = root / article.descriptor_path
    text = path.read_text(encoding="utf-8")
    if not re.search(r"^\[budget\]", text, re.MULTILINE):
        head, mark, rest = text.partition("\n[")
        text = f"{head.rstrip()}\n\n[budget]\n{mark}{rest}"
    table = re.search(r"^\[budget\][^\n]*\n(?:(?!\[)[^\n]*\n?)*", text, re.MULTILINE)
    lines = table.group()
    for name, seconds in entries.items():
        entry = f"{name} = {seconds}"
        lines, count = re.subn(rf"^{name}\s*=\s*[\d.]+", entry, lines, flags=re.MULTILINE)
        if not count:
            lines = lines.rstrip("\n") + f"\n{entry}\n" + "\n" * lines.endswith("\n\n")
    text = text[: table.start()] + lines + text[table.end() :]
    parse_article(text, article.part, article.slug)
    write_text(path, text)


def expected_seconds(run: Run) -> float:
    """About how long a run will take: as long as the last one, else its budget, else a guess."""
    try:
        return float(json.loads(run.record.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return float(run.article.budget.get(run.setting.profile, _UNKNOWN[run.setting.profile]))
