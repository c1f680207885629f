"""The pages on the library: every public name with its arguments, errors, source, and chapters.

The modules are read, not imported (by griffe), so that building the book starts no framework. What
is public stands in the ``__all__`` of the modules. Docstrings are in Google's style and hold a
little reStructuredText, which becomes Markdown here.
"""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from kexian_utils.catalogue import Catalogue

# Rooms in the order of the pages, with the sentence of the overview.
ROOMS = {
    "layers": "Keras layers",
    "losses": "Keras losses, and what is known of them",
    "optimizers": "Keras optimisers and learning-rate schedules",
    "models": "Keras models that are trained in a way of their own",
    "activations": "Keras activation functions",
    "callbacks": "Keras callbacks",
    "metrics": "Keras metrics",
    "regularizers": "Keras regularisers",
    "training": "Stacks of seeds, gradient accumulation, resumable state, precision",
    "autodiff": "Gradients and Hessian-vector products on TensorFlow and JAX alike",
    "overlap": "Copies of test texts in a training set, and the look-up table that lives on them",
    "statistics": "Bootstrap intervals, standardised columns",
    "datasets": "Data sets: bundled, generated, downloaded with a checksum",
    "mathematics": "Helpers of the part Mathematics",
    "foundations": "Helpers of the part Foundations",
    "optimisation": "Helpers of the part Optimisation",
    "robustness": "Helpers of the part Robustness",
    "generative": "Helpers of the part Generative models",
    "language": "Words, sentences and trees",
    "transformers": "Rotary position embeddings",
    "bert": "Reading, probing and enlarging BERT",
    "qa": "Answers from noisy passages: the convolutional reader",
    "experiment": "What a chapter calls: profile, seed, claims",
    "plots": "The style of the figures",
    "sliders": "Interactive figures that work offline",
}
FURTHER = {"losses": ("losses-compared", "Losses compared")}  # a page below the room's own
PACKAGE = "kexian_utils"
# What every Keras component has; Keras documents it.
KERAS_METHODS = frozenset(
    "build call compute_mask compute_output_shape from_config get_config train_step update_step "
    "compute_loss_and_updates".split()
)


@dataclass(frozen=True)
class Entry:
    """A public name.

    Attributes:
        name: as it is written.
        module: dotted name of its module without the package's.
        room: the first part of that.
        signature: with annotations, "" for a constant.
        docstring: its parsed sections, as griffe has them.
        methods: public methods with docstrings.
        line: the import statement.
    """

    name: str
    module: str
    signature: str
    docstring: tuple[Any, ...]
    methods: tuple[Entry, ...] = ()
    line: str = ""

    @property
    def room(self) -> str:
        """The room that the module is in."""
        return self.module.split(".")[0]

    @property
    def path(self) -> str:
        """Dotted name without the package's: "statistics.paired_bootstrap"."""
        return f"{self.module}.{self.name}"

    @property
    def anchor(self) -> str:
        """The label of its place, by which any page can link to it."""
        return "library-" + re.sub(r"[^a-z0-9]+", "-", self.path.lower())

    @property
    def summary(self) -> str:
        """The first sentence of the docstring, as Markdown."""
        return markdown(_sections(self, "text")[0].split("\n\n")[0]) if self.docstring else ""


@dataclass(frozen=True)
class Library:
    """All public names, and which chapters use them."""

    entries: tuple[Entry, ...]
    modules: dict[str, str]  # module -> its docstring
    used_in: dict[str, list[str]] = field(default_factory=dict)  # path -> ids of articles

    def room(self, room: str) -> list[Entry]:
        """The names of one room, in the order of their modules."""
        return [entry for entry in self.entries if entry.room == room]

    def find(self, module: str, name: str) -> Entry | None:
        """The entry that ``from module import name`` means, whichever module has it."""
        for entry in self.entries:
            if entry.name == name and (entry.module == module or entry.room == module):
                return entry
        return None


# -- reading --------------------------------------------------------------------------------------


