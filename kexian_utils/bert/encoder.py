"""A BERT encoder in NumPy that takes config.json at its word and shows every intermediate state.

It is the project's yardstick: expanded checkpoints are compared with their source through it, in
float64, and the chapter's invariant meter reads its trace. The model is that of Devlin, Chang, Lee
and Toutanova, *BERT* (2019, https://arxiv.org/abs/1810.04805), with LayerNorm after each residual
sum (post-LN), read by the names of Hugging Face files. It runs no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.rules import HEADS, check_factor
from kexian_utils.bert.tensor_names import layer_tensor, output_bias, source_names, tensor_role

__all__ = [
    "ACTIVATIONS",
    "Encoded",
    "State",
    "check_config",
    "encode",
    "expected_state",
]


def _gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * (0.5 * (1 + erf(x * math.sqrt(0.5))))


def _gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * (0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _silu(x: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return x * expit(x)


# The words of config.json's hidden_act that are honoured.
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "gelu": _gelu,
    "gelu_python": _gelu,
    "gelu_new": _gelu_tanh,
    "gelu_pytorch_tanh": _gelu_tanh,
    "relu": lambda x: np.maximum(x, 0),
    "silu": _silu,
    "swish": _silu,
    "tanh": np.tanh,
}


@dataclass(frozen=True)
class State:
    """One intermediate state of the encoder.

    Attributes:
        name: such as ``layer 0: FFN hidden``.
        form: how a widened model carries it: "stream" (copies divided by sqrt(k)), "query"
            (copies divided by k^(1/4) where heads become wider, plain copies where they become
            more), "hidden" (plain copies) or "same" (unchanged, but for whole copied heads).
        axes: name of each axis of `value`, in the words of `kexian_utils.bert.rules.AXES`; None
            for axes that do not grow.
        value: the state, batch first.

    Examples:
        >>> from kexian_utils.bert import Checkpoint, chinese_bert
        >>> model = Checkpoint(chinese_bert())
        >>> states = []
        >>> _ = encode(model, model.config, np.array([[2, 10, 3]]), trace=states)
        >>> [(state.name, state.form) for state in states[:2]]
        [('embeddings: sum', 'stream'), ('embeddings: LayerNorm', 'stream')]
    """

    name: str
    form: str
    axes: tuple[str | None, ...]
    value: np.ndarray


class _Collects(Protocol):
    def append(self, state: State) -> Any: ...


@dataclass(frozen=True)
class Encoded:
    """What the model computes.

    Attributes:
        sequence: token states, shape ``(batch, n, d)``.
        pooled: the pooler's output, shape ``(batch, d)``; None without a pooler.
        logits: of the masked-LM head, shape ``(batch, n, vocabulary)``; None without that head.
        scores: of other heads, by the name of the layer: ``classifier``, ``qa_outputs``,
            ``cls.seq_relationship``.

    Examples:
        >>> from kexian_utils.bert import Checkpoint, chinese_bert
        >>> model = Checkpoint(chinese_bert())
        >>> from kexian_utils.bert import Tokenizer
        >>> tokenizer = Tokenizer.open(model.folder)
        >>> ids = tokenizer("中国人民银").ids
        >>> ids[2] = tokenizer.vocabulary["[MASK]"]
        >>> found = encode(model, model.config, np.array([ids]))
        >>> list(tokenizer.vocabulary)[found.logits[0, 2].argmax()]
        '国'
    """

    sequence: np.ndarray
    pooled: np.ndarray | None = None
    logits: np.ndarray | None = None
    scores: dict[str, np.ndarray] = field(default_factory=dict)


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse a config.json that this encoder cannot honour.

    Raises:
        ValueError: naming the entry, its value and what is expected.

    Examples:
        >>> config = {"model_type": "bert", "hidden_size": 10, "intermediate_size": 40}
        >>> try:
        ...     check_config({**config, "num_attention_heads": 3, "num_hidden_layers": 1})
        ... except ValueError as error:
        ...     print(error)
        hidden_size must be a multiple of num_attention_heads, got 10 and 3
    """
    kind = config.get("model_type")
    if kind != "bert":
        raise ValueError(f"model_type must be 'bert', got {kind!r}: other models are not supported")
    for key in ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"):
        _checks.whole(key, config.get(key), 1)
    for key in ("vocab_size", "max_position_embeddings", "type_vocab_size"):
        if key in config:
            _checks.whole(key, config[key], 1)
    if config["hidden_size"] % config["num_attention_heads"]:
        raise ValueError(
            f"hidden_size must be a multiple of num_attention_heads, got {config['hidden_size']} "
            f"and {config['num_attention_heads']}"
        )
    if config.get("hidden_act", "gelu") not in ACTIVATIONS:
        raise ValueError(
            f"hidden_act must be one of {', '.join(ACTIVATIONS)}, got {config['hidden_act']!r}"
        )
    epsilon = config.get("layer_norm_eps", 1e-12)
    _checks.probability("layer_norm_eps", epsilon, one=False)
    position = config.get("position_embedding_type") or "absolute"
    if position != "absolute":
        raise ValueError(
            f"position_embedding_type must be 'absolute', got {position!r}: relative positions "
            "are not supported"
        )
    for key in ("is_decoder", "add_cross_attention"):
        if config.get(key):
            raise ValueError(
                f"{key} must be false, got {config[key]!r}: only encoders are supported"
            )


