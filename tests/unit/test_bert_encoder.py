"""The NumPy encoder against keras_hub's BertBackbone and, where it is installed, transformers."""

import math

import bert_folders as folders
import numpy as np
import pytest

from kexian_utils.bert.encoder import ACTIVATIONS, encode, expected_state
from kexian_utils.bert.wordpiece import read_vocabulary, token_ids

ACTS = ("gelu", "gelu_new", "relu", "silu", "tanh")


def relative(got, want, mask=None):
    """Largest length of the difference over the length of what was wanted, over real tokens."""
    if mask is not None:
        got, want = got[mask.astype(bool)], want[mask.astype(bool)]
    return np.max(np.linalg.norm(got - want, axis=-1) / np.linalg.norm(want, axis=-1))


@pytest.mark.parametrize("size", [(12, 3), (10, 2), (6, 6)], ids=str)
def test_encoder_against_keras_hub(tmp_path, size):
    keras_hub = pytest.importorskip("keras_hub")
    c = folders.config(hidden_size=size[0], num_attention_heads=size[1], hidden_act="gelu_new")
    values = folders.tensors(c)
    # keras_hub's own converter: approximate GELU and epsilon 1e-12, as this config.json says
    source = str(folders.write(tmp_path / "bert", c, values))
    model = keras_hub.models.BertBackbone.from_preset(source, dtype="float32")
    ids, segments, mask = folders.inputs(c)
    want = model({"token_ids": ids, "segment_ids": segments, "padding_mask": mask})
    want = {name: np.asarray(value) for name, value in want.items()}
    got = encode(values, c, ids, segments, mask)
    assert relative(got.sequence, want["sequence_output"], mask) < 1e-5
    assert relative(got.pooled, want["pooled_output"]) < 1e-5
    single = encode(values, c, ids, segments, mask, dtype=np.float32)
    assert single.sequence.dtype == np.float32
    assert relative(single.sequence, want["sequence_output"], mask) < 1e-5


def torch_outputs(kind, folder, ids, segments, mask):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float64)
    assert model.config._attn_implementation  # the default, whatever it is
    with torch.no_grad():
        return model.eval()(
            input_ids=torch.tensor(ids),
            token_type_ids=torch.tensor(segments),
            attention_mask=torch.tensor(mask),
        )


@pytest.mark.parametrize("epsilon", [1e-12, 1e-3])
@pytest.mark.parametrize("act", [*ACTS, "swish", "gelu_pytorch_tanh"])
def test_encoder_against_transformers(tmp_path, act, epsilon):
    c = folders.config(hidden_act=act, layer_norm_eps=epsilon)
    values = folders.tensors(c, dtype=np.float64)
    source = folders.write(tmp_path / "bert", c, values)
    ids, segments, mask = folders.inputs(c)
    want = torch_outputs("BertModel", source, ids, segments, mask)
    got = encode(values, c, ids, segments, mask)
    assert relative(got.sequence, want.last_hidden_state.numpy(), mask) < 1e-12
    assert relative(got.pooled, want.pooler_output.numpy()) < 1e-12


@pytest.mark.parametrize("tied", [True, False])
def test_masked_lm_head_against_transformers(tmp_path, tied):
    c = folders.config(architectures=["BertForMaskedLM"], tie_word_embeddings=tied)
    values = folders.tensors(c, dtype=np.float64, pooler=False, mlm=True)
    if not tied:
        table = np.random.default_rng(5).normal(size=(c["vocab_size"], c["hidden_size"]))
        values |= {"cls.predictions.decoder.weight": table}
        values |= {"cls.predictions.decoder.bias": values.pop("cls.predictions.bias")}
    values = folders.old_style(folders.prefixed(values))
    source = folders.write(tmp_path / "bert", c, values)
    ids, segments, mask = folders.inputs(c)
    want = torch_outputs("BertForMaskedLM", source, ids, segments, mask).logits.numpy()
    got = encode(values, c, ids, segments, mask)
    assert got.pooled is None
    assert relative(got.logits, want, mask) < 1e-12


