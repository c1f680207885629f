"""The reference list of a chapter, generated from the book's bibliography."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from kexian_utils.errors import KexianError

# Fields that may say where a work appeared, the first that is there counts.
VENUE_FIELDS = ("journal", "booktitle", "publisher", "howpublished", "school", "institution")


@cache
def _read(path: Path, stamp: int) -> Any:
    from pybtex.database import PybtexError, parse_file

    try:
        return parse_file(str(path), bib_format="bibtex", encoding="utf-8")
    except PybtexError as error:
        raise KexianError(f"{path.name} cannot be read: {error}; correct the entry.") from error


def read_entries(bib_path: Path) -> Any:
    """The entries of the bibliography, by key, as pybtex reads them."""
    return _read(bib_path, bib_path.stat().st_mtime_ns).entries


def entry_of(address: str, bib_path: Path) -> list[str]:
    """The BibTeX of the work with this address, as a list of one; empty if there is none."""
    for key, entry in read_entries(bib_path).items():
        if entry.fields.get("url") == address:
            people = {role: " and ".join(map(str, who)) for role, who in entry.persons.items()}
            fields = {**people, **entry.fields}
            lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
            return [f"@{entry.original_type}{{{key},\n{lines}}}"]
    return []


def author_year(entry: Any) -> str:
    """A work as prose names it: "Zhang et al. (2020)"."""
    people = [_plain(" ".join(p.prelast_names + p.last_names)) for p in entry.persons["author"]]
    names = f"{people[0]} et al." if len(people) > 2 else " and ".join(people)
    return f"{names} ({entry.fields['year']})"


def references_markdown(keys: Sequence[str], bib_path: Path) -> str:
    """Return the reference list as Markdown, one line per work, in the order of ``keys``.

    A line reads ``- Author, Author (YEAR). [*Title*](url). Venue.``; the venue is left out where
    the entry has none, and so is the link.

    Args:
        keys: BibTeX keys, each once.
        bib_path: the bibliography.

    Raises:
        KexianError: the bibliography is missing or unreadable, a key is unknown or doubled, or an
            entry lacks its title, year or authors.
    """
    if not bib_path.is_file():
        raise KexianError(f"the bibliography {bib_path.name} is missing; restore it with git.")
    doubled = sorted({key for key in keys if list(keys).count(key) > 1})
    if doubled:
        raise KexianError(f"reference keys listed twice: {', '.join(doubled)}; drop one.")
    entries = read_entries(bib_path)
    unknown = [key for key in keys if key not in entries]
    if unknown:
        raise KexianError(
            f"{bib_path.name} has no entry {', '.join(unknown)}; add it there or correct the key."
        )
    return "\n".join(_line(key, entries[key]) for key in keys)


def bibliography_markdown(bib_path: Path, cited_in: Mapping[str, Sequence[str]]) -> str:
    """Return the whole bibliography as Markdown, by the authors' family names.

    An entry reads like one of :func:`references_markdown` and names the chapters that cite it.

    Args:
        bib_path: the bibliography.
        cited_in: by BibTeX key, the chapters that cite the work, as Markdown links.

    Raises:
        KexianError: the bibliography cannot be read, or an entry lacks its title, year or authors.
    """
    entries = _read(bib_path, bib_path.stat().st_mtime_ns).entries if bib_path.is_file() else {}

    def order(item: tuple[str, Any]) -> tuple[str, str]:
        people = item[1].persons.get("author") or item[1].persons.get("editor") or []
        names = " ".join(_plain(" ".join(person.last_names)) for person in people)
        return names.casefold(), str(item[1].fields.get("year", ""))

    lines = []
    for key, entry in sorted(entries.items(), key=order):
        line, chapters = _line(key, entry), cited_in.get(key, ())
        lines.append(f"{line} Cited in {', '.join(chapters)}." if chapters else line)
    return "\n".join(lines)


def _line(key: str, entry: Any) -> str:
    people = entry.persons.get("author") or entry.persons.get("editor") or []
    fields = entry.fields
    missing = [name for name in ("title", "year") if not fields.get(name)]
    if missing or not people:
        lacking = ", ".join(missing + ([] if people else ["author"]))
        raise KexianError(f"the bibliography's entry {key} lacks {lacking}; add it.")
    authors = ", ".join(_name(person) for person in people)
    title, link = f"*{_plain(fields['title'])}*", _link(fields)
    if link:
        title = f"[{title}]({link})"
    line = f"- {authors} ({fields['year']}). {title}."
    venue = next((_plain(fields[name]) for name in VENUE_FIELDS if fields.get(name)), "")
    if fields.get("eprint") and "arxiv" not in venue.lower():
        venue = f"{venue}, arXiv {fields['eprint']}" if venue else f"arXiv {fields['eprint']}"
    return f"{line} {venue}." if venue else line


def _name(person: Any) -> str:
    given = [*person.first_names, *person.middle_names]
    parts = [*given, *person.prelast_names, *person.last_names, *person.lineage_names]
    return _plain(" ".join(parts))


def _link(fields: Any) -> str:
    if fields.get("url"):
        return fields["url"].replace("\\_", "_").replace("\\%", "%")
    if fields.get("doi"):
        return f"https://doi.org/{fields['doi']}"
    if fields.get("eprint"):
        return f"https://arxiv.org/abs/{fields['eprint']}"
    return ""


def _plain(text: str) -> str:
    """Turn BibTeX's markup (accents, braces) into Unicode, leaving formulas as they are."""
    from pybtex.richtext import Text

    parts = re.split(r"(\$[^$]*\$)", text)
    # from_latex drops white space at the ends, so letters stand guard there.
    plain = [
        part if part.startswith("$") else str(Text.from_latex(f"x{part}x"))[1:-1] for part in parts
    ]
    return " ".join("".join(plain).replace("\xa0", " ").split())
