"""The book's build without a browser: staging, generated pages, links, vendored files."""

from __future__ import annotations

import base64
import colorsys
import importlib.util
import io
import os
import re
import sys

import nbformat
import numpy as np
import pytest
from conftest import ROOT, copy_project
from PIL import Image, ImageColor
from standin import CLAIMS, PAGE, notebook, picture, write_standin

from kexian_utils import catalogue, plots
from kexian_utils.errors import KexianError
from kexian_utils.experiment.records import outputs
from kexian_utils.mime import RUN_MIME
from kexian_utils.runner.execution import budgets, cells
from kexian_utils.runner.execution.cache import finished_run
from kexian_utils.runner.execution.files import Run, read_notebook
from kexian_utils.runner.pages import book as books
from kexian_utils.runner.pages import render as pages
from kexian_utils.runner.pages.pictures import PAPER, darkened, light_and_dark


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


sys.path.insert(0, str(ROOT / "book/_ext"))
extension = load(ROOT / "book/_ext/kexian_book.py")
search = load(ROOT / "book/_ext/kexian_search.py")


# -- Chinese text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<p>a 苏剑林 b</p>", '<p>a <span lang="zh">苏剑林</span> b</p>'),
        ("<p>什么\uff1f一个「词」。</p>", '<p><span lang="zh">什么\uff1f一个「词」。</span></p>'),
        ("<pre>中文</pre><code>中</code>", "<pre>中文</pre><code>中</code>"),
        ('<span class="math n">\\(中\\)</span>', '<span class="math n">\\(中\\)</span>'),
        ('<img alt="中文"><!-- 中 -->', '<img alt="中文"><!-- 中 -->'),
        ("<script>var a = '<p>中</p>';</script>", "<script>var a = '<p>中</p>';</script>"),
        ('<p lang="zh">中</p>中', '<p lang="zh">中</p><span lang="zh">中</span>'),
        ("<pre><span>x</span>中</pre>中", '<pre><span>x</span>中</pre><span lang="zh">中</span>'),
        ("<title>中</title>", "<title>中</title>"),
    ],
)
def test_chinese_runs_are_marked(before, after):
    assert extension.mark_chinese(before) == after


def test_marking_twice_changes_nothing():
    once = extension.mark_chinese("<p>a 苏剑林 b</p>")
    assert extension.mark_chinese(once) == once


def test_the_index_of_the_search_has_compounds_whole_and_names_of_code_once():
    from docutils.core import publish_doctree
    from docutils.parsers.rst import Parser

    text = "Title\n=====\n\n损失的\\ **地形**, 位置\n编码.\n\n::\n\n    expand_width(word)\n"
    text += "\nPart\n----\n\nA word.\n\nOther\n-----\n\nB :math:`\\theta_i`\n"
    settings = {"doctitle_xform": False}
    found = search.sections(publish_doctree(text, parser=Parser(), settings_overrides=settings))
    assert [section[0] for section in found] == ["", "part", "other"]
    assert found[0] == ["", "Title", "损失的地形, 位置编码.", "expand_width word"]
    assert found[1][1:] == ["Part", "A word.", ""]
    assert found[2][2] == "B θ_i"


def test_only_characters_of_the_book_are_in_the_table_of_traditional_ones():
    assert search.traditional("# note\n對\t对\n優\t优\n乾\t干 乾\n", "对干") == "對对乾干"


# -- launch buttons -----------------------------------------------------------------------------


def test_no_address_no_button():
    assert extension.launch_links("", "main", "notebooks/a/b.ipynb") == []


def test_buttons_lead_to_the_notebook():
    found = extension.launch_links("https://github.com/o/n/", "main", "notebooks/a/b.ipynb")
    assert [address for _, address in found] == [
        "https://colab.research.google.com/github/o/n/blob/main/notebooks/a/b.ipynb",
        "https://mybinder.org/v2/gh/o/n/main?urlpath=lab/tree/notebooks/a/b.ipynb",
    ]


