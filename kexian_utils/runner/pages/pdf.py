"""The whole book as one PDF: the built pages joined into one, printed by Chromium.

Chromium makes the bookmarks from the headings and keeps links within the book as links; the
contents name the pages. What cannot be on paper (sliders, switches, copies of pictures) is left
out; solutions are unfolded.
"""

from __future__ import annotations

import html
import re
from collections.abc import Container, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag

from kexian_utils import __version__
from kexian_utils.errors import ENVIRONMENT, KexianError
from kexian_utils.runner.pages.chinese import FOLDER

NAME = "kexian.pdf"


class _Words(NamedTuple):
    """What the printed book says beside its pages."""

    lang: str
    about: str
    version: str
    contents: str


_ENGLISH = _Words(
    "en",
    "An executable companion to <em>Scientific Spaces</em> "
    '(<span lang="zh">科学空间</span>), the blog of Su Jianlin (<span lang="zh">苏剑林</span>)',
    "The Kexian authors · version",
    "Contents",
)
_CHINESE = _Words("zh-CN", "苏剑林的博客《科学空间》的可执行伴读", "Kexian 的作者们 · 版本", "目录")
# A4 less its margins, in CSS pixels: the page is laid out as wide as it is printed.
WIDTH = round((210 - 2 * 18) / 25.4 * 96)
_ARTICLE = re.compile(r'<article class="bd-article">(.*)</article>', re.DOTALL)
_NEXT = re.compile(r'<link rel="next" [^>]*href="([^"]+)"')
_HEAD = re.compile(r'<link rel="stylesheet"[^>]*>|<link href="[^"]*" rel="stylesheet" ?/>')
_MATHJAX = re.compile(
    r"<script[^>]*>window\.MathJax = .*?</script>"
    r'|<script[^>]*src="[^"]*(?:mathjax|formulas)\.js[^"]*"></script>',
    re.DOTALL,
)
_ADDRESS = re.compile(r'\b(src|href)="(?:\.\./)*([^":]+)"')  # of styles and scripts
_HEADING = re.compile(r"(?<=>)[^<>]*(?=<)")
_DROPPED = re.compile(r"<script\b.*?</script>|<noscript>.*?</noscript>", re.DOTALL)
_TAG = re.compile(r"<[a-zA-Z][\w-]*(?:[^>\"']|\"[^\"]*\"|'[^']*')*>")
_FOOTER = (
    '<div style="width:100%;font:8px sans-serif;color:#555;text-align:center">'
    '<span class="pageNumber"></span></div>'
)
_NUMBER = """(pages) => {
  for (const link of document.querySelectorAll('.kexian-toc a'))
    link.parentElement.dataset.page = pages[decodeURIComponent(link.hash.slice(1))] || '';
}"""
_STYLE = """
.kexian-sheet { break-before: page; }
.kexian-title { height: 80vh; display: flex; flex-direction: column; justify-content: center; }
.kexian-title h1 { font-size: 40pt !important; }
.kexian-toc ol { list-style: none; padding: 0; columns: 1; }
.kexian-toc li { margin: 0 0 .25rem; break-inside: avoid; }
.kexian-toc li { display: flex; align-items: baseline; gap: .5rem; }
.kexian-toc li.kexian-chapter { padding-left: 1.5rem; }
.kexian-toc li::after { content: attr(data-page); order: 3; min-width: 2.5em; text-align: right; }
.kexian-toc li a { order: 1; }
.kexian-toc li span.kexian-dots { order: 2; flex: 1; border-bottom: 1px dotted #999; }
body { background: #fff; display: block; }
.kx-live, .headerlink, .copybtn { display: none !important; }
h1 { font-size: 22pt !important; }
"""


