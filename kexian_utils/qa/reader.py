r"""A convolutional reader (阅读理解): the answer to a factoid question from several noisy passages.

reader = DGCNNReader()
reader.fit([("法国的首都是哪里？", "巴黎", ["巴黎是法国的首都。", "德国的首都是柏林。"]), …])
reader.answer("日本的首都是哪里？", ["东京是日本的首都。", …]).answer

Sources: https://kexue.fm/archives/5409 and https://kexue.fm/archives/6906.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import keras
import numpy as np

from kexian_utils import _checks
from kexian_utils._json import parse_json, read_json
from kexian_utils.datasets.factqa import answer_spans, label_spans
from kexian_utils.qa.decoding import extract_spans, vote
from kexian_utils.qa.features import alike, match_features
from kexian_utils.qa.network import FIRST, UNKNOWN, ReaderConfig, reader_network
from kexian_utils.qa.training import (
    QUESTION_STEP,
    LengthBuckets,
    Row,
    Training,
    filled_up,
    length_batches,
    padded,
    trace_once,
    train,
)
from kexian_utils.qa.vectors import character_vectors

__all__ = [
    "DGCNNReader",
    "PassageReading",
    "ReaderConfig",
    "Reading",
    "Training",
    "bundled_reader",
]

BundledReader = Literal["factqa", "wikipedia"]
Asked = tuple[str, Sequence[str]]
Example = tuple[str, str | Sequence[str], Sequence[str]]

_BUNDLED = {"factqa": "factqa_reader", "wikipedia": "wikipedia_reader"}
_FORM = 1  # of reader.json
_SMALLEST_BATCH = 8


def bundled_reader(name: BundledReader = "factqa") -> Path:
    """The folder of a reader that the package carries; its README.md says what it can do.

    Args:
        name: ``"factqa"``, which was trained on generated questions about facts (FactQA), or
            ``"wikipedia"``, on passages of Wikipedia (CMRC 2018, DRCD), which `kexian answer` asks.

    Raises:
        ValueError: for another name, or if the installation lacks the reader.

    Examples:
        >>> sorted(path.name for path in bundled_reader().iterdir())
        ['README.md', 'network.keras', 'reader.json']
        >>> DGCNNReader.load(bundled_reader("wikipedia")).config.window
        128
    """
    _checks.choice("name", name, get_args(BundledReader))
    folder = Path(__file__).parent.parent / "data" / _BUNDLED[name]
    if not (folder / "network.keras").is_file():
        raise ValueError(f"{folder} must hold network.keras, which is missing: install again")
    return folder


class PassageReading(NamedTuple):
    """What one passage says.

    Attributes:
        text: the passage, of n characters.
        answerable: the global score.
        p_start, p_end: probabilities of start and end, shape (n,), the global score included.
        candidates: strings that the passage votes for, with their scores.
        span: place of the winning answer here, end excluded; None if the passage does not
            propose it.

    Examples:
        >>> reader = DGCNNReader.load(bundled_reader())
        >>> reading = reader.answer("日本的首都是哪里？", ["东京是日本的首都。"])
        >>> passage = reading.passages[0]
        >>> passage.text[passage.p_start.argmax()], passage.text[passage.p_end.argmax()]
        ('东', '京')
    """

    text: str
    answerable: float
    p_start: np.ndarray
    p_end: np.ndarray
    candidates: dict[str, float]
    span: tuple[int, int] | None


class Reading(NamedTuple):
    """What all passages of a question say together.

    Attributes:
        answer: the winner; empty if no passage proposes anything.
        score: its result in the vote, 0 without an answer.
        votes: results of all candidates, best first.
        passages: in the order in which they were given.

    Examples:
        >>> reader = DGCNNReader.load(bundled_reader())
        >>> passages = ["东京是日本的首都。", "日本的首都东京很大。", "巴黎是法国的首都。"]
        >>> reading = reader.answer("日本的首都是哪里？", passages)
        >>> reading.answer, [passage.span for passage in reading.passages]
        ('东京', [(0, 2), (5, 7), None])
    """

    answer: str
    score: float
    votes: dict[str, float]
    passages: tuple[PassageReading, ...]


class DGCNNReader:
    """A reader that can be trained, asked, saved and loaded.

    Width and case of characters make no difference to it. Its memory grows with the longest
    passage; cut long documents by :func:`kexian_utils.datasets.comprehension.sliding_windows`.

    Args:
        config: what it is made of; default :class:`ReaderConfig`.
        seed: of weights, dropout and the order of training.
        read_as: characters that are read as others, such as traditional ones as simplified.
            Answers keep the characters of the passage.

    Attributes:
        network: the Keras model, None before :meth:`fit`
            (:func:`kexian_utils.qa.network.reader_network` says what goes in and out).
        characters: its vocabulary without padding and the unknown character, as one string.
        further: characters that it has fixed vectors of and did not meet in training.

    Examples:
        >>> reader = DGCNNReader.load(bundled_reader())
        >>> passages = ["东京是日本的首都。", "日本的首都东京很大。", "巴黎是法国的首都。"]
        >>> reader.answer("日本的首都是哪里？", passages).answer
        '东京'
    """

    def __init__(
        self,
        config: ReaderConfig | None = None,
        seed: int = 0,
        read_as: Mapping[str, str] | None = None,
    ) -> None:
        self.config = config or ReaderConfig()
        self.seed = _checks.seed(seed)
        self.read_as = dict(read_as or {})
        if any(len(one) != 1 or len(other) != 1 for one, other in self.read_as.items()):
            raise ValueError("read_as must map single characters to single characters")
        self._same = str.maketrans(self.read_as)
        self.network: keras.Model | None = None
        self.characters = self.further = ""

    # -- training

    def fit(
        self,
        examples: Sequence[Example],
        training: Training | None = None,
        folder: str | os.PathLike | None = None,
        save_every: float = 30.0,
        report: Callable[[dict[str, Any]], None] | None = None,
    ) -> list[float]:
        """Train anew on questions, their answers and passages.

        Args:
            examples: (question, answer, passages) each; the answer is a string or several, and
                is looked for in the passages literally. Passages without it teach the reader to
                keep silent.
            training: how.
            folder, save_every, report: as in :func:`kexian_utils.qa.training.train`.

        Returns:
            The mean loss of each epoch.

        Raises:
            TypeError: if an example is not of this form.
            ValueError: if there is no example, no passage, or no answer in any passage; if the
                folder holds another run.
        """
        read = [
            (self._form(question), list(map(self._form, answers)), list(map(self._form, texts)))
            for question, answers, texts in starmap(_checked_example, enumerate(examples))
        ]
        if not any(passages for _, _, passages in read):
            raise ValueError("examples must hold at least one passage, got none")
        labels = [label_spans(text, answers) for _, answers, texts in read for text in texts]
        if not any(values.any() for values in labels):
            raise ValueError("examples must have an answer in a passage, none of them has")
        self.network = None  # it does not go with the vocabulary that follows
        counts = Counter(c for question, _, texts in read for c in "".join([question, *texts]))
        least = self.config.minimum_count
        self.characters = "".join(sorted(c for c, n in counts.items() if n >= least))
        vectors = self._vectors()
        self.__dict__.pop("_numbers", None)
        rows = self.rows([(question, texts) for question, _, texts in read])
        training = training or Training()
        data = LengthBuckets(rows, labels, training.batch_size, self.seed)
        network = reader_network(self.config, FIRST + len(self.characters), self.seed, vectors)
        about = {"reader": asdict(self.config)}
        losses = train(network, data, training, about, folder, save_every, report)
        self.network = network
        return losses

    # -- asking

    def answer(self, question: str, passages: Sequence[str]) -> Reading:
        """Answer one question; see :meth:`answer_many`."""
        return self.answer_many([(question, passages)])[0]

    def answer_many(self, questions: Sequence[Asked], batch_size: int = 256) -> list[Reading]:
        """Answer questions, all passages of all of them in common batches.

        Args:
            questions: (question, passages) each. No passages, or empty ones, are allowed.
            batch_size: passages that go through the network at once.

        Raises:
            RuntimeError: before the reader has been trained or loaded.
            TypeError: if a question or passage is no string.
            ValueError: if a question is empty.
        """
        _checks.whole("batch_size", batch_size, 1)
        questions = list(questions)
        outputs = iter(self._outputs(self.rows(questions), batch_size))
        readings = []
        for _, texts in questions:
            readings.append(self._reading([(text, *next(outputs)) for text in texts]))
        return readings

    def rows(self, questions: Sequence[Asked]) -> list[Row]:
        """What the network reads of each passage of each question, in their order.

        :func:`kexian_utils.qa.training.padded` makes the network's inputs of rows.

        Args:
            questions: (question, passages) each.

        Raises:
            TypeError: if a question or passage is no string.
            ValueError: if a question is empty.
        """
        rows = []
        for number, item in enumerate(questions):
            question, texts = _checked_question(number, item)
            question, texts = self._form(question), [self._form(text) for text in texts]
            asked = self._ids(question)
            for passage, features in zip(texts, match_features(question, texts), strict=True):
                rows.append(Row(asked, self._ids(passage), features))
        return rows

    def _outputs(self, rows: Sequence[Row], batch_size: int) -> list[tuple[np.ndarray, float]]:
        if self.network is None:
            raise RuntimeError("the reader has not been trained: call fit, or DGCNNReader.load")
        trace_once(self.network)
        outputs: list[Any] = [None] * len(rows)
        batches = length_batches([len(row.passage) for row in rows], batch_size)
        several = Counter(length for length, _ in batches)
        for length, numbers in batches:
            chosen = [rows[number] for number in numbers]
            width = filled_up(max(len(row.question) for row in chosen), QUESTION_STEP)
            # Few sizes, since each is compiled: full ones, or powers of two where there is one.
            size = max(_SMALLEST_BATCH, 1 << (len(chosen) - 1).bit_length())
            size = batch_size if several[length] > 1 else min(size, batch_size)
            found = self.network.predict_on_batch(padded(chosen, length, width, size))
            for place, number in enumerate(numbers):
                n = len(rows[number].passage)
                outputs[number] = found["places"][place, :n], float(found["answerable"][place, 0])
        return outputs

    def _reading(self, read: Sequence[tuple[str, np.ndarray, float]]) -> Reading:
        config = self.config
        candidates = [
            extract_spans(
                places[:, 0], places[:, 1], text, config.max_len, config.threshold, config.score
            )
            for text, places, _ in read
        ]
        answer, votes = vote(candidates, config.vote)
        passages = tuple(
            PassageReading(
                text,
                answerable,
                places[:, 0],
                places[:, 1],
                own,
                _place(answer, text, places) if answer in own else None,
            )
            for (text, places, answerable), own in zip(read, candidates, strict=True)
        )
        return Reading(answer, votes.get(answer, 0.0), votes, passages)

    def _vectors(self) -> np.ndarray | None:
        """Fixed vectors of padding, the unknown, known and all further characters."""
        self.further = ""
        width = self.config.pretrained
        if not width:
            return None
        names, table = character_vectors(width)
        row = dict(zip(names, table, strict=True))
        self.further = "".join(name for name in names if name not in set(self.characters))
        nothing = np.zeros(width, np.float32)
        own = [row.get(name, nothing) for name in self.characters + self.further]
        return np.stack([nothing] * FIRST + own)

    def _form(self, text: str) -> str:
        """The text as it is read: in one width and case, some characters as others."""
        return alike(text).translate(self._same)

    def _ids(self, text: str) -> np.ndarray:
        return np.array([self._numbers.get(c, UNKNOWN) for c in text], np.int32)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        every = self.characters + self.further
        return {character: number for number, character in enumerate(every, FIRST)}

    # -- keeping

    def save(self, folder: str | os.PathLike) -> Path:
        """Write ``network.keras`` and ``reader.json`` into a folder, in place of a reader there.

        A README.md may be there and stays.

        Raises:
            RuntimeError: before the reader has been trained.
            ValueError: if the folder holds other things.
        """
        if self.network is None:
            raise RuntimeError("the reader has not been trained: there is nothing to save")
        folder = Path(folder)
        own = {"network.keras", "reader.json"}
        if folder.exists() and (
            not folder.is_dir() or {path.name for path in folder.iterdir()} - own - {"README.md"}
        ):
            raise ValueError(f"{folder} must be empty or hold a reader, it holds other things")
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "form": _FORM,
            "config": asdict(self.config),
            "seed": self.seed,
            "characters": self.characters,
            "further": self.further,
            "read_as": "".join(one + other for one, other in self.read_as.items()),
        }
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            self.network.save(Path(partial) / "network.keras")
            text = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
            (Path(partial) / "reader.json").write_text(text, encoding="utf-8")
            for name in sorted(own):
                shutil.move(Path(partial) / name, folder / name)
        return folder

    @classmethod
    def load(cls, folder: str | os.PathLike) -> DGCNNReader:
        """Read a folder that :meth:`save` wrote.

        Raises:
            FileNotFoundError: if it holds no reader.
            ValueError: if the files are damaged or of a newer form.
        """
        folder = Path(folder)
        path = folder / "reader.json"
        for needed in (path, folder / "network.keras"):
            if not needed.is_file():
                raise FileNotFoundError(f"{folder} holds no reader: {needed.name} is missing")
        try:
            about = read_json(path, dict)
            form = about["form"]
            if form == _FORM:
                known = {field.name for field in fields(ReaderConfig)}
                config = {name: value for name, value in about["config"].items() if name in known}
                pairs = about.get("read_as", "")
                read_as = dict(zip(pairs[::2], pairs[1::2], strict=True))
                reader = cls(ReaderConfig(**config), about["seed"], read_as)
                reader.characters, reader.further = about["characters"], about["further"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} is damaged ({error}): save the reader again") from error
        if form != _FORM:
            raise ValueError(f"{path} is of form {form!r}, this version reads {_FORM}: update it")
        reader.network = reader._network_of(folder)
        return reader

    def _network_of(self, folder: Path) -> keras.Model:
        """The network that the settings describe, with the weights of the folder.

        The code builds it and not the file's description, which only the release of Keras that
        wrote it, and later ones, can read.
        """
        path, vectors = folder / "network.keras", None
        if self.config.pretrained:
            rows = FIRST + len(self.characters + self.further)
            vectors = np.zeros((rows, self.config.pretrained), "float32")
        network = reader_network(self.config, FIRST + len(self.characters), self.seed, vectors)
        try:
            with zipfile.ZipFile(path) as file:
                size = sum(part.file_size for part in file.infolist())
                if size > 16 * network.count_params() + (16 << 20):  # weights, optimiser, the rest
                    raise ValueError(f"it would unpack to {size:,} bytes")
                broken = file.testzip()
                described = parse_json(file.read("config.json"), dict)["config"]["layers"]
        except (
            zipfile.BadZipFile,
            OSError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
        ) as error:
            raise ValueError(f"{path} is damaged ({error}): save the reader again") from error
        if broken is not None:
            raise ValueError(f"{path} is damaged ({broken}): save the reader again")
        # Weights alone would fit other dilation rates, too, or fewer blocks.
        trained = {layer.name: layer.get_config() for layer in network.layers if layer.weights}
        ours = {name: config.get("dilation_rate") for name, config in trained.items()}
        theirs = {
            layer["config"]["name"]: layer["config"].get("dilation_rate")
            for layer in described
            if "block" in layer["config"]["name"] or layer["config"]["name"] in ours
        }
        try:
            if ours != theirs:
                raise ValueError(f"layers {theirs}, expected {ours}")
            with warnings.catch_warnings():  # what Keras warns of, it also raises
                warnings.simplefilter("ignore")
                network.load_weights(path)
        except Exception as error:  # Keras raises errors of many kinds
            raise ValueError(
                f"{folder / 'reader.json'} and {path} do not belong together: save the reader again"
            ) from error
        return network


def _place(answer: str, text: str, places: np.ndarray) -> tuple[int, int]:
    spans = answer_spans(text, answer)
    return max(spans, key=lambda span: places[span[0], 0] * places[span[1] - 1, 1])


def _checked_example(number: int, example: Example) -> tuple[str, list[str], list[str]]:
    """Question, answers and passages."""
    if not isinstance(example, (tuple, list)) or len(example) != 3:
        raise TypeError(
            f"examples[{number}] must be (question, answer, passages), got {example!r:.80}"
        )
    question, answer, passages = example
    question, texts = _checked_question(number, (question, passages), "examples")
    # The vocabulary is saved behind the training: too late to find out that it cannot be.
    _checks.encodable(f"examples[{number}]", question, *texts)
    answers = [answer] if isinstance(answer, str) else list(answer)
    if not all(isinstance(a, str) and a for a in answers):
        raise TypeError(
            f"examples[{number}] must have one or more strings as answers, none empty, "
            f"got {answer!r:.80}"
        )
    return question, answers, texts


def _checked_question(number: int, item: Asked, name: str = "questions") -> tuple[str, list[str]]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"{name}[{number}] must be (question, passages), got {item!r:.80}")
    question, passages = item
    if not isinstance(question, str):
        raise TypeError(
            f"{name}[{number}] must have a string as question, got {type(question).__name__}"
        )
    if not question:
        raise ValueError(f"{name}[{number}] must have a question, got an empty string")
    if isinstance(passages, str) or not all(isinstance(text, str) for text in passages):
        raise TypeError(f"{name}[{number}] must have a list of strings as passages")
    return question, list(passages)
