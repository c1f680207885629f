"""The catalogues of a checkout: which there are, from what they are made, and how they stand.

Below ``book/locale/zh_CN`` each chapter has a catalogue of its own (``7076.po``), and so have the
book's pages (``pages.po``). What two chapters or more say in the same words stands once, in
``common.po``; what the build and the scripts of the pages say, in ``interface.po``, which is
written by hand. ``glossary.tsv`` says which words stand for a term, ``names.txt`` which words stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from kexian_utils.catalogue import Article
from kexian_utils.errors import FOUND, KexianError
from kexian_utils.runner.execution.files import read_notebook
from kexian_utils.runner.translation import catalog, edition, messages
from kexian_utils.runner.translation.catalog import Found, Words

__all__ = [
    "LOCALE",
    "Standing",
    "article_words",
    "glossary",
    "names",
    "page_words",
    "sources",
    "standing",
    "update",
]

LOCALE = Path("book") / "locale" / "zh_CN"
COMMON, PAGES, INTERFACE = "common", "pages", "interface"


class Standing(NamedTuple):
    """How a catalogue stands: its messages, and what is missing, fuzzy or broken, a line each."""

    name: str
    messages: int
    problems: list[str]


def sources(root: Path, articles: Sequence[Article]) -> dict[str, list[Found]]:
    """The messages of the pages and of all chapters that have outputs, by catalogue."""
    found = {PAGES: list(_of_pages(root))}
    for article in articles:  # what is not written is named, too
        found[PAGES].append(Found(article.title, "catalogue"))
    for article in articles:
        path = root / article.path
        if path.is_file():
            notebook = read_notebook(path)
            if any(cell.get("outputs") for cell in notebook["cells"]):
                found[article.id] = edition.extracted(notebook)
    uses = Counter(one.text for name, own in found.items() if name != PAGES for one in own)
    shared = {text for text, count in uses.items() if count > 1}
    first: dict[str, Found] = {}
    for name, own in found.items():
        if name != PAGES:
            for one in own:
                if one.text in shared:
                    first.setdefault(one.text, one)
            found[name] = [one for one in own if one.text not in shared]
    return {COMMON: list(first.values()), **found}


def _of_pages(root: Path) -> Iterable[Found]:
    seen: set[str] = set()
    folder = root / "book"
    for path in sorted([*folder.glob("*.md"), *folder.glob("parts/*.md")]):
        where = path.relative_to(folder).as_posix()
        for block in messages.blocks(path.read_text(encoding="utf-8")):
            if messages.needs_words(block.text) and block.text not in seen:
                seen.add(block.text)
                yield Found(block.text, where)


def update(root: Path, articles: Sequence[Article], names: Sequence[str] = ()) -> list[Standing]:
    """Bring catalogues up to date and write them; by default all of them.

    A translation moves with its message from one catalogue to another, and is kept as long as the
    message is there.
    """
    current = sources(root, articles)
    known = {name: catalog.read(_path(root, name)) for name in (*current, INTERFACE)}
    everything = Words(known.values())
    done = []
    for name, found in current.items():
        made = catalog.updated(known[name], found)
        for entry in made:
            if entry.id and (not entry.string or entry.fuzzy):
                string = everything(str(entry.id))
                if string:
                    entry.string = string
                    entry.flags.discard("fuzzy")
        if not names or name in names or name == COMMON:
            catalog.write(made, _path(root, name))
        done.append(Standing(name, len(found), catalog.problems(made, glossary(root))))
    return [one for one in done if not names or one.name in names or one.name == COMMON]


def standing(root: Path, articles: Sequence[Article]) -> list[Standing]:
    """How the catalogues stand against the present sources; nothing is written."""
    terms = glossary(root)
    done = []
    for name, found in sources(root, articles).items():
        own = catalog.read(_path(root, name))
        done.append(
            Standing(name, len(found), catalog.problems(catalog.updated(own, found), terms))
        )
    return done


def glossary(root: Path) -> list[tuple[str, tuple[str, ...]]]:
    """Pairs of a term and the Chinese words that may stand for it.

    Raises:
        KexianError: a line has not two columns.
    """
    path = root / LOCALE / "glossary.tsv"
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        term, tab, words = line.partition("\t")
        if not tab or not words.strip():
            raise KexianError(f"{path}, line {number}: a term, a tab, Chinese words.", FOUND)
        found.append((term, tuple(words.strip().split("|"))))
    return found


def names(root: Path) -> frozenset[str]:
    """Latin words that stay on Chinese pages: of people, works, methods, tools, and of code.

    A line of the file that begins with "=" is one piece of a page as a whole.
    """
    path = root / LOCALE / "names.txt"
    if not path.is_file():
        return frozenset()
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = (line for line in lines if line and not line.startswith("#"))
    return frozenset(
        word for line in kept for word in ([line[2:]] if line.startswith("= ") else line.split())
    )


def article_words(root: Path, id: str) -> Words:
    """What looks up the messages of a chapter."""
    return _words(root, id, COMMON, INTERFACE)


def page_words(root: Path) -> Words:
    """What looks up the messages of the pages."""
    return _words(root, PAGES, COMMON, INTERFACE)


def _words(root: Path, *names: str) -> Words:
    return Words(catalog.read(_path(root, name)) for name in names)


def _path(root: Path, name: str) -> Path:
    return root / LOCALE / f"{name}.po"
