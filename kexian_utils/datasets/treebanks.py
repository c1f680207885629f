"""Treebanks of Universal Dependencies: two excerpts that come along, and the reader of CoNLL-U."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kexian_utils import _checks
from kexian_utils.datasets.files import (
    DatasetUnavailable,
    cache_folder,
    file_sha256,
    how_to_provide,
    local_file,
    retrieve,
)

__all__ = ["Sentence", "chinese_gsdsimp", "english_pud", "read_conllu", "without_punctuation"]


UD_URL = "https://raw.githubusercontent.com/UniversalDependencies"
# Treebanks are corrected twice a year; the release whose bytes are meant is found by checksum.
UD_RELEASES = tuple(f"r2.{minor}" for minor in range(18, 3, -1))
PUD_FIRST500_BYTES = 675_066
PUD_FIRST500_SHA256 = "dbfbc55a7248c7c24886517f6d0f7e18ce33c2ef458a4f5acb6686e9f6831124"
GSDSIMP_SHA256 = "342a2969df6d6d08bdc25dbc067c93c86ab3099bb054a9921ae7067cbc2c53ad"


def english_pud(part: str = "excerpt", cache: str | os.PathLike | None = None) -> list[Sentence]:
    """UD English-PUD: dependency trees (依存树) of English news and encyclopaedia sentences.

    Licence CC BY-SA 3.0; the excerpt's selection and credits are in ``data/ud/README.md`` of this
    package. Source: Universal Dependencies, https://universaldependencies.org.

    Args:
        part: ``"excerpt"``: the 132 sentences that come with the package, those of the first 500
            with 6 to 11 words without punctuation and the first 60 with 15 to 20. ``"first500"``:
            these 500. ``"full"``: all 1,000. The last two are files, downloaded when necessary;
            of the full file only the first half is verified by checksum.
        cache: folder of downloads; :mod:`kexian_utils.datasets.files` names the default.

    Returns:
        Sentences (:class:`Sentence`) in the treebank's order.

    Raises:
        DatasetUnavailable: if the file is not on this machine and cannot be downloaded.
        ValueError: for another part, or if a file on this machine has another checksum.

    Examples:
        >>> sentences = english_pud("excerpt")
        >>> len(sentences), sentences[0].words[:6]
        (132, ('For', 'those', 'who', 'follow', 'social', 'media'))
    """
    _checks.choice("part", part, ("excerpt", "first500", "full"))
    if part == "excerpt":
        return read_conllu(_bundled_treebank("en_pud-excerpt.conllu"))
    if part == "first500":
        first = local_file("en_pud-first500.conllu", _is_pud, cache)
        if first is not None:
            return read_conllu(first)
    path = _fetch_treebank("UD_English-PUD", "en_pud-ud-test.conllu", _is_pud, cache)
    data = path.read_bytes()
    return read_conllu(data[: PUD_FIRST500_BYTES if part == "first500" else None].decode("utf-8"))


def chinese_gsdsimp(
    part: str = "excerpt", cache: str | os.PathLike | None = None
) -> list[Sentence]:
    """UD Chinese-GSDSimp: words and dependency trees of Chinese encyclopaedia sentences.

    Simplified characters, cut into words by hand (分词), by other rules than :func:`peoples_daily`.
    Licence CC BY-SA 4.0; the excerpt's selection and credits are in ``data/ud/README.md`` of this
    package. Source: Universal Dependencies, https://universaldependencies.org.

    Args:
        part: ``"excerpt"``: the 150 sentences that come with the package, the first of the
            development part with at most 25 words. ``"development"``: all 500 of that part,
            downloaded when necessary.
        cache: as for :func:`english_pud`, and so are the result and the errors raised.

    Returns:
        Sentences (:class:`Sentence`) in the treebank's order.

    Examples:
        >>> sentences = chinese_gsdsimp()
        >>> len(sentences), sentences[0].words[:6]
        (150, ('大', '多数', '的', '加长', '型', '礼车'))
    """
    _checks.choice("part", part, ("excerpt", "development"))
    if part == "excerpt":
        return read_conllu(_bundled_treebank("zh_gsdsimp-excerpt.conllu"))
    name = "zh_gsdsimp-ud-dev.conllu"
    return read_conllu(_fetch_treebank("UD_Chinese-GSDSimp", name, _is_gsdsimp, cache))


def _is_pud(path: Path) -> bool:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(PUD_FIRST500_BYTES)).hexdigest() == PUD_FIRST500_SHA256


def _is_gsdsimp(path: Path) -> bool:
    return file_sha256(path) == GSDSIMP_SHA256


def _bundled_treebank(name: str) -> Path:
    return Path(str(resources.files("kexian_utils"))) / "data" / "ud" / name


def _fetch_treebank(
    repository: str, name: str, accepts: Callable[[Path], bool], cache: str | os.PathLike | None
) -> Path:
    found = local_file(name, accepts, cache)
    if found is not None:
        return found
    target = (Path(cache) if cache else cache_folder()) / name
    page = f"https://github.com/UniversalDependencies/{repository}"
    remedy = how_to_provide(f"{name} from {page} (one of {UD_RELEASES[-1]} to {UD_RELEASES[0]})")
    for release in UD_RELEASES:
        try:
            if retrieve(f"{UD_URL}/{repository}/{release}/{name}", target, accepts):
                return target
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise DatasetUnavailable(f"{name} cannot be reached ({error}): {remedy}") from error
        except OSError as error:
            raise DatasetUnavailable(f"{name} cannot be reached ({error}): {remedy}") from error
    raise DatasetUnavailable(f"no release of {repository} has the expected {name}: {remedy}")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a treebank. All tuples have one entry per word.

    Attributes:
        words: the words as written.
        upos: universal parts of speech, such as ``"NOUN"``.
        heads: index of each word's head, from 0; -1 for the root.
        deprels: names of the relations, such as ``"nsubj"``.
        sent_id: the sentence's name in its treebank, or "".

    Examples:
        >>> sentence = Sentence(("I", "sleep"), ("PRON", "VERB"), (1, -1), ("nsubj", "root"))
        >>> len(sentence), [sentence.words[h] if h >= 0 else "" for h in sentence.heads]
        (2, ['sleep', ''])
    """

    words: tuple[str, ...]
    upos: tuple[str, ...]
    heads: tuple[int, ...]
    deprels: tuple[str, ...]
    sent_id: str = ""

    def __len__(self) -> int:
        return len(self.words)


