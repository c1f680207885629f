"""What is run again when something changes, and what is not."""

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from kexian_utils import catalogue
from kexian_utils.commands.main import main
from kexian_utils.runner.execution import cache, dependencies, files
from kexian_utils.runner.execution.files import COMMITTED, read_notebook

pytestmark = pytest.mark.in_turn("kexian_utils/runner/execution")

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = [a for a in catalogue.load(ROOT).articles if (ROOT / a.path).is_file()]
MODULES = {
    "__init__.py": "",
    "base.py": "def one():\n    return 1\n",
    "middle.py": "from kexian_utils.base import one\n",
    "late.py": "def two():\n    from kexian_utils import base\n    return base\n",
    "alone.py": "PLACE, NAME = 'data', 'table.txt'\n",
    "folder.py": "def part(name):\n    return 'data', 'folder', name\n",
    "typed.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n"
    "    from kexian_utils import base, late\n",
    "_lazy.py": "def attach(package, modules):\n    return None, None, None\n",
    "lazy/__init__.py": "from kexian_utils._lazy import attach\n\n"
    "__getattr__, __dir__, __all__ = attach(\n    __name__,\n"
    "    {'one': ('first', 'other'), 'two': ('second',), 'three': ('third',)},\n)\n",
    "lazy/one.py": "first = other = 1\n",
    "lazy/two.py": "from kexian_utils.lazy import third\nsecond = 2\n",
    "lazy/three.py": "third = 3\n",
    "uses_lazy.py": "from kexian_utils import lazy\n\n\ndef use():\n    return lazy.first\n",
    "room/__init__.py": "from kexian_utils.room.door import key\n",
    "room/door.py": "key = 1\n",
    "room/window.py": "from ..middle import one\nfrom . import door\n",
    "runner/__init__.py": "",
    "data/table.txt": "1 2 3",
    "data/folder/part": "4 5 6",
    "data/folder/README.md": "What the numbers are.\n",
}
# Articles of the catalogue, and what stands in their chapters. The imports are never executed.
USES = {
    "7533": "from kexian_utils.middle import one",
    "7466": "from kexian_utils import alone",
    "6992": "import kexian_utils.late",
    "7076": "from kexian_utils.room import window",
    "8397": "print('nothing of ours')",
    "7359": "from kexian_utils.lazy import second as s",
    "4521": "from kexian_utils import typed, uses_lazy",
    "4733": "from kexian_utils import lazy as x; x.third",
    "7387": "from kexian_utils import lazy; print(lazy)",
    "7469": "from kexian_utils.folder import part",
}
LAZY = {"7359", "4521", "4733", "7387"}
OURS = {"7533", "7466", "6992", "7076", "7469"} | LAZY


def source(line):
    return f"if seed < 0:\n    {line}\nprint(profile)"


@pytest.fixture
def checkout(empty_checkout, write_chapters):
    for name, text in MODULES.items():
        path = empty_checkout / "kexian_utils" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    write_chapters(**{f"a{article}": source(line) for article, line in USES.items()})
    return empty_checkout


def valid(root):
    """The articles whose runs are taken up as they are."""
    return {
        a
        for a in USES
        if cache.finished_run(files.Run(root, catalogue.load(root).article(a))) is not None
    }


def pretend_to_run(root):
    """What a run leaves behind, without the run."""
    for article in (catalogue.load(root).article(a) for a in USES):
        notebook = read_notebook(root / article.path)
        copy = files.Run(root, article).copy
        files.write_notebook(copy, notebook)
        cache.write_record(copy, cache.run_key(root, article, notebook, COMMITTED), COMMITTED, 1.0)
    assert valid(root) == USES.keys()


@pytest.mark.parametrize(
    ("changed", "again"),
    [
        ("base.py", {"7533", "6992", "7076"}),
        ("middle.py", {"7533", "7076"}),
        ("late.py", {"6992"}),
        ("alone.py", {"7466"}),
        ("room/__init__.py", {"7076"}),
        ("room/door.py", {"7076"}),
        ("__init__.py", OURS),
        ("runner/__init__.py", set()),
        ("typed.py", {"4521"}),
        ("_lazy.py", LAZY),
        ("lazy/__init__.py", LAZY),
        ("lazy/one.py", {"4521", "7387"}),
        ("lazy/two.py", {"7359", "7387"}),
        ("lazy/three.py", {"7359", "4733", "7387"}),
        ("data/table.txt", {"7466"}),
        ("data/folder/part", {"7469"}),
        ("data/folder/README.md", set()),
    ],
)
def test_one_line_of_a_helper_touches_those_that_reach_it(checkout, changed, again):
    pretend_to_run(checkout)
    path = checkout / "kexian_utils" / changed
    path.write_text(path.read_text(encoding="utf-8") + "changed = 1\n", encoding="utf-8")
    assert USES.keys() - valid(checkout) == again


