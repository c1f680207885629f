"""Reading comprehension: CMRC 2018, DRCD and WebQA, the readers of their forms, and windows."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kexian_utils import _checks
from kexian_utils._json import JSON_NAMES, parse_json
from kexian_utils.datasets.files import (
    DatasetUnavailable,
    cache_folder,
    download,
    file_sha256,
    how_to_provide,
    local_file,
)

__all__ = [
    "Answer",
    "Context",
    "FactoidPassage",
    "FactoidQuestion",
    "Question",
    "ReadingSet",
    "cmrc2018",
    "drcd",
    "load_squad_style",
    "load_webqa",
    "sliding_windows",
    "webqa",
]

Source = str | os.PathLike | Mapping[str, Any]


class Answer(NamedTuple):
    """An answer and the place of its first character in the context; None: not found there.

    Examples:
        >>> text = "中国的首都是北京。"
        >>> answer = Answer("北京", start=6)
        >>> text[answer.start :][: len(answer.text)]
        '北京'
    """

    text: str
    start: int | None


class Question(NamedTuple):
    """A question about a context with its accepted answers, none of them in hidden test sets.

    Examples:
        >>> answers = (Answer("北京", 6), Answer("北京市", None))
        >>> question = Question("1", "中国的首都是哪里？", answers)
        >>> [answer.text for answer in question.answers]
        ['北京', '北京市']
    """

    id: str
    text: str
    answers: tuple[Answer, ...]


class Context(NamedTuple):
    """A passage with its questions; the title is empty if the file has none.

    Examples:
        >>> question = Question("1", "首都是哪里？", (Answer("北京", 6),))
        >>> context = Context("0-0", "中国", "中国的首都是北京。", (question,))
        >>> [q.text for q in context.questions]
        ['首都是哪里？']
    """

    id: str
    title: str
    text: str
    questions: tuple[Question, ...]


class ReadingSet(NamedTuple):
    """All contexts; how many answers had a wrong place, and how many are nowhere in theirs.

    Examples:
        >>> found = load_squad_style({"data": [{"title": "中国", "paragraphs": []}]})
        >>> found
        ReadingSet(contexts=(), repaired=0, not_found=0)
    """

    contexts: tuple[Context, ...]
    repaired: int
    not_found: int


def load_squad_style(source: Source) -> ReadingSet:
    """Read questions in the form of SQuAD, such as CMRC 2018 and DRCD.

    The form is ``data[].paragraphs[].{context, qas[].{id, question, answers[].{text,
    answer_start}}}``; identifiers of paragraphs and titles are read where there are some. Places
    count code points from 0. Where the text of an answer does not stand at its place, the
    occurrence nearest to it is taken, of two equally near ones the first, and None where it occurs
    nowhere. Of the 9,657 answers of CMRC 2018's development set 200 are so, 7 and 193.

    Sources: Y. Cui and others, *A Span-Extraction Dataset for Chinese Machine Reading
    Comprehension*, EMNLP 2019, https://arxiv.org/abs/1810.07366; C.-C. Shao and others, *DRCD: a
    Chinese Machine Reading Comprehension Dataset*, 2018, https://arxiv.org/abs/1806.00920.

    Args:
        source: the path of a JSON file, or what it holds as a dictionary.

    Raises:
        TypeError: if `source` is neither.
        ValueError: if it is not JSON or not of this form, or an identifier of a question occurs
            twice; the message names the place.

    Examples:
        >>> answers = [{"text": "北京", "answer_start": 3}]  # a wrong place
        >>> qa = {"id": "1", "question": "中国的首都是哪里？", "answers": answers}
        >>> source = {"data": [{"paragraphs": [{"context": "北京是首都。", "qas": [qa]}]}]}
        >>> found = load_squad_style(source)
        >>> found.contexts[0].questions[0].answers, found.repaired
        ((Answer(text='北京', start=0),), 1)
    """
    name, data = _load(source)
    faults = {"repaired": 0, "not_found": 0}
    contexts, known = [], set()
    articles = _field(data, "data", list, name)
    for a, article in enumerate(articles):
        where = f"{name}data[{a}]"
        title = _label(article, "title") if isinstance(article, Mapping) else ""
        for p, paragraph in enumerate(_field(article, "paragraphs", list, f"{where}.")):
            place = f"{where}.paragraphs[{p}]."
            text = _field(paragraph, "context", str, place)
            questions = tuple(
                _question(qa, text, f"{place}qas[{q}].", faults)
                for q, qa in enumerate(_field(paragraph, "qas", list, place))
            )
            for question in questions:
                if question.id in known:
                    raise ValueError(f"{place}qas: the id {question.id!r} occurs twice")
                known.add(question.id)
            identifier = _label(paragraph, "id") or f"{a}-{p}"
            contexts.append(Context(identifier, title, text, questions))
    return ReadingSet(tuple(contexts), **faults)


def _label(entry: Mapping[str, Any], key: str) -> str:
    """A name as text; empty where there is none, or null."""
    value = entry.get(key)
    return "" if value is None else str(value)


def _question(qa: Any, context: str, where: str, faults: dict[str, int]) -> Question:
    text = _field(qa, "question", str, where)
    answers = []
    given = _field(qa, "answers", list, where) if "answers" in qa else []
    for number, item in enumerate(given):
        place = f"{where}answers[{number}]."
        answer = _field(item, "text", str, place)
        if not answer:
            raise ValueError(f"{place}text must not be empty")
        stated = _field(item, "answer_start", int, place)
        start = _nearest(context, answer, stated)
        if start is None:
            faults["not_found"] += 1
        elif start != stated:
            faults["repaired"] += 1
        answers.append(Answer(answer, start))
    return Question(str(_field(qa, "id", (str, int), where)), text, tuple(answers))


def _nearest(text: str, part: str, place: int) -> int | None:
    """Place of the occurrence of a part nearest to the given one."""
    before = text.rfind(part, 0, max(place, 0) + len(part))  # starts at `place` at the latest
    after = text.find(part, max(place, 0))
    found = [start for start in (before, after) if start >= 0]
    return min(found, key=lambda start: abs(start - place), default=None)


class FactoidPassage(NamedTuple):
    """A retrieved passage (材料) and the answers that it was marked with; none: no answer.

    Examples:
        >>> passage = FactoidPassage("1", "北京是中国的首都。", answers=("北京",))
        >>> bool(passage.answers)  # does it hold an answer?
        True
    """

    id: str
    text: str
    answers: tuple[str, ...]


class FactoidQuestion(NamedTuple):
    """A question and the passages retrieved for it.

    Examples:
        >>> first = FactoidPassage("1", "北京是首都。", ("北京",))
        >>> second = FactoidPassage("2", "首都很大。", ())
        >>> question = FactoidQuestion("Q1", "中国的首都是哪里？", (first, second))
        >>> [passage.id for passage in question.passages if passage.answers]
        ['1']
    """

    id: str
    text: str
    passages: tuple[FactoidPassage, ...]


def load_webqa(source: Source) -> list[FactoidQuestion]:
    """Read WebQA in the shortened form of https://kexue.fm/archives/4338 (``me_*.json``).

    The form is ``{id: {question, evidences: {id: {evidence, answer: [...]}}}}``, where the answer
    ``no_answer`` stands for none. Questions keep the order of the file; the passages of a question
    are sorted by their identifiers, which number what the search engine returned.

    Source: P. Li and others, *Dataset and Neural Recurrent Sequence Labeling Model for Open-Domain
    Factoid Question Answering*, 2016, https://arxiv.org/abs/1607.06275.

    Args:
        source: the path of a JSON file, or what it holds as a dictionary.

    Raises:
        TypeError: if `source` is neither.
        ValueError: if it is not JSON or not of this form; the message names the place.

    Examples:
        >>> evidences = {
        ...     "Q1#01": {"evidence": "首都很大。", "answer": ["no_answer"]},
        ...     "Q1#00": {"evidence": "北京是首都。", "answer": ["北京"]},
        ... }
        >>> (question,) = load_webqa({"Q1": {"question": "首都是哪里？", "evidences": evidences}})
        >>> [(passage.text, passage.answers) for passage in question.passages]
        [('北京是首都。', ('北京',)), ('首都很大。', ())]
    """
    name, data = _load(source)
    questions = []
    for key, entry in data.items():
        where = f"{name}{key}."
        text = _field(entry, "question", str, where)
        evidences = _field(entry, "evidences", dict, where)
        passages = tuple(
            _evidence(number, evidences[number], f"{where}evidences.{number}.")
            for number in sorted(evidences)
        )
        questions.append(FactoidQuestion(key, text, passages))
    return questions


def _evidence(key: str, entry: Any, where: str) -> FactoidPassage:
    text = _field(entry, "evidence", str, where)
    answers = _field(entry, "answer", list, where)
    for number, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise ValueError(f"{where}answer[{number}] must be a string, got {answer!r:.40}")
    return FactoidPassage(key, text, tuple(a for a in answers if a not in ("", "no_answer")))


def _load(source: Source) -> tuple[str, Mapping[str, Any]]:
    """The content, and what to put before places in messages."""
    if isinstance(source, Mapping):
        return "", source
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path or a dictionary, got {type(source).__name__}")
    name = Path(source).name
    try:
        return f"{name}: ", parse_json(Path(source).read_bytes(), dict)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


def _field(entry: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    if not isinstance(entry, Mapping):
        got = JSON_NAMES.get(type(entry), type(entry).__name__)
        raise ValueError(f"{where.rstrip('. ')} must be an object with {key!r}, got {got}")
    if key not in entry:
        raise ValueError(f"{where}{key} is missing")
    value = entry[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or isinstance(value, bool):
        wanted = " or ".join(JSON_NAMES[k] for k in kinds)
        got = JSON_NAMES.get(type(value), type(value).__name__)
        raise ValueError(f"{where}{key} must be {wanted}, got {got}")
    return value


def sliding_windows(text: Sequence, size: int, stride: int) -> list[tuple[int, Any]]:
    """Cut a long text into windows (滑动窗口) that overlap and leave nothing out.

    Windows start at 0, `stride`, twice `stride` and so on, up to the first one that reaches the
    end; that one may be shorter. Every piece of at most ``size - stride + 1`` characters lies
    within one window, and no window lies within another.

    Args:
        text: a string, or another sequence that can be sliced.
        size: largest length of a window, at least 1.
        stride: from 1 to `size`.

    Returns:
        The start of each window and its text; an empty text has none.

    Raises:
        ValueError: for a size or stride outside its range.

    Examples:
        >>> sliding_windows("一二三四五六七", size=4, stride=2)
        [(0, '一二三四'), (2, '三四五六'), (4, '五六七')]
    """
    for name, value in (("size", size), ("stride", stride)):
        _checks.whole(name, value, 1)
    if stride > size:
        raise ValueError(f"stride must be at most size, {size}, or parts are lost, got {stride}")
    if len(text) == 0:
        return []
    count = 1 + max(0, -(-(len(text) - size) // stride))
    return [(i * stride, text[i * stride : i * stride + size]) for i in range(count)]


# Name of the file, number of its questions, and its checksum where that is known.
CMRC2018_URL = "https://raw.githubusercontent.com/ymcui/cmrc2018/master/squad-style-data"
CMRC2018_PARTS = {
    "trial": (
        "cmrc2018_trial.json", 1002,
        "f3fae95b57da8e03afb2b57467dd221417060ef4d82db13bf22fc88589f3a6f3",
    ),
    "train": ("cmrc2018_train.json", 10_142, ""),
    "development": ("cmrc2018_dev.json", 3219, ""),
}  # fmt: skip
DRCD_URL = "https://raw.githubusercontent.com/DRCKnowledgeTeam/DRCD/master"
DRCD_PARTS = {
    "development": (
        "DRCD_dev.json", 3524,
        "e236df03861ba241bd7b29628cd48b3b8e339c60137e041a4358b5320ed61928",
    ),
    "train": ("DRCD_training.json", 26_936, ""),
}  # fmt: skip


def cmrc2018(part: str = "trial", cache: str | os.PathLike | None = None) -> ReadingSet:
    """CMRC 2018: Chinese reading comprehension (阅读理解) on passages of Wikipedia.

    Licence CC BY-SA 4.0. Source: Y. Cui and others, *A Span-Extraction Dataset for Chinese Machine
    Reading Comprehension*, EMNLP 2019, https://arxiv.org/abs/1810.07366.

    Args:
        part: ``"trial"``: 256 passages, 1,002 questions, two of which are empty; verified by
            checksum. ``"train"`` (10,142 questions) and ``"development"`` (3,219): verified by
            their number of questions.
        cache: folder of downloads; :mod:`kexian_utils.datasets.files` names the default.

    Returns:
        As :func:`load_squad_style` has it.

    Raises:
        DatasetUnavailable: if the file is not on this machine and cannot be downloaded.
        ValueError: for another part, or if a file on this machine is another one.

    Examples:
        >>> reading = cmrc2018("trial")  # doctest: +SKIP
        >>> reading.contexts[0].title, reading.contexts[0].questions[0].text  # doctest: +SKIP
        ('泡泡战士', '生命数耗完即算为什么？')
    """
    return _reading_set(CMRC2018_URL, CMRC2018_PARTS, part, cache)


def drcd(part: str = "development", cache: str | os.PathLike | None = None) -> ReadingSet:
    """DRCD: reading comprehension in traditional Chinese characters on passages of Wikipedia.

    Licence CC BY-SA 3.0. Source: C.-C. Shao and others, *DRCD: a Chinese Machine Reading
    Comprehension Dataset*, 2018, https://arxiv.org/abs/1806.00920.

    Args:
        part: ``"development"``: 1,000 passages, 3,524 questions; verified by checksum.
            ``"train"``: verified by its 26,936 questions.
        cache: as for :func:`cmrc2018`, and so are the result and the errors raised.

    Examples:
        >>> reading = drcd("development")  # doctest: +SKIP
        >>> reading.contexts[0].title, reading.contexts[0].questions[0].text  # doctest: +SKIP
        ('梵文', '陸特和漢斯雷頓開創了哪一地區對梵語的學術研究？')
    """
    return _reading_set(DRCD_URL, DRCD_PARTS, part, cache)


def webqa(name: str, cache: str | os.PathLike | None = None) -> list[FactoidQuestion]:
    """WebQA (Baidu): factoid questions with passages that a search engine returned.

    It has no public address that a program can read. Its makers' page is
    http://idl.baidu.com/WebQA.html; https://kexue.fm/archives/4338 names the shortened form that
    is read here.

    Args:
        name: of the file, such as ``"me_train.json"``, ``"me_validation.ann.json"`` or
            ``"me_test.ir.json"``, in the folder named by ``KEXIAN_DATA``, a folder in it, or the
            cache.
        cache: folder of downloads; :mod:`kexian_utils.datasets.files` names the default.

    Returns:
        As :func:`load_webqa` has it.

    Raises:
        DatasetUnavailable: if the file is not on this machine.
        ValueError: if it is not of this form.

    Examples:
        >>> questions = webqa("me_validation.ann.json")  # doctest: +SKIP
        >>> questions[0].text, questions[0].passages[0].answers  # doctest: +SKIP
    """
    path = local_file(name, lambda path: True, cache)
    if path is None:
        page = "the page named in https://kexue.fm/archives/4338"
        raise DatasetUnavailable(
            f"{name} is not on this machine: {how_to_provide(f'it from {page}')}"
        )
    return load_webqa(path)


def _reading_set(
    url: str, parts: dict[str, tuple[str, int, str]], part: str, cache: str | os.PathLike | None
) -> ReadingSet:
    _checks.choice("part", part, tuple(parts))
    name, questions, sha256 = parts[part]

    def accepts(path: Path) -> bool:
        if sha256:
            return file_sha256(path) == sha256
        try:
            contexts = load_squad_style(path).contexts
        except ValueError:  # no JSON, or of another form
            return False
        return sum(len(context.questions) for context in contexts) == questions

    expected = f"SHA-256 {sha256}" if sha256 else f"the form of SQuAD and {questions} questions"
    path = local_file(name, accepts, cache, expected)
    if path is None:
        target = (Path(cache) if cache else cache_folder()) / name
        path = download(f"{url}/{name}", accepts, target)
    return load_squad_style(path)