class WithoutPunctuation(NamedTuple):
    """A sentence without its punctuation, and how many words got a new head."""

    sentence: Sentence
    reattached: int


def without_punctuation(sentence: Sentence, tags: Sequence[str] = ("PUNCT",)) -> WithoutPunctuation:
    """Remove punctuation and close the gaps.

    Punctuation should have no dependents (Universal Dependencies' rule). Where it has, its
    dependents move to the nearest ancestor that stays; where none stays, the first such word
    becomes the root and the others hang from it. These words are counted.

    Args:
        sentence: the sentence; it is not changed.
        tags: parts of speech that go.

    Returns:
        The sentence with heads renumbered, and the number of words whose head changed.

    Raises:
        ValueError: if nothing would be left.

    Examples:
        >>> tags = ("X", "PUNCT", "VERB")
        >>> sentence = Sentence(("Yes", ",", "do"), tags, (1, 2, -1), ("dep",) * 3)
        >>> found = without_punctuation(sentence)  # what hung from the comma hangs from its head
        >>> found.sentence.words, found.sentence.heads, found.reattached
        (('Yes', 'do'), (1, -1), 1)
    """
    kept = [i for i, tag in enumerate(sentence.upos) if tag not in tags]
    if not kept:
        raise ValueError(
            f"sentence must have a word that is not tagged {' or '.join(tags)}, got "
            f"{''.join(sentence.words)!r}"
        )
    new = {old: i for i, old in enumerate(kept)}
    heads, moved = [], []
    for i in kept:
        above = sentence.heads[i]
        while above >= 0 and above not in new:
            above = sentence.heads[above]
        heads.append(new.get(above, -1))
        if above != sentence.heads[i]:
            moved.append(len(heads) - 1)
    roots = [i for i, head in enumerate(heads) if head < 0]
    for i in roots[1:]:
        heads[i] = roots[0]
    return WithoutPunctuation(
        Sentence(
            tuple(sentence.words[i] for i in kept),
            tuple(sentence.upos[i] for i in kept),
            tuple(heads),
            tuple(sentence.deprels[i] for i in kept),
            sentence.sent_id,
        ),
        len(moved),
    )


