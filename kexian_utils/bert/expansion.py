"""Make a Transformer larger without changing what it computes (无损放大): width, depth, ties.

The rules themselves, one per tensor, stand in :mod:`kexian_utils.bert.rules`; the derivation is
that of kexue.fm/archives/8444 with its corrections. NumPy throughout, except where a Keras model
comes in; Keras is imported only then.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils.bert.rules import AXES, HEADS, check_factor, expand_tensor, width_rules
from kexian_utils.training.building import weights_at_zero

__all__ = [
    "antisymmetric_noise",
    "break_ties",
    "equivalent_learning_rates",
    "expand_dense",
    "expand_width",
    "expansion_matrix",
    "insert_identity_block",
    "twin_axis",
    "weight_role",
]

PATTERNS = ("interleave", "tile")

# What the weights of keras_hub's BertBackbone and BertMaskedLM are called in the table of rules.
_BLOCK = "transformer_layer_*"
_ROLES = {
    "token_embedding/embeddings": "token_embedding",
    "position_embedding/embeddings": "position_embedding",
    "segment_embedding/embeddings": "segment_embedding",
    "mlm_head/output_bias": "logit_bias",
}
for _layer, _role in {
    f"{_BLOCK}/self_attention_layer/query": "query",
    f"{_BLOCK}/self_attention_layer/key": "key",
    f"{_BLOCK}/self_attention_layer/value": "value",
    f"{_BLOCK}/self_attention_layer/attention_output": "attention_output",
    f"{_BLOCK}/feedforward_intermediate_dense": "intermediate",
    f"{_BLOCK}/feedforward_output_dense": "output",
    "pooled_dense": "pooler",
    "mlm_head/intermediate_dense": "mlm",
}.items():
    _ROLES[f"{_layer}/kernel"] = f"{_role}_kernel"
    _ROLES[f"{_layer}/bias"] = f"{_role}_bias"
for _layer in (
    "embeddings_layer_norm",
    f"{_BLOCK}/self_attention_layer_norm",
    f"{_BLOCK}/feedforward_layer_norm",
    "mlm_head/intermediate_layer_norm",
):
    _ROLES[f"{_layer}/gamma"] = "layer_norm_gain"
    _ROLES[f"{_layer}/beta"] = "layer_norm_offset"

# Last layers of the two branches of a block: what they add to the residual stream is zero in an
# inserted block.
_BRANCH_ENDS = ("attention_output", "feedforward_output_dense")


def expansion_matrix(d: int, factor: int, pattern: str = "interleave") -> np.ndarray:
    r"""The matrix :math:`E` that repeats d components `factor` times and divides by its root.

    Args:
        d: number of components, at least 1.
        factor: k, a whole number of at least 1.
        pattern: "interleave" for :math:`x_1,x_1,x_2,x_2`, "tile" for :math:`x_1,x_2,x_1,x_2`.

    Returns:
        E, shape ``(d, d * factor)``: rows are orthonormal, so lengths and angles are kept.

    Raises:
        ValueError: for other sizes, factors or patterns.

    Source: kexue.fm/archives/8444, equation (1) of chapter 8444.

    Examples:
        >>> (expansion_matrix(2, 2) * 2**0.5).round(6).tolist()
        [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]]
        >>> (expansion_matrix(2, 2, "tile") * 2**0.5).round(6).tolist()
        [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    _checks.whole("d", d, 1)
    factor = check_factor(factor)
    _check_pattern("pattern", pattern)
    return _repeat(np.eye(d), factor, 1, pattern) / np.sqrt(factor)


def expand_dense(
    kernel: np.ndarray,
    bias: np.ndarray | None,
    factor: int,
    s_in: float,
    s_out: float,
    in_axis: int | None = 0,
    out_axis: int | None = -1,
    in_pattern: str = "interleave",
    out_pattern: str = "interleave",
) -> tuple[np.ndarray, np.ndarray | None]:
    r"""Widen one dense layer, equation (5): :math:`\tilde W=\frac{s_{out}}{k\,s_{in}}R^\top WR`.

    When the input is :math:`s_{in}\,xR`, the layer returned puts out :math:`s_{out}\,yR`, where
    y is what the given layer makes of x.

    Args:
        kernel: ``(in, out)``, or the kernel of a Keras ``EinsumDense``, such as
            ``(model, heads, key)`` and ``(heads, key, model)``.
        bias: of the shape of the kernel's last axes, those of the output; None for no bias.
        factor: k, a whole number of at least 1.
        s_in: weight of the copies that come in, positive.
        s_out: weight of the copies that go out, positive; the bias is multiplied by it alone.
        in_axis: the one axis of the input that repeats; None for an input that does not grow,
            where the factor k is missing in the formula.
        out_axis: the one axis of the output that repeats; None for an output that does not grow.
        in_pattern: "interleave" or "tile", how the input repeats along its axis.
        out_pattern: the same for the output.

    Returns:
        The large kernel and the large bias (or None), of the types given.

    Raises:
        ValueError: for a scale that is not positive, an axis that is not there or is the same on
            both sides, a bias that does not fit or has no axis to repeat, another pattern or
            factor.

    Source: kexue.fm/archives/8444; equation (5) of chapter 8444.

    Examples:
        >>> kernel, bias = np.array([[1.0], [2.0]]), np.array([3.0])
        >>> large, large_bias = expand_dense(kernel, bias, 2, s_in=1.0, s_out=1.0)
        >>> (np.array([5.0, 5.0, 7.0, 7.0]) @ large + large_bias).tolist()  # 5 + 14 + 3, twice
        [22.0, 22.0]
    """
    kernel, factor = np.asarray(kernel), check_factor(factor)
    for name, scale in (("s_in", s_in), ("s_out", s_out)):
        if scale is None or not (np.isfinite(scale) and scale > 0):
            raise ValueError(f"{name} must be a positive number, got {scale!r}")
    _check_pattern("in_pattern", in_pattern)
    _check_pattern("out_pattern", out_pattern)
    in_axis = _axis("in_axis", in_axis, kernel.ndim)
    out_axis = _axis("out_axis", out_axis, kernel.ndim)
    if in_axis == out_axis and in_axis is not None:
        raise ValueError(f"in_axis and out_axis must differ, got {in_axis} twice")
    copies = 1 if in_axis is None else factor
    large = _scaled(kernel, s_out / (copies * s_in))
    large = _repeat(_repeat(large, factor, in_axis, in_pattern), factor, out_axis, out_pattern)
    if bias is None:
        return large, None
    bias = np.asarray(bias)
    before = kernel.ndim - bias.ndim
    if before < 1 or bias.shape != kernel.shape[before:]:
        raise ValueError(
            f"bias must have the shape of the last axes of the kernel {kernel.shape}, "
            f"got {bias.shape}"
        )
    if out_axis is not None and out_axis < before:
        raise ValueError(f"out_axis must be an axis of the bias, too, got {out_axis}")
    bias_axis = None if out_axis is None else out_axis - before
    return large, _repeat(_scaled(bias, s_out), factor, bias_axis, out_pattern)


def weight_role(path: str) -> str:
    """The name in ``rules.AXES`` of a weight of `keras_hub`'s BertBackbone or BertMaskedLM.

    Args:
        path: ``weight.path``, such as ``"transformer_layer_0/self_attention_layer/query/kernel"``.

    Raises:
        ValueError: for a path that belongs to neither, and names it.

    Examples:
        >>> weight_role("transformer_layer_0/self_attention_layer/query/kernel")
        'query_kernel'
    """
    general = re.sub(r"^transformer_layer_\d+/", f"{_BLOCK}/", path)
    if general not in _ROLES:
        raise ValueError(f"weight {path!r} is not one of BertBackbone or BertMaskedLM")
    return _ROLES[general]


def expand_width(model: Any, factor: int, heads: str = "wider") -> Any:
    """Build the same BERT `factor` times wider, computing the same (无损放大).

    Hidden states and pooled output come `factor` times each: hidden states divided by its root,
    so that they are ``y @ expansion_matrix(d, factor)``; the pooled output as it is, because its
    tanh allows no other scale. Logits of the masked-language head are those of the small model.

    Args:
        model: a `keras_hub` ``BertBackbone`` or ``BertMaskedLM``; it is left alone.
        factor: k, a whole number of at least 1.
        heads: "wider" multiplies the size of each head, "more" their number.

    Returns:
        A new model of the same class, type and dropout rate. Each LayerNormalization has the
        epsilon that its input needs: ε/k in the encoder, ε in the masked-language head, which
        reads copies of full size. Activations set on the source's layers are carried over.
        (Neither is part of a BertBackbone's configuration, so a ``.keras`` file keeps neither.)

    Raises:
        TypeError: for any other model.
        ValueError: for a bad factor or word, or a weight that no rule is known for.

    Source: kexue.fm/archives/8444 with corrections; equations (2) to (8) of chapter 8444.

    Examples:
        >>> import keras_hub
        >>> small = keras_hub.models.BertBackbone(11, 1, 2, 4, 8, max_sequence_length=6)
        >>> names = "token_ids", "segment_ids", "padding_mask"
        >>> inputs = {name: np.ones((1, 3), "int32") for name in names}
        >>> large = expand_width(small, 2)
        >>> before, after = (m(inputs)["sequence_output"][0] for m in (small, large))
        >>> before, after = np.asarray(before), np.asarray(after)
        >>> np.allclose(after, before @ expansion_matrix(4, 2), atol=1e-5)
        True
    """
    backbone = _backbone(model, ("BertBackbone", "BertMaskedLM"))
    rules = width_rules(factor, heads)
    sources = {weight.path: (weight, rules[weight_role(weight.path)]) for weight in model.weights}
    sizes = {"hidden_dim": factor, "intermediate_dim": factor}
    if heads == "more":
        sizes["num_heads"] = factor
    large = _rebuild(model, {name: getattr(backbone, name) * k for name, k in sizes.items()})
    # One tensor at a time: all of them at once would need the large model's memory twice.
    _assign(large, sources, lambda path: expand_tensor(_array(sources[path][0]), sources[path][1]))
    _carry_over(model, large)
    for layer in large._flatten_layers():
        if _is_layer_norm(layer) and not layer.path.startswith("mlm_head/"):
            layer.epsilon = layer.epsilon / factor
    if heads == "wider":
        for layer in _backbone(large, ("BertBackbone", "BertMaskedLM")).transformer_layers:
            _divide_scores(layer._self_attention_layer, factor)
    return large


def insert_identity_block(model: Any, after: int, count: int = 1) -> Any:
    """Build the same Transformer with `count` blocks more, computing the same (加深).

    The last layers of both branches of a new block are zero, all else is copied from the block
    before it, so that gradients reach the new block at once. In a pre-LN model (前置归一化) that
    is the identity. In a post-LN model the LayerNorm behind the zero branches remains, and
    normalising twice is the same as once (but for epsilon, a relative ε) only while no gain comes
    between: the gain and the offset of the block before move to the end of the last new block,
    and all in between are 1 and 0.

    Args:
        model: a `keras_hub` ``BertBackbone``, ``BertMaskedLM`` (post-LN) or ``GPT2Backbone``
            (pre-LN); it is left alone.
        after: index of the block that the new ones follow, from 0.
        count: how many, at least 1.

    Returns:
        A new model of the same class.

    Raises:
        TypeError: for any other model.
        ValueError: if there is no such block, or for a count below 1.

    Source: chapter 8444, the section on depth; not in the article.

    Examples:
        >>> import keras_hub
        >>> small = keras_hub.models.BertBackbone(11, 1, 2, 4, 8, max_sequence_length=6)
        >>> names = "token_ids", "segment_ids", "padding_mask"
        >>> inputs = {name: np.ones((1, 3), "int32") for name in names}
        >>> deep = insert_identity_block(small, after=0)
        >>> before, after = (np.asarray(m(inputs)["sequence_output"]) for m in (small, deep))
        >>> deep.num_layers, np.allclose(before, after, atol=1e-5)
        (2, True)
    """
    backbone = _backbone(model, ("BertBackbone", "BertMaskedLM", "GPT2Backbone"))
    depth = len(backbone.transformer_layers)
    _checks.whole("after", after, 0, depth - 1)
    _checks.whole("count", count, 1)

    def origin(path: str) -> str:
        index = re.match(r"transformer_layer_(\d+)(?=/|$)", path)
        if index is None:
            return path
        old = min(int(index[1]), max(after, int(index[1]) - count))
        return f"transformer_layer_{old}{path[index.end() :]}"

    deep = _rebuild(model, {"num_layers": depth + count})
    old_values = {weight.path: _array(weight) for weight in model.weights}
    values = {weight.path: old_values[origin(weight.path)] for weight in deep.weights}
    blocks = [f"transformer_layer_{index}" for index in range(after, after + count + 1)]
    for path in values:
        if path.startswith(tuple(f"{block}/" for block in blocks[1:])):
            if path.split("/")[-2] in _BRANCH_ENDS:
                values[path] = np.zeros_like(values[path])
    if not backbone.transformer_layers[after].normalize_first:
        norms = [f"{block}/self_attention_layer_norm" for block in blocks[1:]]
        norms += [f"{block}/feedforward_layer_norm" for block in blocks[:-1]]
        for norm in norms:
            values[f"{norm}/gamma"] = np.ones_like(values[f"{norm}/gamma"])
            values[f"{norm}/beta"] = np.zeros_like(values[f"{norm}/beta"])
    _assign(deep, values, values.__getitem__)
    _carry_over(model, deep, origin)
    return deep


def twin_axis(role: str, heads: str = "wider") -> int | None:
    """The axis of a tensor along which equal twins come in (成对的输入), in the layout of Keras.

    Args:
        role: a name in ``rules.AXES``.
        heads: how the model was expanded, "wider" or "more". The attention output reads twins
            inside each head in the first case, whole twin heads in the second.

    Returns:
        The axis; None for tensors that read no twins: embeddings, biases, LayerNorm parameters.

    Raises:
        ValueError: for an unknown role or word.

    Examples:
        >>> twin_axis("attention_output_kernel"), twin_axis("query_bias")
        (1, None)
    """
    if role not in AXES:
        raise ValueError(f"role must be one of {', '.join(AXES)}, got {role!r}")
    if heads not in HEADS:
        raise ValueError(f"heads must be one of {HEADS}, got {heads!r}")
    if not role.endswith("_kernel"):
        return None
    return 1 if role == "attention_output_kernel" and heads == "wider" else 0


def antisymmetric_noise(
    kernel: np.ndarray,
    factor: int,
    axis: int,
    relative_std: float,
    seed: int | Sequence[int],
    pattern: str = "interleave",
) -> np.ndarray:
    r"""Random numbers whose twins along `axis` add up to zero (反对称噪声).

    A kernel that reads :math:`\tilde x`, in which each component comes `factor` times, computes
    the same with the noise as without: :math:`\tilde x(\tilde W+N)=\tilde x\tilde W`. But twins
    then receive different gradients, which those of plain copies never do.

    Args:
        kernel: an expanded kernel of any shape; its length along `axis` is a multiple of `factor`.
        factor: k, at least 2. For 2 the twins are +n and -n; for more, independent normal numbers
            less their mean over the twins, rescaled.
        axis: the axis along which equal twins come in, see :func:`twin_axis`.
        relative_std: standard deviation of the noise in units of the kernel's own; not negative.
        seed: whole number, or several, not negative.
        pattern: "interleave" when twins are neighbours, "tile" when they are a whole copy apart.

    Returns:
        An array of the kernel's shape and type. All zeros where the kernel is constant.

    Raises:
        ValueError: for a factor below 2, an axis that is not there or not divisible, a standard
            deviation that is negative or not finite, another pattern, a negative seed.

    Source: kexue.fm/archives/8444, comments; chapter 8444, the section on breaking ties.

    Examples:
        >>> kernel = np.repeat([[1.0, 2.0], [4.0, 8.0]], 2, axis=0)
        >>> noise = antisymmetric_noise(kernel, 2, axis=0, relative_std=1.0, seed=0)
        >>> x = np.array([5.0, 5.0, 7.0, 7.0])
        >>> bool(noise.any()), np.allclose(x @ noise, 0)
        (True, True)
    """
    kernel = np.asarray(kernel)
    if check_factor(factor) < 2:
        raise ValueError("factor must be at least 2: without twins there is no such noise, got 1")
    if not -kernel.ndim <= axis < kernel.ndim:
        raise ValueError(f"axis must be one of the {kernel.ndim} axes of the kernel, got {axis}")
    _check_pattern("pattern", pattern)
    _checks.real("relative_std", relative_std, least=0)
    if np.min(seed) < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    moved = np.moveaxis(kernel, axis, 0)
    if len(moved) % factor:
        raise ValueError(
            f"axis {axis} of the kernel must have a multiple of {factor} components, "
            f"got {len(moved)}"
        )
    rng = np.random.default_rng(seed)
    if factor == 2:
        noise = rng.standard_normal((1, len(moved) // 2, *moved.shape[1:]))
        noise = np.concatenate([noise, -noise])
    else:
        noise = rng.standard_normal((factor, len(moved) // factor, *moved.shape[1:]))
        noise = (noise - noise.mean(axis=0)) * np.sqrt(factor / (factor - 1))
    if pattern == "interleave":
        noise = noise.swapaxes(0, 1)
    noise = noise.reshape(moved.shape) * (relative_std * np.std(kernel, dtype=float))
    return np.moveaxis(noise, 0, axis).astype(kernel.dtype)


def break_ties(
    model: Any, factor: int, heads: str = "wider", relative_std: float = 1.0, seed: int = 0
) -> None:
    """Add antisymmetric noise to every kernel of an expanded BERT that reads equal twins.

    The model is changed in place and computes the same as before, to round-off; afterwards twins
    receive different gradients and can learn different things. Embeddings, biases and LayerNorm
    parameters stay as they are: they read no twins.

    Args:
        model: what :func:`expand_width` returned for the same `factor` and `heads`.
        factor: k, at least 2.
        heads: "wider" or "more".
        relative_std: standard deviation of the noise in units of each kernel's own.
        seed: whole number, not negative; each kernel draws its own numbers from it.

    Raises:
        TypeError: for a model of another class.
        ValueError: for arguments that :func:`antisymmetric_noise` refuses, or a model whose
            components are not equal twins, such as one that has been trained on after its ties
            were broken. It is left unchanged then.

    Source: kexue.fm/archives/8444, comments; chapter 8444, the section on breaking ties.

    Examples:
        >>> import keras_hub
        >>> small = keras_hub.models.BertBackbone(11, 1, 2, 4, 8, max_sequence_length=6)
        >>> names = "token_ids", "segment_ids", "padding_mask"
        >>> inputs = {name: np.ones((1, 3), "int32") for name in names}
        >>> large = expand_width(small, 2)
        >>> before = np.asarray(large(inputs)["sequence_output"])
        >>> break_ties(large, 2)
        >>> np.allclose(large(inputs)["sequence_output"], before, atol=1e-5)
        True
    """
    _backbone(model, ("BertBackbone", "BertMaskedLM"))
    rules = width_rules(factor, heads)
    changed = []
    for index, weight in enumerate(model.weights):
        role, value = weight_role(weight.path), _array(weight)
        axis = twin_axis(role, heads)
        _check_twins(weight.path, value, rules[role].repeats, axis)
        if axis is not None:
            noise = antisymmetric_noise(value, factor, axis, relative_std, (seed, index))
            changed.append((weight, value + noise))
    for weight, value in changed:
        weight.assign(value)


def equivalent_learning_rates(
    factor: int, heads: str = "wider", optimizer: str = "sgd", activation: str = "any"
) -> dict[str, float]:
    r"""Per-tensor factors of the learning rate with which the large model trains as the small.

    An expanded tensor is :math:`\tilde w=\mathcal Aw`, n copies of each entry times c. Its
    gradient is the same for all copies, and so it moves exactly as the small one does when its
    rate is :math:`\tilde\eta=nc^2\eta` (gradient descent) or :math:`\tilde\eta=c\,\eta` (Adam with
    a vanishing epsilon, whose steps do not know the size of gradients), equation (10).

    Args:
        factor: k, a whole number of at least 1.
        heads: "wider" or "more".
        optimizer: "sgd" or "adam".
        activation: as for :func:`kexian_utils.bert.rules.width_rules`.

    Returns:
        One factor for each tensor named in ``rules.AXES``; n and c themselves are ``copies`` and
        ``scale`` of its rule in ``width_rules``.

    Raises:
        ValueError: for another optimizer, or what ``width_rules`` refuses.

    Source: chapter 8444, equation (10); not in the article.

    Examples:
        >>> rates = equivalent_learning_rates(4)
        >>> rates["token_embedding"], rates["intermediate_kernel"]  # n c²: 4 / 4 and 16 / 4
        (1.0, 4.0)
    """
    if optimizer not in ("sgd", "adam"):
        raise ValueError(f"optimizer must be 'sgd' or 'adam', got {optimizer!r}")
    rules = width_rules(factor, heads, activation)
    power = 2 if optimizer == "sgd" else 1
    return {
        role: rule.scale**power * (rule.copies if optimizer == "sgd" else 1)
        for role, rule in rules.items()
    }


def _check_twins(path: str, value: np.ndarray, repeats: tuple[int, ...], axis: int | None) -> None:
    """Refuse a tensor that does not treat equal twins alike, noise on its input put aside."""
    tolerance = {8: 1e-8, 4: 1e-3}.get(value.dtype.itemsize, 0.1) * np.abs(value).max(initial=0)
    value = value.astype(float)
    for ax, k in enumerate(repeats):
        if value.shape[ax] % k:
            raise ValueError(f"{path} was not made by this factor: its shape is {value.shape}")
    if axis is not None:  # the sums over the twins that come in, which noise does not change
        k = repeats[axis]
        value = value.reshape(*value.shape[:axis], -1, k, *value.shape[axis + 1 :]).sum(axis + 1)
    for ax, k in enumerate(repeats):
        if k > 1 and ax != axis:
            twins = np.moveaxis(value, ax, 0)
            twins = twins.reshape(-1, k, *twins.shape[1:])
            if np.abs(twins - twins[:, :1]).max(initial=0) > tolerance:
                raise ValueError(
                    f"the components of {path} must be equal twins along axis {ax}, as "
                    "expand_width leaves them with the same factor and heads"
                )


def _array(weight: Any) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(weight)


def _assign(model: Any, known: Iterable[str], value: Callable[[str], np.ndarray]) -> None:
    """Give every weight of a model the value of its path; no weight, no known path is left over."""
    paths = [weight.path for weight in model.weights]
    if sorted(paths) != sorted(known):
        raise AssertionError(f"weights and values differ in {set(paths) ^ set(known)}")
    for weight in model.weights:
        weight.assign(value(weight.path))


def _backbone(model: Any, supported: Sequence[str]) -> Any:
    """The backbone of a model of one of the named classes of keras_hub."""
    from keras_hub import models

    if not isinstance(model, tuple(getattr(models, name) for name in supported)):
        raise TypeError(
            f"model must be a keras_hub {' or '.join(supported)}, got {type(model).__name__}"
        )
    return model if isinstance(model, models.Backbone) else model.backbone


def _rebuild(model: Any, changes: dict[str, int]) -> Any:
    """A new model of the same class whose backbone's configuration has the given changes.

    All its weights are zero: :func:`_assign` must follow.
    """
    from keras_hub import models

    backbone = model if isinstance(model, models.Backbone) else model.backbone
    with weights_at_zero():
        new = type(backbone).from_config({**backbone.get_config(), **changes})
        if model is backbone:
            return new
        return type(model)(backbone=new, preprocessor=model.preprocessor, name=model.name)


def _carry_over(old: Any, new: Any, origin: Callable[[str], str] = str) -> None:
    """Copy what a configuration of keras_hub does not hold: activations, epsilons, frozen weights.

    `origin` tells for the path of a new layer the path of the old one.
    """
    layers = {layer.path: layer for layer in old._flatten_layers(include_self=False)}
    names = (
        "activation",
        "intermediate_activation",
        "epsilon",
        "layer_norm_epsilon",
        "_inverse_sqrt_key_dim",
    )
    for layer in new._flatten_layers(include_self=False):
        source = layers.get(origin(layer.path or ""))  # some have no path: no weights, no settings
        for name in names:
            if source is not None and hasattr(source, name):
                setattr(layer, name, getattr(source, name))
    frozen = {weight.path for weight in old.weights if not weight.trainable}
    for weight in new.weights:
        weight.trainable = origin(weight.path) not in frozen


def _divide_scores(attention: Any, factor: int) -> None:
    """Scale the scores of wider heads by the small model's number over the root of `factor`.

    Keras on TensorFlow rounds 1/sqrt(head size) to float32 even in a float64 layer, and differently
    for the two sizes: an error of 1e-8 that is not the rule's.
    """
    from keras import ops

    small = ops.cast(attention._inverse_sqrt_key_dim, attention.compute_dtype)
    attention._inverse_sqrt_key_dim = np.float64(float(small) / factor**0.5)


def _is_layer_norm(layer: Any) -> bool:
    from keras.layers import LayerNormalization

    return isinstance(layer, LayerNormalization)


def _scaled(tensor: np.ndarray, scale: float) -> np.ndarray:
    return (tensor * np.asarray(scale, np.result_type(tensor.dtype, np.float32))).astype(
        tensor.dtype
    )


def _repeat(tensor: np.ndarray, factor: int, axis: int | None, pattern: str) -> np.ndarray:
    """Repeat the components along one axis where they stand, or the whole axis."""
    if axis is None:
        return tensor
    if pattern == "interleave":
        return np.repeat(tensor, factor, axis=axis)
    return np.concatenate([tensor] * factor, axis=axis)


def _axis(name: str, axis: int | None, ndim: int) -> int | None:
    if axis is not None and not -ndim <= axis < ndim:
        raise ValueError(f"{name} must be one of the {ndim} axes of the kernel, got {axis}")
    return None if axis is None else axis % ndim


def _check_pattern(name: str, pattern: str) -> None:
    if pattern not in PATTERNS:
        raise ValueError(f"{name} must be one of {PATTERNS}, got {pattern!r}")
