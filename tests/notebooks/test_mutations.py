"""A planted mistake turns the claim red that it breaks, and no other."""

import fixture_notebooks as fixtures
import nbformat
import pytest
from project_notebooks import ARTICLES, CHAPTERS, ROOT, SMOKE_SEED, some

from kexian_utils.errors import KexianError
from kexian_utils.experiment.records import outputs
from kexian_utils.mime import CLAIM_MIME
from kexian_utils.runner.checks.mutate import read_mistakes, run_mutations
from kexian_utils.runner.execution.execute import read_notebook

MUST_HAVE = ("theorem", "approximation")


@pytest.mark.parametrize("article", ARTICLES)
def test_every_theorem_and_approximation_has_a_planted_mistake(article):
    notebook = read_notebook(ROOT / article.path)
    planted = {mistake.claim for mistake in read_mistakes(ROOT / article.path)}
    needed = {
        record["claim"]
        for _, record in outputs(notebook, CLAIM_MIME)
        if record["kind"] in MUST_HAVE and record["verdict"] in ("holds", "refuted")
    }
    assert needed <= planted, f"no planted mistake for {sorted(needed - planted)}"
    assert planted <= set(article.claims)


@pytest.mark.chapters
@pytest.mark.parametrize("article", some(CHAPTERS))
def test_planted_mistakes_of_the_chapter_turn_their_claims_red(article):
    try:
        # test_reruns shows that the unchanged chapter is green with this profile and seed.
        results = run_mutations(ROOT / article.path, seed=SMOKE_SEED, baseline=False)
    except KexianError as error:
        pytest.fail(str(error), pytrace=False)
    for result in results:
        print(f"{result.seconds:6.1f} s  {result}")
    wrong = [str(result) for result in results if not result.ok]
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