def read_conllu(source: str | os.PathLike) -> list[Sentence]:
    r"""Read a treebank in the CoNLL-U format (https://universaldependencies.org/format.html).

    Ranges of words (``3-4``) and empty nodes (``5.1``) are passed over, and so are all columns but
    FORM, UPOS, HEAD and DEPREL. A byte order mark and lines that end in CR LF do no harm.

    Args:
        source: the text itself as a string, or the path of a file as ``pathlib.Path``.

    Raises:
        ValueError: if the text is not of this format or a sentence is not a tree with one root;
            the message names the line.

    Examples:
        >>> rows = ["1 I _ PRON _ _ 2 nsubj _ _", "2 sleep _ VERB _ _ 0 root _ _"]
        >>> (sentence,) = read_conllu("\n".join(row.replace(" ", "\t") for row in rows))
        >>> sentence.words, sentence.heads
        (('I', 'sleep'), (1, -1))
    """
    name = ""
    if isinstance(source, os.PathLike):
        name = f"{Path(source).name}, "
        source = Path(source).read_text(encoding="utf-8")
    elif not isinstance(source, str):
        raise TypeError(f"source must be a string or a path, got {type(source).__name__}")
    sentences: list[Sentence] = []
    rows: list[tuple[str, str, int, str]] = []
    sent_id = ""
    # Not splitlines(): words may hold other characters that it would break lines at.
    lines = source.removeprefix("\ufeff").split("\n")
    for number, line in enumerate([*lines, ""], start=1):
        line = line.removesuffix("\r")
        try:
            if line.startswith("#"):
                if rows:
                    raise ValueError("comments must stand before a sentence, not within it")
                if match := re.match(r"#\s*sent_id\s*=\s*(.*)", line):
                    sent_id = match[1].strip()
            elif line.strip():
                row = _conllu_row(line, len(rows) + 1)
                rows += [row] if row else []
            else:  # comments before an empty line belong to no sentence behind it
                if rows:
                    sentences.append(_conllu_sentence(rows, sent_id))
                rows, sent_id = [], ""
        except ValueError as error:
            raise ValueError(f"{name}line {number}: {error}") from None
    return sentences


def _conllu_row(line: str, expected: int) -> tuple[str, str, int, str] | None:
    columns = line.split("\t")
    if len(columns) != 10:
        hint = "" if "\t" in line else "; a file's name must be given as pathlib.Path"
        raise ValueError(f"must have 10 columns separated by tabs, got {len(columns)}{hint}")
    number, form, _, upos, _, _, head, relation = columns[:8]
    if re.fullmatch(r"[0-9]+-[0-9]+|[0-9]+\.[0-9]+", number):
        return None
    if number != str(expected):
        raise ValueError(f"ID must be {expected}, got {number!r}")
    if not form:
        raise ValueError("FORM must not be empty")
    if not re.fullmatch("[0-9]+", head):
        raise ValueError(f"HEAD must be a number, got {head!r}")
    return form, upos, int(head) - 1, relation


def _conllu_sentence(rows: list[tuple[str, str, int, str]], sent_id: str) -> Sentence:
    words, upos, heads, relations = zip(*rows, strict=True)
    fault = tree_fault(heads)
    if fault:
        raise ValueError(
            f"the sentence {sent_id!r} above must be a tree with one root, but {fault}"
        )
    return Sentence(words, upos, heads, relations, sent_id)


def tree_fault(heads: Sequence[int]) -> str:
    """What keeps heads from being a tree with one root, with words counted from 1; or ""."""
    for word, head in enumerate(heads):
        if not -1 <= head < len(heads):
            return f"the head of word {word + 1} is {head + 1} of {len(heads)} words"
    roots = [word + 1 for word, head in enumerate(heads) if head == -1]
    if len(roots) != 1:
        return f"it has {len(roots)} roots" + (f" (words {roots})" if roots else "")
    cycle = find_cycle(np.array(heads))
    return "" if cycle is None else f"words {[int(i) + 1 for i in cycle]} form a cycle"


def find_cycle(heads: np.ndarray) -> np.ndarray | None:
    """Nodes of one cycle in rising order, or None; -1 has no head."""
    state = np.zeros(len(heads), dtype=int)  # the walk on which a node was first met
    for walk, start in enumerate(range(len(heads)), start=1):
        node = start
        while node >= 0 and state[node] == 0:
            state[node] = walk
            node = heads[node]
        if node >= 0 and state[node] == walk:
            cycle = [node]
            while heads[cycle[-1]] != node:
                cycle.append(heads[cycle[-1]])
            return np.sort(np.array(cycle))
    return None
