r"""Baselines (基线) for questions over passages: what a reader must beat to show that it reads.

All of them take a question and its passages and give one string, empty if they find nothing, so
that one loop makes a table::

    systems = {
        "best clause": best_clause,
        "most repeated string": most_repeated,
        "type list": TypeList(version=1).answer,  # an oracle
        "linear tagger": LinearTagger().fit(training_questions).answer,
    }
    for name, answer in systems.items():
        predictions = {q.id: answer(q.question, [p.text for p in q.passages]) for q in questions}
        print(name, qa_scores(predictions, {q.id: (q.answer, q.accepted) for q in questions}).final)

NumPy and scikit-learn; nothing here imports Keras. The task is that of article 6906,
https://kexue.fm/archives/6906, the questions are those of :mod:`kexian_utils.datasets.factqa`.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from kexian_utils import _checks
from kexian_utils.datasets.factqa import (
    FactQAQuestion,
    factqa_facts,
    factqa_templates,
    label_spans,
    mentions,
)
from kexian_utils.qa.decoding import extract_spans, vote
from kexian_utils.qa.features import FEATURES, check_texts, match_features
from kexian_utils.qa.scores import qa_scores

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["LinearTagger", "TypeList", "best_clause", "most_repeated"]

Choice = Literal["frequent", "random"]
_WORD = re.compile(r"\w")
# Marks that end a clause; quotation marks, brackets and 《》 may stand inside one. A point, comma
# or colon between digits belongs to a number.
_CLAUSE_END = re.compile(r"[。，？！：；、…,.?!:;\n](?!(?<=\d[.,:])\d)")


# Rules


def best_clause(question: str, passages: Sequence[str]) -> str:
    """The longest new run of characters in the clause that is most like the question.

    Passages are cut into clauses (分句) at stops, commas and the like, Chinese or ASCII. The clause
    that shares most different bigrams with the question wins; the answer is its longest run of
    letters and digits none of which occurs in the question. Clauses without such a run are left
    out. Ties: the first clause, the first run.

    Args:
        question: at least one character.
        passages: any number of strings.

    Raises:
        TypeError: if `question` or a passage is no string, or `passages` is a single string.
        ValueError: if `question` is empty.

    Examples:
        >>> best_clause("日本的首都是哪里？", ["法国很大。日本的首都是东京，人很多。"])
        '东京'
    """
    check_texts(question, passages)
    asked = _bigrams(question)
    most, answer = -1, ""
    for passage in passages:
        for clause in _CLAUSE_END.split(passage):
            common = len(asked & _bigrams(clause))
            if common > most and (run := max(_new_runs(clause, question), key=len, default="")):
                most, answer = common, run
    return answer


def most_repeated(
    question: str, passages: Sequence[str], max_len: int = 12, min_len: int = 2
) -> str:
    """The string that the most passages contain and that shares no character with the question.

    Only letters and digits count. Ties: the longest string, then the one that occurs first.

    Args:
        question: at least one character.
        passages: any number of strings.
        max_len: longest string in characters.
        min_len: shortest one, at least 1. With 1, single characters such as 一 win most often.

    Raises:
        TypeError: if `question` or a passage is no string, or `passages` is a single string.
        ValueError: if `question` is empty, or the lengths are not integers with
            ``1 <= min_len <= max_len``.

    Examples:
        >>> most_repeated("日本的首都是哪里？", ["东京人很多。", "首都东京！", "巴黎很美。"])
        '东京'
    """
    check_texts(question, passages)
    _checks.whole("min_len", min_len, 1)
    _checks.whole("max_len", max_len, min_len)
    counts: Counter[str] = Counter()
    for passage in passages:
        found = {
            run[i:j]: None  # a dictionary keeps the order of places
            for run in _new_runs(passage, question)
            for i in range(len(run))
            for j in range(i + min_len, min(i + max_len, len(run)) + 1)
        }
        counts.update(found.keys())
    return max(counts, key=lambda string: (counts[string], len(string)), default="")


def _bigrams(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(len(text) - 1)}


def _new_runs(text: str, question: str) -> Iterator[str]:
    kept = (c if _WORD.match(c) and c not in question else " " for c in text)
    return iter("".join(kept).split())


# Oracle


class TypeList:
    """Oracle that knows the answers of each relation and picks one that the passages contain.

    It sees which relation a question is about, as it has all of FactQA-zh's templates and
    entities, and knows the answers to *all* questions of that relation, those about new entities
    included. What it does not do is read: the entity plays no part. A system that scores no higher
    may have learnt only what kind of string is asked for.

    An answer inside a longer name, such as 17 in 1707, does not count. (That misses one question
    of version 1 in a thousand or fewer: 首都柏林, capital Berlin, has 都柏林, Dublin, in it.)

    Args:
        version: of the benchmark, 1 or 2.
        choice: ``"frequent"`` takes the answer that the most passages contain, of several the one
            that occurs first; ``"random"`` any of them, each as likely as the other.
        seed: of the random choice, at least 0. What is drawn depends on the question and its
            passages, not on the questions asked before.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> oracle = TypeList()
        >>> passages = ["巴黎是法国的首都。", "东京在日本。", "巴黎很美。"]
        >>> oracle.relation("日本的首都是哪里？"), oracle.answer("日本的首都是哪里？", passages)
        ('capital', '巴黎')
    """

    def __init__(self, version: int = 1, choice: Choice = "frequent", seed: int = 0):
        if choice not in get_args(Choice):
            raise ValueError(f"choice must be one of {', '.join(get_args(Choice))}, got {choice!r}")
        _checks.whole("seed", seed, 0)
        facts = factqa_facts(version)
        self.version, self.choice, self.seed = version, choice, int(seed)
        self.answers = {
            relation: tuple(dict.fromkeys(f.answer for f in facts if f.relation == relation))
            for relation in dict.fromkeys(f.relation for f in facts)
        }
        self._relation = {
            template.fill(fact.entity): fact.relation
            for template in factqa_templates(version)
            if template.kind == "question"
            for fact in facts
            if fact.relation == template.relation
        }
        names = {name for f in facts for name in (f.entity, f.answer)}
        self._longer = {
            answer: [name for name in names if answer in name and answer != name]
            for answers in self.answers.values()
            for answer in answers
        }

    def relation(self, question: str) -> str:
        """The relation that a question is about.

        Raises:
            ValueError: if this is no question of this version.
        """
        if question not in self._relation:
            raise ValueError(
                f"question must be one of FactQA-zh, version {self.version}, got {question!r}"
            )
        return self._relation[question]

    def candidates(self, question: str, passages: Sequence[str]) -> dict[str, int]:
        """Answers to questions of this kind and how many passages hold each, as they occur.

        Raises:
            TypeError: if `question` or a passage is no string, or `passages` is a single string.
            ValueError: if this is no question of this version.
        """
        check_texts(question, passages)
        answers = self.answers[self.relation(question)]
        counts: Counter[str] = Counter()
        for passage in passages:
            here = [a for a in answers if a in passage and mentions(passage, a, self._longer[a])]
            counts.update(sorted(here, key=passage.index))
        return dict(counts)

    def answer(self, question: str, passages: Sequence[str]) -> str:
        """The answer; empty if no passage holds an answer to a question of this kind.

        Raises:
            TypeError: if `question` or a passage is no string, or `passages` is a single string.
            ValueError: if this is no question of this version.
        """
        counts = self.candidates(question, passages)
        if not counts:
            return ""
        if self.choice == "frequent":
            return max(counts, key=counts.__getitem__)
        told = "\n".join([question, *passages]).encode("utf-8", "surrogatepass")
        number = np.random.Generator(np.random.PCG64([self.seed, zlib.crc32(told)])).random()
        return list(counts)[int(number * len(counts))]


# Trained


class LinearTagger:
    r"""Logistic regression (逻辑回归) of start and end from the match features around a character.

    The reader without its network: the same labels, features, decoding and vote, but the
    probability that an answer starts at a character, or ends there, is a logistic function of the
    features of :func:`kexian_utils.qa.features.match_features` of the characters at most `window`
    away. It knows no characters, so it cannot learn what kind of string is asked for.

    About one label in eighty is 1, so that probabilities are low. How to deal with that is left to
    the training questions: :meth:`fit` sets every fifth of them apart, learns from the others with
    and without ``class_weight="balanced"``, decodes the fifth with each of ``THRESHOLDS``, and
    keeps what has the best final score, of several the first: unweighted, the highest threshold.
    Then it learns again from all.

    Attributes:
        balanced: whether the classes are weighted.
        threshold: that of :func:`kexian_utils.qa.decoding.extract_spans`.
        validation: final score of each (balanced, threshold) on the questions set apart.

    Args:
        window: characters on either side that are looked at, at least 0.
        max_len: longest answer in characters, at least 1.

    Raises:
        ValueError: for an argument outside its range.

    Examples:
        >>> from kexian_utils.datasets.factqa import make_factqa
        >>> tagger = LinearTagger(window=1).fit(make_factqa(questions=25))
        >>> tagger.answer("日本的首都是哪里？", ["日本的首都是东京。", "东京是日本的首都。"])
        '东京'
    """

    THRESHOLDS = (0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01)

    def __init__(self, window: int = 6, max_len: int = 12):
        _checks.whole("window", window, 0)
        _checks.whole("max_len", max_len, 1)
        self.window, self.max_len = int(window), int(max_len)
        self.balanced, self.threshold = False, 0.0
        self.validation: dict[tuple[bool, float], float] = {}
        self._models: list[LogisticRegression] = []

    def fit(self, questions: Sequence[FactQAQuestion]) -> LinearTagger:
        """Learn from questions; what was learnt before is forgotten.

        Args:
            questions: of :func:`kexian_utils.datasets.factqa.make_factqa` or its form, at least
                five. Every literal occurrence of the answer is a label.

        Returns:
            The tagger.

        Raises:
            TypeError: if an item is no :class:`kexian_utils.datasets.factqa.FactQAQuestion`.
            ValueError: if there are fewer than five, or an answer starts at no character of the
                passages learnt from, or at all of them.
        """
        for number, question in enumerate(questions):
            if not isinstance(question, FactQAQuestion):
                kind = type(question).__name__
                raise TypeError(f"questions[{number}] must be a FactQAQuestion, got {kind}")
        if len(questions) < 5:
            raise ValueError(f"questions must hold at least 5 questions, got {len(questions)}")
        apart = questions[4::5]
        others = [q for number, q in enumerate(questions) if number % 5 != 4]
        self.validation, self._models = {}, []
        for balanced in (False, True):
            self._models = self._learn(others, balanced)
            self._try_thresholds(apart, balanced)
        self.balanced, self.threshold = max(self.validation, key=self.validation.__getitem__)
        self._models = self._learn(questions, self.balanced)
        return self

    def _learn(
        self, questions: Sequence[FactQAQuestion], balanced: bool
    ) -> list[LogisticRegression]:
        from sklearn.linear_model import LogisticRegression

        columns = np.concatenate([self._columns(q.question, _texts(q)) for q in questions])
        labels = np.concatenate(
            [np.zeros((0, 2))]
            + [label_spans(text, [q.answer]) for q in questions for text in _texts(q)]
        )
        starts = int(labels[:, 0].sum())
        if not 0 < starts < len(labels):
            raise ValueError(
                "questions must have passages with characters at which the answer starts and "
                f"others, got {starts} of {len(labels)} in those learnt from"
            )
        weights = "balanced" if balanced else None
        return [
            LogisticRegression(class_weight=weights, max_iter=1000).fit(columns, labels[:, side])
            for side in (0, 1)
        ]

    def _try_thresholds(self, questions: Sequence[FactQAQuestion], balanced: bool) -> None:
        golds = {str(n): (q.answer, q.accepted) for n, q in enumerate(questions)}
        read = [(_texts(q), self.probabilities(q.question, _texts(q))) for q in questions]
        for threshold in self.THRESHOLDS:
            answers = [self._decode(texts, places, threshold) for texts, places in read]
            score = qa_scores(dict(zip(golds, answers, strict=True)), golds).final
            self.validation[balanced, threshold] = score

    def _columns(self, question: str, passages: Sequence[str]) -> np.ndarray:
        """Columns of all characters of all passages, shape ``(n, (2 * window + 1) * 6)``.

        Those of each neighbour, from left to right: the features, and whether it is missing.
        """
        width = 2 * self.window + 1
        tables = [np.zeros((0, width * (len(FEATURES) + 1)), np.float32)]
        for features in match_features(question, passages):
            padded = np.zeros((len(features) + 2 * self.window, len(FEATURES) + 1), np.float32)
            padded[:, -1] = 1
            inner = slice(self.window, self.window + len(features))
            padded[inner, :-1], padded[inner, -1] = features, 0
            place = np.arange(len(features))[:, None] + np.arange(width)
            tables.append(padded[place].reshape(-1, tables[0].shape[1]))
        return np.concatenate(tables)

    def probabilities(self, question: str, passages: Sequence[str]) -> list[np.ndarray]:
        """Probability of start and end at every character.

        Returns:
            For each passage of `n` characters an array, float64, shape ``(n, 2)``.

        Raises:
            RuntimeError: before :meth:`fit`.
            TypeError: if `question` or a passage is no string, or `passages` is a single string.
            ValueError: if `question` is empty.
        """
        if not self._models:
            raise RuntimeError("fit must be called before the tagger can answer")
        check_texts(question, passages)
        columns = self._columns(question, passages)
        places = np.zeros((len(columns), 2))
        if len(columns):
            for side, model in enumerate(self._models):
                places[:, side] = model.predict_proba(columns)[:, 1]
        ends = np.cumsum([len(passage) for passage in passages], dtype=int)
        return np.split(places, ends[:-1]) if len(passages) else []

    def _decode(
        self, passages: Sequence[str], places: Sequence[np.ndarray], threshold: float
    ) -> str:
        spans = [
            extract_spans(*place.T, text, self.max_len, threshold)
            for text, place in zip(passages, places, strict=True)
        ]
        return vote(spans)[0]

    def answer(self, question: str, passages: Sequence[str]) -> str:
        """The answer that gets the most votes; empty if nothing is above the threshold.

        Raises:
            RuntimeError: before :meth:`fit`.
            TypeError: if `question` or a passage is no string, or `passages` is a single string.
            ValueError: if `question` is empty.
        """
        return self._decode(passages, self.probabilities(question, passages), self.threshold)

    def answer_many(self, questions: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        """The answers to pairs of a question and its passages, as :meth:`answer` gives them."""
        return [self.answer(question, passages) for question, passages in questions]


def _texts(question: FactQAQuestion) -> list[str]:
    return [passage.text for passage in question.passages]
