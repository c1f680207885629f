"""Names of the tensors in a Hugging Face file of a BERT, and the role that each one plays.

Files differ in two harmless ways: a model with a head writes ``bert.`` before the names of its
encoder, and files from TensorFlow call the parameters of LayerNorm gamma and beta. The canonical
name drops the prefix and says weight and bias.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "BUFFER",
    "canonical_name",
    "layer_number",
    "layer_tensor",
    "output_bias",
    "required_names",
    "source_names",
    "tensor_role",
]

BUFFER = "buffer"  # the role of tensors that hold no parameters: they stay as they are

_DENSE = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "gain", "bias": "offset"}
_MODEL = {
    "embeddings.word_embeddings.weight": "token_embedding",
    "embeddings.position_embeddings.weight": "position_embedding",
    "embeddings.token_type_embeddings.weight": "segment_embedding",
    "embeddings.position_ids": BUFFER,
    "embeddings.token_type_ids": BUFFER,
    "cls.predictions.bias": "logit_bias",
    "cls.predictions.decoder.bias": "logit_bias",
    # Its rows meet the residual stream in inner products, as those of the tied table do.
    "cls.predictions.decoder.weight": "token_embedding",
    "cls.seq_relationship.weight": "pooled_classifier_kernel",
    "cls.seq_relationship.bias": "classifier_bias",
    **{f"embeddings.LayerNorm.{p}": f"layer_norm_{q}" for p, q in _NORM.items()},
    **{f"pooler.dense.{p}": f"pooler_{q}" for p, q in _DENSE.items()},
    **{f"cls.predictions.transform.dense.{p}": f"mlm_{q}" for p, q in _DENSE.items()},
    **{f"cls.predictions.transform.LayerNorm.{p}": f"layer_norm_{q}" for p, q in _NORM.items()},
}
_LAYER = {
    **{f"attention.self.query.{p}": f"query_{q}" for p, q in _DENSE.items()},
    **{f"attention.self.key.{p}": f"key_{q}" for p, q in _DENSE.items()},
    **{f"attention.self.value.{p}": f"value_{q}" for p, q in _DENSE.items()},
    **{f"attention.output.dense.{p}": f"attention_output_{q}" for p, q in _DENSE.items()},
    **{f"attention.output.LayerNorm.{p}": f"layer_norm_{q}" for p, q in _NORM.items()},
    **{f"intermediate.dense.{p}": f"intermediate_{q}" for p, q in _DENSE.items()},
    **{f"output.dense.{p}": f"output_{q}" for p, q in _DENSE.items()},
    **{f"output.LayerNorm.{p}": f"layer_norm_{q}" for p, q in _NORM.items()},
}
# What a model for a task puts on top, and which state of the encoder it reads.
_TASKS = {
    "BertForSequenceClassification": ("classifier", "pooled"),
    "BertForMultipleChoice": ("classifier", "pooled"),
    "BertForTokenClassification": ("classifier", "token"),
    "BertForQuestionAnswering": ("qa_outputs", "token"),
}
_IN_LAYER = re.compile(r"encoder\.layer\.(\d+)\.(.+)")


def canonical_name(name: str) -> str:
    """The name without ``bert.``, LayerNorm's parameters being called weight and bias.

    Examples:
        >>> canonical_name("bert.encoder.layer.0.output.LayerNorm.gamma")
        'encoder.layer.0.output.LayerNorm.weight'
    """
    name = name.removeprefix("bert.")
    name = re.sub(r"LayerNorm\.gamma$", "LayerNorm.weight", name)
    return re.sub(r"LayerNorm\.beta$", "LayerNorm.bias", name)


def layer_tensor(layer: int, rest: str) -> str:
    """Canonical name of a layer's tensor, such as ``output.dense.bias``.

    Examples:
        >>> layer_tensor(3, "output.dense.bias")
        'encoder.layer.3.output.dense.bias'
    """
    return f"encoder.layer.{layer}.{rest}"


def layer_number(name: str) -> tuple[int, str] | None:
    """Layer and rest of a layer's tensor; None for the others.

    Examples:
        >>> layer_number("bert.encoder.layer.3.output.dense.bias")
        (3, 'output.dense.bias')
        >>> layer_number("pooler.dense.bias") is None
        True
    """
    match = _IN_LAYER.fullmatch(canonical_name(name))
    return (int(match[1]), match[2]) if match else None


def tensor_role(name: str, architectures: Sequence[str] | None = None) -> str | None:
    """The tensor's role: a key of `kexian_utils.bert.rules.AXES`, `BUFFER`, or None if unknown.

    Args:
        name: as in the file.
        architectures: of config.json; they say what ``classifier`` and ``qa_outputs`` read.

    Examples:
        >>> tensor_role("bert.encoder.layer.0.attention.self.query.weight")
        'query_kernel'
        >>> tensor_role("classifier.weight", ["BertForTokenClassification"])
        'token_classifier_kernel'
    """
    plain = canonical_name(name)
    if plain in _MODEL:
        return _MODEL[plain]
    if (inside := layer_number(plain)) is not None:
        return _LAYER.get(inside[1])
    for task in architectures or ():
        head, state = _TASKS.get(task, (None, None))
        if plain == f"{head}.weight":
            return f"{state}_classifier_kernel"
        if plain == f"{head}.bias":
            return "classifier_bias"
    return None


def required_names(layers: int) -> Iterator[str]:
    """Canonical names of the tensors without which there is no BERT encoder of so many layers.

    One after another: a wrong config.json may speak of a thousand million layers.

    Examples:
        >>> names = list(required_names(12))
        >>> len(names), names[0]  # 5 of the embeddings and 16 in each layer
        (197, 'embeddings.word_embeddings.weight')
    """
    yield from (n for n in _MODEL if n.startswith("embeddings.") and _MODEL[n] != BUFFER)
    yield from (layer_tensor(i, rest) for i in range(layers) for rest in _LAYER)


def output_bias(names: Container[str], config: Mapping[str, Any]) -> str:
    """Canonical name of the masked-LM bias in use.

    A head with a table of its own has its own bias too: `transformers` 5 then writes both, and
    leaves ``cls.predictions.bias`` as it started.

    Examples:
        >>> names = ["cls.predictions.bias", "cls.predictions.decoder.bias"]
        >>> output_bias(names, {}), output_bias(names, {"tie_word_embeddings": False})
        ('cls.predictions.bias', 'cls.predictions.decoder.bias')
    """
    first, own = "cls.predictions.bias", "cls.predictions.decoder.bias"
    untied = config.get("tie_word_embeddings") is False
    return own if own in names and (untied or first not in names) else first


def source_names(names: Iterable[str]) -> Mapping[str, str]:
    """Map canonical names to those in the file.

    Raises:
        ValueError: if two tensors of the file have the same canonical name.

    Examples:
        >>> source_names(["bert.embeddings.LayerNorm.gamma"])
        {'embeddings.LayerNorm.weight': 'bert.embeddings.LayerNorm.gamma'}
    """
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(canonical_name(name), name)
        if other != name:
            raise ValueError(f"{other} and {name} are two names of one tensor: remove one of them")
    return found
