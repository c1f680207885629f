"""What a committed notebook must look like, apart from being right.

`check_notebook` reads a stored notebook without running it and returns one sentence, with the
remedy, for every rule that it breaks.
"""

from __future__ import annotations

import base64
import copy
import io
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nbformat import NotebookNode
from PIL import Image

from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.errors import KexianError
from kexian_utils.experiment.claims import MISSED
from kexian_utils.experiment.records import outputs
from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME
from kexian_utils.runner.checks import criteria
from kexian_utils.runner.checks.compare import EXEMPT_TAGS, TOLERANCE_TAG, cell_tolerance
from kexian_utils.runner.execution import cells
from kexian_utils.runner.execution.files import COMMITTED, declared_parameters, read_notebook
from kexian_utils.runner.pages.references import references_markdown

MAX_BYTES = 2_000_000
MAX_LINES = 45
COLUMN = 86  # characters of code that a chapter's column holds in a window of 1,280 px
OPEN_SHARE = 0.45  # of the code lines at most; the rest is folded
OPEN_LINES = 20  # of an open cell, at the 95th percentile
WORDS = 6  # of prose at least for each open line of code
SMALL = 150  # lines of code; what has less need not fold
MIN_ALT = 20
HEADLINE_OPENING = "**Measured here:**"
RERUN = "run `kexian accept {id}` to store a clean run"

_MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])(?:~?/(?:home|Users|root|tmp|content|mnt|opt|srv|usr|var|workspaces?)/[^\s'\"]*"
    r"|/root\b|[A-Za-z]:\\+Users\\+[^\s'\"]*)|(?:site|dist)-packages\b"
)
_ROLE = re.compile(r"(?<![\w\\}])\{[A-Za-z][\w:.+-]*\}`")
_DIRECTIVE = re.compile(r"^[ \t]*(?:`{3,}|~{3,}|:{3,})[ \t]*\{[A-Za-z][^}\n]*\}", re.MULTILINE)
_TARGET = re.compile(r"^\([\w:.-]+\)=[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(`{3,}|~{3,})(?![ \t`~]*\{)[^\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE_SPAN = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.DOTALL)
_DISPLAY = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$])\$(?!\$)[^$\n]+?(?<!\\)\$")
_ENVIRONMENT = re.compile(r"\\begin\{([a-z]+\*?)\}.*?\\end\{\1\}", re.DOTALL)
_STARRED = re.compile(r"\s*\\begin\{equation\*\}.*\\end\{equation\*\}\s*", re.DOTALL)
_TAG = re.compile(r"\\tag\*?\{([^}]*)\}")
_NUMBERED = re.compile(r"(?<![\w)\]\\])\((\d{1,2}[a-z]?['′’]?)\)(?!\w)")
_COUNTED = re.compile(
    r"(?:\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty))"
    r"\s\((\d{1,2})\)",
    re.IGNORECASE,
)
_PHRASE = re.compile(
    r"\b(?:it can be (?:easily )?shown|one can (?:easily )?show"
    r"|(?:easy|trivial|straightforward) to (?:see|show|verify|check)|easily (?:seen|shown|verified)"
    r"|left (?:to|for) the reader|left as an exercise)\b",
    re.IGNORECASE,
)
_VOICE = re.compile(r"\\ln(?![A-Za-z])|\bln\b|∎|\\blacksquare")
_REFERENCES = re.compile(
    r"<!-- references:(?P<keys>[^>]*?)-->\n(?P<body>.*?)<!-- /references -->", re.DOTALL
)
_DETAILS = re.compile(r"<details\b[^>]*>(?P<body>.*?)</details>", re.DOTALL | re.IGNORECASE)
_SOLUTION = re.compile(r"^\s*(?:#+\s*|\*\*|__)(?:Solution|Answer)\b", re.MULTILINE | re.IGNORECASE)
_IMAGE_TAG = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_ALT_ATTRIBUTE = re.compile(r"\balt\s*=\s*(\"[^\"]+\"|'[^']+')", re.IGNORECASE)
_MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(")


@dataclass(frozen=True)
class _Subject:
    """A notebook under examination, with what it is compared to."""

    path: Path
    notebook: NotebookNode
    article: Article
    root: Path

    @property
    def rerun(self) -> str:
        return RERUN.format(id=self.article.id)

    def cells(self, kind: str) -> Iterator[tuple[int, NotebookNode]]:
        for index, cell in enumerate(self.notebook.cells):
            if cell.cell_type == kind:
                yield index, cell

    def outputs(self) -> Iterator[tuple[int, NotebookNode, NotebookNode]]:
        for index, cell in self.cells("code"):
            for output in cell.outputs:
                yield index, cell, output

    def prose(self) -> Iterator[tuple[int, str]]:
        """Markdown as written in cells and as shown by cells."""
        for index, cell in self.cells("markdown"):
            yield index, cell.source
        for index, _, output in self.outputs():
            shown = output.get("data", {}).get("text/markdown")
            if shown:
                yield index, "".join(shown)

    def where(self, index: int) -> str:
        identity = self.notebook.cells[index].get("id", "")
        return f"cell {index}" + (f" ({identity})" if identity else "")


def check_notebook(path: Path, catalogue: Catalogue) -> list[str]:
    """Return what is wrong with a committed notebook, one sentence with remedy each.

    Args:
        path: the notebook.
        catalogue: the catalogue that lists it; its file tells where the project is.

    Returns:
        An empty list for a clean notebook.
    """
    path = Path(path).resolve()
    try:
        notebook = read_notebook(path)
    except KexianError as error:
        return [str(error)]
    article = next(
        (a for a in catalogue.articles if path.parts[-3:] == a.path.parts[-3:]),
        None,
    )
    if article is None:
        return [
            f"{path.name} is at no place of the catalogue; move it to notebooks/PART/SLUG.ipynb "
            "or add its slug to notebooks/catalogue.toml."
        ]
    subject = _Subject(path, notebook, article, path.parents[2])
    return [problem for rule in RULES for problem in rule(subject)]


# -- the run ----------------------------------------------------------------------------------


def _counts(subject: _Subject) -> Iterator[str]:
    """The stored run is one run from the top: execution counts 1, 2, 3, ..., and no empty cell."""
    expected = 0
    for index, cell in subject.cells("code"):
        if not cell.source.strip():
            yield f"{subject.where(index)}: an empty code cell; delete it."
            continue
        expected += 1
        if cell.execution_count != expected:
            yield (
                f"{subject.where(index)}: execution count {cell.execution_count} where "
                f"{expected} is expected (a cell was dropped, or cells were run out of order); "
                f"{subject.rerun}."
            )
            return


def _errors(subject: _Subject) -> Iterator[str]:
    """No output holds an exception or anything on stderr."""
    for index, _, output in subject.outputs():
        if output.output_type == "error":
            yield (
                f"{subject.where(index)}: stored with the exception {output.ename}; correct the "
                f"cell, then {subject.rerun}."
            )
        elif output.output_type == "stream" and output.name == "stderr":
            line = "".join(output.text).strip().split("\n")[0][:80]
            yield (
                f"{subject.where(index)}: output on stderr ({line}); silence its cause, then "
                f"{subject.rerun}."
            )


def _strings(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if not key.startswith("image/") or key == "image/svg+xml":
            yield value
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _strings(entry, str(name))
    elif isinstance(value, Iterable):
        for entry in value:
            yield from _strings(entry, key)


def _machine_paths(subject: _Subject) -> Iterator[str]:
    """No output holds a path of somebody's machine; no metadata of papermill."""
    here = {str(subject.root), sys.prefix, str(Path.home())} - {"/", "/usr", "/root"}
    for index, _, output in subject.outputs():
        for text in _strings(output):
            match = _MACHINE_PATH.search(text)
            found = match.group() if match else next((p for p in here if p in text), None)
            if found:
                yield (
                    f"{subject.where(index)}: the output holds a path of somebody's machine "
                    f"({found[:60]}); show a relative path or only the name."
                )
                break
    if "papermill" in subject.notebook.metadata:
        yield f"the notebook's metadata hold papermill's paths and times; {subject.rerun}."


def _setting(subject: _Subject) -> Iterator[str]:
    """The stored outputs are of profile `default`, seed 0, TensorFlow, with start and finish."""
    runs = [record for _, record in outputs(subject.notebook, RUN_MIME)]
    phases = [record["phase"] for record in runs]
    if phases != ["start", "finish"]:
        yield (
            f"the stored run has the phases {', '.join(phases) or 'none'} instead of start and "
            "finish; call experiment.start in the set-up cell and exp.finish() in the last one."
        )
    for record in runs:
        stored = (record["profile"], record["seed"], record["backend"])
        if stored[:2] != (COMMITTED.profile, COMMITTED.seed) or stored[2] not in (
            COMMITTED.backend,
            "none",
        ):
            yield (
                f"the stored outputs are of profile {stored[0]}, seed {stored[1]}, backend "
                f"{stored[2]}, not of {COMMITTED.name}; {subject.rerun}."
            )
            return


def _size(subject: _Subject) -> Iterator[str]:
    """The notebook has at most 2 MB."""
    size = subject.path.stat().st_size
    if size > MAX_BYTES:
        yield (
            f"the notebook has {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:g} MB; draw fewer "
            "points, or leave data out of outputs."
        )


# -- cells ------------------------------------------------------------------------------------


def _lengths(subject: _Subject) -> Iterator[str]:
    """A code cell has at most 45 lines."""
    for index, cell in subject.cells("code"):
        lines = len(cell.source.splitlines())
        if lines > MAX_LINES:
            yield (
                f"{subject.where(index)}: {lines} lines of code, more than a screenful of "
                f"{MAX_LINES}; split the cell or move a helper into kexian_utils."
            )


def _folds(subject: _Subject) -> Iterator[str]:
    """A code cell is folded, in the book, JupyterLab and Colab, if it begins with
    `# @title WORDS`; `kexian refresh` writes the metadata for it.
    """
    for index, cell in subject.cells("code"):
        tags = cell.metadata.get("tags", ())
        fitting = {"source": cell.source, "metadata": copy.deepcopy(cell.metadata)}
        cells.fold(fitting)
        if fitting["metadata"] != cell.metadata:
            yield (
                f"{subject.where(index)}: its metadata fold something else than its first line "
                f"says; run `kexian refresh {subject.article.id}`."
            )
        elif "parameters" in tags and cells.FOLDED_TAG in tags:
            yield f"{subject.where(index)}: the parameters are folded away; let them stand open."


def _open_code(subject: _Subject) -> Iterator[str]:
    """Of more than 150 lines of code at most 45 % stand open, in cells of at most 20 lines (95th
    percentile), with 6 words of prose or more each; no open line has more than 86 characters.
    """
    code = [(k, c) for k, c in subject.cells("code") if cells.is_code(c)]
    standing = [(k, c) for k, c in code if cells.fold_title(c.source) is None]
    for index, cell in standing:
        longest = max((len(line) for line in cell.source.splitlines()), default=0)
        if longest > COLUMN:
            yield (
                f"{subject.where(index)}: a line of {longest} characters in an open cell; the "
                f"column holds {COLUMN}. Break it, or fold the cell."
            )
    total = sum(cells.lines(c) for _, c in code)
    if total <= SMALL or not standing:
        return
    lengths = sorted(cells.lines(c) for _, c in standing)
    shown, long = sum(lengths), lengths[int(0.95 * len(lengths))]
    words = sum(len(_prose(c.source).split()) for _, c in subject.cells("markdown"))
    fold = "fold what is machinery for the reader (a first line `# @title WORDS`)"
    if shown > OPEN_SHARE * total:
        yield f"{shown} of {total} lines of code stand open, more than {OPEN_SHARE:.0%}; {fold}."
    if long > OPEN_LINES:
        yield f"open cells have {long} lines (95th percentile), more than {OPEN_LINES}; {fold}."
    if words < WORDS * shown:
        yield (
            f"{words / shown:.1f} words of prose for each open line of code, less than {WORDS}; "
            f"{fold}, or explain more."
        )


def _prose(text: str) -> str:
    """What a reader reads: neither code nor displays, a formula in a line as one word."""
    return _INLINE.sub(" x ", _DISPLAY.sub(" ", _ENVIRONMENT.sub(" ", _without_code(text))))


def _parameters(subject: _Subject) -> Iterator[str]:
    """One cell tagged `parameters` sets `profile = "default"` and `seed = 0`, as literals."""
    try:
        declared = declared_parameters(subject.notebook, subject.path.name)
    except KexianError as error:
        yield str(error)
        return
    for name, value in (("profile", COMMITTED.profile), ("seed", COMMITTED.seed)):
        if declared[name] != value:
            yield (
                f"the parameters cell sets {name} = {declared[name]!r}; commit it with {value!r}."
            )


def _colab(subject: _Subject) -> Iterator[str]:
    """One cell tagged `colab-install` stands before the first import of `kexian_utils`, tagged
    `hide-cell`.
    """
    code = [cell for _, cell in subject.cells("code")]
    found = [k for k, cell in enumerate(code) if cells.COLAB_TAG in cell.metadata.get("tags", ())]
    ours = [
        k for k, cell in enumerate(code) if re.search(r"^(from|import) kexian", cell.source, re.M)
    ]
    if len(found) != 1:
        yield (
            f"{len(found) or 'no'} cells tagged {cells.COLAB_TAG}; add one after the parameters, "
            f"or Colab ends in ImportError, and fill it with `kexian refresh {subject.article.id}`."
        )
    elif ours and found[0] > ours[0]:
        yield (
            f"the cell tagged {cells.COLAB_TAG} stands after the first import of kexian_utils; "
            "put it behind the parameters."
        )
    elif "hide-cell" not in code[found[0]].metadata["tags"]:
        yield (
            f"the cell tagged {cells.COLAB_TAG} stands open in the book; tag it hide-cell as well."
        )


def _full_size(subject: _Subject) -> Iterator[str]:
    """A chapter with the profile `full` has a section "At full size" and a `[rehearsal]`."""
    try:
        has_full = "full" in cells.profiles(subject.notebook)
    except SyntaxError as error:
        yield f"a code cell is not Python ({error.msg}); correct it."
        return
    if not has_full:
        return
    text = "\n".join(cell.source for _, cell in subject.cells("markdown"))
    if not re.search(r"^#+\s+(?:\d+\.\s+)?At full size\b", text, re.MULTILINE):
        yield "the profile `full` has no section At full size; add one that says what it runs."
    if not subject.article.rehearsal:
        yield (
            "nothing says how the profile `full` runs without a GPU; write the parameters under "
            f"[rehearsal] of {subject.article.descriptor_path.name}."
        )


def _exemptions(subject: _Subject) -> Iterator[str]:
    """A cell that is exempt from comparison or has its own tolerance says why, and counts."""
    found: Counter[str] = Counter()
    for index, cell in subject.cells("code"):
        tags = set(cell.metadata.get("tags", ()))
        own = cell.metadata.get("kexian", {})
        exempt, widened = bool(tags & EXEMPT_TAGS), TOLERANCE_TAG in tags
        found["exempt"] += exempt
        found["tolerance"] += widened
        where = subject.where(index)
        if (exempt or widened) and len(str(own.get("reason", "")).strip()) < 10:
            yield (
                f"{where}: exempt or with a tolerance of its own, but without a reason; say why "
                'in the cell\'s metadata: {"kexian": {"reason": "…"}}.'
            )
        if exempt and any(CLAIM_MIME in output.get("data", {}) for output in cell.outputs):
            yield f"{where}: an exempt cell holds a claim; decide the claim in a cell of its own."
        if widened:
            try:
                cell_tolerance(cell)
            except (TypeError, ValueError) as error:
                yield f"{where}: {error}; correct it in the cell's metadata."
        elif {"rtol", "atol"} & set(own):
            yield f"{where}: a tolerance without the tag {TOLERANCE_TAG}; add the tag or drop it."
    agreed = subject.article.exemptions
    for name, words in (("exempt", "exempt cells"), ("tolerance", "cells with own tolerances")):
        if found[name] != agreed.get(name, 0):
            yield (
                f"{found[name]} {words} where {agreed.get(name, 0)} are agreed; mend the cells, "
                f"or change {name} under [exemptions] of {subject.article.descriptor_path.name}."
            )


# -- claims and figures -----------------------------------------------------------------------


def _claims(subject: _Subject) -> Iterator[str]:
    """Each claim of the descriptor is decided once, and none is stored as missed."""
    records = [(index, record) for index, record in outputs(subject.notebook, CLAIM_MIME)]
    decided = Counter(record["claim"] for _, record in records)
    missing = [claim for claim in subject.article.claims if claim not in decided]
    if missing:
        yield (
            f"no stored output decides {', '.join(missing)} of the descriptor; add "
            f"`exp.check` or `exp.quote`, then {subject.rerun}."
        )
    for claim, count in decided.items():
        if claim not in subject.article.claims:
            yield (
                f"{claim} is not in the descriptor; add it to `claims` of "
                f"{subject.article.descriptor_path.name}."
            )
        elif count > 1:
            yield f"{claim} is decided {count} times; decide each claim in one cell."
    for index, record in records:
        if record["verdict"] == MISSED:
            yield (
                f"{subject.where(index)}: {record['claim']} is stored as missed; correct the "
                f"claim or the code, then {subject.rerun}."
            )


def _criteria(subject: _Subject) -> Iterator[str]:
    """No criterion of a claim rests on constants, and no empirical one on the best of several."""
    yield from criteria.problems(list(cells.code(subject.notebook)))


def _figures(subject: _Subject) -> Iterator[str]:
    """Each picture has an alternative text of its own, 20 characters or more; one is the headline
    picture.
    """
    seen: dict[str, int] = {}
    headlines = 0
    for index, _, output in subject.outputs():
        data = output.get("data", {})
        where = subject.where(index)
        headlines += bool(data.get(FIGURE_MIME, {}).get("headline"))
        for mime in data:
            if not mime.startswith("image/"):
                continue
            alt = str(output.metadata.get(mime, {}).get("alt", "")).strip()
            if len(alt) < MIN_ALT:
                yield (
                    f"{where}: a figure whose alternative text is "
                    f"{'missing' if not alt else 'too short'}; show it with plots.show(fig, "
                    f"alt=…), at least {MIN_ALT} characters."
                )
            elif alt in seen:
                yield (
                    f"{where}: the same alternative text as in cell {seen[alt]}; say what this "
                    "picture shows."
                )
            seen.setdefault(alt, index)
        for tag in _IMAGE_TAG.findall("".join(data.get("text/html", ""))):
            if not _ALT_ATTRIBUTE.search(tag):
                yield f'{where}: an <img> without alternative text; give it alt="…".'
    for index, text in subject.prose():
        if any(not alt.strip() for alt in _MARKDOWN_IMAGE.findall(_without_code(text))):
            yield f"{subject.where(index)}: a Markdown image without alternative text; ![…](…)."
        if "](attachment:" in _without_code(text):
            yield (
                f"{subject.where(index)}: a picture attached to the cell, which the book cannot "
                "show; draw it in a code cell with plots.show."
            )
    if headlines != 1:
        yield (
            f"{headlines} figures are marked as the headline picture; mark exactly one with "
            "plots.show(…, headline=True)."
        )


def _edges(subject: _Subject) -> Iterator[str]:
    """No picture is cut: its outermost pixels have the colour of its corner."""
    for index, _, output in subject.outputs():
        if "image/png" not in output.get("data", {}):
            continue
        png = base64.b64decode("".join(output["data"]["image/png"]))
        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        if np.any(border != border[0]):
            yield (
                f"{subject.where(index)}: a figure is cut by the picture's edge; show it with "
                f"plots.show, then {subject.rerun}."
            )


def _headline(subject: _Subject) -> Iterator[str]:
    """`exp.headline()` reserves the place of the measured sentence, and the run fills it. It begins
    with "**Measured here:**" and reads without the chapter: each symbol, name in code and
    abbreviation stands on the page above it.
    """
    found = [(k, record.get("text")) for k, record in outputs(subject.notebook, HEADLINE_MIME)]
    if not found:
        yield "no measured headline; call exp.headline() after the set-up cell and fill it later."
        return
    place, texts = found[0][0], [text for _, text in found if text]
    if not texts:
        yield f"the stored headline is still the place-holder; {subject.rerun}."
        return
    above = "\n".join(c.source for k, c in subject.cells("markdown") if k < place)
    for text in texts:
        if not text.startswith(HEADLINE_OPENING):
            yield f"the headline begins with “{text[:24]}”; write {HEADLINE_OPENING} there."
        if unknown := sorted(_names(text) - _names(above)):
            yield (
                f"the headline uses {', '.join(unknown)}, which nothing above it explains; say it "
                "in words, or introduce it in the first cell."
            )


_COMMANDS = frozenset(
    "times cdot pm mp approx sim le leq ge geq ne neq infty frac tfrac dfrac sqrt log exp max min "
    "sum mathrm mathbf text operatorname left right big Big quad qquad ldots dots cdots circ to in "
    "mathcal mathbb vert Vert lVert rVert lvert rvert prime partial".split()
)


def _names(text: str) -> set[str]:
    """The symbols of formulas, names in code and abbreviations of a text."""
    found = {f"`{span[1]}`" for span in re.finditer(r"`([^`\n]+)`", text)}
    plain = _CODE_SPAN.sub(" ", text)
    for formula in _INLINE.findall(plain) + _DISPLAY.findall(plain):
        formula = re.sub(r"\\(?:text|mathrm|operatorname)\*?\{[^}]*\}", " ", formula)
        commands = set(re.findall(r"\\([A-Za-z]+)", formula)) - _COMMANDS
        letters = set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))
        found |= {f"${name}$" for name in letters} | {f"$\\{name}$" for name in commands}
    words = _INLINE.sub(" ", _DISPLAY.sub(" ", plain))
    return found | set(re.findall(r"\b[A-Z]{2,}\b", words))


