"""The digest of a study covers what its claims depend on, and nothing beside it."""

import ast
from pathlib import Path

import nbformat
import pytest

from kexian_utils import catalogue
from kexian_utils.runner.execution import cells
from kexian_utils.runner.execution.files import read_notebook
from kexian_utils.runner.execution.slicing import statements_behind, study_digest

ROOT = Path(__file__).resolve().parents[2]
STUDIES = [a for a in catalogue.load(ROOT).articles if (ROOT / a.study_path).is_file()]
CELLS = [
    'profile = "default"\nseed = 0',
    "import numpy as np\nfrom kexian_utils import experiment, plots\n\n"
    "exp = experiment.start(1, profile=profile, seed=seed)",
    'sizes = exp.sizes({"default": dict(n=9), "study": dict(n=99)})\nother = 3',
    '''
def loss(w):
    """The loss."""
    return np.mean((w - target) ** 2)  # equation (1)


def step(w):
    seen.append(loss(w))
    return w - rate * w


target, rate, seen = 1.0, 0.1, []
rng = exp.rng("start")
''',
    "w = rng.normal(size=sizes.n)\nfor i in range(5):\n    w = step(w)",
    """
fig, ax = plots.subplots()
ax.plot(seen, label="loss")
ax.set_xlabel("steps")
plots.show(fig, alt="A line that falls from left to right.")
print(np.max(seen))
""",
    'exp.check("C1", other, experiment.at_most(4), sentence="A.", kind="theorem")',
    """
exp.check(
    "C2",
    lambda: seen[-1] / first(),
    experiment.at_most(0.9),
    sentence="It falls.",
    kind="empirical",
    needs="study",
    note="over five steps",
)
""",
    "first = lambda: seen[0]",
]
CELLS.insert(7, CELLS.pop())  # defined before the claim, and read when it is decided


def digest(*changes):
    text = "\0".join(CELLS)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return study_digest(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(source) for source in text.split("\0")]
        )
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('ax.set_xlabel("steps")', 'ax.set_xlabel("steps of training")\nax.grid(True)'),
        ("  # equation (1)", "  # equation (2), with a square"),
        ('"""The loss."""', '"""The loss, averaged."""'),
        ("other = 3", "other = 2"),
        ('"C1", other', '"C1", other + 0'),
        ('note="over five steps"', 'note="over five steps of one seed"'),
        ("import numpy as np", "import numpy as np\nimport math"),
        ("import experiment, plots", "import experiment, plots, sliders"),
        ("print(np.max(seen))", "print(np.min(seen), sorted(seen))"),
    ],
)
def test_what_the_claims_do_not_depend_on_does_not_count(old, new):
    assert digest((old, new)) == digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("n=99", "n=100"),
        ("(w - target) ** 2", "np.abs(w - target)"),
        ("target, rate", "rate, target"),
        ("range(5)", "range(6)"),
        ("at_most(0.9)", "at_most(0.95)"),
        ("It falls.", "It falls for all seeds."),
        ("seen[0]", "seen[1]"),
        ("seed = 0", "seed = 1"),
        ('exp.rng("start")', 'exp.rng("other")'),
        ("import numpy as np", "import cupy as np"),
        (
            "other = 3",
            "other = 3\nseen = [5.0]",
        ),  # too early: rebound later, but read later as well
        ("print(np.max(seen))", "seen.append(2.0)"),  # a figure's cell that changes what is read
        ("print(np.max(seen))", "seen[0] = 2.0"),
        ("print(np.max(seen))", "seen += [2.0]"),
        ("print(np.max(seen))", "step(w)"),  # a function that changes it
        ("print(np.max(seen))", "np.random.shuffle(seen); shuffle(seen)"),
        ("\0w = rng", "\0pixels = rng.normal()\0w = rng"),  # a draw before the draws of the claim
    ],
)
def test_what_the_claims_depend_on_counts(old, new):
    assert digest((old, new)) != digest()


def test_without_a_claim_of_a_study_all_code_counts():
    without = ('needs="study",', "")
    assert digest(without) != digest(without, ('ax.set_xlabel("steps")', "pass"))


# -- the book's own studies -----------------------------------------------------------------------


