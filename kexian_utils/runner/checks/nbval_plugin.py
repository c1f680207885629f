"""A pytest plugin that lets nbval re-execute notebooks and compares outputs by our own rules.

``pytest --nbval notebooks`` (with this plugin loaded) runs every code cell of every notebook in one
kernel per notebook, as nbval does, with these differences:

- outputs are compared by :mod:`.compare`: numbers within a tolerance, words
  exactly, claims by verdict and value, figures by the arrays drawn;
- every cell has a time limit, and a kernel that dies is noticed within a second;
- a notebook that ran to its end without an exception leaves its executed copy in
  ``_build/runs/default-s0-tensorflow/PART/SLUG.ipynb``, from which the book is built.

The kernel runs in the environment that pytest runs in, with ``KERAS_BACKEND=tensorflow`` unless the
variable is set.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
import pytest
from nbconvert.filters import strip_ansi
from nbformat import NotebookNode
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError, bcolors, nocolors

from kexian_utils.errors import KexianError
from kexian_utils.experiment.records import processor
from kexian_utils.runner.checks.compare import (
    compare_cells,
    of_another_processor,
    render_differences,
)
from kexian_utils.runner.execution.cache import article_at, run_key, write_record
from kexian_utils.runner.execution.execute import environment, kernel_name, kernel_variables
from kexian_utils.runner.execution.files import COMMITTED, build_folder, write_notebook
from kexian_utils.runner.execution.homes import own_homes

DEFAULT_CELL_TIMEOUT = 600.0
NBVAL_CELL_TIMEOUT = 2000.0  # nbval's own default: read as "not given"
POLL_SECONDS = 0.5


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("kexian", "Kexian notebooks")
    group.addoption(
        "--kexian-runs",
        default=None,
        metavar="DIR",
        help="folder for the executed copies (default: _build/runs below the root; "
        "'none' writes no copy)",
    )


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, list, list]:
    """Put our collector in the place of nbval's."""
    collectors = yield
    return [
        KexianNotebook.from_parent(parent, path=file_path)
        if type(collector) is IPyNbFile
        else collector
        for collector in collectors
    ]


class KexianNotebook(IPyNbFile):
    """Collector of one notebook: starts its kernel and keeps the executed copy."""

    stopped: str | None = None

    def collect(self) -> Generator[KexianCell, None, None]:
        """Yield one item per code cell.

        Raises:
            pytest.Collector.CollectError: if the file is no notebook.
        """
        try:
            cells = list(super().collect())
        except Exception as error:
            raise self.CollectError(
                f"{self.path.name} is no readable notebook ({type(error).__name__}: {error}); "
                f"restore it with 'git checkout -- {os.path.relpath(self.path)}'"
            ) from error
        indices = [k for k, cell in enumerate(self.nb.cells) if cell.cell_type == "code"]
        self.executed = copy.deepcopy(self.nb)
        self.completed: set[int] = set()
        self.displays: dict[str, list[NotebookNode]] = {}
        self.started = 0.0
        for item in cells:
            yield KexianCell.from_parent(
                self,
                name=item.name,
                cell_num=item.cell_num,
                cell=item.cell,
                options=item.options,
                index=indices[item.cell_num],
            )

    def setup(self) -> None:
        """Start the kernel.

        Raises:
            RuntimeError: if no kernel starts.
        """
        name = self.config.option.nbval_kernel_name or kernel_name()
        self.started = time.perf_counter()
        self.backend = os.environ.get("KERAS_BACKEND") or COMMITTED.backend
        with environment(**own_homes(), **kernel_variables(self.backend, self.nb)):
            self.kernel = RunningKernel(
                name,
                cwd=str(self.path.parent),
                startup_timeout=self.config.option.nbval_kernel_startup_timeout,
            )
        self.setup_sanitize_files()

    def teardown(self) -> None:
        """Stop the kernel, then write the executed copy if the run reached the end."""
        if self.kernel is not None and self.kernel.is_alive():
            self.kernel.stop()
        self._write_copy()

    def _write_copy(self) -> None:
        code_cells = [k for k, cell in enumerate(self.nb.cells) if cell.cell_type == "code"]
        if self.stopped or self.completed != set(code_cells):
            return
        target = self.copy_path()
        if target is None:
            return
        # Counts as a run from the top gives them; nbval runs cells outside the history.
        for count, index in enumerate(code_cells, start=1):
            cell = self.executed.cells[index]
            cell.execution_count = count
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
        try:
            write_notebook(target, self.executed)
            setting = replace(COMMITTED, backend=self.backend)
            root = self.config.rootpath
            key = run_key(root, article_at(root, self.path), self.nb, setting)
            write_record(target, key, setting, time.perf_counter() - self.started)
        except KexianError as error:
            raise self.CollectError(f"no executed copy: {error}") from error

    def copy_path(self) -> Path | None:
        """Return where the executed copy goes, None for notebooks outside ``notebooks/``."""
        wish = self.config.getoption("--kexian-runs")
        if wish == "none":
            return None
        root = self.config.rootpath
        try:
            relative = self.path.relative_to(root / "notebooks")
        except ValueError:
            return None
        runs = Path(wish) if wish else build_folder(root) / "runs"
        return runs / replace(COMMITTED, backend=self.backend).name / relative


