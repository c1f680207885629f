"""Planted mistakes: does a wrong constant in a chapter turn the claim red that it breaks?

A chapter's descriptor lists fragments of its code and what to put in their place::

    [[mistake]]
    claim = "C3"
    find = "0.5 * L"
    replace = "0.25 * L"

Each fragment must occur exactly once in the chapter's code. For every mistake the changed cells
run from the top in the ``smoke`` profile until a claim is missed. All runs of a chapter share one
process, so that the framework is imported once; each has a namespace of its own, and
``experiment.start`` sets the seeds anew. A mistake counts as caught only if the claim that it
names is the one that is missed.

The unchanged chapter runs first, each cell twice in a row: any cell can be run again, so the second
time it must say what it said the first.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nbformat import NotebookNode

from kexian_utils.catalogue import Mistake, parse_article
from kexian_utils.errors import ENVIRONMENT, FOUND, USAGE, KexianError
from kexian_utils.experiment.claims import MISSED
from kexian_utils.mime import CLAIM_MIME, RUN_MIME
from kexian_utils.runner.checks.compare import EXEMPT_TAGS
from kexian_utils.runner.execution.files import declared_parameters, read_notebook

CAUGHT = "caught"
GREEN = "stayed green"
OTHER_CLAIM = "missed another claim"
EXCEPTION = "raised another exception"
UNSTEADY = "says something else when a cell is run again"
BASELINE = "baseline"


@dataclass(frozen=True)
class MutationOutcome:
    """What became of one run.

    Attributes:
        claim: id of the claim that was to turn red; "baseline" for the unchanged chapter.
        find: the fragment that was replaced.
        replace: what stood in its place.
        outcome: "caught", "stayed green", "missed another claim" or "raised another exception".
            The unchanged chapter has to stay green, and not to say "something else when a cell is
            run again".
        detail: the exception's message, or nothing.
        seconds: wall time of the run.
    """

    claim: str
    find: str
    replace: str
    outcome: str
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the run ended as it must."""
        return self.outcome == (GREEN if self.claim == BASELINE else CAUGHT)

    def __str__(self) -> str:
        if self.claim == BASELINE:
            return f"the unchanged chapter {self.outcome}: {self.detail}".rstrip(": ")
        change = f"`{self.find}` → `{self.replace}`"
        return f"{self.claim}, {change}: {self.outcome} {self.detail}".rstrip()


def read_mistakes(notebook: Path) -> list[Mistake]:
    """The planted mistakes of a chapter, from the descriptor beside its notebook.

    Raises:
        KexianError: there is no descriptor or no mistake in it, or a fragment does not occur
            exactly once in the chapter's code.
        ValueError: the descriptor holds something else than it must.
    """
    path = notebook.resolve().with_suffix(".toml")
    if not path.is_file():
        raise KexianError(f"there is no {path.name} with planted mistakes; write it.")
    mistakes = parse_article(path.read_text(encoding="utf-8"), path.parent.name, path.stem).mistakes
    cells = read_notebook(notebook).cells
    code = "\n\0\n".join(cell.source for cell in cells if cell.cell_type == "code")
    for mistake in mistakes:
        count = code.count(mistake.find)
        if count != 1:
            raise KexianError(
                f"{path.name}: {mistake.find!r} (for {mistake.claim}) occurs {count} times in "
                "the chapter's code; it must occur exactly once."
            )
    return list(mistakes)


def sources(notebook: NotebookNode, profile: str, seed: int, name: str) -> list[str]:
    """Return the sources of the code cells, the parameters set as papermill would set them."""
    declared_parameters(notebook, name)
    found = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            source = cell.source
            if "parameters" in cell.metadata.get("tags", ()):
                source += f"\nprofile = {profile!r}\nseed = {seed!r}"
            found.append(source)
    return found


def run_mutations(
    notebook: Path,
    *,
    profile: str = "smoke",
    seed: int = 0,
    backend: str = "tensorflow",
    timeout: float = 900,
    baseline: bool = True,
) -> list[MutationOutcome]:
    """Run a chapter unchanged and with each planted mistake, in one subprocess.

    Args:
        notebook: the chapter; its descriptor stands beside it.
        profile: profile of the runs.
        seed: seed of the runs.
        backend: Keras backend of the runs.
        timeout: seconds for all runs together.
        baseline: whether to run the unchanged chapter first, each cell twice.

    Returns:
        The outcome of the unchanged chapter (if it was run), then one for each mistake, in the
        order of the descriptor.

    Raises:
        KexianError: bad input, or the process died or took too long.
    """
    read_mistakes(notebook)
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "MPLBACKEND": "Agg",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
    }
    command = [sys.executable, "-m", "kexian_utils.runner.checks.mutate", str(notebook)]
    command += ["--profile", profile, "--seed", str(seed), "--json"]
    command += [] if baseline else ["--no-baseline"]
    try:
        process = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=timeout
        )
    except subprocess.TimeoutExpired as error:
        done = (error.stdout or b"").decode(errors="replace").count("\n")
        raise KexianError(
            f"the planted mistakes of {notebook.name} took longer than {timeout:g} s, {done} runs "
            "were done; make the smoke profile smaller or raise the time limit.",
            ENVIRONMENT,
        ) from error
    lines = [line for line in process.stdout.splitlines() if line.startswith("{")]
    if process.returncode not in (0, FOUND):
        last = (process.stderr.strip().splitlines() or ["no message"])[-1]
        raise KexianError(
            f"the planted mistakes of {notebook.name} could not be run to the end: {last}",
            ENVIRONMENT,
        )
    return [MutationOutcome(**json.loads(line)) for line in lines]


