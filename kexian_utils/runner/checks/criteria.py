"""Criteria of claims that cannot fail, or that the best seed decides, read off the code.

What is measured and what is demanded stands in `exp.check` as dictionaries, or in names that are
bound to dictionaries in the same cell, or in functions that return them. What is hidden deeper is
not found; the lint is a net for the common cases.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_FOREIGN = ("numpy", "scipy", "math", "cmath", "fractions", "decimal", "itertools", "functools")
_BEST = {"at_least": ("max", "amax", "nanmax"), "at_most": ("min", "amin", "nanmin")}


@dataclass(frozen=True)
class _Check:
    """A call of `exp.check` with what is measured and what is demanded, as far as it can be read.

    The names of quantities are syntax trees as text, because some are put together by the code.
    """

    claim: str
    kind: str
    measured: dict[str, ast.expr]
    demanded: dict[str, ast.expr]


def problems(cells: Sequence[ast.Module]) -> list[str]:
    """What is wrong with the criteria of a chapter, one sentence each.

    Args:
        cells: the syntax trees of its code cells, in order.
    """
    defined = _defined(cells)
    found = []
    for check in _checks(cells):
        for name, value in check.measured.items():
            words = f"{check.claim}: {_words(name)}"
            if _is_constant(value, defined):
                found.append(
                    f"{words} is a constant, whatever the chapter computes; measure something "
                    "that a wrong formula would change."
                )
            criterion = check.demanded.get(name)
            if check.kind == "empirical" and criterion is not None and _by_best(value, criterion):
                found.append(
                    f"{words} is decided by the best of several; demand it of all of them, or "
                    "name how many of them."
                )
    return found


def _words(name: str) -> str:
    return f"“{name[1:-1]}”" if name[:1] in "'\"" else "what is measured"


# -- reading the calls ----------------------------------------------------------------------------


def _checks(cells: Sequence[ast.Module]) -> Iterator[_Check]:
    functions = {n.name: n for t in cells for n in t.body if isinstance(n, ast.FunctionDef)}
    for tree in cells:
        for node in ast.walk(tree):
            if not (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "check"
                and len(node.args) >= 3
                and isinstance(node.args[0], ast.Constant)
            ):
                continue
            kind = next((k.value for k in node.keywords if k.arg == "kind"), None)
            yield _Check(
                str(node.args[0].value),
                str(kind.value) if isinstance(kind, ast.Constant) else "",
                dict(_entries(node.args[1], tree, functions)),
                dict(_entries(node.args[2], tree, functions)),
            )


def _entries(
    node: ast.expr, tree: ast.Module, functions: dict[str, ast.FunctionDef]
) -> Iterator[tuple[str, ast.expr]]:
    """The entries of a dictionary, or one entry "value"."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                yield from _entries(value, tree, functions)
            else:
                yield ast.unparse(key), value
    elif isinstance(node, ast.DictComp):
        yield ast.unparse(node.key), node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _entries(node.left, tree, functions)
        yield from _entries(node.right, tree, functions)
    elif isinstance(node, ast.Lambda):
        yield from _entries(node.body, tree, functions)
    elif isinstance(node, ast.Name):
        bound = list(_bound(node.id, tree))
        if node.id in functions:
            function = functions[node.id]
            bound += [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]
        dictionaries = (ast.Dict, ast.DictComp, ast.BinOp, ast.Lambda)
        known = [value for value in bound if isinstance(value, dictionaries)]
        for value in known:
            yield from _entries(value, tree, functions)
        if not known:
            yield from (("value", value) for value in bound[-1:])
    elif not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("dict")):
        yield "value", node


def _bound(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    """What a cell assigns to a name, or puts into it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            if any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                yield node.value
            for target in node.targets:
                if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == name:
                    yield ast.Dict(keys=[target.slice], values=[node.value])
        elif isinstance(node, ast.AugAssign) and getattr(node.target, "id", "") == name:
            yield node.value


# -- the two questions ----------------------------------------------------------------------------


def _defined(cells: Sequence[ast.Module]) -> set[str]:
    """The names that the chapter binds, or that it takes from elsewhere than bare mathematics."""
    names: set[str] = set()
    for tree in cells:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                if (node.module or "").split(".")[0] not in _FOREIGN:
                    names |= {alias.asname or alias.name for alias in node.names}
            elif isinstance(node, ast.Import):
                names |= {
                    (alias.asname or alias.name).split(".")[0]
                    for alias in node.names
                    if alias.name.split(".")[0] not in _FOREIGN
                }
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
    return names


def _is_constant(value: ast.expr, defined: set[str]) -> bool:
    """Whether an expression rests on nothing but numbers and functions of bare mathematics."""
    used = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)}
    return not (used & defined) and not (used - defined - set(dir(builtins)) - _imported(value))


def _imported(value: ast.expr) -> set[str]:
    """Names that stand where a module or a function does: what is not defined was imported."""
    heads = set()
    for node in ast.walk(value):
        if isinstance(node, ast.Call):
            function = node.func
            while isinstance(function, ast.Attribute):
                function = function.value
            if isinstance(function, ast.Name):
                heads.add(function.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            heads.add(node.value.id)
    return heads


def _by_best(value: ast.expr, criterion: ast.expr) -> bool:
    """Whether at_least is asked of a maximum, or at_most of a minimum."""
    if not isinstance(criterion, ast.Call):
        return False
    asked = ast.unparse(criterion.func).split(".")[-1]
    return asked in _BEST and any(_called(part) in _BEST[asked] for part in _terms(value))


def _terms(value: ast.expr) -> Iterator[ast.expr]:
    """The expression without float(...) and without what it is divided by or compared with."""
    if isinstance(value, ast.BinOp):
        yield from _terms(value.left)
    elif isinstance(value, ast.Call) and _called(value) in ("float", "round") and value.args:
        yield from _terms(value.args[0])
    else:
        yield value


def _called(value: ast.expr) -> str:
    return ast.unparse(value.func).split(".")[-1] if isinstance(value, ast.Call) else ""
