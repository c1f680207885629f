"""The readers that travel with the package are what their cards say."""

import importlib.util
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("keras")

from kexian_utils.datasets.factqa import make_factqa
from kexian_utils.qa.reader import DGCNNReader, bundled_reader
from kexian_utils.qa.scores import qa_scores

ROOT = Path(__file__).resolve().parents[2]
DATA = os.environ.get("KEXIAN_DATA", "")  # before a fixture takes it away
FILES = ("cmrc2018_trial.json", "cmrc2018_dev.json", "DRCD_dev.json")


@pytest.fixture(scope="module")
def reader():
    return DGCNNReader.load(bundled_reader())


def test_its_scores_are_those_of_its_card(reader):
    card = (bundled_reader() / "README.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"\| 2 \| this reader \|(.*)\|", card)
    for cell, shown in zip(("SS", "NS", "SN", "NN"), row.split("|"), strict=True):
        made = make_factqa(2, 1000, 0, cell)
        asked = [(q.question, [p.text for p in q.passages]) for q in made]
        answers = [reading.answer for reading in reader.answer_many(asked)]
        golds = {q.id: (q.answer, q.accepted) for q in made}
        scores = qa_scores(dict(zip(golds, answers, strict=True)), golds)
        # Rounding may turn a near tie: one question is .001.
        assert scores.final == pytest.approx(float(shown.split()[0]), abs=0.0025), cell


@pytest.mark.parametrize("name", ["factqa", "wikipedia"])
def test_it_is_small_and_holds_no_code(name):
    folder = bundled_reader(name)
    reader = DGCNNReader.load(folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "network.keras", "reader.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    about = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert f"{len(about['characters']):,} trained characters" in (folder / "README.md").read_text()
    assert not any("Lambda" in type(layer).__name__ for layer in reader.network.layers)


@pytest.mark.skipif(
    not all(list(Path(DATA or "nowhere").glob(f"*/{name}")) for name in FILES),
    reason=f"KEXIAN_DATA does not name a folder with {', '.join(FILES)}",
)
@pytest.mark.parametrize("name", ["CMRC 2018", "DRCD"])
def test_the_reader_of_encyclopedic_text_scores_what_its_card_says(name, monkeypatch):
    """On the passages that the training kept for the test, as `kexian answer` reads them."""
    monkeypatch.setenv("KEXIAN_DATA", DATA)
    path = ROOT / "tools" / "train_wikipedia_reader.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    tool = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    folder = bundled_reader("wikipedia")
    (row,) = re.findall(r"\| this reader \|(.*)\|", (folder / "README.md").read_text("utf-8"))
    shown = [float(cell.split()[0]) for cell in row.split("|")]
    test = tool.divided()[name]["test"]
    found = tool.scored(tool.answers(DGCNNReader.load(folder), test, least=0), test)
    expected = shown[:2] if name == "CMRC 2018" else shown[2:]
    assert [one.estimate for one in found] == pytest.approx(expected, abs=0.006)  # two near ties
    assert tool.BY_HAND.is_file()


def test_traditional_characters_are_read_as_simplified_ones():
    reader = DGCNNReader.load(bundled_reader("wikipedia"))
    plain = reader.answer("谁接替他担任校长？", ["1931年底，梅贻琦接替他担任校长，直到1948年。"])
    other = reader.answer("誰接替他擔任校長？", ["1931年底，梅貽琦接替他擔任校長，直到1948年。"])
    assert (plain.answer, other.answer) == ("梅贻琦", "梅貽琦")
    assert other.score == pytest.approx(plain.score, rel=1e-4)


def test_there_are_no_others():
    with pytest.raises(ValueError, match="name must be one of 'factqa', 'wikipedia', got 'webqa'"):
        bundled_reader("webqa")


def test_a_network_that_would_unpack_to_gigabytes_is_refused_before_it_does(tmp_path):
    folder = shutil.copytree(bundled_reader(), tmp_path / "reader")
    with zipfile.ZipFile(folder / "network.keras", "a", zipfile.ZIP_DEFLATED) as file:
        with file.open("zeros.bin", "w", force_zip64=True) as part:
            for _ in range(200):
                part.write(bytes(1 << 20))
    assert (folder / "network.keras").stat().st_size < 5e6
    with pytest.raises(ValueError, match=r"network\.keras is damaged \(it would unpack to 2\d\d,"):
        DGCNNReader.load(folder)
