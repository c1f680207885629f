"""An output layer whose texts end: the self-terminating softmax."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kexian_utils import _checks

__all__ = ["SelfTerminating"]


@keras.saving.register_keras_serializable(package="kexian_utils")
class SelfTerminating(keras.layers.Layer):
    r"""Log-probabilities of the next token, of which the end of the text only grows likelier.

    A dense layer gives one score for each token. The score of the end token, :math:`z_t`, decides
    alone how much of the text survives each step, the others share that by a softmax:

    .. math::
        \begin{aligned}
        \alpha_t&=(1-\varepsilon)\,\mathrm{sigmoid}(z_t)\,\alpha_{t-1},\qquad\alpha_{-1}=1,\\
        p_t(\text{end})&=1-\alpha_t\ge1-(1-\varepsilon)^{t+1}.
        \end{aligned}

    So greedy decoding, beam search and every sampling end, at a price in length that grows with
    :math:`\varepsilon`. The results are valid logits: the softmax of them is they themselves.

    Args:
        units: the number of tokens V, the end among them.
        end: which of them is the end, from 0 to V - 1.
        epsilon: the share of a text that each step ends at least, in (0, 1).
        survival: the share that each step leaves going at the start of training, in (0, 1), as the
            start of the bias of the end token's score.

    Input: shape (batch, time, d). Output: (batch, time, V); 0 in places that a mask leaves out.

    Source: article 7500 of kexue.fm, equation (5) of the chapter; Welleck et al., arXiv 2002.02492.

    Raises:
        ValueError: for values outside of these ranges, and for inputs of another rank.

    Examples:
        >>> import numpy as np
        >>> from keras import ops
        >>> layer = SelfTerminating(3, end=2, epsilon=0.1)
        >>> p = np.exp(ops.convert_to_numpy(layer(np.zeros((1, 4, 5)))))
        >>> p.sum(axis=-1).round(4).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
        >>> p[0, :, 2].astype("float64").round(3).tolist()
        [0.116, 0.219, 0.31, 0.39]
    """

    def __init__(
        self, units: int, end: int, epsilon: float = 1e-3, survival: float = 0.982, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.units = _checks.whole("units", units, 2)
        self.end = _checks.whole("end", end, 0, self.units - 1)
        self.epsilon = _checks.probability("epsilon", epsilon, zero=False, one=False)
        self.survival = _checks.probability("survival", survival, zero=False, one=False)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create kernel and bias for inputs of `input_shape`."""
        if len(input_shape) != 3 or input_shape[-1] is None:
            raise ValueError(
                "inputs must have the shape (batch, time, d) with a known d, got "
                f"{tuple(input_shape)}"
            )
        start = float(np.log(self.survival / (1 - self.survival)))
        self.kernel = self.add_weight(
            name="kernel", shape=(input_shape[-1], self.units), initializer="glorot_uniform"
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.units,),
            initializer=lambda shape, dtype=None: ops.cast(
                ops.where(ops.arange(shape[0]) == self.end, start, 0.0), dtype or "float32"
            ),
        )
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Log-probabilities for each place; in the middle float16 is widened."""
        if mask is not None:
            inputs = ops.where(mask[..., None], inputs, ops.zeros_like(inputs))
        scores = ops.matmul(inputs, self.kernel)
        wide = "float32" if self.compute_dtype in ("float16", "bfloat16") else self.compute_dtype
        scores = ops.cast(scores, wide) + ops.cast(self.bias, wide)
        is_end = ops.arange(self.units) == self.end
        survives = float(np.log1p(-self.epsilon)) + ops.log_sigmoid(scores[..., self.end])
        if mask is not None:
            survives = ops.where(mask, survives, ops.zeros_like(survives))
        alpha = ops.cumsum(survives, axis=1)[..., None]  # the logarithm of (5)
        # log(1 - e^a): each of the two forms loses digits where the other does not
        near = ops.log(-ops.expm1(ops.clip(alpha, -0.7, -1e-30)))
        far = ops.log1p(-ops.exp(ops.minimum(alpha, -0.7)))
        ends = ops.where(alpha > -0.7, near, far)
        words = ops.where(is_end, ops.full_like(scores, -1e30), scores)
        words = words - ops.logsumexp(words, axis=-1, keepdims=True)
        found = ops.where(is_end, ends, alpha + words)
        if mask is not None:
            found = ops.where(mask[..., None], found, ops.zeros_like(found))
        return ops.cast(found, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As the input, with V in the place of d."""
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """What is needed to build it again."""
        own = {
            "units": self.units,
            "end": self.end,
            "epsilon": self.epsilon,
            "survival": self.survival,
        }
        return super().get_config() | own
