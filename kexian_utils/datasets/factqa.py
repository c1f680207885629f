"""FactQA-zh: a generated benchmark of factoid questions over several noisy Chinese passages.

Tables of true facts (a relation, an entity, an answer) are put into templates. Every question
comes with five short passages (材料); one to three of them state the answer, the others are about
the same entity, mention it, or speak of something else. Entities and templates are split, which
gives four test cells: the first letter says whether the *entity* occurs in training questions (S,
seen) or not (N, new), the second says the same of the *templates*. Each cell also comes with
questions whose passages hold no answer, so that a reader can be asked when to keep silent.

The tables lie in ``kexian_utils/data/factqa`` and are described there. Version 1 is frozen.
The recipe follows the task of WebQA (P. Li et al., 2016, arXiv:1607.06275) as it is met in
article 6906. Nothing here imports Keras.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from kexian_utils import _checks
from kexian_utils._json import parse_json

__all__ = [
    "Fact",
    "FactQAPassage",
    "FactQAQuestion",
    "FactQAStatistics",
    "FactQATemplate",
    "answer_spans",
    "export_jsonl",
    "factqa_by_hand",
    "factqa_facts",
    "factqa_templates",
    "label_spans",
    "make_factqa",
    "mentions",
    "read_jsonl",
    "statistics",
]

SPLITS = ("train", "SS", "NS", "SN", "NN")
_FACTS = ("relation", "entity", "answer", "also_accepted", "group")
_TEMPLATES = ("relation", "kind", "part", "text")
_STOPS = "。，？！：；"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Fact:
    """A row of a table of facts.

    `accepted` are all strings that count as right, `answer` first; passages only ever contain
    `answer`. `group` is ``"seen"`` or ``"new"`` and belongs to the entity, whatever the relation.

    Examples:
        >>> fact = factqa_facts()[0]
        >>> fact.relation, fact.entity, fact.answer
        ('capital', '法国', '巴黎')
    """

    relation: str
    entity: str
    answer: str
    accepted: tuple[str, ...]
    group: str


@dataclass(frozen=True)
class FactQATemplate:
    """A sentence with the places ``{entity}`` and ``{answer}`` written as ``{e}`` and ``{a}``.

    `kind` is ``"question"``, ``"passage"``, ``"mention"`` or ``"filler"``, `part` is ``"train"`` or
    ``"test"``; `relation` is ``"*"`` for mentions and fillers.

    Examples:
        >>> template = FactQATemplate("首都", "passage", "train", "{e}的首都是{a}。")
        >>> template.fill("日本", "东京")
        '日本的首都是东京。'
    """

    relation: str
    kind: str
    part: str
    text: str

    def fill(self, entity: str = "", answer: str = "") -> str:
        """The sentence."""
        return self.text.replace("{e}", entity).replace("{a}", answer)


@dataclass(frozen=True)
class FactQAPassage:
    """A passage and what it is.

    `kind` is ``"fact"`` (states the answer), ``"other-relation"`` (another fact about the entity),
    ``"mention"`` (names the entity and says nothing) or ``"others"`` (other entities only).

    Examples:
        >>> (question,) = make_factqa(questions=1)
        >>> [passage.text for passage in question.passages if passage.kind == "fact"][:2]
        ['铯元素（原子序数55）', '原子序数33的元素是砷元素。原子序数55的元素是铯元素。']
    """

    text: str
    answerable: bool
    kind: str = ""


@dataclass(frozen=True)
class FactQAQuestion:
    """A question with its passages; `accepted` begins with `answer`.

    Examples:
        >>> (question,) = make_factqa(questions=1)
        >>> question.question, question.answer, len(question.passages)
        ('铯元素的原子序数是多少？', '55', 5)
    """

    id: str
    relation: str
    entity: str
    question: str
    answer: str
    accepted: tuple[str, ...]
    passages: tuple[FactQAPassage, ...]


class FactQAStatistics(NamedTuple):
    """What :func:`statistics` measures; lengths are in characters.

    Examples:
        >>> found = statistics(make_factqa(questions=200))
        >>> found.questions, found.passages, round(found.answerable_share, 2)
        (200, 1000, 0.37)
    """

    questions: int
    passages: int
    entities: int
    relations: dict[str, int]
    answerable_share: float
    start_rate: float
    mean_length: float
    max_length: int


class _Recipe(NamedTuple):
    """How passages are drawn; shares of the numbers 0, 1, 2, ... (positives: 1, 2, ...)."""

    passages: int
    max_length: int
    positives: tuple[float, ...]
    fillers: tuple[float, ...]
    distractors: tuple[float, ...]
    same_relation: float
    rivals: int  # entities that distractors return to within a question
    rival_share: float


_RECIPES = {
    1: _Recipe(5, 48, (0.4, 0.4, 0.2), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), 0.7, 0, 0.0),
    2: _Recipe(5, 48, (0.4, 0.4, 0.2), (0.5, 0.5), (0.1, 0.3, 0.4, 0.2), 0.9, 2, 0.25),
}


# Tables


def _rows(name: str, columns: tuple[str, ...]) -> list[list[str]]:
    path = resources.files("kexian_utils").joinpath("data", "factqa", name)
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    if tuple(rows[0]) != columns or any(len(row) != len(columns) for row in rows):
        raise ValueError(f"{name} must have the columns {', '.join(columns)}")
    return rows[1:]


@cache
def factqa_facts(version: int = 1) -> tuple[Fact, ...]:
    """The table of facts of a version.

    Raises:
        ValueError: for a version other than 1 and 2.

    Examples:
        >>> len(factqa_facts(1)), len(factqa_facts(2))
        (371, 1037)
        >>> next(fact.answer for fact in factqa_facts() if fact.entity == "日本")
        '东京'
    """
    _check_version(version)
    facts = []
    for relation, entity, answer, others, group in _rows(f"v{version}-facts.tsv", _FACTS):
        accepted = (answer, *filter(None, others.split("|")))
        facts.append(Fact(relation, entity, answer, accepted, group))
    return tuple(facts)


@cache
def factqa_templates(version: int = 1) -> tuple[FactQATemplate, ...]:
    """The templates of a version.

    Raises:
        ValueError: for a version other than 1 and 2.

    Examples:
        >>> first = factqa_templates()[0]
        >>> first.kind, first.fill("日本", "东京")
        ('question', '日本的首都是哪里？')
    """
    _check_version(version)
    return tuple(FactQATemplate(*row) for row in _rows(f"v{version}-templates.tsv", _TEMPLATES))


def factqa_by_hand() -> list[FactQAQuestion]:
    """Twelve questions of version 1's kinds whose passages were written by a person.

    Each has three passages, the first of which holds the answer, in sentences that come from no
    template. Far too few for a score; enough to see that templates do not teach a language.

    Examples:
        >>> question = factqa_by_hand()[0]
        >>> question.question, [passage.answerable for passage in question.passages]
        ('法国的首都是哪里？', [True, False, False])
    """
    return read_jsonl(Path(str(resources.files("kexian_utils"))) / "data/factqa/by-hand.jsonl")


# Drawing


class _Draw:
    """Choices made from uniform numbers alone.

    NumPy promises the same stream of a bit generator for ever, but not the same `choice` or
    `shuffle`; a benchmark that is frozen must not hang on them.
    """

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def index(self, size: int) -> int:
        return int(self._rng.random() * size)

    def one(self, items: Sequence[_Item]) -> _Item:
        return items[self.index(len(items))]

    def chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def number(self, shares: Sequence[float]) -> int:
        place = self._rng.random() * sum(shares)
        for value, share in enumerate(shares):
            place -= share
            if place < 0:
                return value
        return len(shares) - 1

    def several(self, items: Iterable[_Item], count: int) -> list[_Item]:
        """`count` different items in random order, or all if there are fewer."""
        pool = list(items)
        return [pool.pop(self.index(len(pool))) for _ in range(min(count, len(pool)))]


class _Maker:
    """Draws the questions of one cell."""

    def __init__(self, version: int, split: str, draw: _Draw, answerable: bool):
        self.recipe, self.draw, self.answerable = _RECIPES[version], draw, answerable
        group = "new" if split.startswith("N") else "seen"
        part = "test" if split in ("SN", "NN") else "train"
        self.by_relation: dict[str, list[Fact]] = defaultdict(list)
        self.by_entity: dict[str, list[Fact]] = defaultdict(list)
        for fact in factqa_facts(version):
            if fact.group == group:
                self.by_relation[fact.relation].append(fact)
                self.by_entity[fact.entity].append(fact)
        self.templates: dict[tuple[str, str], list[FactQATemplate]] = defaultdict(list)
        for template in factqa_templates(version):
            if template.part == part:
                self.templates[template.relation, template.kind].append(template)
        self.relations = list(self.by_relation)

    def question(self, name: str) -> FactQAQuestion:
        fact = self.draw.one(self.by_relation[self.draw.one(self.relations)])
        template = self.draw.one(self.templates[fact.relation, "question"])
        positives = 1 + self.draw.number(self.recipe.positives) if self.answerable else 0
        self.rivals = self.draw.several(
            (f for f in self.by_relation[fact.relation] if f.answer != fact.answer),
            self.recipe.rivals,
        )
        heads = [
            ("fact", head.fill(fact.entity, fact.answer))
            for head in self.draw.several(self.templates[fact.relation, "passage"], positives)
        ]
        texts: dict[str, str] = {}
        while len(texts) < self.recipe.passages:
            kind, head = heads[len(texts)] if len(texts) < len(heads) else self._negative(fact)
            texts.setdefault(self._passage(fact, head), kind)
        passages = [FactQAPassage(text, kind == "fact", kind) for text, kind in texts.items()]
        return FactQAQuestion(
            name,
            fact.relation,
            fact.entity,
            template.fill(fact.entity),
            fact.answer,
            fact.accepted,
            tuple(self.draw.several(passages, len(passages))),
        )

    def _negative(self, fact: Fact) -> tuple[str, str]:
        """Kind and first sentence of a passage without the answer; "" is for a distractor."""
        others = [
            other
            for other in self.by_entity[fact.entity]
            if other.relation != fact.relation and not _any_in(fact.accepted, other.answer)
        ]
        kinds = ["mention", "others"] + ["other-relation"] * bool(others)
        kind = self.draw.one(kinds)
        if kind == "others":
            return kind, ""
        if kind == "mention":
            return kind, self.draw.one(self.templates["*", "mention"]).fill(fact.entity)
        return kind, self._sentence(self.draw.one(others))

    def _sentence(self, fact: Fact) -> str:
        template = self.draw.one(self.templates[fact.relation, "passage"])
        return template.fill(fact.entity, fact.answer)

    def _distractor(self, fact: Fact, taken: set[Fact]) -> str:
        """Another fact, not among `taken`, without the question's entity and its answer."""
        while True:
            same = len(self.relations) == 1 or self.draw.chance(self.recipe.same_relation)
            if same and self.rivals and self.draw.chance(self.recipe.rival_share):
                other = self.draw.one(self.rivals)
            else:
                relations = [r for r in self.relations if (r == fact.relation) == same]
                other = self.draw.one(self.by_relation[self.draw.one(relations)])
            sentence = self._sentence(other)
            if other not in taken and not _any_in((fact.entity, *fact.accepted), sentence):
                taken.add(other)
                return sentence

    def _passage(self, fact: Fact, head: str) -> str:
        """The sentence `head` among fillers and distractors, as many as fit, in random order."""
        taken: set[Fact] = set()
        sentences = [head or self._distractor(fact, taken)]
        extras = [
            self.draw.one(self.templates["*", "filler"]).fill()
            for _ in range(self.draw.number(self.recipe.fillers))
        ]
        distractors = self.draw.number(self.recipe.distractors)
        extras += [self._distractor(fact, taken) for _ in range(distractors)]
        for extra in extras:
            # One more for the comma that an open sentence may need.
            if sum(map(len, sentences)) + len(extra) + len(sentences) <= self.recipe.max_length:
                sentences.append(extra)
        return _join(self.draw.several(sentences, len(sentences)))


