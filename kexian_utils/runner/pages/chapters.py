"""What the book's extension is told about each chapter, and which chapters belong together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kexian_utils import __version__
from kexian_utils.catalogue import Article
from kexian_utils.runner.pages.references import author_year, entry_of, read_entries
from kexian_utils.runner.pages.render import Book, Chapter, picture_of

_CITED = re.compile(r"<!-- references: ([^>]*?) -->")


def facts(book: Book, bibliography: Path, address: str = "") -> dict[str, dict[str, str]]:
    """What the page of each finished chapter shows beside its text, by the page's name.

    Args:
        book: the finished chapters.
        bibliography: the BibTeX file, for the entry of the chapter's article.
        address: the public address of the book, or "" where there is none.
    """
    return {chapter.page: _facts(book, chapter, bibliography, address) for chapter in book.chapters}


def _facts(book: Book, chapter: Chapter, bibliography: Path, address: str) -> dict[str, str]:
    article = chapter.article
    picture = picture_of(book, chapter)
    run = str(chapter.run.get("date", ""))
    entries = [chapter_bibtex(article, run, address)]
    if bibliography.is_file():
        entries += entry_of(article.url, bibliography)
    return {
        "id": article.id,
        "title": article.title,
        "title_zh": article.title_zh,
        "run": run,
        "picture": picture[0]["light"] if picture else "",
        "cite": "\n\n".join(entries),
    }


def chapter_bibtex(article: Article, run: str, address: str) -> str:
    """A BibTeX entry of a chapter; the year is that of its stored run.

    Args:
        article: the chapter's article.
        run: date of the stored run, beginning with the year, or "".
        address: the public address of the book, or "".
    """
    fields = {
        "author": "{The Kexian authors}",
        "title": f"{{{article.title}}}",
        "howpublished": "Kexian, an executable companion to Scientific Spaces",
        "note": f"Version {__version__}, chapter on article {article.id} of kexue.fm",
        "year": run[:4],
        "url": f"{address}{article.part}/{article.slug}.html" if address else "",
    }
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@misc{{kexian{article.id},\n{lines}}}"


def related(book: Book, helpers: Mapping[str, set[str]], bibliography: Path) -> dict[str, str]:
    """For each article the Markdown that leads to at most three chapters close to its own.

    Chapters are close if one names the other, if they are of one part, if both cite a work or use a
    module of the library, the more the fewer others do. The reasons stand beside the links.

    Args:
        book: the finished chapters.
        helpers: by article id, the modules of the library that its chapter uses.
        bibliography: the BibTeX file, for the names of works that two chapters cite.
    """
    prose = {c.article.id: _prose(c) for c in book.chapters}
    cited = {id: set(" ".join(_CITED.findall(text)).split()) for id, text in prose.items()}
    entries = read_entries(bibliography) if bibliography.is_file() else {}
    users = Counter(name for used in helpers.values() for name in used)
    found = {}
    for chapter in book.chapters:
        own = chapter.article
        ranked = []
        for place, other in enumerate(book.chapters):
            there = other.article
            if there.id == own.id:
                continue
            works = [key for key in sorted(cited[own.id] & cited[there.id]) if key in entries]
            shared = helpers.get(own.id, set()) & helpers.get(there.id, set())
            tools = sorted(shared, key=lambda name: (users[name], name))
            named = f"/{there.slug}.ipynb" in prose[own.id]
            naming = f"/{own.slug}.ipynb" in prose[there.id]
            names = [author_year(entries[work]) for work in works]
            shared_tools = [f"`{tool}`" for tool in tools]
            reasons = [
                *(
                    [book.say("named here")]
                    if named
                    else [book.say("names this one")]
                    if naming
                    else []
                ),
                *([book.say("of the same part")] if there.part == own.part else []),
                *([book.say("both cite {1}", _listed(book, names))] * bool(works)),
                *([book.say("both use {1}", _listed(book, shared_tools))] * bool(tools)),
            ]
            score = (
                3 * (named or naming)
                + 2 * (there.part == own.part)
                + len(works)
                + sum(2 / users[name] for name in tools)
            )
            if score:
                ranked.append((-score, place, other, "; ".join(reasons)))
        lines = [
            f"- [{other.article.title}](../{other.page}.ipynb): {why}"
            for _, _, other, why in sorted(ranked, key=lambda entry: entry[:2])[:3]
        ]
        if lines:
            found[own.id] = "\n".join([f"## {book.say('Related chapters')}", "", *lines])
    return found


def _listed(book: Book, names: list[str]) -> str:
    return book.say(" and ").join(names[:2])


def _prose(chapter: Chapter) -> str:
    cells: list[Any] = chapter.notebook["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
