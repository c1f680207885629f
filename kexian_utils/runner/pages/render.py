"""The parts of the book's pages that are written from the notebooks' stored outputs.

A page under ``book/`` holds its own words and a line such as ``<!-- kexian:ledger -->``, which the
build replaces by what this module writes. So no measured number is ever typed into a page.
"""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.experiment.claims import KINDS, VERDICTS, ClaimRecord, recorded_claims
from kexian_utils.experiment.records import outputs, read_study
from kexian_utils.mime import FIGURE_MIME, HEADLINE_MIME, RUN_MIME
from kexian_utils.runner.pages.mime_renderer import claim_anchor, verdict_class, webp

MARK = re.compile(r"^<!-- kexian:([\w -]+?) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Chapter:
    """One finished chapter: its catalogue entry, its notebook and its study record, if any."""

    article: Article
    notebook: Any
    study: dict[str, Any] | None = None

    @property
    def page(self) -> str:
        """The page's address from the book's root, without the ending."""
        return f"{self.article.part}/{self.article.slug}"

    def records(self, mime: str) -> list[dict[str, Any]]:
        """The records of one MIME type, in the order of the notebook."""
        return [record for _, record in outputs(self.notebook, mime)]

    @property
    def claims(self) -> list[ClaimRecord]:
        """The claims, in the order of the catalogue."""
        by_id = {record.claim: record for _, record in recorded_claims(self.notebook)}
        return [by_id[claim] for claim in self.article.claims if claim in by_id]

    @property
    def run(self) -> dict[str, Any]:
        """The record of the run, the finished one where there is one."""
        found = self.records(RUN_MIME)
        return found[-1] if found else {}

    @property
    def headline(self) -> str:
        """The measured headline sentence (Markdown), or ""."""
        texts = [record.get("text") for record in self.records(HEADLINE_MIME)]
        return next((text for text in reversed(texts) if text), "")


@dataclass(frozen=True)
class Book:
    """What the pages are written from.

    Attributes:
        catalogue: all articles.
        chapters: the finished ones, in the catalogue's order.
        pictures: folder below the staged source into which pictures are written.
    """

    catalogue: Catalogue
    chapters: tuple[Chapter, ...]
    pictures: Path | None = None
    _by_id: dict[str, Chapter] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        self._by_id.update({chapter.article.id: chapter for chapter in self.chapters})

    def chapter(self, article: Article) -> Chapter | None:
        """The finished chapter of an article, or None while it is still to come."""
        return self._by_id.get(article.id)


def load_chapter(article: Article, notebook: Any, study: Path | None) -> Chapter:
    """A chapter from its notebook and the path of its study record (None: there is none)."""
    return Chapter(article, notebook, read_study(study) if study else None)


def fill(text: str, book: Book) -> str:
    """Replace every ``<!-- kexian:NAME -->`` line of a page by what is generated for NAME.

    Raises:
        ValueError: nothing is known by that name.
    """

    def replace(match: re.Match[str]) -> str:
        name, _, argument = match[1].partition(" ")
        if name not in GENERATORS:
            raise ValueError(
                f"a page asks for 'kexian:{match[1]}'; known are {', '.join(sorted(GENERATORS))}"
            )
        return GENERATORS[name](book, argument)

    return MARK.sub(replace, text)


# -- small pieces ---------------------------------------------------------------------------------


def inline_html(text: str) -> str:
    r"""One line of Markdown as HTML; ``$…$`` becomes what the page's MathJax reads."""
    # The reader looks at the character before a formula, which for the first is the last one: a
    # digit there would make it a price.
    return _markdown_it().renderInline(f"{text} ").rstrip()


def block_html(text: str) -> str:
    """Markdown paragraphs, lists and tables as HTML."""
    return _markdown_it().render(text)


def _markdown_it() -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    def math(content: str, options: dict[str, Any]) -> str:
        if options["display_mode"]:
            return f'<div class="math notranslate nohighlight">\\[{html.escape(content)}\\]</div>'
        return f'<span class="math notranslate nohighlight">\\({html.escape(content)}\\)</span>'

    reader = MarkdownIt("commonmark", {"typographer": True}).enable("table")
    reader.enable(["replacements", "smartquotes"])
    reader.use(dollarmath_plugin, renderer=math, allow_digits=False)
    reader.use(amsmath_plugin, renderer=lambda content: math(content, {"display_mode": True}))
    # The plugin wraps block mathematics in elements of its own; the page's are enough.
    rules = cast(Any, reader.renderer).rules
    rules["math_inline"] = lambda tokens, index, *_: math(
        tokens[index].content, {"display_mode": False}
    )
    for name in ("math_block", "math_inline_double", "amsmath"):
        rules[name] = lambda tokens, index, *_: math(tokens[index].content, {"display_mode": True})
    return reader


def raw_html(text: str) -> str:
    """HTML as a MyST directive that passes it through."""
    fence = "`" * 4
    return f"{fence}{{raw}} html\n{text}\n{fence}"


def chip(verdict: str, suffix: str = "") -> str:
    """A verdict in words on a coloured ground."""
    words = html.escape(f"{verdict}{suffix}")
    return f'<span class="kexian-verdict {verdict_class(verdict)}">{words}</span>'


def verdict_chips(record: ClaimRecord) -> str:
    """The verdict of the run and, where there is one, that of the dated study."""
    study = record.study
    if study is None:
        return chip(record.verdict)
    return f"{chip(record.verdict, ' here')} {chip(study.verdict, f' in the study of {study.day}')}"


def facts_html(record: ClaimRecord) -> str:
    """What was measured and what was required, one line for each number."""
    lines = []
    for fact in record.facts:
        label = f"<span>{html.escape(fact.name)}:</span> " if fact.name else ""
        required = (
            f" <span>(required: {html.escape(fact.required)})</span>" if fact.required else ""
        )
        lines.append(f"<li>{label}{html.escape(fact.text)}{required}</li>")
    return f'<ul class="kexian-facts">{"".join(lines)}</ul>' if lines else "–"


def _title(article: Article) -> str:
    star = " ★" if article.pillar else ""
    return f"{article.title}{star}"


# -- part openers ---------------------------------------------------------------------------------


def part_list(book: Book, part: str) -> str:
    """The articles of a part: finished ones linked, the others named as still to come."""
    lines = []
    for article in book.catalogue.select(part):
        chapter = book.chapter(article)
        original = (
            f'<a href="{article.url}" hreflang="zh">{html.escape(article.title_zh)}</a>, '
            f'<time datetime="{article.date}">{article.date}</time>'
        )
        title = html.escape(_title(article))
        if chapter:
            counts = Counter(record.verdicts[-1] for record in chapter.claims)
            chips = " ".join(chip(v, f" {counts[v]}") for v in VERDICTS if counts[v])
            headline = inline_html(chapter.headline)
            lines.append(
                '<li class="kexian-ready">'
                f'<p class="kexian-entry"><a href="../{chapter.page}.html">{title}</a></p>'
                f"<p>{headline}</p>"
                f'<p class="kexian-entry-facts">Claims: {chips}</p>'
                f'<p class="kexian-entry-facts">Original: {original}</p></li>'
            )
        else:
            number = len(article.claims)
            claims = f"{number} claims to decide" if number else "claims to be listed"
            lines.append(
                '<li class="kexian-to-come">'
                f'<p class="kexian-entry">{title} <span class="kexian-soon">to come</span></p>'
                f'<p class="kexian-entry-facts">Original: {original} · {claims}</p></li>'
            )
    return raw_html('<ol class="kexian-chapters">\n' + "\n".join(lines) + "\n</ol>")


def contents(book: Book, _: str) -> str:
    """The nine parts with the number of finished chapters."""
    lines = []
    for part in book.catalogue.parts:
        articles = book.catalogue.select(part.id)
        ready = sum(book.chapter(article) is not None for article in articles)
        lines.append(
            f'<li><a href="parts/{part.id}.html">{html.escape(part.title)}</a> '
            f"<span>{html.escape(part.title_zh)}</span>"
            f"<small>{ready} of {len(articles)} chapters finished</small></li>"
        )
    return raw_html('<ul class="kexian-parts">\n' + "\n".join(lines) + "\n</ul>")


def finished(book: Book, _: str) -> str:
    """One line: how many chapters and claims there are, and how many are to come."""
    articles = book.catalogue.articles
    decided = sum(len(chapter.claims) for chapter in book.chapters)
    total = sum(len(article.claims) for article in articles)
    names = ", ".join(f"[{c.article.title}]({c.page}.ipynb)" for c in book.chapters)
    first = (
        f"**State of the book.** {len(book.chapters)} of {len(articles)} chapters "
        f"{'is' if len(book.chapters) == 1 else 'are'} finished"
    )
    return (
        f"{first}{f' ({names})' if names else ''}, with {decided} of {total} claims recorded. "
        "The others are listed in their parts with links to the originals."
    )


# -- gallery --------------------------------------------------------------------------------------


def headline_picture(chapter: Chapter) -> tuple[bytes, str] | None:
    """The PNG and the alternative text of the chapter's headline figure, or None."""
    for cell in chapter.notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            record = data.get(FIGURE_MIME)
            if isinstance(record, dict) and record.get("headline") and "image/png" in data:
                return base64.b64decode(data["image/png"]), record["alt"]
    return None


def gallery(book: Book, _: str) -> str:
    """One card for each chapter that has a headline figure."""
    cards = []
    for chapter in book.chapters:
        found = headline_picture(chapter)
        if found is None:
            continue
        picture, alt = found
        small = webp(picture)
        name = f"{chapter.article.slug}.{'png' if small is None else 'webp'}"
        if book.pictures is not None:
            book.pictures.mkdir(parents=True, exist_ok=True)
            (book.pictures / name).write_bytes(small or picture)
        title = html.escape(chapter.article.title)
        cards.append(
            '<li class="kexian-card">'
            f'<a href="{chapter.page}.html"><img loading="lazy" src="_static/gallery/{name}" '
            f'alt="{html.escape(alt)}"><span class="kexian-card-title">{title}</span></a>'
            f"<p>{inline_html(chapter.headline)}</p></li>"
        )
    if not cards:
        return "No chapter is finished yet."
    return raw_html('<ul class="kexian-gallery">\n' + "\n".join(cards) + "\n</ul>")


# -- ledger ---------------------------------------------------------------------------------------


def ledger(book: Book, _: str) -> str:
    """Every recorded claim as one table, with the controls that filter it."""
    rows, chapters = [], {}
    for chapter in book.chapters:
        article = chapter.article
        for record in chapter.claims:
            rows.append(_ledger_row(chapter, record))
            chapters[article.id] = article.title
    to_come = [a for a in book.catalogue.articles if book.chapter(a) is None]
    claims_to_come = sum(len(article.claims) for article in to_come)
    note = (
        f"<p>{claims_to_come} more claims belong to the {len(to_come)} chapters still to come. "
        "They are not shown, because nothing has been measured for them.</p>"
    )
    if not rows:
        return raw_html(f"<p>No claim has been recorded yet.</p>{note}")
    kinds = KINDS
    head = "".join(
        f'<th scope="col" role="columnheader">{name}</th>'
        for name in ("Claim", "Statement", "Kind", "Verdict", "Measured")
    )
    form = (
        '<form class="kexian-filter" role="search" aria-label="Filter the claims" hidden>'
        + _select("chapter", "Chapter", chapters.items())
        + _select("kind", "Kind", [(kind, kind) for kind in kinds])
        + _select("verdict", "Verdict", [(verdict, verdict) for verdict in VERDICTS])
        + '<label>Words <input type="search" name="words" autocomplete="off"></label>'
        '<button type="reset">Show all</button>'
        '<p class="kexian-count" role="status"></p></form>'
    )
    table = (
        '<div class="kexian-ledger-box" tabindex="0" role="region" aria-label="Claims">'
        '<table class="kexian-ledger" role="table"><caption>All recorded claims</caption>'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">\n{"".join(rows)}</tbody></table></div>'
    )
    return raw_html(f'{form}{table}{note}<script src="_static/ledger.js"></script>')


def _select(name: str, label: str, options: Iterable[tuple[str, str]]) -> str:
    entries = "".join(
        f'<option value="{html.escape(value)}">{html.escape(text)}</option>'
        for value, text in options
    )
    return (
        f'<label>{label} <select name="{name}"><option value="">all</option>{entries}</select>'
        "</label>"
    )


def _ledger_row(chapter: Chapter, record: ClaimRecord) -> str:
    article = chapter.article
    link = f"{chapter.page}.html#{claim_anchor(record.claim)}"
    cells = (
        ("Claim", f'<a href="{link}">{article.id} {html.escape(record.claim)}</a>'
         f"<small>{html.escape(article.title)}</small>"),
        ("Statement", _with_note(record)),
        ("Kind", html.escape(record.kind)),
        ("Verdict", verdict_chips(record)),
        ("Measured", facts_html(record)),
    )  # fmt: skip
    inner = "".join(f'<td role="cell" data-label="{name}">{value}</td>' for name, value in cells)
    return (
        f'<tr role="row" data-chapter="{article.id}" data-kind="{html.escape(record.kind)}" '
        f'data-verdict="{html.escape("|".join(record.verdicts))}">{inner}</tr>\n'
    )


def _with_note(record: ClaimRecord) -> str:
    note = f'<small class="kexian-note">{inline_html(record.note)}</small>' if record.note else ""
    return inline_html(record.sentence) + note


# -- errata ---------------------------------------------------------------------------------------

_ERRATA = re.compile(r"^(#{2,4})\s+(.*\b(?:err|errs|errata|erratum|aged)\b.*)$", re.I | re.M)


def written_errata(chapter: Chapter) -> tuple[str, str] | None:
    """The title and the text of a notebook's section on where the article errs, or None."""
    text = "\n\n".join(
        "".join(cell["source"]) for cell in chapter.notebook["cells"]
        if cell["cell_type"] == "markdown"
    )  # fmt: skip
    match = _ERRATA.search(text)
    if match is None:
        return None
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{len(match[1])}}}\s", rest, re.M)
    return match[2].strip(), (rest[: end.start()] if end else rest).strip()


