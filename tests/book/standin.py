"""A made-up chapter with every kind of content, written without running anything."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from kexian_utils import sliders
from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME

ROOT = Path(__file__).resolve().parents[2]
ARTICLE = "8397"
PAGE = "transformers/rope-2d"
CODE = "answer = 6 * 7\nprint(answer)"
WIDE = "+".join(f"a_{{{i}}}" for i in range(40))
FITTING = WIDE[: WIDE.index("+a_{8}")]  # on a screen, and smaller on a phone
HEADLINE = "The angle is kept to **3 parts in 1000** ($\\theta$ from 1 to 2)."

TEXT = f"""# Rotary position embedding in two dimensions

旋转位置编码 in one word, and 旋转的**位置编码** cut by emphasis, 绝对位置
编码 cut by a line break.

$$f(\\theta)\\le {WIDE}\\tag{{1}}$$

\\begin{{align*}}
a&={WIDE}\\tag{{2}}\\\\
&\\le b\\tag{{3}}
\\end{{align*}}

$$g(\\omega)\\le {FITTING}\\tag{{4}}$$

An inline formula ${WIDE}$ that is wide, and `{"a_long_name_" * 12}` in code.

| symbol | meaning | shape | more | more | more |
|---|---|---|---|---|---|
| $x$ | {"input of the layer " * 4} | $(d,)$ | {"word " * 8} | $x$ | $y$ |

<details><summary>Solution</summary>

Because $1+1=2$.

</details>"""
ERRATA = """## Where the article errs or has aged

1. The symbol $\\otimes$ is undefined.

### A heading inside

$$L\\le \\lambda_{\\max}(M)\\tag{6}$$"""
REFERENCES = """## 2. A section with references

