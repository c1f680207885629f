"""Starting a chapter, and what the project generates inside notebooks."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import nbformat

from kexian_utils.catalogue import Article
from kexian_utils.errors import KexianError
from kexian_utils.runner.execution.budgets import DEFAULTS
from kexian_utils.runner.execution.cells import COLAB_TAG, fold
from kexian_utils.runner.execution.files import read_notebook, write_notebook, write_text

PARAMETERS = """\
profile = "default"
seed = 0
material = "real"  # for profile "full"; "generated" rehearses it on small data"""
PROFILE_TABLE = """\
sizes = exp.sizes(
    {
        "smoke": dict(seeds=1, steps=10),
        "default": dict(seeds=3, steps=100),
        "full": dict(seeds=3, steps=10_000 if material == "real" else 20),
    }
)
if exp.profile == "full" and material == "real":  # fail now, not after minutes
    exp.require_gpu("TODO: what runs at full size")"""
DESCRIPTOR = """
[budget] # CPU seconds of its cells, imports not counted; `kexian accept` puts what it measures
{budget}

[exemptions] # agreed numbers of cells; each says why in its metadata
exempt = 0
tolerance = 0

[rehearsal] # with these parameters `full` runs on small data without a GPU
material = "generated"

[unplanted] # claims without a planted mistake, and why

# Planted mistakes: each must turn its claim red in the smoke profile. `find` is a fragment of the
# code that occurs once. Take the comment signs away, and write one for each claim that is decided.
# [[mistake]] # the factor one half forgotten
# claim = "C1"
# find = "0.5 * step"
# replace = "step"
"""


def public_address(root: Path) -> tuple[str, str]:
    """The project's public repository and branch, from `[tool.kexian]` of pyproject.toml.

    Returns:
        The address as "https://github.com/OWNER/NAME", empty when it is not set, and the branch.

    Raises:
        KexianError: it is set, but not to such an address.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    table = settings.get("tool", {}).get("kexian", {})
    address = table.get("repository", "").rstrip("/")
    if address and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise KexianError(
            f"[tool.kexian] repository = {address!r} in pyproject.toml is not of the form "
            "https://github.com/OWNER/NAME; correct it, or leave it empty for no launch buttons."
        )
    return address, table.get("branch", "main")


def site_address(root: Path) -> str:
    """The public address of the book itself, from `[tool.kexian]` of pyproject.toml.

    Returns:
        The address with a slash at its end, or "" when it is not set.

    Raises:
        KexianError: it is set, but is no web address.
    """
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    address = settings.get("tool", {}).get("kexian", {}).get("address", "")
    if address and not re.fullmatch(r"https://[\w.-]+(/[\w./~-]*)?", address):
        raise KexianError(
            f"[tool.kexian] address = {address!r} in pyproject.toml is no address such as "
            "https://OWNER.github.io/NAME/; correct it, or leave it empty."
        )
    return f"{address.rstrip('/')}/" if address else ""


def colab_cell(address: str, branch: str) -> str:
    """The source of the cell that finds the helpers, installs them (Colab), or says how to."""
    known = ""
    if address:
        known = f"""
    if source is None and "COLAB_RELEASE_TAG" in os.environ:
        source = "kexian-utils @ git+{address}@{branch}\""""
    return f"""\
# On Colab this installs the book's helpers; where they are, it does nothing.
import importlib.util
import os
import subprocess
import sys

if importlib.util.find_spec("kexian_utils") is None:
    source = os.environ.get("KEXIAN_INSTALL"){known}
    if not source:
        raise SystemExit(
            "The book's helpers are missing: open this notebook with `make lab` of a checkout, or "
            "set KEXIAN_INSTALL to the address or the wheel of kexian-utils first."
        )
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)"""