def write_pdf(book: Path, target: Path) -> Path:
    """Print the built book into one file.

    Args:
        book: the folder of the built pages, of the Chinese ones its folder "zh".
        target: the PDF to write.

    Raises:
        KexianError: the book is not built, or Chromium or Playwright is missing.
    """
    from kexian_utils.runner.doctor import CHROMIUM_HINT, chromium_path

    if not (book / "index.html").is_file():
        raise KexianError("there is no book to print yet; call `make html` first.")
    path = chromium_path()
    if path is None:
        raise KexianError(f"a PDF is printed by Chromium; {CHROMIUM_HINT}.", ENVIRONMENT)
    from playwright.sync_api import sync_playwright

    joined = book / "_static" / "printed.html"  # where no test and no check takes it for a page
    joined.write_text(join(book, "../"), encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=path, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
            page.set_default_timeout(0)
            page.emulate_media(media="print", color_scheme="light")
            page.goto(joined.as_uri(), wait_until="load")
            page.evaluate(
                """async () => {
                  await window.kexianFormulas;
                  await document.fonts.ready;
                  for (const image of document.images) image.loading = 'eager';
                  await Promise.all([...document.images].map((i) => i.decode().catch(() => 0)));
                  await new Promise((done) => setTimeout(done, 500));
                }"""
            )
            # Chromium says only afterwards on which page a place is, so it prints twice.
            page.evaluate(_NUMBER, _page_numbers(_printed(page)))
            target.write_bytes(_printed(page))
            browser.close()
    finally:
        joined.unlink()
    return target


def _printed(page: Any) -> bytes:
    return page.pdf(
        format="A4",
        margin={"top": "18mm", "bottom": "18mm", "left": "18mm", "right": "18mm"},
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=_FOOTER,
        print_background=True,
        outline=True,
        tagged=True,
    )


def _page_numbers(content: bytes) -> dict[str, int]:
    """The page, from 1, of each place to which a link leads."""
    from pypdf import PdfReader

    reader = PdfReader(BytesIO(content))
    return {
        name.removeprefix("/"): (reader.get_destination_page_number(place) or 0) + 1
        for name, place in reader.named_destinations.items()
    }


def join(book: Path, root: str = "") -> str:
    """All pages of the book as one, in the order in which "next" leads through them.

    Args:
        book: the folder of the built pages.
        root: the way from the joined page to that folder, such as "../".
    """
    names = list(pages_in_order(book))
    texts = {name: (book / name).read_text(encoding="utf-8") for name in names}
    sheets, contents = [], []
    mathjax = next((found for text in texts.values() if (found := _MATHJAX.findall(text))), [])
    for name, text in texts.items():
        article = _ARTICLE.search(text)
        body = _DROPPED.sub("", article[1] if article else "")
        title = re.search(r"<h1>(.*?)<a class=\"headerlink\"", body, re.DOTALL)
        kind = "chapter" if "kexian-about" in body else "page"
        entry = title[1] if title else html.escape(name)
        contents.append(
            f'<li class="kexian-{kind}"><a href="#{_id(name)}">{entry}</a>'
            '<span class="kexian-dots"></span></li>'
        )
        body = _TAG.sub(partial(_moved, name=name, known=texts.keys(), root=root), body)
        body = re.sub(r"<h[1-3]>.*?</h[1-3]>", _whole_words, body, flags=re.DOTALL)
        sheets.append(f'<article class="bd-article kexian-sheet" id="{_id(name)}">{body}</article>')
    head = "\n".join([*_HEAD.findall(texts["index.html"]), *mathjax])
    head = re.sub(r"<[^>]+>", lambda tag: _ADDRESS.sub(rf'\1="{root}\2"', tag[0]), head)
    words = _CHINESE if book.name == FOLDER else _ENGLISH
    return (
        f'<!doctype html><html lang="{words.lang}" data-theme="light" data-mode="light"><head>'
        f'<meta charset="utf-8"><title>Kexian {__version__}</title>\n{head}\n'
        f'<style>{_STYLE}</style></head>\n<body><main class="bd-content">\n'
        '<article class="bd-article kexian-title"><h1>Kexian</h1>'
        f"<p>{words.about}</p><p>{words.version} {__version__}</p></article>\n"
        f'<article class="bd-article kexian-sheet kexian-toc"><h1>{words.contents}</h1>'
        f"<ol>{''.join(contents)}</ol></article>\n" + "\n".join(sheets) + "\n</main></body></html>"
    )


def _whole_words(heading: re.Match[str]) -> str:
    """A heading whose words stay apart in the bookmarks, where Chromium joins its lines."""
    return _HEADING.sub(lambda text: text[0].replace(" ", "\N{NO-BREAK SPACE}<wbr>"), heading[0])


def pages_in_order(book: Path) -> Iterator[str]:
    """The names of the pages, from the first one on along their links to the next."""
    name, seen = "index.html", set()
    while name and name not in seen:
        seen.add(name)
        yield name
        following = _NEXT.search((book / name).read_text(encoding="utf-8"))
        name = _resolved(following[1], name) if following else ""


def _resolved(address: str, name: str) -> str:
    """An address relative to a page, as a path from the book's root."""
    parts = [*Path(name).parent.parts]
    for part in unquote(address).split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _id(name: str, place: str = "") -> str:
    """The id of a page, or of a place on it, in the joined page."""
    page = name.removesuffix(".html").replace("/", "-")
    return f"{page}--{place}" if place else f"page-{page}"


def _moved(found: re.Match[str], name: str, known: Container[str], root: str) -> str:
    """A tag of a page as it stands in the joined page: ids are unique, addresses from the root."""
    tag = re.sub(r'\b(id|for)="([^"]+)"', lambda m: f'{m[1]}="{_id(name, m[2])}"', found[0])
    if tag.startswith("<details"):
        return tag.replace("<details", "<details open", 1) if "hide" not in tag else tag

    def address(match: re.Match[str]) -> str:
        key, value = match[1], html.unescape(match[2])
        if re.match(r"[a-z]+:", value):
            return match[0]
        path, place = urldefrag(value)
        target = _resolved(path, name) if path else name
        if key == "src":
            return f'src="{html.escape(root + target)}"'
        if target.split("?")[0] not in known:
            return ""
        return f'href="#{_id(target.split("?")[0], unquote(place))}"'

    return re.sub(r'\b(href|src)="([^"]*)"', address, tag)
