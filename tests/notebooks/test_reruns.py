"""Chapters under other parameters than the committed ones, and re-runs that must change nothing."""

import copy
import subprocess
import sys

import fixture_notebooks as fixtures
import nbformat
import pytest
from project_notebooks import (
    ARTICLES,
    AT_FULL_SIZE,
    CHAPTERS,
    ROOT,
    SMOKE_SEED,
    WEEKLY,
    smoked,
    some,
)

from kexian_utils.errors import KexianError
from kexian_utils.experiment.records import outputs, read_study
from kexian_utils.mime import CLAIM_MIME
from kexian_utils.runner.checks import audit
from kexian_utils.runner.checks.choice import rotation, turns
from kexian_utils.runner.checks.compare import compare_notebooks, render_differences
from kexian_utils.runner.execution import cells
from kexian_utils.runner.execution.execute import kernel_name, run_notebook
from kexian_utils.runner.execution.files import COMMITTED, Setting, read_notebook
from kexian_utils.runner.execution.provisioner import KERNEL, forks


def uses_keras(article):
    """Whether the chapter imports a framework; without one its records say backend "none"."""
    return cells.uses_keras(read_notebook(ROOT / article.path))


def backends_at_another_seed(article, turn):
    """At a push one backend, at the chapter's next turn the other; the seeds change in threes."""
    if WEEKLY:
        return ["tensorflow", "jax"]
    return ["jax" if turn % 2 and uses_keras(article) else "tensorflow"]


SMOKES = [
    pytest.param(article, backend, id=f"{article.id}-{backend}", marks=marks)
    for backend, marks in (("tensorflow", ()), ("jax", pytest.mark.jax))
    for article in smoked(CHAPTERS, backend)
]
TURNS = [(article, rotation()) for article in CHAPTERS] if WEEKLY else turns(CHAPTERS)
ROTATING = [article for article, _ in TURNS]
OTHER_SEED = {article.id: 1 + turn % 3 for article, turn in TURNS}
OTHER_SEEDS = [
    pytest.param(
        article,
        backend,
        id=f"{article.id}-{backend}",
        marks=pytest.mark.jax if backend == "jax" else (),
    )
    for article, turn in TURNS
    for backend in backends_at_another_seed(article, turn)
]
SOME = some(CHAPTERS)

weekly = pytest.mark.skipif(not WEEKLY, reason="runs only with KEXIAN_WEEKLY=1")

