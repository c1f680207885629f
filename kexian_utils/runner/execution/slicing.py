"""Which statements of a notebook a claim depends on, and a digest of them.

A study takes minutes and vouches for a few claims only. Its record therefore names the code that
these claims come from, and not the label of a figure beside it: from the cells that decide them,
names are followed back to the statements that assign or change what is read (a backward slice, at
the grain of top-level statements). Where in doubt a statement is taken in.

What counts as a change of a name: an assignment, also to an attribute or an item; a method of
`MUTATORS`; a call whose result is dropped, `shuffle(x)` or `x.anything()`; any draw from a random
generator; and what a function of the notebook changes, in whoever uses that function. Modules and
the experiment itself count as constant. Code in strings is not seen; the project has none.
"""

from __future__ import annotations

import ast
import hashlib
import symtable
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kexian_utils.experiment.records import code_digest
from kexian_utils.runner.execution import cells

MUTATORS = frozenset(
    "add append assign assign_add assign_sub build clear compile difference_update discard extend "
    "fill fit insert intersection_update load_weights partial_fit pop popitem remove reverse "
    "setdefault set_weights setflags sort symmetric_difference_update train_on_batch "
    "train_step update".split()
)
_SHOWN = ("print", "display")  # a dropped call of these changes nothing
_WORDS = ("note", "equation")  # of a claim: what explains it, and decides nothing


@dataclass
class _Statement:
    """A top-level statement: which global names it reads at once, reads later, and changes."""

    tree: ast.stmt
    reads: set[str] = field(default_factory=set)
    reads_later: set[str] = field(default_factory=set)  # in functions: when these are called
    assigns: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)

    @cached_property
    def is_final(self) -> bool:
        """Whether what it assigns is certainly new, whatever was there before."""
        simple = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef)
        return isinstance(self.tree, (*simple, ast.ClassDef))

    def defines(self, name: str) -> bool:
        return name in self.assigns or name in self.changes


def _root(node: ast.AST) -> str | None:
    """The name at the root of `a.b[c].d`."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Starred)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _scopes(table: symtable.SymbolTable, later: bool) -> Iterator[tuple[bool, symtable.Symbol]]:
    """All symbols that are global names, and whether they are reached later, in a function."""
    for symbol in table.get_symbols():
        if table.get_type() == "module" or symbol.is_global():
            yield later, symbol
    for child in table.get_children():
        at_once = child.get_name() in ("listcomp", "setcomp", "dictcomp", "genexpr")
        yield from _scopes(child, later or (child.get_type() == "function" and not at_once))


def _is_generator(value: ast.AST) -> bool:
    """Whether an expression makes a random generator."""
    function = getattr(value, "func", None)
    return isinstance(function, ast.Attribute) and function.attr in ("rng", "default_rng")


def _changed(tree: ast.stmt, generators: set[str]) -> Iterator[str | None]:
    """Names whose objects a statement changes in place."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            yield _root(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = _root(node.func)
            if node.func.attr in MUTATORS or name in generators:
                yield name
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            if isinstance(call.func, ast.Name) and call.func.id not in _SHOWN:
                arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
                yield from (_root(argument) for argument in arguments)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            if isinstance(node.value.func, ast.Attribute):
                yield _root(node.value.func)


