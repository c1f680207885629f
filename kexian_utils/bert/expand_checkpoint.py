"""Make a BERT checkpoint wider or deeper without changing what it computes (无损放大), on disk.

Tensors are read, changed by the rules of :mod:`kexian_utils.bert.rules` and written one by one;
then both folders run through :mod:`kexian_utils.bert.encoder`, and only if they agree does the new
one get its name.
"""

from __future__ import annotations

import errno
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import _checks, _leftovers
from kexian_utils._json import parse_json, read_json
from kexian_utils.bert.checkpoints import (
    Checkpoint,
    from_keras_layout,
    to_keras_layout,
    write_safetensors,
)
from kexian_utils.bert.encoder import Encoded, State, check_config, encode
from kexian_utils.bert.expansion import antisymmetric_noise, twin_axis
from kexian_utils.bert.rules import AXES, HEADS, check_factor, expand_tensor, width_rules
from kexian_utils.bert.tensor_names import (
    BUFFER,
    canonical_name,
    layer_number,
    required_names,
    source_names,
    tensor_role,
)
from kexian_utils.bert.wordpiece import read_vocabulary, token_ids

__all__ = ["ExpansionReport", "expand_checkpoint", "target_config"]

TOLERANCE = {"F32": 2e-5, "F64": 1e-10}
SENTENCES = (
    "The weather is fine today, so we train a small model.",
    "Can a Transformer be enlarged without loss?",
    "今天天气很好，我们训练一个小模型。",
    "科学空间：我们可以无损放大一个Transformer模型吗？",
)
_COPIED = (
    "vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "modules.json", "sentence_bert_config.json",
    "config_sentence_transformers.json", "LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE",
)  # fmt: skip
_ZERO = ("attention.output.dense.", "output.dense.")  # what ends the branches of a new block
_DECODER = "cls.predictions.decoder"
_BLOCK_BYTES = 1 << 23

Progress = Callable[[str, int, int], Any]


@dataclass(frozen=True)
class ExpansionReport:
    """What was written, and how well it agrees with its source.

    Attributes:
        target: the new folder.
        parameters_before: number of parameters of the source; tied ones count once.
        parameters_after: the same of the target.
        source_config: the source's config.json.
        target_config: the target's.
        errors: largest relative difference by output: of token states, over all tokens that are
            no padding, the length of the difference over the length of what was expected; of
            the others, the largest difference over the largest value.
        tolerance: the bar that they had to meet.
        sequences: how many token sequences were compared.
        sentences: how many of these were sentences, the others being random.
        from_16_bit: whether weights of 16 bits were written as float32.

    Examples:
        >>> import tempfile
        >>> from kexian_utils.bert import chinese_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = expand_checkpoint(chinese_bert(), f"{folder}/deep", depth=1)
        >>> report.parameters_before, report.parameters_after, report.from_16_bit
        (4324915, 5114675, True)
    """

    target: Path
    parameters_before: int
    parameters_after: int
    source_config: Mapping[str, Any]
    target_config: Mapping[str, Any]
    errors: Mapping[str, float]
    tolerance: float
    sequences: int
    sentences: int
    from_16_bit: bool

    @property
    def error(self) -> float:
        """The largest of `errors`."""
        return max(self.errors.values())