def _markdown(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def _code(text: str, *tags: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(text, metadata={"tags": list(tags)} if tags else {})


def skeleton(article: Article, address: str, branch: str) -> nbformat.NotebookNode:
    """An empty chapter in the book's anatomy, with one undecided check for each claim."""
    claims = [
        cell
        for claim in article.claims
        for cell in (
            _markdown(f"**{claim}.** TODO: the statement, and how the next cell decides it."),
            _code(
                f'exp.check(\n    "{claim}",\n    float("nan"),  # TODO: measure it\n'
                "    experiment.at_most(0.0),  # TODO: a criterion that a mistake would miss\n"
                '    sentence="TODO",\n    kind="theorem",\n)'
            ),
        )
    ]
    cells = [
        _markdown(
            f"# {article.title}\n\n"
            f"*An executable companion to* [{article.title_zh}]({article.url}), by Su Jianlin "
            f"(苏剑林), {article.date}. *The text here is our own.*\n\n"
            "TODO: what the reader will be able to do, what to know first, and how long it runs."
        ),
        _code(PARAMETERS, "parameters"),
        _code(colab_cell(address, branch), COLAB_TAG, "hide-cell"),
        _code(
            "from kexian_utils import experiment, plots\n\n"
            f"exp = experiment.start({article.id}, profile=profile, seed=seed)\n{PROFILE_TABLE}"
        ),
        _code("exp.headline()"),
        _markdown("## The question\n\nTODO"),
        _markdown("## Derivation\n\nTODO: every step; each important equation has a check below."),
        _markdown(
            '## Experiments\n\nTODO. Randomness has a name each: `exp.rng("data")` for NumPy, '
            '`seed=exp.keras_seed("weights", k)` for Keras and scikit-learn.'
        ),
        *claims,
        _markdown(
            "## At full size\n\nTODO: what the profile `full` adds on a GPU and the real data, and "
            "what a test rehearses of it."
        ),
        _markdown("## What to remember\n\nTODO"),
        _markdown("## Where the article errs or has aged\n\nTODO"),
        _markdown(
            "## Exercises\n\n**1.** TODO\n\n<details><summary>Solution</summary>\n\nTODO\n\n"
            "</details>"
        ),
        _markdown(
            f"## References\n\n<!-- references: {bibliography_key(article)} -->\n"
            "<!-- /references -->"
        ),
        _markdown("## The claims of this chapter"),
        _code('exp.headline("**TODO: the measured headline.**")\nexp.finish()'),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number:02d}"
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    return notebook


def bibliography_key(article: Article) -> str:
    """The key of the article itself in book/references.bib."""
    return f"kexue{article.id}"


def bibliography_entry(article: Article) -> str:
    """The BibTeX entry of the article itself."""
    return (
        f"@misc{{{bibliography_key(article)},\n"
        "  author = {Su, Jianlin},\n"
        f"  title = {{{article.title_zh}}},\n"
        f"  note = {{{article.title}}},\n"
        "  howpublished = {Scientific Spaces},\n"
        f"  year = {{{article.date.year}}},\n"
        f"  url = {{{article.url}}},\n}}\n"
    )


def write_chapter(root: Path, article: Article) -> list[str]:
    """Write a chapter's skeleton, the rest of its descriptor and its bibliography entry.

    Returns:
        What was done, and what to do next, one line each.

    Raises:
        KexianError: the chapter exists already; nothing is changed then.
    """
    path = root / article.path
    if path.exists():
        raise KexianError(f"{article.path} exists already; edit it, or delete it first.")
    chapter = skeleton(article, *public_address(root))
    done = []
    descriptor = root / article.descriptor_path
    if not article.budget:
        budget = "\n".join(f"{name} = {seconds}" for name, seconds in DEFAULTS.items())
        rest = DESCRIPTOR.replace("{budget}", budget)
        write_text(descriptor, descriptor.read_text(encoding="utf-8") + rest)
        done.append(f"completed {article.descriptor_path}: budget, exemptions, planted mistakes")
    bibliography = root / "book" / "references.bib"
    entries = bibliography.read_text(encoding="utf-8") if bibliography.is_file() else ""
    if f"{{{bibliography_key(article)}," not in entries:
        write_text(bibliography, f"{entries.rstrip()}\n\n{bibliography_entry(article)}".lstrip())
        done.append(f"added {bibliography_key(article)} to book/references.bib")
    write_notebook(path, chapter)  # last: while it is missing, the call can be repeated
    done.insert(0, f"wrote {article.path}: {len(article.claims)} claims to decide")
    refresh_notebook(root, path)
    done.append(f"next: make lab, `kexian accept {article.id}`, `kexian check {article.id} --all`")
    return done


_REFERENCES = re.compile(
    r"<!-- references: (?P<keys>[^>]*?) -->\n.*?(?=<!-- /references -->)", re.DOTALL
)


_RULES = re.compile(r"(?<=<!-- rules -->\n).*?(?=<!-- /rules -->)", re.DOTALL)


def refresh_contributing(root: Path) -> bool:
    """Write the list of rules for chapters into CONTRIBUTING.md, between its marks.

    Returns:
        Whether anything changed.
    """
    from kexian_utils.runner.checks.audit import rules_markdown

    path = root / "CONTRIBUTING.md"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    after = _RULES.sub(lambda _: rules_markdown() + "\n", before)
    if after != before:
        write_text(path, after)
    return after != before


def refresh_notebook(root: Path, path: Path) -> bool:
    """Rewrite the generated places of a notebook: references, the Colab cell, what is folded.

    Returns:
        Whether anything changed.
    """
    from kexian_utils.runner.pages.references import references_markdown

    notebook = read_notebook(path)
    before = json.dumps(notebook)
    source = colab_cell(*public_address(root))
    for cell in notebook.cells:
        if COLAB_TAG in cell.metadata.get("tags", ()):
            cell.source = source
        elif cell.cell_type == "code":
            fold(cell)
        else:
            cell.source = _REFERENCES.sub(
                lambda match: (
                    f"<!-- references: {match['keys']} -->\n"
                    + references_markdown(match["keys"].split(), root / "book" / "references.bib")
                    + "\n"
                ),
                cell.source,
            )
    changed = json.dumps(notebook) != before
    if changed:
        write_notebook(path, notebook)
    return changed
