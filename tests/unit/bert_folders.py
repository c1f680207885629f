"""Small random BERTs as folders in Hugging Face's form, written by the safetensors library."""

import json

import numpy as np
from safetensors.numpy import save_file

VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "weather", "is", "we", "train", "a",
    "##s", "##ing", "model", "sum", "today", "small", ".", ",", "今", "天", "我", "们",
    "的", "模", "型",
]  # fmt: skip


def config(**changes):
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": 29,
        "hidden_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 20,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    } | changes


def shapes(c, pooler=True, mlm=False):
    """Names and shapes, written down here anew: (out, in) as PyTorch keeps kernels."""
    d, hidden = c["hidden_size"], c["intermediate_size"]
    found = {
        "embeddings.word_embeddings.weight": (c["vocab_size"], d),
        "embeddings.position_embeddings.weight": (c["max_position_embeddings"], d),
        "embeddings.token_type_embeddings.weight": (c["type_vocab_size"], d),
    }

    def dense(name, n_in, n_out):
        found.update({f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)})

    def norm(name):
        found.update({f"{name}.weight": (d,), f"{name}.bias": (d,)})

    norm("embeddings.LayerNorm")
    for i in range(c["num_hidden_layers"]):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            dense(f"{layer}.attention.self.{part}", d, d)
        dense(f"{layer}.attention.output.dense", d, d)
        norm(f"{layer}.attention.output.LayerNorm")
        dense(f"{layer}.intermediate.dense", d, hidden)
        dense(f"{layer}.output.dense", hidden, d)
        norm(f"{layer}.output.LayerNorm")
    if pooler:
        dense("pooler.dense", d, d)
    if mlm:
        dense("cls.predictions.transform.dense", d, d)
        norm("cls.predictions.transform.LayerNorm")
        found["cls.predictions.bias"] = (c["vocab_size"],)
    return found


def tensors(c, seed=0, dtype=np.float32, **parts):
    """Random gains, offsets and biases, too: ones and zeros would hide mistakes."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes(c, **parts).items():
        if name.endswith("LayerNorm.weight"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = rng.normal(0, 0.5, shape)
        elif "_embeddings" in name:
            value = rng.normal(0, 1.0, shape)
        else:
            value = rng.normal(0, 1.5 / np.sqrt(shape[-1]), shape)
        found[name] = value.astype(dtype)
    return found


def write(folder, c, values, vocabulary=VOCABULARY):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(c))
    save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
    if vocabulary:
        (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    return folder


def prefixed(values):
    """As files of models with a head: ``bert.`` before the encoder's names."""
    heads = ("cls.", "classifier.", "qa_outputs.")
    return {n if n.startswith(heads) else f"bert.{n}": v for n, v in values.items()}


def old_style(values):
    """As files from TensorFlow: gamma and beta."""

    def old(name):
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        return name.replace("LayerNorm.bias", "LayerNorm.beta")

    return {old(name): value for name, value in values.items()}


def inputs(c, seed=1, length=7):
    """Token ids, segments and a mask whose second sequence ends in padding."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(c["vocab_size"], size=(2, length))
    segments = rng.integers(c["type_vocab_size"], size=(2, length))
    mask = np.ones((2, length), int)
    mask[1, length - 3 :] = 0
    return ids, segments, mask
