"""Pre-training: rows and masks against their definitions, resumption bit for bit, the export."""

import json
import re
import unicodedata
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner

from kexian_utils.bert.characters import (
    MASK,
    PAD,
    SPECIAL,
    character_ids,
    character_vocabulary,
    normal_form,
    tokenizer_files,
)
from kexian_utils.bert.masking import (
    all_batches,
    cut_into_rows,
    epoch_batches,
    mask_rows,
    pretraining_sentences,
)
from kexian_utils.bert.pretrain import Recipe, pretrain, read_documents, split_documents
from kexian_utils.commands.main import main

pytestmark = pytest.mark.in_turn("kexian_utils/bert")

WORDS = (
    "今天 天气 很好 我们 去 公园 散步 看见 许多 花 和 树 。 昨天 下雨 ， 大家 在 家里 读书".split()
)
TINY = Recipe(
    layers=1, width=8, heads=2, hidden=16, positions=32, batch_tokens=64, steps=9, minimum_count=1
)


def documents(count=12, seed=0):
    rng = np.random.default_rng(seed)
    return [
        ["".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(rng.integers(2, 6))]
        for _ in range(count)
    ]


def test_normal_form_never_changes_a_length():
    for code in [*range(0x20, 0x3100), *range(0x4E00, 0x4F00), *range(0xF900, 0x10000), 0x1F600]:
        character = chr(code)
        plain = normal_form(character)
        assert len(plain) == 1
        want = unicodedata.normalize("NFKC", character)
        assert plain == (want if len(want) == 1 else character)
    assert [normal_form(c) for c in "Ａ９，㈱"] == ["A", "9", ",", "㈱"]


def test_vocabulary_counts_normal_forms():
    vocabulary = character_vocabulary(["ＡA b", "Ab 中"], minimum_count=2)
    assert list(vocabulary) == [*SPECIAL, "A", "b"]
    assert list(vocabulary.values()) == list(range(7))
    assert character_ids("中 Ａb", vocabulary) == [1, 5, 6]
    with pytest.raises(ValueError, match="occur 9 times"):
        character_vocabulary(["中"], minimum_count=9)


HARD = [
    "今天天气好", "天 气，1２３ ABC", "Ａｂ(３)……不认识\u3000好", "他说：“好……”", "二十℃，⑵Ⅱ㈱½",
    "e\u0301é が か\u3099", "好\u00a0天\u2028气\x1c\x85!", "[]^-\\～｛｝", "豈\U0002f800𝐀①²",
]  # fmt: skip


def test_tokenizer_file_against_the_library_tokenizers(tmp_path):
    import tokenizers

    vocabulary = character_vocabulary(["今天天气好，ＡBc１2。（3）…℃éか²豈说：他“”^-["], 1)
    for name, text in tokenizer_files(vocabulary, 32).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in HARD:
        assert library.encode(text).ids == [2, *character_ids(text, vocabulary), 3], ascii(text)
    assert library.token_to_id("[MASK]") == MASK


def test_sentences_lose_nothing():
    text = "他说：“你好！”我走了。真的吗？！好；（完。）末尾没有句号"
    parts = pretraining_sentences([text, "第二段。"])
    assert "".join(parts) == text + "第二段。"
    assert parts[:3] == ["他说：“你好！”", "我走了。", "真的吗？！"]


def test_rows_hold_each_document_once_and_in_order():
    texts = [*documents(), ["很" * 100, "好"]]
    vocabulary = character_vocabulary(("".join(d) for d in texts), 1)
    rows = cut_into_rows(texts, vocabulary, 32, np.random.default_rng(1))
    assert all(row[0] == 2 and row[-1] == 3 and 3 <= len(row) <= 32 for row in rows)
    inside = np.concatenate([row[1:-1] for row in rows])
    assert inside.tolist() == character_ids("".join("".join(d) for d in texts), vocabulary)
    ends, total = set(), 0
    for document in texts:
        total += len("".join(document))
        ends.add(total)
    assert ends <= set(np.cumsum([len(row) - 2 for row in rows])), "a row joins two documents"


def test_batches_hold_rows_once():
    rng = np.random.default_rng(2)
    rows = [rng.integers(5, 50, rng.integers(3, 33)).astype(np.int32) for _ in range(200)]
    want = Counter(row.tobytes() for row in rows)
    for batches, whole in ((all_batches(rows, 128), True), (epoch_batches(rows, 128, rng), False)):
        got = Counter(
            np.trim_zeros(line, "b").astype(np.int32).tobytes() for b in batches for line in b
        )
        assert got == want if whole else not got - want
        assert all(b.shape[1] % 16 == 0 and b.size <= 128 for b in batches)
    kept = sum(len(b) for b in epoch_batches(rows, 128, rng))
    assert 200 - 8 - 4 <= kept <= 200  # fewer than a batch of each of the two lengths is left out