# -- prose ------------------------------------------------------------------------------------


def _without_code(text: str) -> str:
    return _CODE_SPAN.sub(" ", _FENCE.sub("\n", text))


def _without_math(text: str) -> str:
    text = _DISPLAY.sub(" ", _without_code(text))
    return _INLINE.sub(" ", _ENVIRONMENT.sub(" ", text))


def raw_markup(text: str) -> str | None:
    """Return the first MyST role, directive or target in a Markdown text, None without one."""
    outside_code = _FENCE.sub("\n", text)
    for pattern in (_ROLE, _DIRECTIVE, _TARGET):
        if match := pattern.search(outside_code):
            return match.group().strip()
    return None


def _roles(subject: _Subject) -> Iterator[str]:
    r"""No MyST role, directive or target: CommonMark, `\tag{n}` with "(n)", ordinary links."""
    for index, text in subject.prose():
        if found := raw_markup(text):
            yield (
                f"{subject.where(index)}: {found} shows raw outside the book; write CommonMark, "
                "\\tag{n} with (n), and ordinary links."
            )


def _equation_numbers(text: str, listed: bool = True) -> list[str]:
    """The numbers in "(7)" and "(4')" that refer to equations.

    Those of a list in running text, "(1) first, (2) second", and of a count, "twelve (12)", do not.
    """
    text = _COUNTED.sub(" ", text)
    found = [number.replace("′", "'").replace("’", "'") for number in _NUMBERED.findall(text)]
    points = re.findall(r"(?:^|[:;,.]\s+|\b(?:and|or)\s+)\((\d{1,2})\)\s+\w", text, re.MULTILINE)
    if listed and len(points) > 1 and points == [str(k + 1) for k in range(len(points))]:
        found = [number for number in found if number not in points]
    return list(dict.fromkeys(found))


