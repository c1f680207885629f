"""All that CI asks of one chapter: what the tests of chapters and `kexian check ID --all` share.

Each function returns what is wrong, one sentence with the remedy each, and an empty list if
nothing is. Those that take an executed notebook run nothing themselves.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from nbformat import NotebookNode

from kexian_utils.catalogue import PROFILES, Article, Catalogue
from kexian_utils.errors import KexianError
from kexian_utils.experiment.claims import VERDICTS
from kexian_utils.experiment.records import outputs, read_study
from kexian_utils.mime import CLAIM_MIME, RUN_MIME
from kexian_utils.runner.checks import planted_changes
from kexian_utils.runner.checks.compare import CellDifference, compare_notebooks
from kexian_utils.runner.checks.hygiene import check_notebook, rules
from kexian_utils.runner.checks.mutate import read_mistakes, run_mutations
from kexian_utils.runner.execution import budgets, cells, pool
from kexian_utils.runner.execution.execute import run_notebook
from kexian_utils.runner.execution.files import (
    Run,
    Setting,
    failed_path,
    read_notebook,
    with_outputs_of,
    write_notebook,
)
from kexian_utils.runner.execution.provisioner import end_kernels
from kexian_utils.runner.execution.slicing import study_digest

SMOKE_SEED = 1  # not the committed one
RULES = {
    "rerun": "A fresh run says what is stored.",
    "smoke": f"Smoke at seed {SMOKE_SEED} decides every claim, within the budget.",
    "jax": "Smoke on JAX does so, too.",
    "mistakes": "Each cell says the same when it is run again; each planted mistake turns its "
    "claim red, and no other first.",
    "cold": "A cold kernel and a forked one say the same in every digit.",
    "seeds": "Nothing is drawn from the global random state.",
    "tolerances": "No tolerance is so wide that a number moved by three of them passes.",
    "hygiene": "The stored notebook is clean.",
    "planting": "Each decided claim has a planted mistake, or a reason if it is no theorem.",
    "study": "The record of the study is of the present code.",
    "rehearsal": "`full` runs on small data with the parameters of the rehearsal.",
    "refusal": "`full` without a GPU is refused at once.",
}
ONE_THREAD = {"KEXIAN_THREADS": "1"}  # so that `full` can be forked, too
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", **ONE_THREAD}
MUST_BE_PLANTED = ("holds", "refuted")
COLD = {"KEXIAN_FORK": "0"}
REFUSAL = "needs a GPU, and the tensorflow backend sees none"

# -- what an executed notebook shows --------------------------------------------------------------


def claim_problems(article: Article, notebook: NotebookNode, setting: Setting) -> list[str]:
    """Is every claim decided, quoted, or not run for want of a larger profile, in this setting?"""
    backend = setting.backend if cells.uses_keras(notebook) else "none"
    wanted = (setting.profile, setting.seed, backend)
    records = [record for _, record in outputs(notebook, CLAIM_MIME)]
    found = []
    decided = sorted(record["claim"] for record in records)
    if decided != sorted(article.claims):
        found.append(
            f"the run decides {', '.join(decided) or 'nothing'} where the descriptor lists "
            f"{', '.join(article.claims)}; each claim once."
        )
    for record in records:
        claim = record["claim"]
        ran = (record["profile"], record["seed"], record["backend"])
        if ran != wanted:
            found.append(f"{claim} was decided in {ran}, not in {wanted}; pass them on to start.")
        reached = PROFILES.index(setting.profile) >= PROFILES.index(record["needs"])
        if record["verdict"] not in VERDICTS or (record["verdict"] != "not run") != reached:
            found.append(
                f"{claim} is {record['verdict']} in profile {setting.profile}, and it needs "
                f"{record['needs']}."
            )
    phases = [record["phase"] for _, record in outputs(notebook, RUN_MIME)]
    if phases != ["start", "finish"]:
        found.append(
            f"the run has the phases {', '.join(phases) or 'none'}; it must start and end."
        )
    return found


def budget_problems(article: Article, notebook: NotebookNode) -> list[str]:
    """Did the run keep the chapter's budget?"""
    runs = [run for _, run in outputs(notebook, RUN_MIME) if run["phase"] == "finish"]
    return [words for run in runs if (words := budgets.exceeded(article, run)) is not None]


def shown(notebook: NotebookNode) -> list[tuple[str, Any]]:
    """All outputs, to the last digit, but for records of the run and cells that may differ."""
    return [
        (cell.id, output)
        for cell in notebook.cells
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", ())
        for output in cell.outputs
        if RUN_MIME not in output.get("data", {})
    ]


def digit_problems(forked: NotebookNode, cold: NotebookNode) -> list[str]:
    """Do a forked and a cold kernel say the same in every digit?"""
    first, second = shown(forked), shown(cold)
    if len(first) <= 5:
        return [f"the run shows {len(first)} outputs; that is no chapter."]
    if first == second:
        return []
    differ = [a for (a, x), (_, y) in zip(first, second, strict=False) if x != y]
    place = f"cell {differ[0]}" if differ else "the number of outputs"
    return [f"a cold kernel says something else than a forked one: {place}; seed what it draws."]


