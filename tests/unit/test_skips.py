"""A skip that no list allows is a failure in CI: of a test, of a whole file, by hand or by mark."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
ENTRIES = tomllib.loads((TESTS / "skips.toml").read_text(encoding="utf-8"))["skip"]

FILES = {
    "test_one.py": """
import pytest

def test_runs():
    pass

def test_allowed():
    pytest.importorskip("torch")

@pytest.mark.skip(reason="KEXIAN_DATA does not name a folder with x")
def test_with_data():
    pass

def test_unknown():
    pytest.skip("no time")

@pytest.mark.skipif(True, reason="not today")
def test_marked():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected():
    assert False
""",
    "test_two.py": """
import pytest
pytest.importorskip("no_such_package")

def test_never():
    pass
""",
}


@pytest.fixture
def outcomes(tmp_path):
    """Run these files under the conftest of all tests: name to letter of the outcome."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    for name in ("conftest.py", "skips.toml"):
        shutil.copyfile(TESTS / name, tmp_path / name)
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('not here')")

    def run(*options, **variables):
        free = ("CI", "KEXIAN_DATA", "KEXIAN_WEEKLY", "KEXIAN_TRANSFORMERS")
        env = {k: v for k, v in os.environ.items() if k not in free and k[:7] != "PYTEST_"}
        env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a fifth of the time
        command = [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={tmp_path}"]
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", "-rA", "--color=no", *options],
            cwd=tmp_path,
            env=env | variables,
            capture_output=True,
            text=True,
        )
        run.text = done.stdout
        found = re.findall(r"^(PASSED|FAILED|ERROR|XFAIL) (\S+)", done.stdout, re.M)
        return {name.split("::")[-1]: word for word, name in found}, done.returncode

    return run


ALWAYS = {"test_runs": "PASSED", "test_expected": "XFAIL"}


def test_outside_ci_everything_may_be_skipped(outcomes):
    assert outcomes() == (ALWAYS, 0)
    assert "5 skipped" in outcomes.text


@pytest.mark.parametrize("workers", [[], ["-p", "xdist", "-n1"]])
def test_in_ci_only_what_is_listed(outcomes, workers):
    found, code = outcomes(*workers, "--continue-on-collection-errors", CI="true")
    red = {"test_unknown": "FAILED", "test_marked": "ERROR", "test_two.py": "ERROR"}
    assert (found, code) == (ALWAYS | red, 1)
    assert "2 skipped" in outcomes.text
    assert "skipped in CI: no time. Install what the test needs" in outcomes.text
    assert "skipped in CI: could not import 'no_such_package'" in outcomes.text


@pytest.mark.parametrize(
    ("variable", "test"),
    [("KEXIAN_DATA", "test_with_data"), ("KEXIAN_TRANSFORMERS", "test_allowed")],
)
def test_where_all_is_there_nothing_of_it_is_skipped(outcomes, variable, test):
    found, _ = outcomes("test_one.py", CI="true", **{variable: "1"})
    assert found[test] in ("FAILED", "ERROR")  # in the test, or before it by a mark
    assert f"With {variable}, which is set, it has to run" in outcomes.text
    assert "1 skipped" in outcomes.text
    found, _ = outcomes("test_one.py", CI="true", **{variable: "0"})
    assert test not in found


def test_each_allowed_skip_runs_somewhere():
    places = [ROOT / ".ci" / "run", *(ROOT / ".github" / "workflows").glob("*.yml")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in places)
    for entry in ENTRIES:
        assert len({"runs_with", "instead"} & set(entry)) == 1
        if "runs_with" in entry:
            assert re.search(rf"\b{entry['runs_with']}\b *[:=]", text), entry["runs_with"]
