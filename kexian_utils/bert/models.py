"""The models that words and trees are read off: bundled, in a folder, or downloaded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kexian_utils import _checks
from kexian_utils._json import read_json
from kexian_utils.bert.checkpoints import Checkpoint, minilm
from kexian_utils.bert.probing import DISTANCES, HEAD_DISTANCES, ProbingModel
from kexian_utils.language.text import NeighbourPMI

__all__ = ["BUNDLED", "CountedTies", "ReadingModel", "chinese_bert", "open_model"]

WITH_COUNTS = "counts+"  # before the name of a score: counts of neighbours are weighed in


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


class CountedTies(NamedTuple):
    """Counts of neighbouring characters that go with a model, for a weighed sum with its score.

    Attributes:
        pmi: of the counts.
        weight: of this in the sum, from 0 to 1; the model's score has the rest.
        scale: by which the model's score is multiplied first.

    Examples:
        >>> from kexian_utils.language.text import NeighbourPMI
        >>> ties = CountedTies(NeighbourPMI(["今天天气好", "今天很好"]), weight=0.5, scale=2.0)
        >>> ties.sums("天天", "气天", [1.5, None])
        [1.91709, None]
    """

    pmi: NeighbourPMI
    weight: float
    scale: float

    def sums(self, left: str, right: str, scores: list[float | None]) -> list[float | None]:
        """The sums at gaps between characters of `left` and `right`; None stays None."""
        own = (1 - self.weight) * self.scale
        ties = self.pmi.between(left, right) * self.weight
        return [
            None if score is None else float(f"{tie + own * score:.6g}")
            for tie, score in zip(ties.tolist(), scores, strict=True)
        ]


@dataclass(frozen=True)
class ReadingModel:
    """A model that is to segment or parse.

    Attributes:
        name: by which results call it.
        probe: the model.
        known: score and threshold of word segmentation that go with it, or None.
        ties: counts that this score weighs in, or None.

    Examples:
        >>> from kexian_utils.bert import ProbingModel, Segmenter
        >>> model = ReadingModel("mine", ProbingModel(chinese_bert()))
        >>> model.known is None, Segmenter(model).score  # no threshold goes with it
        (True, 'pmi')
    """

    name: str
    probe: ProbingModel
    known: tuple[str, float] | None = None
    ties: CountedTies | None = None


def open_model(name: str | os.PathLike, threads: int | None = None) -> ReadingModel:
    """Find and read a model.

    Args:
        name: a folder in Hugging Face's form; else "chinese" or "minilm", which are bundled; else
            ``hf://OWNER/NAME`` or OWNER/NAME of Hugging Face, which is downloaded.
        threads: as for :class:`ProbingModel`.

    Raises:
        ValueError: for an unknown name, a folder or a model that cannot be used, or a
            segmentation.json without a known "score" and a finite "threshold". A score that begins
            with "counts+" needs "weight" and "scale", too, and the file neighbours.npz.
        kexian_utils.datasets.DatasetUnavailable: if a bundled model cannot be reached.

    Examples:
        >>> model = open_model("chinese")
        >>> model.probe.encoder.layers, model.probe.encoder.width, model.known[0]
        (4, 256, 'counts+euclidean')
    """
    checkpoint = _checkpoint(os.fspath(name))
    probe = ProbingModel(checkpoint, threads=threads)
    return ReadingModel(os.fspath(name), probe, *_segmentation(checkpoint.folder))


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


def _segmentation(folder: Path) -> tuple[tuple[str, float] | None, CountedTies | None]:
    """What segmentation.json says, and the counts that its score needs."""
    path = folder / "segmentation.json"
    if not path.is_file():
        return None, None
    values = read_json(path, dict)
    score, threshold = values.get("score"), _number(values, "threshold")
    counted = isinstance(score, str) and score.startswith(WITH_COUNTS)
    if (score.removeprefix(WITH_COUNTS) if counted else score) not in DISTANCES + HEAD_DISTANCES:
        threshold = math.nan
    if not math.isfinite(threshold):
        names = ", ".join(DISTANCES + HEAD_DISTANCES)
        raise ValueError(
            f"{path} must hold a score out of {names}, perhaps after {WITH_COUNTS}, and a finite "
            f"threshold, got {score!r} and {values.get('threshold')!r}"
        )
    if not counted:
        return (score, threshold), None
    weight, scale = _number(values, "weight"), _number(values, "scale")
    if not (0 <= weight <= 1 and 0 < scale < math.inf):
        raise ValueError(
            f"{path} must hold a weight from 0 to 1 and a positive scale for the score {score!r}"
        )
    pmi = NeighbourPMI.load(folder / "neighbours.npz")
    return (score, threshold), CountedTies(pmi, weight, scale)


def _number(values: dict[str, Any], name: str) -> float:
    """The number under a name; not a number if there is none."""
    try:
        return float(values[name])
    except (ValueError, TypeError, KeyError, OverflowError):
        return math.nan


def checked_layer(model: ReadingModel, layer: int) -> int:
    """The number of one of the layers of a model; ValueError for any other."""
    top = model.probe.encoder.layers
    return _checks.whole("layer", layer, 1, top)
