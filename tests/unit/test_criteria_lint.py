"""The lint for criteria finds what a hard reader found, and lets the usual forms pass."""

import ast

import pytest

from kexian_utils.runner.checks import criteria

HEAD = "import numpy as np\nfrom scipy.special import expit\nfrom kexian_utils import losses\n"


def lint(*cells, kind="empirical"):
    trees = [ast.parse(HEAD)] + [ast.parse(cell.replace("KIND", repr(kind))) for cell in cells]
    return criteria.problems(trees)


CONSTANT, BEST = "is a constant", "is decided by the best of several"
RED = {
    "function of numbers": ("exp.check('C1', expit(0.0), equal_to(0.5), kind=KIND)", CONSTANT),
    "in a dictionary": (
        "exp.check('C1', {'a': f(1), 'b': 2 * np.pi}, {'a': c, 'b': c}, kind=KIND)",
        CONSTANT,
    ),
    "in a name": ("m = {'a': float(np.exp(0))}\nexp.check('C1', m, {'a': c}, kind=KIND)", CONSTANT),
    "added later": (
        "m = {'a': x}\nm |= {'b': expit(0.0)}\nexp.check('C1', m, {'a': c, 'b': c}, kind=KIND)",
        CONSTANT,
    ),
    "in a function": (
        "def m():\n    return {'a': expit(0.0)}\nexp.check('C1', m, {'a': c}, kind=KIND)",
        CONSTANT,
    ),
    "best seed": ("exp.check('C1', x.max(), experiment.at_least(1), kind=KIND)", BEST),
    "best over something": (
        "exp.check('C1', {'a': float(np.max(x) / y)}, {'a': at_least(1)}, kind=KIND)",
        BEST,
    ),
    "least of several": ("exp.check('C1', min(x), experiment.at_most(1), kind=KIND)", BEST),
    "put in by name": (
        "m = {}\nm['a'] = x.max()\nexp.check('C1', m, {'a': at_least(1)}, kind=KIND)",
        BEST,
    ),
}
GREEN = {
    "worst seed": "exp.check('C1', x.min(), experiment.at_least(1), kind=KIND)",
    "all seeds": "exp.check('C1', x, experiment.at_least(1), kind=KIND)",
    "largest error": "exp.check('C1', np.abs(x).max(), experiment.at_most(1), kind=KIND)",
    "a value of the library": "exp.check('C1', losses.f(0.0), c, kind=KIND)",
    "a function of the chapter": "def f(x): return x\nexp.check('C1', f(0.0), c, kind=KIND)",
    "names by the code": (
        "x = 1\nexp.check('C1', {f'{k}': x for k in r}, {f'{k}': c for k in r}, kind=KIND)"
    ),
}


@pytest.mark.parametrize("name", RED)
def test_a_criterion_that_decides_nothing_is_named(name):
    source, words = RED[name]
    found = lint("x = y = f = c = 1", source)
    assert len(found) == 1
    assert found[0].startswith("C1: ")
    assert words in found[0]


@pytest.mark.parametrize("name", GREEN)
def test_usual_forms_pass(name):
    assert lint("x = y = c = r = 1", GREEN[name]) == []


def test_the_largest_case_may_refute_a_theorem():
    source = "exp.check('C1', np.max(x), experiment.at_least(1), kind=KIND)"
    assert lint("x = 1", source, kind="theorem") == []
