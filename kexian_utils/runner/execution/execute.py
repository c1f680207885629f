"""Executing notebooks with papermill, beside the stored ones, and keeping what was finished.

A run is written under a temporary name and moved into place when it is complete, so that the
stored notebook and earlier runs stay as they were whatever happens. papermill itself marks every
cell of a killed run as completed: what counts here is the exception alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from kexian_utils.errors import ENVIRONMENT, FOUND, USAGE, KexianError, from_os_error
from kexian_utils.runner.execution.files import (
    COMMITTED,
    Setting,
    declared_parameters,
    failed_path,
    read_notebook,
)

TIMEOUTS = {"smoke": 300, "default": 900, "study": 3600, "full": 6 * 3600}  # seconds per cell


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        path: the executed copy.
        seconds: wall time; 0 if an earlier run was still valid and nothing was executed.
        reused: whether that was so.
        peak_mib: peak resident memory of the largest kernel so far, in MiB.
    """

    path: Path
    seconds: float
    reused: bool
    peak_mib: float


@contextlib.contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables, which kernels inherit, and put them back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def kernel_variables(backend: str, notebook: nbformat.NotebookNode | None = None) -> dict[str, str]:
    """The environment variables that every kernel of the project is started with.

    Args:
        backend: of Keras.
        notebook: for this one packages are imported beforehand, if it cannot tell (None: none are).
    """
    from kexian_utils.runner.execution.provisioner import preimports, sets_what_imports_read

    cells = notebook.cells if notebook else ()
    cold = sets_what_imports_read(cell.source for cell in cells if cell.cell_type == "code")
    return {
        "KERAS_BACKEND": backend,
        "KEXIAN_PREIMPORT": preimports(backend) if notebook and not cold else "",
        "PYTHONUTF8": "1",
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }


def kernel_name() -> str:
    """The book's own kernel, which is forked where that can be, or the usual one without it."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    from kexian_utils.runner.execution.provisioner import KERNEL

    try:
        KernelSpecManager().get_kernel_spec(KERNEL)
    except NoSuchKernel:
        return "python3"
    return KERNEL


def _kernel_environment(
    setting: Setting, notebook: nbformat.NotebookNode, variables: dict[str, str]
) -> dict[str, str]:
    environment = os.environ | kernel_variables(setting.backend, notebook) | variables
    if setting.profile == "full" and environment.get("KEXIAN_THREADS") != "1":
        environment["KEXIAN_FORK"] = "0"  # all threads, which a template has fixed to one
    return environment


def run_notebook(
    path: Path,
    output: Path,
    setting: Setting = COMMITTED,
    *,
    parameters: dict[str, Any] | None = None,
    timeout: float | None = None,
    progress: bool = False,
    variables: dict[str, str] | None = None,
    folder: Path | None = None,
) -> RunResult:
    """Execute one notebook and move the executed copy to `output` when it is complete.

    Args:
        path: the notebook; it is only read.
        output: where the executed copy goes. A run that fails half-way leaves what it had as
            `NAME.failed.ipynb` beside it, and an earlier `output` stays.
        setting: profile, seed and backend.
        parameters: further parameters; each must be declared in the parameters cell.
        timeout: seconds that one cell may take; default by profile.
        progress: show a progress bar over the cells.
        variables: further environment variables of the kernel.
        folder: the kernel's current folder; default: that of the notebook.

    Raises:
        KexianError: bad input, a failing cell, a dead or hanging kernel, a full disk.
    """
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from kexian_utils.runner.execution import engine

    notebook = read_notebook(path)
    declared = declared_parameters(notebook, path.name)
    wanted = {"profile": setting.profile, "seed": setting.seed, **(parameters or {})}
    unknown = wanted.keys() - declared.keys()
    if unknown:
        raise KexianError(
            f"{path.name} has no parameter {', '.join(sorted(unknown))}; its parameters cell "
            f"declares {', '.join(declared)}."
        )
    changed = {k: v for k, v in wanted.items() if declared[k] != v}
    timeout = timeout or TIMEOUTS[setting.profile]
    partial = output.with_name(f".{output.stem}.part.ipynb")
    failed = failed_path(output)
    started = time.perf_counter()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        papermill.execute_notebook(
            notebook,
            str(partial),
            parameters=changed,
            engine_name=engine.NAME,
            kernel_name=kernel_name(),
            language="python",
            # Not papermill's `cwd`, which moves the whole process: others may run beside.
            resources={"metadata": {"path": str(folder or path.parent)}},
            progress_bar={"desc": path.stem, "leave": False, "unit": "cell"} if progress else False,
            execution_timeout=timeout,
            env=_kernel_environment(setting, notebook, variables or {}),
            extra_arguments=["--log-level=50"],
        )
        os.replace(partial, output)
        with contextlib.suppress(OSError):
            failed.unlink()
    except PapermillExecutionError as error:
        kept = _keep(partial, failed)
        words = " ".join(str(error.evalue).split())
        said = f": {words[:300]}{' …' * (len(words) > 300)}" if words else ""
        reason = f"{error.ename}{said}"
        missed = error.ename == "ClaimMissed"
        raise KexianError(
            f"{path.name}, {_place(notebook, error.source)}: {reason} {kept}",
            FOUND if missed else USAGE,
        ) from error
    except DeadKernelError as error:
        raise KexianError(
            f"{path.name}: the kernel died: the machine ran out of memory, or a cell ended the "
            "process (os._exit, a crash of compiled code); close other programs or choose a "
            f"smaller profile. {_keep(partial, failed)}",
            ENVIRONMENT,
        ) from error
    except CellTimeoutError as error:
        raise KexianError(
            f"{path.name}: a cell ran longer than {timeout:g} s and was stopped; give it more "
            f"with --timeout, or choose a smaller profile. {_keep(partial, failed)}",
            ENVIRONMENT,
        ) from error
    except KeyboardInterrupt:
        partial.unlink(missing_ok=True)
        raise
    except OSError as error:
        raise from_os_error(error, output) from error
    except RuntimeError as error:
        raise KexianError(
            f"{path.name}: the kernel did not start ({error}); `kexian doctor` says what is "
            "missing.",
            ENVIRONMENT,
        ) from error
    return RunResult(output, time.perf_counter() - started, False, _peak_mib())


def _peak_mib() -> float:
    """Peak memory of the largest kernel so far: forked ones are children of their template."""
    from kexian_utils.runner.execution.provisioner import usage

    cold = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return max([cold, *(kernel["peak_mib"] for kernel in usage())])


def _place(notebook: nbformat.NotebookNode, source: str) -> str:
    """Which cell has failed, by its number among the code cells as stored, and its id."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        if cell.source == source:
            return f"code cell {number} ({cell.get('id', 'no id')})"
    return "the cell with the parameters"


def _keep(partial: Path, failed: Path) -> str:
    """Keep what a failed run had, and say where."""
    try:
        os.replace(partial, failed)
    except OSError:
        return "Nothing of the run could be kept."
    return f"What it had is in {failed}."
