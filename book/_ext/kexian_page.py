"""What the theme's finished pages lack, mended on the text of the page.

Each repair names a piece of the theme's own HTML. A test presses the buttons and counts the
requests, so that a theme that changed is noticed.
"""

from __future__ import annotations

import re
from pathlib import Path

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
    r'[ \t]*<script src="[^"]*(?:searchtools|language_data|searchindex|doctools|sphinx_highlight'
    r'|translations)\.js[^"]*"></script>\n?'
)
_MATHJAX = re.compile(r"[ \t]*<script[^>]*>window\.MathJax = .*?</script>\n?", re.DOTALL)
_TYPESETTER = re.compile(r'[ \t]*<script[^>]*src="[^"]*(?:mathjax|formulas)\.js[^"]*"></script>\n?')
_ARROW = '<summary><span class="toctree-toggle" role="presentation">'
_NAMED_ARROW = (
    '<summary aria-label="Show or hide these chapters">'
    '<span class="toctree-toggle" role="presentation">'
)
# A button is called what stands in it: "Search Ctrl+K".
_FIELD = re.compile(r'<button class="[^"]*search-button-field[^>]*>')
_VIEWPORT = re.compile(r'\s*<meta name="viewport"[^>]*>')
# The text's two faces come with the styles, so that no line is set twice. A file cannot be asked
# for before the styles name it.
_STYLES = re.compile(r' *<link href="([^"]*_static/)styles/theme\.css[^>]*>')
_OWN_STYLE = re.compile(r' *<link [^>]*href="[^"]*_static/kexian\.css[^>]*>')
_EARLY = """  <script>
    if (location.protocol !== "file:") for (const style of ["normal", "italic"])
      document.head.append(Object.assign(document.createElement("link"), {{
        rel: "preload", as: "font", type: "font/woff2", crossOrigin: "",
        href: `{}fonts/source-serif-4-latin-${{style}}.woff2` }}));
  </script>
"""
_AT_ONCE = """
    <script>
      for (const style of ["", "italic "]) document.fonts.load(`${style}1em "Source Serif 4"`);
      // What is not there at the first frame waits for the next page: else every line moves when
      // the formulas bring their fonts, whatever `font-display` says.
      if (location.protocol !== "file:") requestAnimationFrame(() => {
        if (!document.fonts.check('1em "Source Serif 4"'))
          document.documentElement.classList.add("kx-late");
      });
    </script>"""
_ONE_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1" />'

# A name in code breaks at its joints, if a line is too short for it.
_CODE = re.compile(r'(?<=<span class="pre">)[^<]{12,}(?=</span>)')
_JOINT = re.compile(r"(?<=[._/])(?=\w)|(?<=[a-z])(?=[A-Z])")
_ADDRESS = re.compile(r'(?<=href=")[^"]*&amp;amp;[^"]*(?=")')  # MyST escapes its & twice
# A link that is a bare number of an article says of what.
_NUMBERED = re.compile(r'<a ([^>]*href="https://kexue\.fm/archives/(\d+)"[^>]*)>(?=\2</a>)')

_PICTURE = re.compile(r'<img (?![^>]*\bheight=)([^>]*\bsrc="([^"]+\.(?:webp|png))"[^>]*)>')


def with_room_for_pictures(page: str, folder: Path) -> str:
    """Give each picture its size, so that nothing moves when it comes, and load it when it is near.

    Args:
        page: the HTML.
        folder: where it lies, from which the pictures' addresses are read.
    """
    from PIL import Image

    def sized(match: re.Match[str]) -> str:
        path = folder / match[2]
        if not path.is_file():
            return match[0]
        with Image.open(path) as picture:
            width, height = picture.size
        lazy = "" if "loading=" in match[1] else 'loading="lazy" '
        return f'<img {lazy}width="{width}" height="{height}" {match[1]}>'

    return _PICTURE.sub(sized, page)


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
    page = _FIELD.sub(lambda button: button[0].replace(' aria-label="Search"', ""), page)
    page = _STYLES.sub(lambda link: _EARLY.format(link[1]) + link[0], page, count=1)
    page = _OWN_STYLE.sub(lambda link: link[0] + _AT_ONCE, page, count=1)
    page = _ADDRESS.sub(lambda link: link[0].replace("&amp;amp;", "&amp;"), page)
    page = _CODE.sub(lambda code: _JOINT.sub("<wbr>", code[0]), page)
    page = _NUMBERED.sub(r'<a \1 aria-label="Article \2 of kexue.fm">', page)
    page = _VIEWPORT.sub("", page)
    return page.replace(
        '<meta charset="utf-8" />', f'<meta charset="utf-8" />\n    {_ONE_VIEWPORT}', 1
    )
