"""Building the book: stage its sources, run Jupyter Book, check what came out.

Nothing is executed here. The pages show the outputs that are stored in the notebooks, or those of
the executed copies in the build folder.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

from kexian_utils import _leftovers
from kexian_utils import catalogue as catalogues
from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.errors import ENVIRONMENT, FOUND, KexianError, from_os_error
from kexian_utils.runner.execution import cells
from kexian_utils.runner.execution.cache import finished_run
from kexian_utils.runner.execution.files import Run, build_folder, read_notebook, with_outputs_of
from kexian_utils.runner.pages import chapters as chapter_pages
from kexian_utils.runner.pages import chinese, library, losses
from kexian_utils.runner.pages import render as pages
from kexian_utils.runner.pages.fonts import pages_in, write_han_font, write_icon_font
from kexian_utils.runner.skeleton import public_address, site_address

SOURCES = ("stored", "runs")


def build(source: str = "stored", root: Path | None = None, output: Path | None = None) -> Path:
    """Build the book and return the path of its first page.

    Args:
        source: "stored" (the notebooks' committed outputs) or "runs" (the executed copies of the
            build folder, where they are up to date; otherwise the stored ones).
        root: the checkout; default: the one around the current folder.
        output: the folder to build in; default: `_build`, or KEXIAN_BUILD.

    Raises:
        ValueError: an unknown source.
        KexianError: a warning of the build, a broken internal link, or trouble with the disk.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
    root = Path(root) if root else catalogues.project_root()
    if root is None:
        raise KexianError("the book is built inside a checkout of the project; change into one.")
    folder = Path(output) if output else build_folder(root)
    final = folder / "book"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A folder of its own: two builds at once do not meet, and a failed one leaves no trace.
        # Sphinx does not notice every change; a book from scratch takes seconds.
        work = _leftovers.new_folder("book-", folder)
        try:
            stage(root, work / "source", source)
            editions = [("source", "out", "book-build.log")]
            if chinese.is_there(root):
                stage(root, work / "source-zh", source, chinese.Translation(root))
                editions.append(("source-zh", "out-zh", "book-build-zh.log"))

            def make(staged: str, made: str, kept: str) -> Path:
                try:
                    html = run_jupyter_book(work / staged, work / made)
                finally:
                    log = work / made / "build.log"
                    if log.is_file():
                        log.replace(folder / kept)
                write_han_font(html)
                write_icon_font(html)
                leave_out_what_no_page_asks_for(html)
                return html

            with ThreadPoolExecutor() as pool:  # each waits for a process of its own
                html, *others = pool.map(make, *zip(*editions, strict=True))
            for other in others:
                chinese.finish(root, html, other)
            problems = check_internal_links(html)
            if problems:
                raise KexianError(
                    f"the book has {len(problems)} broken internal links:\n" + "\n".join(problems),
                    FOUND,
                )
            links = "".join(f"{link}\n" for link in external_links(html))
            (folder / "external-links.txt").write_text(links, encoding="utf-8")
            if final.exists():
                final.rename(work / "old")
            html.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise from_os_error(error, folder) from error
    return final / "index.html"


# -- staging --------------------------------------------------------------------------------------


def stage(
    root: Path,
    target: Path,
    source: str = "stored",
    translation: chinese.Translation | None = None,
) -> pages.Book:
    """Copy pages, settings and finished notebooks to `target` and write the generated parts.

    Args:
        root: the checkout.
        target: the folder to write.
        source: "stored" or "runs".
        translation: of the Chinese edition; None for the English one.
    """
    catalogue = catalogues.load(root)
    chapters = tuple(_chapters(root, catalogue, source))
    ignored = shutil.ignore_patterns("__pycache__", "locale")
    shutil.copytree(root / "book", target, ignore=ignored)
    has_code = has_library = (root / "kexian_utils").is_dir()  # not in a copy of the pages alone
    if translation is not None:
        catalogue = translation.catalogue(catalogue)
        chapters = tuple(translation.chapter(chapter, catalogue) for chapter in chapters)
        has_library = False  # its pages are English, and chapters lead to those
    pictures, references = target / "assets" / "gallery", target / "references.bib"
    say = translation.say if translation else None
    elsewhere = has_code and not has_library
    book = pages.Book(catalogue, chapters, pictures, has_library, references, say, elsewhere)
    for path in target.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        filled = pages.fill(translation.page(text) if translation else text, book)
        if filled != text:
            path.write_text(filled, encoding="utf-8")
    bibliography = target / "references.bib"
    if not bibliography.is_file():
        bibliography.write_text("", encoding="utf-8")
    import nbformat

    used = _helpers(root, target, book) if has_code else {}
    modules = {article: {entry.module for entry in found} for article, found in used.items()}
    related = chapter_pages.related(book, modules, bibliography)
    fold = translation.title if translation else None
    for chapter in chapters:
        path = target / f"{chapter.page}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        notebook = chapter.notebook
        article = chapter.article.id
        ends = {
            "helpers-used": library.helpers_used(
                used.get(article, ()),
                book.say("Helpers used in this chapter"),
                "../../library/" if translation else "",
            ),
            "related-chapters": related.get(article, ""),
        }
        added = [nbformat.v4.new_markdown_cell(text, id=id) for id, text in ends.items() if text]
        notebook = nbformat.from_dict({**notebook, "cells": [*notebook.cells, *added]})
        titles = fold(article) if fold else str
        nbformat.write(with_named_folds(notebook, titles), path)
    _write_settings(root, target, book, translation is not None)
    _write_contents(root, target, book)
    return book