def test_an_odd_address_is_refused():
    with pytest.raises(ValueError, match="OWNER/NAME"):
        extension.launch_links("git@somewhere:x", "main", "a.ipynb")


# -- generated pages ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made():
    listed = catalogue.load(ROOT)
    chapter = pages.Chapter(listed.article("8397"), notebook())
    return pages.Book(listed, (chapter,))


def test_the_ledger_lists_every_recorded_claim_and_counts_the_others(made):
    text = pages.ledger(made, "")
    assert text.count('<tr role="row" data-chapter') == len(CLAIMS)
    total = sum(len(article.claims) for article in made.catalogue.articles)
    own = len(made.catalogue.article("8397").claims)
    assert f"{total - own} more claims" in text
    assert 'data-verdict="not run|holds"' in text
    assert "not run here" in text
    assert "transformers/rope-2d.html#claim-c2" in text


def test_without_a_chapter_nothing_is_faked():
    empty = pages.Book(catalogue.load(ROOT), ())
    assert "<table" not in pages.ledger(empty, "")
    assert "No chapter" in pages.gallery(empty, "")
    assert "No chapter" in pages.errata(empty, "")
    assert "No chapter" in pages.status(empty, "")
    assert "Nothing is cited" in pages.bibliography(empty, "")
    assert "0 of 36 chapters" in pages.finished(empty, "")


def test_errata_hold_refuted_claims_errata_and_the_written_section(made):
    text = pages.errata(made, "")
    assert {"#claim-c2", "#claim-c7"} == set(re.findall(r"#claim-c\d", text))
    assert "is undefined" in text
    assert "<strong>A heading inside</strong>" in text
    assert "\\tag{6}" in text


def test_the_status_says_when_and_with_what(made):
    text = pages.status(made, "")
    for word in ("2026-01-02", "keras 3.15.1", "seed 0", "tensorflow", "12.5"):
        assert word in text


def test_chapters_have_headings_of_their_own_on_the_status_and_are_named_once_in_the_errata(made):
    title = made.catalogue.article("8397").title
    assert f"## {title}\n" in pages.status(made, "")
    headings = re.findall(r"^#+ .*", pages.errata(made, ""), re.M)
    assert headings == [f"## {title}"]


def test_the_bibliography_is_by_author_and_names_the_chapters_that_cite(tmp_path):
    from kexian_utils.runner.pages.references import bibliography_markdown

    path = tmp_path / "references.bib"
    path.write_text(
        "@article{b, author={Zed, Ann}, title={About BERT and Hessians}, year={2019},"
        " journal={arXiv:1805.11604}, eprint={1805.11604}}\n"
        "@article{a, author={Abe, Bo}, title={Of {GANs}}, year={2017}, doi={10.1/x}}\n",
        encoding="utf-8",
    )
    text = bibliography_markdown(path, {"b": ["[One](x.ipynb)", "[Two](y.ipynb)"]})
    assert text == (
        "- Bo Abe (2017). [*Of GANs*](https://doi.org/10.1/x).\n"
        "- Ann Zed (2019). [*About BERT and Hessians*](https://arxiv.org/abs/1805.11604)."
        " arXiv:1805.11604. Cited in [One](x.ipynb), [Two](y.ipynb)."
    )


def test_every_work_of_the_book_names_a_chapter_and_no_address_stands_twice(book):
    page = (book / "bibliography.html").read_text(encoding="utf-8")
    entries = re.findall(r"<li>.*?</li>", page[page.index("<h1>") :], re.DOTALL)
    entries = [entry for entry in entries if "Cited in" in entry]
    listed = (ROOT / "book/references.bib").read_text(encoding="utf-8").count("\n@") + 1
    assert len(entries) > 0.7 * listed  # the others wait for their chapters
    for entry in entries:
        for number in re.findall(r"\d{4}\.\d{5}", re.sub(r'href="[^"]*"', "", entry)):
            assert re.sub(r'href="[^"]*"', "", entry).count(number) == 1


