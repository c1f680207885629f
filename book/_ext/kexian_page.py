"""What the theme's finished pages lack, mended on the text of the page.

Each repair names a piece of the theme's own HTML. A test presses the buttons and counts the
requests, so that a theme that changed is noticed.
"""

from __future__ import annotations

import re

_THEME = 'document.documentElement.dataset.theme = localStorage.getItem("theme") || "auto";'
# "auto" is resolved before anything is painted; the theme's own script does so after all others.
_RESOLVED = (
    _THEME
    + """
    if (!["light", "dark"].includes(document.documentElement.dataset.mode))
      document.documentElement.dataset.theme =
        matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";"""
)
_HEADER = re.compile(r'<header id="pst-header".*?</header>', re.DOTALL)
_TOGGLE = re.compile(
    r'<button class="[^"]*\b(?:primary|secondary)-toggle"[^>]*>.*?</button>', re.DOTALL
)
_ICONS = re.compile(r'[ \t]*<script defer src="[^"]*scripts/fontawesome\.js[^"]*"></script>\n?')
_SEARCH = re.compile(
    r'[ \t]*<script src="[^"]*(?:searchtools|language_data|searchindex|doctools|sphinx_highlight)'
    r'\.js[^"]*"></script>\n?'
)
_MATHJAX = re.compile(r"[ \t]*<script[^>]*>window\.MathJax = .*?</script>\n?", re.DOTALL)
_TYPESETTER = re.compile(
    r'[ \t]*<script[^>]*src="[^"]*(?:tex-chtml|formulas)\.js[^"]*"></script>\n?'
)
_ARROW = '<summary><span class="toctree-toggle" role="presentation">'
_NAMED_ARROW = (
    '<summary aria-label="Show or hide these chapters">'
    '<span class="toctree-toggle" role="presentation">'
)
# A browser keeps room by the attributes, not by the style.
_SIZE = re.compile(r'(<img[^>]*) style="width: (\d+)px; height: (\d+)px;"')
_VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
_ONE_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1" />'


def mend(page: str, name: str) -> str:
    """Return a finished page of the theme with working buttons and without needless weight.

    Args:
        page: its HTML.
        name: its path without ``.html``, such as "search".
    """
    page = page.replace('data-theme="auto"', 'data-theme="light"', 1)  # without scripts
    page = page.replace(_THEME, _RESOLVED, 1)
    # The theme's scripts take the first of these buttons, and the book hides the header.
    page = _HEADER.sub(lambda header: _TOGGLE.sub("", header[0]), page, count=1)
    page = _ICONS.sub("", page)  # the stylesheet holds the icons, too
    page = _SEARCH.sub("", page)  # the book has its own
    if 'class="math' not in page:
        page = _TYPESETTER.sub("", _MATHJAX.sub("", page))
    page = page.replace(_ARROW, _NAMED_ARROW)
    page = _SIZE.sub(r'\1 width="\2" height="\3"', page)
    page = _VIEWPORT.sub("", page)
    return page.replace(
        '<meta charset="utf-8" />', f'<meta charset="utf-8" />\n    {_ONE_VIEWPORT}', 1
    )