def encode(
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    token_ids: np.ndarray,
    segment_ids: np.ndarray | None = None,
    padding_mask: np.ndarray | None = None,
    dtype: Any = np.float64,
    trace: Callable[[State], Any] | _Collects | None = None,
) -> Encoded:
    """Run a BERT on token ids.

    Args:
        tensors: by the names of Hugging Face files, with or without ``bert.`` before them. Each
            is looked up when it is needed and dropped after, so a mapping that reads from a file
            keeps memory at one layer.
        config: of config.json.
        token_ids: integers, shape ``(batch, n)``, n at least 1.
        segment_ids: integers, same shape; zeros by default.
        padding_mask: same shape, True or 1 for tokens, False or 0 for padding; by default all are
            tokens. Positions of padding have states, too, but no meaning.
        dtype: in which everything is computed, float64 or float32.
        trace: is called with, or, if it is a list, collects a `State` for every sub-layer.

    Raises:
        ValueError: for a configuration that is not honoured, a missing tensor or one of the wrong
            shape, ids of the wrong shape or out of range, or a sequence of padding only.

    Examples:
        >>> from kexian_utils.bert import Checkpoint, chinese_bert
        >>> model = Checkpoint(chinese_bert())
        >>> found = encode(model, model.config, np.array([[2, 10, 11, 3]]))
        >>> found.sequence.shape, found.logits.shape, found.pooled is None
        ((1, 4, 256), (1, 4, 4147), True)
    """
    check_config(config)
    model = EncoderModel(tensors, config, np.dtype(dtype), trace)
    token_ids = _ids("token_ids", token_ids)
    if segment_ids is None:
        segment_ids = np.zeros_like(token_ids)
    segment_ids = _ids("segment_ids", segment_ids, token_ids.shape)
    mask = np.ones(token_ids.shape, bool) if padding_mask is None else np.asarray(padding_mask)
    if mask.shape != token_ids.shape:
        raise ValueError(f"padding_mask must have shape {token_ids.shape}, got {mask.shape}")
    mask = mask.astype(bool)
    if not mask.any(axis=1).all():
        raise ValueError("padding_mask must keep at least one token of each sequence")
    x = model.embeddings(token_ids, segment_ids)
    for layer in range(config["num_hidden_layers"]):
        x = model.layer(layer, x, mask)
    pooled = model.pooler(x)
    return Encoded(x, pooled, model.masked_lm(x), model.task_heads(x, pooled))


def expected_state(state: State, factor: int, heads: str = "wider") -> np.ndarray:
    """What a model widened `factor` times carries where the small one carries `state`.

    Raises:
        ValueError: for a factor that is not a whole number of at least 1, or unknown `heads`.

    Source: kexue.fm/archives/8444, invariant (1) of the chapter.

    Examples:
        >>> state = State("sum", "stream", (None, None, "model"), np.array([[[2.0, 4.0]]]))
        >>> expected_state(state, factor=4).tolist()  # four copies, each half
        [[[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]]]
    """
    k = check_factor(factor)
    if heads not in HEADS:
        raise ValueError(f"heads must be one of {HEADS}, got {heads!r}")
    weights = {"stream": k**-0.5, "query": k**-0.25 if heads == "wider" else 1.0}
    large = state.value * weights.get(state.form, 1.0)
    still = {None, "heads" if heads == "wider" else "key"}
    for axis, name in enumerate(state.axes):
        if name not in still:
            large = np.repeat(large, k, axis=axis)
    return large


