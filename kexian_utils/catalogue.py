"""The catalogue of articles, read into plain objects.

`notebooks/catalogue.toml` holds the parts of the book and the order of their chapters. All that is
known of a chapter apart from its text stands in one file beside its notebook, the descriptor
`notebooks/PART/SLUG.toml`. The wheel carries both kinds of files under `kexian_utils/data`.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

PROFILES = ("smoke", "default", "study", "full")
BACKENDS = ("tensorflow", "jax", "torch")
# CPU seconds that a chapter may ask for in its descriptor, with a limit of its own on JAX if it
# wants one: compiling a chapter's functions is most of a short run there.
BUDGET_LIMITS = {"smoke": 20, "default": 90}
JAX_BUDGET_LIMITS = {"smoke-jax": 30, "default-jax": 90}


def project_root(start: Path | None = None) -> Path | None:
    """The checkout that holds the book, or None where only the package is installed.

    Looks upwards from `start` (default: the current folder), then beside the package itself.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks" / "catalogue.toml").is_file():
            return folder
    return None


@dataclass(frozen=True)
class Part:
    """One part of the book."""

    id: str
    title: str
    title_zh: str


@dataclass(frozen=True)
class Mistake:
    """One planted mistake: a change of a chapter's code that must turn a claim red.

    Attributes:
        claim: id of the claim.
        find: fragment of the chapter's code, which occurs exactly once.
        replace: what to put in its place.
    """

    claim: str
    find: str
    replace: str


@dataclass(frozen=True)
class Article:
    """One article of the blog and the chapter that belongs to it: its descriptor, and its place.

    Attributes:
        part: id of the part that holds it.
        slug: the name of the chapter's files.
        id: of the article in the blog.
        date: of the article.
        title: in English.
        title_zh: in Chinese, as in the blog.
        claims: ids that the chapter has to decide, so that a missing one is noticed.
        pillar: whether it is one of the longer chapters that carry the book.
        budget: CPU seconds by profile; empty for a chapter that is not written.
        exemptions: how many cells are "exempt" from comparison or have a "tolerance" of their own.
        rehearsal: parameters with which the `full` profile runs on small data without a GPU.
        unplanted: claims without a planted mistake, and why.
        mistakes: planted mistakes.
    """

    part: str
    slug: str
    id: str
    date: date
    title: str
    title_zh: str
    claims: tuple[str, ...]
    pillar: bool = False
    budget: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    exemptions: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    rehearsal: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    unplanted: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    mistakes: tuple[Mistake, ...] = field(default=(), compare=False, repr=False)

    @property
    def url(self) -> str:
        """Address of the original article."""
        return f"https://kexue.fm/archives/{self.id}"

    @property
    def path(self) -> Path:
        """The notebook's path, relative to the project's root."""
        return Path("notebooks") / self.part / f"{self.slug}.ipynb"

    @property
    def descriptor_path(self) -> Path:
        """The descriptor's path, relative to the project's root."""
        return self.path.with_suffix(".toml")

    @property
    def study_path(self) -> Path:
        """The dated record of the `study` profile, relative to the project's root."""
        return self.path.with_suffix(".study.json")


@dataclass(frozen=True)
class Catalogue:
    """All parts and articles, in the order of the book."""

    parts: tuple[Part, ...]
    articles: tuple[Article, ...]
    source: Path | None = field(default=None, compare=False)

    def article(self, id: str | int) -> Article:
        """The article with this id.

        Raises:
            ValueError: no such article; the nearest ids are named.
        """
        wanted = str(id).strip()
        for article in self.articles:
            if wanted in (article.id, article.slug):
                return article
        known = [a.id for a in self.articles] + [a.slug for a in self.articles]
        near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(
            f"no article {wanted!r} in the catalogue{hint}. `kexian list` shows all of them."
        )

    def part(self, id: str) -> Part:
        """The part with this id (ValueError if there is none)."""
        for part in self.parts:
            if part.id == id:
                return part
        raise ValueError(
            f"no part {id!r} in the catalogue; the parts are {', '.join(p.id for p in self.parts)}."
        )

    def select(self, name: str) -> tuple[Article, ...]:
        """Articles by id, slug, part, or the word "all".

        Raises:
            ValueError: `name` is none of them.
        """
        if name == "all":
            return self.articles
        if any(part.id == name for part in self.parts):
            return tuple(a for a in self.articles if a.part == name)
        try:
            return (self.article(name),)
        except ValueError as error:
            parts = ", ".join(p.id for p in self.parts)
            raise ValueError(f"{error} A part ({parts}) or `all` will do as well.") from None