# ------------------------------------------------------------------------------ in the subprocess


def _make_shell():
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor" if _ipython_9() else "NoColor"
    return InteractiveShell.instance(config=config)


def _ipython_9() -> bool:
    import IPython

    return IPython.version_info[0] >= 9


def run_until_missed(shell, cells: Sequence[str]) -> tuple[str | None, BaseException | None]:
    """Run cells in a fresh namespace until one raises.

    Args:
        shell: an IPython InteractiveShell.
        cells: sources of the code cells.

    Returns:
        The id of the claim that was missed (None if none was), and the exception (None if none).
    """
    from IPython.utils.capture import capture_output

    _begin(shell)
    for source in cells:
        with capture_output() as captured:
            result = shell.run_cell(source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            return _missed(captured), error
    return None, None


def _begin(shell) -> None:
    shell.reset(new_session=True)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()


def _missed(captured) -> str | None:
    """The claim that a cell missed."""
    for output in captured.outputs:
        record = (getattr(output, "data", None) or {}).get(CLAIM_MIME)
        if record and record["verdict"] == MISSED:
            return record["claim"]
    return None


def run_twice(shell, cells: Sequence[str], names: Sequence[str]) -> tuple[str, str]:
    """Run each cell twice in a row in a fresh namespace.

    Args:
        shell: an IPython InteractiveShell.
        cells: sources of the code cells.
        names: their ids; "" for a cell that may say something else each time, such as a speed.

    Returns:
        The outcome and, unless it is that all stayed green, what is wrong.
    """
    from IPython.utils.capture import capture_output

    _begin(shell)
    for name, source in zip(names, cells, strict=True):
        said: list[tuple] = []
        for _ in range(2):
            with capture_output() as captured:
                result = shell.run_cell(source, store_history=False)
            if error := result.error_before_exec or result.error_in_exec:
                claim, again = _missed(captured), f"cell {name}" + (", run again" if said else "")
                words = f"{type(error).__name__}: {error}"
                return OTHER_CLAIM if claim else EXCEPTION, f"{claim or words} ({again})".replace(
                    "\n", " "
                )
            said.append(_said(captured))
        if name and said[0] != said[1]:
            return UNSTEADY, f"cell {name}; do not rebind or change what an earlier cell made"
    return GREEN, ""


def _said(captured) -> tuple:
    """What a cell says, but for the records of the run, which hold times."""
    rich = [
        data
        for output in captured.outputs
        if RUN_MIME not in (data := getattr(output, "data", None) or {})
    ]
    return captured.stdout, captured.stderr, rich


def outcomes(
    cells: Sequence[str],
    names: Sequence[str],
    mistakes: Sequence[Mistake],
    *,
    baseline: bool = True,
) -> Iterator[MutationOutcome]:
    """Run the unchanged cells, each twice, then each mistake, and say what became of each.

    Args:
        cells, names: as :func:`run_twice` takes them.
        mistakes: what is planted, one at a time.
        baseline: whether to run the unchanged cells.
    """
    shell = _make_shell()
    if baseline:
        started = time.perf_counter()
        found = MutationOutcome(BASELINE, "", "", *run_twice(shell, cells, names), _since(started))
        yield found
        if found.outcome not in (GREEN, UNSTEADY):
            return  # nothing can be learnt from the others
    for mistake in mistakes:
        started = time.perf_counter()
        changed = [source.replace(mistake.find, mistake.replace) for source in cells]
        yield MutationOutcome(
            mistake.claim,
            mistake.find,
            mistake.replace,
            *_end(mistake, *run_until_missed(shell, changed)),
            _since(started),
        )


def _end(mistake: Mistake, claim: str | None, error: BaseException | None) -> tuple[str, str]:
    """How a run with a mistake ended, and what there is to say of it."""
    if error is None:
        return GREEN, ""
    if claim == mistake.claim:
        return CAUGHT, ""
    words = str(error) if claim else f"{type(error).__name__}: {error}"
    return OTHER_CLAIM if claim else EXCEPTION, words.split("\n")[0]


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the planted mistakes of one chapter; exit code 1 if one was not caught."""
    parser = argparse.ArgumentParser(
        prog="python -m kexian_utils.runner.checks.mutate", description=main.__doc__
    )
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--profile", default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--claim", help="only the mistakes for this claim")
    parser.add_argument("--no-baseline", action="store_true", help="only the mistakes")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(arguments)
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        notebook = read_notebook(options.notebook)
        cells = sources(notebook, options.profile, options.seed, options.notebook.name)
        names = [
            "" if EXEMPT_TAGS & set(cell.metadata.get("tags", ())) else cell.id
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]
        mistakes = [
            mistake
            for mistake in read_mistakes(options.notebook)
            if options.claim in (None, mistake.claim)
        ]
    except (KexianError, ValueError) as error:
        print(f"kexian: {error}", file=sys.stderr)
        return getattr(error, "code", USAGE)
    os.chdir(options.notebook.resolve().parent)
    good = True
    with contextlib.suppress(BrokenPipeError):
        for outcome in outcomes(cells, names, mistakes, baseline=not options.no_baseline):
            good &= outcome.ok
            text = json.dumps(asdict(outcome)) if options.json else _line(outcome)
            print(text, flush=True)
    return 0 if good else FOUND


def _line(outcome: MutationOutcome) -> str:
    mark = "ok " if outcome.ok else "BAD"
    return re.sub(r"\s*\n\s*", " ⏎ ", f"{mark} {outcome.seconds:6.1f} s  {outcome}")


if __name__ == "__main__":
    sys.exit(main())
