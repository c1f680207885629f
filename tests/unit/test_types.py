"""mypy's errors may only become fewer: `types.toml` has how many each module still has."""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = tomllib.loads((Path(__file__).with_name("types.toml")).read_text(encoding="utf-8"))
# Rooms in which none is allowed.
CLEAN = ("_checks.py", "autodiff.py", "layers/", "losses/", "optimizers/", "models/", "experiment/")


def errors_of(report):
    """Errors by module, from mypy's own lines."""
    found = (line.split(":")[0] for line in report.splitlines() if ": error: " in line)
    return Counter(path.removeprefix("kexian_utils/") for path in found)


def test_types_get_no_worse():
    pytest.importorskip("mypy", reason="the development packages are not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout[-500:] + done.stderr[-500:]
    found = errors_of(done.stdout)
    worse = {path: count for path, count in found.items() if count > ALLOWED.get(path, 0)}
    lines = [line for line in done.stdout.splitlines() if line.split(":")[0][13:] in worse]
    assert not worse, "\n".join(lines)
    better = {path: found[path] for path in ALLOWED if found[path] < ALLOWED[path]}
    assert not better, f"fewer errors: lower the numbers in types.toml to {better}"


def test_the_rooms_of_keras_components_are_clean():
    assert [path for path in ALLOWED if path.startswith(CLEAN)] == []


def test_an_error_is_counted():
    report = "kexian_utils/a/b.py:3: error: Bad  [misc]\nkexian_utils/a/b.py:3: note: see\n"
    assert errors_of(report) == {"a/b.py": 1}
