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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils._json import parse_json
from kexian_utils.bert.characters import (
    PAD,
    UNKNOWN,
    character_ids,
    character_vocabulary,
    tokenizer_files,
)
from kexian_utils.bert.checkpoints import (
    from_keras_layout,
    masked_lm_variables,
    new_masked_lm,
    to_keras_layout,
    write_safetensors,
)
from kexian_utils.bert.masking import (
    LENGTH_STEP,
    Document,
    all_batches,
    cut_into_rows,
    epoch_batches,
    mask_rows,
    pretraining_sentences,
)
from kexian_utils.bert.tensor_names import tensor_role
from kexian_utils.experiment.records import processor, versions
from kexian_utils.training.resume import open_run, run_steps, unchanged, write_record
from kexian_utils.training.state import read_state, write_state

__all__ = [
    "Recipe",
    "masked_lm_scores",
    "pretrain",
    "read_documents",
    "split_documents",
]


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

    Examples:
        >>> recipe = Recipe(layers=2, width=64, heads=2, hidden=256)
        >>> recipe.positions, recipe.mask_rate
        (128, 0.15)
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
            object.__setattr__(self, name, _checks.whole(name, getattr(self, name), 1))
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
            _checks.probability(name, getattr(self, name), one=False)
        if not self.mask_rate > 0:
            raise ValueError("mask_rate must be positive: nothing would be predicted")
        _checks.real("learning_rate", self.learning_rate, above=0)
        _checks.real("weight_decay", self.weight_decay, least=0)
        object.__setattr__(self, "seed", _checks.seed(self.seed))


