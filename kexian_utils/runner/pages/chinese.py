"""The Chinese edition of the book: its titles, the interface's words, and the way between both.

The pages are built from translated sources as the English ones are. What the theme, the templates
and the extensions put around the text is exchanged afterwards, piece of text by piece of text: so
none of them has to know of languages.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from kexian_utils.catalogue import Catalogue
from kexian_utils.errors import FOUND, KexianError
from kexian_utils.experiment.claims import VERDICTS
from kexian_utils.runner.pages.fonts import pages_in, write_han_font
from kexian_utils.runner.pages.render import Chapter
from kexian_utils.runner.translation import edition, messages, project
from kexian_utils.runner.translation.catalog import Words
from kexian_utils.runner.translation.style import has_han

__all__ = [
    "FOLDER",
    "Interface",
    "Translation",
    "finish",
    "is_there",
    "link_editions",
    "same_places",
    "titled",
]

FOLDER = "zh"  # below the English book
UNKNOWN = "untranslated.txt"  # English words on Chinese pages, beside the book's first page

_PIECES = re.compile(
    r"(<!--.*?-->|<(?:script|style|pre|textarea|svg)\b.*?</(?:script|style|pre|textarea|svg)>"
    r"|<code\b.*?</code>|<(span|div) class=\"[^\"]*\bmath\b.*?</\2>|<[^>]+>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r'\b(aria-label|title|placeholder|alt|data-label|content)="([^"]*)"')
_FOREIGN = re.compile(r'<a\b[^>]*href="https?://')  # titles of works, names of services
_SAID = re.compile(r"\bsay\('([^']+)'")  # in a script
_COUNTED = tuple(f"{{1}} {word}{s}" for word in ("place", "page", "mark") for s in ("", "s"))
_VERDICTS = (*VERDICTS, "library", "part", "list", "page")
_BESIDE_WORKS = ("Bibliography", "References", ". Cited in", "Cited in")
# Names that are the same in all languages, with the version of what bears one.
_NAME = re.compile(
    r"[a-z]{2}-[A-Z]{2}|Transformer|\.\w+|Ctrl|CSV|JSON|default|tensorflow|jax|torch"
    r"|[\w.-]+ \d+(?:\.\d+)+\w*"
)
_REQUIRED = re.compile(r" ?\(required: ((?:[^()]|\([^()]*\))*)\)")
_MEASURED = re.compile(r"(.*?): (\S+) ?(\(required: .*\))")
_LATIN = re.compile(r"[A-Za-z]{2,}")
_SMALL = re.compile(
    r"(?<![\w\\.\-/])(?:the|of|and|is|are|was|were|with|that|which|for|from|than|not|by|on|to|its?"
    r"|as|be|or|at|but|each|every|no|one|two|in)(?![\w\-/.])"
)
_NOT_OURS = re.compile(
    r"\\\(.*?\\\)|\\\[.*?\\\]|\$[^$]*\$|[“”][^“”]*[“”]|[A-Z]\w+ and [A-Z]\w+", re.DOTALL
)
_ID = re.compile(r'(\sid=")([^"]+)"')
_SECTION = re.compile(r'<section\b[^<>]*\sid="([^"]+)"')


class Interface:
    """Exchanges the words of finished pages, and keeps those that nobody has translated.

    Args:
        look_up: gives the translation of a message, or None.
        names: words that stay as they are.

    Attributes:
        unknown: English words that were met, and a page that holds them.
    """

    def __init__(
        self, look_up: Callable[[str], str | None], names: Collection[str] = frozenset()
    ) -> None:
        self._look_up = look_up
        self._names = names
        self._phrases = [name for name in names if " " in name]
        self.unknown: dict[str, str] = {}

    def words(self, text: str, page: str = "") -> str:
        """A piece of text in Chinese, or itself."""
        bare = " ".join(html.unescape(text).split())
        if has_han(bare) and (found := self._whole(bare)) not in (None, bare):
            return self._framed(text, str(found))
        if has_han(bare):
            return _with_chinese_frame(text)
        if not messages.needs_words(bare):
            return text
        found = self._whole(bare) or self._measured(bare) or self._list(bare)
        if found is None:
            if not self._only_names(bare):
                self.unknown.setdefault(messages.with_slots(bare)[0], page)
            return text
        return self._framed(text, found)

    def _checked(self, text: str, page: str) -> str:
        """The same; English that is left in a Chinese piece is kept as unknown."""
        found = self.words(text, page)
        bare = " ".join(html.unescape(found).split())
        if has_han(bare) and (english := self._amid(bare)):
            self.unknown.setdefault(f"{english!r} amid Chinese: {bare:.60}", page)
        return found

    @staticmethod
    def _framed(text: str, found: str) -> str:
        """A translation with the white space of the original around it."""
        before, after = (re.search(p, text)[0] for p in (r"^\s*", r"\s*$"))  # type: ignore[index]
        return before + html.escape(found, quote=True) + after

    def _whole(self, text: str) -> str | None:
        if not messages.needs_words(text) or _NAME.fullmatch(text):
            return text
        message, numbers = messages.with_slots(text)
        found = self._look_up(message)
        return None if found is None else messages.fill(found, numbers)

    def _measured(self, text: str) -> str | None:
        """A value with its name and what is required of it."""
        parts = _MEASURED.fullmatch(text)
        if parts is None:
            return None
        name, value, required = parts.groups()
        found, criterion = self._whole(name), self._whole(required)
        if criterion is None or (found is None and not self._only_names(name)):
            return None
        return f"{found or name}：{value}{criterion}" if name else f"：{value}{criterion}"

    def _amid(self, text: str) -> str | None:
        """A small English word that stands in a Chinese text: a sentence is left untranslated.

        Formulas, quotations, two authors and listed names may have such words.
        """
        for name in self._phrases:
            text = text.replace(name, " ")
        found = _SMALL.search(_NOT_OURS.sub(" ", text))
        return None if found is None else found[0]

    def _only_names(self, text: str) -> bool:
        """Whether each Latin word is a name: a listed one, or one with a capital inside."""
        if messages.with_slots(text)[0].strip("（）：，。；、 ") in self._names:
            return True
        words = _LATIN.findall(text)
        return all(word in self._names or re.search(r".[A-Z]", word) for word in words)

    def _list(self, text: str) -> str | None:
        """A list, such as "default, seed 0, 1 thread", of which each entry is known."""
        found = [self._whole(part) for part in text.split(", ")]
        return None if None in found else "，".join(map(str, found))

    def page(self, text: str, name: str) -> str:
        """A page whose texts and names of controls are in Chinese."""
        out, foreign = [], False
        works = name == "bibliography.html"  # their titles and authors stay
        for piece in _PIECES.split(text):
            if piece is None or piece in ("span", "div"):
                continue
            works = works or piece == '<section id="references">'
            works = works and piece not in ("</article>", "</section>")
            if piece.startswith("<"):
                foreign = bool(_FOREIGN.match(piece)) or (foreign and piece != "</a>")
                # A page's description repeats what stands on it.
                words = self.words if piece.startswith("<meta") else self._checked
                out.append(
                    piece
                    if piece.startswith(("<!--", "<script", "<style", "<pre", "<code"))
                    or (piece.startswith("<meta") and "viewport" in piece)
                    else _ATTRIBUTE.sub(
                        lambda a, words=words: f'{a[1]}="{words(a[2], name).strip()}"', piece
                    )
                )
            else:
                keep = foreign or (works and piece.strip() not in _BESIDE_WORKS)
                out.append(piece if keep else self._checked(piece, name))
        return "".join(out)


def _with_chinese_frame(text: str) -> str:
    """A measurement whose name or criterion is Chinese, with what stands around them in Chinese.

    Examples:
        >>> _with_chinese_frame("2 维: 0.61 (required: 至多 2.5)")
        '2 维：0.61（要求：至多 2.5）'
    """
    text = _REQUIRED.sub(r"（要求：\1）", text)
    return re.sub(r"(?<=[\u3400-\u9fff）\w]): (?=[-−\d]|$)", "：", text)


def is_there(root: Path) -> bool:
    """Whether the checkout has a Chinese edition."""
    return (root / project.LOCALE / f"{project.PAGES}.po").is_file()


class Translation:
    """The translated sources of the pages.

    Args:
        root: the checkout with the catalogues.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pages = project.page_words(root)
        self._articles: dict[str, Words] = {}

    def _words(self, id: str) -> Words:
        if id not in self._articles:
            self._articles[id] = project.article_words(self._root, id)
        return self._articles[id]

    def say(self, sentence: str) -> str:
        """A sentence of the build."""
        return self._pages(sentence) or sentence

    def page(self, text: str) -> str:
        """A page of the book, before its generated parts are filled in."""
        return messages.translate(text, self._pages, mark=edition.MARK)

    def title(self, id: str) -> Callable[[str], str]:
        """What gives the title of a folded cell of a chapter."""
        return edition.titles(self._words(id))

    def catalogue(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with Chinese titles."""
        return titled(catalogue, lambda id, title: self._words(id)(title) or self._pages(title))

    def chapter(self, chapter: Chapter, catalogue: Catalogue) -> Chapter:
        """A chapter in Chinese."""
        id = chapter.article.id
        notebook = edition.translated(chapter.notebook, self._words(id))
        return replace(chapter, article=catalogue.article(id), notebook=notebook)


def finish(root: Path, english: Path, chinese: Path) -> None:
    """Put the Chinese pages below the English ones, their interface in Chinese, both linked.

    Args:
        root: the checkout with the catalogues.
        english: the finished English pages.
        chinese: the Chinese ones, built from translated sources.
    """
    same_places(english, chinese)
    interface = Interface(project.page_words(root), project.names(root))
    for path in pages_in(chinese):
        name = path.relative_to(chinese).as_posix()
        text = interface.page(path.read_text(encoding="utf-8"), name)
        path.write_text(text, encoding="utf-8")
    unknown = "".join(f"{page}\t{words}\n" for words, page in interface.unknown.items())
    (english / FOLDER).parent.joinpath(UNKNOWN).write_text(unknown, encoding="utf-8")
    write_words(chinese / "_static" / "words.js", project.page_words(root))
    write_han_font(chinese)  # once more: the interface has characters of its own
    chinese.rename(english / FOLDER)
    link_editions(english)


def write_words(path: Path, look_up: Callable[[str], str | None]) -> None:
    """Fill the table of what the scripts say.

    Args:
        path: ``words.js`` of the Chinese edition; beside it lie the scripts.
        look_up: gives the translation of a message, or None.
    """
    table = {}
    for script in sorted(path.parent.glob("*.js")):
        for said in _SAID.findall(script.read_text(encoding="utf-8")):
            found = look_up(said)
            if found is not None:
                table[said] = found
    for said in (*_COUNTED, *_VERDICTS):
        if found := look_up(said):
            table[said] = found
    text = path.read_text(encoding="utf-8")
    words = json.dumps(table, ensure_ascii=False, indent=1)
    path.write_text(text.replace("window.kexianWords = {}", f"window.kexianWords = {words}"),
                    encoding="utf-8")  # fmt: skip


def titled(catalogue: Catalogue, title: Callable[[str, str], str | None]) -> Catalogue:
    """The catalogue with Chinese titles first; those of chapters are ours, not the articles'.

    Args:
        catalogue: all articles.
        title: gives the Chinese title of a chapter by its id and its English title, or None.
    """
    articles = tuple(
        replace(article, title=title(article.id, article.title) or article.title)
        for article in catalogue.articles
    )
    parts = tuple(replace(part, title=part.title_zh, title_zh="") for part in catalogue.parts)
    return replace(catalogue, articles=articles, parts=parts)


def same_places(english: Path, chinese: Path) -> None:
    """Give each section of a Chinese page the id that it has in English.

    Raises:
        KexianError: a page has other sections.
    """
    renamed: dict[str, dict[str, str]] = {}
    for path in pages_in(chinese):
        name = path.relative_to(chinese).as_posix()
        twin = english / name
        if not twin.is_file():
            continue
        here, there = (_SECTION.findall(p.read_text(encoding="utf-8")) for p in (path, twin))
        if len(here) != len(there):
            raise KexianError(
                f"{FOLDER}/{name} has {len(here)} sections, {name} has {len(there)}; a heading is "
                "missing in one of them.",
                FOUND,
            )
        renamed[name] = {a: b for a, b in zip(here, there, strict=True) if a != b}

    def address(link: str, folder: Path, own: str) -> str:
        page, _, place = link[:-1].removeprefix(link[: link.index('"') + 1]).partition("#")
        there = (folder / page).resolve() if page else (chinese / own).resolve()
        if not there.is_relative_to(chinese.resolve()):
            return link
        names = renamed.get(there.relative_to(chinese.resolve()).as_posix(), {})
        return f'{link[0]}href="{page}#{names.get(place, place)}"'

    for path in pages_in(chinese):
        own = path.relative_to(chinese).as_posix()
        text = path.read_text(encoding="utf-8")
        names = renamed.get(own, {})  # one pass: a new name may be the old one of another section
        text = _ID.sub(partial(_renamed, names=names), text)
        pieces = re.split(r'(\shref="(?!https?:|mailto:|data:)[^"#]*#[^"]+")', text)
        linked = (address(p, path.parent, own) if k % 2 else p for k, p in enumerate(pieces))
        path.write_text("".join(linked), encoding="utf-8")
    index = chinese / "_static" / "search-index.js"
    if index.is_file():
        head, _, rest = index.read_text(encoding="utf-8").partition(" = ")
        known = json.loads(rest.rstrip().rstrip(";"))
        for place in known["places"]:
            page = known["pages"][place[0]][0]
            place[1] = renamed.get(page, {}).get(place[1], place[1])
        text = json.dumps(known, ensure_ascii=False, separators=(",", ":"))
        index.write_text(f"{head} = {text};\n", encoding="utf-8")


def _renamed(found: re.Match[str], names: Mapping[str, str]) -> str:
    return f'{found[1]}{names.get(found[2], found[2])}"'


_BUTTONS = '<div class="article-header-buttons">'
_HEAD = "</head>"


def link_editions(english: Path) -> None:
    """Put a switch on every page that leads to the same place in the other language.

    A page without a counterpart leads to the other edition's first page.
    """
    chinese = english / FOLDER
    for path in pages_in(english):
        name = path.relative_to(english).as_posix()
        is_chinese = name.startswith(f"{FOLDER}/")
        own = name.removeprefix(f"{FOLDER}/") if is_chinese else name
        other = (english if is_chinese else chinese) / own
        there = own if other.is_file() else "index.html"
        up = "../" * (name.count("/"))
        target = f"{up}{there}" if is_chinese else f"{up}{FOLDER}/{there}"
        lang, words = ("en", "English") if is_chinese else ("zh-CN", "中文")
        link = (
            f'<a class="kexian-language" href="{target}" hreflang="{lang}" lang="{lang}">'
            f"{words}</a>"
        )
        text = path.read_text(encoding="utf-8")
        if other.is_file():
            alternate = f'<link rel="alternate" hreflang="{lang}" href="{target}" />'
            text = text.replace(_HEAD, f"  {alternate}\n{_HEAD}", 1)
        if _BUTTONS in text:
            text = text.replace(_BUTTONS, f"{_BUTTONS}\n{link}\n", 1)
        path.write_text(text, encoding="utf-8")
