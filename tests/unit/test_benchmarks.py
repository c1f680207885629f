"""What the benchmarks' page shows is what was measured."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def rerun():
    pytest.importorskip("psutil")
    spec = importlib.util.spec_from_file_location("rerun", FOLDER / "rerun.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_that_of_the_record(rerun):
    record = json.loads((FOLDER / "rerun.json").read_text(encoding="utf-8"))
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert rerun.with_table(page, record) == page
    record["profiles"]["smoke"]["seconds"]["kexian check"] += 1
    assert rerun.with_table(page, record) != page


def test_a_page_without_a_place_for_the_table_is_refused(rerun):
    with pytest.raises(SystemExit, match="once"):
        rerun.with_table("# Benchmarks", {})
