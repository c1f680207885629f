"""`kexian expand`: equality by the encoder, keras_hub and transformers; refusals leave nothing."""

import errno
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import bert_folders as folders
import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from kexian_utils.bert.checkpoints import Checkpoint, minilm
from kexian_utils.bert.encoder import encode
from kexian_utils.bert.fast_encoder import FastEncoder
from kexian_utils.commands.main import main

pytestmark = pytest.mark.in_turn("kexian_utils/bert", "kexian_utils/commands/models.py")

module = importlib.import_module("kexian_utils.bert.expand_checkpoint")
expand_checkpoint = module.expand_checkpoint
WEEKLY = os.environ.get("KEXIAN_WEEKLY") == "1"
TASKS = {
    "BertForMaskedLM": (),
    "BertForPreTraining": (("cls.seq_relationship", 2),),
    "BertForSequenceClassification": (("classifier", 3),),
    "BertForTokenClassification": (("classifier", 3),),
    "BertForQuestionAnswering": (("qa_outputs", 2),),
}
NO_POOLER = ("BertForMaskedLM", "BertForTokenClassification", "BertForQuestionAnswering")


@pytest.fixture
def folder(tmp_path):
    """A folder of its own, and nothing in it at the end but what a test says."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        yield Path(name)


def small(path, kind="BertModel", dtype=np.float32, **changes):
    c = folders.config(architectures=[kind], **changes)
    mlm = kind in ("BertForMaskedLM", "BertForPreTraining")
    values = folders.tensors(c, dtype=dtype, mlm=mlm, pooler=kind not in NO_POOLER)
    rng = np.random.default_rng(9)
    for head, outputs in TASKS.get(kind, ()):
        values[f"{head}.weight"] = rng.normal(size=(outputs, c["hidden_size"])).astype(dtype)
        values[f"{head}.bias"] = rng.normal(size=outputs).astype(dtype)
    if kind != "BertModel":
        values = folders.prefixed(values)
    return folders.write(path, c, values)


def repeat(x, k, power):
    return np.repeat(x, k, axis=-1) * k**power


def largest(got, want):
    """Largest length of the difference over the length of what was wanted, over the last axis."""
    return np.max(np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1))


CASES = [(seed, 1 + seed % 4, ("wider", "more")[seed // 4 % 2]) for seed in range(16)]


@pytest.mark.parametrize(("seed", "width", "heads"), CASES)
def test_random_models_compute_the_same(folder, seed, width, heads):
    rng = np.random.default_rng(seed)
    count, layers = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    depth = int(rng.integers(1 if width == 1 else 0, 3))
    kind = rng.choice(["BertModel", *TASKS])
    epsilon = 1e-12 if depth or kind in ("BertForMaskedLM", "BertForPreTraining") else 1e-3
    source = small(
        folder / "small",
        kind,
        np.float64,
        hidden_size=count * int(rng.choice([3, 4, 5])),
        num_attention_heads=count,
        num_hidden_layers=layers,
        hidden_act=rng.choice(["gelu", "gelu_new", "relu", "silu", "tanh"]),
        layer_norm_eps=epsilon,
    )
    ties = 0.0 if width == 1 else float(rng.choice([0.0, 0.7]))
    after = int(rng.integers(layers)) if depth else None
    report = expand_checkpoint(
        source, folder / "large", width, heads, depth, after, break_ties=ties
    )
    one, two = Checkpoint(source), Checkpoint(folder / "large")
    ids, segments, mask = folders.inputs(one.config, seed)
    before = encode(one, one.config, ids, segments, mask)
    got = encode(two, two.config, ids, segments, mask)
    real, bar = mask.astype(bool), 1e-10 if depth else 1e-11
    assert largest(got.sequence[real], repeat(before.sequence, width, -0.5)[real]) < bar
    if before.pooled is not None:
        assert largest(got.pooled, repeat(before.pooled, width, 0)) < bar
    if before.logits is not None:
        assert largest(got.logits[real], before.logits[real]) < bar
    for name, scores in before.scores.items():
        assert largest(got.scores[name], scores) < bar
    assert report.error < bar
    assert report.tolerance == 1e-10
    assert report.sentences == 4
    c = two.config
    assert c["hidden_size"] == width * one.config["hidden_size"]
    assert c["num_attention_heads"] == count * (width if heads == "more" else 1)
    assert c["num_hidden_layers"] == layers + depth
    assert c["layer_norm_eps"] == pytest.approx(epsilon / width)
    assert c["vocab_size"] == one.config["vocab_size"]
    assert sorted(p.name for p in folder.iterdir()) == ["large", "small"]


@pytest.mark.parametrize(
    ("options", "bar"), [({"width": 2}, 2e-5), ({"width": 3, "heads": "more", "depth": 2}, 2e-5)]
)
def test_result_against_keras_hub_alone(folder, options, bar):
    keras_hub = pytest.importorskip("keras_hub")
    source = small(folder / "small", hidden_act="gelu_new")
    expand_checkpoint(source, folder / "large", **options)
    ids, segments, mask = folders.inputs(folders.config())
    inputs = {"token_ids": ids, "segment_ids": segments, "padding_mask": mask}
    outputs = []
    for name in ("small", "large"):  # keras_hub's own converter, which wants this activation
        model = keras_hub.models.BertBackbone.from_preset(str(folder / name), dtype="float32")
        outputs.append({n: np.asarray(v) for n, v in model(inputs).items()})
    k, real = options["width"], mask.astype(bool)
    want = repeat(outputs[0]["sequence_output"], k, -0.5)
    assert largest(outputs[1]["sequence_output"][real], want[real]) <= bar
    assert largest(outputs[1]["pooled_output"], repeat(outputs[0]["pooled_output"], k, 0)) <= bar


def run_torch(kind, path, ids, segments, mask):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, info = getattr(transformers, kind).from_pretrained(path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    with torch.no_grad():
        out = model.eval()(
            input_ids=torch.tensor(ids),
            token_type_ids=torch.tensor(segments),
            attention_mask=torch.tensor(mask),
        )
    return {name: value.numpy() for name, value in out.items()}


@pytest.mark.parametrize(
    "options", [{"width": 2}, {"width": 3, "heads": "more", "depth": 2, "break_ties": 0.5}], ids=str
)
@pytest.mark.parametrize("kind", ["BertModel", *TASKS])
def test_result_in_transformers(folder, kind, options):
    pytest.importorskip("transformers")
    changes = {"id2label": {str(i): str(i) for i in range(3)}} if "Class" in kind else {}
    source = small(folder / "small", kind, **changes)
    expand_checkpoint(source, folder / "large", **options)
    ids, segments, mask = folders.inputs(folders.config())
    before = run_torch(kind, source, ids, segments, mask)
    got = run_torch(kind, folder / "large", ids, segments, mask)
    assert set(got) == set(before)
    real, powers = mask.astype(bool), {"last_hidden_state": -0.5, "pooler_output": 0}
    for name, want in before.items():
        k = options["width"] if name in powers else 1
        want = repeat(want, k, powers.get(name, 0))
        kept = real if want.shape[:2] == real.shape else slice(None)
        assert np.max(np.abs(got[name][kept] - want[kept])) <= 2e-5 * np.max(np.abs(want[kept]))
        if name == "last_hidden_state":
            assert largest(got[name][real], want[real]) <= 2e-5


class InFloat64(Mapping):
    """The tensors of a plan before they are rounded to the file's float32."""

    def __init__(self, plan):
        self.plan = plan

    def __getitem__(self, name):
        return np.concatenate(list(self.plan.blocks(name)))

    def __iter__(self):
        return iter(self.plan.layout)

    def __len__(self):
        return len(self.plan.layout)


