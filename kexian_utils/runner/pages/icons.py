"""The theme's icon font, cut down to the icons that the book shows."""

from __future__ import annotations

import re
from pathlib import Path

FONT = "_static/vendor/fontawesome/webfonts/fa-solid-900"
_SOURCES = re.compile(
    r'url\(([^()]*fa-solid-900)\.woff2\) format\("woff2"\),\s*'
    r'url\([^()]*fa-solid-900\.ttf\) format\("truetype"\)'
)
_RULE = re.compile(r'([^{}]*)\{[^{}]*?content:\s*"\\([ef][0-9a-f]{3})"')
_NAME = re.compile(r"\bfa-[a-z0-9-]+")
_PRIVATE = re.compile("[\ue000-\uf8ff]")


def write_icon_font(html: Path) -> None:
    """Replace the font of 150 kB by one with the icons in use, and name it in the style sheets.

    Args:
        html: the folder of the built pages. If the theme has no such font, nothing is changed.
    """
    from fontTools.subset import Options, Subsetter
    from fontTools.ttLib import TTFont

    whole = html / f"{FONT}.ttf"
    sheets = sorted((html / "_static/styles").glob("*.css"))
    texts = {path: path.read_text(encoding="utf-8") for path in sheets}
    if not whole.is_file() or not any(_SOURCES.search(text) for text in texts.values()):
        return
    options = Options()
    options.hinting = False
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=icons_used(html, "\n".join(texts.values())))
    font = TTFont(whole, lazy=True)
    subsetter.subset(font)
    font.flavor = "woff"
    font.save(html / f"{FONT}.woff")
    for path, text in texts.items():
        path.write_text(_SOURCES.sub(r'url(\1.woff) format("woff")', text), encoding="utf-8")


def icons_used(html: Path, styles: str) -> set[int]:
    """The characters of the icons that pages, scripts and style sheets ask for.

    Args:
        html: the folder of the built pages.
        styles: the text of its style sheets.
    """
    files = [*html.rglob("*.html"), *(html / "_static/scripts").glob("*.js")]
    names = {
        name
        for path in files
        if path.name != "fontawesome.js" and "_sources" not in path.parts  # it names all icons
        for name in _NAME.findall(path.read_text(encoding="utf-8"))
    }
    found = {ord(icon) for icon in _PRIVATE.findall(styles)}
    for selectors, code in _RULE.findall(styles):
        classes = _NAME.findall(selectors)
        if not classes or names.intersection(classes):
            found.add(int(code, 16))
    return found