By (1) and (3), as C2 says, and sections 2 and 3, in Figure 1 or in
exercise 1; so [Someone (2016)](https://arxiv.org/abs/1805.11604).

Not by (9), nor (2016), nor C99, section 7, `(1)`, 6992, or equation (1) of the first paper.

## 3. Exercises

**1.** Show that $1+1=2$.

## References

- Someone (2016). [*A Work*](https://arxiv.org/abs/1805.11604)."""
CAPTION = "**Figure 1.** A line that rises, as in (4)."


def claim(number, verdict, kind="theorem", study=None, note=""):
    decided = verdict not in ("not run", "quoted")
    return {
        "schema": 1,
        "article": ARTICLE,
        "claim": f"C{number}",
        "sentence": f"The bound $\\lambda_{{\\max}}(M)\\le {number}$ is never violated.",
        "kind": kind,
        "verdict": verdict,
        "equation": "(1)",
        "note": note,
        "needs": "study",
        "profile": "default",
        "seed": 0,
        "backend": "tensorflow",
        "measured": [
            {"name": "value", "value": 1.5, "text": "1.50", "criterion": "at most 2"}
        ] if decided else [],
        "study": study,
    }  # fmt: skip


CLAIMS = (
    claim(1, "holds"),
    claim(2, "refuted", "empirical", note="over 200 draws of $x$"),
    claim(3, "not shown", "empirical"),
    claim(4, "quoted", "advice", note="Su (2021), Table 1"),
    claim(5, "not run", "advice"),
    claim(6, "not run", "empirical", {
        "verdict": "holds", "date": "2026-01-02T03:04:05Z", "seed": 0, "backend": "tensorflow",
        "measured": [{"name": "value", "text": "0.5", "criterion": "at most 1"}]}),
    claim(7, "holds", "erratum", note="see (1)"),
)  # fmt: skip


def run_record(phase):
    return {
        "schema": 1, "article": ARTICLE, "phase": phase, "profile": "default", "seed": 0,
        "backend": "tensorflow", "threads": 1, "versions": {"python": "3.11.9", "keras": "3.15.1"},
        "processor": "x86_64 avx2", "date": "2026-01-02T03:04:05Z", "wall_seconds": 12.5,
        "cpu_seconds": 11.5,
    }  # fmt: skip


def picture():
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.plot([0, 1, 2], [0, 1, 0])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=192)
    plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def bowl():
    grid = np.linspace(-3, 3, 31)
    x, y = np.meshgrid(grid, grid)

    def frames(shift, scale):
        z = (x - shift) ** 2 + (y / scale) ** 2
        lines = [{"x": [-2, shift], "y": [2, 0], "label": "path", "markers": True}]
        return {
            "bowl": {"x": grid, "y": grid, "z": z, "lines": lines},
            "curve": {"lines": [{"x": [0, 1, 2], "y": [9, 3, scale], "label": "loss"}]},
            "numbers": {"condition number κ": f"{scale:.2f}"},
        }

    axes = {"xlim": (-3, 3), "ylim": (-3, 3), "xlabel": "weight", "ylabel": "bias"}
    panels = [
        {"name": "bowl", "kind": "contours", "title": "Loss", "levels": [0.5, 1, 2, 4], **axes},
        {
            "name": "curve",
            "kind": "lines",
            "title": "Descent",
            "xlim": (0, 2),
            "ylim": (0.1, 10),
            "yscale": "log",
            "xlabel": "step",
            "ylabel": "loss",
        },
        {"name": "numbers", "kind": "text"},
    ]
    handles = [
        {"name": "shift", "label": "shift μ", "min": -1, "max": 1, "steps": 5},
        {"name": "scale", "label": "scale σ", "min": 1, "max": 3, "steps": 3},
    ]
    figure, ax = plt.subplots(figsize=(5, 3))
    ax.contour(grid, grid, x**2 + y**2)
    return sliders.build(
        {"sliders": handles, "panels": panels, "frames": frames},
        alt="Contours of a bowl that moves and stretches.",
        fallback=figure,
    )


def shown(text, **data):
    return new_output("display_data", data={**{k: v for k, v in data.items()}, "text/plain": text})


def notebook():
    page, digest = bowl()
    plot = {"schema": 1, "alt": "A line that rises and falls", "headline": True, "axes": []}
    pictured = shown("Figure", **{"image/png": picture(), FIGURE_MIME: plot})
    pictured["metadata"] = {"image/png": {"alt": plot["alt"], "width": 600}}
    headline = {"schema": 1, "article": ARTICLE, "text": HEADLINE}
    said = new_output("stream", name="stdout", text="42\n" + "a long line of output " * 12)
    cells = [
        new_markdown_cell(TEXT),
        code("profile = 'default'", []),
        code("exp.start()", [shown("Kexian 8397", **{RUN_MIME: run_record("start")})]),
        code(
            "# @title Place of the headline\nexp.headline()",
            [shown(HEADLINE, **{HEADLINE_MIME: headline, "text/markdown": HEADLINE})],
        ),
        code(CODE, [said]),
        code("check()", [shown("claim", **{CLAIM_MIME: record}) for record in CLAIMS]),
        code("plots.show()", [pictured, shown(CAPTION, **{"text/markdown": CAPTION})]),
        code("sliders.show()", [shown("Slider", **{"text/html": page, FIGURE_MIME: digest})]),
        new_markdown_cell(ERRATA),
        new_markdown_cell(REFERENCES),
        code("exp.finish()", [shown("The run is complete.", **{RUN_MIME: run_record("finish")})]),
    ]
    for number, cell in enumerate(c for c in cells if c.cell_type == "code"):
        cell["execution_count"] = number + 1
    found = new_notebook(cells=cells)
    found["metadata"]["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    found["metadata"]["language_info"] = {"name": "python"}
    return found


def code(source, outputs):
    return new_code_cell(source, outputs=outputs)


def write_standin(root: Path) -> Path:
    path = root / "notebooks" / f"{PAGE}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(), path)
    study = {
        "schema": 1, "article": ARTICLE, "profile": "study", "seed": 0, "backend": "tensorflow",
        "date": "2026-01-02T03:04:05Z", "versions": {}, "processor": "x86_64", "wall_seconds": 99.0,
        "cpu_seconds": 98.0, "code": "0", "claims": [],
    }  # fmt: skip
    path.with_suffix(".study.json").write_text(json.dumps(study), encoding="utf-8")
    return path


def once(tmp_path_factory, name: str, make: Callable[[Path], Path]) -> Path:
    """What `make` returns when it is given a folder; made by the first process that needs it."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all processes
    made = folder / f"{name}.path"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            made.write_text(str(make(folder / name)), encoding="utf-8")
    return Path(made.read_text(encoding="utf-8"))


def copy_project(target: Path, chinese: bool = False) -> Path:
    """A small copy of the project: the book's pages and no notebook, in English or in both."""
    target.mkdir(parents=True, exist_ok=True)
    left = ["__pycache__"] if chinese else ["__pycache__", "locale"]
    shutil.copytree(ROOT / "book", target / "book", ignore=shutil.ignore_patterns(*left))
    for name in ("_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copyfile(ROOT / name, target / name)
    for path in (ROOT / "notebooks").rglob("*.toml"):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return target