# -- what a file may hold ---------------------------------------------------------------------

_Rule = tuple[Callable[[Any], bool], str]  # a test of the value, and what was expected


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_claims(value: Any) -> bool:
    texts = isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    return texts and len(set(value)) == len(value) and all(_CLAIM.fullmatch(v) for v in value)


def _seconds(limit: float) -> _Rule:
    return (
        lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v <= limit,
        f"CPU seconds between 0 and {limit}; a chapter that takes longer must become faster",
    )


_CLAIM = re.compile(r"C\d+[a-z]?")
_TEXT: _Rule = (_is_text, "a text that is not empty")
_TABLE: _Rule = (lambda v: isinstance(v, dict), "a table")
_TABLES: _Rule = (
    lambda v: isinstance(v, list) and all(isinstance(e, dict) for e in v),
    "tables, each under double brackets",
)
_COUNT: _Rule = (
    lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0,
    "a whole number of cells",
)
_ARTICLE: dict[str, _Rule] = {
    "id": (lambda v: isinstance(v, str) and v.isdecimal(), 'the digits of the address, as "7076"'),
    "date": (
        lambda v: isinstance(v, date) and not isinstance(v, datetime),
        "a date such as 2019-11-13, without quotes",
    ),
    "title": _TEXT,
    "title_zh": _TEXT,
    "claims": (_are_claims, 'ids such as "C1" in a list, each once'),
}
_ARTICLE_OPTIONS: dict[str, _Rule] = {
    "pillar": (lambda v: isinstance(v, bool), "true or false"),
    "budget": _TABLE,
    "exemptions": _TABLE,
    "rehearsal": _TABLE,
    "unplanted": _TABLE,
    "mistake": _TABLES,
}
_BUDGET = {name: _seconds(limit) for name, limit in BUDGET_LIMITS.items()}
_BUDGET_OPTIONS = {name: _seconds(limit) for name, limit in JAX_BUDGET_LIMITS.items()}
_EXEMPTIONS: dict[str, _Rule] = {"exempt": _COUNT, "tolerance": _COUNT}
_MISTAKE: dict[str, _Rule] = {
    "claim": _TEXT,
    "find": _TEXT,
    "replace": (lambda v: isinstance(v, str), "a text"),
}
_PART: dict[str, _Rule] = {
    "id": _TEXT,
    "title": _TEXT,
    "title_zh": _TEXT,
    "chapters": (
        lambda v: isinstance(v, list) and all(_is_text(e) for e in v),
        "the slugs of its chapters, in their order",
    ),
}
_LITERAL: _Rule = (lambda v: isinstance(v, (str, int, float)), "a text, a number, true or false")
_REASON: _Rule = (lambda v: isinstance(v, str) and len(v.strip()) >= 10, "a reason in words")


def _examine(
    where: str, table: Mapping[str, Any], needed: Mapping[str, _Rule], options: Mapping[str, _Rule]
) -> None:
    """ValueError if a key is unknown or missing, or a value is not what is expected there."""
    known = {**needed, **options}
    for key, value in table.items():
        if key not in known:
            absent = [name for name in known if name not in table]
            near = difflib.get_close_matches(key, absent, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it may hold {', '.join(known)}."
            raise ValueError(f"{where}: unknown key {key!r}; {hint}")
        is_good, expected = known[key]
        if not is_good(value):
            raise ValueError(f"{where}: {key} must be {expected}; got {value!r}.")
    for key, (_, expected) in needed.items():
        if key not in table:
            raise ValueError(f"{where}: {key} is missing; it must be {expected}.")


def _known_claims(where: str, claims: Iterable[str], all_claims: Iterable[str]) -> None:
    for claim in claims:
        if claim not in all_claims:
            raise ValueError(
                f"{where}: there is no claim {claim!r}; `claims` lists {', '.join(all_claims)}."
            )


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where} cannot be read: {error}") from error


