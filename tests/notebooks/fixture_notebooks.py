"""A small chapter without a framework, built in code, and what is needed to run it.

Tests of the regression machinery break copies of it. It has one of everything that a chapter has:
a printed line, claims, a figure, a result, a headline that is filled in at the end.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
RELATIVE = Path("notebooks/fixtures/small-chapter.ipynb")
CLAIMS = ("C1", "C2", "C3")

CATALOGUE = """
[[part]]
id = "fixtures"
title = "Fixtures"
title_zh = "样例"
chapters = ["small-chapter"]
"""

DESCRIPTOR = """
id = "1"
date = 2020-01-01
title = "A small chapter"
title_zh = "小样例"
claims = ["C1", "C2", "C3"]
"""

BIBLIOGRAPHY = """
@book{hardy1934,
  author = {Hardy, G. H. and Littlewood, J. E. and P{\\'o}lya, G.},
  title = {Inequalities},
  publisher = {Cambridge University Press},
  year = {1934},
  url = {https://example.org/inequalities},
}
"""

REFERENCES = (
    "- G. H. Hardy, J. E. Littlewood, G. Pólya (1934). [*Inequalities*]"
    "(https://example.org/inequalities). Cambridge University Press."
)

CELLS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    (
        "title",
        "markdown",
        (),
        """
        # A small chapter

        After Su Jianlin, [小样例](https://kexue.fm/archives/1), 2020-01-01.

        You will be able to halve a square. Runs in a second in every profile.
        """,
    ),
    (
        "parameters",
        "code",
        ("parameters",),
        """
        profile = "default"
        seed = 0
        """,
    ),
    ("colab-install", "code", ("colab-install", "hide-cell"), "import os  # nothing to install"),
    (
        "set-up",
        "code",
        (),
        """
        import numpy as np

        from kexian_utils import experiment, plots

        exp = experiment.start(1, profile=profile, seed=seed, keras=False)
        """,
    ),
    ("headline", "code", (), "exp.headline()"),
    (
        "derivation",
        "markdown",
        (),
        r"""
        ## Derivation

        For real numbers the square of a difference is not negative, so

        $$\begin{equation*}ab \le \tfrac12 (a^2 + b^2).\tag{1}\end{equation*}$$

        We check (1) on random numbers.
        """,
    ),
    (
        "measure",
        "code",
        (),
        """
        rng = exp.rng("pairs")
        a, b = rng.normal(size=(2, 40))
        ratio = np.max(2 * a * b / (a**2 + b**2))
        print(f"The largest product is {np.max(a * b):.4f} over {a.size} pairs.")
        """,
    ),
    (
        "bound",
        "code",
        (),
        """
        bound = 0.5 * (a**2 + b**2)
        exp.check(
            "C1",
            np.max(a * b / bound),
            experiment.at_most(1.0),
            sentence="The product is at most half the sum of squares.",
            kind="theorem",
            equation="(1)",
        )
        """,
    ),
    (
        "tight",
        "code",
        (),
        """
        exp.check(
            "C2",
            ratio,
            experiment.between(0.99, 1.0),
            sentence="The bound is attained to one per cent.",
            kind="empirical",
        )
        """,
    ),
    (
        "picture",
        "code",
        (),
        """
        x = np.linspace(0, 3, 50)
        fig, ax = plots.subplots()
        ax.plot(x, 0.5 * (x**2 + 1), label="bound")
        ax.plot(x, x, label="product")
        ax.set(xlabel="a", ylabel="value")
        plots.show(
            fig,
            alt="A parabola that touches a straight line from above at a = 1.",
            caption="**Figure 1.** The bound touches the product where both factors agree.",
            headline=True,
        )
        """,
    ),
    ("quote", "code", (), 'exp.quote("C3", sentence="An example.", kind="advice", source="[1]")'),
    ("result", "code", (), "float(np.round(np.mean(a * b), 6))"),
    (
        "fill",
        "code",
        (),
        'exp.headline(f"**Measured here:** attained to {100 * (1 - ratio):.3f} %.")',
    ),
    (
        "end",
        "markdown",
        (),
        f"""
        ## Exercises

        1. Prove (1).

        <details><summary>Solution</summary>

        Expand $(a - b)^2$.

        </details>

        ## References

        <!-- references: hardy1934 -->
        {REFERENCES}
        <!-- /references -->
        """,
    ),
    ("finish", "code", (), "exp.finish()"),
)


def build() -> NotebookNode:
    """The chapter without outputs."""
    notebook = nbformat.v4.new_notebook(
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        }
    )
    for name, kind, tags, source in CELLS:
        text = textwrap.dedent(source).strip()
        new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cell = new(text, id=name)
        if tags:
            cell.metadata["tags"] = list(tags)
        notebook.cells.append(cell)
    return notebook


def make_root(folder: Path, notebook: NotebookNode | None = None, entries: str = "") -> Path:
    """Write a project with this one chapter into ``folder`` and return the chapter's path.

    ``entries`` are further lines of its descriptor.
    """
    path = folder / RELATIVE
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "notebooks" / "catalogue.toml").write_text(CATALOGUE, encoding="utf-8")
    path.with_suffix(".toml").write_text(DESCRIPTOR + entries, encoding="utf-8")
    (folder / "book").mkdir(exist_ok=True)
    (folder / "book" / "references.bib").write_text(BIBLIOGRAPHY, encoding="utf-8")
    if notebook is not None:
        nbformat.write(notebook, path)
    return path


def execute(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run a copy of the notebook in ``folder`` with a fresh kernel."""
    fresh = copy.deepcopy(notebook)
    NotebookClient(
        fresh, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    for cell in fresh.cells:
        cell.metadata.pop("execution", None)
    return fresh


def cell(notebook: NotebookNode, name: str) -> NotebookNode:
    """The cell with this id."""
    return next(entry for entry in notebook.cells if entry.id == name)


def run_nbval(root: Path, *options: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run pytest with the plugin over a project made by `make_root`."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(ROOT), environment.get("PYTHONPATH")])
    )
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "kexian_utils.runner.checks.nbval_plugin"),
            *("--nbval", "-p", "no:cacheprovider", "--color=no", "-q", f"--rootdir={root}"),
            *("-c", os.devnull, str(root / "notebooks"), *options),
        ],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
