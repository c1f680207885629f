r"""A reader of long passages (阅读理解): a small BERT that points at the answer, or at nothing.

reader = PointerReader.load(chinese_reader())
reader.answer("谁写了《红楼梦》？", [passage]).answer

The question and a window of the passage are one row of a Transformer, whose two heads say where
the answer starts and ends; [CLS] stands for silence. Equal characters are marked by kinds
(:mod:`kexian_utils.qa.windows`). After J. Devlin and others, *BERT* (2019, section 4.2,
https://arxiv.org/abs/1810.04805). It runs in NumPy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils._json import read_json
from kexian_utils.bert.checkpoints import Checkpoint
from kexian_utils.bert.fast_encoder import FastEncoder
from kexian_utils.bert.wordpiece import read_vocabulary
from kexian_utils.qa.decoding import vote
from kexian_utils.qa.features import check_texts
from kexian_utils.qa.readings import Asked, PassageReading, Reading
from kexian_utils.qa.windows import KINDS, Characters, WindowRow, window_row, window_starts

__all__ = ["PointerReader", "chinese_reader"]

_FORM = 1  # of reader.json
_ROWS = 32  # that go through the network at once
_LENGTH_STEP = 32
_CANDIDATES = 8  # of a window
_HEAD = ("qa_outputs.weight", "qa_outputs.bias")


def chinese_reader() -> Path:
    """The folder of the reader of real text that the package carries; its README.md is its card.

    Raises:
        ValueError: if the installation lacks it.

    Examples:
        >>> (chinese_reader() / "reader.json").is_file()
        True
    """
    folder = Path(__file__).parent.parent / "data" / "chinese_reader"
    if not (folder / "model.safetensors").is_file():
        raise ValueError(f"{folder} must hold model.safetensors, which is missing: install again")
    return folder


@dataclass(frozen=True)
class _Settings:
    length: int
    max_len: int
    least_vote: float


class PointerReader:
    """A reader of real text, which is loaded and asked; see the module.

    Args:
        folder: as ``tools/train_chinese_reader.py`` writes it: a ``BertForQuestionAnswering`` in
            Hugging Face's form, whose head is ``qa_outputs``, and ``reader.json``.

    Attributes:
        length: of a row in tokens at most.
        max_len: longest answer in characters.
        least_vote: the vote below which an answer is better not given; :meth:`answer` gives it
            all the same.

    Raises:
        FileNotFoundError: if the folder holds no such reader.
        ValueError: if a file is damaged or of a newer form.

    Examples:
        >>> reader = PointerReader(chinese_reader())
        >>> text = "曹雪芹，清代小说家，著有《红楼梦》，生于南京。"
        >>> reader.answer("《红楼梦》的作者是谁？", [text]).answer
        '曹雪芹'
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        folder = Path(folder)
        for name in ("reader.json", "model.safetensors", "config.json", "vocab.txt"):
            if not (folder / name).is_file():
                raise FileNotFoundError(f"{folder} holds no reader: {name} is missing")
        path = folder / "reader.json"
        about: dict[str, Any] = read_json(path, dict)
        if about.get("form") != _FORM:
            raise ValueError(
                f"{path} is of form {about.get('form')!r}, this version reads {_FORM}: update it"
            )
        try:
            pairs = about["simplified"]
            settings = _Settings(
                **{name: about[name] for name in ("length", "max_len", "least_vote")}
            )
            if not isinstance(pairs, str) or len(pairs) % 2:
                raise ValueError("simplified must be a string of pairs of characters")
            _checks.whole("length", settings.length, 8)
            _checks.whole("max_len", settings.max_len, 1)
            _checks.probability("least_vote", settings.least_vote)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}): install it again") from error
        checkpoint = Checkpoint(folder)
        self._encoder = FastEncoder(checkpoint, checkpoint.config)
        for name, shape in zip(_HEAD, ((2, self._encoder.width), (2,)), strict=True):
            if name not in checkpoint or checkpoint.shapes[name] != shape:
                raise ValueError(f"{folder} must hold {name} of shape {shape}")
        if checkpoint.config.get("type_vocab_size") != len(KINDS):
            raise ValueError(f"{folder} must have {len(KINDS)} kinds of tokens (type_vocab_size)")
        self._kernel, self._bias = (np.asarray(checkpoint[name], np.float32) for name in _HEAD)
        self._reads = Characters(
            read_vocabulary(folder / "vocab.txt"), dict(zip(pairs[::2], pairs[1::2], strict=True))
        )
        self.length, self.max_len = settings.length, settings.max_len
        self.least_vote = settings.least_vote
        if self.length > self._encoder.limit:
            raise ValueError(f"{path} must have length at most {self._encoder.limit}")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> PointerReader:
        """Read a folder; as the class itself, for readers of all kinds are loaded so."""
        return cls(folder)

    def answer(self, question: str, passages: Sequence[str]) -> Reading:
        """Answer one question; see :meth:`answer_many`."""
        return self.answer_many([(question, passages)])[0]

    def answer_many(self, questions: Sequence[Asked]) -> list[Reading]:
        """Answer questions from their passages, each as long as it may be.

        A candidate's score in a passage is the probability of its start times that of its end, in
        the window where that is largest; probabilities are divided among the window's characters
        and silence. Passages vote as those of :func:`kexian_utils.qa.decoding.vote`.

        Args:
            questions: (question, passages) each. No passages, or empty ones, are allowed.

        Raises:
            TypeError: if a question or passage is no string.
            ValueError: if a question is empty.
        """
        questions = list(questions)
        for question, passages in questions:
            check_texts(question, passages)
        rows: list[WindowRow] = []
        owners: list[tuple[int, int]] = []
        for number, (question, passages) in enumerate(questions):
            asked = self._reads(question)
            for place, text in enumerate(passages):
                numbers = self._reads(text)
                if len(numbers):
                    for start in window_starts(len(asked), len(numbers), self.length):
                        rows.append(window_row(asked, numbers, start, self.length))
                        owners.append((number, place))
        found: dict[tuple[int, int], list[tuple[WindowRow, np.ndarray]]] = {}
        for row, owner, places in zip(rows, owners, self._places(rows), strict=True):
            found.setdefault(owner, []).append((row, places))
        return [
            self._reading([(text, found.get((number, place), [])) for place, text in enumerate(t)])
            for number, (_, t) in enumerate(questions)
        ]

    def _places(self, rows: Sequence[WindowRow]) -> list[np.ndarray]:
        """Probabilities of start and end in each window, (1 + characters, 2), silence first."""
        made: list[Any] = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda number: len(rows[number].tokens))
        for first in range(0, len(order), _ROWS):
            chosen = order[first : first + _ROWS]
            longest = max(len(rows[number].tokens) for number in chosen)
            width = min(self.length, math.ceil(longest / _LENGTH_STEP) * _LENGTH_STEP)
            tokens = np.zeros((len(chosen), width), np.int64)
            kinds = np.zeros((len(chosen), width), np.int64)
            for line, number in enumerate(chosen):
                row = rows[number]
                tokens[line, : len(row.tokens)] = row.tokens
                kinds[line, : len(row.kinds)] = row.kinds
            states = self._encoder.states(
                tokens, [self._encoder.layers], padding_mask=tokens > 0, segments=kinds
            )[0]
            logits = states @ self._kernel.T + self._bias
            for line, number in enumerate(chosen):
                row = rows[number]
                inside = logits[line, row.first : row.first + row.stop - row.start]
                both = np.concatenate([logits[line, :1], inside])
                both = np.exp(both - both.max(axis=0))
                made[number] = both / both.sum(axis=0)
        return made

    def _reading(self, read: Sequence[tuple[str, list[tuple[WindowRow, np.ndarray]]]]) -> Reading:
        passages, spans = [], []
        for text, windows in read:
            places = np.zeros((len(text), 2))
            silent = 1.0
            best: dict[str, tuple[float, tuple[int, int]]] = {}
            for row, found in windows:
                inside = places[row.start : row.stop]
                np.maximum(inside, found[1:], out=inside)
                silent = min(silent, float(np.sqrt(found[0].prod())))
                for value, start, stop in self._candidates(found[1:]):
                    span = (row.start + start, row.start + stop)
                    answer = text[slice(*span)].strip()
                    if answer and value > best.get(answer, (0.0,))[0]:
                        best[answer] = (value, span)
            scores = {answer: value for answer, (value, _) in best.items()}
            spans.append({answer: span for answer, (_, span) in best.items()})
            passages.append(
                PassageReading(text, 1 - silent, places[:, 0], places[:, 1], scores, None)
            )
        answer, votes = vote([passage.candidates for passage in passages])
        placed = tuple(
            passage._replace(span=own.get(answer))
            for passage, own in zip(passages, spans, strict=True)
        )
        return Reading(answer, votes.get(answer, 0.0), votes, placed)

    def _candidates(self, places: np.ndarray) -> list[tuple[float, int, int]]:
        """The likeliest spans of a window: score, start, end excluded."""
        start, end = places[:, 0], places[:, 1]
        found = []
        for i in np.argsort(-start, kind="stable")[:_CANDIDATES]:
            near = end[i : i + self.max_len]
            for j in np.argsort(-near, kind="stable")[:_CANDIDATES]:
                found.append((float(start[i] * near[j]), int(i), int(i + j + 1)))
        return sorted(found, reverse=True)[:_CANDIDATES]