@pytest.mark.parametrize(
    ("changed", "old", "new"),
    [
        ("base.py", "    return 1", '    """One."""\n    # as it is\n    return (1)'),
        ("base.py", "def one", '"""A module."""\n\n\ndef one'),
        ("typed.py", "import base", "import alone, base"),
        ("lazy/__init__.py", "'three': ('third',)", "'four': ('fourth',), 'three': ('third',)"),
    ],
)
def test_comments_docstrings_types_and_new_lazy_names_touch_none(checkout, changed, old, new):
    (checkout / "kexian_utils" / "lazy" / "four.py").write_text("fourth = 4\n", encoding="utf-8")
    pretend_to_run(checkout)
    path = checkout / "kexian_utils" / changed
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    left = {"7387"} if "lazy" in changed else set()  # which uses the package as a whole
    assert USES.keys() - valid(checkout) == left


def test_prose_touches_none_and_code_touches_its_chapter(checkout):
    pretend_to_run(checkout)
    path = checkout / catalogue.load(checkout).article("7533").path
    notebook = read_notebook(path)
    notebook.cells[0].source = "# Other prose"
    files.write_notebook(path, notebook)
    assert valid(checkout) == USES.keys()
    notebook.cells[2].source += "  # a comment"
    files.write_notebook(path, notebook)
    assert valid(checkout) == USES.keys()
    notebook.cells[2].source += "\nprint(2);"
    files.write_notebook(path, notebook)
    assert USES.keys() - valid(checkout) == {"7533"}
    notebook.cells[2].source = notebook.cells[2].source.removesuffix("\nprint(2);") + "\n%time 2"
    files.write_notebook(path, notebook)
    assert USES.keys() - valid(checkout) == {"7533"}


def test_the_environment_counts(checkout, monkeypatch):
    pretend_to_run(checkout)
    article = catalogue.load(checkout).article("8397")
    for setting in (
        files.Setting("smoke"),
        files.Setting(seed=1),
        files.Setting(backend="jax"),
    ):
        assert cache.finished_run(files.Run(checkout, article, setting)) is None
    with monkeypatch.context() as patch:
        patch.setenv("KEXIAN_THREADS", "2")
        assert valid(checkout) == set()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_machine", lambda: "another processor")
        assert valid(checkout) == set()
    assert valid(checkout) == USES.keys()
    (checkout / "uv.lock").write_text("version = 1")
    assert valid(checkout) == set()


