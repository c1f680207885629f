"""Catalogues of messages (gettext PO files): read, brought up to date, checked."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from babel.messages import Catalog
from babel.messages.catalog import Message as Entry
from babel.messages.pofile import read_po, write_po

from kexian_utils.errors import FOUND, KexianError
from kexian_utils.runner.translation.messages import fixed_parts
from kexian_utils.runner.translation.style import has_han, literal_asterisks, tidy

__all__ = ["Found", "Words", "problems", "read", "updated", "write"]

LOCALE = "zh_CN"
_HEADER = "# Chinese edition of Kexian. Messages are made by `kexian translate`."


class Found(NamedTuple):
    """A message as it was found in a source.

    Attributes:
        text: the message.
        where: the cell or page that holds it.
        sample: for a message with slots, what stands there now.
    """

    text: str
    where: str
    sample: str = ""


class Words:
    """What looks up messages in catalogues, the first that knows one counts; fuzzy ones do not."""

    def __init__(self, catalogs: Iterable[Catalog]) -> None:
        self._known: dict[str, str] = {}
        for catalog in catalogs:
            for entry in _entries(catalog):
                if entry.string and not entry.fuzzy:
                    self._known.setdefault(str(entry.id), str(entry.string))

    def __call__(self, message: str) -> str | None:
        """The translation of a message, or None."""
        return self._known.get(message)


def read(path: Path) -> Catalog:
    """Read a PO file; one that is not there is empty.

    Raises:
        KexianError: it is damaged.
    """
    if not path.is_file():
        return Catalog(locale=LOCALE, fuzzy=False, header_comment=_HEADER)
    try:
        catalog = read_po(io.BytesIO(path.read_bytes()), locale=LOCALE, abort_invalid=True)
    except Exception as error:  # babel raises what it likes, UnicodeDecodeError among it
        raise KexianError(
            f"{path} is no readable PO file ({error}); take back its last change.", FOUND
        ) from error
    for entry in _entries(catalog):  # the file's own comment is read as that of the first message
        entry.user_comments = [c for c in entry.user_comments if f"# {c}" != _HEADER]
    return catalog


def updated(catalog: Catalog, found: Iterable[Found]) -> Catalog:
    """The catalogue of the messages found now, in their order, with the translations known.

    A message that is new and like one that is gone takes its translation, marked fuzzy, with the
    old message beside it. What is gone otherwise is dropped.
    """
    template = Catalog(locale=LOCALE, fuzzy=False)
    for one in found:
        comments = [f"now: {one.sample}"] if one.sample and one.sample != one.text else []
        known = template.get(one.text)
        if known is not None:
            continue
        places: list = [(one.where, None)]
        template.add(one.text, locations=places, auto_comments=comments)
    made = Catalog(locale=LOCALE, fuzzy=False, header_comment=_HEADER)
    for entry in _entries(catalog):
        made.add(
            entry.id, entry.string, flags=entry.flags, user_comments=entry.user_comments,
            previous_id=entry.previous_id,
        )  # fmt: skip
    made.update(template, update_creation_date=False)
    made.obsolete.clear()
    return made


def write(catalog: Catalog, path: Path) -> None:
    """Write a PO file; translations are set by the convention on the way."""
    for entry in _entries(catalog):
        if entry.string:
            entry.string = tidy(str(entry.string))
    catalog.header_comment = _HEADER
    catalog.creation_date = catalog.revision_date = None  # type: ignore[assignment]
    out = io.BytesIO()
    write_po(out, catalog, width=96, omit_header=True, include_previous=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(f"{_HEADER}\n\n".encode() + out.getvalue())
    temporary.replace(path)


def problems(catalog: Catalog, terms: Iterable[tuple[str, tuple[str, ...]]] = ()) -> list[str]:
    """What is missing, fuzzy or broken in a catalogue, a line each.

    Args:
        catalog: one that is up to date.
        terms: pairs of a term and the Chinese words of which one must stand for it.
    """
    found = []
    terms = list(terms)
    for entry in _entries(catalog):
        where = entry.locations[0][0] if entry.locations else "?"
        short = str(entry.id) if len(str(entry.id)) < 70 else f"{str(entry.id)[:67]}..."
        if not entry.string:
            found.append(f"{where}: missing: {short}")
        elif entry.fuzzy:
            found.append(f"{where}: fuzzy: {short}")
        else:
            found += [f"{where}: {words}: {short}" for words in _broken(entry, terms)]
    return found


def _broken(entry: Entry, terms: list[tuple[str, tuple[str, ...]]]) -> Iterator[str]:
    message, string = str(entry.id), str(entry.string)
    wanted, given = fixed_parts(message), fixed_parts(string)
    for part, count in (wanted - given).items():
        yield f"lacks {part}" + (f" ({count} times)" if count > 1 else "")
    for part in given - wanted:
        yield f"has {part}, which the original has not"
    if tidy(string) != string:
        yield f"is not set by the convention, but {tidy(string)!r}"
    for term, words in terms:
        if term_in(term, message) and not any(word in string for word in words):
            yield f"says {term!r} without {' or '.join(words)}"
    if literal_asterisks(string) and not literal_asterisks(message):
        yield "shows asterisks, because they open or close no emphasis"
    if not has_han(string) and string != message:
        yield "holds no Chinese"


def term_in(term: str, message: str) -> bool:
    """Whether a message uses a term as words of its own, in the singular or the plural.

    Examples:
        >>> term_in("critic", "Two critics."), term_in("critic", "It is critical.")
        (True, False)
    """
    import re

    return re.search(rf"(?<![\w-]){re.escape(term)}(?:s|es)?(?![\w-])", message, re.I) is not None


def _entries(catalog: Catalog) -> Iterator[Entry]:
    return (entry for entry in catalog if entry.id)
