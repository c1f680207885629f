"""Files of data sets: found on this machine, or downloaded and checked.

They are looked for, in this order, in the folder named by ``KEXIAN_DATA``, in the cache
(``KEXIAN_CACHE``, else ``~/.cache/kexian``) and at their public home; every archive is checked
against its SHA-256 before it is read.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

__all__ = ["DatasetUnavailable", "cache_folder", "fetch", "file_sha256"]


class DatasetUnavailable(RuntimeError):
    """A data set is neither on this machine nor reachable; the message names the remedy."""


def cache_folder() -> Path:
    """The folder of downloads; see the head of this module. It need not exist yet.

    Examples:
        >>> import os
        >>> from unittest.mock import patch
        >>> with patch.dict(os.environ, KEXIAN_CACHE="downloads"):
        ...     cache_folder().as_posix()
        'downloads'
    """
    return Path(os.environ.get("KEXIAN_CACHE") or Path.home() / ".cache" / "kexian")


def fetch(url: str, sha256: str, cache: str | os.PathLike | None = None) -> Path:
    """Return the path of a file with this checksum, downloading it when necessary.

    Args:
        url: public address; its last part is the file's name.
        sha256: expected checksum, 64 hexadecimal digits.
        cache: folder for downloads; see the head of this module for the default.

    Raises:
        DatasetUnavailable: if the file cannot be downloaded or the download's checksum differs.
        ValueError: if a file that is on this machine has another checksum.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:  # it is there: no download
        ...     size = (Path(folder) / "abc.txt").write_text("abc")
        ...     checksum = file_sha256(Path(folder) / "abc.txt")
        ...     fetch("https://example.org/abc.txt", checksum, cache=folder).name
        'abc.txt'
    """
    name = url.rsplit("/", 1)[-1]

    def accepts(path: Path) -> bool:
        return file_sha256(path) == sha256

    found = local_file(name, accepts, cache, f"SHA-256 {sha256}")
    if found is not None:
        return found
    return download(url, accepts, (Path(cache) if cache else cache_folder()) / name)


def local_file(
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


def download(url: str, accepts: Callable[[Path], bool], target: Path) -> Path:
    remedy = how_to_provide(url)
    try:
        if retrieve(url, target, accepts):
            return target
    except OSError as error:
        raise DatasetUnavailable(f"{target.name} cannot be reached ({error}): {remedy}") from error
    raise DatasetUnavailable(f"{url} did not deliver the expected file: {remedy}")


def how_to_provide(what: str) -> str:
    return (
        f"download {what} on a machine with internet, put the file into a folder, and set "
        "KEXIAN_DATA to that folder"
    )


def retrieve(url: str, target: Path, accepts: Callable[[Path], bool]) -> bool:
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
    """Checksum of a file, 64 hexadecimal digits.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "abc.txt"
        ...     size = path.write_text("abc")
        ...     file_sha256(path)[:16]
        'ba7816bf8f01cfea'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
