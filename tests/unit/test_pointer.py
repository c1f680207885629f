"""The pointing reader: rows and kinds against their definitions, its numbers against Keras."""

import json
import shutil

import numpy as np
import pytest
from bert_folders import config, tensors
from safetensors.numpy import save_file

from kexian_utils.qa.pointer import PointerReader, chinese_reader
from kexian_utils.qa.windows import KINDS, Characters, rows_batch, window_row, window_starts

LETTERS = "谁写了红楼梦曹雪芹，国a"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]
LENGTH = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small random reader."""
    made = tmp_path_factory.mktemp("reader")
    about = config(
        vocab_size=len(VOCABULARY), type_vocab_size=len(KINDS), max_position_embeddings=LENGTH
    )
    weights = {f"bert.{k}": v for k, v in tensors(about, pooler=False).items()}
    rng = np.random.default_rng(7)
    weights["qa_outputs.weight"] = rng.normal(size=(2, about["hidden_size"])).astype("float32")
    weights["qa_outputs.bias"] = rng.normal(size=2).astype("float32")
    save_file(weights, made / "model.safetensors", metadata={"format": "pt"})
    (made / "config.json").write_text(json.dumps(about))
    (made / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    settings = {"form": 1, "length": LENGTH, "max_len": 4, "least_vote": 0.02}
    text = json.dumps({**settings, "simplified": "國国夢梦"}, ensure_ascii=False)
    (made / "reader.json").write_text(text, encoding="utf-8")
    return made


def test_characters_are_read_as_simplified_ones_in_half_width_and_lower_case():
    reads = Characters({c: n for n, c in enumerate(VOCABULARY)}, {"夢": "梦"})
    number = VOCABULARY.index
    assert reads("夢梦ＡAa x").tolist() == [number("梦")] * 2 + [number("a")] * 3 + [1, 1]
    assert len(reads("")) == 0
    upper = Characters({"[UNK]": 1, "A": 5, "a": 6}, {})
    assert upper("Ａa").tolist() == [5, 6]  # where both are known both are kept


@pytest.mark.parametrize("seed", range(20))
def test_kinds_are_what_they_are_called(seed):
    """By brute force over substrings."""
    rng = np.random.default_rng(seed)
    asked, passage = rng.integers(5, 9, 7), rng.integers(5, 10, 15)
    passage[rng.integers(15)] = asked[rng.integers(7)] = 1  # unknown characters equal nothing
    start = int(rng.integers(0, 4))
    row = window_row(asked, passage, start, LENGTH)
    part = passage[start : start + LENGTH - 10]
    assert (row.start, row.stop, row.first) == (start, start + len(part), 9)
    assert row.tokens.tolist() == [2, *asked, 3, *part, 3]

    def runs(values, n):
        return {tuple(values[k : k + n]) for k in range(len(values) - n + 1)} - {
            run for run in (tuple(values[k : k + n]) for k in range(len(values))) if 1 in run
        }

    for place in range(len(part)):
        depth = max(
            (n for n in (1, 2, 3) for k in range(place - n + 1, place + 1)
             if 0 <= k and k + n <= len(part) and tuple(part[k : k + n]) in runs(asked, n)),
            default=0,
        )  # fmt: skip
        assert row.kinds[row.first + place] == 1 + depth, place
    for place, token in enumerate(asked):
        assert row.kinds[1 + place] == (5 if token != 1 and token in part else 0)
    assert row.kinds[[0, 8, -1]].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("asked", "passage"), [(5, 0), (5, 16), (5, 17), (12, 200), (99, 300)])
def test_windows_leave_nothing_out(asked, passage):
    length = 96
    starts = window_starts(asked, passage, length)
    room = length - 3 - min(asked, 64)
    seen = {k for start in starts for k in range(start, min(passage, start + room))}
    assert seen == set(range(passage))
    assert starts == sorted(set(starts))
    overlaps = [a + room - b for a, b in zip(starts, starts[1:], strict=False)]
    assert all(overlap >= min(64, room // 2) for overlap in overlaps)


def test_a_question_that_leaves_no_room_is_refused():
    with pytest.raises(ValueError, match="length"):
        window_row(np.full(30, 5), np.full(9, 6), 0, 33)


def test_the_numbers_are_those_of_keras(folder):
    """Probabilities of every window from keras_hub's encoder, in float64."""
    pytest.importorskip("keras_hub")
    from kexian_utils.bert import Checkpoint, load_backbone

    reader = PointerReader.load(folder)
    question, text = "谁写了红楼夢？", "曹雪芹写了红楼梦，a國。" * 3
    reading = reader.answer(question, [text])
    reads = Characters({c: n for n, c in enumerate(VOCABULARY)}, {"夢": "梦", "國": "国"})
    asked, numbers = reads(question), reads(text)
    backbone = load_backbone(folder, "float64")
    checkpoint = Checkpoint(folder)
    kernel, bias = (np.float64(checkpoint[f"qa_outputs.{x}"]) for x in ("weight", "bias"))
    places = np.zeros((len(text), 2))
    best: dict = {}
    silent = 1.0
    starts = window_starts(len(asked), len(numbers), LENGTH)
    assert len(starts) > 2
    for start in starts:
        row = window_row(asked, numbers, start, LENGTH)
        states = backbone.predict_on_batch(rows_batch([row], LENGTH, 1))["sequence_output"]
        logits = states[0] @ kernel.T + bias
        window = np.concatenate([logits[:1], logits[row.first : row.first + row.stop - row.start]])
        p = np.exp(window) / np.exp(window).sum(0)
        places[row.start : row.stop] = np.maximum(places[row.start : row.stop], p[1:])
        silent = min(silent, float(np.sqrt(p[0].prod())))
        for i in range(row.stop - row.start):
            for j in range(i, min(i + 4, row.stop - row.start)):
                answer = text[row.start + i : row.start + j + 1]
                best[answer] = max(best.get(answer, 0), p[1 + i, 0] * p[1 + j, 1])
    passage = reading.passages[0]
    np.testing.assert_allclose(np.column_stack([passage.p_start, passage.p_end]), places, 2e-3)
    assert passage.answerable == pytest.approx(1 - silent, abs=1e-4)
    top = max(best, key=best.get)
    assert reading.answer == top
    assert passage.candidates[top] == pytest.approx(best[top], rel=1e-3)
    assert text[slice(*passage.span)] == top
    assert reading.score == pytest.approx(best[top] ** 2 / (1 + best[top]), rel=1e-3)