@pytest.mark.parametrize(
    ("kind", "head", "outputs"),
    [
        ("BertForSequenceClassification", "classifier", 3),
        ("BertForTokenClassification", "classifier", 3),
        ("BertForQuestionAnswering", "qa_outputs", 2),
        ("BertForNextSentencePrediction", "cls.seq_relationship", 2),
    ],
)
def test_task_heads_against_transformers(tmp_path, kind, head, outputs):
    c = folders.config(architectures=[kind], num_labels=outputs)
    c["id2label"] = {str(i): str(i) for i in range(outputs)}
    values = folders.tensors(c, dtype=np.float64)
    rng = np.random.default_rng(6)
    values[f"{head}.weight"] = rng.normal(size=(outputs, c["hidden_size"]))
    values[f"{head}.bias"] = rng.normal(size=outputs)
    values = folders.prefixed(values)
    source = folders.write(tmp_path / "bert", c, values)
    ids, segments, mask = folders.inputs(c)
    want = torch_outputs(kind, source, ids, segments, mask)
    if kind == "BertForQuestionAnswering":
        want = np.stack([want.start_logits.numpy(), want.end_logits.numpy()], axis=-1)
    else:
        want = want.logits.numpy()
    got = encode(values, c, ids, segments, mask).scores[head]
    assert got.shape == want.shape
    assert np.max(np.abs(got - want)) < 1e-12 * np.max(np.abs(want))


def test_activations_at_known_values():
    x = np.array([-2.0, -0.5, 0.0, 1.0, 3.0])
    phi = np.array([math.erf(v / math.sqrt(2)) for v in x]) / 2 + 0.5
    np.testing.assert_allclose(ACTIVATIONS["gelu"](x), x * phi, rtol=1e-14)
    np.testing.assert_allclose(ACTIVATIONS["gelu_new"](x), x * phi, atol=5e-4)
    assert np.max(np.abs(ACTIVATIONS["gelu_new"](x) - x * phi)) > 1e-5
    np.testing.assert_allclose(ACTIVATIONS["silu"](x), x / (1 + np.exp(-x)), rtol=1e-14)


def test_padding_changes_no_token():
    c = folders.config()
    values = folders.tensors(c)
    ids, segments, _ = folders.inputs(c)
    long = np.concatenate([ids, ids[:, ::-1]], axis=1)
    mask = np.arange(long.shape[1]) < ids.shape[1]
    kinds = np.concatenate([segments, segments], axis=1)
    short = encode(values, c, ids, segments)
    padded = encode(values, c, long, kinds, np.tile(mask, (2, 1)))
    np.testing.assert_allclose(padded.sequence[:, mask], short.sequence, rtol=0, atol=1e-13)
    unmasked = encode(values, c, long, kinds)
    assert np.max(np.abs(unmasked.sequence[:, mask] - short.sequence)) > 1e-3


def test_large_scores_do_not_overflow():
    c = folders.config(num_hidden_layers=1)
    values = folders.tensors(c)
    values["encoder.layer.0.attention.self.query.weight"] *= 1e5
    states = []
    encode(values, c, *folders.inputs(c), trace=states)
    by_name = {s.name: s.value for s in states}
    scores, weights = (by_name[f"layer 0: attention {n}"] for n in ("scores", "probabilities"))
    assert np.max(np.abs(scores)) > 1e4
    np.testing.assert_array_equal(weights[0].argmax(axis=-1), scores[0].argmax(axis=-1))
    np.testing.assert_allclose(weights.sum(axis=-1), 1)


def test_trace_names_every_sub_layer_and_both_forms_of_trace_agree():
    c = folders.config(num_hidden_layers=1)
    values = folders.tensors(c, mlm=True)
    ids, segments, mask = folders.inputs(c)
    states, called = [], []
    out = encode(values, c, ids, segments, mask, trace=states)
    encode(values, c, ids, segments, mask, trace=lambda state: called.append(state.name))
    assert [s.name for s in states] == called
    assert called == [
        "embeddings: sum",
        "embeddings: LayerNorm",
        "layer 0: queries",
        "layer 0: keys",
        "layer 0: values",
        "layer 0: attention scores",
        "layer 0: attention probabilities",
        "layer 0: attention context",
        "layer 0: attention output",
        "layer 0: attention residual sum",
        "layer 0: attention LayerNorm",
        "layer 0: FFN hidden",
        "layer 0: FFN output",
        "layer 0: FFN residual sum",
        "layer 0: FFN LayerNorm",
        "pooler",
        "MLM dense",
        "MLM LayerNorm",
        "logits",
    ]
    by_name = {s.name: s for s in states}
    assert all(s.value.ndim == len(s.axes) for s in states)
    np.testing.assert_array_equal(by_name["layer 0: FFN LayerNorm"].value, out.sequence)
    np.testing.assert_array_equal(by_name["logits"].value, out.logits)
    rows = by_name["layer 0: attention probabilities"].value
    np.testing.assert_allclose(rows.sum(axis=-1), 1)
    assert np.all(rows[1, :, :, 4:] == 0)  # padding receives no attention


