"""A planted mistake turns the claim red that it breaks, and no other."""

import fixture_notebooks as fixtures
import nbformat
import pytest
from project_notebooks import ARTICLES, CHAPTERS, ROOT, some

from kexian_utils import catalogue
from kexian_utils.errors import KexianError
from kexian_utils.runner.checks import audit
from kexian_utils.runner.checks.mutate import read_mistakes, run_mutations


@pytest.mark.parametrize("article", ARTICLES)
def test_every_decided_claim_has_a_planted_mistake_or_a_reason(article):
    assert audit.planting_problems(ROOT, article) == []


def test_no_claim_merely_waits_for_its_planted_mistake():
    waiting = [c for a in CHAPTERS for c, reason in a.unplanted.items() if "not planted" in reason]
    assert not waiting, "plant a mistake, or say why none can be planted"


def test_what_is_not_planted_is_named(chapter_root):
    """C1 is a theorem, C2 empirical, C3 a quotation."""

    def problems(entries):
        path = chapter_root / fixtures.RELATIVE.with_suffix(".toml")
        path.write_text(fixtures.DESCRIPTOR + entries, encoding="utf-8")
        (article,) = catalogue.load(chapter_root).articles
        found = audit.planting_problems(chapter_root, article)
        path.write_text(fixtures.DESCRIPTOR, encoding="utf-8")
        return " ".join(found)

    planted = mistake("C1", "0.5 * (a**2", "0.25 * (a**2")
    assert problems("[unplanted]\nC2 = 'a reason in words'\n" + planted) == ""
    assert "C2 has no planted mistake" in problems(planted)
    assert "C1 has no planted mistake" in problems("")
    assert "C1 is a theorem" in problems("[unplanted]\nC1 = 'a reason in words'\n")
    assert "C3 stands under [unplanted]" in problems("[unplanted]\nC3 = 'a reason in words'\n")


@pytest.mark.chapters
@pytest.mark.parametrize("article", some(CHAPTERS))
def test_planted_mistakes_of_the_chapter_turn_their_claims_red(article):
    # test_reruns shows that the unchanged chapter is green with this profile and seed.
    try:
        wrong = audit.mistake_problems(ROOT, article)
    except KexianError as error:
        pytest.fail(str(error), pytrace=False)
    assert not wrong, "\n".join(wrong)


MUTATIONS = {
    "caught": ("C1", "0.5 * (a**2", "0.25 * (a**2"),
    "stayed green": ("C1", 'ylabel="value"', 'ylabel="values"'),
    "missed another claim": ("C2", "bound = 0.5", "bound = 0.25"),
    "raised another exception": ("C1", "np.max(2 * a", "np.max(2 / 0 * a"),
}


def mistake(claim, find, replace):
    return f"[[mistake]]\nclaim = '{claim}'\nfind = '{find}'\nreplace = '{replace}'\n"


@pytest.fixture
def results(tmp_path):
    table = "".join(mistake(*entry) for entry in MUTATIONS.values())
    path = fixtures.make_root(tmp_path, fixtures.build(), table)
    return run_mutations(path, profile="default", timeout=120)


def test_each_way_in_which_a_mutation_can_end_is_told_apart(results):
    baseline, *others = results
    assert baseline.ok, baseline
    assert [result.outcome for result in others] == list(MUTATIONS)
    assert [result.ok for result in others] == [True, False, False, False]
    assert "ZeroDivisionError" in str(others[3])
    assert "`bound = 0.5` → `bound = 0.25`: missed another claim C1 of article 1" in str(others[2])


def test_a_red_baseline_is_reported_and_nothing_else_run(tmp_path):
    notebook = fixtures.build()
    cell = fixtures.cell(notebook, "bound")
    cell.source = cell.source.replace("0.5", "0.3")
    path = fixtures.make_root(tmp_path, notebook, mistake("C1", "0.3", "0.2"))
    (result,) = run_mutations(path, timeout=120)
    assert not result.ok
    assert "the unchanged chapter missed another claim: C1" in str(result)


UNSTEADY = {
    "rebound": ("result", "a = a + 1\nfloat(a.sum())"),
    "consumed": ("result", "int(rng.integers(10**9))"),
    "grown": ("result", "grown.append(1)\nlen(grown)"),
}


@pytest.mark.parametrize("name", UNSTEADY)
def test_a_cell_that_cannot_be_run_again_is_named(tmp_path, name):
    notebook = fixtures.build()
    cell, source = UNSTEADY[name]
    fixtures.cell(notebook, "measure").source += "\ngrown = []"
    fixtures.cell(notebook, cell).source = source
    path = fixtures.make_root(tmp_path, notebook, mistake("C1", "0.5 * (a**2", "0.25 * (a**2"))
    result, planted = run_mutations(path, timeout=120)
    assert planted.ok
    assert not result.ok
    assert "says something else when a cell is run again: cell result" in str(result)
    fixtures.cell(notebook, cell).metadata["tags"] = ["nbval-ignore-output"]
    nbformat.write(notebook, path)
    assert all(r.ok for r in run_mutations(path, timeout=120))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[mistake]]\nclaim = 'C1'\nfind = 'x'\n", r"\[\[mistake\]\] 1: replace is missing"),
        ("mistake = 1", "mistake must be tables"),
        (mistake("C9", "bound", ""), r"there is no claim 'C9'; `claims` lists C1, C2, C3"),
        (mistake("C1", "nowhere", ""), "'nowhere' .for C1. occurs 0 times"),
        (mistake("C1", "np", "x"), "must occur exactly once"),
        (mistake("C1", "bound =", "bound ="), "changes nothing"),
    ],
)
def test_bad_lists_of_mistakes_are_named(tmp_path, text, message):
    path = fixtures.make_root(tmp_path, nbformat.from_dict(fixtures.build()), text)
    with pytest.raises((KexianError, ValueError), match=message):
        read_mistakes(path)


def test_a_chapter_without_a_descriptor_is_named(tmp_path):
    path = fixtures.make_root(tmp_path, fixtures.build())
    path.with_suffix(".toml").unlink()
    with pytest.raises(KexianError, match="there is no small-chapter.toml"):
        read_mistakes(path)