def read(root: Path) -> Library:
    """Read all public names of the checkout's package."""
    import griffe

    logging.getLogger("griffe").setLevel(logging.ERROR)
    package = griffe.load(
        PACKAGE, search_paths=[root], docstring_parser="google", allow_inspection=False
    )
    entries: list[Entry] = []
    modules: dict[str, str] = {}
    for room in ROOMS:
        if room in package.members:
            for module in _modules(package[room]):
                name = module.path.removeprefix(f"{PACKAGE}.")
                modules[name] = module.docstring.value if module.docstring else ""
                entries += _entries(module, name)
    return Library(tuple(entries), modules)


def _modules(module: Any) -> Iterator[Any]:
    yield module
    for member in sorted(module.members.values(), key=lambda member: member.name):
        if not member.is_alias and member.is_module:
            yield from _modules(member)


def _entries(module: Any, name: str) -> Iterator[Entry]:
    for exported in map(str, module.exports or ()):
        member = module.members.get(exported)
        if member is None or member.is_alias or member.is_module:
            continue  # handed on from the module that has it
        yield _entry(member, name)


def _entry(member: Any, module: str) -> Entry:
    methods: tuple[Entry, ...] = ()
    signature = ""
    if member.is_class:
        signature = _class_signature(member)
        methods = tuple(
            Entry(
                method.name,
                f"{module}.{member.name}",
                _without_self(str(method.signature())),
                tuple(method.docstring.parsed),
            )
            for method in member.members.values()
            if method.is_function
            and not method.name.startswith("_")
            and method.name not in KERAS_METHODS
            and method.docstring
        )
    elif member.is_function:
        signature = str(member.signature())
    sections = tuple(member.docstring.parsed) if member.docstring else ()
    room = module.split(".")[0]
    where = (
        room
        if room != module and room in ("layers", "losses", "optimizers", "models")
        else (module)
    )
    line = f"from {PACKAGE}.{where} import {member.name}"
    return Entry(member.name, module, signature, sections, methods, line)


def _class_signature(member: Any) -> str:
    init = member.members.get("__init__")
    if init is not None and init.is_function:
        return _without_self(
            str(init.signature()).replace("__init__", member.name, 1)
        ).removesuffix(" -> None")
    fields = [
        f"{name}: {value.annotation}" + (f" = {value.value}" if value.value is not None else "")
        for name, value in member.members.items()
        if value.is_attribute and value.annotation is not None and not name.startswith("_")
    ]
    return f"{member.name}({', '.join(fields)})" if fields else ""


def _without_self(signature: str) -> str:
    return re.sub(r"\((?:self|cls)(?:, )?", "(", signature, count=1)


def _sections(entry: Entry, kind: str) -> list[Any]:
    return [section.value for section in entry.docstring if section.kind.value == kind]


# -- docstrings as Markdown -----------------------------------------------------------------------

_ROLE = re.compile(r":(\w+):`([^`]+)`")
_LITERAL = re.compile(r"``(.+?)``", re.DOTALL)
_MATH = re.compile(r"^\.\. math::[ \t]*(.*(?:\n+[ \t]+.*)*)", re.MULTILINE)
_BLOCK = re.compile(r"::\n\n((?:[ \t]+.*(?:\n|\Z)|\n)+)")
_ARTICLE = re.compile(r"\barticle (\d{4})\b")


def markdown(text: str) -> str:
    """A piece of a docstring as Markdown: roles and literals in its form."""

    def role(match: re.Match[str]) -> str:
        kind, content = match.groups()
        if kind == "math":
            return f"${' '.join(content.split())}$"
        target = content.lstrip("~.")
        return f"`{target.rsplit('.', 1)[-1] if content.startswith('~') else target}`"

    text = _LITERAL.sub(lambda match: f"`{match[1]}`", _ROLE.sub(role, text))
    text = _MATH.sub(lambda match: f"$${' '.join(match[1].split())}$$\n", text)
    return _BLOCK.sub(lambda match: f":\n\n```python\n{dedent(match[1]).strip()}\n```\n\n", text)


# -- which chapter uses what ----------------------------------------------------------------------