def test_expected_state_for_each_form():
    c = folders.config(num_hidden_layers=1)
    ids, segments, mask = folders.inputs(c)
    states = []
    encode(folders.tensors(c), c, ids, segments, mask, trace=states)
    by_name = {s.name: s for s in states}
    stream = by_name["embeddings: sum"]
    wide = expected_state(stream, 3)
    assert wide.shape == (*stream.value.shape[:2], 36)
    np.testing.assert_allclose(wide[..., 3:6], stream.value[..., 1:2] / math.sqrt(3) * np.ones(3))
    scores = by_name["layer 0: attention scores"]
    np.testing.assert_array_equal(expected_state(scores, 2), scores.value)
    more = expected_state(scores, 2, "more")
    np.testing.assert_array_equal(more[:, [0, 1]], scores.value[:, [0, 0]])
    queries, keys = (by_name[f"layer 0: {name}"] for name in ("queries", "keys"))
    for heads, size in (("wider", 4 * 3), ("more", 4)):  # both forms give the same scores
        q, k = (expected_state(s, 3, heads).transpose(0, 2, 1, 3) for s in (queries, keys))
        again = q @ k.transpose(0, 1, 3, 2) / math.sqrt(size)
        np.testing.assert_allclose(again, expected_state(scores, 3, heads), atol=1e-12)
    with pytest.raises(ValueError, match="factor"):
        expected_state(scores, 0)
    with pytest.raises(ValueError, match="heads"):
        expected_state(scores, 2, "longer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "roberta"}, "model_type must be 'bert', got 'roberta'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ({"hidden_act": "gelu_fast"}, "hidden_act must be one of .* got 'gelu_fast'"),
        ({"hidden_size": 13}, "hidden_size must be a multiple"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a whole number"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps must be a finite"),
        ({"is_decoder": True}, "is_decoder must be false"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_configurations_that_are_refused(changes, words):
    c = folders.config()
    with pytest.raises(ValueError, match=words):
        encode(folders.tensors(c), c | changes, np.zeros((1, 2), int))


def test_bad_inputs():
    c = folders.config()
    values = folders.tensors(c)
    ids, segments, mask = folders.inputs(c)
    for bad in (ids[0], ids.astype(float), ids[:, :0]):
        with pytest.raises(ValueError, match="token_ids must be integers of shape"):
            encode(values, c, bad)
    with pytest.raises(ValueError, match="token_ids must be from 0 to 28, got 29"):
        encode(values, c, np.full((1, 2), 29))
    with pytest.raises(ValueError, match="positions must be from 0 to 23"):
        encode(values, c, np.zeros((1, 25), int))
    with pytest.raises(ValueError, match="segment_ids must have shape"):
        encode(values, c, ids, segments[:1])
    with pytest.raises(ValueError, match="padding_mask must have shape"):
        encode(values, c, ids, segments, mask[:1])
    with pytest.raises(ValueError, match="at least one token"):
        encode(values, c, ids, segments, np.zeros_like(mask))
    del values["encoder.layer.1.output.dense.bias"]
    with pytest.raises(ValueError, match=r"hold encoder\.layer\.1\.output\.dense\.bias"):
        encode(values, c, ids, segments, mask)


TEXTS = (
    "The weather is fine: Áccents, e-mail & 3.14! naïve",
    "今天天气很好，我们training一个模型。",
    "unaffordable   supercalifragilistic\ttabs\nlines ½ Größe",
    "",
)


@pytest.mark.parametrize("text", TEXTS)
def test_wordpiece_against_the_tokenizers_library(text):
    tokenizers = pytest.importorskip("tokenizers")
    from kexian_utils.bert.checkpoints import minilm

    folder = minilm()
    want = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    want.no_padding()
    want.no_truncation()
    assert token_ids(text, read_vocabulary(folder / "vocab.txt")) == want.encode(text).ids


def test_wordpiece_needs_special_tokens():
    with pytest.raises(ValueError, match=r"vocabulary must hold \[SEP\]"):
        token_ids("a", {"[CLS]": 0, "a": 1})