def parse_article(text: str, part: str, slug: str) -> Article:
    """Read a descriptor.

    Args:
        text: the TOML text.
        part: id of the part of the book.
        slug: the name of the chapter's files.

    Raises:
        ValueError: the file, the key, what was expected there and what was found.
    """
    where = f"notebooks/{part}/{slug}.toml"
    raw = _toml(text, where)
    _examine(where, raw, _ARTICLE, _ARTICLE_OPTIONS)
    claims, mistakes = tuple(raw.pop("claims")), raw.pop("mistake", [])
    if "budget" in raw:
        _examine(f"{where}, [budget]", raw["budget"], _BUDGET, _BUDGET_OPTIONS)
    _examine(f"{where}, [exemptions]", raw.get("exemptions", {}), {}, _EXEMPTIONS)
    rehearsal, unplanted = raw.get("rehearsal", {}), raw.get("unplanted", {})
    _examine(f"{where}, [rehearsal]", rehearsal, dict.fromkeys(rehearsal, _LITERAL), {})
    _known_claims(f"{where}, [unplanted]", unplanted, claims)
    _examine(f"{where}, [unplanted]", unplanted, dict.fromkeys(unplanted, _REASON), {})
    for number, mistake in enumerate(mistakes, start=1):
        place = f"{where}, [[mistake]] {number}"
        _examine(place, mistake, _MISTAKE, {})
        _known_claims(place, [mistake["claim"]], claims)
        if mistake["find"] == mistake["replace"]:
            raise ValueError(f"{place}: the mistake for {mistake['claim']} changes nothing.")
        if mistake["claim"] in unplanted:
            raise ValueError(
                f"{where}: {mistake['claim']} has a planted mistake and stands under [unplanted]; "
                "take it out there."
            )
    return Article(
        part, slug, claims=claims, mistakes=tuple(Mistake(**entry) for entry in mistakes), **raw
    )


def parse(text: str, read_article: Callable[[str, str], Article], source: Path) -> Catalogue:
    """Read the catalogue.

    Args:
        text: the TOML text.
        read_article: gives the article of a part and a slug.
        source: where the text stands.

    Raises:
        ValueError: the file, the key and what was expected there; an id or a slug used twice.
    """
    where = f"notebooks/{source.name}"
    raw = _toml(text, where)
    _examine(where, raw, {"part": _TABLES}, {})
    parts, articles = [], []
    for number, entry in enumerate(raw["part"], start=1):
        _examine(f"{where}, [[part]] {number}", entry, _PART, {})
        chapters = entry.pop("chapters")
        parts.append(Part(**entry))
        articles += [read_article(parts[-1].id, slug) for slug in chapters]
    for key in ("id", "slug"):
        values = [getattr(article, key) for article in articles]
        doubled = {value for value in values if values.count(value) > 1}
        if doubled:
            raise ValueError(f"{where}: {key} used twice: {', '.join(sorted(doubled))}.")
    return Catalogue(tuple(parts), tuple(articles), source)


@cache
def _read_article(path: Path, stamp: int) -> Article:
    return parse_article(path.read_text(encoding="utf-8"), path.parent.name, path.stem)


@cache
def _read_slugs(path: Path, stamp: int) -> Catalogue:
    """The catalogue with empty articles: which files there are."""
    return parse(
        path.read_text(encoding="utf-8"),
        lambda part, slug: Article(part, slug, slug, date.min, slug, slug, ()),
        path,
    )


@cache
def _read(path: Path, stamps: tuple[tuple[Path, int], ...]) -> Catalogue:
    known = dict(stamps)

    def article(part: str, slug: str) -> Article:
        descriptor = path.parent / part / f"{slug}.toml"
        return _read_article(descriptor, known[descriptor])

    return parse(path.read_text(encoding="utf-8"), article, path)


def load(root: Path | None = None) -> Catalogue:
    """The catalogue of the checkout around `root` or, without one, of the installed package.

    Raises:
        ValueError: a file is missing or holds something else than it must.
    """
    root = root or project_root() or Path(str(resources.files("kexian_utils"))) / "data"
    path = root / "notebooks" / "catalogue.toml"
    if not path.is_file():
        raise ValueError(
            "the catalogue of articles is missing: install kexian-utils from a wheel, "
            "or run inside a checkout of the project."
        )
    files = [path]
    for article in _read_slugs(path, path.stat().st_mtime_ns).articles:
        files.append(root / article.descriptor_path)
        if not files[-1].is_file():
            raise ValueError(
                f"notebooks/catalogue.toml lists {article.slug} in the part {article.part}, but "
                f"there is no {article.descriptor_path.as_posix()}; write it, or take it out."
            )
    return _read(path, tuple((file, file.stat().st_mtime_ns) for file in files))