def test_every_article_is_listed_once_with_its_original(made):
    text = "".join(pages.part_list(made, part.id) for part in made.catalogue.parts)
    for article in made.catalogue.articles:
        assert text.count(f'href="{article.url}"') == 1
    assert text.count('<span class="kexian-soon">') == len(made.catalogue.articles) - 1


@pytest.mark.parametrize("line", ["$\\log2$ over 0.5", "from $\\log2$ to 0.5", "0.5 and $\\log2$"])
def test_a_formula_is_one_whatever_stands_at_the_ends_of_its_line(line):
    assert pages.inline_html(line).count('<span class="math') == 1
    assert "$" not in pages.inline_html(line)


def test_an_unknown_generator_is_an_error(made):
    with pytest.raises(ValueError, match="ledgre"):
        pages.fill("<!-- kexian:ledgre -->", made)


# -- planted faults of the build ----------------------------------------------------------------


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html#x">1</a><img src="c.png"><a href="#y">2</a>')
    (tmp_path / "b.html").write_text(
        '<p id="x"></p><a href="a.html">3</a><a href="https://x">4</a>'
    )
    found = books.check_internal_links(tmp_path)
    assert len(found) == 2
    assert "c.png" in found[0]
    assert "#y" in found[1]
    assert books.external_links(tmp_path) == ["https://x"]


def test_a_page_outside_the_contents_is_an_error(tmp_path):
    root = copy_project(tmp_path / "project")
    (root / "book/lost.md").write_text("# Lost\n", encoding="utf-8")
    with pytest.raises(KexianError, match="lost"):
        books.stage(root, tmp_path / "staged")


def test_a_warning_fails_the_build_and_the_old_book_stays(tmp_path):
    root = copy_project(tmp_path / "project")
    old = root / "_build/book/index.html"
    old.parent.mkdir(parents=True)
    old.write_text("old", encoding="utf-8")
    page = root / "book/gallery.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[x](nowhere.md)\n", encoding="utf-8")
    with pytest.raises(KexianError, match="nowhere"):
        books.build("stored", root, root / "_build")
    assert old.read_text(encoding="utf-8") == "old"


def test_a_notebook_without_outputs_stays_to_come(tmp_path):
    root = copy_project(tmp_path / "project")
    path = write_standin(root)
    skeleton = nbformat.read(path, 4)
    for cell in skeleton.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbformat.write(skeleton, path)
    assert books.chapters_of(root) == []


def test_the_executed_copies_are_shown_where_they_are_asked_for(tmp_path, monkeypatch):
    root = copy_project(tmp_path / "project")
    copy = tmp_path / "copy.ipynb"
    fresh = nbformat.read(write_standin(root), 4)
    fresh.cells[0].source = "# Prose of yesterday"
    place = next(k for k, cell in enumerate(fresh.cells) if cell.get("outputs"))
    fresh.cells[place].outputs = [nbformat.v4.new_output("stream", name="stdout", text="fresh")]
    nbformat.write(fresh, copy)
    monkeypatch.setattr(books, "finished_run", lambda run: copy)
    for source, shown in (("stored", False), ("runs", True)):
        books.stage(root, tmp_path / source, source)
        staged = nbformat.read(tmp_path / source / f"{PAGE}.ipynb", 4)
        assert "Rotary" in staged.cells[0].source, "prose is always the present one"
        assert (staged.cells[place].outputs[0].get("text") == "fresh") == shown


