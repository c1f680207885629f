"""The forecast on made-up times whose sums are known."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"1": "1", "one-slug": "1", "22": "22", "two": "22"}


@pytest.fixture(scope="module")
def forecast():
    spec = importlib.util.spec_from_file_location("forecast", ROOT / "tools" / "forecast.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORDS = {
    "units": {
        "tests/unit/test_a.py::test_x": 6.0,
        "tests/unit/test_b.py::test_x[two words]": 1.0,
        "tests/unit/test_c.py::test_x": 3.0,
        "tests/notebooks/test_hygiene.py::test_clean[1]": 1.0,
        "tests/notebooks/test_hygiene.py::test_clean[22]": 3.0,
        "tests/notebooks/test_hygiene.py::test_y": 5.0,
    },
    "chapters": {
        "notebooks/p/one-slug.ipynb::Cell 0": 10.0,
        "notebooks/p/one-slug.ipynb::Cell 1": 20.0,
        "notebooks/p/two.ipynb::Cell 0": 50.0,
        "tests/notebooks/test_reruns.py::test_smoke[1-jax]": 7.0,
        "tests/notebooks/test_reruns.py::test_smoke[22-jax]": 9.0,
        "tests/notebooks/test_reruns.py::test_full[22]": 100.0,
        "tests/notebooks/test_reruns.py::test_ten": 4.0,
    },
    "book": {
        "tests/book/test_pages.py::test_whole[p/one-slug]": 3.0,
        "tests/book/test_pages.py::test_whole[p/two]": 5.0,
        "tests/book/test_pages.py::test_whole[index]": 90.0,  # with the build before it
        "tests/book/test_pages.py::test_whole[search]": 2.0,
    },
}


@pytest.fixture
def folder(tmp_path):
    for phase, tests in RECORDS.items():
        record = {"phase": phase, "processes": 2, "wall": 60.0, "tests": tests}
        record["groups"] = {f"{phase} group": sum(tests.values())}
        (tmp_path / f"{phase}.json").write_text(json.dumps(record))
    return tmp_path


def test_what_grows_and_what_does_not(forecast, folder):
    units, chapters, book = forecast.read(folder, NAMES)
    assert units.every == {"1": 1.0, "22": 3.0}
    assert (units.fixed, units.some, units.unit_file) == (15.0, {}, 3.0)  # 3 is the median
    assert units.at(2) == units.now == 19
    assert units.at(4) == 15 + 4 * 2 + 2 * 3.0
    assert chapters.every == {"1": 37.0, "22": 59.0}
    assert (chapters.some, chapters.fixed) == ({"22": 100.0}, 4.0)
    assert chapters.at(10) == 4 + 10 * 48 + 100
    assert chapters.wall_at(10) == pytest.approx(60 * 584 / 200)
    assert book.every == {"1": 48.0, "22": 50.0}
    assert book.at(4) == 2 + 4 * 49


def test_further_chapters_are_no_pillars(forecast, folder):
    _, chapters, _ = forecast.read(folder, NAMES, frozenset({"22"}))
    assert chapters.at(2) == chapters.now == 200
    assert chapters.at(10) == 200 + 8 * 37


@pytest.mark.parametrize(
    ("test", "chapter"),
    [
        ("tests/book/test_pages.py::test_whole[chromium-p/one-slug]", "1"),
        ("tests/book/test_pages.py::test_whole[p/one-slug-more]", None),
        ("tests/book/test_pages.py::test_whole[p/two]", "22"),
        ("tests/notebooks/test_x.py::test_x[222-jax]", None),
        ("tests/notebooks/test_x.py::test_22", None),
        ("tests/unit/test_x.py::test_x[two]", None),
        ("notebooks/p/two.ipynb::Cell 22", "22"),
    ],
)
def test_which_chapter_a_test_is_of(forecast, test, chapter):
    assert forecast.chapter_of(test, NAMES) == chapter


def test_the_report_holds_the_sums(forecast, folder):
    text = forecast.report(forecast.read(folder, NAMES), 4)
    expected = 29 / 19 + 296 / 200 + 198 / 100
    assert f"make test with 2 chapters: 3 min; with 4: {expected:.0f} min" in text
    assert "     22           112      100" in text
    assert "mean            99" in text


def test_costs_are_kept_for_the_parts(forecast, folder, tmp_path):
    target = tmp_path / "kept.json"
    path = folder / "units.json"  # comes after the chapters
    record = json.loads(path.read_text())
    record["groups"]["chapters group"] = 0.1
    path.write_text(json.dumps(record))
    assert forecast.keep(folder, target) == 2
    assert json.loads(target.read_text()) == {"chapters group": 200.0, "units group": 19.0}


def test_part_of_the_phases_is_not_kept(forecast, folder, monkeypatch, empty_checkout, capsys):
    monkeypatch.setattr(forecast, "ROOT", empty_checkout)
    assert forecast.main(["--costs", str(folder), "--keep"]) == 3
    assert "has no times of jax; run `make test`" in capsys.readouterr().out
    assert not (empty_checkout / "tests" / "costs.json").exists()


def test_nothing_measured_and_nonsense_are_refused(forecast, tmp_path, capsys):
    for options in ([], ["--keep"]):
        assert forecast.main(["--costs", str(tmp_path / "nowhere"), *options]) == 3
        assert "run `make test`" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        forecast.main(["--chapters", "0"])
