"""Committed notebooks are clean, and each rule of cleanliness can turn red."""

import base64
import io
import re

import fixture_notebooks as fixtures
import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image, ImageOps
from project_notebooks import ARTICLES, ROOT

from kexian_utils import catalogue
from kexian_utils.runner.checks import hygiene
from kexian_utils.runner.checks.hygiene import check_notebook
from kexian_utils.runner.execution import cells


@pytest.mark.parametrize("article", ARTICLES)
def test_committed_notebook_is_clean(article):
    assert check_notebook(ROOT / article.path, catalogue.load(ROOT)) == []


@pytest.mark.parametrize("article", ARTICLES)
def test_plain_rendering_shows_no_raw_markup(article):
    notebook = nbformat.read(ROOT / article.path, as_version=4)
    assert raw_in_html(notebook) == []


def raw_in_html(notebook):
    """What plain nbconvert leaves of roles, directives and targets in the text of the page."""
    page, _ = HTMLExporter(exclude_input=True).from_notebook_node(notebook)
    body = page[page.index("<body") :]
    body = re.sub(r"<(script|style|pre)\b.*?</\1>", " ", body, flags=re.DOTALL)
    # A role becomes "{role}<code>text</code>", a directive "```{name}" or ":::{name}" stays, as do
    # the colons that end one; in a code span of two backticks the role stays as it is.
    pattern = (
        r"(?<![\w\\}])\{[a-z][\w:.+-]*\}(?:`|<code>)|(?:`{3}|:{3}) ?\{[a-z]|>\([\w-]+\)=<"
        r"|^(?:<p>)?:::|<code[^>]*>\{(?:glue|cite|eq|prf)"
    )
    return re.findall(pattern, body, re.MULTILINE)


@pytest.mark.parametrize(
    "text",
    [
        "See {cite}`hardy1934`.",
        "See {eq}`one`.",
        "See {doc}`one`, {nb-download}`two`.",
        ":::{note}\nText\n:::",
        "Text\n\n:::",
        "(target)=",
        "See ``{eq}`one` ``.",
    ],
)
def test_plain_rendering_finds_raw_markup(chapter, text):
    assert raw_in_html(chapter) == []
    chapter.cells.append(nbformat.v4.new_markdown_cell(text))
    assert raw_in_html(chapter)


def problems(notebook, tmp_path, entries=""):
    path = fixtures.make_root(tmp_path, notebook, entries)
    return check_notebook(path, catalogue.load(tmp_path))


def test_clean_chapter_has_no_problems(chapter, tmp_path):
    assert problems(chapter, tmp_path) == []


def edit(name, **changes):
    return lambda notebook: fixtures.cell(notebook, name).update(changes)


def append_text(text, name="end"):
    def plant(notebook):
        fixtures.cell(notebook, name).source += "\n\n" + text

    return plant


def replace(name, old, new):
    def plant(notebook):
        cell = fixtures.cell(notebook, name)
        assert old in cell.source
        cell.source = cell.source.replace(old, new)

    return plant


def output(cell, **entry):
    def plant(notebook):
        fixtures.cell(notebook, cell).outputs.append(nbformat.v4.new_output(**entry))

    return plant


def printed(text, stream="stdout"):
    return output("measure", output_type="stream", name=stream, text=text)


def remove(name):
    return lambda notebook: notebook.cells.remove(fixtures.cell(notebook, name))


def metadata(name, **entries):
    return lambda notebook: fixtures.cell(notebook, name).metadata.update(entries)


def alt(text):
    def plant(notebook):
        fixtures.cell(notebook, "picture").outputs[0].metadata["image/png"]["alt"] = text

    return plant


def cut_picture(notebook):
    """The picture without the margin round what is drawn."""
    data = fixtures.cell(notebook, "picture").outputs[0].data
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
    buffer = io.BytesIO()
    picture.crop(ImageOps.invert(picture).getbbox()).save(buffer, "PNG")
    data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def picture_twice(notebook):
    cell = fixtures.cell(notebook, "picture")
    cell.outputs.append(cell.outputs[0])


def folded(name, title):
    def plant(notebook):
        cell = fixtures.cell(notebook, name)
        cell.source = title + cell.source
        cells.fold(cell)

    return plant


def code(lines, copies=1):
    """More code, in open cells after the last."""

    def plant(notebook):
        for number in range(copies):
            cell = nbformat.v4.new_code_cell("\n".join(["x = 1"] * lines), id=f"more-{number}")
            cell.execution_count = fixtures.cell(notebook, "finish").execution_count + 1 + number
            notebook.cells.append(cell)

    return plant


def record(name, mime, **entries):
    def plant(notebook):
        for entry in fixtures.cell(notebook, name).outputs:
            if mime in entry.data:
                entry.data[mime].update(entries)

    return plant


