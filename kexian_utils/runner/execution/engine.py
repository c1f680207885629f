"""papermill's own way to execute a notebook, without its writing.

papermill writes the whole notebook before and after each cell. With figures in it that costs more
processor time than the kernel takes for a short run. Here it is written when the run ends, however
it ends, and in between at most every few seconds, so that little is lost if the machine stops.
"""

from __future__ import annotations

import logging
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.log import logger

from kexian_utils.runner.execution.cells import without_overwritten

NAME = "kexian"
SAVE_SECONDS = 15.0


class SeldomSaving(NBClientEngine):
    """Executes as papermill does, writes the unfinished notebook seldom."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        *,
        env: dict[str, str],
        execution_timeout: float,
        start_timeout: float = 60,
        log_output: bool = False,
        input_path: str | None = None,
        **options: Any,
    ) -> None:
        """Execute the notebook that `nb_man` holds.

        Args:
            nb_man: papermill's manager of the execution.
            kernel_name: name of the kernel.
            env: the environment of the kernel. (papermill takes that of the process, which is one
                for all that run beside each other.)
            execution_timeout: seconds that one cell may take.
            start_timeout: seconds that the kernel may take to answer.
            log_output: as papermill has it.
            input_path: not used.
            options: traits of papermill's client.
        """
        client = PapermillNotebookClient(
            nb_man,
            kernel_name=kernel_name,
            timeout=execution_timeout,
            startup_timeout=start_timeout,
            log_output=log_output,
            log=logger,
            on_cell_executed=lambda cell, **_: _join_streams(cell),
            **options,
        )
        save = nb_man.save

        def save_seldom(**kwargs: Any) -> None:
            if (nb_man.now() - nb_man.last_save_time).total_seconds() >= SAVE_SECONDS:
                save(**kwargs)

        nb_man.save = save_seldom
        try:
            client.execute(env=env)
        finally:
            nb_man.save = save  # papermill writes the notebook now, whether it failed or not


def _join_streams(cell: Any) -> None:
    """Join what a cell wrote to each stream: where a print is cut in two is chance.

    As nbclient's `coalesce_streams`, whose time grows with the square of a line's length.
    """
    outputs: list[Any] = []
    streams: dict[str, Any] = {}
    for output in cell.outputs:
        if output.output_type != "stream":
            outputs.append(output)
        elif output.name in streams:
            streams[output.name].append(output.text)
        else:
            streams[output.name] = [output.text]
            outputs.append(output)
    for output in outputs:
        if output.output_type == "stream":
            output.text = without_overwritten("".join(streams[output.name]))
    for one, after in enumerate(outputs[1:]):
        names = [outputs[one].get("name"), after.get("name")]
        if names == ["stderr", "stdout"]:  # which comes first is chance, too
            outputs[one : one + 2] = [after, outputs[one]]
    cell.outputs = outputs


logger.setLevel(logging.ERROR)  # else it tells of every cell
papermill_engines.register(NAME, SeldomSaving)