def _equations(subject: _Subject) -> Iterator[str]:
    r"""Displays are `$$\begin{equation*}…\end{equation*}$$`, lines end in `\cr`; each tag stands
    once, and each "(n)" in prose or in a claim has its tag.
    """
    tags: Counter[str] = Counter()
    for index, cell in subject.cells("markdown"):
        text = _without_code(cell.source)
        tags.update(_TAG.findall(text))
        for block in _DISPLAY.findall(text):
            if "\\\\" in block:
                yield (
                    f"{subject.where(index)}: \\\\ inside $$ breaks in the book, which wraps it "
                    "in a split; write \\cr."
                )
            if not _STARRED.fullmatch(block):
                yield (
                    f"{subject.where(index)}: a display must be "
                    "$$\\begin{equation*}…\\end{equation*}$$, or JupyterLab with MyST numbers "
                    "it a second time."
                )
        if bare := _ENVIRONMENT.search(_INLINE.sub(" ", _DISPLAY.sub(" ", text))):
            yield (
                f"{subject.where(index)}: \\begin{{{bare[1]}}} stands outside $$; write "
                "$$\\begin{equation*}…\\end{equation*}$$, with \\begin{aligned} and \\cr inside "
                "for several lines."
            )
    for tag, count in tags.items():
        if count > 1:
            yield f"equation tag ({tag}) is used {count} times; number each equation once."
    for index, text in subject.prose():
        plain = re.sub(r"\]\([^)]*\)", "] ", _without_math(text))
        for number in _equation_numbers(plain):
            if number not in tags:
                yield (
                    f"{subject.where(index)}: refers to ({number}), but no equation has that "
                    "tag; correct the number or add the tag."
                )
    for index, record in outputs(subject.notebook, CLAIM_MIME):
        for number in _equation_numbers(record.get("equation") or "", listed=False):
            if number not in tags:
                yield (
                    f"{subject.where(index)}: {record['claim']} stands on ({number}), but no "
                    "equation has that tag; correct `equation`."
                )


