r"""Networks that differ in nothing but the loss: same start, same batches, side by side.

A loss of the signed margin :math:`m=(2y-1)x` enters training through its slope :math:`dL/dm` only.
Plain NumPy, for two things that a compiled stack (:mod:`kexian_utils.training.stacked`) lacks:
inputs may be sparse, and each loss may have its own learning rate. For networks as small as these
a step also costs a fraction of a compiled one. Written for the chapters on articles 4293 and 4733,
which use it on digits and on reviews.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from kexian_utils import _checks

__all__ = ["PairedNetworks"]

Slope = Callable[[np.ndarray], np.ndarray]


class PairedNetworks:
    r"""One hidden layer of ReLU and one logit, once for each loss.

    All networks start at the same weights (He's normal ones in the hidden layer, variance 1/hidden
    behind it, no biases) and see the same batches in the same order. So what differs between them
    is due to the loss.

    Args:
        slopes: name of a loss to :math:`dL/dm`, a function of an array of margins.
        x: inputs, shape ``(n, d)``: an array, or a sparse matrix of SciPy in CSR form.
        y: labels 0 and 1, shape ``(n,)``.
        rng: for the start and the order of the batches.
        hidden: units.
        rates: learning rate of all, or one for each loss, in order.
        batch: examples in a step; what is left of an epoch is left out.
        adam: True for Adam (with Keras's memories 0.9 and 0.999), False for plain gradient descent.

    Raises:
        ValueError: no loss, shapes that do not fit, labels other than 0 and 1, or a size or rate
            outside its range.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
        >>> slopes = {"cross-entropy": lambda m: -1 / (1 + np.exp(m))}
        >>> networks = PairedNetworks(slopes, x, y, rng, hidden=16, rates=0.3, batch=10)
        >>> for _ in range(30):
        ...     networks.train_epoch()
        >>> margins = networks.logits(x)[:, 0] * (2 * y - 1)
        >>> bool(np.mean(margins > 0) > 0.9)
        True
    """

    def __init__(
        self,
        slopes: Mapping[str, Slope],
        x: Any,
        y: ArrayLike,
        rng: np.random.Generator,
        hidden: int = 16,
        rates: ArrayLike = 0.1,
        batch: int = 16,
        adam: bool = False,
    ) -> None:
        labels = np.asarray(y)
        if not slopes:
            raise ValueError("slopes must hold at least one loss, got none")
        if len(x.shape) != 2 or labels.shape != x.shape[:1]:
            raise ValueError(
                f"x and y must have shapes (n, d) and (n,), got {tuple(x.shape)} and {labels.shape}"
            )
        if not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"y must hold labels 0 and 1, got {labels[~np.isin(labels, (0, 1))][0]}"
            )
        _checks.whole("hidden", hidden, 1)
        self.batch = _checks.whole("batch", batch, 1, len(labels))
        self.names = tuple(slopes)
        self._slopes, self._x, self._rng = tuple(slopes.values()), x, rng
        dtype = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(float)
        self._sign = (2 * labels - 1).astype(dtype)
        count, (_, width) = len(slopes), x.shape
        if np.shape(rates) not in ((), (count,)) or not (np.asarray(rates) > 0).all():
            raise ValueError(f"rates must be positive, one or {count} of them, got {rates!r}")
        each = np.broadcast_to(np.asarray(rates, dtype), (count,))
        # The hidden layers stand side by side in one matrix.
        first = rng.normal(scale=np.sqrt(2 / width), size=(width, hidden)).astype(dtype)
        last = rng.normal(scale=np.sqrt(1 / hidden), size=hidden).astype(dtype)
        self._weights = [
            np.tile(first, (1, count)),
            np.zeros(count * hidden, dtype),
            np.tile(last, (count, 1)),
            np.zeros(count, dtype),
        ]
        wide = np.repeat(each, hidden)
        self._rates = [wide, wide, each[:, None], each]
        self._memory = [(np.zeros_like(w), np.zeros_like(w)) for w in self._weights]
        self._adam, self._steps = adam, 0

    def train_epoch(self) -> None:
        """See every training example once, in a new order."""
        order = self._rng.permutation(len(self._sign))
        for end in range(self.batch, len(order) + 1, self.batch):
            self._step(order[end - self.batch : end])

    def logits(self, x: Any) -> np.ndarray:
        """Outputs of all networks, shape ``(n, losses)``, for inputs of shape ``(n, d)``."""
        return self._forward(x)[1]

    def margins(self) -> np.ndarray:
        """Signed margins of the training examples, shape ``(n, losses)``."""
        return self.logits(self._x) * self._sign[:, None]

    def _forward(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        first, bias, last, shift = self._weights
        hidden = np.maximum(x @ first + bias, 0).reshape(x.shape[0], *last.shape)
        return hidden, np.einsum("nkh,kh->nk", hidden, last) + shift

    def _step(self, rows: np.ndarray) -> None:
        x, sign = self._x[rows], self._sign[rows, None]
        hidden, logits = self._forward(x)
        margins = sign * logits
        push = np.stack([f(margins[:, k]) for k, f in enumerate(self._slopes)], axis=1)
        push = (push * sign / len(rows)).astype(self._sign.dtype)
        back = push[:, :, None] * self._weights[2] * (hidden > 0)
        back = back.reshape(len(rows), -1)
        slopes = [
            np.asarray(x.T @ back),
            back.sum(axis=0),
            np.einsum("nk,nkh->kh", push, hidden),
            push.sum(axis=0),
        ]
        self._steps += 1
        for weight, slope, rate, memory in zip(
            self._weights, slopes, self._rates, self._memory, strict=True
        ):
            weight -= rate * (self._adam_direction(slope, *memory) if self._adam else slope)

    def _adam_direction(self, slope: np.ndarray, mean: np.ndarray, square: np.ndarray) -> Any:
        mean += 0.1 * (slope - mean)
        square += 0.001 * (slope * slope - square)
        correction = np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        return correction * mean / (np.sqrt(square) + 1e-7)