def test_a_folded_cell_is_called_what_its_first_line_says():
    source = "# @title Draw {one} figure\nplot()"
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["x"]})
    cells.fold(cell)
    assert cell.metadata == {
        "tags": ["x", "hide-input"],
        "jupyter": {"source_hidden": True},
        "cellView": "form",
    }
    others = [nbformat.v4.new_code_cell(text) for text in ("plot()", "exp.finish()")]
    others[1].outputs = [nbformat.v4.new_output("display_data", data={"text/plain": "x"})]
    filled = nbformat.v4.new_code_cell('# @title Fill it in\nexp.headline(f"{x}")', id="filled")
    notebook = nbformat.v4.new_notebook(cells=[cell, *others, filled])
    first, second, last, silent = books.with_named_folds(notebook)["cells"]
    prompt = first["metadata"]["mystnb"]["code_prompt_show"].format(type="x")
    assert prompt == "Code · Draw {one} figure"
    assert second["metadata"] == {}
    assert last["metadata"]["tags"] == ["remove-input"]
    assert silent["metadata"]["tags"] == ["remove-cell"]
    assert "mystnb" not in cell.metadata
    cell.source = "plot()"  # opened again
    cells.fold(cell)
    assert cell.metadata == {"tags": ["x"]}


def test_the_source_is_named_or_refused():
    with pytest.raises(ValueError, match="stored, runs"):
        books.build("stale", ROOT)


def test_two_builds_at_once_both_finish(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    root = copy_project(tmp_path / "project")
    with ThreadPoolExecutor(2) as pool:
        built = list(pool.map(lambda _: books.build("stored", root, root / "_build"), range(2)))
    assert built[0] == built[1]
    assert built[0].is_file()
    left = sorted(path.name for path in (root / "_build").iterdir())
    assert left == ["book", "book-build.log", "external-links.txt"]


def test_pictures_lose_weight_and_no_pixel():
    png = base64.b64decode(picture())
    image = Image.open(io.BytesIO(png))
    small = light_and_dark(image)["light"]
    assert len(small) < 0.8 * len(png)
    after = Image.open(io.BytesIO(small)).convert("RGB")
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(after))