def errata(book: Book, _: str) -> str:
    """Where measurement or argument contradicts an article, with the evidence."""
    blocks = []
    for chapter in book.chapters:
        article = chapter.article
        found = [
            record
            for record in chapter.claims
            if record.kind == "erratum" or "refuted" in record.verdicts
        ]
        written = written_errata(chapter)
        if not found and not written:
            continue
        blocks.append(
            f"## {article.title}\n\nOn [{article.title_zh}]({article.url}) ({article.date}); "
            f"chapter: [{article.title}]({chapter.page}.ipynb)."
        )
        if found:
            lines = [_erratum(chapter, record) for record in found]
            measured = "### Measured\n\n" + raw_html(
                '<ul class="kexian-errata">\n' + "\n".join(lines) + "\n</ul>"
            )
            blocks.append(measured)
        if written:
            # Headings inside the section would break this page's outline.
            body = re.sub(r"^#+\s+(.*)$", r"**\1**", written[1], flags=re.M)
            place = f"{chapter.page}.html#{_heading_id(written[0])}"
            source = (
                f'<p>From <a href="{place}">{inline_html(written[0])}</a>; the equations, cells '
                "and sections that it names are the chapter's.</p>"
            )
            blocks.append("### Found in the derivation\n\n" + raw_html(source + block_html(body)))
    return "\n\n".join(blocks) or "No chapter has recorded an erratum yet."