def test_batches_and_neighbours_change_nothing(folder):
    reader = PointerReader.load(folder)
    asked = [("谁写了？", ["曹雪芹写了" * k, "", "红楼梦"]) for k in range(1, 50)]
    together = reader.answer_many(asked)
    for item, reading in list(zip(asked, together, strict=True))[::12]:
        alone = reader.answer(*item)
        assert alone.answer == reading.answer
        assert alone.score == pytest.approx(reading.score, rel=1e-4)
    assert reader.answer("谁？", []) == ("", 0.0, {}, ())
    empty = reader.answer("谁？", [""])
    assert (empty.answer, empty.passages[0].span) == ("", None)


@pytest.mark.parametrize(
    ("question", "passages", "error"),
    [
        ("", ["a"], ValueError),
        (3, ["a"], TypeError),
        ("谁？", "曹雪芹", TypeError),
        ("谁？", [None], TypeError),
    ],
)
def test_bad_input_is_refused(folder, question, passages, error):
    with pytest.raises(error):
        PointerReader.load(folder).answer(question, passages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": 2}, "is of form 2, this version reads 1: update it"),
        ({"length": 25}, "must have length at most 24"),
        ({"length": "24"}, "is damaged"),
        ({"max_len": 0}, "is damaged"),
        ({"simplified": "國"}, "is damaged"),
        ({"least_vote": None}, "is damaged"),
    ],
)
def test_damaged_settings_are_named(folder, tmp_path, change, message):
    copy = shutil.copytree(folder, tmp_path / "reader")
    about = json.loads((copy / "reader.json").read_text(encoding="utf-8"))
    (copy / "reader.json").write_text(json.dumps({**about, **change}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        PointerReader.load(copy)


def test_a_folder_without_a_file_is_named(folder, tmp_path):
    for name in ("model.safetensors", "vocab.txt", "reader.json"):
        copy = shutil.copytree(folder, tmp_path / name)
        (copy / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"holds no reader: {name} is missing"):
            PointerReader.load(copy)


def test_the_bundled_reader_reads():
    reader = PointerReader.load(chinese_reader())
    text = "曹雪芹，清代小说家，著有《红楼梦》，生于南京，祖籍辽阳，晚年住在北京西郊。"
    assert reader.answer("《红楼梦》的作者是谁？", [text]).answer == "曹雪芹"
    card = (chinese_reader() / "README.md").read_text(encoding="utf-8")
    assert f"below a vote of {reader.least_vote:g}" in card
    assert sum(path.stat().st_size for path in chinese_reader().iterdir()) < 12e6


@pytest.mark.parametrize(
    "segments", [np.zeros((1, 3)), np.zeros((1, 4), int), np.full((1, 3), 6), np.full((1, 3), -1)]
)
def test_segments_that_do_not_fit_are_refused(folder, segments):
    from kexian_utils.bert import Checkpoint
    from kexian_utils.bert.fast_encoder import FastEncoder

    checkpoint = Checkpoint(folder)
    model = FastEncoder(checkpoint, checkpoint.config)
    ids = np.array([[2, 5, 3]])
    zero = np.zeros((1, 3), int)
    assert np.array_equal(model.states(ids), model.states(ids, segments=zero))
    with pytest.raises(ValueError, match="segments must be integers from 0 to 5 of shape"):
        model.states(ids, segments=segments)
