"""A BERT encoder in NumPy that is fast: for work that asks one model for many masked sentences.

It computes what :func:`kexian_utils.bert.encode` computes, keeps the weights ready for use, and
leaves out what nobody reads. Three savings, none of them an approximation:

- Of the last layer, only the positions that are read are computed. Where they are few, its keys
  and values are not formed either: a query q meets a token x as ``q·(Wx) = (Wᵀq)·x``, so it is
  cheaper to carry the query to the tokens than all tokens to the query. (The keys' bias is left
  out there: it moves all scores of a query alike, which the softmax does not see.)
- What enters the first layer depends on a token and its position alone, so its queries, keys and
  values are computed once for each such pair, however many rows share it.
- Rows go in pieces small enough for the processor's cache, one piece to each thread. The pieces,
  and so the results, do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.encoder import ACTIVATIONS, EncoderModel, check_config
from kexian_utils.bert.tensor_names import layer_tensor, output_bias

__all__ = ["PIECE", "FastEncoder", "gelu"]

PIECE = 512  # tokens that one thread takes at a time
_BLOCK = 1 << 15  # numbers that an activation works on at a time

# tanh(x P(x²)) = 2Φ(x) − 1, Φ being the normal distribution function: P is a weighted minimax fit
# up to 5.6 whose error of Φ is 2.9e-8, half of float32's rounding at 1. At 6 and beyond NumPy's
# tanh of it is 1.
_GELU = (
    0.7978849411010742,
    0.03633308410644531,
    -3.259497316321358e-05,
    -5.530619455385022e-05,
    3.964744792028796e-06,
    -1.322633664813111e-07,
    1.7561715415226331e-09,
)
_GELU_LIMIT = 6.0

Item = TypeVar("Item")
Result = TypeVar("Result")


def gelu(x: np.ndarray) -> np.ndarray:
    """The exact GELU, x Φ(x), written over its argument, which must be C-contiguous.

    In float32 it takes an eighth of the time of SciPy's error function; the error is at most
    1.2e-7 max(1, |x|). In float64 SciPy's is used.

    Source: Hendrycks and Gimpel (2016), https://arxiv.org/abs/1606.08415.

    Examples:
        >>> x = np.array([-1.0, 0.0, 1.0])
        >>> gelu(x).round(4).tolist(), x.round(4).tolist()  # x Φ(x), in place
        ([-0.1587, 0.0, 0.8413], [-0.1587, 0.0, 0.8413])
    """
    if x.dtype != np.float32:
        x[...] = ACTIVATIONS["gelu"](x)
        return x
    flat = x.reshape(-1)
    scratch = np.empty((3, min(len(flat), _BLOCK)), np.float32)
    for start in range(0, len(flat), _BLOCK):  # in blocks, which stay in the cache
        part = flat[start : start + _BLOCK]
        bounded, square, value = scratch[:, : len(part)]
        np.clip(part, -_GELU_LIMIT, _GELU_LIMIT, out=bounded)
        np.multiply(bounded, bounded, out=square)
        np.multiply(square, _GELU[-1], out=value)
        for coefficient in _GELU[-2:0:-1]:
            value += coefficient
            value *= square
        value += _GELU[0]
        value *= bounded
        np.tanh(value, out=value)
        part *= 0.5
        value *= part
        part += value
    return x


@dataclass(frozen=True)
class _Dense:
    kernel: np.ndarray  # (in, out): the product is a tenth faster than with (out, in)
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x = x.reshape(-1, len(self.kernel)) @ self.kernel
        x += self.bias
        return x


@dataclass(frozen=True)
class _Norm:
    gain: np.ndarray
    offset: np.ndarray
    epsilon: np.floating

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """LayerNorm over the last axis of a matrix, written over it."""
        x -= x.mean(axis=-1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x) / x.dtype.type(x.shape[-1])
        x *= (1 / np.sqrt(variance + self.epsilon))[:, None]
        x *= self.gain
        x += self.offset
        return x


@dataclass(frozen=True)
class _Layer:
    project: _Dense  # queries (divided by the root of their length), keys and values at once
    query: _Dense
    key: np.ndarray  # (heads, length, d): carries queries to tokens
    value: np.ndarray  # (heads, d, length)
    value_bias: np.ndarray
    output: _Dense
    attention_norm: _Norm
    intermediate: _Dense
    feed_forward: _Dense
    norm: _Norm


class FastEncoder:
    """A BERT held ready for many calls.

    Attributes:
        config: of config.json.
        dtype: in which everything is computed.
        layers: number of layers. Layer 0 is the embeddings after their LayerNorm.
        width: of the states, d.
        limit: number of positions the model has, [CLS] and [SEP] included.
        has_head: whether there is a masked-language-model head.

    Examples:
        >>> from kexian_utils.bert import Checkpoint, chinese_bert, encode
        >>> model = Checkpoint(chinese_bert())
        >>> ids = np.array([[2, 10, 11, 3]])
        >>> fast, plain = FastEncoder(model, model.config)(ids), encode(model, model.config, ids)
        >>> np.allclose(fast[-1], plain.sequence, atol=1e-4)
        True
    """

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        config: Mapping[str, Any],
        dtype: Any = np.float32,
        threads: int | None = None,
    ) -> None:
        """Read the weights.

        Args:
            tensors: by the names of Hugging Face files; a `Checkpoint` is such a mapping.
            config: of config.json.
            dtype: float32 or float64.
            threads: that share the rows of a call; by default as many as NumPy's BLAS uses.

        Raises:
            ValueError: as :func:`kexian_utils.bert.encode`; for another dtype, or no thread.
        """
        check_config(config)
        self.config, self.dtype = dict(config), np.dtype(dtype)
        if self.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        if threads is not None:
            _checks.whole("threads", threads, 1)
        self._threads = threads
        self.layers, self.width = config["num_hidden_layers"], config["hidden_size"]
        self._heads = config["num_attention_heads"]
        word = config.get("hidden_act", "gelu")
        self._activation = gelu if word in ("gelu", "gelu_python") else ACTIVATIONS[word]
        self._read = EncoderModel(tensors, config, self.dtype, None)
        self._words = self._read.raw("embeddings.word_embeddings.weight", (None, self.width))
        # Segment 0 alone is in use, so its vector joins the positions'.
        self._positions = self._read.read("embeddings.position_embeddings.weight", None, self.width)
        segments = self._read.read("embeddings.token_type_embeddings.weight", None, self.width)
        self._positions = self._positions + segments[0]
        self._embedding_norm = self._norm("embeddings.LayerNorm")
        self._stack = [self._layer(index) for index in range(self.layers)]
        self.limit = len(self._positions)
        self.has_head = "cls.predictions.transform.dense.weight" in self._read.names

    def __call__(self, ids: np.ndarray, padding_mask: np.ndarray | None = None) -> np.ndarray:
        """States of all layers, 0 to L, at all positions: shape ``(L + 1, rows, n, d)``."""
        return self.states(ids, padding_mask=padding_mask)

    def states(
        self,
        ids: np.ndarray,
        layers: Sequence[int] | None = None,
        padding_mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """States at all positions.

        Args:
            ids: integers, shape ``(rows, n)``.
            layers: from 0 to L, in the order wanted; all by default.
            padding_mask: same shape as `ids`, true for tokens; all are tokens by default.

        Returns:
            Shape ``(layers, rows, n, d)``.

        Raises:
            ValueError: for ids, layers or a mask that do not fit.
        """
        ids = self._checked_ids(ids)
        rows, positions = (grid.ravel() for grid in np.indices(ids.shape))
        found = self.read(ids, rows, positions, layers, padding_mask)
        return found.reshape(-1, *ids.shape, self.width)

    def read(
        self,
        ids: np.ndarray,
        rows: np.ndarray,
        positions: np.ndarray,
        layers: Sequence[int] | None = None,
        padding_mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """States at chosen places, of which the last layer computes no others.

        Args:
            ids: integers, shape ``(rows, n)``.
            rows: of the places, shape ``(places,)``, in ascending order.
            positions: of the places, same shape.
            layers: from 0 to L, in the order wanted; all by default. No layer above is run.
            padding_mask: same shape as `ids`, true for tokens; all are tokens by default.

        Returns:
            Shape ``(layers, places, d)``.

        Raises:
            ValueError: for ids, places, layers or a mask that do not fit.
        """
        ids, layers = self._checked_ids(ids), self.checked_layers(layers)
        rows, positions = np.asarray(rows), np.asarray(positions)
        if rows.ndim != 1 or rows.shape != positions.shape or (np.diff(rows) < 0).any():
            raise ValueError(
                "rows and positions must be vectors of one length, rows in ascending order, got "
                f"shapes {rows.shape} and {positions.shape}"
            )
        for name, places, size in (
            ("rows", rows, len(ids)),
            ("positions", positions, ids.shape[1]),
        ):
            if len(places) and not 0 <= places.min() <= places.max() < size:
                raise ValueError(f"{name} must be from 0 to {size - 1}")
        mask = None if padding_mask is None else np.asarray(padding_mask).astype(bool)
        if mask is not None and (mask.shape != ids.shape or not mask.any(axis=1).all()):
            raise ValueError(
                f"padding_mask must have shape {ids.shape} and keep a token of each row, got "
                f"shape {mask.shape}"
            )

        def piece(start: int, stop: int) -> np.ndarray:
            first, last = np.searchsorted(rows, (start, stop))
            part = None if mask is None else mask[start:stop]
            places = rows[first:last] - start, positions[first:last]
            return self.read_piece(ids[start:stop], *places, layers, part)

        return np.concatenate(list(self.parallel(piece, pieces(*ids.shape))), axis=1)

    def read_piece(
        self,
        ids: np.ndarray,
        rows: np.ndarray,
        positions: np.ndarray,
        layers: Sequence[int],
        mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """What `read` computes, unchecked, in one piece and in this thread."""
        count, length = ids.shape
        codes, inverse = np.unique(ids * length + np.arange(length), return_inverse=True)
        inverse = inverse.reshape(-1)
        words, places = np.divmod(codes, length)
        embedded = np.asarray(self._words[words], self.dtype) + self._positions[places]
        embedded = self._embedding_norm(embedded)
        flat = rows * length + positions
        found = {0: embedded[inverse[flat]]} if 0 in layers else {}
        x, top = embedded, max(layers)
        for number, layer in enumerate(self._stack[:top], start=1):
            first, last = number == 1, number == top
            x = embedded[inverse] if first else x
            if last and self._carries(rows, count, length):
                context = self._carried(layer, x.reshape(count, length, -1), mask, rows, positions)
                x = x[flat]
            else:
                projected = layer.project(embedded)[inverse] if first else layer.project(x)
                context = self._attention(projected.reshape(count, length, -1), mask)
                if last:
                    context, x = context[flat], x[flat]
            x = self._finish(layer, x, context)
            if number in layers:
                found[number] = x if last else x[flat]
        return np.stack([found[layer] for layer in layers])

    def log_probabilities(self, states: np.ndarray) -> np.ndarray:
        """What the masked-language-model head says of states of the last layer.

        Args:
            states: shape ``(places, d)``.

        Returns:
            Natural logarithms, shape ``(places, vocabulary)``.

        Raises:
            ValueError: if the model has no head.
        """
        transform, norm, table, bias = self._head
        logits = norm(self._activation(transform(np.asarray(states, self.dtype)))) @ table.T
        logits += bias
        logits -= logits.max(axis=-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return logits

    def parallel(
        self, function: Callable[..., Result], items: Iterable[tuple[Any, ...]]
    ) -> Iterator[Result]:
        """Results of ``function(*item)`` in order, a few ahead, on the threads of this model.

        While it runs, each product of matrices keeps to one thread.
        """
        from threadpoolctl import threadpool_limits

        threads = self._threads or blas_threads()
        with threadpool_limits(1, user_api="blas"):
            if threads == 1:
                yield from (function(*item) for item in items)
                return
            waiting: deque = deque()
            with ThreadPoolExecutor(threads) as pool:
                for item in items:
                    waiting.append(pool.submit(function, *item))
                    if len(waiting) > 2 * threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()

    def checked_layers(self, layers: Sequence[int] | None) -> list[int]:
        """All layers, or those named, each from 0 to L, which must be one at least."""
        if layers is None:
            return list(range(self.layers + 1))
        layers = [int(layer) for layer in layers]
        if not layers or not all(0 <= layer <= self.layers for layer in layers):
            raise ValueError(f"layers must be from 0 to {self.layers}, got {layers}")
        return layers

    def _checked_ids(self, ids: np.ndarray) -> np.ndarray:
        ids = np.asarray(ids)
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 2 or ids.size == 0:
            raise ValueError(
                f"ids must be integers of shape (rows, n), got {ids.dtype} of shape {ids.shape}"
            )
        if ids.min() < 0 or ids.max() >= len(self._words):
            raise ValueError(
                f"ids must be from 0 to {len(self._words) - 1}, got {ids.min()} to {ids.max()}"
            )
        if ids.shape[1] > self.limit:
            raise ValueError(
                f"ids must be at most {self.limit} to a row, for which the model has positions, "
                f"got {ids.shape[1]}"
            )
        return ids

    def _attention(self, projected: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        count, length = projected.shape[:2]
        split = projected.reshape(count, length, 3, self._heads, -1)
        query, key, value = split.transpose(2, 0, 3, 1, 4)
        context = _attend(query, key, value, None if mask is None else mask[:, None, None])
        return context.transpose(0, 2, 1, 3).reshape(count * length, self.width)

    def _carries(self, rows: np.ndarray, count: int, length: int) -> bool:
        """Whether carrying queries to tokens takes less than half of the operations."""
        most = np.bincount(rows, minlength=count).max()
        return 2 * most * (1 + self._heads * length / self.width) <= length

    def _carried(
        self,
        layer: _Layer,
        x: np.ndarray,
        mask: np.ndarray | None,
        rows: np.ndarray,
        positions: np.ndarray,
    ) -> np.ndarray:
        """Attention's contexts at the places that are read, without forming keys and values."""
        count, heads, width = len(x), self._heads, self.width
        sizes = np.bincount(rows, minlength=count)
        most = sizes.max()
        slots = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        index = np.zeros((count, most), int)  # rows with fewer places compute position 0 instead
        index[rows, slots] = positions
        query = layer.query(np.take_along_axis(x, index[:, :, None], axis=1))
        query = query.reshape(count * most, heads, -1).transpose(1, 0, 2) @ layer.key
        query = query.reshape(heads, count, most, width).transpose(1, 0, 2, 3)
        query = query.reshape(count, heads * most, width)
        context = _attend(query, x, x, None if mask is None else mask[:, None])
        context = context.reshape(count, heads, most, width).transpose(1, 0, 2, 3)
        context = context.reshape(heads, count * most, width) @ layer.value
        context = context.transpose(1, 0, 2).reshape(count * most, width) + layer.value_bias
        return context[rows * most + slots]

    def _finish(self, layer: _Layer, x: np.ndarray, context: np.ndarray) -> np.ndarray:
        branch = layer.output(context)
        branch += x
        x = layer.attention_norm(branch)
        result = np.empty_like(x)
        for start in range(0, len(x), 256):  # in blocks: the hidden states are wide
            part = x[start : start + 256]
            branch = layer.feed_forward(self._activation(layer.intermediate(part)))
            branch += part
            result[start : start + 256] = layer.norm(branch)
        return result

    def _dense(self, name: str, inputs: int, outputs: int | None) -> _Dense:
        kernel = self._read.read(f"{name}.weight", outputs, inputs).T
        return _Dense(np.ascontiguousarray(kernel), self._read.read(f"{name}.bias", len(kernel.T)))

    def _norm(self, name: str) -> _Norm:
        gain, offset = (self._read.read(f"{name}.{p}", self.width) for p in ("weight", "bias"))
        epsilon = self.dtype.type(self.config.get("layer_norm_eps", 1e-12))
        return _Norm(gain, offset, epsilon)

    def _layer(self, index: int) -> _Layer:
        d, hidden = self.width, self.config["intermediate_size"]
        length = d // self._heads

        def dense(name: str, inputs: int = d, outputs: int = d) -> _Dense:
            return self._dense(layer_tensor(index, name), inputs, outputs)

        query, key, value = (dense(f"attention.self.{p}") for p in ("query", "key", "value"))
        scale = self.dtype.type(1 / math.sqrt(length))
        query = _Dense(query.kernel * scale, query.bias * scale)
        parts = (query, key, value)
        by_head = (d, self._heads, length)
        return _Layer(
            project=_Dense(
                np.concatenate([p.kernel for p in parts], axis=1),
                np.concatenate([p.bias for p in parts]),
            ),
            query=query,
            key=key.kernel.reshape(by_head).transpose(1, 2, 0).copy(),
            value=value.kernel.reshape(by_head).transpose(1, 0, 2).copy(),
            value_bias=value.bias,
            output=dense("attention.output.dense"),
            attention_norm=self._norm(layer_tensor(index, "attention.output.LayerNorm")),
            intermediate=dense("intermediate.dense", d, hidden),
            feed_forward=dense("output.dense", hidden, d),
            norm=self._norm(layer_tensor(index, "output.LayerNorm")),
        )

    @functools.cached_property
    def _head(self) -> tuple[_Dense, _Norm, np.ndarray, np.ndarray]:
        if not self.has_head:
            raise ValueError(
                "the model must have a masked-language-model head (cls.predictions), which is "
                "missing: its states can be compared, but it predicts no tokens"
            )
        head, names = "cls.predictions", self._read.names
        decoder = f"{head}.decoder.weight"
        table = decoder if decoder in names else "embeddings.word_embeddings.weight"
        bias = output_bias(names, self.config)
        rows = self._read.read(table, None, self.width)
        return (
            self._dense(f"{head}.transform.dense", self.width, self.width),
            self._norm(f"{head}.transform.LayerNorm"),
            rows,
            self._read.read(bias, len(rows)),
        )


def _attend(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, mask: np.ndarray | None
) -> np.ndarray:
    """Softmax attention over the last two axes; `mask` is true for tokens and broadcasts."""
    weights = query @ np.swapaxes(key, -1, -2)
    if mask is not None:
        np.copyto(weights, -np.inf, where=~mask)
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    total = weights.sum(axis=-1, keepdims=True)
    context = weights @ value
    context /= total  # after the product there is less to divide
    return context


def pieces(rows: int, length: int) -> list[tuple[int, int]]:
    """Bounds of runs of rows of one length, about `PIECE` tokens each, as even as can be."""
    bounds = np.linspace(0, rows, max(1, math.ceil(rows * length / PIECE)) + 1).astype(int)
    return [(int(a), int(b)) for a, b in zip(bounds, bounds[1:], strict=False) if b > a]


def blas_threads() -> int:
    """Threads that NumPy's BLAS uses for a product of matrices."""
    from threadpoolctl import threadpool_info

    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return max(pools, default=1)
