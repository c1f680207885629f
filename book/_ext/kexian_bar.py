"""What stands below a chapter's title: time to read, last run, how to run it, how to cite it."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from docutils import nodes

WORDS_PER_MINUTE = 230
CHARACTERS_PER_MINUTE = 400  # of Chinese
_UNREAD = (nodes.literal_block, nodes.raw, nodes.comment, nodes.math_block)
# Before the first paint, so that code does not flash; a page from a file may be refused its memory.
CODE_AS_CHOSEN = (
    '<script>try { if (localStorage.getItem("kexian-code") === "hidden") '
    'document.documentElement.dataset.code = "hidden"; } catch (refused) {}</script>\n'
)


def reading_minutes(document: nodes.document) -> int:
    """Minutes to read a page: its words without code, a formula in a line counting as one."""
    words = 0
    for node in document.findall(nodes.TextElement):
        if isinstance(node, nodes.math):
            words += 1
        elif not isinstance(node, _UNREAD):
            texts = (child for child in node.children if isinstance(child, nodes.Text))
            for text in map(str, texts):
                han = len(re.findall(r"[\u3400-\u9fff]", text))
                words += len(re.findall(r"[^\W\u3400-\u9fff]+", text))
                words += round(han * WORDS_PER_MINUTE / CHARACTERS_PER_MINUTE)
    return max(1, round(words / WORDS_PER_MINUTE))


def about(facts: Mapping[str, str], minutes: int, guide: str) -> str:
    """The HTML of the bar's second half.

    Args:
        facts: of the chapter: "id", "run" (a date, or ""), "cite" (BibTeX).
        minutes: to read it.
        guide: address of the page on running chapters.
    """
    plural = "" if minutes == 1 else "s"
    lines = [f"<li>{minutes} minute{plural} to read</li>"]
    if facts["run"]:
        day = html.escape(facts["run"][:10])
        lines.append(f'<li>last run <time datetime="{html.escape(facts["run"])}">{day}</time></li>')
    lines.append('<li><button type="button" class="kexian-code-switch" hidden>Hide code</button>')
    return (
        f'<div class="kexian-about"><ul>{"".join(lines)}</ul>'
        + _fold(
            "Run this chapter",
            f'<p>In a copy of the project (<a href="{html.escape(guide)}">how to run</a>):</p>'
            + _copied(f"kexian run {facts['id']}"),
        )
        + _fold("Cite this chapter and its article", _copied(facts["cite"]))
        + "</div>"
    )


def _fold(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _copied(text: str) -> str:
    """Text with the copy button that code has."""
    return f'<div class="highlight"><pre>{html.escape(text)}</pre></div>'


def add_about(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Put it on the page of a chapter, below the links to its notebook."""
    facts = app.config.kexian_chapters.get(pagename)
    if facts is None or doctree is None:
        return
    text = about(facts, reading_minutes(doctree), context["pathto"]("how-to-run"))
    context["body"] = re.sub(
        r'(<p class="kexian-bar">.*?</p>)', lambda bar: bar[1] + text, context["body"], count=1
    )
    context["metatags"] = context.get("metatags", "") + CODE_AS_CHOSEN
