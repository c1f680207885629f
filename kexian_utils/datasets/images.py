"""Images: scikit-learn's digits, generated ones, CIFAR-10."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np

from kexian_utils import _checks
from kexian_utils.datasets.files import fetch

__all__ = ["cifar10", "digits", "generated_images", "read_cifar10_archive"]


Split = tuple[np.ndarray, np.ndarray]
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_RECORD = 1 + 3 * 32 * 32


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

    Examples:
        >>> (x_train, y_train), (x_test, y_test) = digits()
        >>> len(x_train), len(x_test), x_train.max().item(), np.unique(y_test).tolist()
        (1437, 360, 1.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
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

    Examples:
        >>> images, labels = generated_images(100, classes=2, noise=0.0)
        >>> len(np.unique(images, axis=0))  # without noise one picture per class
        2
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
        cache: folder of downloads; :mod:`kexian_utils.datasets.files` names the default.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: images, uint8, shapes ``(50000, 32, 32, 3)`` and
        ``(10000, 32, 32, 3)``; labels 0 to 9, int64.

    Raises:
        DatasetUnavailable: if the archive is not on this machine and cannot be downloaded, or a
            downloaded archive has another checksum.
        ValueError: if an archive that is on this machine has another checksum.

    Examples:
        >>> from kexian_utils.datasets.images import CIFAR10_LABELS
        >>> (x_train, y_train), (x_test, y_test) = cifar10()  # doctest: +SKIP
        >>> CIFAR10_LABELS[y_train[0]]  # doctest: +SKIP
    """
    return read_cifar10_archive(fetch(CIFAR10_URL, CIFAR10_SHA256, cache))


def read_cifar10_archive(path: str | os.PathLike) -> tuple[Split, Split]:
    """Read an archive of CIFAR-10's binary form; :func:`cifar10` says what comes out.

    Raises:
        ValueError: if the archive lacks a file or a file is not a whole number of records.

    Examples:
        >>> import io, tarfile, tempfile
        >>> from kexian_utils.datasets.images import CIFAR10_LABELS
        >>> record = bytes([7]) + bytes([255]) * 1024 + bytes(2048)  # a red picture of a horse
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with tarfile.open(f"{folder}/cifar.tar.gz", "w:gz") as archive:
        ...         for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        ...             member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
        ...             member.size = len(record)
        ...             archive.addfile(member, io.BytesIO(record))
        ...     (x_train, y_train), _ = read_cifar10_archive(f"{folder}/cifar.tar.gz")
        >>> x_train.shape, x_train[0, 0, 0].tolist(), CIFAR10_LABELS[y_train[0]]
        ((5, 32, 32, 3), [255, 0, 0], 'horse')
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
            data = member.read() if member else b""
            records = np.frombuffer(data, dtype=np.uint8)
            if records.size == 0 or records.size % _RECORD:
                raise ValueError(f"{name} must hold records of {_RECORD} bytes")
            parts.append(records.reshape(-1, _RECORD))
    return _unpack(np.concatenate(parts[:5])), _unpack(parts[5])


def _unpack(records: np.ndarray) -> Split:
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0].astype(np.int64)
