"""How long a chapter may take: `notebooks/budgets.toml`, in CPU seconds of its cells.

CPU seconds, because the clock on the wall says more about the machine's other work. Importing the
frameworks does not count; it belongs to no chapter. A profile may have a budget of its own on one
backend (`smoke-jax`): compiling a chapter's functions is most of a short run on JAX.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from kexian_utils.catalogue import Article
from kexian_utils.errors import KexianError
from kexian_utils.runner.execution.execute import Setting, run_path

FILE = Path("notebooks") / "budgets.toml"
LIMITS = {"smoke": 20, "default": 90}  # of what a chapter may ask for
JAX_LIMITS = {"smoke-jax": 30, "default-jax": 90}  # and for one backend, where a row says so
HEADROOM = 2.0  # a busy machine needs more processor time for the same work
_UNKNOWN = {"smoke": 10.0, "default": 60.0, "study": 600.0, "full": 3600.0}


def read(root: Path) -> dict[str, dict[str, float]]:
    """The budgets: article id to profile to CPU seconds.

    Raises:
        KexianError: the file is missing or holds something else.
    """
    try:
        table = tomllib.loads((root / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KexianError(
            f"{FILE} cannot be read ({error}); restore it with `git checkout -- {FILE}`."
        ) from error
    limits = LIMITS | JAX_LIMITS
    for article, row in table.items():
        if not isinstance(row, dict) or not LIMITS.keys() <= row.keys() <= limits.keys():
            raise KexianError(
                f"{FILE}: [{article}] needs the entries {', '.join(LIMITS)}, and may have "
                f"{', '.join(JAX_LIMITS)}, in CPU seconds."
            )
        for profile, seconds in row.items():
            if not isinstance(seconds, (int, float)) or not 0 < seconds <= limits[profile]:
                raise KexianError(
                    f"{FILE}: [{article}] {profile} must lie between 0 and {limits[profile]} "
                    f"CPU seconds, got {seconds!r}; make the chapter faster."
                )
    return table


def exceeded(root: Path, article: Article, run: dict) -> str | None:
    """A sentence if a run took longer than its budget allows on a busy machine, else None.

    Args:
        root: the checkout.
        article: the chapter's entry in the catalogue.
        run: the record that a finished run leaves in its notebook.

    Raises:
        KexianError: the chapter has no budget.
    """
    table = read(root)
    if article.id not in table:
        raise KexianError(
            f"{FILE} has no budget for {article.id}; add it: a run of it took "
            f"{run['cpu_seconds']} CPU seconds (profile {run['profile']})."
        )
    profile, row = run["profile"], table[article.id]
    allowed = row.get(f"{profile}-{run['backend']}", row.get(profile))
    if allowed is None or run["cpu_seconds"] <= HEADROOM * allowed:
        return None
    return (
        f"article {article.id}: {run['cpu_seconds']} CPU seconds in profile {profile} on "
        f"{run['backend']}, and "
        f"{FILE} allows {allowed} (times {HEADROOM:g} on a busy machine); make it faster, or "
        "change the budget if it is meant."
    )


def expected_seconds(root: Path, article: Article, setting: Setting) -> float:
    """About how long a run will take: as long as the last one, else its budget, else a guess."""
    record = run_path(root, article, setting).with_suffix(".json")
    try:
        return float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    try:
        return float(read(root)[article.id][setting.profile])
    except (KexianError, KeyError):
        return _UNKNOWN[setting.profile]
