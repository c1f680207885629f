"""papermill's own way to execute a notebook, without its writing.

papermill writes the whole notebook before and after each cell. With figures in it that costs more
processor time than the kernel takes for a short run. Here it is written when the run ends, however
it ends, and in between at most every few seconds, so that little is lost if the machine stops.
"""

from __future__ import annotations

from typing import Any

from papermill.engines import NBClientEngine, papermill_engines

NAME = "kexian"
SAVE_SECONDS = 15.0


class SeldomSaving(NBClientEngine):
    """Executes as papermill does and writes the unfinished notebook seldom."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **options: Any) -> None:
        """Execute the notebook that `nb_man` holds."""
        save = nb_man.save

        def save_seldom(**kwargs: Any) -> None:
            if (nb_man.now() - nb_man.last_save_time).total_seconds() >= SAVE_SECONDS:
                save(**kwargs)

        nb_man.save = save_seldom
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **options)
        finally:
            nb_man.save = save  # papermill writes the notebook now, whether it failed or not


papermill_engines.register(NAME, SeldomSaving)