@pytest.mark.parametrize("heads", ["wider", "more"])
@pytest.mark.parametrize("width", [2, 3, 4])
def test_minilm_in_float64(width, heads):
    plan = module._Plan(minilm(), width, heads, 0, None, 0.0, 0)
    ids, segments, mask, sentences = module._sequences(plan.source)
    chosen = [0, 2, 3, 5]  # two random sequences, one of them short, and two sentences
    ids, segments, mask = ids[chosen], segments[chosen], mask[chosen]
    before = encode(plan.source, plan.source.config, ids, segments, mask)
    got = encode(InFloat64(plan), plan.config, ids, segments, mask)
    assert sentences == 4
    assert largest(got.sequence[mask], repeat(before.sequence, width, -0.5)[mask]) <= 1e-13
    assert largest(got.pooled, repeat(before.pooled, width, 0)) <= 1e-13


def peak_of(arguments):
    """Seconds and peak memory of the command above an idle process with the same imports."""
    code = (
        "import re, sys, time, scipy.special, kexian_utils.bert.expand_checkpoint\n"
        "from kexian_utils.commands.main import main\n"
        "def peak():\n"
        "    status = open('/proc/self/status').read()\n"
        "    return 1024 * int(re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
        "idle, start = peak(), time.perf_counter()\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "print('measured', peak() - idle, time.perf_counter() - start)\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "expand", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    memory, seconds = re.search(r"measured (\d+) (\S+)", run.stdout).groups()
    return int(memory), float(seconds), run.stdout


def bytes_of(*paths):
    return sum((path / "model.safetensors").stat().st_size for path in paths)


# ru_maxrss of a child may be that of its parent before exec; VmHWM never is.
linux = pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads VmHWM of Linux")


@linux
def test_minilm_through_the_command(folder):
    source, target = minilm(), folder / "large"
    memory, _, words = peak_of([source, target, "--width", 2])
    assert "22,713,216 -> 66,955,008 parameters" in words
    # Weights rounded to float32 (6e-8 each) leave about 3e-7 after six layers.
    error = float(re.search(r"largest relative difference (\S+) in float64", words)[1])
    assert 1e-9 < error < 1e-6
    assert memory <= 1.2 * bytes_of(source, target)
    assert (
        json.loads((target / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"]
        == 2
        * json.loads((source / "1_Pooling" / "config.json").read_text())["word_embedding_dimension"]
    )
    for name in ("vocab.txt", "tokenizer.json", "modules.json", "sentence_bert_config.json"):
        assert (target / name).read_bytes() == (source / name).read_bytes()


@pytest.fixture(scope="module")
def doubled(tmp_path_factory):
    """MiniLM and twice its width."""
    target = tmp_path_factory.mktemp("doubled") / "large"
    expand_checkpoint(minilm(), target, width=2)
    return minilm(), target


def test_doubled_minilm_in_transformers(request):
    pytest.importorskip("transformers")
    source, target = request.getfixturevalue("doubled")
    ids, segments, mask, _ = module._sequences(Checkpoint(source))
    before = run_torch("BertModel", source, ids, segments, mask.astype(int))
    got = run_torch("BertModel", target, ids, segments, mask.astype(int))
    want = repeat(before["last_hidden_state"], 2, -0.5)
    error = largest(got["last_hidden_state"][mask], want[mask])
    pooled = largest(got["pooler_output"], repeat(before["pooler_output"], 2, 0))
    assert max(error, pooled) <= 2e-5


def test_doubled_minilm_in_sentence_transformers(request):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    vectors = [
        sentence_transformers.SentenceTransformer(str(path), device="cpu").encode(
            list(module.SENTENCES)
        )
        for path in request.getfixturevalue("doubled")
    ]
    assert vectors[1].shape == (4, 768)
    np.testing.assert_allclose(vectors[1], repeat(vectors[0], 2, -0.5), atol=2e-6)


@linux
@pytest.mark.slow
@pytest.mark.skipif(not WEEKLY, reason="runs only with KEXIAN_WEEKLY=1")
def test_memory_and_time_at_the_size_of_bert_base(folder):
    c = folders.config(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
        architectures=["BertForMaskedLM"],
    )
    rng = np.random.default_rng(0)
    values = {
        name: (name.endswith("LayerNorm.weight") + 0.03 * rng.standard_normal(shape)).astype("f4")
        for name, shape in folders.shapes(c, mlm=True).items()
    }
    source = folders.write(folder / "base", c, folders.prefixed(values))
    memory, seconds, _ = peak_of([source, folder / "large", "--width", 2])
    ratio = memory / bytes_of(source, folder / "large")
    print(f"peak memory over both files {ratio:.2f}, {seconds:.0f} s")
    assert ratio <= 1.2
    assert seconds < 60


def test_half_precision_is_written_in_single(folder):
    source = small(folder / "small", dtype=np.float16, torch_dtype="float16")
    report = expand_checkpoint(source, folder / "large", 2)
    assert report.from_16_bit
    assert report.error < 1e-6
    values = load_file(folder / "large" / "model.safetensors")
    assert {v.dtype.name for v in values.values()} == {"float32"}
    assert json.loads((folder / "large" / "config.json").read_text())["torch_dtype"] == "float32"


def test_old_names_buffers_and_an_empty_target_are_fine(folder):
    c = folders.config(architectures=["BertForMaskedLM"])
    values = folders.old_style(folders.prefixed(folders.tensors(c, mlm=True, pooler=False)))
    values["bert.embeddings.position_ids"] = np.arange(24)[None]
    table = values["bert.embeddings.word_embeddings.weight"]
    values["cls.predictions.decoder.weight"] = table.copy()
    source = folders.write(folder / "small", c, values)
    (folder / "large").mkdir()
    report = expand_checkpoint(source, folder / "large", 2, depth=1, after=0)
    got = load_file(folder / "large" / "model.safetensors")
    deeper = {n.replace("layer.1", "layer.2") for n in values if "layer.1" in n}
    assert set(got) == set(values) | deeper
    np.testing.assert_array_equal(got["bert.embeddings.position_ids"], np.arange(24)[None])
    np.testing.assert_array_equal(
        got["cls.predictions.decoder.weight"], got["bert.embeddings.word_embeddings.weight"]
    )
    assert report.parameters_before == sum(v.size for v in values.values()) - 24 - table.size


def test_ties_are_broken_where_twins_come_in_and_nowhere_else(folder):
    source = small(folder / "small")
    expand_checkpoint(source, folder / "copies", 2)
    expand_checkpoint(source, folder / "other", 2, break_ties=1.0, seed=1)
    expand_checkpoint(source, folder / "again", 2, break_ties=1.0, seed=1)
    copies, other, again = (
        load_file(folder / name / "model.safetensors") for name in ("copies", "other", "again")
    )
    changed = {n for n in copies if not np.array_equal(copies[n], other[n])}
    dense = (".query.weight", ".key.weight", ".value.weight", "dense.weight")
    assert changed == {n for n in copies if n.endswith(dense)}
    for name in changed:
        np.testing.assert_array_equal(other[name], again[name])
        noise = (
            other[name].astype(float) - copies[name]
        )  # inputs are the columns of a file's kernel
        np.testing.assert_allclose(noise[:, ::2], -noise[:, 1::2], atol=1e-6)
        assert np.std(noise) == pytest.approx(np.std(copies[name]), rel=0.3)
    names = [f"encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key", "value")]
    noises = [((other[n].astype(float) - copies[n]) / np.std(copies[n])).ravel() for n in names]
    apart = np.corrcoef(noises) - np.eye(3)  # equal in shape, but not in noise
    assert np.max(np.abs(apart)) < 0.3


def test_new_layers_are_ready_to_train(folder):
    source = small(folder / "small")
    expand_checkpoint(source, folder / "large", depth=2, after=0)
    old = load_file(source / "model.safetensors")
    new = load_file(folder / "large" / "model.safetensors")
    layer = "encoder.layer.{}.{}"
    for i in (1, 2):
        for part in ("attention.self.query.weight", "intermediate.dense.bias"):
            np.testing.assert_array_equal(new[layer.format(i, part)], old[layer.format(0, part)])
        for part in ("attention.output.dense", "output.dense"):
            assert not np.any(new[layer.format(i, f"{part}.weight")])
            assert not np.any(new[layer.format(i, f"{part}.bias")])
    for part in ("weight", "bias"):
        moved = new[layer.format(2, f"output.LayerNorm.{part}")]
        np.testing.assert_array_equal(moved, old[layer.format(0, f"output.LayerNorm.{part}")])
        last = new[layer.format(3, f"output.LayerNorm.{part}")]
        np.testing.assert_array_equal(last, old[layer.format(1, f"output.LayerNorm.{part}")])


# Each entry: what is done to the folder of a good model, and the words of the refusal.
def edit(**changes):
    def change(source):
        path = source / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def edit_tensors(function):
    def change(source):
        values = load_file(source / "model.safetensors")
        folders.write(source, json.loads((source / "config.json").read_text()), function(values))

    return change


def without(name):
    return edit_tensors(lambda values: {n: v for n, v in values.items() if n != name})


def with_tensor(name, value):
    return edit_tensors(lambda values: values | {name: value})


def pickle_only(source):
    (source / "model.safetensors").rename(source / "pytorch_model.bin")


def one_more_module(source):
    kinds = ["Transformer", "Pooling", "Dense"]
    modules = [{"type": f"sentence_transformers.models.{k}", "path": ""} for k in kinds]
    (source / "modules.json").write_text(json.dumps(modules))


def pooling(path, victim="victim"):
    """A model whose modules.json names a folder for Pooling; beside the model stands a victim."""

    def change(source):
        for folder in (source.parent / victim, source / victim):
            folder.mkdir()
            (folder / "config.json").write_text('{"word_embedding_dimension": 100}')
        (source / "link").symlink_to(source.parent / victim)
        real = str(source.parent / victim) if path == "ABSOLUTE" else path
        module = {"type": "sentence_transformers.models.Pooling", "path": real}
        (source / "modules.json").write_text(json.dumps([module]))

    return change


OUTSIDE = ["../victim", "ABSOLUTE", "", ".", "..", "victim/..", "link", None, 5, ["victim"]]


@pytest.mark.parametrize("path", OUTSIDE)
def test_modules_stay_inside_their_model(folder, path):
    source = small(folder / "small")
    pooling(path)(source)
    words = "modules.json in .* must name a folder inside it, no link, as path of Pooling, got"
    refused([source, folder / "large", "--width", "2"], words)
    assert "100" in (folder / "victim" / "config.json").read_text()
    assert sorted(p.name for p in folder.iterdir()) == ["small", "victim"]


def head(values):
    c = folders.config()
    added = folders.tensors(c, mlm=True)
    names = [n for n in added if n.startswith("cls.")]
    table = {"cls.predictions.decoder.weight": np.ones((29, 12), "f4")}
    return values | {n: added[n] for n in names} | table


def written(name, text):
    return lambda source: (source / name).write_text(text)


BIAS = "encoder.layer.1.output.dense.bias"
REFUSED = {
    "another model": (edit(model_type="roberta"), "model_type must be 'bert', got 'roberta'"),
    "relative positions": (edit(position_embedding_type="relative_key"), "relative positions"),
    "unknown activation": (edit(hidden_act="gelu_fast"), "hidden_act must be one of"),
    "decoder": (edit(is_decoder=True), "is_decoder must be false"),
    "quantised by name": (edit(quantization_config={"bits": 8}), "quantised weights"),
    "quantised by type": (
        with_tensor("encoder.layer.0.output.dense.weight", np.zeros((12, 20), "i1")),
        r"encoder\.layer\.0\.output\.dense\.weight .* quantised",
    ),
    "unknown tensor": (with_tensor("adapter.weight", np.zeros(3, "f4")), r"adapter\.weight has no"),
    "unknown head": (
        with_tensor("classifier.weight", np.zeros((3, 12), "f4")),
        r"classifier\.weight has no place .* correct config\.json",
    ),
    "too many layers": (edit(num_hidden_layers=1), r"encoder\.layer\.1\.\S+ has no place"),
    "too few layers": (edit(num_hidden_layers=3), r"encoder\.layer\.2\.\S+ is missing"),
    "missing tensor": (without(BIAS), r"encoder\.layer\.1\.output\.dense\.bias is missing"),
    "missing head": (edit(architectures=["BertForMaskedLM"]), r"cls\.predictions\.\S+ is missing"),
    "half a pooler": (without("pooler.dense.bias"), r"pooler\.dense\.bias is missing"),
    "misshapen": (with_tensor(BIAS, np.zeros(13, "f4")), r"must have shape \(12\).* got \(13,\)"),
    "another vocabulary": (
        edit(vocab_size=30),
        r"word_embeddings\.weight must have shape \(30, 12",
    ),
    "untied": (edit_tensors(head), "differs from the token table.*tie_word_embeddings"),
    "two names": (with_tensor(f"bert.{BIAS}", np.zeros(12, "f4")), "two names of one tensor"),
    "pickle": (pickle_only, r"only as pickle .*save_pretrained"),
    "no weights": (lambda s: (s / "model.safetensors").unlink(), "must hold model.safetensors"),
    "no config": (lambda s: (s / "config.json").unlink(), r"must hold config\.json"),
    "not finite": (with_tensor(BIAS, np.full(12, np.nan, "f4")), "not finite"),
    "no segments": (edit(type_vocab_size=0), "type_vocab_size must be a whole number"),
    "more layers than atoms": (edit(num_hidden_layers=10**9), r"layer\.2\.\S+ is missing"),
    "modules in words": (
        written("modules.json", "5"),
        r"\.json must hold a JSON list, got an i",
    ),
    "modules nested": (written("modules.json", "[" * 10**5), "must be JSON of a sane depth"),
    "a module in words": (written("modules.json", "[5]"), "must list objects with a type, got 5"),
    "another module": (one_more_module, "modules.json lists Dense"),
}


def test_an_untied_head_has_its_own_bias(folder):
    """As transformers 5 writes it: both biases, the first as it started, the other trained."""
    c = folders.config(architectures=["BertForMaskedLM"], tie_word_embeddings=False)
    values = folders.tensors(c, pooler=False, mlm=True)
    rng = np.random.default_rng(5)
    values["cls.predictions.decoder.weight"] = rng.normal(size=(29, 12)).astype("f4")
    values["cls.predictions.decoder.bias"] = rng.normal(size=29).astype("f4")
    values["cls.predictions.bias"] = np.zeros(29, "f4")
    folders.write(folder / "small", c, values)
    report = module.expand_checkpoint(folder / "small", folder / "large", width=2)
    assert report.error < 1e-5
    large = load_file(folder / "large" / "model.safetensors")
    np.testing.assert_array_equal(
        large["cls.predictions.decoder.bias"], values["cls.predictions.decoder.bias"]
    )
    inputs = folders.inputs(c)
    found = encode(values, c, *inputs).logits
    without = encode(values | {"cls.predictions.decoder.bias": np.zeros(29)}, c, *inputs).logits
    np.testing.assert_allclose(
        found - without, np.broadcast_to(values["cls.predictions.decoder.bias"], found.shape),
        atol=1e-9,
    )  # fmt: skip
    fast = FastEncoder(values, c)
    states = np.zeros((1, 12))
    difference = fast.log_probabilities(states) - FastEncoder(
        values | {"cls.predictions.decoder.bias": np.zeros(29, "f4")}, c
    ).log_probabilities(states)
    assert np.ptp(difference) > 1


def refused(arguments, words, code=2):
    """One sentence that says what is wrong, and the exit code."""
    result = CliRunner().invoke(main, ["expand", *map(str, arguments)])
    assert result.exit_code == code, result.output
    assert re.search(words, result.stderr), result.stderr
    assert result.stderr.startswith("kexian: ")
    assert result.stderr.count("\n") == 1
    assert not result.stdout


@pytest.mark.parametrize("what", REFUSED)
def test_refused_sources_leave_nothing(folder, what):
    change, words = REFUSED[what]
    source = small(folder / "small")
    change(source)
    refused([source, folder / "large", "--width", "2"], words)
    assert [p.name for p in folder.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--width", "0"], "--width must be a whole number of at least 1, got '0'"),
        (["--width", "-2"], "--width must be a whole number of at least 1, got '-2'"),
        (["--width", "1.5"], "--width must be a whole number of at least 1, got '1.5'"),
        ([], "nothing to expand"),
        (["--width", "1"], "nothing to expand"),
        (["--depth", "-1"], "--depth must be a whole number of at least 0, got '-1'"),
        (["--depth", "+x"], "--depth must be a whole number of at least 0, got '.x'"),
        (["--depth", "+1", "--after", "2"], "after must be a whole number from 0 to 1, got 2"),
        (["--width", "2", "--after", "0"], "after needs a depth of at least 1"),
        (
            ["--width", "2", "--break-ties", "-1"],
            "--break-ties must be a number from 0 to 100, got '-1'",
        ),
        (
            ["--width", "2", "--break-ties", "nan"],
            "--break-ties must be a number from 0 to 100, got 'nan'",
        ),
        (["--depth", "+1", "--break-ties", "1"], "break_ties needs a width of at least 2"),
        (["--width", "2", "--seed", "-1"], "--seed must be a whole number from 0 to 4294967295"),
    ],
    ids=" ".join,
)
def test_refused_options_leave_nothing(folder, options, words):
    source = small(folder / "small")
    refused([source, folder / "large", *options], words)
    assert [p.name for p in folder.iterdir()] == ["small"]


def test_refused_targets_stay_as_they_are(folder):
    source = small(folder / "small")
    (folder / "full").mkdir()
    (folder / "full" / "note").write_text("mine")
    (folder / "file").write_text("mine, too")
    for target in ("full", "file", "small"):
        refused([source, folder / target, "--width", "2"], "exists and is not an empty folder")
    (folder / "loop").symlink_to("loop")
    refused([source, folder / "loop", "--width", "2"], "is a link that leads nowhere")
    (folder / "loop").unlink()
    refused([source, folder / "no" / "such", "--width", "2"], "must lie in a folder that exists")
    refused([folder / "none", folder / "large", "--width", "2"], "must be a folder with config")
    assert (folder / "full" / "note").read_text() == "mine"
    assert sorted(p.name for p in folder.iterdir()) == ["file", "full", "small"]


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"depth": 1}, "BertModel", "layer_norm_eps is 0.01, .* expand in width only"),
        ({"width": 2}, "BertForMaskedLM", "layer_norm_eps is 0.01, .* expand in depth only"),
    ],
)
def test_what_a_large_epsilon_forbids(folder, options, kind, words):
    source = small(folder / "small", kind, layer_norm_eps=1e-2)
    arguments = [f"--{name}={value}" for name, value in options.items()]
    refused([source, folder / "large", *arguments], f"differ by .* more than 2e-05: {words}")
    assert [p.name for p in folder.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("role", "factor", "output"),
    [
        ("output_bias", 0.5, None),  # in the stream, mistakes show in every output
        ("query_kernel", 2**-0.25, None),
        ("segment_embedding", 1.01, None),
        ("pooler_kernel", 1.001, "pooled output"),
        ("mlm_bias", 1.001, "masked-LM logits"),
        ("logit_bias", 1.001, "masked-LM logits"),
        ("classifier_bias", 1.001, "cls.seq_relationship"),
    ],
)
def test_the_check_sees_a_wrong_rule(folder, monkeypatch, role, factor, output):
    right = module.width_rules

    def wrong(*arguments):
        rules = right(*arguments)
        rule = rules[role]
        return rules | {role: type(rule)(rule.axes, rule.repeats, rule.scale * factor)}

    source = small(folder / "small", "BertForPreTraining")
    monkeypatch.setattr(module, "width_rules", wrong)
    with pytest.raises(ValueError, match=r"differ by .* more than 2e-05") as caught:
        expand_checkpoint(source, folder / "large", 2)
    worst = re.search("large model's (.+) differ", str(caught.value))[1]
    assert output in (None, worst)
    assert [p.name for p in folder.iterdir()] == ["small"]


