"""The models that words and trees are read off: bundled, in a folder, or downloaded."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kexian_utils import _checks
from kexian_utils.bert.checkpoints import Checkpoint, minilm
from kexian_utils.bert.probing import DISTANCES, HEAD_DISTANCES, ProbingModel

__all__ = ["BUNDLED", "ReadingModel", "chinese_bert", "open_model"]


def chinese_bert() -> Path:
    """The folder of the Chinese character BERT that the package carries.

    Its segmentation.json holds the score and the threshold for word segmentation that were chosen
    on development documents.

    Raises:
        ValueError: if the installation lacks it.

    Examples:
        >>> sorted(path.name for path in chinese_bert().glob("*.json"))[:2]
        ['config.json', 'segmentation.json']
    """
    folder = Path(__file__).parent.parent / "data" / "chinese_bert"
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} must hold model.safetensors, which is missing: install again")
    return folder


BUNDLED: dict[str, Callable[[], Path]] = {"chinese": chinese_bert, "minilm": minilm}


@dataclass(frozen=True)
class ReadingModel:
    """A model that is to segment or parse.

    Attributes:
        name: by which results call it.
        probe: the model.
        known: score and threshold of word segmentation that go with it, or None.

    Examples:
        >>> from kexian_utils.bert import ProbingModel, Segmenter
        >>> model = ReadingModel("mine", ProbingModel(chinese_bert()))
        >>> model.known is None, Segmenter(model).score  # no threshold goes with it
        (True, 'pmi')
    """

    name: str
    probe: ProbingModel
    known: tuple[str, float] | None = None


def open_model(name: str | os.PathLike, threads: int | None = None) -> ReadingModel:
    """Find and read a model.

    Args:
        name: a folder in Hugging Face's form; else "chinese" or "minilm", which are bundled; else
            ``hf://OWNER/NAME`` or OWNER/NAME of Hugging Face, which is downloaded.
        threads: as for :class:`ProbingModel`.

    Raises:
        ValueError: for an unknown name, a folder or a model that cannot be used, or a
            segmentation.json without a known "score" and a finite "threshold".
        kexian_utils.datasets.DatasetUnavailable: if a bundled model cannot be reached.

    Examples:
        >>> model = open_model("chinese")
        >>> model.probe.encoder.layers, model.probe.encoder.width, model.known[0]
        (4, 256, 'pmi')
    """
    checkpoint = _checkpoint(os.fspath(name))
    probe = ProbingModel(checkpoint, threads=threads)
    return ReadingModel(os.fspath(name), probe, _known_threshold(checkpoint.folder))


def _checkpoint(name: str) -> Checkpoint:
    if os.path.isdir(name) or name.startswith("hf://"):
        return Checkpoint(name)
    if name in BUNDLED:
        return Checkpoint(BUNDLED[name]())
    if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) and not os.path.exists(name):
        try:
            return Checkpoint(f"hf://{name}")
        except ValueError as error:
            raise ValueError(f"there is no folder {name}, and {error}") from error.__cause__
    raise ValueError(
        f"model must be {', '.join(BUNDLED)}, a folder, or OWNER/NAME of Hugging Face, got "
        f"{name!r}, which is none of these"
    )


def _known_threshold(folder: Path) -> tuple[str, float] | None:
    path = folder / "segmentation.json"
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        score, threshold = values["score"], float(values["threshold"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} must hold a score and a threshold ({error!r})") from None
    if score not in DISTANCES + HEAD_DISTANCES or not math.isfinite(threshold):
        raise ValueError(
            f"{path} must hold a score out of {', '.join(DISTANCES + HEAD_DISTANCES)} and a "
            f"finite threshold, got {score!r} and {threshold}"
        )
    return score, threshold


def checked_layer(model: ReadingModel, layer: int) -> int:
    """The number of one of the layers of a model; ValueError for any other."""
    top = model.probe.encoder.layers
    return _checks.whole("layer", layer, 1, top)