HEADLINE = "application/vnd.kexian.headline+json"
CLAIM, RUN = "application/vnd.kexian.claim+json", "application/vnd.kexian.run+json"
HOME = "/home" + "/someone"  # invented; put together, so that no search takes it for a real one
FAULTS = {
    "count out of order": (edit("bound", execution_count=9), "execution count 9 where 6"),
    "never run": (edit("bound", execution_count=None), "execution count None"),
    "dropped cell": (remove("measure"), "a cell was dropped"),
    "empty cell": (edit("result", source=" "), "an empty code cell"),
    "stored error": (
        output("measure", output_type="error", ename="ValueError", evalue="x", traceback=[]),
        "stored with the exception ValueError",
    ),
    "stderr": (printed("careful", "stderr"), "output on stderr (careful)"),
    "home": (printed(f"saved to {HOME}/x.npy"), f"({HOME}/x.npy)"),
    "mac": (printed("/Users/ann/x"), "path of somebody's machine"),
    "windows": (printed(r"C:\Users\ann\x"), "path of somebody's machine"),
    "temporary": (printed("'/tmp/abc'"), "(/tmp/abc)"),
    "root": (printed("in /root now"), "path of somebody's machine"),
    "colab": (printed("/content/data"), "path of somebody's machine"),
    "packages": (printed("lib/site-packages/numpy"), "path of somebody's machine"),
    "papermill": (lambda nb: nb.metadata.update(papermill={}), "papermill's paths"),
    "path in JSON": (
        record("tight", CLAIM, note=HOME),
        "path of somebody's machine",
    ),
    "other profile": (record("set-up", RUN, profile="smoke"), "are of profile smoke, seed 0"),
    "other backend": (record("set-up", RUN, backend="jax"), "backend jax"),
    "no end": (lambda nb: fixtures.cell(nb, "finish").outputs.pop(), "has the phases start"),
    "too large": (printed("x" * 2_000_001), "the notebook has 2.1 MB"),
    "long cell": (append_text("\n".join(["x = 1"] * 45), "bound"), "lines of code, more than"),
    "folded by hand": (
        metadata("bound", tags=["hide-input"]),
        "fold something else than its first",
    ),
    "title without the metadata": (
        edit("bound", source="# @title The bound\nbound = 1"),
        "fold something else than its first line says; run `kexian refresh 1`",
    ),
    "parameters folded": (folded("parameters", "# @title Sizes\n"), "parameters are folded away"),
    "wide line in an open cell": (
        append_text("x = " + "1 + " * 22 + "1", "measure"),
        "(measure): a line of 93 characters in an open cell",
    ),
    "all code open": (code(151), "lines of code stand open, more than 45%"),
    "long open cells": (code(25, copies=6), "open cells have 25 lines (95th percentile)"),
    "few words": (code(151), "words of prose for each open line of code, less than 6"),
    "no parameters": (metadata("parameters", tags=[]), "no cells tagged `parameters`"),
    "no seed": (replace("parameters", "seed = 0", "sead = 0"), "lacks seed"),
    "seed": (replace("parameters", "seed = 0", "seed = 1"), "sets seed = 1; commit it with 0"),
    "missing claim": (lambda nb: fixtures.cell(nb, "quote").outputs.clear(), "decides C3"),
    "unknown claim": (record("quote", CLAIM, claim="C9"), "C9 is not in the descriptor"),
    "claim twice": (record("quote", CLAIM, claim="C2"), "C2 is decided 2 times"),
    "missed claim": (record("tight", CLAIM, verdict="missed"), "C2 is stored as missed"),
    "constant criterion": (
        replace("tight", "    ratio,", "    np.exp(0.0),"),
        "C2: what is measured is a constant",
    ),
    "best of several": (
        replace(
            "tight",
            "    ratio,\n    experiment.between(0.99, 1.0)",
            "    np.max(a),\n    experiment.at_least(0.99)",
        ),
        "C2: what is measured is decided by the best of several",
    ),
    "no alt": (alt(" "), "alternative text is missing"),
    "short alt": (alt("a plot"), "alternative text is too short"),
    "cut picture": (cut_picture, "a figure is cut by the picture's edge"),
    "alt twice": (picture_twice, "the same alternative text as in cell"),
    "two headline pictures": (picture_twice, "2 figures are marked as the headline"),
    "img without alt": (
        output("measure", output_type="display_data", data={"text/html": "<img src='x'>"}),
        "an <img> without alternative text",
    ),
    "Markdown image": (append_text("![](x.png)"), "Markdown image without alternative text"),
    "attached picture": (append_text("![a dot](attachment:dot.png)"), "a picture attached to the"),
    "no headline": (
        lambda nb: fixtures.cell(nb, "headline").outputs.clear(),
        "no measured headline",
    ),
    "place-holder": (
        record("headline", HEADLINE, text=None),
        "still the place-holder",
    ),
    "headline of another form": (
        record("headline", HEADLINE, text="The bound holds."),
        "the headline begins with “The bound holds.”",
    ),
    "headline with a symbol": (
        record("headline", HEADLINE, text=r"**Measured here:** $\rho_1=3$ of `max_norm`, by FGM"),
        r"uses $\rho$, FGM, `max_norm`, which nothing above it explains",
    ),
    "other logarithm": (append_text(r"So $a=\ln b$."), "the book writes log and □"),
    "role": (append_text("See {cite}`hardy1934`."), "{cite}` shows raw"),
    "equation role": (append_text("See {eq}`one`."), "{eq}` shows raw"),
    "directive": (append_text(":::{note}\nText\n:::"), ":::{note} shows raw"),
    "fenced directive": (append_text("```{note}\nText\n```"), "```{note} shows raw"),
    "target": (append_text("(a-target)=\n"), "(a-target)= shows raw"),
    "role in an output": (
        output("measure", output_type="display_data", data={"text/markdown": "{ref}`x`"}),
        "{ref}` shows raw",
    ),
    "tag beside a line break": (
        append_text(r"$$\begin{equation*}a \\ b \tag{2}\end{equation*}$$"),
        "\\\\ inside $$ breaks in the book",
    ),
    "plain display": (append_text(r"$$a = b \tag{2}$$"), "numbers it a second time"),
    "bare environment": (
        append_text("\\begin{align*}\na &= b \\tag{2}\n\\end{align*}"),
        "\\begin{align*} stands outside $$",
    ),
    "tag twice": (
        append_text(r"$$\begin{equation*}a = b \tag{1}\end{equation*}$$"),
        "tag (1) is used 2 times",
    ),
    "dangling reference": (append_text("By (7) this holds."), "refers to (7)"),
    "dangling primed reference": (append_text("By (1') this holds."), "refers to (1')"),
    "dangling reference among others": (
        append_text("By (1), and (2) with it, this holds."),
        "refers to (2)",
    ),
    "dangling primed claim": (record("bound", CLAIM, equation="(1′)"), "C1 stands on (1')"),
    "dangling claim": (record("bound", CLAIM, equation="(1), (4)"), "C1 stands on (4)"),
    "open solution": (append_text("**Solution.** Expand."), "a solution that is not folded"),
    "no solution": (
        lambda nb: (
            replace("end", "<details><summary>Solution</summary>", "")(nb),
            replace("end", "</details>", "")(nb),
        ),
        "no solution is folded away",
    ),
    "unclosed details": (replace("end", "</details>", ""), "do not match"),
    "details without blank line": (
        replace("end", "</summary>\n\n", "</summary>\n"),
        "and a blank line",
    ),
    "no exercises": (replace("end", "## Exercises", "## Exorcisms"), "no section Exercises"),
    "no title": (replace("title", "# A small", "A small"), "must begin with the title"),
    "no link": (replace("title", "archives/1", "archives/2"), "lacks the link"),
    "no Chinese title": (replace("title", "小样例", "样例"), "lacks the article's Chinese title"),
    "it can be shown": (append_text("It can be\nshown that a = b."), "“It can be shown”"),
    "easy to see": (append_text("It is easy to see."), "“easy to see”"),
    "a lost backslash": (append_text("An angle $\theta$."), "a control character before"),
    "left to the reader": (append_text("This is left to the reader."), "“left to the reader”"),
    "other references": (replace("end", "Inequalities*", "Equalities*"), "`kexian refresh 1`"),
    "unknown key": (replace("end", "references: hardy1934", "references: h"), "has no entry h"),
    "open references": (replace("end", "<!-- /references -->", ""), "is not closed"),
    "no references": (replace("end", "## References", "## Books"), "no section References"),
    "no cell for Colab": (remove("colab-install"), "no cells tagged colab-install"),
    "an open cell for Colab": (metadata("colab-install", tags=["colab-install"]), "stands open"),
    "Colab after the imports": (
        lambda nb: nb.cells.append(nb.cells.pop(2)),
        "stands after the first import of kexian_utils",
    ),
    "full without a section": (
        append_text("sizes = exp.sizes({'smoke': dict(n=1), 'full': dict(n=9)})", "set-up"),
        "the profile `full` has no section At full size",
    ),
    "full without a rehearsal": (
        append_text("sizes = exp.sizes({'smoke': dict(n=1), 'full': dict(n=9)})", "set-up"),
        "under [rehearsal] of small-chapter.toml",
    ),
    "not Python": (append_text("sizes = (", "set-up"), "'(' was never closed"),
    "exempt without reason": (metadata("result", tags=["nbval-ignore-output"]), "without a reason"),
    "exempt not agreed": (
        metadata("result", tags=["nbval-ignore-output"], kexian={"reason": "shows the time"}),
        "1 exempt cells where 0 are agreed",
    ),
    "widened not agreed": (
        metadata("result", tags=["kexian-tolerance"], kexian={"reason": "trained loss"}),
        "1 cells with own tolerances where 0 are agreed",
    ),
    "exempt claim": (
        metadata("tight", tags=["nbval-ignore-output"], kexian={"reason": "shows the time"}),
        "an exempt cell holds a claim",
    ),
    "bad tolerance": (
        metadata(
            "result", tags=["kexian-tolerance"], kexian={"reason": "trained loss", "rtol": -1}
        ),
        "rtol must be finite and not negative",
    ),
    "tolerance without tag": (metadata("result", kexian={"rtol": 0.1}), "without the tag"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(chapter, tmp_path, name):
    plant, words = FAULTS[name]
    plant(chapter)
    found = problems(chapter, tmp_path)
    assert any(words in problem for problem in found), found
    for problem in found:
        assert problem.endswith((".", "…).")), problem
        assert "\n" not in problem


def test_every_rule_is_broken_by_a_fault(chapter, tmp_path, monkeypatch):
    red = set()
    for number, (plant, words) in enumerate(FAULTS.values()):
        broken = nbformat.from_dict(chapter)
        broken = nbformat.reads(nbformat.writes(broken), as_version=4)
        plant(broken)
        path = fixtures.make_root(tmp_path / str(number), broken)
        for rule in hygiene.RULES:
            monkeypatch.setattr(hygiene, "RULES", (rule,))
            if any(
                words in p for p in check_notebook(path, catalogue.load(tmp_path / str(number)))
            ):
                red.add(rule.__name__)
        monkeypatch.undo()
    assert red == {rule.__name__ for rule in hygiene.RULES}


def test_much_code_is_clean_where_it_is_folded_and_explained(chapter, tmp_path):
    code(40, copies=5)(chapter)
    for number in range(5):
        folded(f"more-{number}", f"# @title Draw figure {number}\n")(chapter)
    fixtures.cell(chapter, "derivation").source += "\n\n" + "word " * 250
    assert problems(chapter, tmp_path) == []
    folded("more-0", "#")(chapter)
    assert any("95th percentile" in p for p in problems(chapter, tmp_path / "open"))


def test_a_headline_may_use_what_stands_above_it(chapter, tmp_path):
    fixtures.cell(chapter, "title").source += "\n\nBy FGM, `max_norm` gives $\\rho_t$."
    words = r"**Measured here:** $\rho\le 10^{-3}\times 2$ of `max_norm`, by FGM, on 5 %."
    record("headline", HEADLINE, text=words)(chapter)
    assert problems(chapter, tmp_path) == []


def test_agreed_exemptions_are_clean(chapter, tmp_path):
    fixtures.cell(chapter, "result").metadata.update(
        tags=["kexian-tolerance"], kexian={"rtol": 0.05, "reason": "a trained loss"}
    )
    assert problems(chapter, tmp_path, "[exemptions]\ntolerance = 1\n") == []
    assert problems(chapter, tmp_path / "other", "[exemptions]\ntolerance = 2\n")


def test_no_false_alarm_on_what_is_allowed(chapter, tmp_path):
    fixtures.cell(chapter, "derivation").source += (
        "\n\n```python\nx = '{cite}`a`'\n```\n\n"
        r"Code `\mathbb{E}` and a link [f(2)](https://example.org/tmp/x), $f(3)$ and (see 4)."
        " There are two reasons: (1) it is short, (2) it is plain, and (3) it is right; of "
        "twelve (12) cases and 11 (11) more.\n\nBy (3') and (3′)."
        "\n\n$$\\begin{equation*} a = c \\tag{3'}\\end{equation*}$$"
        "\n\n$$\\begin{equation*}\\begin{aligned} a &= b \\cr c &= d \\end{aligned}\\tag{2}"
        "\\end{equation*}$$\n\n"
        "$$\\begin{equation*}\\begin{pmatrix} 1 \\cr 2 \\end{pmatrix} \\tag{3}"
        "\\end{equation*}$$\n\nBy (2) and (3)."
    )
    assert problems(chapter, tmp_path) == []


def test_missing_corrupt_and_misplaced_notebooks_are_named(tmp_path):
    path = fixtures.make_root(tmp_path)
    listed = catalogue.load(tmp_path)
    assert "there is no notebook small-chapter.ipynb" in check_notebook(path, listed)[0]
    path.write_text("{", encoding="utf-8")
    assert "small-chapter.ipynb is corrupt" in check_notebook(path, listed)[0]
    other = path.with_name("other.ipynb")
    nbformat.write(fixtures.build(), other)
    assert "at no place of the catalogue" in check_notebook(other, listed)[0]