class KexianCell(IPyNbCell):
    """One code cell: runs it in the notebook's kernel and compares what it shows."""

    def __init__(self, *, index: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.index = index
        self.colors = bcolors if self.coloured else nocolors

    @property
    def coloured(self) -> bool:
        """Whether the terminal shows colours."""
        return self.config.get_terminal_writer().hasmarkup

    def setup(self) -> None:
        """Do not mark cells after a time-out as expected failures, as nbval does."""

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the cell in reports."""
        return self.path, 0, f"{self.path.name}::Cell {self.cell_num}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        """Show the exception of a cell, or what differs in its outputs."""
        error = excinfo.value
        if not isinstance(error, NbCellError):
            return f"{type(error).__name__}: {error}"
        colors = self.colors
        parts = [f"{colors.FAIL}{error}{colors.ENDC}"]
        if error.inner_traceback:
            parts.append(error.inner_traceback)
        if error.source:
            parts.append(f"{colors.OKBLUE}The cell:{colors.ENDC}\n{error.source}")
        return "\n\n".join(parts) + "\n"

    def runtest(self) -> None:
        """Run the cell, keep its outputs in the executed copy, compare them.

        Raises:
            NbCellError: if the cell raised, ran out of time, lost its kernel, or shows something
                else than what is stored.
        """
        notebook = self.parent
        if self.options["skip"]:
            notebook.completed.add(self.index)
            pytest.skip("tagged nbval-skip")
        if notebook.stopped:
            raise NbCellError(self.cell_num, f"not run: {notebook.stopped}", "")
        outputs, error = self.execute()
        notebook.executed.cells[self.index].outputs = outputs
        self.test_outputs = outputs
        if error is not None and not self.options["check_exception"]:
            traceback = "\n".join(error.traceback)
            self.raise_cell_error(
                f"cell {self.cell_num} raised {error.ename}: {error.evalue}",
                traceback if self.coloured else strip_ansi(traceback),
            )
        notebook.completed.add(self.index)
        if not self.options["check"]:
            return
        if self.cell.execution_count is None:
            self.raise_cell_error(
                f"cell {self.cell_num} is stored without a run; store one with `kexian accept ID`"
            )
        elsewhere = of_another_processor(notebook.nb, processor())
        differences = compare_cells(self.cell, outputs, self.index, elsewhere)
        if differences:
            what = differences[0].what + (" (and more)" if len(differences) > 1 else "")
            self.raise_cell_error(
                f"cell {self.cell_num}: stored and fresh outputs differ: {what}",
                render_differences(differences),
            )

    def execute(self) -> tuple[list[NotebookNode], NotebookNode | None]:
        """Run the cell in the kernel.

        Returns:
            The outputs, and the error output if the cell raised.

        Raises:
            NbCellError: if the time limit is reached or the kernel dies.
        """
        notebook, kernel = self.parent, self.parent.kernel
        timeout = self.config.option.nbval_cell_timeout
        timeout = DEFAULT_CELL_TIMEOUT if timeout in (None, NBVAL_CELL_TIMEOUT) else timeout
        if not kernel.is_alive():
            self.stop(f"the kernel had died before cell {self.cell_num}")
        outputs: list[NotebookNode] = []
        clear_later = False
        message_id = kernel.execute_cell_input(self.cell.source, allow_stdin=False)
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = kernel.get_message("iopub", timeout=POLL_SECONDS)
            except Empty:
                if not kernel.is_alive():
                    self.stop(
                        f"the kernel died in cell {self.cell_num} (out of memory, or killed); "
                        "close other programs or run the notebook in the smoke profile"
                    )
                message = None
            if time.monotonic() > deadline:
                kernel.interrupt()
                kernel.stop()
                self.stop(
                    f"cell {self.cell_num} exceeded its time limit of {timeout:g} s; "
                    "raise it with --nbval-cell-timeout SECONDS"
                )
            if message is None or message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "clear_output":
                if content.get("wait"):
                    clear_later = True
                else:
                    outputs.clear()
                continue
            if kind == "update_display_data":
                self.update_display(content)
                continue
            if kind not in ("stream", "display_data", "execute_result", "error"):
                continue
            if clear_later:
                outputs.clear()
                clear_later = False
            last = outputs[-1] if outputs else None
            if kind == "stream" and last is not None and last.get("name") == content["name"]:
                last.text += content["text"]
                continue
            outputs.append(nbformat.v4.output_from_msg(message))
            display_id = content.get("transient", {}).get("display_id")
            if display_id:
                notebook.displays.setdefault(display_id, []).append(outputs[-1])
        self.drain_reply(message_id)
        errors = [output for output in outputs if output.output_type == "error"]
        return outputs, errors[-1] if errors else None

    def update_display(self, content: dict) -> None:
        """Change the outputs shown before under the same display id, of this cell or another."""
        display_id = content.get("transient", {}).get("display_id")
        for output in self.parent.displays.get(display_id, []):
            output.data = nbformat.from_dict(content["data"])
            output.metadata = nbformat.from_dict(content["metadata"])

    def drain_reply(self, message_id: str) -> None:
        """Take the cell's reply from the shell channel, so that replies do not pile up."""
        with suppress(Empty):
            self.parent.kernel.await_reply(message_id, timeout=5)

    def stop(self, reason: str) -> None:
        """Give up the notebook: this cell fails with the reason, the others refer to it."""
        self.parent.stopped = reason
        raise NbCellError(self.cell_num, reason, self.cell.source)