# -- what stands in the repository ----------------------------------------------------------------


def unplanted_claims(article: Article, notebook: NotebookNode) -> list[str]:
    """The claims that the stored run decides and that no planted mistake turns red."""
    planted = {mistake.claim for mistake in article.mistakes}
    return [
        record["claim"]
        for _, record in outputs(notebook, CLAIM_MIME)
        if record["verdict"] != "quoted" and record["claim"] not in planted
    ]


def planting_problems(root: Path, article: Article) -> list[str]:
    """Has each decided claim a planted mistake whose fragment occurs once, or a reason why not?"""
    notebook = read_notebook(root / article.path)
    read_mistakes(root / article.path)
    name, bare = article.descriptor_path.name, unplanted_claims(article, notebook)
    found = [
        f"{claim} has no planted mistake; add a [[mistake]] to {name}, or the reason under "
        "[unplanted]."
        for claim in bare
        if claim not in article.unplanted
    ]
    strict = {
        record["claim"]
        for _, record in outputs(notebook, CLAIM_MIME)
        if record["kind"] in ("theorem", "approximation") and record["verdict"] in MUST_BE_PLANTED
    }
    found += [
        f"{claim} is a theorem or an approximation, so that no reason will do; add a [[mistake]] "
        f"to {name}."
        for claim in bare
        if claim in strict and claim in article.unplanted
    ]
    found += [
        f"{claim} stands under [unplanted] of {name}, but no stored output decides it; take it out."
        for claim in article.unplanted
        if claim not in bare
    ]
    return found


def study_problems(root: Path, article: Article) -> list[str]:
    """Is the study's record of the present code?"""
    record = read_study(root / article.study_path)
    if record["code"] == study_digest(read_notebook(root / article.path)):
        return []
    return [
        f"the study is of other code; run `kexian run {article.id} --profile study --record`, then "
        f"`kexian accept {article.id}`."
    ]


# -- what has to be run ---------------------------------------------------------------------------


def mistake_problems(root: Path, article: Article) -> list[str]:
    """Can each cell be run again, and does each planted mistake turn its claim red?"""
    results = run_mutations(root / article.path, seed=SMOKE_SEED)
    return [f"{result}." for result in results if not result.ok]


def refusal_problems(root: Path, article: Article, folder: Path) -> list[str]:
    """Is `full` refused without a GPU, right after the start?"""
    path = root / article.path
    if not cells.uses_keras(read_notebook(path)):
        return []  # nothing that a GPU could run
    copy_of = folder / path.name
    try:
        run_notebook(path, copy_of, Setting("full"), variables=NO_GPU)
    except KexianError as error:
        if REFUSAL not in str(error):
            return [f"`full` without a GPU ends in another way: {error}"]
    else:
        return ["`full` runs without a GPU; call exp.require_gpu in the cell of the sizes."]
    phases = [r["phase"] for _, r in outputs(read_notebook(failed_path(copy_of)), RUN_MIME)]
    return [] if phases == ["start"] else [f"`full` is refused late, after {', '.join(phases)}."]


def rehearsal_problems(root: Path, article: Article, folder: Path) -> list[str]:
    """Does `full` run on small data with the parameters of the rehearsal?"""
    if not article.rehearsal:
        return [f"[rehearsal] of {article.descriptor_path.name} must say how `full` runs here."]
    path, setting = root / article.path, Setting("full")
    result = run_notebook(
        path, folder / path.name, setting, parameters=dict(article.rehearsal), variables=ONE_THREAD
    )
    return claim_problems(article, read_notebook(result.path), setting)


DISTURB = """
import random as _random, numpy as _numpy
_random.seed({n}); _numpy.random.seed({n}); _random.random(); _numpy.random.random({n})
"""
DISTURB_KERAS = """
import sys as _sys
if "keras" in _sys.modules: _sys.modules["keras"].utils.set_random_seed({n})
"""
IMPORT_KERAS = """import os as _os
_os.environ["OMP_NUM_THREADS"] = "1"
_os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # as experiment.start does
import keras as _keras
"""


def disturbed(notebook: NotebookNode) -> NotebookNode:
    """A copy with cells after each code cell that disturb the global random state."""
    result, keras = copy.deepcopy(notebook), cells.uses_keras(notebook)
    result.cells = []
    number = 1000
    for cell in notebook.cells:
        result.cells.append(copy.deepcopy(cell))
        if cell.cell_type != "code":
            continue
        first = "parameters" in cell.metadata.get("tags", ())
        source = (IMPORT_KERAS if keras and first else "") + DISTURB + DISTURB_KERAS
        number += 1
        extra = nbformat.v4.new_code_cell(source.format(n=number), id=f"disturb-{number}")
        extra.metadata["tags"] = ["kexian-injected"]
        result.cells.append(extra)
    return result


