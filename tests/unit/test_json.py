"""JSON that others wrote: whatever is wrong with it is one sentence with the file's name."""

import pytest

from kexian_utils import _json
from kexian_utils.bert.checkpoints import Checkpoint
from kexian_utils.bert.models import chinese_bert
from kexian_utils.bert.wordpiece import Tokenizer
from kexian_utils.qa.reader import DGCNNReader, bundled_reader
from kexian_utils.training.resume import open_run

BAD = {
    b"": "must be JSON: Expecting value",
    b"{": "must be JSON: Expecting property name",
    b"\xff": "must be UTF-8",
    b"[" * 100_000: "must be JSON of a sane depth",
    b'{"a": NaN}': "must hold finite numbers, got NaN",
    b'{"a": -1e999}': "must hold finite numbers, got -1e999",
    b"[]": "must hold a JSON object, got a list",
    b"5": "must hold a JSON object, got an integer",
    b"null": "must hold a JSON object, got null",
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_one_sentence(tmp_path, text):
    path = tmp_path / "some.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match="some.json " + BAD[text]):
        _json.read_json(path, dict)


def test_a_vocabulary_in_another_encoding_is_named(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("[CLS]\n今天".encode("gb18030"))
    with pytest.raises(ValueError, match="vocab.txt must be UTF-8"):
        Tokenizer.open(tmp_path)


def test_a_byte_order_mark_is_none_of_the_text():
    assert _json.parse_json(b'\xef\xbb\xbf{"a": [1, 2.5]}') == {"a": [1, 2.5]}


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize(
    ("name", "source", "read"),
    [
        ("config.json", chinese_bert, Checkpoint),
        ("tokenizer_config.json", chinese_bert, Tokenizer.open),
        ("reader.json", bundled_reader, DGCNNReader.load),
        ("record.json", None, lambda folder: open_run(folder / "record.json", {})),
    ],
)
def test_every_reader_of_a_folder_names_the_file(tmp_path, text, name, source, read):
    if source is not None:
        for path in source().iterdir():
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ValueError, match=name):
        read(tmp_path)