def failing_write(error):
    def write(path, layout, blocks):
        names = iter(layout)
        with open(path, "wb") as file:
            for block in blocks(next(names)):
                file.write(block.tobytes())
        raise error

    return write


def test_a_disk_that_fills_up_midway(folder, monkeypatch):
    source = small(folder / "small")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(module, "write_safetensors", failing_write(full))
    refused(
        [source, folder / "large", "--width", "2"],
        r"large: No space left on device; free some space .* Nothing was written\.",
        code=3,
    )
    assert [p.name for p in folder.iterdir()] == ["small"]


def test_a_disk_that_is_full_from_the_start(folder, monkeypatch):
    source = small(folder / "small")
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=2000))
    monkeypatch.setattr(module, "_write", lambda *a: pytest.fail("it must not begin"))
    refused([source, folder / "large", "--width", "2"], "it needs .* GB, 0.00 GB are free", code=3)
    assert [p.name for p in folder.iterdir()] == ["small"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_writer_reports_a_full_disk():
    with pytest.raises(OSError, match="No space left"):
        module.write_safetensors(
            "/dev/full", {"a": ("F32", (1 << 16,))}, lambda name: [np.zeros(1 << 16)]
        )


@pytest.mark.parametrize("step", ["_write", "_compare"])
def test_an_interruption_leaves_nothing(folder, monkeypatch, step):
    source = small(folder / "small")
    right = getattr(module, step)

    def interrupted(*arguments):
        right(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, step, interrupted)
    refused([source, folder / "large", "--width", "2"], "interrupted; nothing was written", 130)
    assert [p.name for p in folder.iterdir()] == ["small"]


def test_a_signal_to_the_running_command_leaves_nothing(folder):
    code = (
        "import time; from kexian_utils.commands.main import main\n"
        "import importlib; m = importlib.import_module('kexian_utils.bert.expand_checkpoint')\n"
        "m._compare = lambda *a: (print('half-way', flush=True), time.sleep(60))\n"
        "main()\n"
    )
    source = small(folder / "small")
    arguments = ["expand", source, folder / "large", "--width", "2"]
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"half-way\n"
        assert len(list(folder.iterdir())) == 2  # the model and the unfinished folder
        time.sleep(0.2)
        run.send_signal(2)
        assert run.wait(10) == 130
        assert run.stderr.read() == b"kexian: interrupted; nothing was written.\n"
    assert [p.name for p in folder.iterdir()] == ["small"]


def test_what_a_user_reads_on_success(folder):
    source = small(folder / "small")
    result = CliRunner().invoke(
        main, ["expand", str(source), str(folder / "large"), "--width", "2", "--depth", "+1"]
    )
    assert result.exit_code == 0, result.output
    assert not result.stderr
    first, second = result.stdout.splitlines()
    sizes = [
        sum(v.size for v in load_file(folder / name / "model.safetensors").values())
        for name in ("small", "large")
    ]
    assert first == (
        f"{folder.resolve() / 'large'} is written: {sizes[0]:,} -> {sizes[1]:,} parameters "
        "(2 layers, width 12, 3 heads of 4 -> 3 layers, width 24, 3 heads of 8)."
    )
    assert re.fullmatch(
        r"It computes the same on 7 token sequences, 4 of them sentences: largest relative "
        r"difference \d\.\de-0[6-9] in float64 \(allowed: 2e-05\)\.",
        second,
    )
    (source / "vocab.txt").unlink()
    random = CliRunner().invoke(
        main, ["expand", str(source), str(folder / "other"), "--width", "2"]
    )
    assert "There is no vocab.txt that fits, so all sequences were random." in random.stdout
