"""What search engines, feed readers and lost visitors need: descriptions, addresses, a site map.

Addresses are written only where the book's public address is known.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from docutils import nodes

LENGTH = 200
NAME = "Kexian"
ARTICLES = "https://kexue.fm/archives/"
FRONT_TITLE = "Kexian, an executable companion to Scientific Spaces (科学空间)"
LOST = """<h1>This page does not exist</h1>
<p>Perhaps a chapter has moved. All of them are listed in <a href="index.html#parts">the parts of
the book</a>; the <a href="search.html">search</a> finds words, claims and Chinese terms.</p>"""


def description(document: nodes.document) -> str:
    """The first paragraph of a page that can be read without formulas, cut at a word."""
    for paragraph in document.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.list_item):
            continue
        text = " ".join(paragraph.astext().split())
        links = paragraph.findall(nodes.reference)
        if any(str(link.get("refuri", "")).startswith(ARTICLES) for link in links):
            continue  # the byline, the same in all chapters
        sentences = _plain_sentences(paragraph, text)
        if len(sentences) >= 40:
            return sentences
    return ""


def _plain_sentences(paragraph: nodes.paragraph, text: str) -> str:
    text = re.sub(r"^(?:In short\. |概要[。：])", "", text)
    formulas = [node.astext() for node in paragraph.findall(nodes.math)]
    end = min((text.find(formula) for formula in formulas if formula in text), default=len(text))
    if end == len(text) <= LENGTH:
        return text
    readable = text[: min(end, LENGTH)]
    stop = max(readable.rfind(mark) for mark in (". ", "? ", ": ", "。", "？", "："))
    if stop >= 40:
        return readable[: stop + 1].rstrip(":").rstrip(".") + "."
    return f"{readable.rsplit(' ', 1)[0]} …" if end >= LENGTH else ""


def add_meta(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Describe a page in its head."""
    if pagename == "index":
        context["title"], context["docstitle"] = html.escape(FRONT_TITLE), ""
    config, address = app.config, app.config.html_baseurl
    facts = config.kexian_chapters.get(pagename, {})
    title = facts.get("title") or re.sub(r"<[^>]+>", "", context.get("title") or NAME)
    text = description(doctree) if doctree is not None else ""
    tags = {"og:title": html.unescape(title), "og:site_name": NAME, "og:type": "article"}
    if text:
        tags["og:description"] = text
    if address:
        tags["og:url"] = f"{address}{pagename}.html"
        picture = facts.get("picture") or next(
            (one["picture"] for one in config.kexian_chapters.values() if one["picture"]), ""
        )
        if picture:
            tags["og:image"] = f"{address}_static/gallery/{picture}"
    lines = [f'<meta name="description" content="{html.escape(text)}" />'] if text else []
    lines += [f'<meta property="{k}" content="{html.escape(v)}" />' for k, v in tags.items()]
    if address:
        lines.append(
            '<link rel="alternate" type="application/atom+xml" title="New chapters of Kexian" '
            f'href="{html.escape(address)}feed.xml" />'
        )
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines, ""])


def lost_page(app: Any) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page that a server shows for an address that does not exist."""
    yield "404", {"title": "Not found", "body": LOST, "display_toc": False}, "page.html"


def write_addresses(html_folder: Path, address: str, chapters: Mapping[str, Any]) -> None:
    """Write the site map, the feed, and whole addresses into the page for lost visitors."""
    names = [
        path.relative_to(html_folder).as_posix()
        for path in sorted(html_folder.rglob("*.html"))
        if not {"_static", "_sources"} & set(path.relative_to(html_folder).parts)
    ]
    listed = [name for name in names if name not in ("404.html", "search.html", "genindex.html")]
    (html_folder / "sitemap.xml").write_text(site_map(listed, address), encoding="utf-8")
    (html_folder / "feed.xml").write_text(feed(chapters, address), encoding="utf-8")
    lost = html_folder / "404.html"
    page = lost.read_text(encoding="utf-8")
    page = re.sub(
        r'\b(href|src)="(?!https?:|#|/|data:|mailto:)([^"]*)"',
        lambda link: f'{link[1]}="{address}{link[2]}"',
        page,
    )
    lost.write_text(page, encoding="utf-8")


def site_map(names: list[str], address: str) -> str:
    """The addresses of all pages, as sitemaps.org wants them."""
    urls = "".join(f"<url><loc>{escape(address + name)}</loc></url>\n" for name in names)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}</urlset>\n'
    )


def feed(chapters: Mapping[str, Any], address: str) -> str:
    """An Atom feed of the chapters, the latest run first; one without a dated run is left out."""
    dated = {page: facts for page, facts in chapters.items() if facts["run"]}
    latest = sorted(dated.items(), key=lambda item: item[1]["run"], reverse=True)
    entries = "".join(
        f"<entry><title>{escape(facts['title'])}</title><id>{escape(f'{address}{page}.html')}</id>"
        f"<link href={quoteattr(f'{address}{page}.html')}/>"
        f"<updated>{escape(facts['run'])}</updated>"
        f"<summary>{escape(facts['title_zh'])}</summary></entry>\n"
        for page, facts in latest
    )
    updated = f"<updated>{escape(latest[0][1]['run'])}</updated>\n" if latest else ""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom">\n'
        f"<title>New chapters of {NAME}</title>\n<id>{escape(address)}</id>\n"
        f"<link href={quoteattr(address)}/>\n"
        f"<link rel='self' href={quoteattr(address + 'feed.xml')}/>\n"
        f"<author><name>The Kexian authors</name></author>\n{updated}{entries}</feed>\n"
    )
