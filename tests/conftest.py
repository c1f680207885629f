"""In CI a test is skipped only for a reason that `skips.toml` allows."""

import os
import re
import tomllib
from pathlib import Path

import pytest

ALLOWED = tomllib.loads(
    Path(__file__).with_name("skips.toml").read_text(encoding="utf-8"),
)["skip"]
REMEDY = (
    "Install what the test needs, or say in tests/skips.toml where it runs: a test that nobody "
    "runs guards nothing."
)


def forbidden(reason):
    """Why CI does not allow a test to be skipped for this reason; None if it does."""
    if not os.environ.get("CI"):
        return None
    entry = next((e for e in ALLOWED if re.match(e["reason"], reason)), None)
    if entry is None:
        return f"skipped in CI: {reason}. {REMEDY}"
    variable = entry.get("runs_with")
    if variable and os.environ.get(variable, "0") not in ("", "0"):
        return f"skipped in CI: {reason}. With {variable}, which is set, it has to run."
    return None


def judge(report):
    """The report of a test or a file; a skip that is forbidden has become a failure."""
    if report.skipped and not hasattr(report, "wasxfail"):
        words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        problem = forbidden(words.removeprefix("Skipped: "))
        if problem:
            report.outcome, report.longrepr = "failed", problem
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return judge((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return judge((yield))