def _any_in(names: Iterable[str], text: str) -> bool:
    return any(name in text for name in names)


def _join(sentences: Sequence[str]) -> str:
    """A comma after a sentence without a stop, lest numbers of two sentences run together."""
    closed = [s if s[-1] in _STOPS else f"{s}，" for s in sentences[:-1]]
    return "".join([*closed, sentences[-1]])


def make_factqa(
    version: int = 1,
    questions: int = 1000,
    seed: int = 0,
    split: str = "train",
    answerable: bool = True,
) -> list[FactQAQuestion]:
    """Questions of the benchmark; the same ones for the same arguments on every machine.

    Each is drawn independently: a relation, all being equally likely, and one of its facts. Fewer
    questions of a seed and split are the first ones of more. Which entities and templates a split
    uses does not depend on the seed, so training and test questions of any two seeds go together;
    a test score means 1,000 questions of seed 0 of a cell.

    In no passage without the answer does any accepted form of it occur, not even inside a longer
    name, and passages that state it contain it in that one sentence only. The question's entity
    occurs in no sentence about another: a question about 印度 has no passage about 印度河.

    Args:
        version: 1 (frozen: 371 facts, 9 relations) or 2 (1,037 facts, 16 relations).
        questions: their number, at least 1.
        seed: of this draw, at least 0.
        split: ``"train"``, or the test cell: ``"SS"``, ``"NS"`` (new entities), ``"SN"`` (new
            templates) or ``"NN"`` (both new).
        answerable: False for questions none of whose passages states the answer; all five are
            then like those that do not state it elsewhere. `answer` still says what is true.

    Returns:
        The questions, each with five different passages of at most 48 characters.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> (question,) = make_factqa(questions=1, split="NN")
        >>> question.question, question.answer
        ('哪座城市是韩国的首都？', '首尔')
        >>> [passage.text for passage in question.passages if passage.answerable]
        ['如果发现有错误请及时指出。锑元素用Sb来表示。首尔一直是韩国首都，']
        >>> (question,) = make_factqa(questions=1, split="NN", answerable=False)
        >>> [passage.answerable for passage in question.passages]
        [False, False, False, False, False]
    """
    _check_version(version)
    _checks.whole("questions", questions, 1)
    _checks.whole("seed", seed, 0)
    if not isinstance(split, str) or split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not isinstance(answerable, bool):
        raise ValueError(f"answerable must be True or False, got {answerable!r}")
    entropy = [version, int(seed), SPLITS.index(split)] + [1] * (not answerable)
    rng = np.random.Generator(np.random.PCG64(entropy))
    maker = _Maker(version, split, _Draw(rng), answerable)
    prefix = f"factqa-v{version}-{split}-{seed}" + "-none" * (not answerable)
    return [maker.question(f"{prefix}-{number:05d}") for number in range(questions)]


