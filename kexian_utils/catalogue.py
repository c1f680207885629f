"""The catalogue of articles: `notebooks/catalogue.toml`, read into plain objects."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from pathlib import Path

PROFILES = ("smoke", "default", "study", "full")
BACKENDS = ("tensorflow", "jax", "torch")


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
class Article:
    """One article of the blog and the chapter that belongs to it."""

    id: str
    part: str
    slug: str
    date: date
    title: str
    title_zh: str
    pillar: bool
    claims: tuple[str, ...]

    @property
    def url(self) -> str:
        """Address of the original article."""
        return f"https://kexue.fm/archives/{self.id}"

    @property
    def path(self) -> Path:
        """The notebook's path, relative to the project's root."""
        return Path("notebooks") / self.part / f"{self.slug}.ipynb"

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


def parse(text: str, source: Path | None = None) -> Catalogue:
    """Read the catalogue from TOML text (ValueError if an entry is incomplete or doubled)."""
    where = source or "catalogue"
    try:
        raw = tomllib.loads(text)
        parts = tuple(Part(**part) for part in raw["part"])
        articles = tuple(
            Article(**{**article, "claims": tuple(article["claims"])}) for article in raw["article"]
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    known = {part.id for part in parts}
    for article in articles:
        if article.part not in known:
            raise ValueError(
                f"{where}: article {article.id} is in an unknown part {article.part!r}"
            )
        if len(set(article.claims)) != len(article.claims):
            raise ValueError(f"{where}: article {article.id} lists a claim twice")
    for key in ("id", "slug"):
        values = [getattr(article, key) for article in articles]
        doubled = {value for value in values if values.count(value) > 1}
        if doubled:
            raise ValueError(f"{where}: {key} used twice: {', '.join(sorted(doubled))}")
    return Catalogue(parts, articles, source)


@cache
def _read(path: Path, stamp: int) -> Catalogue:
    return parse(path.read_text(encoding="utf-8"), path)


def load(root: Path | None = None) -> Catalogue:
    """The catalogue of the checkout around `root` or, without one, of the installed package."""
    root = root or project_root()
    if root is not None:
        path = root / "notebooks" / "catalogue.toml"
    else:
        path = Path(str(resources.files("kexian_utils"))) / "data" / "catalogue.toml"
    if not path.is_file():
        raise ValueError(
            "the catalogue of articles is missing: install kexian-utils from a wheel, "
            "or run inside a checkout of the project."
        )
    return _read(path, path.stat().st_mtime_ns)
