"""The files of a run: the stored notebook, the executed copy, its record; reading and writing."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

from kexian_utils.catalogue import Article
from kexian_utils.errors import ENVIRONMENT, KexianError, from_os_error
from kexian_utils.runner.execution import cells


@dataclass(frozen=True)
class Setting:
    """With what a notebook is run: the three things that a run may vary.

    Attributes:
        profile: "smoke", "default", "study" or "full".
        seed: from 0 to 2**32 - 1.
        backend: "tensorflow", "jax" or "torch".
    """

    profile: str = "default"
    seed: int = 0
    backend: str = "tensorflow"

    @property
    def name(self) -> str:
        """The name of the folder that holds runs with this setting."""
        return f"{self.profile}-s{self.seed}-{self.backend}"


COMMITTED = Setting()


def build_folder(root: Path) -> Path:
    """Where everything goes that can be rebuilt: KEXIAN_BUILD, or `_build` in the checkout."""
    return Path(os.environ.get("KEXIAN_BUILD") or root / "_build").resolve()


def failed_path(output: Path) -> Path:
    """Where a run that fails half-way leaves what it had."""
    return output.with_name(f"{output.stem}.failed.ipynb")


@dataclass(frozen=True)
class Run:
    """One chapter with one setting in one checkout, and where its files are.

    Attributes:
        root: the checkout.
        article: the chapter's entry in the catalogue.
        setting: profile, seed and backend.
    """

    root: Path
    article: Article
    setting: Setting = COMMITTED

    @property
    def source(self) -> Path:
        """The stored notebook."""
        return self.root / self.article.path

    @property
    def copy(self) -> Path:
        """The executed copy."""
        folder = build_folder(self.root) / "runs" / self.setting.name / self.article.part
        return folder / self.article.path.name

    @property
    def record(self) -> Path:
        """What is known of the executed copy: the key of its run, its digest, the time it took."""
        return self.copy.with_suffix(".json")

    @property
    def failed(self) -> Path:
        """What a run that failed half-way had."""
        return failed_path(self.copy)


def read_notebook(path: Path) -> nbformat.NotebookNode:
    """Read and validate a notebook (KexianError if it is missing, corrupt, or no Python)."""
    if not path.is_file():
        raise KexianError(f"there is no notebook {path.name}; `kexian new ID` starts one.")
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        if not notebook.cells:
            raise ValueError("it has no cells")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "no content"
        raise _corrupt(path, reason) from error
    except nbformat.ValidationError as error:
        raise _corrupt(path, str(error).strip().splitlines()[0][:120]) from error
    except OSError as error:
        raise KexianError(f"{path}: {error.strerror or error}.", ENVIRONMENT) from error
    _check_syntax(notebook, path.name)
    return notebook


def _corrupt(path: Path, reason: str) -> KexianError:
    where = os.path.relpath(path)
    return KexianError(
        f"{path.name} is corrupt ({reason}); restore it with `git checkout -- {where}`."
    )


def _check_syntax(notebook: nbformat.NotebookNode, name: str) -> None:
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        try:
            cells.parse_cell(cell)
        except (SyntaxError, ValueError, RecursionError) as error:
            line = getattr(error, "lineno", None) or 1
            raise KexianError(
                f"{name}, code cell {number} ({cell.get('id', 'no id')}), line {line}: "
                f"{getattr(error, 'msg', error)}; mend it in JupyterLab (`make lab`)."
            ) from None


def read_json(path: Path) -> dict[str, Any]:
    """A notebook as plain JSON, without the validation that `read_notebook` takes time for."""
    with path.open(encoding="utf-8") as file:
        notebook = json.load(file)
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def declared_parameters(notebook: nbformat.NotebookNode, name: str) -> dict[str, Any]:
    """The simple assignments of the cell tagged `parameters`.

    Raises:
        KexianError: there is no such cell, or it lacks profile or seed.
    """
    import ast

    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    if len(tagged) != 1:
        raise KexianError(
            f"{name} has {len(tagged) or 'no'} cells tagged `parameters`; it needs exactly one, "
            'with profile = "default" and seed = 0 (JupyterLab: Property Inspector > Cell Tags).'
        )
    found = {}
    for statement in cells.parse(tagged[0].source).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            with contextlib.suppress(ValueError):
                found[statement.targets[0].id] = ast.literal_eval(statement.value)
    missing = {"profile", "seed"} - found.keys()
    if missing:
        raise KexianError(
            f"the parameters cell of {name} lacks {', '.join(sorted(missing))}; "
            'write profile = "default" and seed = 0 there.'
        )
    return found


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and move it into place (KexianError if not)."""
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise from_os_error(error, path) from error


def write_notebook(path: Path, notebook: nbformat.NotebookNode) -> None:
    """Write a notebook in the form that is committed, atomically."""
    write_text(path, nbformat.writes(notebook, version=4).rstrip("\n") + "\n")


def with_outputs_of(
    stored: nbformat.NotebookNode, fresh: nbformat.NotebookNode
) -> nbformat.NotebookNode:
    """The stored notebook with the outputs of a fresh run, without the run's own metadata.

    Raises:
        KexianError: the code of the two is not the same.
    """
    if cells.digest(stored) != cells.digest(fresh):
        raise KexianError("the run is of another version of the notebook; run it again first.")
    result = nbformat.from_dict(json.loads(json.dumps(stored)))
    code = [c for c in fresh.cells if c.cell_type == "code"]
    for cell, source in zip((c for c in result.cells if c.cell_type == "code"), code, strict=True):
        cell.outputs, cell.execution_count = source.outputs, source.execution_count
    result.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return result