def test_masks_are_those_of_the_paper():
    rng = np.random.default_rng(3)
    batch = np.full((4000, 32), PAD)
    lengths = rng.integers(3, 33, len(batch))
    for line, length in zip(batch, lengths, strict=True):
        line[:length] = [2, *rng.integers(5, 1000, length - 2), 3]
    inputs, labels, weights = mask_rows(batch, 0.15, 1000, rng)
    hidden, positions = inputs["token_ids"], inputs["mask_positions"]
    assert (weights.sum(1) == np.maximum(1, np.rint(0.15 * (lengths - 2)))).all()
    used = weights > 0
    lines = np.nonzero(used)[0]
    assert len(set(zip(lines, positions[used], strict=True))) == used.sum()
    assert (labels[used] == batch[lines, positions[used]]).all()
    assert (labels[used] >= 5).all(), "special tokens are never chosen"
    untouched = np.ones(batch.shape, bool)
    untouched[lines, positions[used]] = False
    assert (hidden[untouched] == batch[untouched]).all()
    shown = hidden[lines, positions[used]]
    count, noise = used.sum(), 4 / np.sqrt(used.sum())
    assert abs((shown == MASK).mean() - 0.8) < noise
    assert abs((shown == labels[used]).mean() - 0.1) < noise
    strange = (shown != MASK) & (shown != labels[used])
    assert abs(strange.mean() - 0.1) < noise
    assert len(np.unique(shown[strange])) > 500
    places = np.bincount(positions[used], minlength=32)[1:3]
    assert places.min() > 0.02 * count
    assert (inputs["padding_mask"] == (batch > 0)).all()


class StopHere(Exception):
    pass


def run(folder, stop_at=None, **options):
    seen = []

    def report(state):
        seen.append(state)
        if state["step"] == stop_at:
            raise StopHere

    try:
        pretrain(folder, documents(), documents(3, 1), TINY, 4, report=report, **options)
    except StopHere:
        pass
    return seen


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files if name != "record"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, run(folder)


def test_report_and_curve(whole):
    folder, seen = whole
    assert [s["step"] for s in seen] == list(range(1, 10))
    assert [s["step"] for s in seen if s["held_out"]] == [4, 8, 9]
    assert len({s["loss"] for s in seen}) == 9
    curve = json.loads((folder / "record.json").read_text())["curve"]
    assert [p["loss"] for p in curve] == [s["held_out"]["loss"] for s in seen if s["held_out"]]


def test_stopped_and_killed_runs_end_like_an_uninterrupted_one(whole, tmp_path):
    folder = tmp_path / "run"
    seen = run(folder, 5)  # stopped: the state of step 5 is saved
    state = (folder / "state.npz").read_bytes()
    run(folder, 8)  # goes on, measures, is killed, and what it saved is lost:
    (folder / "state.npz").write_bytes(state)
    seen += run(folder, 8)  # stopped once more, before a shape that only one step is left for
    seen += run(folder)
    want_folder, want_seen = whole
    assert [s["loss"] for s in seen] == [s["loss"] for s in want_seen]
    for name in ("state.npz", "best.npz"):
        got, want = arrays(folder / name), arrays(want_folder / name)
        assert got.keys() == want.keys()
        different = [k for k in want if not np.array_equal(got[k], want[k])]
        assert not different, name
    place = "model/model.safetensors"
    assert (folder / place).read_bytes() == (want_folder / place).read_bytes()
    records = [json.loads((f / "record.json").read_text()) for f in (folder, want_folder)]
    assert records[0]["curve"] == records[1]["curve"]