def _check_version(version: int) -> None:
    if isinstance(version, bool) or version not in (1, 2):
        raise ValueError(f"version must be 1 or 2, got {version!r}")


# Looking at questions


def mentions(text: str, name: str, names: Iterable[str]) -> bool:
    """Whether a text speaks of a name, and not only of a longer one that contains it.

    ``mentions("印度河流入阿拉伯海。", "印度", ["印度", "印度河"])`` is false: each place counts for
    the longest of `names` that covers it.

    Args:
        text: any string.
        name: the name that is looked for.
        names: all names that are known; whether `name` is among them does not matter.

    Raises:
        ValueError: if `name` is empty.

    Examples:
        >>> mentions("印度河流入阿拉伯海。", "印度", ["印度", "印度河"])
        False
        >>> mentions("印度有印度河。", "印度", ["印度", "印度河"])
        True
    """
    if not name:
        raise ValueError("name must not be empty")
    covers = [
        span
        for other in names
        if name in other and other != name
        for span in answer_spans(text, other)
    ]
    return any(
        not any(begin <= start and end <= stop for begin, stop in covers)
        for start, end in answer_spans(text, name)
    )


def answer_spans(text: str, answer: str) -> list[tuple[int, int]]:
    """(start, end) of every place where an answer occurs in a text, the end excluded.

    These are the labels of distant supervision: every literal occurrence counts, overlapping ones
    too (article 6906).

    Raises:
        ValueError: if `answer` is empty.

    Examples:
        >>> answer_spans("北京，北京！", "北京")
        [(0, 2), (3, 5)]
    """
    if not answer:
        raise ValueError("answer must not be empty")
    starts = range(len(text) - len(answer) + 1)
    return [(i, i + len(answer)) for i in starts if text.startswith(answer, i)]