def seed_problems(
    root: Path, article: Article, folder: Path, undisturbed: NotebookNode
) -> list[str]:
    """Does the chapter draw from the global random state, which a reader may have moved?"""
    path = folder / article.path.name
    write_notebook(path, disturbed(read_notebook(root / article.path)))
    original, output = root / article.path, folder / "run" / path.name
    result = run_notebook(path, output, Setting("smoke", SMOKE_SEED), folder=original.parent)
    differences = compare_notebooks(undisturbed, read_notebook(result.path))
    return [f"{_place(d)}; draw from exp.rng, or seed it with exp.keras_seed." for d in differences]


def _place(difference: CellDifference) -> str:
    return f"cell {difference.cell} ({difference.cell_id}): {difference.what}"


def rerun_problems(root: Path, article: Article) -> list[str]:
    """Does a fresh run say what is stored? A run that is still valid is taken up."""
    result = pool.run_article(Run(root, article))
    stored, fresh = read_notebook(root / article.path), read_notebook(result.path)
    if result.reused:
        fresh = with_outputs_of(stored, fresh)  # its prose and comments may be older
    return [
        f"{_place(d)}; see `kexian check {article.id}`." for d in compare_notebooks(stored, fresh)
    ]


# -- all of it ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One thing that CI asks of a chapter.

    Attributes:
        rule: in one line.
        problems: finds what is wrong.
    """

    rule: str
    problems: Callable[[], list[str]]


@dataclass(frozen=True)
class Finding:
    """What came of a check.

    Attributes:
        rule: in one line.
        problems: one sentence each.
        seconds: wall time.
    """

    rule: str
    problems: list[str]
    seconds: float


class _Runs:
    """Runs of the chapter, each once, whichever check needs it first."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._done: dict[str, NotebookNode | KexianError] = {}
        self._locks: dict[str, threading.Lock] = {}

    def __call__(self, setting: Setting, variables: dict[str, str] | None = None) -> NotebookNode:
        name = f"{setting.name}{'-cold' if variables else ''}"
        with self._locks.setdefault(name, threading.Lock()):
            if name not in self._done:
                output = self._folder / name / self._path.name
                try:
                    run_notebook(self._path, output, setting, variables=variables)
                    self._done[name] = read_notebook(output)
                except KexianError as error:
                    self._done[name] = error
        found = self._done[name]
        if isinstance(found, KexianError):
            raise found
        return found


def checks(root: Path, catalogue: Catalogue, article: Article, folder: Path) -> list[Check]:
    """All that CI asks of one chapter, the longest first.

    Args:
        root: the checkout.
        catalogue: of the checkout.
        article: the chapter.
        folder: an empty folder for its runs.
    """
    path = root / article.path
    runs = _Runs(path, folder / "runs")
    smoke = Setting("smoke", SMOKE_SEED)
    on_jax = Setting("smoke", SMOKE_SEED, "jax")

    def at_another_seed(setting: Setting) -> list[str]:
        executed = runs(setting)
        return claim_problems(article, executed, setting) + budget_problems(article, executed)

    notebook = read_notebook(path)
    found = {
        "mistakes": lambda: mistake_problems(root, article),
        "rerun": lambda: rerun_problems(root, article),
        "smoke": lambda: at_another_seed(smoke),
        "jax": lambda: at_another_seed(on_jax),
        "rehearsal": lambda: rehearsal_problems(root, article, folder / "rehearsal"),
        "cold": lambda: digit_problems(runs(smoke), runs(smoke, COLD)),
        "seeds": lambda: seed_problems(root, article, folder / "disturbed", runs(smoke)),
        "tolerances": lambda: planted_changes.problems(notebook),
        "hygiene": lambda: check_notebook(path, catalogue),
        "planting": lambda: planting_problems(root, article),
        "study": lambda: study_problems(root, article),
        "refusal": lambda: refusal_problems(root, article, folder / "refused"),
    }
    if not cells.uses_keras(notebook):
        del found["jax"]
    if not (root / article.study_path).is_file():
        del found["study"]
    if "full" not in cells.profiles(notebook):
        del found["rehearsal"], found["refusal"]
    return [Check(RULES[name], problems) for name, problems in found.items()]


def rules_markdown() -> str:
    """All rules for a chapter as a list, for those who write one."""
    listed = [rule for name, rule in RULES.items() if name != "hygiene"] + rules()
    return "\n".join(f"- {rule}" for rule in listed)


def run_checks(wanted: list[Check], jobs: int) -> Iterator[Finding]:
    """Run checks, `jobs` at a time, and give what came of each as soon as it is known."""

    def run(check: Check) -> Finding:
        started = perf_counter()
        try:
            problems = check.problems()
        except (KexianError, ValueError) as error:
            problems = [str(error)]
        return Finding(check.rule, problems, perf_counter() - started)

    with ThreadPoolExecutor(jobs) as threads:
        futures = [threads.submit(run, check) for check in wanted]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # Ctrl-C: without their kernels, the threads come to an end, too
            unfinished = [future for future in futures if not future.cancel()]
            while unfinished:
                end_kernels()
                unfinished = list(wait(unfinished, timeout=0.5).not_done)
            raise