_FRAME = ("exp.headline", "exp.finish")  # what they show says it all


def _is_frame(source: str) -> bool:
    """Whether a cell calls nothing but what opens or closes a run."""
    try:
        calls = [getattr(statement, "value", None) for statement in ast.parse(source).body]
    except SyntaxError:  # magics
        return False
    return bool(calls) and all(
        isinstance(call, ast.Call) and ast.unparse(call.func) in _FRAME for call in calls
    )


def with_named_folds(notebook: Any, titles: Callable[[str], str] = str) -> Any:
    """A copy whose folded cells show their titles on the page, the frame only its outputs.

    Args:
        notebook: the notebook.
        titles: gives a title in the language of the page.
    """
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        tags, title = cell["metadata"].get("tags", []), cells.fold_title(cell["source"])
        if cells.COLAB_TAG in tags:
            title = "Install the helpers (on Colab)"
        if title is not None:
            words = f"{titles('Code')} · " + titles(title).replace("{", "{{").replace(
                "}", "}}"
            )  # a format string
            cell["metadata"]["mystnb"] = {"code_prompt_show": words, "code_prompt_hide": words}
        if _is_frame(cell["source"]):
            kept = [tag for tag in tags if tag not in ("hide-input", "hide-cell")]
            removed = "remove-input" if cell.get("outputs") else "remove-cell"
            cell["metadata"]["tags"] = [*kept, removed]
    return notebook


def _helpers(root: Path, target: Path, book: pages.Book) -> dict[str, list[library.Entry]]:
    """By article, the helpers that its chapter uses; the library's pages are written, if asked."""
    notebooks = {chapter.article.id: chapter.notebook for chapter in book.chapters}
    written = {chapter.article.id: chapter.page for chapter in book.chapters}
    known = library.with_uses(library.read(root), notebooks)
    if book.with_library:
        made = library.pages(known, book.catalogue, written)
        further = losses.page(known, book.catalogue, written)
        for name, text in {**made, f"library/{library.FURTHER['losses'][0]}.md": further}.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return {
        article: library.names_used(library.code_of(notebook), known)
        for article, notebook in notebooks.items()
    }


def _chapters(root: Path, catalogue: Catalogue, source: str) -> Iterator[pages.Chapter]:
    for article in catalogue.articles:
        path = root / article.path
        if not path.is_file():
            continue
        run = finished_run(Run(root, article)) if source == "runs" else None
        notebook = read_notebook(path)
        if run is not None:  # its prose may be older
            notebook = with_outputs_of(notebook, read_notebook(run))
        if not _has_outputs(notebook):
            # A skeleton: it stays "to come" until it has been run.
            continue
        study = root / article.study_path
        yield pages.load_chapter(article, notebook, study if study.is_file() else None)


def _has_outputs(notebook: Any) -> bool:
    return any(cell.get("outputs") for cell in notebook["cells"])


def _write_settings(root: Path, target: Path, book: pages.Book, in_chinese: bool = False) -> None:
    import yaml

    settings = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    repository, branch = public_address(root)
    own = settings["sphinx"]["config"]
    own["kexian_repository"], own["kexian_branch"] = repository, branch
    address = site_address(root)
    if in_chinese:
        own["language"] = "zh_CN"
        address = f"{address}{chinese.FOLDER}/" if address else ""
    own["html_baseurl"] = address
    own["kexian_chapters"] = chapter_pages.facts(book, target / "references.bib", address)
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    (target / "_config.yml").write_text(text, encoding="utf-8")


def _write_contents(root: Path, target: Path, book: pages.Book) -> None:
    import yaml

    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    for part in contents["parts"]:
        part["caption"] = book.say(part["caption"])
    listed = {contents["root"]}
    entries = [entry for part in contents["parts"] for entry in part["chapters"]]
    for entry in entries:
        listed.add(entry["file"])
        part = entry["file"].removeprefix("parts/")
        sections = [{"file": c.page} for c in book.chapters if c.article.part == part]
        if entry["file"].startswith("parts/") and sections:
            entry["sections"] = sections
    if (target / "library" / "index.md").is_file():
        rooms = [f"library/{room}" for room in library.ROOMS]
        found = [name for name in rooms if (target / f"{name}.md").is_file()]
        rows: list[dict[str, Any]] = [{"file": name} for name in found]
        for section in rows:
            further = library.FURTHER.get(section["file"].removeprefix("library/"))
            if further:
                section["sections"] = [{"file": f"library/{further[0]}"}]
                listed.add(f"library/{further[0]}")
        overview = {"file": "library/index", "sections": rows}
        contents["parts"].append({"caption": "Library", "chapters": [overview]})
        listed |= {"library/index", *found}
    # Sphinx says nothing about a page that no table of contents names.
    written = {path.relative_to(target).with_suffix("").as_posix() for path in target.rglob("*.md")}
    written = {name for name in written if not name.startswith(("_", "assets/"))}
    if written != listed:
        raise KexianError(
            "_toc.yml and book/ disagree: "
            + "; ".join(
                f"{name} is {'not in _toc.yml' if name in written else 'not in book/'}"
                for name in sorted(written ^ listed)
            ),
            FOUND,
        )
    text = yaml.safe_dump(contents, allow_unicode=True, sort_keys=False)
    (target / "_toc.yml").write_text(text, encoding="utf-8")


