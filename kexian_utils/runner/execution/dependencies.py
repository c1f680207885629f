"""What a notebook reaches: the modules of `kexian_utils` that it imports, and their data files.

Imports are read from the code, not executed; those inside functions count, too, and those for type
checkers do not. A name that a lazy package hands on (`kexian_utils._lazy`) leads to its module and
to no other. That is on the safe side: a run may be repeated that need not be, and never the other
way round. Code that imports by a name made at run time is not seen; the project has none.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kexian_utils.runner.execution import cells

PACKAGE = "kexian_utils"
_DATA_FOLDERS = ("data", "assets")
_NOT_DATA = ("README.md", "LICENSE")  # what lies beside data, and no run reads


def sources(root: Path, notebook: dict[str, Any]) -> list[Path]:
    """The modules of the package that a notebook reaches, directly or through others, sorted.

    Args:
        root: the checkout.
        notebook: as nbformat reads it.
    """
    found: set[Path] = set()
    waiting = list(_imported(root, _program(notebook), PACKAGE))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _module_imports(root, path, path.stat().st_mtime_ns)
    return sorted(found)


def data_files(
    root: Path, modules: Iterable[Path], notebook: dict[str, Any] | None = None
) -> list[Path]:
    """The data files that modules name: those of the package, and those in KEXIAN_DATA.

    A file of the package counts if a module holds each part of its folder's path as a string,
    `"data"` and `"ud"`; if it lies in no further folder, its name as well. A file in KEXIAN_DATA
    counts if a module or the notebook holds a string whose last part, after slashes, is its name.

    Args:
        root: the checkout.
        modules: of `sources`.
        notebook: as nbformat reads it.
    """
    strings = [_strings(path, path.stat().st_mtime_ns) for path in modules]
    found = []
    for folder in _DATA_FOLDERS:
        base = root / PACKAGE / folder
        for path in _files(base):
            inside = path.relative_to(base).parts
            needed = {folder, *(inside[:-1] or inside)}
            if path.name not in _NOT_DATA and any(needed <= named for named in strings):
                found.append(path)
    if os.environ.get("KEXIAN_DATA") and any("KEXIAN_DATA" in named for named in strings):
        own = _strings_in(_program(notebook)) if notebook is not None else frozenset()
        names = {text.rsplit("/", 1)[-1] for named in (*strings, own) for text in named}
        found += [path for path in _files(Path(os.environ["KEXIAN_DATA"])) if path.name in names]
    return sorted(found)


def code_digest(path: Path) -> str:
    """A digest of what a module does: of its syntax without docstrings and comments.

    In a lazy package the table does not count: what is taken from it leads to a module.
    """
    return _code_digest(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _code_digest(path: Path, modified: int) -> str:
    tree = cells.bare(cells.without_typing(cells.parse(path.read_text(encoding="utf-8"))))
    for node in ast.walk(tree):
        if (table := _lazy_table(node)) is not None:
            table.keys, table.values = [], []
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


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


def _program(notebook: dict[str, Any]) -> ast.Module:
    """All code cells as one, because a name imported in one is used in others."""
    return ast.Module([node for tree in cells.code(notebook) for node in tree.body], [])


@functools.lru_cache(maxsize=1024)
def _parsed(path: Path, modified: int) -> ast.Module:
    return cells.without_typing(cells.parse(path.read_text(encoding="utf-8")))


@functools.lru_cache(maxsize=1024)
def _module_imports(root: Path, path: Path, modified: int) -> tuple[Path, ...]:
    parts = path.relative_to(root).with_suffix("").parts
    package = ".".join(parts[:-1])  # of `a/b/__init__.py` it is a.b, and of `a/b.py` it is a
    return tuple(_imported(root, _parsed(path, modified), package))


@functools.lru_cache(maxsize=1024)
def _strings(path: Path, modified: int) -> frozenset[str]:
    return _strings_in(_parsed(path, modified))


def _strings_in(code: ast.Module) -> frozenset[str]:
    return frozenset(
        node.value
        for node in ast.walk(code)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _imported(root: Path, code: ast.Module, package: str) -> Iterator[Path]:
    """The files of the package that running the imports of `code` would load."""
    taken: dict[str, set[str] | None] | None = None  # read off when the first lazy package is met
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, alias.asname) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = node.module or "" if not node.level else ".".join(base)
            if node.level and node.module:
                start += f".{node.module}"
            pairs = [(f"{start}.{alias.name}", alias.asname or alias.name) for alias in node.names]
        else:
            continue
        for name, known_as in pairs:
            yield from _files_of(root, name)
            folder = root.joinpath(*name.split("."))
            if (table := _handed_on(folder)) is not None:
                taken = _attributes(code) if taken is None else taken
                used = taken.get(known_as, set()) if known_as else None
                for module, names in table.items():
                    if used is None or used & {module, *names} or used - _all_names(table):
                        yield folder / f"{module}.py"
            elif (table := _handed_on(folder.parent)) is not None:
                for module, names in table.items():
                    if folder.name in names:
                        yield folder.parent / f"{module}.py"


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


# -- lazy packages --------------------------------------------------------------------------------


def _lazy_table(node: ast.AST) -> ast.Dict | None:
    """The table in `attach(__name__, {…})`."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "attach":
        if len(node.args) == 2 and isinstance(node.args[1], ast.Dict):
            return node.args[1]
    return None


def _handed_on(folder: Path) -> dict[str, tuple[str, ...]] | None:
    """Modules of a lazy package and the names that it hands on from each; None of another."""
    path = folder / "__init__.py"
    return _table_of(path, path.stat().st_mtime_ns) if path.is_file() else None


@functools.lru_cache(maxsize=256)
def _table_of(path: Path, modified: int) -> dict[str, tuple[str, ...]] | None:
    tables = filter(None, map(_lazy_table, ast.walk(_parsed(path, modified))))
    return next((ast.literal_eval(table) for table in tables), None)


def _all_names(table: dict[str, tuple[str, ...]]) -> set[str]:
    return {name for module, names in table.items() for name in (module, *names)}


def _attributes(code: ast.Module) -> dict[str, set[str] | None]:
    """What code takes of each name that it reads; None of one that it uses in another way, too."""
    parents: dict[int, str] = {}  # the walk meets an attribute before the name that it is taken of
    taken: dict[str, set[str] | None] = {}
    for node in ast.walk(code):
        if isinstance(node, ast.Attribute):
            parents[id(node.value)] = node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            known = taken.setdefault(node.id, set())
            if id(node) not in parents:
                taken[node.id] = None
            elif known is not None:
                known.add(parents[id(node)])
    return taken
