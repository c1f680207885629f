"""The web fonts of the built book, cut down to the characters that its pages show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path


def pages_in(html: Path) -> Iterator[Path]:
    """The pages of a built book, in order; not its sources."""
    for path in sorted(html.rglob("*.html")):
        if not {"_static", "_sources"} & set(path.relative_to(html).parts):
            yield path


def write_han_font(html: Path) -> None:
    """Write the Chinese font of the pages, cut down to the characters that they use.

    Browsers ask for it only on a system that has no Chinese font of its own.
    """
    from kexian_utils.plots import cjk_font

    text = "".join(path.read_text(encoding="utf-8") for path in pages_in(html))
    characters = {c for c in text if ord(c) >= 0x3000} | {" "}
    write_subset(cjk_font(), characters, html / "_static" / "fonts" / "han.woff")


_ICON_RULE = re.compile(r'((?:\.fa-[\w-]+:+before,?)+)\{content:"\\([0-9a-f]{4})"\}')
_ICON_VARIABLE = re.compile(r'--pst-icon-[\w-]+:\s*"\\([0-9a-f]{4})"')
_ICON_SOURCE = re.compile(r"url\([^)]*fa-solid-900\.woff2\)[^;}]*")


def write_icon_font(html: Path) -> None:
    """Write the theme's font of icons, cut down from 1,400 to those that the pages show."""
    static = html / "_static"
    style = static / "styles" / "pydata-sphinx-theme.css"
    rules = style.read_text(encoding="utf-8")
    sources = [*pages_in(html), *static.glob("scripts/*-theme.js")]
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r"\bfa-[\w-]+", text))
    codes = set(_ICON_VARIABLE.findall(rules))
    for names, code in _ICON_RULE.findall(rules):
        if used & set(re.findall(r"fa-[\w-]+", names)):
            codes.add(code)
    font = static / "vendor" / "fontawesome" / "webfonts" / "fa-solid-900.ttf"
    write_subset(font, {chr(int(code, 16)) for code in codes}, static / "fonts" / "icons.woff")
    changed = _ICON_SOURCE.sub('url(../fonts/icons.woff) format("woff")', rules)
    style.write_text(changed, encoding="utf-8")


def write_subset(font: Path, characters: set[str], path: Path) -> None:
    """Write a web font that holds these characters of a font."""
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    whole = TTFont(font, lazy=True)
    options = Options()
    options.layout_features = []
    options.hinting = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes={ord(character) for character in characters})
    subsetter.subset(whole)
    whole.flavor = "woff"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path)