def expand_checkpoint(
    source: str | os.PathLike,
    target: str | os.PathLike,
    width: int = 1,
    heads: str = "wider",
    depth: int = 0,
    after: int | None = None,
    break_ties: float = 0.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> ExpansionReport:
    """Write a wider or deeper BERT that computes what the source computes.

    Args:
        source: folder in Hugging Face's form: config.json, model.safetensors (or its shards).
        target: new folder beside existing ones; may exist if it is empty.
        width: factor of the hidden and the intermediate size.
        heads: "wider" multiplies the size of each head, "more" their number.
        depth: number of new blocks that change nothing.
        after: layer, counted from 0, that they follow; the last one by default.
        break_ties: standard deviation, relative to each kernel's, of the noise that makes copied
            units different without changing the outputs; 0 for none.
        seed: of that noise.
        progress: is called with a step, what is done of it and its total.

    Returns:
        The report; the target has its name by then.

    Raises:
        ValueError: if an argument, the source or the target is not as above, if the source is not
            a BERT that is fully understood, or if both models disagree. Nothing is left behind.
        OSError: if the disk is full or the target cannot be written; nothing is left behind.

    Weights of 16 bits are written as float32, for scaled ones would be rounded. Differences of
    the order of layer_norm_eps remain where one epsilon cannot serve all: in new blocks, and in a
    masked-LM head, which LayerNorm reads at full scale while its epsilon shrinks with the others.

    Source: kexue.fm/archives/8444 with corrections; chapter 8444.

    Examples:
        >>> import tempfile
        >>> from kexian_utils.bert import chinese_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = expand_checkpoint(chinese_bert(), f"{folder}/large", width=2)
        >>> report.target_config["hidden_size"], report.error < 1e-4
        (512, True)
    """
    plan = _Plan(source, width, heads, depth, after, break_ties, seed)
    target = _check_target(target)
    _check_space(target, plan.nbytes)
    _leftovers.sweep(target.parent, rf"\.{re.escape(target.name)}\.(\d+)\.part")
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    report = progress or (lambda step, done, total: None)
    partial.mkdir()
    try:
        _write(plan, partial, report)
        errors, sequences, sentences = _compare(plan, Checkpoint(partial), report)
        _demand(errors, plan)
        if target.exists():
            target.rmdir()
        os.replace(partial, target)
    finally:  # also when the keyboard interrupts
        shutil.rmtree(partial, ignore_errors=True)
    return ExpansionReport(
        target=target,
        parameters_before=plan.parameters(plan.small_shapes),
        parameters_after=plan.parameters({n: s for n, (_, s) in plan.layout.items()}),
        source_config=plan.source.config,
        target_config=plan.config,
        errors=errors,
        tolerance=plan.tolerance,
        sequences=sequences,
        sentences=sentences,
        from_16_bit=plan.from_16_bit,
    )


def target_config(
    config: Mapping[str, Any], width: int = 1, heads: str = "wider", depth: int = 0
) -> dict[str, Any]:
    """The config.json of the enlarged model: new sizes, epsilon divided by the width's factor.

    Examples:
        >>> config = {
        ...     "model_type": "bert", "hidden_size": 4, "intermediate_size": 8,
        ...     "num_hidden_layers": 1, "num_attention_heads": 2, "layer_norm_eps": 1e-6,
        ... }
        >>> large = target_config(config, width=2, heads="wider", depth=1)
        >>> {name: value for name, value in large.items() if value != config[name]}
        {'hidden_size': 8, 'intermediate_size': 16, 'num_hidden_layers': 2, 'layer_norm_eps': 5e-07}
    """
    large = dict(config)
    large["hidden_size"] *= width
    large["intermediate_size"] *= width
    large["num_attention_heads"] *= width if heads == "more" else 1
    large["num_hidden_layers"] += depth
    large["layer_norm_eps"] = config.get("layer_norm_eps", 1e-12) / width
    return large


class _Plan:
    """What becomes of each tensor; made, and all of the source checked, before anything is done."""

    def __init__(
        self, source: Any, width: Any, heads: Any, depth: Any, after: Any, ties: Any, seed: Any
    ) -> None:
        try:
            self.width = check_factor(width)
        except ValueError as error:
            raise ValueError(str(error).replace("factor", "width", 1)) from None
        if heads not in HEADS:
            raise ValueError(f"heads must be one of {HEADS}, got {heads!r}")
        self.heads, self.depth, self.seed = (
            heads,
            _checks.whole("depth", depth, 0),
            _checks.seed(seed),
        )
        self.ties = _checks.real("break_ties", ties, least=0)
        if self.width == 1 and self.depth == 0:
            raise ValueError(
                "there is nothing to expand: width must be at least 2, or depth at least 1"
            )
        if self.ties and self.width == 1:
            raise ValueError("break_ties needs a width of at least 2: only copies have ties")
        self.source = Checkpoint(source)
        check_config(self.source.config)
        layers = self.source.config["num_hidden_layers"]
        self.after = layers - 1 if after is None else _checks.whole("after", after, 0, layers - 1)
        if after is not None and not self.depth:
            raise ValueError("after needs a depth of at least 1: it says where new blocks go")
        self.roles = _check_tensors(self.source)
        self.small_shapes = self.source.shapes
        self.from_16_bit = bool({"F16", "BF16"} & set(self.source.types.values()))
        self.config = target_config(self.source.config, self.width, heads, self.depth)
        if self.from_16_bit:
            self.config |= {k: "float32" for k in ("torch_dtype", "dtype") if k in self.config}
        self.rules = width_rules(self.width, heads)
        self.origins = self._origins()
        self.layout = {name: self._form(origin) for name, origin in self.origins.items()}
        self.other_files = _other_files(self.source, self.width)

    @property
    def tolerance(self) -> float:
        kinds = {self.layout[n][0] for n in self.layout if self.roles[self.origins[n]] != BUFFER}
        return max(TOLERANCE[kind] for kind in kinds)

    @property
    def nbytes(self) -> int:
        """Bytes of the target's weights."""
        itemsize = {"F64": 8, "F32": 4, "I64": 8}
        return sum(itemsize[kind] * math.prod(shape) for kind, shape in self.layout.values())

    def parameters(self, shapes: Mapping[str, tuple[int, ...]]) -> int:
        tied = self.source.config.get("tie_word_embeddings", True)
        twice = {f"{_DECODER}.weight"} if tied else set()
        if tied and any(canonical_name(name) == "cls.predictions.bias" for name in shapes):
            twice.add(f"{_DECODER}.bias")
        return sum(
            math.prod(shape)
            for name, shape in shapes.items()
            if self.roles[self.origins.get(name, name)] != BUFFER
            and canonical_name(name) not in twice
        )

    def _origins(self) -> dict[str, str]:
        """The source's tensor from which each of the target is made, in the order of writing."""
        origins = {name: name for name in self.source if layer_number(name) is None}
        inside = [name for name in self.source if layer_number(name) is not None]
        for layer in range(self.config["num_hidden_layers"]):
            old = min(layer, max(self.after, layer - self.depth))
            for name in inside:
                if layer_number(name)[0] == old:
                    renamed = re.sub(r"(encoder\.layer\.)\d+", rf"\g<1>{layer}", name)
                    origins[renamed] = name
        return origins

    def _form(self, origin: str) -> tuple[str, tuple[int, ...]]:
        shape, kind, role = (
            self.source.shapes[origin],
            self.source.types[origin],
            self.roles[origin],
        )
        if role == BUFFER:
            return kind, shape
        axes, repeats = self.rules[role].axes, self.rules[role].repeats
        counts = [r for r, axis in zip(repeats, axes, strict=True) if axis not in ("heads", "key")]
        if "heads" in axes:  # heads and key are one axis in the file, and one of the two repeats
            counts.insert(axes.index("heads"), self.width)
        if role.endswith("_kernel"):
            counts.reverse()
        large = tuple(n * count for n, count in zip(shape, counts, strict=True))
        return "F64" if kind == "F64" else "F32", large

    def blocks(self, name: str) -> Iterator[np.ndarray]:
        """The target's tensor, in blocks of rows where they are independent."""
        origin = self.origins[name]
        tensor, role = self.source[origin], self.roles[origin]
        if role == BUFFER:
            yield tensor
            return
        rows = max(len(tensor), 1)
        if AXES[role][0] is None and tensor.ndim == 2 and not role.endswith("_kernel"):
            rows = max(1, _BLOCK_BYTES // (8 * self.width * tensor.shape[1]))
        for start in range(0, len(tensor), rows):
            yield self._large(name, role, np.asarray(tensor[start : start + rows], np.float64))

    def _large(self, name: str, role: str, small: np.ndarray) -> np.ndarray:
        constant = self._constant(name)
        if constant is not None:
            small = np.full_like(small, constant)
        small = to_keras_layout(small, role, self.source.config["num_attention_heads"])
        large = expand_tensor(small, self.rules[role])
        axis = twin_axis(role, self.heads)
        if self.ties and axis is not None:
            place = list(self.layout).index(name)
            large += antisymmetric_noise(large, self.width, axis, self.ties, (self.seed, place))
        return from_keras_layout(large, role)

    def _constant(self, name: str) -> float | None:
        """The value of all entries where the new blocks ask for one; None elsewhere.

        Step by step: zero branches make a post-LN block the LayerNorm of its LayerNorm, and
        normalising twice is normalising once if no gain and offset come in between. So those of
        layer `after` move to the end of the last new block.
        """
        inside = layer_number(name)
        if not self.depth or inside is None:
            return None
        layer, rest = inside
        if self.after < layer <= self.after + self.depth:
            if rest.startswith(_ZERO):
                return 0.0
            if rest.startswith("attention.output.LayerNorm."):
                return 1.0 if rest.endswith("weight") else 0.0
        if self.after <= layer < self.after + self.depth and rest.startswith("output.LayerNorm."):
            return 1.0 if rest.endswith("weight") else 0.0
        return None


def _check_tensors(source: Checkpoint) -> dict[str, str]:
    """Roles of all tensors, after checking that none is unknown, missing or misshapen."""
    config, names = source.config, source_names(source)
    layers = config["num_hidden_layers"]
    roles = {}
    for name in source:
        role = tensor_role(name, config.get("architectures"))
        inside = layer_number(name)
        if role is None or (inside is not None and inside[0] >= layers):
            raise ValueError(
                f"tensor {name} has no place in a BERT of {layers} layers with the architectures "
                f"{config.get('architectures')}: correct config.json, or remove the tensor"
            )
        roles[name] = role
    for name in itertools.chain(required_names(layers), _required_heads(config, names)):
        if name not in names:
            raise ValueError(
                f"tensor {name} is missing in {source.folder}: the file is incomplete, or "
                "config.json does not belong to it"
            )
    for name, role in roles.items():
        _check_shape(source, name, role)
    _check_tied(source, names)
    return roles


def _required_heads(config: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What a model's heads need, given its architecture and what of them is there."""
    words = " ".join(config.get("architectures") or ())
    head = "cls.predictions"
    needed = []
    if "pooler.dense.weight" in names or "pooler.dense.bias" in names:
        needed += ["pooler.dense.weight", "pooler.dense.bias"]
    if any(n.startswith(head) for n in names) or re.search("MaskedLM|PreTraining", words):
        needed += [f"{head}.transform.{x}.{p}" for x in ("dense", "LayerNorm") for p in _PARTS]
        if f"{_DECODER}.bias" not in names:
            needed.append(f"{head}.bias")
        if config.get("tie_word_embeddings") is False:
            needed.append(f"{_DECODER}.weight")
    for name, word in _TASK_HEADS.items():
        if f"{name}.weight" in names or re.search(word, words):
            needed += [f"{name}.weight", f"{name}.bias"]
            if name != "qa_outputs" and "TokenClassification" not in words:
                needed += ["pooler.dense.weight", "pooler.dense.bias"]
    return needed


_PARTS = ("weight", "bias")
_TASK_HEADS = {
    "cls.seq_relationship": "PreTraining|NextSentence",
    "classifier": "Classification|MultipleChoice",
    "qa_outputs": "QuestionAnswering",
}


def _check_shape(source: Checkpoint, name: str, role: str) -> None:
    if role == BUFFER:
        return
    config, plain, shape = source.config, canonical_name(name), source.shapes[name]
    width = config["hidden_size"]
    inner = {"model": width, "hidden": config["intermediate_size"], "pooled": width, "mlm": width}
    rows = {
        "embeddings.word_embeddings.weight": config.get("vocab_size"),
        "embeddings.position_embeddings.weight": config.get("max_position_embeddings"),
        "embeddings.token_type_embeddings.weight": config.get("type_vocab_size"),
        f"{_DECODER}.weight": config.get("vocab_size"),
        f"{_DECODER}.bias": config.get("vocab_size"),
        "cls.predictions.bias": config.get("vocab_size"),
    }
    axes = [axis for axis in AXES[role] if axis != "key"]  # heads and key are one axis in the file
    want = [width if axis == "heads" else inner.get(axis) for axis in axes]
    if role.endswith("_kernel"):
        want.reverse()
    if plain in rows:
        want[0] = rows[plain]
    fits = len(want) == len(shape) and all(
        n in (None, m) for n, m in zip(want, shape, strict=False)
    )
    if not fits:
        words = ", ".join("any" if n is None else str(n) for n in want)
        raise ValueError(
            f"tensor {name} must have shape ({words}) by config.json, got {shape}: the file does "
            "not belong to it"
        )


def _check_tied(source: Checkpoint, names: Mapping[str, str]) -> None:
    table, own = "embeddings.word_embeddings.weight", f"{_DECODER}.weight"
    if source.config.get("tie_word_embeddings", True) and own in names:
        if not _equal(source[names[table]], source[names[own]]):
            raise ValueError(
                f"tensor {own} differs from the token table, though config.json ties them: set "
                '"tie_word_embeddings" to false there if the model has an output table of its own'
            )
    bias, other = "cls.predictions.bias", f"{_DECODER}.bias"
    tied = source.config.get("tie_word_embeddings", True)
    if tied and bias in names and other in names:
        if not _equal(source[names[bias]], source[names[other]]):
            raise ValueError(
                f"tensors {bias} and {other} differ, though they are one where config.json ties "
                "the tables: remove one"
            )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and all(
        np.array_equal(a[i : i + 4096], b[i : i + 4096]) for i in range(0, len(a), 4096)
    )


def _other_files(source: Checkpoint, width: int) -> dict[str, bytes]:
    """Vocabulary and settings that go along, with the width that sentence-transformers notes."""
    paths = [name for name in _COPIED if (source.folder / name).is_file()]
    files = {name: (source.folder / name).read_bytes() for name in paths}
    if "modules.json" not in files:
        return files
    modules = _settings(files["modules.json"], source.folder / "modules.json", list)
    for module in modules:
        if not isinstance(module, dict) or not isinstance(module.get("type", ""), str):
            raise ValueError(
                f"{source.folder}/modules.json must list objects with a type, got {module!r:.80}"
            )
        kind = module.get("type", "").rsplit(".", 1)[-1]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise ValueError(
                f"modules.json lists {kind}, a layer of sentence-transformers that would no longer "
                "fit the wider model: expand a copy of the folder without modules.json"
            )
    for module in modules:
        if not module.get("type", "").endswith("Pooling"):
            continue
        inside = f"{_module_folder(source.folder, module.get('path'))}/config.json"
        path = source.folder / inside
        if path.is_file():
            settings = _settings(path.read_bytes(), path, dict)
            for key in ("word_embedding_dimension", "embedding_dimension"):
                if key in settings:
                    settings[key] = width * _checks.whole(f"{key} in {path}", settings[key], 1)
            files[inside] = _json_bytes(settings)
    return files


def _module_folder(folder: Path, path: Any) -> str:
    """The folder of a module by modules.json, which may name none outside the model's."""
    name = path if isinstance(path, str) else ""
    own = re.fullmatch(r"[\w][\w.-]*", name)
    if not own or (folder / name).is_symlink() or (folder / name / "config.json").is_symlink():
        raise ValueError(
            f"modules.json in {folder} must name a folder inside it, no link, as path of Pooling, "
            f"got {path!r}: correct it, or expand a copy of the folder without modules.json"
        )
    return name


def _settings(text: bytes, path: Path, kind: type) -> Any:
    try:
        return parse_json(text, kind)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None


def _json_bytes(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _check_target(target: str | os.PathLike) -> Path:
    path = _checks.new_path("target", target)
    if path.is_file() or (path.is_dir() and any(path.iterdir())):
        raise ValueError(
            f"target {target} exists and is not an empty folder: choose another name, or remove it"
        )
    path = path.resolve()
    if not path.parent.is_dir():
        raise ValueError(
            f"target {target} must lie in a folder that exists: make {path.parent} first"
        )
    return path


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed + (1 << 20) > free:
        raise OSError(
            errno.ENOSPC,
            f"the disk is full: it needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free",
            str(target),
        )


def _write(plan: _Plan, folder: Path, progress: Progress) -> None:
    (folder / "config.json").write_bytes(_json_bytes(plan.config))
    for name, content in plan.other_files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    done = 0

    def blocks(name: str) -> Iterator[np.ndarray]:
        nonlocal done
        for block in plan.blocks(name):
            yield block
            done += block.size
            progress("writing", done, total)

    total = sum(math.prod(shape) for _, shape in plan.layout.values())
    write_safetensors(folder / "model.safetensors", plan.layout, blocks)


def _compare(
    plan: _Plan, large: Checkpoint, progress: Progress
) -> tuple[dict[str, float], int, int]:
    """Run both models in float64 on random and on real sequences; the largest differences."""
    ids, segments, mask, sentences = _sequences(plan.source)
    total = plan.source.config["num_hidden_layers"] + large.config["num_hidden_layers"]
    done = 0

    def trace(state: State) -> None:
        nonlocal done
        if state.name.endswith("FFN LayerNorm"):
            done += 1
            progress("checking", done, total)

    outputs = [
        encode(model, model.config, ids, segments, mask, trace=trace)
        for model in (plan.source, large)
    ]
    return _differences(*outputs, plan.width, mask), len(ids), sentences


def _differences(small: Encoded, large: Encoded, width: int, mask: np.ndarray) -> dict[str, float]:
    wanted = np.repeat(small.sequence, width, axis=-1)[mask] / math.sqrt(width)
    lengths = np.linalg.norm(wanted, axis=-1)
    gaps = np.linalg.norm(large.sequence[mask] - wanted, axis=-1)
    errors = {"token states": float(np.max(gaps / np.maximum(lengths, 1e-300)))}

    def compare(name: str, a: np.ndarray, b: np.ndarray) -> None:
        errors[name] = float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-300))

    if small.pooled is not None:
        compare("pooled output", np.repeat(small.pooled, width, axis=-1), large.pooled)
    if small.logits is not None:
        compare("masked-LM logits", small.logits[mask], large.logits[mask])
    for name, scores in small.scores.items():
        kept = mask if scores.ndim == 3 else slice(None)
        compare(name, scores[kept], large.scores[name][kept])
    return errors


def _demand(errors: Mapping[str, float], plan: _Plan) -> None:
    name = max(errors, key=lambda n: (math.isnan(errors[n]), errors[n]))
    if errors[name] <= plan.tolerance:
        return
    message = f"the large model's {name} differ by {errors[name]:.1e}, more than {plan.tolerance:g}"
    epsilon = plan.source.config.get("layer_norm_eps", 1e-12)
    if math.isnan(errors[name]):
        message = f"the source's {name} are not finite: its weights are damaged"
    elif name == "masked-LM logits" and plan.width > 1 and errors["token states"] <= plan.tolerance:
        message += (
            f": layer_norm_eps is {epsilon:g}, too large for one value to serve the encoder and "
            "the masked-LM head; leave the head out, or expand in depth only"
        )
    elif plan.depth and epsilon > 1e-9:
        message += (
            f": layer_norm_eps is {epsilon:g}, too large for LayerNorm after LayerNorm to change "
            "nothing; expand in width only"
        )
    elif plan.ties > 1:
        message += "; choose a smaller standard deviation for break_ties"
    raise ValueError(f"{message}. Nothing was written")


def _sequences(source: Checkpoint) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Ids, segments and mask: three random sequences, one of them short, and real sentences."""
    config, rng = source.config, np.random.default_rng(8444)
    tables = {n: source.shapes[m] for n, m in source_names(source).items() if "_embeddings" in n}
    vocabulary = tables["embeddings.word_embeddings.weight"][0]
    length = min(32, tables["embeddings.position_embeddings.weight"][0])
    segments = tables["embeddings.token_type_embeddings.weight"][0]
    rows = [rng.integers(vocabulary, size=n) for n in (length, length, max(1, length // 2))]
    sentences = [np.array(row[:length]) for row in _sentences(source, vocabulary)]
    shape = (len(rows) + len(sentences), length)
    ids = np.full(shape, config.get("pad_token_id") or 0)
    mask = np.zeros(shape, bool)
    for i, row in enumerate([*rows, *sentences]):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    kinds = np.zeros(shape, int)
    kinds[: len(rows)] = rng.integers(segments, size=(len(rows), length))
    return ids, kinds, mask, len(sentences)


def _sentences(source: Checkpoint, size: int) -> list[list[int]]:
    path = source.folder / "vocab.txt"
    if not path.is_file():
        return []
    vocabulary = {t: i for t, i in read_vocabulary(path).items() if i < size}
    if not {"[CLS]", "[SEP]", "[UNK]"} <= set(vocabulary):
        return []
    settings = source.folder / "tokenizer_config.json"
    lowercase = True
    if settings.is_file():
        lowercase = read_json(settings, dict).get("do_lower_case", True)
    return [token_ids(text, vocabulary, lowercase) for text in SENTENCES]
