"""The rooms of `kexian_utils`: imports go down, no private name leaves its module, no circle."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "kexian_utils"
# From the ground up. A module imports from its own room and from lower floors; CONTRIBUTING says
# what belongs in which room.
FLOORS = (
    {
        "_checks",
        "_json",
        "_lazy",
        "_leftovers",
        "autodiff",
        "catalogue",
        "errors",
        "mime",
        "overlap",
        "statistics",
    },
    {"datasets", "plots"},
    {"experiment", "sliders", "training", "mathematics"},
    {"layers", "losses", "optimizers", "activations", "callbacks", "metrics", "regularizers"},
    {"foundations", "optimisation", "robustness", "generative", "language", "transformers"},
    {"models"},
    {"bert"},
    {"qa"},
    {"runner"},
    {"commands"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def module_name(path, package=PACKAGE):
    """The dotted name of a file, without the package's own."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree, modules):
    """Pairs (module, name or "") that a module imports from the package, lazily or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("kexian_utils."):
                    yield alias.name.removeprefix("kexian_utils."), ""
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == (
            "kexian_utils"
        ):
            base = node.module.removeprefix("kexian_utils").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                yield (inner, "") if inner in modules else (base, alias.name)


def private_uses(tree, modules):
    """Underscore names of other modules that a module imports or reaches through them."""
    modules_here = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kexian_utils"):
            base = node.module.removeprefix("kexian_utils").lstrip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".lstrip(".")
                if inner in modules:
                    modules_here[alias.asname or alias.name] = inner
                elif alias.name.startswith("_") and not alias.name.startswith("__"):
                    yield f"{base}.{alias.name}"
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in modules_here
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
        ):
            yield f"{modules_here[node.value.id]}.{node.attr}"


def faults(sources):
    """Sentences on all that breaks the rules; `sources` maps module names to their code."""
    trees = {name: ast.parse(code) for name, code in sources.items()}
    found, graph = [], {}
    for name, tree in trees.items():
        room = name.split(".")[0]
        if room not in FLOOR and room:
            found.append(f"{name}: the room {room} has no floor")
            continue
        for target, what in imports(tree, trees):
            there = target.split(".")[0]
            if not room or not there:
                continue
            low, high = FLOOR.get(there, -1), FLOOR[room]
            if there != room and (low > high or (low == high and high > 0)):
                found.append(f"{name} imports {target}{'.' * bool(what)}{what}: not from below")
            if target != name:
                graph.setdefault(name, set()).add(target)
        found += [f"{name} takes the private name {used}" for used in private_uses(tree, trees)]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append("modules import each other in a circle: " + " -> ".join(error.args[1]))
    return found


def test_the_rooms_of_the_library():
    assert faults({module_name(p): p.read_text(encoding="utf-8") for p in SOURCES}) == []


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (
            {"plots": "from kexian_utils.bert import rope"},
            "plots imports bert.rope: not from below",
        ),
        ({"plots": "def f():\n from kexian_utils.qa.reader import X"}, "plots imports qa.reader.X"),
        ({"layers.a": "from kexian_utils.losses.b import c"}, "layers.a imports losses.b.c"),
        ({"qa.a": "from kexian_utils.bert.b import _c"}, "qa.a takes the private name bert.b._c"),
        ({"qa.a": "from kexian_utils.bert import b\nb._c()"}, "takes the private name bert.b._c"),
        (
            {"bert.a": "from kexian_utils.bert import b", "bert.b": "import kexian_utils.bert.a"},
            "in a circle: bert.",
        ),
        ({"attic.a": ""}, "the room attic has no floor"),
    ],
)
def test_a_planted_fault_is_found(changed, fault):
    rooms = {"bert.b": "def _c(): ...", "bert.rope": "", "losses.b": "c = 1", "qa.reader": "X = 1"}
    assert [f for f in faults(rooms | changed) if fault in f]


def unknown_names(path, root):
    """Names that a script takes of the library's modules and that do not stand in them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = {}

    def source(name):
        folder = root.joinpath(*name.split("."))
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        return file.read_text(encoding="utf-8") if file.is_file() else None

    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kexian_utils"):
            for alias in node.names:
                if (text := source(f"{node.module}.{alias.name}")) is not None:
                    modules[alias.asname or alias.name] = text
                elif alias.name not in re.findall(r"\w+", source(node.module) or ""):
                    yield f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            text = modules.get(node.value.id)
            if text is not None and node.attr not in re.findall(r"\w+", text):
                yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("folder", ["tools", "benchmarks"])
def test_scripts_use_what_there_is(folder):
    root = Path(__file__).resolve().parents[2]
    for path in sorted((root / folder).glob("*.py")):
        assert not set(unknown_names(path, root)), path.name


def test_a_name_that_has_moved_is_found(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        "from kexian_utils.language import text\nfrom kexian_utils.language.text import gone\n"
        "text.cut_sentences\ntext.bootstrap_interval\n"
    )
    found = set(unknown_names(path, Path(__file__).resolve().parents[2]))
    assert found == {"kexian_utils.language.text.gone", "text.bootstrap_interval"}