pytestmark = pytest.mark.chapters


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Run a notebook once per setting and keep the executed copy: run(path, setting)."""
    folder = tmp_path_factory.mktemp("runs")
    done = {}

    def run_once(path, setting):
        key = (path, setting)
        if key not in done:
            output = folder / setting.name / path.parent.name / path.name
            try:
                done[key] = read_notebook(run_notebook(path, output, setting).path)
            except KexianError as error:
                done[key] = error
        if isinstance(done[key], KexianError):
            pytest.fail(f"{setting.name}: {done[key]}", pytrace=False)
        return copy.deepcopy(done[key])

    return run_once


def only_once_without_keras(article, backend):
    if backend != "tensorflow" and not uses_keras(article):
        pytest.skip("without Keras there is one backend, which the other test ran")


def check_claims(article, notebook, setting):
    assert audit.claim_problems(article, notebook, setting) == []


@pytest.mark.parametrize(("article", "backend"), SMOKES)
def test_smoke_at_another_seed(run, article, backend):
    only_once_without_keras(article, backend)
    setting = Setting("smoke", SMOKE_SEED, backend)
    check_claims(article, run(ROOT / article.path, setting), setting)


@pytest.mark.slow
@pytest.mark.parametrize(("article", "backend"), OTHER_SEEDS)
def test_default_at_another_seed(run, article, backend):
    only_once_without_keras(article, backend)
    setting = Setting(COMMITTED.profile, OTHER_SEED[article.id], backend)
    check_claims(article, run(ROOT / article.path, setting), setting)


@pytest.mark.parametrize(("article", "backend"), SMOKES)
def test_smoke_keeps_its_budget(run, article, backend):
    only_once_without_keras(article, backend)
    fresh = run(ROOT / article.path, Setting("smoke", SMOKE_SEED, backend))
    assert audit.budget_problems(article, fresh) == []


# ---------------------------------------------------------------------- forked and cold kernels


@pytest.mark.parametrize("article", [pytest.param(a, id=a.id) for a in ROTATING])
def test_a_cold_kernel_says_the_same_in_every_digit(run, article, tmp_path, monkeypatch):
    path, setting = ROOT / article.path, Setting("smoke", SMOKE_SEED)
    assert kernel_name() == KERNEL, "the kernel is not installed"
    forked = run(path, setting)
    monkeypatch.setenv("KEXIAN_FORK", "0")
    assert not forks()
    cold = read_notebook(run_notebook(path, tmp_path / path.name, setting).path)
    assert audit.digit_problems(forked, cold) == []


def test_a_digit_that_differs_is_named(chapter):
    other = copy.deepcopy(chapter)
    assert audit.digit_problems(chapter, other) == []
    fixtures.cell(other, "measure").outputs[0].text += "1"
    assert "cell measure" in audit.digit_problems(chapter, other)[0]
    del fixtures.cell(other, "measure").outputs[0]
    assert audit.digit_problems(chapter, other)
    assert "no chapter" in audit.digit_problems(fixtures.build(), fixtures.build())[0]


# ------------------------------------------------------------------------------------ the study

STUDIES = [param for param in ARTICLES if (ROOT / param.values[0].study_path).is_file()]


@pytest.mark.parametrize("article", STUDIES)
def test_study_record_is_of_the_present_code(article):
    assert audit.study_problems(ROOT, article) == []


@weekly
@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("article", STUDIES)
def test_study_decides_as_recorded(run, article):
    record = read_study(ROOT / article.study_path)
    setting = Setting("study", record["seed"], record["backend"])
    fresh = run(ROOT / article.path, setting)
    check_claims(article, fresh, setting)
    verdicts = {claim["claim"]: claim["verdict"] for _, claim in outputs(fresh, CLAIM_MIME)}
    assert verdicts == {claim["claim"]: claim["verdict"] for claim in record["claims"]}


# -------------------------------------------------------------------------------- at full size


@pytest.mark.slow
@pytest.mark.parametrize("article", some(AT_FULL_SIZE))
def test_full_is_rehearsed_on_generated_data(article, tmp_path):
    try:
        found = audit.rehearsal_problems(ROOT, article, tmp_path)
    except KexianError as error:
        pytest.fail(str(error), pytrace=False)
    assert found == []


@pytest.mark.parametrize("article", [pytest.param(a, id=a.id) for a in AT_FULL_SIZE])
def test_full_without_a_gpu_is_refused_at_once(article, tmp_path):
    assert audit.refusal_problems(ROOT, article, tmp_path) == []


# ---------------------------------------------------------------------------------- seed audit


@pytest.mark.parametrize("article", SOME)
def test_disturbed_global_random_state_changes_nothing(run, article, tmp_path):
    undisturbed = run(ROOT / article.path, Setting("smoke", SMOKE_SEED))
    assert audit.seed_problems(ROOT, article, tmp_path, undisturbed) == []


def test_seed_audit_finds_unseeded_randomness(run, tmp_path):
    notebook = fixtures.build()
    fixtures.cell(notebook, "result").source = "np.random.random()"
    fixtures.cell(notebook, "measure").source += "\nimport random; print(random.random())"
    plain = fixtures.make_root(tmp_path / "plain", notebook)
    other = fixtures.make_root(tmp_path / "other", audit.disturbed(notebook))
    found = compare_notebooks(run(plain, COMMITTED), run(other, COMMITTED))
    assert [difference.cell_id for difference in found] == ["measure", "result"]


# ------------------------------------------------------------------------------ no false alarms


def test_ten_reruns_of_a_small_chapter_raise_no_alarm(chapter_root, tmp_path):
    stored = nbformat.read(chapter_root / fixtures.RELATIVE, as_version=4)
    path = fixtures.make_root(tmp_path)
    for number in range(10):
        nbformat.write(stored, path.with_name(f"copy-{number}.ipynb"))
    process = fixtures.run_nbval(tmp_path)
    assert process.returncode == 0, process.stdout
    code_cells = sum(cell.cell_type == "code" for cell in stored.cells)
    assert f"{10 * code_cells} passed" in process.stdout


def fail_on(differences):
    if differences:
        pytest.fail(render_differences(differences), pytrace=False)


def assert_rerun_is_green(article, tmp_path, variables=None):
    path = ROOT / article.path
    result = run_notebook(path, tmp_path / path.name, COMMITTED, variables=variables)
    fail_on(compare_notebooks(read_notebook(path), read_notebook(result.path)))


@weekly
@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("article", ARTICLES)
def test_no_alarm_with_other_vector_instructions(article, tmp_path):
    assert_rerun_is_green(article, tmp_path, {"ONEDNN_MAX_CPU_ISA": "AVX2"})


@weekly
@pytest.mark.slow
@pytest.mark.weekly
@pytest.mark.parametrize("article", ARTICLES)
def test_no_alarm_while_another_core_is_busy(article, tmp_path):
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert_rerun_is_green(article, tmp_path)
    finally:
        busy.kill()
        busy.wait()