def _free(tree: ast.AST, bound: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names that a statement reads outside of loops that set them themselves; not in functions."""
    if isinstance(tree, ast.Name):
        if isinstance(tree.ctx, ast.Load) and tree.id not in bound:
            yield tree.id
    elif isinstance(tree, ast.For):
        yield from _free(tree.iter, bound)
        within = bound | {n.id for n in ast.walk(tree.target) if isinstance(n, ast.Name)}
        for part in [tree.target, *tree.body]:
            yield from _free(part, within)
        for part in tree.orelse:
            yield from _free(part, bound)
    elif not isinstance(tree, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
        for part in ast.iter_child_nodes(tree):
            yield from _free(part, bound)


def _single_imports(tree: ast.stmt) -> list[ast.stmt]:
    """A statement; an import as one statement a name."""
    if isinstance(tree, ast.Import):
        return [ast.Import([alias]) for alias in tree.names]
    if isinstance(tree, ast.ImportFrom):
        return [ast.ImportFrom(tree.module, [alias], tree.level) for alias in tree.names]
    return [tree]


def _read(trees: Iterable[ast.stmt]) -> list[_Statement]:
    found = [_Statement(tree) for tree in trees]
    constant, generators = set(), set()
    for statement in found:
        tree = statement.tree
        for later, symbol in _scopes(symtable.symtable(ast.unparse(tree), "cell", "exec"), False):
            name = symbol.get_name()
            if symbol.is_referenced():
                (statement.reads_later if later else statement.reads).add(name)
            if symbol.is_assigned() or symbol.is_imported():
                (statement.changes if later else statement.assigns).add(name)
        if isinstance(tree, ast.For):  # its own variables are new in each round
            loops = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} & statement.assigns
            statement.reads -= loops - set(_free(tree))
        for node in ast.walk(tree):  # also inside of a loop
            if isinstance(node, ast.AugAssign) and _root(node.target) in statement.assigns:
                statement.reads.add(_root(node.target) or "")
        starts = isinstance(tree, ast.Assign) and isinstance(tree.value, ast.Call)
        if isinstance(tree, (ast.Import, ast.ImportFrom)):
            constant |= statement.assigns
        elif starts and getattr(tree.value.func, "attr", "") == "start":
            constant |= statement.assigns
        if isinstance(tree, ast.Assign) and any(map(_is_generator, ast.walk(tree.value))):
            generators |= statement.assigns
    for statement in found:
        known = statement.reads | statement.reads_later
        statement.changes |= set(_changed(statement.tree, generators)) & known
        statement.changes -= constant
    _spread(found)
    return found


def _spread(statements: list[_Statement]) -> None:
    """Who uses a function changes what the function changes."""
    effects: dict[str, set[str]] = {}
    growing = True
    while growing:
        growing = False
        for statement in statements:
            used = statement.reads | statement.reads_later
            more = set().union(*(effects.get(name, ()) for name in used))
            if not more <= statement.changes:
                statement.changes |= more
                growing = True
            if isinstance(statement.tree, (ast.FunctionDef, ast.ClassDef)) or statement.reads_later:
                for name in statement.assigns:
                    if not statement.changes <= effects.get(name, set()):
                        effects.setdefault(name, set()).update(statement.changes)
                        growing = True


def _deciding(statement: ast.stmt, needs: str) -> list[ast.Call]:
    """The calls of `exp.check` in a statement that need this profile."""
    return [
        node
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "check"
        for keyword in node.keywords
        if keyword.arg == "needs" and getattr(keyword.value, "value", needs) == needs
    ]


def statements_behind(trees: Iterable[ast.stmt], needs: str = "study") -> list[ast.stmt]:
    """The statements that decide the claims which need a profile, and all that these depend on.

    Args:
        trees: the top-level statements of a notebook, in order.
        needs: the profile.

    Returns:
        The statements, in order, imports cut into single names; an empty list without such claims.
    """
    found = _read([part for tree in trees for part in _single_imports(tree)])
    taken = {k for k, statement in enumerate(found) if _deciding(statement.tree, needs)}
    if not taken:
        return []
    end, waiting = max(taken) + 1, sorted(taken)
    while waiting:
        place = waiting.pop()
        more: set[int] = set()
        for name in found[place].reads | (found[place].changes if place not in taken else set()):
            for earlier in range(place - 1, -1, -1):
                if found[earlier].defines(name):
                    more.add(earlier)
                    if found[earlier].is_final and name in found[earlier].assigns:
                        break
        for name in found[place].reads_later:
            more |= {k for k in range(end) if found[k].defines(name)}
        waiting += sorted(more - taken)
        taken |= more
    return [found[k].tree for k in sorted(taken)]


class _Deciding(ast.NodeTransformer):
    """Leaves out what a claim says beside its criterion."""

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if getattr(node.func, "attr", "") == "check":
            node.keywords = [k for k in node.keywords if k.arg not in _WORDS]
        return node


def study_digest(notebook: dict[str, Any]) -> str:
    """A digest of the code that the claims of the study depend on: what its record is of.

    Comments, docstrings, prose, figures and the notes of claims do not count. Without a claim that
    needs the study it is the digest of all code.
    """
    trees = [statement for tree in cells.code(notebook) for statement in tree.body]
    behind = statements_behind(trees)
    if not behind:
        return code_digest(notebook)
    text = "\n".join(ast.dump(_Deciding().visit(cells.bare(tree))) for tree in behind)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
