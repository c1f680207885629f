"""`kexian check ID --all` asks for everything that CI asks, and says in one line what is broken."""

import re

import fixture_notebooks as fixtures
import nbformat
import pytest
from click.testing import CliRunner

from kexian_utils import catalogue
from kexian_utils.runner import audit
from kexian_utils.runner.cli import main
from kexian_utils.runner.errors import KexianError
from kexian_utils.runner.execute import Setting

ENTRIES = """
[budget]
smoke = 10
default = 10

[exemptions]
tolerance = 0

[unplanted]
C2 = "a figure of this fixture"

[[mistake]]
claim = "C1"
find = "0.5 * (a**2"
replace = "0.25 * (a**2"
"""


@pytest.fixture
def project(chapter, tmp_path, monkeypatch):
    """A project with the executed small chapter; the current folder during the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEXIAN_PREIMPORT", "numpy,ipykernel.kernelapp")
    for name in ("KEXIAN_BUILD", "KEXIAN_FORK", "KEXIAN_THREADS"):
        monkeypatch.delenv(name, raising=False)
    fixtures.make_root(tmp_path, chapter, ENTRIES)
    return tmp_path


def check(*words):
    result = CliRunner().invoke(main, ["check", "1", "--all", *words])
    return result.exit_code, result.output


def test_a_clean_chapter_passes_everything(project):
    code, output = check()
    assert code == 0, output
    assert output.count("  ok ") == 8, output
    assert "nothing is wrong (" in output


def test_each_fault_is_named_under_its_rule(project):
    path = project / fixtures.RELATIVE
    notebook = nbformat.read(path, as_version=4)
    fixtures.cell(notebook, "measure").outputs[0].text = "The largest product is 9.9 of 40."
    fixtures.cell(notebook, "result").source = "np.random.random()"
    fixtures.cell(notebook, "title").source = "No title"
    nbformat.write(notebook, path)
    descriptor = path.with_suffix(".toml")
    text = descriptor.read_text(encoding="utf-8")
    text = text.replace("smoke = 10", "smoke = 0.001")
    text = text.replace('C2 = "a figure of this fixture"', "")
    descriptor.write_text(text.replace('"0.25 *', '"0.50 *'), encoding="utf-8")
    code, output = check("--jobs", "1")
    assert code == 1
    parts = dict(re.findall(r"FAILED +[\d.]+ s  (.*)\n((?: +- .*\n)+)", output))
    assert "cell 6 (measure)" in parts["a fresh run says what is stored"]
    assert "[budget] of" in parts["smoke, seed 1: every claim is decided, within the budget"]
    wrong = parts["each planted mistake turns its claim red, and no other first"]
    assert "C1, `0.5 * (a**2` → `0.50 * (a**2`: stayed green" in wrong
    assert "(result)" in parts["nothing is drawn from the global random state"]
    assert (
        "must begin with the title"
        in parts["the stored notebook is clean (the rules of CONTRIBUTING)"]
    )
    rule = "each decided claim has a planted mistake or a reason why not"
    assert "C2 has no planted mistake" in parts[rule]


def test_claims_in_another_setting_are_named(chapter, project):
    (article,) = catalogue.load(project).articles
    setting = Setting("default", 0, "tensorflow")
    assert audit.claim_problems(article, chapter, setting) == []
    assert len(audit.claim_problems(article, chapter, Setting("default", 1))) == 3
    words = audit.claim_problems(article, chapter, Setting("smoke", 0))
    assert any("C2 is holds in profile smoke, and it needs default" in w for w in words)
    chapter.cells.remove(fixtures.cell(chapter, "tight"))
    chapter.cells.remove(fixtures.cell(chapter, "finish"))
    words = audit.claim_problems(article, chapter, setting)
    assert any("decides C1, C3 where the descriptor lists C1, C2, C3" in w for w in words)
    assert any("has the phases start" in w for w in words)


FULL = "sizes = exp.sizes({'smoke': {}, 'default': {}, 'full': {}})\n"
REFUSE = "if profile == 'full':\n    exp.require_gpu('this')\n"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            FULL + REFUSE.replace("exp.require_gpu('this')", "raise RuntimeError('no')"),
            "another way",
        ),
        (FULL, "`full` runs without a GPU"),
        (FULL + REFUSE, "needs a GPU, and the none backend"),
    ],
)
def test_a_full_profile_that_is_not_refused_is_named(project, monkeypatch, code, message):
    path = project / fixtures.RELATIVE
    notebook = nbformat.read(path, as_version=4)
    fixtures.cell(notebook, "set-up").source += "\n" + code
    nbformat.write(notebook, path)
    (article,) = catalogue.load(project).articles
    assert audit.refusal_problems(project, article, project / "x") == []  # without Keras
    monkeypatch.setattr(audit.cells, "uses_keras", lambda notebook: True)
    (found,) = audit.refusal_problems(project, article, project / "x")
    assert message in found


def test_a_rehearsal_is_asked_for(project):
    (article,) = catalogue.load(project).articles
    assert "[rehearsal]" in audit.rehearsal_problems(project, article, project / "x")[0]


def test_an_error_of_a_check_is_its_problem():
    def fail():
        raise KexianError("the kernel died.")

    (finding,) = audit.run_checks([audit.Check("a rule", fail)], 1)
    assert (finding.rule, finding.problems) == ("a rule", ["the kernel died."])
