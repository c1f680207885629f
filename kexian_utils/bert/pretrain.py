"""Pre-training of a small character BERT on Chinese text: data, masks, loop, checkpoints, export.

The recipe is that of Devlin, Chang, Lee and Toutanova, *BERT* (2019,
https://arxiv.org/abs/1810.04805), reduced to masked language modelling: 15 % of the characters are
to be predicted; of these 80 % are replaced by [MASK], 10 % by a random character, 10 % are left.
Everything that is random follows from the seed and the step, so a run that was stopped goes on as
if it had never been.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils.bert.characters import SPECIAL, character_ids, normal_form
from kexian_utils.bert.checkpoints import (
    from_keras_layout,
    masked_lm_variables,
    new_masked_lm,
    to_keras_layout,
    write_safetensors,
)
from kexian_utils.bert.tensor_names import tensor_role

__all__ = [
    "Recipe",
    "character_vocabulary",
    "cut_into_rows",
    "epoch_batches",
    "mask_rows",
    "masked_lm_scores",
    "pretrain",
    "pretraining_sentences",
]

Document = Sequence[str]  # the sentences of a document
LENGTH_STEP = 16  # rows are padded to multiples, so that few shapes need compiling
_PAD, _UNKNOWN, _START, _END, _MASK = range(5)
_SENTENCE = re.compile(r"[^。！？；]*[。！？；]+[”’）」』》]*|[^。！？；]+")


@dataclass(frozen=True)
class Recipe:
    """What a run does; two runs of one recipe on one text and machine give the same weights.

    Attributes:
        layers, width, heads, hidden: the encoder: number of layers, width of the residual stream,
            heads per layer, width of the feed-forward layers.
        positions: longest row in tokens, [CLS] and [SEP] included.
        minimum_count: rarer characters become [UNK].
        dropout: share of zeros in attention weights and after each sublayer.
        mask_rate: share of characters to be predicted.
        batch_tokens: tokens per step, padding included.
        steps: number of optimiser steps.
        learning_rate: its peak, after a linear warm-up over `warmup` of the steps; then a cosine
            down to 0.
        weight_decay: of AdamW, on kernels and tables.
        seed: of initial weights, order, masks and dropout.
    """

    layers: int = 4
    width: int = 256
    heads: int = 4
    hidden: int = 1024
    positions: int = 128
    minimum_count: int = 2
    dropout: float = 0.1
    mask_rate: float = 0.15
    batch_tokens: int = 4096
    steps: int = 6000
    learning_rate: float = 1e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant, by name."""
        whole = ("layers", "width", "heads", "hidden", "minimum_count", "steps", "batch_tokens")
        for name in whole:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.width % self.heads:
            raise ValueError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}"
            )
        if self.positions % LENGTH_STEP or self.positions < LENGTH_STEP:
            raise ValueError(
                f"positions must be a multiple of {LENGTH_STEP}, at least {LENGTH_STEP}, got "
                f"{self.positions}"
            )
        if self.batch_tokens < self.positions:
            raise ValueError(
                f"batch_tokens must be at least positions, got {self.batch_tokens} < "
                f"{self.positions}"
            )
        for name in ("dropout", "mask_rate", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be at least 0 and below 1, got {getattr(self, name)}"
                )
        if not self.mask_rate > 0:
            raise ValueError("mask_rate must be positive: nothing would be predicted")
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if not (np.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")
        if not isinstance(self.seed, int) or isinstance(self.seed, bool) or self.seed < 0:
            raise ValueError(f"seed must be a whole number of at least 0, got {self.seed!r}")


def pretraining_sentences(paragraphs: Sequence[str]) -> list[str]:
    """The sentences of a document: cut after 。！？； and closing marks, and between paragraphs."""
    return [s for paragraph in paragraphs for s in _SENTENCE.findall(paragraph) if s.strip()]


def character_vocabulary(documents: Sequence[Document], minimum_count: int = 2) -> dict[str, int]:
    """Numbers of the characters of a text, after the five special tokens, the commonest first.

    Characters count in their compatibility form (NFKC), so that full-width digits and letters are
    the same as others; spaces are left out.
    """
    counts = Counter(
        normal_form(c) for document in documents for sentence in document for c in sentence
    )
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    characters = [c for c, n in ranked if n >= minimum_count and not c.isspace()]
    if not characters:
        raise ValueError(
            f"the text must hold characters that occur {minimum_count} times or more, it has none"
        )
    return {token: number for number, token in enumerate([*SPECIAL, *characters])}


def cut_into_rows(
    documents: Sequence[Document],
    vocabulary: dict[str, int],
    positions: int,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Rows ``[CLS] … [SEP]`` of neighbouring sentences, of one sentence or of several.

    Each row is filled with whole sentences of one document up to a length that is drawn anew: a
    quarter, a half or the whole of `positions`, most often a quarter. So the model knows sentences
    that stand alone and sentences in context. Longer sentences are cut.
    """
    budgets = positions // np.array([4, 2, 1]) - 2
    rows: list[np.ndarray] = []
    for document in documents:
        row: list[int] = []
        budget = 0
        for sentence in document:
            ids = character_ids(sentence, vocabulary)
            if row and len(row) + len(ids) > budget:
                rows.append(_framed(row))
                row = []
            if not row:
                budget = rng.choice(budgets, p=(0.6, 0.25, 0.15))
            row += ids
            while len(row) > positions - 2:
                rows.append(_framed(row[: positions - 2]))
                row = row[positions - 2 :]
        if row:
            rows.append(_framed(row))
    return rows


def _framed(ids: Sequence[int]) -> np.ndarray:
    return np.array([_START, *ids, _END], np.int32)


def epoch_batches(
    rows: Sequence[np.ndarray], batch_tokens: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Padded batches of rows of similar length, each of about `batch_tokens`, in random order.

    What does not fill a batch is left out; another epoch, another rest.

    Returns:
        Arrays ``(rows, length)``, length a multiple of `LENGTH_STEP`, padded by 0.
    """
    lengths = np.array([-(-len(row) // LENGTH_STEP) * LENGTH_STEP for row in rows])
    batches = []
    for length in np.unique(lengths):
        group = rng.permutation(np.flatnonzero(lengths == length))
        size = batch_tokens // length
        for start in range(0, len(group) - size + 1, size):
            batches.append(_padded([rows[i] for i in group[start : start + size]], length))
    return [batches[i] for i in rng.permutation(len(batches))]


def _padded(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    batch = np.full((len(rows), length), _PAD, np.int32)
    for line, row in zip(batch, rows, strict=True):
        line[: len(row)] = row
    return batch


def mask_rows(
    batch: np.ndarray, mask_rate: float, vocabulary_size: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Choose what is to be predicted, and hide it.

    In each row a share `mask_rate` of the characters, rounded, at least one, is chosen without
    repetition. Each is replaced by [MASK] (80 %), by a random character (10 %), or left (10 %).

    Args:
        batch: token numbers, shape ``(rows, length)``, padded by 0.
        mask_rate: share of the characters.
        vocabulary_size: random characters come from 5 to this, exclusive.
        rng: makes the choices.

    Returns:
        The model's inputs by name; labels, shape ``(rows, slots)``; weights of the labels, 1.0 or,
        in slots that are not used, 0.0.

    Source: Devlin et al. (2019), section 3.1.
    """
    real = batch >= len(SPECIAL)
    real |= batch == _UNKNOWN
    counts = np.maximum(1, np.rint(mask_rate * real.sum(1))).astype(int)
    slots = max(1, int(np.rint(mask_rate * (batch.shape[1] - 2))))
    order = np.argsort(np.where(real, rng.random(batch.shape), 2.0), axis=1)[:, :slots]
    weights = (np.arange(slots) < counts[:, None]).astype(np.float32)
    chosen = np.sort(np.where(weights > 0, order, batch.shape[1]), axis=1)
    positions = np.where(weights > 0, chosen, 0).astype(np.int32)
    labels = np.take_along_axis(batch, positions, axis=1)
    fate = rng.random(labels.shape)
    strangers = rng.integers(len(SPECIAL), vocabulary_size, labels.shape)
    shown = np.where(fate < 0.8, _MASK, np.where(fate < 0.9, strangers, labels))
    hidden = batch.copy()
    lines = np.broadcast_to(np.arange(len(batch))[:, None], labels.shape)
    used = weights > 0
    hidden[lines[used], positions[used]] = shown[used]
    return _inputs(hidden, positions), labels, weights


def _inputs(batch: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "token_ids": batch,
        "segment_ids": np.zeros_like(batch),
        "padding_mask": (batch != _PAD).astype(np.int32),
        "mask_positions": positions,
    }


def masked_lm_scores(
    model: Any, batches: Sequence[np.ndarray], mask_rate: float, size: int, seed: int
) -> dict[str, float]:
    """Loss in nats and accuracy on held-out batches; one seed always hides the same characters."""
    loss = hits = total = 0.0
    for number, batch in enumerate(batches):
        rng = np.random.default_rng([seed, 1, number])
        inputs, labels, weights = mask_rows(batch, mask_rate, size, rng)
        logits = np.asarray(model.predict_on_batch(inputs), np.float64)
        top = logits.max(-1, keepdims=True)
        normaliser = np.log(np.exp(logits - top).sum(-1)) + top[..., 0]
        own = np.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
        loss += ((normaliser - own) * weights).sum()
        hits += ((logits.argmax(-1) == labels) * weights).sum()
        total += weights.sum()
    return {
        "loss": float(loss / total),
        "accuracy": float(hits / total),
        "predictions": int(total),
    }


def pretrain(
    folder: str | os.PathLike,
    train: Sequence[Document],
    held_out: Sequence[Document],
    recipe: Recipe | None = None,
    evaluate_every: int = 250,
    save_every: float = 300.0,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Pre-train a character BERT, or go on with a run that was stopped.

    Args:
        folder: of the run. It receives ``state.npz`` (weights, optimiser, counters), the best
            weights so far by held-out loss, ``record.json``, and at the end ``model``: a folder in
            Hugging Face's form with weights in float16.
        train, held_out: documents, each a list of sentences.
        recipe: of the run; a folder that holds a run continues that run alone.
        evaluate_every: steps between two measurements on the held-out documents.
        save_every: seconds between two saved states.
        report: is called after each step with step, steps, loss, tokens per second.

    Returns:
        The folder of the finished model.

    Raises:
        ValueError: if the folder holds a run of another recipe or text, or no document is given.
    """
    recipe = recipe or Recipe()
    run = _Run(Path(folder), train, held_out, recipe)
    run.train(evaluate_every, save_every, report)
    return run.export()


class _Run:
    """One run in its folder."""

    def __init__(
        self, folder: Path, train: Sequence[Document], held_out: Sequence[Document], recipe: Recipe
    ) -> None:
        if not train or not held_out:
            raise ValueError("train and held_out must hold at least one document each")
        self.folder, self.recipe, self.documents = folder, recipe, train
        self.vocabulary = character_vocabulary(train, recipe.minimum_count)
        self.record: dict[str, Any] = {
            "recipe": asdict(recipe),
            "text": _digest(train),
            "held_out": _digest(held_out),
            "vocabulary": len(self.vocabulary),
            "curve": [],
        }
        folder.mkdir(parents=True, exist_ok=True)
        self._take_up()
        rng = np.random.default_rng([recipe.seed, 2])
        rows = cut_into_rows(held_out, self.vocabulary, recipe.positions, rng)
        self.held_out = _all_batches(rows, recipe.batch_tokens)
        self.step = 0
        self.seconds = 0.0

    def _take_up(self) -> None:
        path = self.folder / "record.json"
        if not path.is_file():
            if any(self.folder.iterdir()):
                raise ValueError(f"{self.folder} must be empty or hold a run, it holds other files")
            return
        before = json.loads(path.read_text(encoding="utf-8"))
        for key in ("recipe", "text", "held_out"):
            if before.get(key) != self.record[key]:
                raise ValueError(
                    f"{self.folder} holds a run with another {key} "
                    f"({_difference(before.get(key), self.record[key])}): choose another folder, "
                    "or the same recipe and text"
                )
        self.record = before

    def train(
        self,
        evaluate_every: int,
        save_every: float,
        report: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        recipe = self.recipe
        self.model = self._compiled()
        self._restore()
        saved = began = time.monotonic()
        before = self.seconds
        try:
            for batch in self._batches():
                rng = np.random.default_rng([recipe.seed, 3, self.step])
                inputs, labels, weights = mask_rows(
                    batch, recipe.mask_rate, len(self.vocabulary), rng
                )
                self.model.reset_metrics()  # else the mean over all steps so far
                loss = float(self.model.train_on_batch(inputs, labels, sample_weight=weights))
                self.step += 1
                self.seconds = before + time.monotonic() - began
                if self.step % evaluate_every == 0 or self.step == recipe.steps:
                    self._evaluate(loss)
                if report is not None:
                    report({"step": self.step, "steps": recipe.steps, "loss": loss})
                if time.monotonic() - saved > save_every:
                    self._save()
                    saved = time.monotonic()
        finally:
            self._save()

    def _compiled(self) -> Any:
        import keras

        recipe = self.recipe
        model = new_masked_lm(self._config())
        _initialise(model, recipe)
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, recipe.steps - int(recipe.warmup * recipe.steps)),
            warmup_target=recipe.learning_rate,
            warmup_steps=int(recipe.warmup * recipe.steps),
        )
        optimizer = keras.optimizers.AdamW(
            schedule, weight_decay=recipe.weight_decay, beta_2=0.98, global_clipnorm=1.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        model.compile(
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="mean_with_sample_weight"
            ),
            weighted_metrics=[],
            jit_compile=True,
        )
        optimizer.build(model.trainable_variables)
        return model

    def _config(self) -> dict[str, Any]:
        recipe = self.recipe
        return {
            "architectures": ["BertForMaskedLM"],
            "model_type": "bert",
            "vocab_size": len(self.vocabulary),
            "hidden_size": recipe.width,
            "num_hidden_layers": recipe.layers,
            "num_attention_heads": recipe.heads,
            "intermediate_size": recipe.hidden,
            "hidden_act": "gelu",
            "hidden_dropout_prob": recipe.dropout,
            "attention_probs_dropout_prob": recipe.dropout,
            "max_position_embeddings": recipe.positions,
            "type_vocab_size": 2,
            "initializer_range": 0.02,
            "layer_norm_eps": 1e-12,
            "pad_token_id": _PAD,
            "tie_word_embeddings": True,
        }

    def _batches(self) -> Iterator[np.ndarray]:
        recipe, passed, epoch = self.recipe, 0, 0
        while passed < recipe.steps:
            rng = np.random.default_rng([recipe.seed, 4, epoch])
            rows = cut_into_rows(self.documents, self.vocabulary, recipe.positions, rng)
            batches = epoch_batches(rows, recipe.batch_tokens, rng)
            if not batches:
                raise ValueError(
                    "train is too short to fill one batch: give more text or a smaller batch_tokens"
                )
            yield from batches[max(0, self.step - passed) : recipe.steps - passed]
            passed += len(batches)
            epoch += 1

    def _evaluate(self, loss: float) -> None:
        scores = masked_lm_scores(
            self.model, self.held_out, self.recipe.mask_rate, len(self.vocabulary), 0
        )
        curve = self.record["curve"]
        best = min((point["loss"] for point in curve), default=np.inf)
        curve.append(
            {"step": self.step, "train_loss": loss, "seconds": round(self.seconds, 1), **scores}
        )
        if scores["loss"] < best:
            self._write_arrays("best.npz", self.model.trainable_variables)

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self) -> None:
        extra = {"step": self.step, "seconds": self.seconds, "points": len(self.record["curve"])}
        self._write_arrays("state.npz", self._state(), **extra)
        partial = self.folder / "record.json.part"
        partial.write_text(json.dumps(self.record, indent=1), encoding="utf-8")
        os.replace(partial, self.folder / "record.json")

    def _write_arrays(self, name: str, variables: Sequence[Any], **extra: float) -> None:
        partial = self.folder / f"{name}.part"
        with open(partial, "wb") as file:
            arrays = {f"v{i}": np.asarray(v) for i, v in enumerate(variables)}
            np.savez(file, **arrays, **extra)
        os.replace(partial, self.folder / name)

    def _restore(self) -> None:
        path = self.folder / "state.npz"
        if not path.is_file():
            return
        with np.load(path) as state:
            for number, variable in enumerate(self._state()):
                variable.assign(state[f"v{number}"])
            self.step, self.seconds = int(state["step"]), float(state["seconds"])
            # A run that was killed has measured beyond its last saved state; it measures again.
            del self.record["curve"][int(state["points"]) :]

    def export(self) -> Path:
        """Write the best weights by held-out loss as a folder in Hugging Face's form."""
        with np.load(self.folder / "best.npz") as best:
            for number, variable in enumerate(self.model.trainable_variables):
                variable.assign(best[f"v{number}"])
        target = self.folder / "model"
        target.mkdir(exist_ok=True)
        tensors = {
            name: from_keras_layout(np.asarray(variable), tensor_role(name) or "")
            for name, variable in masked_lm_variables(self.model).items()
        }
        _write_model(target, self._config(), self.vocabulary, tensors)
        return target


def _initialise(model: Any, recipe: Recipe) -> None:
    """Normal numbers of standard deviation 0.02, cut at two; gains 1, offsets and biases 0."""
    rng = np.random.default_rng([recipe.seed, 0])
    for name, variable in masked_lm_variables(model).items():
        role = tensor_role(name) or ""
        shape = from_keras_layout(np.empty(variable.shape, bool), role).shape
        if len(shape) == 2:
            draws = rng.standard_normal(shape)
            while (far := np.abs(draws) > 2).any():
                draws[far] = rng.standard_normal(far.sum())
            variable.assign(to_keras_layout(0.02 * draws, role, recipe.heads))
        elif name.endswith("LayerNorm.weight"):
            variable.assign(np.ones(shape))
    states = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
    for number, state in enumerate(states):  # of dropout
        state.assign([recipe.seed, number])


def _all_batches(rows: Sequence[np.ndarray], batch_tokens: int) -> list[np.ndarray]:
    """Batches of all rows, the shortest first; the last of each length may be small."""
    lengths = np.array([-(-len(row) // LENGTH_STEP) * LENGTH_STEP for row in rows])
    batches = []
    for length in np.unique(lengths):
        group, size = np.flatnonzero(lengths == length), batch_tokens // length
        for start in range(0, len(group), size):
            batches.append(_padded([rows[i] for i in group[start : start + size]], length))
    return batches


def _digest(documents: Sequence[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update("\n".join(document).encode() + b"\n\n")
    return digest.hexdigest()


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        names = [f.name for f in fields(Recipe) if before.get(f.name) != now.get(f.name)]
        return ", ".join(f"{n}: {before.get(n)} there, {now.get(n)} asked for" for n in names)
    return f"{str(before)[:12]} there, {str(now)[:12]} asked for"


def _write_model(
    folder: Path,
    config: dict[str, Any],
    vocabulary: dict[str, int],
    tensors: dict[str, np.ndarray],
) -> None:
    texts = {
        "config.json": json.dumps(config, indent=2) + "\n",
        "vocab.txt": "".join(f"{token}\n" for token in vocabulary),
        "tokenizer_config.json": json.dumps(tokenizer_config(config), indent=2) + "\n",
        "tokenizer.json": json.dumps(_tokenizer(vocabulary), ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    layout = {name: ("F16", tensor.shape) for name, tensor in tensors.items()}
    partial = folder / "model.safetensors.part"
    write_safetensors(partial, layout, lambda name: [tensors[name]])
    os.replace(partial, folder / "model.safetensors")


def tokenizer_config(config: dict[str, Any]) -> dict[str, Any]:
    """What says that this model reads single characters, to us and to `transformers`."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "kexian_characters": True,
        "model_max_length": config["max_position_embeddings"],
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }


def _tokenizer(vocabulary: dict[str, int]) -> dict[str, Any]:
    """The form of the library `tokenizers`: NFKC, no spaces, every character a token."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, token in enumerate(SPECIAL)
        ],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "WhitespaceSplit"},
                {
                    "type": "Split",
                    "pattern": {"Regex": "."},
                    "behavior": "Isolated",
                    "invert": False,
                },
            ],
        },
        "post_processor": {
            "type": "BertProcessing",
            "sep": ["[SEP]", _END],
            "cls": ["[CLS]", _START],
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    }