def run_jupyter_book(staged: Path, target: Path) -> Path:
    """Run Jupyter Book with warnings as errors; return the folder of the HTML.

    Raises:
        KexianError: a warning or an error; the log's tail is in the message.
    """
    if importlib.util.find_spec("jupyter_book") is None:
        raise KexianError(
            "Jupyter Book is missing: call `make html` in a checkout.",
            ENVIRONMENT,
        )
    target.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, "-c", "from jupyter_book.cli.main import main; main()"),
        *("build", str(staged)),
        *("--path-output", str(target), "-W", "-n", "--keep-going", "--quiet"),
    ]
    environment = {**os.environ, "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=environment
    )
    log = done.stdout + done.stderr
    (target / "build.log").write_text(log, encoding="utf-8")
    warnings = [line for line in log.splitlines() if re.search(r"\b(WARNING|ERROR)\b", line)]
    html = target / "_build" / "html"
    if done.returncode or warnings or not (html / "index.html").is_file():
        shown = warnings or log.splitlines()[-30:]
        raise KexianError(
            "the book was not built, because the build warned (warnings are errors here):\n"
            + "\n".join(shown[:40])
            + "\nThe whole log is book-build.log in the build folder.",
            FOUND,
        )
    return html


def leave_out_what_no_page_asks_for(html: Path) -> None:
    """Take the theme's translations, source maps and second set of icons out of the book."""
    static = html / "_static"
    shutil.rmtree(static / "locales", ignore_errors=True)
    for path in {*static.rglob("*.map"), *static.glob("scripts/fontawesome.js*")}:
        path.unlink()


# -- links ----------------------------------------------------------------------------------------


class _Reader(HTMLParser):
    """Collects the ids and the links of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note ids, and every address that the page shows or loads."""
        values = dict(attrs)
        for key in ("id", "name") if tag == "a" else ("id",):
            if values.get(key):
                self.ids.add(str(values[key]))
        for key in ("href", "src"):
            if values.get(key):
                self.links.append(str(values[key]))


def read_page(path: Path) -> tuple[set[str], list[str]]:
    """The ids and the links of an HTML page."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader.ids, reader.links


def check_internal_links(html: Path) -> list[str]:
    """Every link of the book to a page, file or place of the book that does not exist."""
    read = {path.resolve(): read_page(path) for path in pages_in(html)}
    problems = []
    for path, (own, links) in read.items():
        here = path.relative_to(html.resolve())
        for link in dict.fromkeys(links):
            address, fragment = urldefrag(link)
            if urlsplit(address).scheme or address.startswith("//"):
                continue
            place = unquote(urlsplit(address).path)
            target = (path.parent / place).resolve() if place else path
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                problems.append(f"{here}: {link} (no such file)")
            elif fragment and target.suffix == ".html":
                ids = own if target == path else read.get(target, (set(), []))[0]
                if unquote(fragment) not in ids:
                    problems.append(f"{here}: {link} (no such place)")
    return problems


def external_links(html: Path) -> list[str]:
    """All addresses of other hosts to which the book links, sorted: for a weekly check."""
    found = set()
    for path in pages_in(html):
        for link in read_page(path)[1]:
            if urlsplit(link).scheme in ("http", "https"):
                found.add(urldefrag(link)[0])
    return sorted(found)


_DARK = re.compile(r'<img[^>]*\bonly-dark\b[^>]*\bsrc="([^"]+)"')


def page_weight(html: Path, page: str) -> int:
    """Bytes of a page and of the pictures that only it shows, without the shared assets.

    Of a picture that is there twice, for light and for dark pages, a browser loads one.
    """
    path = html / page
    total = path.stat().st_size
    for link in set(read_page(path)[1]) - set(_DARK.findall(path.read_text(encoding="utf-8"))):
        if "_images/" in link:
            total += (path.parent / urldefrag(link)[0]).resolve().stat().st_size
    return total


def chapters_of(root: Path) -> list[Article]:
    """The articles whose notebooks are finished, in the catalogue's order."""
    return [chapter.article for chapter in _chapters(root, catalogues.load(root), "stored")]