def _ids(name: str, ids: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 2 or ids.size == 0:
        raise ValueError(
            f"{name} must be integers of shape (batch, n), got {ids.dtype} of shape {ids.shape}"
        )
    if shape is not None and ids.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {ids.shape}")
    return ids


class EncoderModel:
    """The sub-layers, reading their tensors when they run."""

    def __init__(self, tensors: Mapping, config: Mapping, dtype: np.dtype, trace: Any) -> None:
        self.tensors, self.config, self.dtype = tensors, config, dtype
        self.names = source_names(tensors)
        self.report = getattr(trace, "append", trace)
        self.width, self.heads = config["hidden_size"], config["num_attention_heads"]
        self.epsilon = config.get("layer_norm_eps", 1e-12)
        self.activation = ACTIVATIONS[config.get("hidden_act", "gelu")]

    def emit(self, name: str, form: str, axes: tuple[str | None, ...], value: np.ndarray) -> None:
        if self.report is not None:
            self.report(State(name, form, axes, value))

    def raw(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        if name not in self.names:
            raise ValueError(f"tensors must hold {name}, which is missing")
        tensor = self.tensors[self.names[name]]
        if len(tensor.shape) != len(shape) or any(
            want not in (None, got) for want, got in zip(shape, tensor.shape, strict=True)
        ):
            raise ValueError(f"{self.names[name]} must have shape {shape}, got {tensor.shape}")
        return tensor

    def read(self, name: str, *shape: int | None) -> np.ndarray:
        return np.asarray(self.raw(name, shape), self.dtype)

    def rows(self, name: str, ids: np.ndarray, what: str) -> np.ndarray:
        table = self.raw(name, (None, self.width))
        if ids.min() < 0 or ids.max() >= len(table):
            raise ValueError(
                f"{what} must be from 0 to {len(table) - 1}, got {ids.min()} to {ids.max()}"
            )
        return np.asarray(table[ids], self.dtype)

    def dense(self, name: str, x: np.ndarray, outputs: int | None) -> np.ndarray:
        kernel = self.read(f"{name}.weight", outputs, x.shape[-1])
        flat = x.reshape(-1, x.shape[-1]) @ kernel.T  # one product; a stack would be one for each
        return flat.reshape(*x.shape[:-1], -1) + self.read(f"{name}.bias", len(kernel))

    def norm(self, name: str, x: np.ndarray) -> np.ndarray:
        gain, offset = (self.read(f"{name}.{part}", x.shape[-1]) for part in ("weight", "bias"))
        x = x - x.mean(axis=-1, keepdims=True)
        variance = np.square(x).mean(axis=-1, keepdims=True)
        return x / np.sqrt(variance + self.dtype.type(self.epsilon)) * gain + offset

    def embeddings(self, token_ids: np.ndarray, segment_ids: np.ndarray) -> np.ndarray:
        positions = np.arange(token_ids.shape[1])
        x = (
            self.rows("embeddings.word_embeddings.weight", token_ids, "token_ids")
            + self.rows("embeddings.position_embeddings.weight", positions, "positions")
            + self.rows("embeddings.token_type_embeddings.weight", segment_ids, "segment_ids")
        )
        stream = (None, None, "model")
        self.emit("embeddings: sum", "stream", stream, x)
        x = self.norm("embeddings.LayerNorm", x)
        self.emit("embeddings: LayerNorm", "stream", stream, x)
        return x

    def layer(self, layer: int, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        stream = (None, None, "model")
        steps = (("attention", "attention.output"), ("FFN", "output"))
        for step, place in steps:
            if step == "attention":
                branch = self.attention(layer, x, mask)
            else:
                branch = self.feed_forward(layer, x)
            self.emit(f"layer {layer}: {step} output", "stream", stream, branch)
            x = x + branch
            self.emit(f"layer {layer}: {step} residual sum", "stream", stream, x)
            x = self.norm(layer_tensor(layer, f"{place}.LayerNorm"), x)
            self.emit(f"layer {layer}: {step} LayerNorm", "stream", stream, x)
        return x

    def attention(self, layer: int, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        batch, length, width = x.shape
        size = width // self.heads
        split = (None, None, "heads", "key")

        def project(what: str, plural: str, form: str) -> np.ndarray:
            flat = self.dense(layer_tensor(layer, f"attention.self.{what}"), x, width)
            cut = flat.reshape(batch, length, self.heads, size)
            self.emit(f"layer {layer}: {plural}", form, split, cut)
            return cut.transpose(0, 2, 1, 3)

        query = project("query", "queries", "query")
        key = project("key", "keys", "query")
        value = project("value", "values", "stream")
        pairs = (None, "heads", None, None)
        scores = query @ key.transpose(0, 1, 3, 2) / self.dtype.type(math.sqrt(size))
        self.emit(f"layer {layer}: attention scores", "same", pairs, scores)
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights = weights / weights.sum(axis=-1, keepdims=True)
        self.emit(f"layer {layer}: attention probabilities", "same", pairs, weights)
        context = (weights @ value).transpose(0, 2, 1, 3)
        self.emit(f"layer {layer}: attention context", "stream", split, context)
        name = layer_tensor(layer, "attention.output.dense")
        return self.dense(name, context.reshape(batch, length, width), width)

    def feed_forward(self, layer: int, x: np.ndarray) -> np.ndarray:
        name = layer_tensor(layer, "intermediate.dense")
        hidden = self.activation(self.dense(name, x, self.config["intermediate_size"]))
        self.emit(f"layer {layer}: FFN hidden", "hidden", (None, None, "hidden"), hidden)
        return self.dense(layer_tensor(layer, "output.dense"), hidden, x.shape[-1])

    def pooler(self, x: np.ndarray) -> np.ndarray | None:
        if "pooler.dense.weight" not in self.names:
            return None
        pooled = np.tanh(self.dense("pooler.dense", x[:, 0], self.width))
        self.emit("pooler", "hidden", (None, "pooled"), pooled)
        return pooled

    def masked_lm(self, x: np.ndarray) -> np.ndarray | None:
        head = "cls.predictions"
        if f"{head}.transform.dense.weight" not in self.names:
            return None
        x = self.activation(self.dense(f"{head}.transform.dense", x, self.width))
        self.emit("MLM dense", "hidden", (None, None, "mlm"), x)
        x = self.norm(f"{head}.transform.LayerNorm", x)
        self.emit("MLM LayerNorm", "stream", (None, None, "model"), x)
        decoder = f"{head}.decoder.weight"
        table = decoder if decoder in self.names else "embeddings.word_embeddings.weight"
        bias = output_bias(self.names, self.config)
        rows = self.raw(table, (None, self.width))
        flat = np.empty((x.shape[0] * x.shape[1], len(rows)), self.dtype)
        for start in range(0, len(rows), 4096):  # in blocks, for the table may fill the memory
            block = slice(start, start + 4096)
            flat[:, block] = x.reshape(-1, self.width) @ np.asarray(rows[block], self.dtype).T
        logits = flat.reshape(*x.shape[:2], -1) + self.read(bias, len(rows))
        self.emit("logits", "same", (None, None, None), logits)
        return logits

    def task_heads(self, x: np.ndarray, pooled: np.ndarray | None) -> dict[str, np.ndarray]:
        scores = {}
        for name in ("cls.seq_relationship", "classifier", "qa_outputs"):
            role = tensor_role(f"{name}.weight", self.config.get("architectures"))
            if f"{name}.weight" not in self.names or role is None:
                continue
            state = pooled if role.startswith("pooled") else x
            if state is None:
                raise ValueError(f"tensors must hold pooler.dense, which {name} reads")
            scores[name] = self.dense(name, state, None)
            self.emit(name, "same", (None,) * scores[name].ndim, scores[name])
        return scores