@pytest.mark.parametrize("step", [4, 9])
def test_stopped_while_it_measures(whole, tmp_path, monkeypatch, step):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    folder = tmp_path / "run"
    run(folder, step - 1)
    with monkeypatch.context() as patch:
        patch.setattr("kexian_utils.bert.pretrain.masked_lm_scores", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    run(folder)
    curves = [json.loads((f / "record.json").read_text())["curve"] for f in (folder, whole[0])]
    assert [(p["step"], p["loss"]) for p in curves[0]] == [
        (p["step"], p["loss"]) for p in curves[1]
    ]
    got, want = arrays(folder / "best.npz"), arrays(whole[0] / "best.npz")
    assert all(np.array_equal(got[k], want[k]) for k in want)


def test_export_reads_back(whole):
    from kexian_utils.bert import Checkpoint, encode, load_masked_lm

    folder = whole[0] / "model"
    best = list(arrays(whole[0] / "best.npz").values())
    model = load_masked_lm(folder)
    model.backbone.pooled_dense.trainable = False
    for got, want in zip(model.trainable_variables, best, strict=True):
        np.testing.assert_array_equal(np.asarray(got), want.astype(np.float16))
    rows = cut_into_rows(
        documents(2, 5), character_vocabulary(("".join(d) for d in documents()), 1), 32,
        np.random.default_rng(0),
    )  # fmt: skip
    batch = all_batches(rows, 4096)[0]
    inputs, _, _ = mask_rows(batch, 0.15, 20, np.random.default_rng(0))
    logits = np.asarray(model.predict_on_batch(inputs))
    checkpoint = Checkpoint(folder)
    ours = encode(
        checkpoint, checkpoint.config, inputs["token_ids"], padding_mask=inputs["padding_mask"]
    ).logits
    at = np.take_along_axis(ours, inputs["mask_positions"][..., None], axis=1)
    np.testing.assert_allclose(logits, at, atol=1e-5 * np.abs(at).max())


def test_training_learns(tmp_path):
    """In a text that repeats two sentences, hidden characters can be told from their neighbours."""
    texts = [["天地玄黄宇宙洪荒", "日月盈昃辰宿列张"] * 2 for _ in range(40)]
    recipe = Recipe(
        layers=1, width=32, heads=2, hidden=64, positions=32, batch_tokens=256, steps=150,
        minimum_count=1, learning_rate=1e-2, dropout=0.0,
    )  # fmt: skip
    pretrain(tmp_path / "run", texts, texts[:2], recipe, 50)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["commonest"]["loss"] == pytest.approx(np.log(16), abs=5e-3)
    assert record["commonest"]["accuracy"] == pytest.approx(1 / 16)
    assert record["curve"][-1]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": 0}, "layers must be a whole number of at least 1, got 0"),
        ({"heads": 3}, "width must be a multiple of heads, got 8 and 3"),
        ({"positions": 40}, "positions must be a multiple of 16"),
        ({"batch_tokens": 16}, "batch_tokens must be at least positions"),
        ({"mask_rate": 0.0}, "mask_rate must be positive"),
        ({"dropout": 1.0}, "dropout must be a finite number of at least 0 and below 1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number above 0"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number of at least 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
    ],
)
def test_recipes_that_cannot_be_meant(change, message):
    values = {f: getattr(TINY, f) for f in TINY.__dataclass_fields__} | change
    with pytest.raises(ValueError, match=re.escape(message)):
        Recipe(**values)


def test_other_runs_and_other_files_are_refused(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="must be empty or hold a run"):
        pretrain(tmp_path / "other", documents(), documents(1), TINY)
    run(tmp_path / "run", 1)
    with pytest.raises(ValueError, match="steps: 9 there, 10 asked for"):
        pretrain(tmp_path / "run", documents(), documents(3, 1), Recipe(
            **{f: getattr(TINY, f) for f in TINY.__dataclass_fields__} | {"steps": 10}
        ))  # fmt: skip
    with pytest.raises(ValueError, match="another text"):
        pretrain(tmp_path / "run", documents(seed=7), documents(3, 1), TINY)
    with pytest.raises(ValueError, match="too short to fill one batch"):
        pretrain(tmp_path / "short", [["好"]], [["好"]], TINY)


def test_reading_and_splitting_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\ufeff第一篇。标题\n正文！\n\n\n第二篇。\n \n第三篇", encoding="utf-8")
    found = read_documents([path])
    assert found == [["第一篇。", "标题", "正文！"], ["第二篇。"], ["第三篇"]]
    train, held_out = split_documents(found * 20, seed=3)
    assert (len(train), len(held_out)) == (57, 3)
    with pytest.raises(ValueError, match="at least two documents"):
        split_documents(found[:1])
    path.write_bytes("好".encode("gbk"))
    with pytest.raises(ValueError, match="UTF-8: byte 0"):
        read_documents([path])
    path.write_text(" \n\n")
    with pytest.raises(ValueError, match="it is empty"):
        read_documents([path])
    with pytest.raises(ValueError, match="cannot be read"):
        read_documents([tmp_path / "nothing.txt"])


def test_command(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(d) for d in documents(30)), encoding="utf-8")
    arguments = ["pretrain-bert", str(tmp_path / "run"), "--text", str(text)]
    small = ["--steps", "3", "--layers", "1", "--width", "8", "--heads", "2"]
    result = CliRunner().invoke(main, [*arguments, *small, "--batch-tokens", "256"])
    assert result.exit_code == 0, result.output
    assert re.search(r"step 3 of 3: held-out loss \d\.\d{3} nats, accuracy 0\.\d{3}", result.output)
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    result = CliRunner().invoke(main, [*arguments, "--steps", "many"])
    assert result.exit_code == 2
    assert "--steps must be a whole number of at least 1, got 'many'" in result.output
    result = CliRunner().invoke(main, [*arguments, "--heads", "3"])
    assert (result.exit_code, "width must be a multiple of heads" in result.output) == (2, True)
