"""What the code of a notebook says, read off its syntax: nothing is executed."""

from __future__ import annotations

import ast
import functools
import hashlib
import re
import threading
from collections.abc import Iterator
from typing import Any

COLAB_TAG = "colab-install"
_NOT_OURS = (COLAB_TAG, "injected-parameters")


def is_code(cell: dict[str, Any]) -> bool:
    """Whether a cell is code of the chapter: not the one for Colab, nor one of a run."""
    tags = cell["metadata"].get("tags", ())
    return cell["cell_type"] == "code" and not any(tag in tags for tag in _NOT_OURS)


_MAGIC_LINE = re.compile(r"^\s*(?:[%!]|\w+ *= *[%!])")


_PARSER = threading.Lock()


def parse(source: str) -> ast.Module:
    """`ast.parse`, one thread at a time.

    CPython 3.11 counts the depth of what all threads build in one number, and where two of them
    meet it raises SystemError (python/cpython#106905).
    """
    with _PARSER:
        return ast.parse(source)


def parse_cell(cell: dict[str, Any]) -> ast.Module:
    """The syntax tree of a code cell, without its magics; empty for a cell of another language.

    Raises:
        SyntaxError: it is not Python.
    """
    source = "".join(cell["source"])
    try:
        return parse(
            "\n".join("" if _MAGIC_LINE.match(line) else line for line in source.splitlines())
        )
    except SyntaxError:
        if source.lstrip().startswith("%%"):
            return ast.Module([], [])
        raise


def code(notebook: dict[str, Any]) -> Iterator[ast.Module]:
    """The syntax trees of the chapter's code cells, in order."""
    return (parse_cell(cell) for cell in notebook["cells"] if is_code(cell))


def _calls(notebook: dict[str, Any], name: str) -> Iterator[ast.Call]:
    for tree in code(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if node.func.attr == name:
                    yield node


def uses_keras(notebook: dict[str, Any]) -> bool:
    """Whether `experiment.start` imports a framework; without one, records say backend "none"."""
    for call in _calls(notebook, "start"):
        for keyword in call.keywords:
            if keyword.arg == "keras" and isinstance(keyword.value, ast.Constant):
                return bool(keyword.value.value)
    return True


def profiles(notebook: dict[str, Any]) -> list[str]:
    """The profiles for which the chapter has sizes: the rows of the tables given to `exp.sizes`."""
    return [
        key.value
        for call in _calls(notebook, "sizes")
        for argument in call.args
        if isinstance(argument, ast.Dict)
        for key in argument.keys
        if isinstance(key, ast.Constant)
    ]


class _Bare(ast.NodeTransformer):
    """Leaves out docstrings."""

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Module = _body


def bare(tree: ast.AST) -> Any:
    """Take the docstrings out of a syntax tree, in place, and return it."""
    return _Bare().visit(tree)


class _WithoutTyping(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        name = getattr(node.test, "id", getattr(node.test, "attr", ""))
        return node.orelse if name == "TYPE_CHECKING" else node


def without_typing(tree: ast.Module) -> ast.Module:
    """The tree without what stands under `if TYPE_CHECKING`."""
    return _WithoutTyping().visit(tree)


def digest(notebook: dict[str, Any]) -> str:
    """A digest of what the code does: neither prose nor comments nor docstrings count.

    Cells with magics or a silencing semicolon count as they are written.
    """
    sources = ("".join(cell["source"]).strip() for cell in filter(is_code, notebook["cells"]))
    return hashlib.sha256("\0".join(map(_digest, sources)).encode()).hexdigest()


@functools.lru_cache(maxsize=4096)
def _digest(source: str) -> str:
    magic = re.search(r"^\s*[%!]|;\s*(?:#.*)?\Z", source, re.MULTILINE)
    text = source if magic else ast.dump(bare(parse(source)))
    return hashlib.sha256(text.encode()).hexdigest()


def without_overwritten(text: str) -> str:
    """What a terminal shows in the end of lines that carriage returns began anew."""
    return _OVERWRITTEN.sub("", text)


# Anchored: without the ^ a line of n characters takes n² steps.
_OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\n])", re.MULTILINE)
FOLDED_TAG = "hide-input"
_TITLE = re.compile(r"# @title ([^\n]*\S)[ \t]*(?:\n|\Z)")


def fold_title(source: str) -> str | None:
    """What a folded cell is called: its first line is ``# @title WORDS``. None if it is open."""
    match = _TITLE.match(source)
    return match[1] if match else None


def fold(cell: dict[str, Any]) -> None:
    """Write into a code cell's metadata whether it is folded, as its first line says.

    The book, JupyterLab and Colab each look for words of their own.
    """
    metadata, title = cell["metadata"], fold_title("".join(cell["source"]))
    tags = [tag for tag in metadata.get("tags", ()) if tag != FOLDED_TAG]
    lab = {k: v for k, v in metadata.get("jupyter", {}).items() if k != "source_hidden"}
    if title:
        tags.append(FOLDED_TAG)
        lab["source_hidden"] = True
    wanted = {"tags": tags, "jupyter": lab, "cellView": "form" if title else None}
    for key, value in wanted.items():  # in place, so that nothing moves
        if value:
            metadata[key] = value
        else:
            metadata.pop(key, None)


def lines(cell: dict[str, Any]) -> int:
    """Lines of a code cell that are not blank."""
    return sum(1 for line in "".join(cell["source"]).splitlines() if line.strip())