def test_data_of_a_folder_of_the_reader_counts_if_it_is_named(checkout, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words.txt").write_text("old")
    monkeypatch.setenv("KEXIAN_DATA", str(tmp_path / "data"))
    module = checkout / "kexian_utils" / "alone.py"
    module.write_text("PLACE, NAME = 'KEXIAN_DATA', 'https://example.org/words.txt'\n")
    pretend_to_run(checkout)
    (tmp_path / "data" / "words.txt").write_text("new")
    (tmp_path / "data" / "others.txt").write_text("x")
    assert USES.keys() - valid(checkout) == {"7466"}
    (tmp_path / "data" / "more words.txt").write_text("a name that holds the other one")
    assert USES.keys() - valid(checkout) == {"7466"}


@pytest.mark.parametrize("harm", ["truncated", "edited", "no record", "broken record", "no copy"])
def test_an_entry_is_verified_when_it_is_read(checkout, harm):
    pretend_to_run(checkout)
    copy = files.Run(checkout, catalogue.load(checkout).article("7533")).copy
    record = copy.with_suffix(".json")
    if harm == "truncated":
        copy.write_bytes(copy.read_bytes()[:-20])
    elif harm == "edited":
        copy.write_text(copy.read_text().replace("Prose", "Verse"))
    elif harm == "no record":
        record.unlink()
    elif harm == "broken record":
        record.write_text(record.read_text()[:30])
    else:
        copy.unlink()
    assert USES.keys() - valid(checkout) == {"7533"}


def test_the_command_runs_what_is_reached_and_nothing_else(checkout):
    def ran(*options):
        result = CliRunner().invoke(main, ["run", "all", "--profile", "smoke", *options])
        assert result.exit_code == 0, result.output
        lines = [line.split() for line in result.output.splitlines() if "smoke-s0" in line]
        assert {words[0] for words in lines} == USES.keys()
        return {words[0] for words in lines if "ran" in words}

    assert ran() == USES.keys()
    assert ran() == set()
    path = checkout / "kexian_utils" / "middle.py"
    path.write_text(path.read_text() + "two = 2\n")
    assert ran() == {"7533", "7076"}
    assert ran() == set()
    assert ran("--no-cache") == USES.keys()


# -- the book itself ------------------------------------------------------------------------------


@pytest.mark.parametrize("article", [pytest.param(a, id=a.id) for a in CHAPTERS])
def test_chapters_reach_what_they_need_and_not_the_tools(article):
    names = {
        path.relative_to(ROOT / "kexian_utils").as_posix()
        for path in dependencies.sources(ROOT, read_notebook(ROOT / article.path))
    }
    assert {"__init__.py", "experiment/run.py", "experiment/criteria.py", "plots.py"} <= names
    assert not any(name.startswith("runner/") for name in names), sorted(names)


def test_every_data_file_is_named_by_a_module():
    modules = sorted((ROOT / "kexian_utils").rglob("*.py"))
    named = set(dependencies.data_files(ROOT, modules))
    for folder in ("data", "assets"):
        for path in (ROOT / "kexian_utils" / folder).rglob("*"):
            if path.is_file() and path.name != "README.md":
                assert path in named, f"no module names {path.name}, so no run depends on it"


def test_what_is_imported_is_what_is_read_off_the_code():
    """Against the interpreter: whatever importing a module loads, the code reaches."""
    import subprocess
    import sys

    script = (
        "import json, sys\n{line}\n"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() "
        "if n.split('.')[0] == 'kexian_utils']))"
    )
    for line in (
        "import kexian_utils.bert",
        "import kexian_utils.experiment",
        "from kexian_utils.bert import tensor_role",
        "from kexian_utils import bert; bert.minilm",
        "from kexian_utils.qa import reader",
    ):
        done = subprocess.run(
            [sys.executable, "-c", script.format(line=line)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        loaded = {Path(path) for path in json.loads(done.stdout)}
        cell = {"cell_type": "code", "metadata": {}, "source": line}
        reached = set(dependencies.sources(ROOT, {"cells": [cell]}))
        assert loaded <= reached
        if "tensor_role" in line:
            assert ROOT / "kexian_utils/bert/probing.py" not in reached


# -- what each kind of change runs again ----------------------------------------------------------

ALL = {article.id for article in CHAPTERS}
NEW_CODE = "\nchanged = 1\n"
WGAN = catalogue.load(ROOT).article("4439")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of the book to change, and the keys of its chapters."""
    import shutil

    root = tmp_path_factory.mktemp("copied")
    shutil.copytree(ROOT / "kexian_utils", root / "kexian_utils")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copyfile(ROOT / "uv.lock", root / "uv.lock")
    return root, keys_of(root)


def keys_of(root):
    return {
        article.id: cache.run_key(root, article, files.read_json(root / article.path), COMMITTED)
        for article in catalogue.load(root).articles
        if (root / article.path).is_file()
    }


def in_cell(cell_id, text):
    def change(source):
        notebook = json.loads(source)
        (cell,) = (c for c in notebook["cells"] if c["id"] == cell_id)
        cell["source"] += [text]
        return json.dumps(notebook)

    return change


def add(text):
    return lambda source: source + text


def docstring(source):
    assert source.startswith('"""')
    return source.replace('"""', '"""More than that: ', 1)


# Modules by their names alone, wherever in the package they stand.
KINDS = {
    "a comment": ("run.py", add("# a comment\n"), set()),
    "a docstring": ("autodiff.py", docstring, set()),
    "a module of one chapter": ("wgan.py", add(NEW_CODE), {"4439", "6163", "8757"}),
    "a module of a lazy package": ("rope_2d.py", add(NEW_CODE), {"8397"}),
    "the reader": ("reader.py", add(NEW_CODE), {"6906"}),
    "the book's machinery": ("render.py", add(NEW_CODE), set()),
    "what all figures need": ("plots.py", add(NEW_CODE), ALL),
    "what all claims need": ("run.py", add(NEW_CODE), ALL),
    "a file of data": ("v2-facts.tsv", add("\n"), {"6906"}),
    "what stands beside data": ("README.md", add("\n"), set()),
    "the version of a package": ("uv.lock", add("\n"), ALL),
    "prose of a chapter": (WGAN.path.name, in_cell("title", "More."), set()),
    "a comment in a cell": (WGAN.path.name, in_cell("sizes", "\n# more"), set()),
    "code in a cell": (WGAN.path.name, in_cell("sizes", "\nmore = 1"), {"4439"}),
    "a chapter's budget": (
        WGAN.descriptor_path.name,
        lambda source: re.sub(r"(?m)^default = \d+", "default = 80", source),
        set(),
    ),
    "another claim of a chapter": (
        WGAN.descriptor_path.name,
        lambda source: source.replace('"C1",', '"C1", "C99",', 1),
        {"4439"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_change_runs_these_again(copied, kind):
    root, before = copied
    name, change, again = KINDS[kind]
    path = min(root.rglob(name))
    old = path.read_text(encoding="utf-8")
    new = change(old)
    assert new != old
    try:
        path.write_text(new, encoding="utf-8")
        after = keys_of(root)
    finally:
        path.write_text(old, encoding="utf-8")
    assert {article for article in before if before[article] != after[article]} == again


def test_a_loader_of_treebanks_does_not_reach_pictures(copied):
    root, before = copied
    (path,) = root.rglob("treebanks.py")
    with path.open("a", encoding="utf-8") as file:
        file.write(NEW_CODE)
    after = keys_of(root)
    again = {article for article in before if before[article] != after[article]}
    assert "7476" in again
    assert "4439" not in again
