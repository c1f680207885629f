r"""Scores of answers (评测指标): those of the CIPS-SOGOU contest for factoids, and CMRC 2018's.

Both rules are kept to the letter so that numbers compare with published ones. The first one takes
some wrong answers for right, which ``strict=True`` repairs:

============================  ==========  ======  =============================================
prediction, gold              the rule    strict  why
============================  ==========  ======  =============================================
1.5, 15; -5, 5; 50%, 50       right       wrong   signs count as punctuation
1、5, 15                      right       wrong   pieces are joined without a trace
5.1, 1.5; 2:1, 1:2            right       wrong   the order of pieces is free
\+, -; C++, C                 right       wrong   as the first
《乙》《甲》, 甲、乙          wrong       right   brackets at the ends make an empty piece
佐木, 佐々木                  right       wrong   the list of punctuation has the second sign
============================  ==========  ======  =============================================

Plain NumPy. Sources: the evaluation of the contest, with
https://github.com/bojone/dgcnn_for_reading_comprehension, for https://kexue.fm/archives/6906;
Y. Cui and others, *A Span-Extraction Dataset for Chinese Machine Reading Comprehension*, EMNLP
2019, with https://github.com/ymcui/cmrc2018.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

__all__ = [
    "QA_PUNCTUATION",
    "QAScores",
    "char_f1",
    "cmrc_exact_match",
    "cmrc_f1",
    "qa_exact_match",
    "qa_normalize",
    "qa_scores",
]

# The 128 marks of the contest, U+007F among them. Of the full-width forms ％＋－／＝ and others are
# missing: they do not part pieces, but become half width, and then go, where a piece is normalised.
QA_PUNCTUATION = frozenset(
    "`^~<=>|_-,;:!?/.'\"()[]{}@$*\\&#%+\x7f"
    "…‰※•—‖‘’“”№←↑→↓∴∨∵∶∩∈∑√∞≯≡≮≤≥≈≌⊥⊙⌒□◆◇◎●★☆♀♂¨°·§¤±"
    "\u3000、。〃々〈〉《》「」『』【】〓〔〕〖〗÷×′▲″△∠≠■ˇˉ"
    "￣￥＿！＄（），．：；？～﹑￠"
)
_TO_SPACE = str.maketrans(dict.fromkeys(QA_PUNCTUATION, " "))
HALF_WIDTH = {0x3000: 0x20} | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SPACE = re.compile(r"\s+")

# Strict: what carries a meaning stays.
_MEANINGFUL = frozenset("%‰+#&@$*<=>±°×÷√∞≤≥≈≠≡≮≯№′″￥￠♀♂々")
_THOUSANDS = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
_DASH = re.compile(r"(?<=[0-9])[‐‑‒–—−﹣]{1,2}(?=[0-9])|[−﹣]")
_RATIO = re.compile(r"(?<=[0-9])∶(?=[0-9])")
_PLUS = re.compile(r"(?<![\w+])\+(?=\.?[0-9])")
_STRICT = re.compile(
    r"(?P<kept>(?<=[0-9])[.:/~-](?=[0-9])|(?<![\w.])-(?=\.?[0-9])|(?<![\w.])\.(?=[0-9]))"
    f"|[{re.escape(''.join(sorted(QA_PUNCTUATION - _MEANINGFUL)))}]"
)
_IDLE_SPACE = re.compile(r"(?<![0-9]) | (?![0-9.-])")


def qa_normalize(text: str, strict: bool = False) -> str:
    """Normal form of an answer in the CIPS-SOGOU contest (归一化).

    Full width becomes half width, upper case lower case, every mark in ``QA_PUNCTUATION`` a
    space, and then all white space is deleted. (The contest's script, in Python 2, lowers ASCII
    letters and deletes ASCII white space only.)

    Args:
        text: any string.
        strict: keep what carries a meaning: decimal points, signs, per cent and other symbols;
            the marks in 2:1, 1/2, 3-5 and 2018-4-15; a space between two numbers. A comma in
            1,000 and a plus in +5 are deleted.

    Raises:
        TypeError: if `text` is no string.

    Examples:
        >>> qa_normalize("《Ｈａｍｌｅｔ》 1.5")
        'hamlet15'
        >>> qa_normalize("《Ｈａｍｌｅｔ》 1.5", strict=True)
        'hamlet1.5'
    """
    _check_string("text", text)
    if strict:
        return _IDLE_SPACE.sub("", " ".join(_strict_pieces(text)))
    return _SPACE.sub("", text.translate(HALF_WIDTH).lower().translate(_TO_SPACE))


def _strict_pieces(text: str) -> list[str]:
    # Before the width changes: a full-width comma between numbers parts them.
    text = _THOUSANDS.sub(lambda match: match[0].replace(",", ""), text)
    text = _DASH.sub("-", text.translate(HALF_WIDTH).lower())
    text = _PLUS.sub("", _RATIO.sub(":", text))
    return _STRICT.sub(lambda match: match["kept"] or " ", text).split()


def qa_exact_match(
    prediction: str, reference: str, accepted: Iterable[str], strict: bool = False
) -> bool:
    """Whether an answer is right by the rule of the CIPS-SOGOU contest.

    It is if its normal form is that of the reference or of another accepted answer; or if the
    sets of its pieces and of the reference's agree, where punctuation and spaces part pieces and
    each piece is normalised. An empty prediction is wrong.

    Args:
        prediction: the answer to judge.
        reference: the gold answer.
        accepted: further right answers; the contest's lists have the reference among them.
        strict: without the pitfalls that the head of this module lists; pieces then count as
            often as they occur.

    Raises:
        TypeError: if an answer is no string or `accepted` is a single one.

    Examples:
        >>> qa_exact_match("1.5", "15", ["15"]), qa_exact_match("1.5", "15", ["15"], strict=True)
        (True, False)
    """
    _check_string("prediction", prediction)
    _check_string("reference", reference)
    if not prediction.strip():
        return False
    right = {qa_normalize(answer, strict) for answer in (reference, *_strings(accepted))}
    form = qa_normalize(prediction, strict)
    if strict:
        same_pieces = Counter(_strict_pieces(prediction)) == Counter(_strict_pieces(reference))
        return bool(form) and (form in right or same_pieces)
    return form in right or _pieces(prediction.strip()) == _pieces(reference)


def _pieces(text: str) -> set[str]:
    # Not split(): as in the contest's script, a mark at an end makes an empty piece.
    return {qa_normalize(piece) for piece in text.translate(_TO_SPACE).lower().split(" ")}


def char_f1(prediction: str, accepted: Iterable[str], strict: bool = False) -> float:
    """Overlap of an answer with the accepted one nearest to it, by the CIPS-SOGOU contest.

    Precision and recall of the characters of the normal forms, as often as they occur and in any
    order; the largest F1 over the accepted answers.

    Args:
        prediction: the answer to judge; an empty one scores 0.
        accepted: right answers, at least one.
        strict: take the strict normal form.

    Raises:
        TypeError: if an answer is no string or `accepted` is a single one.
        ValueError: if no answer is accepted.

    Examples:
        >>> round(char_f1("北京", ["北京市"]), 3)  # precision 1, recall 2/3
        0.8
    """
    _check_string("prediction", prediction)
    answers = _strings(accepted)
    if not answers:
        raise ValueError("accepted must hold at least one answer, got none")
    ours = Counter(qa_normalize(prediction, strict))
    return max(_overlap(ours, Counter(qa_normalize(answer, strict))) for answer in answers)


def _overlap(ours: Counter, theirs: Counter) -> float:
    common = (ours & theirs).total()
    return 2 * common / (ours.total() + theirs.total()) if common else 0.0


class QAScores(NamedTuple):
    """Scores of a set of questions; of each one in the order of `ids`.

    Attributes:
        accuracy: share of right answers.
        f1: mean F1 of characters.
        final: mean of both, the contest's final score.
        ids: identifiers of the `n` questions, in the order of the gold answers.
        exact: shape ``(n,)``; 1.0 where the answer is right, else 0.0.
        overlap: shape ``(n,)``; F1 of characters.

    Examples:
        >>> scores = qa_scores({"1": "北京", "2": ""}, {"1": ("北京", []), "2": ("东京", [])})
        >>> scores.accuracy, scores.counts.tolist()
        (0.5, [[1.0, 1.0], [0.0, 1.0]])
    """

    accuracy: float
    f1: float
    final: float
    ids: tuple[str, ...]
    exact: np.ndarray
    overlap: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """Shape ``(n, 2)``: final score of each question and 1.

        For :func:`kexian_utils.statistics.bootstrap_interval` and, with another system's scores of
        the same questions, :func:`kexian_utils.statistics.paired_bootstrap`.
        """
        return np.column_stack([(self.exact + self.overlap) / 2, np.ones(len(self.exact))])


def qa_scores(
    predictions: Mapping[str, str],
    golds: Mapping[str, tuple[str, Iterable[str]]],
    strict: bool = False,
) -> QAScores:
    """Score the answers to a set of questions as the CIPS-SOGOU contest did.

    One thing is different on purpose: the contest's script averages over the answers handed in,
    so that leaving out hard questions pays. Here each question needs an answer, which may be
    empty.

    Args:
        predictions: answer of each question.
        golds: reference of each question and further accepted answers, at least one question.
        strict: as in :func:`qa_exact_match`.

    Raises:
        TypeError: if an answer is no string.
        ValueError: if a question has no prediction or a prediction no question, or there is none.

    Examples:
        >>> golds = {"1": ("北京", ["北京市"]), "2": ("东京", [])}
        >>> scores = qa_scores({"1": "北京市", "2": "东"}, golds)
        >>> scores.accuracy, round(scores.f1, 3), round(scores.final, 3)
        (0.5, 0.833, 0.667)
    """
    if not golds:
        raise ValueError("golds must hold at least one question, got none")
    for name, lacking in (
        (
            "predictions must hold every question of golds",
            [i for i in golds if i not in predictions],
        ),
        (
            "golds must hold every question of predictions",
            [i for i in predictions if i not in golds],
        ),
    ):
        if lacking:
            shown = ", ".join(repr(i) for i in lacking[:5]) + (", …" if len(lacking) > 5 else "")
            raise ValueError(f"{name}, {len(lacking)} missing: {shown}")
    exact, overlap = np.zeros((2, len(golds)))
    for row, (key, (reference, accepted)) in enumerate(golds.items()):
        accepted = _strings(accepted)
        exact[row] = qa_exact_match(predictions[key], reference, accepted, strict)
        overlap[row] = char_f1(predictions[key], (reference, *accepted), strict)
    accuracy, f1 = float(exact.mean()), float(overlap.mean())
    return QAScores(accuracy, f1, (accuracy + f1) / 2, tuple(golds), exact, overlap)


# CMRC 2018

# Its script lists …… as well, which no single character equals, so … is kept.
_CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_CHINESE = re.compile("[\u4e00-\u9fa5]")
# Where NLTK's word_tokenize, which the script uses, parts words that are not Chinese.
_SYMBOL = re.compile(r"""\.{2,}|[;@#$%&?!*"()\[\]{}<>«»“”‘„‒–—―]|[,:](?![0-9])|--""")
_LAST_POINT = re.compile(r"""(?<!\.)\.(?=[\])}>"'»”’ ]*$)""")
_CLITIC = re.compile(r"(?<=[^'\s])(n't|'(?:s|m|d|ll|re|ve)?)(?=\s|$)")


def cmrc_exact_match(prediction: str, answers: Sequence[str]) -> bool:
    """Whether an answer is one of the accepted ones by the rule of CMRC 2018.

    Case, white space at the ends and the punctuation that its script lists are ignored; among
    others the half-width comma and full stop and all inner spaces are not.

    Raises:
        TypeError: if an answer is no string or `answers` is a single one.
        ValueError: if there is no accepted answer.

    Examples:
        >>> cmrc_exact_match("《北京》", ["北京"]), cmrc_exact_match("北京.", ["北京"])
        (True, False)
    """
    _check_string("prediction", prediction)
    return _without_marks(prediction) in {_without_marks(a) for a in _accepted(answers)}


def cmrc_f1(prediction: str, answers: Sequence[str]) -> float:
    """Overlap of an answer with the accepted one nearest to it by the rule of CMRC 2018.

    The tokens are single Chinese characters and words of other languages. Precision and recall
    are the lengths of the longest common *substring* (最长公共子串) over those of the prediction
    and the answer; the largest F1 counts. So 北京大学 for 北京的大学 gets 4/9, where
    :func:`char_f1` gives 8/9.

    The script cuts what is not Chinese by NLTK's English tokeniser. Here a few rules stand for
    it: they part punctuation, dashes among it, and clitics, but leave quotation marks as they are
    and do not cut sentences.

    Raises:
        TypeError: if an answer is no string or `answers` is a single one.
        ValueError: if there is no accepted answer.

    Examples:
        >>> round(cmrc_f1("北京大学", ["北京的大学"]), 3)  # 2 · 2 / (4 + 5)
        0.444
    """
    _check_string("prediction", prediction)
    ours = _mixed_tokens(prediction)
    return max(_substring_f1(ours, _mixed_tokens(answer)) for answer in _accepted(answers))


def _without_marks(text: str) -> str:
    return "".join(c for c in text.lower().strip() if c not in _CMRC_PUNCTUATION)


def _mixed_tokens(text: str) -> list[str]:
    tokens: list[str] = []
    # The marks go first, so they do not part words: 2008-2009 becomes 20082009.
    for part in re.split(f"({_CHINESE.pattern})", _without_marks(text)):
        tokens += [part] if _CHINESE.fullmatch(part) else _words(part)
    return tokens


def _words(text: str) -> list[str]:
    text = _LAST_POINT.sub(" . ", _SYMBOL.sub(r" \g<0> ", text))
    return _CLITIC.sub(r" \1 ", text).split()


def _substring_f1(ours: list[str], theirs: list[str]) -> float:
    longest, above = 0, [0] * (len(theirs) + 1)
    for token in ours:
        # Entry j + 1: length of the common run that ends at this token and at theirs[j].
        row = [0] * (len(theirs) + 1)
        for j, other in enumerate(theirs):
            if token == other:
                row[j + 1] = above[j] + 1
        longest, above = max(longest, *row), row
    return 2 * longest / (len(ours) + len(theirs)) if longest else 0.0


def _accepted(answers: Sequence[str]) -> list[str]:
    given = _strings(answers, "answers")
    if not given:
        raise ValueError("answers must hold at least one answer, got none")
    return given


def _strings(values: Iterable[str], name: str = "accepted") -> list[str]:
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of strings, got the string {values[:20]!r}")
    strings = list(values)
    for number, value in enumerate(strings):
        _check_string(f"{name}[{number}]", value)
    return strings


def _check_string(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")