def edited(notebook, change):
    """Copies with the syntax changed, one for each place where `change` finds something."""
    for number, cell in enumerate(notebook.cells):
        if not cells.is_code(cell):
            continue
        places = sum(change(node, act=False) for node in ast.walk(cells.parse_cell(cell)))
        for place in range(places):
            fresh = cells.parse_cell(cell)
            nodes = [node for node in ast.walk(fresh) if change(node, act=False)]
            change(nodes[place], act=True)
            copy = nbformat.from_dict({**notebook, "cells": list(notebook.cells)})
            copy.cells[number] = nbformat.from_dict({**cell, "source": ast.unparse(fresh)})
            yield copy


def relabelled(notebook):
    """A copy in which all labels and texts of figures are changed, and how many."""
    count, copy = 0, nbformat.from_dict({**notebook, "cells": list(notebook.cells)})
    for number, cell in enumerate(notebook.cells):
        if cells.is_code(cell):
            tree = cells.parse_cell(cell)
            count += sum(change_label(node, act=True) for node in ast.walk(tree))
            copy.cells[number] = nbformat.from_dict({**cell, "source": ast.unparse(tree)})
    return copy, count


def change_label(node, act):
    label = isinstance(node, ast.keyword) and node.arg in ("xlabel", "ylabel", "alt", "caption")
    if label and act:
        node.value = ast.BinOp(node.value, ast.Add(), ast.Constant(" x"))
    return label


def change_study_size(node, act):
    """A number in the statement `study = dict(…)` or `thorough = dict(…)`."""
    found = (
        isinstance(node, ast.Assign)
        and getattr(node.targets[0], "id", "") in ("study", "thorough", "common")
        and (isinstance(node.value, ast.Dict) or ast.unparse(node.value).startswith("dict("))
    )
    if found and act:
        numbers = [n for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
        numbers = [n for n in numbers if type(n.value) is int]
        numbers[0].value += 1
    return found


def change_criterion(node, act):
    """A bound of a claim that needs the study."""
    found = (
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "check"
        and any(k.arg == "needs" and k.value.value == "study" for k in node.keywords)
    )
    if found and act:
        node.args[2] = ast.Call(ast.Name("reversed"), [node.args[2]], [])
    return found


@pytest.mark.parametrize("article", [pytest.param(a, id=a.id) for a in STUDIES])
def test_figures_of_a_chapter_do_not_make_its_study_old_and_its_sizes_do(article):
    notebook = read_notebook(ROOT / article.path)
    present = study_digest(notebook)
    copy, count = relabelled(notebook)
    assert count >= 5
    assert study_digest(copy) == present
    for change in (change_study_size, change_criterion):
        others = list(edited(notebook, change))
        assert others
        assert present not in {study_digest(copy) for copy in others}, change.__name__


@pytest.mark.parametrize("article", [pytest.param(a, id=a.id) for a in STUDIES])
def test_the_statements_behind_a_study_define_all_that_they_read(article):
    """In their order, as a program of their own: no name is read that nothing has assigned."""
    trees = [s for tree in cells.code(read_notebook(ROOT / article.path)) for s in tree.body]
    behind = statements_behind(trees)
    assert 20 < len(behind) < 0.5 * len(trees)
    program = "\n".join(ast.unparse(tree) for tree in behind)
    lost = undefined(program)
    assert not lost, lost


def undefined(program):
    """Names that pyflakes' rule of Ruff finds undefined."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--quiet",
         "--output-format=concise", "-"],
        input=program, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout


def test_undefined_names_are_found():
    assert "Undefined name `lost`" in undefined("print(lost)")
    assert not undefined("kept = 1\nprint(kept)")


def test_a_loop_reads_what_it_adds_to_and_not_its_own_variable():
    program = (
        "rows = [1, 2]\nname = draw()\nother = draw()\ntotal = 0\n"
        "for name in rows:\n    for other in rows:\n        total += name * other\n"
        "exp.check('C1', total, limit, needs='study')"
    )
    behind = [ast.unparse(tree) for tree in statements_behind(ast.parse(program).body)]
    assert "total = 0" in behind
    assert not {"name = draw()", "other = draw()"} & set(behind)
    before = program.replace("for name in rows", "print(name)\nfor name in [name]")
    behind = [ast.unparse(tree) for tree in statements_behind(ast.parse(before).body)]
    assert "name = draw()" in behind