def names_used(codes: Iterable[str], library: Library) -> list[Entry]:
    """The public names that the code cells of a notebook use, in the order of the library."""
    modules: dict[str, str] = {}  # local name -> module
    found: set[str] = set()
    trees = []
    for code in codes:
        try:
            trees.append(ast.parse(code))
        except SyntaxError:  # magics
            continue
    known = set(library.modules)
    for tree in trees:
        for node in ast.walk(tree):
            source = (isinstance(node, ast.ImportFrom) and node.module) or ""
            if not (isinstance(node, ast.ImportFrom) and source.startswith(PACKAGE)):
                continue
            base = source.removeprefix(PACKAGE).lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                if inner in known:
                    modules[alias.asname or alias.name] = inner
                elif entry := library.find(base, alias.name):
                    found.add(entry.path)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = modules.get(node.value.id)
                if module and (entry := library.find(module, node.attr)):
                    found.add(entry.path)
    return [entry for entry in library.entries if entry.path in found]


def with_uses(library: Library, notebooks: Mapping[str, Any]) -> Library:
    """The library with the chapters (article id to notebook) that use each name."""
    used: dict[str, list[str]] = {}
    for article, notebook in notebooks.items():
        for entry in names_used(code_of(notebook), library):
            used.setdefault(entry.path, []).append(article)
    return Library(library.entries, library.modules, used)


def code_of(notebook: Any) -> list[str]:
    """The sources of the code cells."""
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]


# -- pages ----------------------------------------------------------------------------------------


def pages(library: Library, catalogue: Catalogue, written: Mapping[str, str]) -> dict[str, str]:
    """The Markdown of all pages, by their path from the book's root.

    Args:
        library: with its uses.
        catalogue: all articles.
        written: id of each finished chapter to the path of its page, without the ending.
    """
    environment = templates(catalogue, written)
    rooms = {room: library.room(room) for room in ROOMS if library.room(room)}
    found = {
        "library/index.md": environment.get_template("library.md").render(rooms=rooms, ROOMS=ROOMS)
    }
    for room, entries in rooms.items():
        grouped: dict[str, list[Entry]] = {}
        for entry in entries:
            grouped.setdefault(entry.module, []).append(entry)
        found[f"library/{room}.md"] = environment.get_template("room.md").render(
            room=room,
            title=ROOMS[room],
            groups=grouped,
            library=library,
            further=FURTHER.get(room),
        )
    return found


_CODE = '<code class="docutils literal notranslate"><span class="pre">{}</span></code>'


def helpers_used(
    entries: Iterable[Entry], heading: str = "Helpers used in this chapter", way: str = ""
) -> str:
    """The list of helpers under a chapter, as Markdown; "" if it uses none.

    Args:
        entries: the helpers.
        heading: of the list.
        way: from the chapter to the library's folder, where that is another book's; "" if both
            are pages of one.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.module, []).append(entry)
    lines = [
        f"- `{PACKAGE}.{module}`: "
        + ", ".join(
            f'<a href="{way}{e.room}.html#{e.anchor}">{_CODE.format(e.name)}</a>'
            if way
            else f"[`{e.name}`](#{e.anchor})"
            for e in found
        )
        for module, found in groups.items()
    ]
    return "\n".join([f"## {heading}", "", *lines]) if lines else ""


def templates(catalogue: Catalogue, written: Mapping[str, str]) -> Any:
    """The templates of the pages, with filters for links to articles and chapters."""
    import jinja2

    def linked(text: str) -> str:
        """Articles that the book has a chapter on become links to it."""

        def link(match: re.Match[str]) -> str:
            page = written.get(match[1])
            return f"[article {match[1]}](../{page}.ipynb)" if page else match[0]

        return _ARTICLE.sub(link, markdown(text))

    def indented(text: str, spaces: int) -> str:
        return text.replace("\n", "\n" + " " * spaces)

    def chapters(ids: Iterable[str]) -> str:
        return ", ".join(
            f"[{catalogue.article(i).title}](../{written[i]}.ipynb)" for i in ids if i in written
        )

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kexian_utils.runner.pages"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"linked": linked, "chapters": chapters, "indented": indented}
    return environment
