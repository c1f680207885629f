"""The reader that travels with the package is what its card says."""

import json
import re
import shutil
import zipfile

import pytest

pytest.importorskip("keras")

from kexian_utils.datasets.factqa import make_factqa
from kexian_utils.qa.reader import DGCNNReader, bundled_reader
from kexian_utils.qa.scores import qa_scores


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


def test_it_is_small_and_holds_no_code(reader):
    folder = bundled_reader()
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "network.keras", "reader.json"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4e6
    about = json.loads((folder / "reader.json").read_text(encoding="utf-8"))
    assert f"{len(about['characters']):,} trained characters" in (folder / "README.md").read_text()
    assert not any("Lambda" in type(layer).__name__ for layer in reader.network.layers)


def test_a_network_that_would_unpack_to_gigabytes_is_refused_before_it_does(tmp_path):
    folder = shutil.copytree(bundled_reader(), tmp_path / "reader")
    with zipfile.ZipFile(folder / "network.keras", "a", zipfile.ZIP_DEFLATED) as file:
        with file.open("zeros.bin", "w", force_zip64=True) as part:
            for _ in range(200):
                part.write(bytes(1 << 20))
    assert (folder / "network.keras").stat().st_size < 5e6
    with pytest.raises(ValueError, match=r"network\.keras is damaged \(it would unpack to 2\d\d,"):
        DGCNNReader.load(folder)
