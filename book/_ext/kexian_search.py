"""The index of the book's search: the text of every section, in a script that works from a file.

Sphinx's own search finds pages, not places, and cuts words where the browser does not. Here the
browser gets the text itself, by section and claim, and looks through it (``assets/search.js``):
compounds, names in code and numbers are found whole, and each hit has its place and its excerpt.
"""

from __future__ import annotations

import html
import json
import keyword
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w{2,}")
_COMMAND = re.compile(r"\\([A-Za-z]+)\s*")
_SYMBOLS = {"le": "≤", "ge": "≥", "times": "×", "cdot": "·", "approx": "≈"} | {
    name: name for name in ("max", "min", "log", "exp", "cos", "sin", "softmax")
}
LONGEST_FORMULA = 30
# Twice the same text: a chapter's closing table repeats its claims, the ledger all of them.
_REPEATS = ('href="#claim-', 'class="kexian-ledger"')
_IGNORED = (nodes.title, nodes.comment, nodes.target, nodes.image, nodes.system_message)
_NUMBERS = {"kexian-claim-head", "kexian-facts"}  # of a claim; its sentence is what is looked for


def sections(doctree: nodes.document) -> list[list[str]]:
    """Return the sections and the claims of a page.

    Args:
        doctree: the resolved page.

    Returns:
        For each, in the order of the page: its id ("" for the whole page's), its heading, its text
        without that of its subsections, and the names that only its code holds.
    """
    found: list[tuple[str, str, list[str], set[str]]] = []
    _walk(doctree, ("", "", [], set()), found)
    return [[place, heading, *_texts(text, names)] for place, heading, text, names in found]


def _texts(text: list[str], names: set[str]) -> tuple[str, str]:
    whole = " ".join("".join(text).split())
    # A line break between two Han characters is none in the text.
    whole = re.sub(rf"(?<=[{HAN}]) (?=[{HAN}])", "", whole)
    return whole, " ".join(sorted(names - set(_NAME.findall(whole))))


def _walk(node: nodes.Node, current: Any, found: list[Any]) -> None:
    _, _, text, names = current
    if isinstance(node, nodes.Text):
        text.append(node.astext())
        return
    if isinstance(node, nodes.literal_block):
        if "output" not in node.parent.get("classes", ()):
            names |= {w for w in _NAME.findall(node.astext()) if not keyword.iskeyword(w)}
        return
    if isinstance(node, nodes.math | nodes.math_block):
        text.append(f" {formula(node.astext())} ")
        return
    if isinstance(node, nodes.raw):
        if node.get("format") == "html" and not any(sign in node.astext() for sign in _REPEATS):
            text.append(html.unescape(_TAG.sub(" ", node.astext())))
        return
    ignored = isinstance(node, _IGNORED) or _NUMBERS & set(node.get("classes", ()))
    if ignored or (isinstance(node, nodes.table) and _repeats(node)):
        return
    if isinstance(node, nodes.section):
        title = node.next_node(nodes.title)
        place = "" if isinstance(node.parent, nodes.document) else node["ids"][0]
        current = (place, title.astext() if title else "", [], set())
        found.append(current)
    elif "kexian-claim" in node.get("classes", ()) and node.get("ids"):
        current = (node["ids"][0], node.next_node(nodes.strong).astext(), [], set())
        found.append(current)
    for child in node.children:
        _walk(child, current, found)
    if isinstance(node, nodes.TextElement) and not isinstance(node, nodes.Inline):
        current[2].append("\n")


def _repeats(table: nodes.table) -> bool:
    return any(_REPEATS[0] in raw.astext() for raw in table.findall(nodes.raw))


def formula(latex: str) -> str:
    r"""A short formula as it can be read in a line of plain text, "…" for a longer one.

    Example:
        >>> formula(r"\lambda_{\max}(M)\le 2"), formula("x" * 50)
        ('λ_max(M)≤2', '…')
    """

    def symbol(match: re.Match[str]) -> str:
        name = match[1]
        case = "CAPITAL" if name[0].isupper() else "SMALL"
        try:
            return unicodedata.lookup(
                f"GREEK {case} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}"
            )
        except KeyError:
            return _SYMBOLS.get(name, "")

    plain = re.sub(r"[{}$&]|\\[^|]", "", _COMMAND.sub(symbol, latex)).strip()
    return plain if len(plain) <= LONGEST_FORMULA and "\n" not in plain else "…"


def traditional(table: str, used: Iterable[str]) -> str:
    """Pairs of a traditional character and the simplified one, for those that are used.

    Args:
        table: OpenCC's dictionary ``TSCharacters.txt``.
        used: the characters of the book.

    Returns:
        The pairs without anything between them: "對对優优".
    """
    used = set(used)
    pairs = []
    for line in table.splitlines():
        before, tab, after = line.partition("\t")
        simple = after.split(" ")[0]
        if tab and len(before) == len(simple) == 1 and before != simple and simple in used:
            pairs.append(before + simple)
    return "".join(pairs)


def write(app: Any, pages: dict[str, dict[str, Any]], table: str) -> None:
    """Write the index as a script, ``_static/search-index.js``.

    Args:
        app: the Sphinx application, whose setting `kexian_chapters` names each chapter's article.
        pages: by name: the `title` and the `sections` of a page.
        table: OpenCC's dictionary of characters.
    """
    listed, places = [], []
    for name, page in pages.items():
        facts = app.config.kexian_chapters.get(name, {})
        article, chinese = facts.get("id", ""), facts.get("title_zh", "")
        listed.append([f"{name}.html", page["title"], article, chinese])
        places += [[len(listed) - 1, *section] for section in page["sections"]]
    index: dict[str, Any] = {"pages": listed, "places": places}
    index["traditional"] = traditional(table, json.dumps(index, ensure_ascii=False))
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path = Path(app.outdir) / "_static" / "search-index.js"
    path.write_text(f"window.kexianIndex = {text};\n", encoding="utf-8")


def _collect(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    if doctree is None:
        return
    title = html.unescape(_TAG.sub("", context.get("title", "")))
    app.kexian_pages[pagename] = {"title": title, "sections": sections(doctree)}


def _switch_off_sphinx_search(app: Any) -> None:
    app.kexian_pages = {}
    app.builder.search = False


def _search_page(app: Any) -> Iterable[tuple[str, dict[str, Any], str]]:
    yield ("search", {}, "search.html")


def _write(app: Any, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        table = Path(app.srcdir) / "assets" / "opencc" / "TSCharacters.txt"
        write(app, app.kexian_pages, table.read_text(encoding="utf-8"))


def register(app: Any) -> None:
    """Replace Sphinx's search by the book's."""
    app.connect("builder-inited", _switch_off_sphinx_search)
    app.connect("html-collect-pages", _search_page)
    app.connect("html-page-context", _collect)
    app.connect("build-finished", _write)