def label_spans(text: str, answers: Sequence[str]) -> np.ndarray:
    """Labels by distant supervision (远程监督): every literal occurrence of an answer is one.

    Args:
        text: of `n` characters.
        answers: strings, none of them empty.

    Returns:
        Shape ``(n, 2)``, float32: 1 where an answer starts, and where one ends.

    Examples:
        >>> label_spans("在北京。", ["北京"]).tolist()  # 北 starts the answer, 京 ends it
        [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    labels = np.zeros((len(text), 2), np.float32)
    for answer in answers:
        for start, end in answer_spans(text, answer):
            labels[start, 0] = labels[end - 1, 1] = 1
    return labels


def statistics(questions: Sequence[FactQAQuestion]) -> FactQAStatistics:
    """Sizes and base rates of a set of questions.

    `start_rate` is the share of characters, of all passages together, at which an answer starts;
    `answerable_share` the share of passages that are marked as answerable.

    Raises:
        ValueError: if there is no passage with a character.

    Examples:
        >>> found = statistics(make_factqa(questions=200))
        >>> round(found.answerable_share, 2), found.max_length
        (0.37, 47)
    """
    pairs = [(question, passage) for question in questions for passage in question.passages]
    lengths = [len(passage.text) for _, passage in pairs]
    if not sum(lengths):
        raise ValueError(f"questions must have passages with text, got {len(questions)} questions")
    starts = sum(
        len(answer_spans(passage.text, question.answer))
        for question, passage in pairs
        if passage.answerable
    )
    return FactQAStatistics(
        questions=len(questions),
        passages=len(pairs),
        entities=len({question.entity for question in questions}),
        relations=dict(Counter(question.relation for question in questions)),
        answerable_share=sum(passage.answerable for _, passage in pairs) / len(pairs),
        start_rate=starts / sum(lengths),
        mean_length=sum(lengths) / len(lengths),
        max_length=max(lengths),
    )


# Files


def export_jsonl(path: str | os.PathLike, questions: Iterable[FactQAQuestion]) -> None:
    """Write questions as JSON lines in UTF-8, fields as in :class:`FactQAQuestion`.

    Examples:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_jsonl(f"{folder}/train.jsonl", make_factqa(questions=2))
        ...     lines = Path(folder, "train.jsonl").read_text(encoding="utf-8").splitlines()
        >>> [json.loads(line)["id"] for line in lines]
        ['factqa-v1-train-0-00000', 'factqa-v1-train-0-00001']
    """
    lines = (json.dumps(asdict(q), ensure_ascii=False, separators=(",", ":")) for q in questions)
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def read_jsonl(path: str | os.PathLike) -> list[FactQAQuestion]:
    """Read what :func:`export_jsonl` writes; blank lines are skipped, unknown fields ignored.

    Raises:
        ValueError: for a line that is no such object, an answer that is missing from `accepted` or
            from an answerable passage, or an id that occurred before; the message begins with the
            file's name and the line's number.

    Examples:
        >>> import tempfile
        >>> questions = make_factqa(questions=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_jsonl(f"{folder}/train.jsonl", questions)
        ...     read_jsonl(f"{folder}/train.jsonl") == questions
        True
    """
    questions: list[FactQAQuestion] = []
    lines: dict[str, int] = {}
    # Not `splitlines`, which also cuts at characters that a JSON string may hold.
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            question = _question(parse_json(line))
            if question.id in lines:
                raise ValueError(f"id {question.id!r} occurred on line {lines[question.id]}")
        except ValueError as error:
            raise ValueError(f"{Path(path).name}, line {number}: {error}") from None
        lines[question.id] = number
        questions.append(question)
    return questions


def _question(value: object) -> FactQAQuestion:
    names = ("id", "relation", "entity", "question", "answer")
    key, relation, entity, question, answer = (_field(value, name, str) for name in names)
    accepted = _field(value, "accepted", list)
    if not answer or not all(isinstance(a, str) and a for a in accepted) or answer not in accepted:
        raise ValueError(f"accepted must be a list of strings with the answer, got {accepted!r}")
    passages = tuple(_passage(item) for item in _field(value, "passages", list))
    for passage in passages:
        if passage.answerable and not _any_in(accepted, passage.text):
            raise ValueError(f"an answerable passage must contain the answer, got {passage.text!r}")
    return FactQAQuestion(key, relation, entity, question, answer, tuple(accepted), passages)


def _passage(value: object) -> FactQAPassage:
    kind = _field(value, "kind", str) if isinstance(value, dict) and "kind" in value else ""
    return FactQAPassage(_field(value, "text", str), _field(value, "answerable", bool), kind)


def _field(value: object, name: str, kind: type[_Item]) -> _Item:
    if not isinstance(value, dict):
        raise ValueError(f"an object is expected, got {type(value).__name__}")
    if name not in value:
        raise ValueError(f"{name} is missing")
    if not isinstance(value[name], kind):
        found = type(value[name]).__name__
        raise ValueError(f"{name} must be of type {kind.__name__}, got {found}")
    return value[name]