def masked_lm_scores(
    model: Any, batches: Sequence[np.ndarray], mask_rate: float, size: int, seed: int = 0
) -> dict[str, float]:
    """Loss and accuracy of a ``BertMaskedLM`` on held-out batches.

    Args:
        model: the model.
        batches: token numbers, each of shape ``(rows, length)``, padded by 0.
        mask_rate: share of the characters to be predicted.
        size: of the vocabulary.
        seed: one seed always hides the same characters.

    Returns:
        ``loss``: mean negative log-probability of the hidden characters, in nats; ``accuracy``:
        share of them that the model ranks first; ``predictions``: their number.

    Examples:
        >>> from kexian_utils.bert import chinese_bert, load_masked_lm
        >>> from kexian_utils.bert.characters import character_ids
        >>> from kexian_utils.bert.wordpiece import read_vocabulary
        >>> vocabulary = read_vocabulary(chinese_bert() / "vocab.txt")
        >>> text = "中华人民共和国主席和国务院总理出席会议并发表重要讲话。"
        >>> batch = np.array([[2, *character_ids(text, vocabulary), 3]])
        >>> model = load_masked_lm(chinese_bert())
        >>> scores = masked_lm_scores(model, [batch], 0.15, len(vocabulary), seed=2)
        >>> scores["predictions"], scores["accuracy"]
        (4, 1.0)
    """
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
        report: is called after each step with step, steps, loss, seconds_left and held_out: the
            scores if they were just measured, else None.

    Returns:
        The folder of the finished model.

    Raises:
        ValueError: if the folder holds a run of another recipe or text, or no document is given.

    Examples:
        >>> import tempfile
        >>> tiny = Recipe(1, width=8, heads=1, hidden=8, positions=16, batch_tokens=32, steps=2)
        >>> documents = [["今天天气很好很好。"], ["天气今天很好。"]] * 4
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model = pretrain(f"{folder}/run", documents, documents, tiny)
        ...     sorted(path.name for path in model.glob("*.json"))
        ['config.json', 'tokenizer.json', 'tokenizer_config.json']
    """
    recipe = recipe or Recipe()
    run = _Run(_checks.new_path("folder", folder), train, held_out, recipe)
    run.train(evaluate_every, save_every, report)
    return run.export()


def read_documents(paths: Sequence[str | os.PathLike]) -> list[list[str]]:
    """Documents of text files in UTF-8: blocks of lines between empty lines, cut into sentences.

    Raises:
        ValueError: if a file cannot be read, is not UTF-8, or is empty.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with open(f"{folder}/text.txt", "w", encoding="utf-8") as file:
        ...         for line in ("今天很好。你呢？", "", "第二篇。"):
        ...             print(line, file=file)
        ...     read_documents([f"{folder}/text.txt"])
        [['今天很好。', '你呢？'], ['第二篇。']]
    """
    documents = []
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} must be text in UTF-8: byte {error.start} is not") from None
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
        blocks = [block.splitlines() for block in re.split(r"\n\s*\n", text) if block.strip()]
        if not blocks:
            raise ValueError(f"{path} must hold text, it is empty")
        documents += [pretraining_sentences(block) for block in blocks]
    return documents


def split_documents(
    documents: Sequence[Document], held_out: float = 0.05, seed: int = 0
) -> tuple[list[Document], list[Document]]:
    """Hold out a share of the documents, drawn at random; at least one.

    Raises:
        ValueError: if there are fewer than two documents.

    Examples:
        >>> train, held_out = split_documents([["一。"], ["二。"], ["三。"]])
        >>> len(train), len(held_out)
        (2, 1)
    """
    if len(documents) < 2:
        raise ValueError(
            f"the text must hold at least two documents, separated by an empty line, to hold one "
            f"out; got {len(documents)}"
        )
    order = np.random.default_rng([seed, 5]).permutation(len(documents))
    count = max(1, round(held_out * len(documents)))
    return [documents[i] for i in sorted(order[count:])], [
        documents[i] for i in sorted(order[:count])
    ]


class _Run:
    """One run in its folder."""

    def __init__(
        self, folder: Path, train: Sequence[Document], held_out: Sequence[Document], recipe: Recipe
    ) -> None:
        if not train or not held_out:
            raise ValueError("train and held_out must hold at least one document each")
        for name, part in (("train", train), ("held_out", held_out)):  # before, not after training
            for document in part:
                _checks.encodable(name, *document)
        self.folder, self.recipe, self.documents = folder, recipe, train
        self.vocabulary = character_vocabulary(
            (sentence for document in train for sentence in document), recipe.minimum_count
        )
        self.record: dict[str, Any] = {
            "recipe": asdict(recipe),
            "text": _digest(train),
            "held_out": _digest(held_out),
            "vocabulary": len(self.vocabulary),
            "seconds": 0.0,
            "versions": versions(),
            "processor": processor(),
            "commonest": _commonest(train, held_out, self.vocabulary),
            "curve": [],
        }
        open_run(folder / "record.json", self.record, ("recipe", "text", "held_out"))
        rng = np.random.default_rng([recipe.seed, 2])
        rows = cut_into_rows(held_out, self.vocabulary, recipe.positions, rng)
        self.held_out = all_batches(rows, recipe.batch_tokens)
        self.step = 0

    def train(
        self,
        evaluate_every: int,
        save_every: float,
        report: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        recipe = self.recipe
        self.model = self._compiled()
        self._warm_up()
        self._restore()
        began, before = time.monotonic(), self.record["seconds"]
        due = self.step % evaluate_every == 0 or self.step == recipe.steps
        if self.step and due and self.step not in self._measured():
            self._evaluate(None)  # the run was stopped between a step and its measurement
        batches = self._batches()

        def step(_: int) -> dict[str, Any]:
            loss = self._train_on(next(batches))
            self.record["seconds"] = round(before + time.monotonic() - began, 1)
            measure = self.step % evaluate_every == 0 or self.step == recipe.steps
            return {"loss": loss, "held_out": self._evaluate(loss) if measure else None}

        run_steps(self.step, recipe.steps, step, self._save, save_every, report)

    def _warm_up(self) -> None:
        """Let Keras see two shapes of batches before the first one counts."""
        with unchanged(self._state()):
            for length in (LENGTH_STEP, 2 * LENGTH_STEP):
                if length <= self.recipe.positions:
                    rows = self.recipe.batch_tokens // length
                    self._train_on(np.full((rows, length), UNKNOWN, np.int32))
        self.step = 0

    def _train_on(self, batch: np.ndarray) -> float:
        rng = np.random.default_rng([self.recipe.seed, 3, self.step])
        inputs, labels, weights = mask_rows(batch, self.recipe.mask_rate, len(self.vocabulary), rng)
        self.model.reset_metrics()  # else the mean over all steps so far comes back
        loss = float(self.model.train_on_batch(inputs, labels, sample_weight=weights))
        self.step += 1
        return loss

    def _compiled(self) -> Any:
        import keras

        recipe = self.recipe
        model = new_masked_lm(self._config())
        model.backbone.pooled_dense.trainable = False  # no loss reads it
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
            "pad_token_id": PAD,
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

    def _measured(self) -> set[int]:
        return {point["step"] for point in self.record["curve"]}

    def _evaluate(self, loss: float | None) -> dict[str, float]:
        scores = masked_lm_scores(
            self.model, self.held_out, self.recipe.mask_rate, len(self.vocabulary)
        )
        curve = self.record["curve"]
        best = min((point["loss"] for point in curve), default=np.inf)
        if scores["loss"] < best:  # written first: a point of the curve has its weights
            write_state(self.folder / "best.npz", self.model.trainable_variables)
        curve.append({"step": self.step, "train_loss": loss, **scores})
        return scores

    def _state(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _save(self) -> None:
        # Ctrl-C may fall between an update of the weights and our count of it.
        step = int(np.asarray(self.model.optimizer.iterations))
        record = json.dumps(self.record)
        write_state(self.folder / "state.npz", self._state(), step=step, record=record)
        write_record(self.folder / "record.json", self.record)

    def _restore(self) -> None:
        path = self.folder / "state.npz"
        if not path.is_file():
            return
        # The record inside belongs to these weights; record.json may be newer after a kill.
        extra = read_state(path, self._state(), ("step", "record"))
        self.step = int(extra["step"])
        self.record = parse_json(str(extra["record"]), dict)

    def export(self) -> Path:
        """Write the best weights by held-out loss as a folder in Hugging Face's form."""
        read_state(self.folder / "best.npz", self.model.trainable_variables)
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


def _commonest(
    train: Sequence[Document], held_out: Sequence[Document], vocabulary: dict[str, int]
) -> dict[str, float]:
    """The scores of guessing by frequency alone: the least that a model must beat."""
    size = len(vocabulary)
    counts, seen = (
        np.bincount(
            np.concatenate([character_ids("".join(d), vocabulary) for d in part]).astype(int),
            minlength=size,
        )
        for part in (train, held_out)
    )
    probabilities = (counts + 1) / (counts + 1).sum()
    return {
        "loss": float(-(seen * np.log(probabilities)).sum() / seen.sum()),
        "accuracy": float(seen[counts.argmax()] / seen.sum()),
    }


def _digest(documents: Sequence[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update("\n".join(document).encode() + b"\n\n")
    return digest.hexdigest()


def _write_model(
    folder: Path,
    config: dict[str, Any],
    vocabulary: dict[str, int],
    tensors: dict[str, np.ndarray],
) -> None:
    texts = {
        "config.json": json.dumps(config, indent=2) + "\n",
        **tokenizer_files(vocabulary, config["max_position_embeddings"]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    layout = {name: ("F16", tensor.shape) for name, tensor in tensors.items()}
    partial = folder / "model.safetensors.part"
    write_safetensors(partial, layout, lambda name: [tensors[name]])
    os.replace(partial, folder / "model.safetensors")