def _solutions(subject: _Subject) -> Iterator[str]:
    """A section Exercises; solutions fold in `<details>` with `<summary>` and a blank line."""
    headings = "\n".join(cell.source for _, cell in subject.cells("markdown"))
    if not re.search(r"^#+\s+(?:\d+\.\s+)?Exercises\b", headings, re.MULTILINE):
        yield "no section Exercises; add two or three exercises with solutions."
    folded = 0
    for index, cell in subject.cells("markdown"):
        text = _without_code(cell.source)
        where = subject.where(index)
        opened = len(re.findall(r"<details\b", text, re.IGNORECASE))
        if opened != len(re.findall(r"</details>", text, re.IGNORECASE)):
            yield f"{where}: <details> and </details> do not match; close each in its own cell."
            continue
        for match in _DETAILS.finditer(text):
            folded += 1
            if not re.match(r"\s*<summary>.+?</summary>[ \t]*\n[ \t]*\n", match["body"], re.DOTALL):
                yield (
                    f"{where}: a <details> must begin with <summary>…</summary> and a blank "
                    "line, or its Markdown shows raw."
                )
        if _SOLUTION.search(_DETAILS.sub(" ", text)):
            yield f"{where}: a solution that is not folded; put it into <details>…</details>."
    if not folded:
        yield "no solution is folded away; put each into <details><summary>Solution</summary>."