def _heading_id(title: str) -> str:
    """The id that Sphinx gives to a heading."""
    from docutils.nodes import make_id

    return make_id(re.sub(r"[$*`]", "", title))


def _erratum(chapter: Chapter, record: ClaimRecord) -> str:
    link = f"{chapter.page}.html#{claim_anchor(record.claim)}"
    return (
        f'<li>{verdict_chips(record)} <a href="{link}">{html.escape(record.claim)}</a>: '
        f"{_with_note(record)}{facts_html(record)}</li>"
    )


# -- status ---------------------------------------------------------------------------------------


def status(book: Book, _: str) -> str:
    """When, with what and for how long each chapter was run."""
    if not book.chapters:
        return "No chapter has been run yet."
    rows = []
    for chapter in book.chapters:
        run, study = chapter.run, chapter.study
        versions = run.get("versions", {})
        shown = ", ".join(f"{name} {number}" for name, number in versions.items())
        counts = Counter(record.verdicts[-1] for record in chapter.claims)
        claims = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])
        cells = [
            ("Chapter", f'<a href="{chapter.page}.html">{html.escape(chapter.article.title)}</a>'),
            ("Run", html.escape(str(run.get("date", "–")))),
            ("Setting", html.escape(
                f"{run.get('profile', '–')}, seed {run.get('seed', '–')}, "
                f"{run.get('backend', '–')}, {_threads(run.get('threads'))}")),
            ("Time", f"{run.get('wall_seconds', '–')} s (processor: "
             f"{run.get('cpu_seconds', '–')} s) on {html.escape(run.get('processor', '–'))}"),
            ("Budget", ", ".join(
                f"{profile} {seconds:g} s"
                for profile, seconds in chapter.article.budget.items()
            ) or "–"),
            ("Claims", html.escape(claims) or "–"),
            ("Study", html.escape(f"{study['date'][:10]}, seed {study['seed']}, "
             f"{study['backend']}, {study['wall_seconds']} s") if study else "none"),
            ("Versions", html.escape(shown) or "–"),
        ]  # fmt: skip
        rows.append(
            '<dl class="kexian-status">'
            + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cells)
            + "</dl>"
        )
    return raw_html("\n".join(rows))


def _threads(number: Any) -> str:
    return {None: "–", 0: "all threads", 1: "1 thread"}.get(number, f"{number} threads")


GENERATORS: dict[str, Callable[[Book, str], str]] = {
    "contents": contents,
    "errata": errata,
    "finished": finished,
    "gallery": gallery,
    "ledger": ledger,
    "part": part_list,
    "status": status,
}
