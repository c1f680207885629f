"""How each tensor of a BERT grows with its width: which axes repeat, and by what factor it shrinks.

One table serves Keras models, checkpoint files and the derivation of chapter 8444. Every large
tensor is the small one with some axes repeated `factor` times, times one number, so a rule is a
tuple of axes and a scale. The two come from one statement about dense layers, equation (5) of the
chapter: when the copies of the input carry the weight `s_in` and those of the output shall carry
`s_out`, then the kernel is repeated along both axes and multiplied by ``s_out / (factor * s_in)``,
and the bias is repeated and multiplied by ``s_out``.
Equation numbers are those of the chapter on article 8444.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kexian_utils import _checks

__all__ = ["AXES", "HEADS", "TensorRule", "check_factor", "expand_tensor", "width_rules"]

# The axes of all tensors of a BERT, in the layout of Keras: kernels map from left to right,
# attention kernels are (model, heads, key) and (heads, key, model).
AXES: Mapping[str, tuple[str | None, ...]] = {
    "token_embedding": (None, "model"),
    "position_embedding": (None, "model"),
    "segment_embedding": (None, "model"),
    "layer_norm_gain": ("model",),
    "layer_norm_offset": ("model",),
    "query_kernel": ("model", "heads", "key"),
    "query_bias": ("heads", "key"),
    "key_kernel": ("model", "heads", "key"),
    "key_bias": ("heads", "key"),
    "value_kernel": ("model", "heads", "key"),
    "value_bias": ("heads", "key"),
    "attention_output_kernel": ("heads", "key", "model"),
    "attention_output_bias": ("model",),
    "intermediate_kernel": ("model", "hidden"),
    "intermediate_bias": ("hidden",),
    "output_kernel": ("hidden", "model"),
    "output_bias": ("model",),
    "pooler_kernel": ("model", "pooled"),
    "pooler_bias": ("pooled",),
    "mlm_kernel": ("model", "mlm"),
    "mlm_bias": ("mlm",),
    "logit_bias": (None,),
    "pooled_classifier_kernel": ("pooled", None),
    "token_classifier_kernel": ("model", None),
    "classifier_bias": (None,),
}
HEADS = ("wider", "more")


@dataclass(frozen=True)
class TensorRule:
    """What becomes of one tensor.

    Attributes:
        axes: name of each axis in the layout of Keras; None for one that keeps its length.
        repeats: how often each axis repeats its components, one whole number per axis.
        scale: the factor c of all entries.

    Examples:
        >>> rule = TensorRule(("model", "hidden"), repeats=(2, 2), scale=0.5)
        >>> rule.copies
        4
    """

    axes: tuple[str | None, ...]
    repeats: tuple[int, ...]
    scale: float

    @property
    def copies(self) -> int:
        """In how many places each entry of the small tensor appears, n in equation (10)."""
        return math.prod(self.repeats)


def check_factor(factor: int) -> int:
    """Return the expansion factor as an int.

    Raises:
        ValueError: if it is not a whole number of at least 1.

    Examples:
        >>> check_factor(2)
        2
    """
    return _checks.whole("factor", factor, 1)


def width_rules(
    factor: int, heads: str = "wider", activation: str = "any"
) -> dict[str, TensorRule]:
    """The rules by which a BERT becomes `factor` times wider and computes the same function.

    Args:
        factor: k, a whole number of at least 1.
        heads: "wider" repeats inside each head, whose size grows; "more" repeats whole heads.
        activation: "any" is right for every activation of the feed-forward layers; "homogeneous"
            is the uniform rule (6) of the chapter, right only where A(cz) = cA(z) for c > 0.

    Returns:
        One rule for each tensor named in `AXES`.

    Raises:
        ValueError: for a factor or a word that is none of these.

    Source: kexue.fm/archives/8444 with two corrections (chapter 8444, equations (5) to (8)).

    Examples:
        >>> rule = width_rules(4)["intermediate_kernel"]
        >>> rule.axes, rule.repeats, rule.scale  # 1 / (4 · 4 ** -0.5)
        (('model', 'hidden'), (4, 4), 0.5)
    """
    k = check_factor(factor)
    if heads not in HEADS:
        raise ValueError(f"heads must be one of {HEADS}, got {heads!r}")
    if activation not in ("any", "homogeneous"):
        raise ValueError(f"activation must be 'any' or 'homogeneous', got {activation!r}")
    stream = k**-0.5  # the weight of the copies in the residual stream, so that lengths are kept
    hidden = 1.0 if activation == "any" else stream
    # The larger head size d'k divides the scores by another sqrt(k), which queries and keys share.
    query = k**-0.25 if heads == "wider" else 1.0
    dense = {
        "query": (stream, query),
        "key": (stream, query),
        "value": (stream, stream),
        "attention_output": (stream, stream),
        "intermediate": (stream, hidden),
        "output": (hidden, stream),
        "pooler": (stream, 1.0),
        "mlm": (stream, 1.0),
    }
    scales = {name: stream for name, axes in AXES.items() if axes[-1] == "model"}
    for name, (s_in, s_out) in dense.items():
        scales[f"{name}_kernel"] = s_out / (k * s_in)
        scales[f"{name}_bias"] = s_out
    # Outputs that do not grow: s_out = 1, and the bias stays as it is.
    scales["pooled_classifier_kernel"] = 1 / k
    scales["token_classifier_kernel"] = 1 / (k * stream)
    scales["logit_bias"] = scales["classifier_bias"] = 1.0
    still = {None, "heads" if heads == "wider" else "key"}
    return {
        name: TensorRule(axes, tuple(1 if a in still else k for a in axes), scales[name])
        for name, axes in AXES.items()
    }


def expand_tensor(tensor: np.ndarray, rule: TensorRule) -> np.ndarray:
    """Repeat the components of each axis where they stand, and scale.

    Args:
        tensor: in the layout of Keras, one axis for each of ``rule.axes``.
        rule: of this tensor.

    Returns:
        A new array of the same type, shape ``tensor.shape * rule.repeats``.

    Raises:
        ValueError: if the tensor has another number of axes than the rule.

    Examples:
        >>> expand_tensor(np.array([[1.0, 2.0]]), TensorRule(("model", None), (2, 1), 0.5)).tolist()
        [[0.5, 1.0], [0.5, 1.0]]
    """
    tensor = np.asarray(tensor)
    if tensor.ndim != len(rule.axes):
        raise ValueError(f"tensor must have the axes {rule.axes}, got shape {tensor.shape}")
    # In half precision a rounded scale would shift all entries the same way.
    scale = np.asarray(rule.scale, np.result_type(tensor.dtype, np.float32))
    large = (tensor * scale).astype(tensor.dtype, copy=False)
    for axis, count in enumerate(rule.repeats):
        if count > 1:
            large = np.repeat(large, count, axis=axis)
    return large