def _byline(subject: _Subject) -> Iterator[str]:
    """The first cell begins with the title, links the article and names it in Chinese."""
    first = next((cell.source for _, cell in subject.cells("markdown")), "")
    if not first.startswith("# "):
        yield "the first Markdown cell must begin with the title, '# …'."
    for text, words in (
        (f"kexue.fm/archives/{subject.article.id}", "the link to the original article"),
        (subject.article.title_zh, "the article's Chinese title as in the catalogue"),
    ):
        # Full-width and plain punctuation count as the same.
        if unicodedata.normalize("NFKC", text) not in unicodedata.normalize("NFKC", first):
            yield f"the first Markdown cell lacks {words}; add {text} to the byline."


def _phrases(subject: _Subject) -> Iterator[str]:
    """No "it can be shown", "easy to see", "left to the reader": show it."""
    for index, text in subject.prose():
        if match := _PHRASE.search(" ".join(text.split())):
            yield f"{subject.where(index)}: “{match.group()}”; show it instead."


def _voice(subject: _Subject) -> Iterator[str]:
    r"""One author: log, not ln; a proof ends with □, not with ∎."""
    for index, text in subject.prose():
        if match := _VOICE.search(_without_code(text)):
            yield f"{subject.where(index)}: “{match.group()}”; the book writes log and □."


