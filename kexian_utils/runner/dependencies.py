"""What a notebook reaches: the modules of `kexian_utils` that it imports, and their data files.

Imports are read from the code, not executed; those inside functions count, too. That is on the safe
side: a run may be repeated that need not be, and never the other way round. Code that imports by a
name made at run time is not seen; the project has none.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kexian_utils.runner import cells

PACKAGE = "kexian_utils"
_DATA_FOLDERS = ("data", "assets")


def sources(root: Path, notebook: dict[str, Any]) -> list[Path]:
    """The modules of the package that a notebook reaches, directly or through others, sorted.

    Args:
        root: the checkout.
        notebook: as nbformat reads it.
    """
    found: set[Path] = set()
    waiting = [path for code in cells.code(notebook) for path in _imported(root, code, PACKAGE)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _module_imports(root, path, path.stat().st_mtime_ns)
    return sorted(found)


def data_files(root: Path, modules: Iterable[Path]) -> list[Path]:
    """The data files that these modules name: those of the package, and those in KEXIAN_DATA.

    A file counts as named if its name, or the name of a folder that it lies in, stands in a string
    of one of the modules.
    """
    strings = frozenset().union(*(_strings(p, p.stat().st_mtime_ns) for p in modules))
    text = "\0".join(strings)
    found = []
    for folder in _DATA_FOLDERS:
        base = root / PACKAGE / folder
        for path in _files(base):
            names = path.relative_to(base).parts
            if any(name in strings for name in names[:-1]) or names[-1] in text:
                found.append(path)
    if os.environ.get("KEXIAN_DATA") and "KEXIAN_DATA" in text:
        found += [path for path in _files(Path(os.environ["KEXIAN_DATA"])) if path.name in text]
    return sorted(found)


def content_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    status = path.stat()
    return _content_digest(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _content_digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


@functools.lru_cache(maxsize=1024)
def _parsed(path: Path, modified: int) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=1024)
def _module_imports(root: Path, path: Path, modified: int) -> tuple[Path, ...]:
    parts = path.relative_to(root).with_suffix("").parts
    package = ".".join(parts[:-1])  # of `a/b/__init__.py` it is a.b, and of `a/b.py` it is a
    return tuple(_imported(root, _parsed(path, modified), package))


@functools.lru_cache(maxsize=1024)
def _strings(path: Path, modified: int) -> frozenset[str]:
    return frozenset(
        node.value
        for node in ast.walk(_parsed(path, modified))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _imported(root: Path, code: ast.Module, package: str) -> Iterator[Path]:
    """The files of the package that running the imports of `code` would load."""
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = node.module or "" if not node.level else ".".join(base)
            if node.level and node.module:
                start += f".{node.module}"
            names = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield from _files_of(root, name)


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """The `__init__` files on the way to a dotted name, and the module, if it is one."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    folder = root
    for part in parts:
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
        folder /= part
        if (folder / "__init__.py").is_file():
            yield folder / "__init__.py"