def test_a_figure_is_drawn_again_for_a_dark_page():
    def brightness(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    background = brightness(PAPER)
    for colour in plots.PALETTE:
        ink = np.divide(ImageColor.getrgb(colour), 255)
        for paint in (ink, 0.5 * ink + 0.5):  # a line, and where it is laid on thinly
            image = Image.new("RGB", (1, 1), tuple(np.rint(255 * paint).astype(int)))
            dark = np.divide(darkened(image).getpixel((0, 0)), 255)
            contrast = (brightness(dark) + 0.05) / (background + 0.05)
            assert contrast > (3 if paint is ink else 1.5), (colour, contrast)
            first, second = (colorsys.rgb_to_hsv(*c) for c in (paint, dark))
            if first[1] > 0.1:  # the hue stays
                assert abs((first[0] - second[0] + 0.5) % 1 - 0.5) < 0.04, colour

    steps = [darkened(Image.new("L", (1, 1), grey)).getpixel((0, 0))[0] for grey in range(256)]
    assert steps == sorted(steps, reverse=True)  # greys are turned, in order
    image = Image.new("RGB", (4, 4), "white")
    kept = np.asarray(darkened(image, [(1, 1, 3, 2)]))
    assert (kept == 255).all(-1).sum() == 2  # numbers keep their colours


# -- what is committed --------------------------------------------------------------------------


def test_vendored_files_are_as_recorded():
    vendor = load(ROOT / "tools/vendor_assets.py")
    assert [problem for source in vendor.SOURCES for problem in vendor.check(source)] == []
    for source in vendor.SOURCES:
        assert (vendor.ASSETS / source.folder / "LICENSE").is_file()


def test_the_contents_name_the_nine_parts_in_order():
    import yaml

    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    listed = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    parts = [f"parts/{part.id}" for part in catalogue.load(ROOT).parts]
    assert [name for name in listed if name.startswith("parts/")] == parts


def test_pages_are_light(book, small_book):
    for article in books.chapters_of(ROOT):
        page = f"{article.part}/{article.slug}.html"
        assert books.page_weight(book, page) <= 1_500_000
    assert 0 < books.page_weight(small_book, f"{PAGE}.html") <= 1_500_000


def test_external_links_are_listed(book, small_book):
    listed = (book.parent / "external-links.txt").read_text(encoding="utf-8").split()
    assert {article.url for article in catalogue.load(ROOT).articles} <= set(listed)
    assert "https://github.com/owner/name" not in "".join(listed)


@pytest.mark.parametrize("edition", ["", "zh"])
def test_every_chinese_character_has_a_glyph_in_the_book(book, edition):
    from fontTools.ttLib import TTFont

    book = book / edition
    glyphs = set(TTFont(book / "_static/fonts/han.woff").getBestCmap())
    paths = [*book.glob("*.html"), *book.glob("*/*.html")]
    text = "".join(p.read_text(encoding="utf-8") for p in paths if edition or p.parent.name != "zh")
    han = set(re.findall(rf"[{search.HAN}]", text))
    assert len(han) > 100
    assert not {character for character in han if ord(character) not in glyphs}


def test_chapters_keep_their_budgets(book):
    """Of the runs that the book is built from, where the notebook tests have left them."""
    chapters = books.chapters_of(ROOT)
    runs = {article: run for article in chapters if (run := finished_run(Run(ROOT, article)))}
    if not runs:
        pytest.skip("no chapter has been executed here")
    if os.environ.get("CI"):  # where the notebook tests go before
        assert runs.keys() == set(chapters)
    for article, run in runs.items():
        finished = [r for _, r in outputs(read_notebook(run), RUN_MIME)][-1]
        too_long = budgets.exceeded(article, finished)
        assert too_long is None, too_long


def test_the_table_that_closes_a_chapter_leads_to_its_claims(made):
    from kexian_utils.experiment.claims import claims_markdown
    from kexian_utils.runner.pages.mime_renderer import linked_claims

    (chapter, *_) = made.chapters
    table = linked_claims(claims_markdown(chapter.claims))
    for claim in chapter.claims:
        assert f'| <a href="#claim-{claim.claim.lower()}">{claim.claim}</a><br>' in table
        assert claim.sentence in table
    assert "(at least" not in table
    assert all(row.count(" | ") == 2 for row in table.splitlines()[2:])
    said = f"**Measured here:** much.\n\n{claims_markdown(chapter.claims)}"  # as a run shows it
    assert linked_claims(said) == f"**Measured here:** much.\n\n{table}"


def test_the_table_that_closes_a_chapter_of_the_book_has_these_links(book):
    for article in books.chapters_of(ROOT):
        page = (book / article.part / f"{article.slug}.html").read_text(encoding="utf-8")
        for claim in article.claims:
            assert f'href="#claim-{claim.lower()}"' in page, article.id


def test_chapters_to_begin_with_are_named_by_the_page(made):
    text = pages.fill("<!-- kexian:start\n7076: To come.\n8397: Because.\n-->", made)
    assert "Because." in text
    assert "To come." not in text
    with pytest.raises(ValueError, match="ID: why"):
        pages.start(made, "8397")
    assert "kexian-state" in pages.state(made, "")
    assert 'href="ledger.html?verdict=not%20run"' in pages.state(made, "")


def test_close_chapters_are_found_with_a_reason(made):
    import copy

    from kexian_utils.runner.pages import chapters as chapter_pages

    listed = made.catalogue
    text = {"8397": "see [x](../optimisation/batch-normalization.ipynb)", "6992": "", "7469": ""}
    chapters = []
    for id, words in text.items():
        copied = copy.deepcopy(notebook())
        cited = "" if id == "8397" else "<!-- references: pearlmutter1994fast -->"
        copied["cells"][0]["source"] = words + cited
        chapters.append(pages.Chapter(listed.article(id), copied))
    book = pages.Book(listed, tuple(chapters))
    found = chapter_pages.related(
        book, {"8397": {"plots"}, "6992": set(), "7469": set()}, ROOT / "book/references.bib"
    )
    assert "batch-normalization.ipynb): named here" in found["8397"]
    assert "named here" not in found["7469"]
    assert "of the same part; both cite Pearlmutter (1994)" in found["7469"]
    assert "names this one" in found["6992"]