def _characters(subject: _Subject) -> Iterator[str]:
    r"""No tab and no other control character in prose: a lost backslash makes one of `\theta`."""
    for index, text in subject.prose():
        if match := re.search(r"[\x00-\x09\x0b-\x1f]", text):
            near = text[match.start() : match.start() + 12]
            yield f"{subject.where(index)}: a control character before {near!r}; write a backslash."


def _references(subject: _Subject) -> Iterator[str]:
    """A section References holds what `kexian refresh` makes from `book/references.bib`."""
    text = "\n\n".join(cell.source for _, cell in subject.cells("markdown"))
    if not re.search(r"^#+\s+(?:\d+\.\s+)?References\b", text, re.MULTILINE):
        yield (
            "no section References; add one with `<!-- references: KEYS -->` and "
            "`<!-- /references -->`, and run `kexian refresh`."
        )
    if text.count("<!-- references:") != len(_REFERENCES.findall(text)):
        yield "a reference list is not closed; end it with `<!-- /references -->`."
    for match in _REFERENCES.finditer(text):
        try:
            expected = references_markdown(
                match["keys"].split(), subject.root / "book" / "references.bib"
            )
        except KexianError as error:
            yield f"references: {error}"
            continue
        if match["body"].strip() != expected:
            yield (
                "the reference list is not what book/references.bib gives; run "
                f"`kexian refresh {subject.article.id}`."
            )


RULES = (
    _counts,
    _errors,
    _machine_paths,
    _setting,
    _size,
    _lengths,
    _folds,
    _open_code,
    _parameters,
    _colab,
    _full_size,
    _exemptions,
    _claims,
    _criteria,
    _figures,
    _edges,
    _headline,
    _roles,
    _equations,
    _solutions,
    _byline,
    _phrases,
    _voice,
    _characters,
    _references,
)


def rules() -> list[str]:
    """The rules, a sentence each, for those who write a chapter."""
    return [" ".join((rule.__doc__ or "").split()) for rule in RULES]
