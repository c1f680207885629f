"""The parts of the book's pages that are written from the notebooks' stored outputs.

A page under ``book/`` holds its own words and a line such as ``<!-- kexian:ledger -->``, which the
build replaces by what this module writes. So no measured number is ever typed into a page.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

from PIL import Image

from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.experiment.claims import KINDS, VERDICTS, ClaimRecord, recorded_claims
from kexian_utils.experiment.records import outputs, read_study
from kexian_utils.mime import FIGURE_MIME, HEADLINE_MIME, RUN_MIME, YARDSTICK_MIME
from kexian_utils.runner.pages.mime_renderer import claim_anchor, verdict_class
from kexian_utils.runner.pages.pictures import light_and_dark
from kexian_utils.runner.pages.references import bibliography_markdown

MARK = re.compile(r"^<!-- kexian:([\w-]+)(?:\s+(.+?))??\s*-->$", re.MULTILINE | re.DOTALL)


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
        with_library: whether there are pages on the library.
        references: the bibliography in BibTeX, or None.
        translate: gives a sentence of the build in the language of the book; None for English.
        library_elsewhere: whether they are in another edition, in the folder above this one.
    """

    catalogue: Catalogue
    chapters: tuple[Chapter, ...]
    pictures: Path | None = None
    with_library: bool = False
    references: Path | None = None
    translate: Callable[[str], str] | None = None
    library_elsewhere: bool = False
    _by_id: dict[str, Chapter] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        self._by_id.update({chapter.article.id: chapter for chapter in self.chapters})

    def say(self, sentence: str, *values: Any) -> str:
        """A sentence in the language of the book; its slots {1}, {2} take the values."""
        words = self.translate(sentence) if self.translate else sentence
        return re.sub(r"\{(\d+)\}", lambda slot: str(values[int(slot[1]) - 1]), words)

    def chapter(self, article: Article) -> Chapter | None:
        """The finished chapter of an article, or None while it is still to come."""
        return self._by_id.get(article.id)


def load_chapter(article: Article, notebook: Any, study: Path | None) -> Chapter:
    """A chapter from its notebook and the path of its study record (None: there is none)."""
    return Chapter(article, notebook, read_study(study) if study else None)


def fill(text: str, book: Book) -> str:
    """Replace every ``<!-- kexian:NAME WORDS -->`` of a page by what is generated for NAME.

    Raises:
        ValueError: nothing is known by that name.
    """

    def replace(match: re.Match[str]) -> str:
        name, argument = match[1], match[2] or ""
        if name not in GENERATORS:
            raise ValueError(
                f"a page asks for 'kexian:{name}'; known are {', '.join(sorted(GENERATORS))}"
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


def page_html(template: str, **values: Any) -> str:
    """A template of this package, filled in; what is not HTML already is escaped."""
    return raw_html(_environment().get_template(template).render(**values).strip())


@cache
def _environment() -> Any:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("kexian_utils.runner.pages"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "inline": lambda text: Markup(inline_html(text)),
        "verdict_class": verdict_class,
        "claim_anchor": claim_anchor,
    }
    return environment


def _counts(chapter: Chapter) -> list[tuple[str, int]]:
    """How many claims have each verdict, in the usual order; the study's where it decided."""
    counts = Counter(record.verdicts[-1] for record in chapter.claims)
    return [(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]]


# -- part openers ---------------------------------------------------------------------------------


def part_list(book: Book, part: str) -> str:
    """The articles of a part: finished ones linked, the others named as still to come."""
    rows = []
    for article in book.catalogue.select(part):
        chapter = book.chapter(article)
        rows.append((article, chapter, _counts(chapter) if chapter else []))
    return page_html("part.html", rows=rows)


def contents(book: Book, _: str) -> str:
    """A card for each of the nine parts, with its finished chapters."""
    rows = []
    for part in book.catalogue.parts:
        articles = book.catalogue.select(part.id)
        ready = [c for article in articles if (c := book.chapter(article)) is not None]
        rows.append((part, ready, len(articles)))
    return page_html("contents.html", rows=rows)


def yardstick(book: Book, _: str) -> str:
    """The generative models of all chapters and their rivals, best first, a table for each task."""
    from kexian_utils.generative import yardstick as ruler

    found: dict[str, dict[tuple[str, str], ruler.Entry]] = {task: {} for task in ruler.TASKS}
    for chapter in book.chapters:
        article = chapter.article
        link = f"[{article.title}](../{chapter.page}.ipynb)"
        for record in chapter.records(YARDSTICK_MIME):
            for part, origin in (("rows", link), ("rivals", "")):
                for row in record[part]:
                    found[record["task"]][row["name"], origin] = ruler.Entry(**row)
    return "\n\n".join(
        f"**{book.say(ruler.TITLES[task])}**\n\n"
        + ruler.ranking(task, [*rows.values()], [origin for _, origin in rows], book.say)
        for task, rows in found.items()
        if rows
    )


# -- front page -----------------------------------------------------------------------------------


def front_picture(book: Book, id: str) -> str:
    """The headline figure of a chapter with its caption; of any chapter if that one is to come."""
    wanted = sorted(book.chapters, key=lambda chapter: chapter.article.id != id)
    for chapter in wanted:
        found = picture_of(book, chapter)
        if found is not None:
            record = next(r for r in chapter.records(FIGURE_MIME) if r.get("headline"))
            caption = _NUMBERED.sub("", record.get("caption", ""))
            title = html.escape(chapter.article.title)
            width, height = picture_size(chapter)
            return page_html(
                "front.html",
                chapter=chapter,
                files=found[0],
                alt=found[1],
                caption=caption,
                source=book.say("From {1}.", f'<a href="{chapter.page}.html">{title}</a>'),
                width=width,
                height=height,
            )
    return ""


_NUMBERED = re.compile(r"^\*\*(?:Figure|图) \d+(?:\.\*\*|\*\*。)\s*")


def picture_size(chapter: Chapter) -> tuple[int, int]:
    """Width and height of the chapter's headline figure in pixels of the file."""
    found = headline_picture(chapter)
    with Image.open(io.BytesIO(found[0] if found else b"")) as picture:
        return picture.size


def start(book: Book, lines: str) -> str:
    """Chapters to begin with: lines "ID: why"; those that are to come are left out.

    Raises:
        ValueError: a line has no article, or says no reason.
    """
    chosen = []
    for line in lines.splitlines():
        id, colon, why = line.partition(":")
        if not colon or not why.strip():
            raise ValueError(f"kexian:start wants lines 'ID: why', got {line!r}")
        chapter = book.chapter(book.catalogue.article(id))
        if chapter is not None:
            chosen.append((chapter, why.strip()))
    return page_html("start.html", chosen=chosen) if chosen else ""


def state(book: Book, _: str) -> str:
    """How far the book is, and its verdicts as a bar whose pieces lead into the ledger."""
    counts = Counter(claim.verdicts[-1] for chapter in book.chapters for claim in chapter.claims)
    return page_html(
        "state.html",
        counts=[(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]],
        claims=sum(counts.values()),
        ready=len(book.chapters),
        articles=len(book.catalogue.articles),
    )


def finished(book: Book, _: str) -> str:
    """One line: how many chapters and claims there are, and how many are to come."""
    articles = book.catalogue.articles
    decided = sum(len(chapter.claims) for chapter in book.chapters)
    total = sum(len(article.claims) for article in articles)
    names = ", ".join(f"[{c.article.title}]({c.page}.ipynb)" for c in book.chapters)
    count = len(book.chapters)
    are = "is" if count == 1 else "are"
    first = book.say(f"**State of the book.** {{1}} of {{2}} chapters {are} finished", count,
                     len(articles))  # fmt: skip
    rest = book.say(
        "with {1} of {2} claims recorded. The others are listed in their parts with links to the "
        "originals.", decided, total,
    )  # fmt: skip
    comma = book.say(", ")
    return f"{first}{f' ({names})' if names else ''}{comma}{rest}"


# -- gallery --------------------------------------------------------------------------------------


def library_link(book: Book, page: str) -> str:
    """A sentence that leads to the pages on the library, or to one of them, if there are any."""
    if book.library_elsewhere:
        if page == "losses-compared":
            words, way = book.say("All losses of the book side by side"), "../../library/"
            return f'<a href="{way}losses-compared.html">{words}</a>{book.say(", with sliders.")}'
        words = book.say("the library")
        before = book.say("What the chapters import has pages of its own:")
        return f'{before}<a href="../library/index.html">{words}</a>{book.say(" (in English).")}'
    if not book.with_library:
        return ""
    if page == "losses-compared":
        return "[All losses of the book side by side](../library/losses-compared.md), with sliders."
    return (
        "What the chapters import has pages of its own: [the library](library/index.md), for "
        "example `from kexian_utils.losses import MultilabelCategoricalCrossentropy`."
    )


def headline_picture(chapter: Chapter) -> tuple[bytes, dict[str, Any]] | None:
    """The PNG of the chapter's headline figure and its metadata ("alt", "colours"), or None."""
    for cell in chapter.notebook["cells"]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            record = data.get(FIGURE_MIME)
            if isinstance(record, dict) and record.get("headline") and "image/png" in data:
                metadata = {"alt": record["alt"], **output["metadata"].get("image/png", {})}
                return base64.b64decode(data["image/png"]), metadata
    return None


def picture_of(book: Book, chapter: Chapter) -> tuple[dict[str, str], str] | None:
    """The gallery's files of the chapter's headline figure ("light", "dark"), and its alt text."""
    found = headline_picture(chapter)
    if found is None:
        return None
    png, metadata = found
    files = {name: f"{chapter.article.slug}-{name}.webp" for name in ("light", "dark")}
    if book.pictures is not None and not (book.pictures / files["dark"]).is_file():
        book.pictures.mkdir(parents=True, exist_ok=True)
        picture: Image.Image = Image.open(io.BytesIO(png))
        for name, small in light_and_dark(picture, metadata.get("colours", ())).items():
            (book.pictures / files[name]).write_bytes(small)
    return files, metadata["alt"]


def gallery(book: Book, _: str) -> str:
    """One card for each chapter that has a headline figure."""
    cards = []
    for chapter in book.chapters:
        found = picture_of(book, chapter)
        if found is not None:
            cards.append((chapter, *found))
    return page_html("gallery.html", cards=cards) if cards else "No chapter is finished yet."


# -- ledger ---------------------------------------------------------------------------------------


def ledger(book: Book, _: str) -> str:
    """Every recorded claim as one table, with the controls that filter it."""
    claims = [(chapter, claim) for chapter in book.chapters for claim in chapter.claims]
    to_come = [a for a in book.catalogue.articles if book.chapter(a) is None]
    return page_html(
        "ledger.html",
        claims=claims,
        chapters={chapter.article.id: chapter.article.title for chapter, _ in claims}.items(),
        kinds=[(kind, kind) for kind in KINDS],
        verdicts=[(verdict, verdict) for verdict in VERDICTS],
        claims_to_come=sum(len(article.claims) for article in to_come),
        chapters_to_come=len(to_come),
    )


# -- errata ---------------------------------------------------------------------------------------

_ERRATA = re.compile(r"\b(?:err|errs|errata|erratum|aged)\b", re.I)
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*$", re.M)


def written_errata(chapter: Chapter) -> tuple[str, str, str] | None:
    """The title, the id and the text of a notebook's section on where the article errs, or None.

    A translated notebook keeps the headings of the original, by which the section is found.
    """
    text = "\n\n".join(
        "".join(cell["source"]) for cell in chapter.notebook["cells"]
        if cell["cell_type"] == "markdown"
    )  # fmt: skip
    found = list(_HEADING.finditer(text))
    first = chapter.notebook["metadata"].get("headings") or [match[2] for match in found]
    for match, name in zip(found, first, strict=True):
        if len(match[1]) in (2, 3, 4) and _ERRATA.search(name):
            rest = text[match.end() :]
            end = re.search(rf"^#{{1,{len(match[1])}}}\s", rest, re.M)
            return match[2], _heading_id(name), (rest[: end.start()] if end else rest).strip()
    return None


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
            html = page_html("errata.html", chapter=chapter, claims=found)
            blocks.append(f"{_subheading('Measured')}\n\n{html}")
        if written:
            # Headings inside the section would break this page's outline.
            body = re.sub(r"^#+\s+(.*)$", r"**\1**", written[2], flags=re.M)
            place = f"{chapter.page}.html#{written[1]}"
            source = (
                f'<p>From <a href="{place}">{inline_html(written[0])}</a>; the equations, cells '
                "and sections that it names are the chapter's.</p>"
            )
            heading = _subheading("Found in the derivation")
            blocks.append(f"{heading}\n\n" + raw_html(source + block_html(body)))
    return "\n\n".join(blocks) or "No chapter has recorded an erratum yet."


def _subheading(title: str) -> str:
    """A heading that the page's contents do not repeat for every chapter."""
    return raw_html(f"<h3>{title}</h3>")


def _heading_id(title: str) -> str:
    """The id that Sphinx gives to a heading."""
    from docutils.nodes import make_id

    return make_id(re.sub(r"[$*`]", "", title))


# -- bibliography ---------------------------------------------------------------------------------

_CITED = re.compile(r"^<!-- references: (.*?) -->$", re.MULTILINE)


def bibliography(book: Book, _: str) -> str:
    """All works that are cited, with the chapters that cite them."""
    cited_in: dict[str, list[str]] = {}
    for chapter in book.chapters:
        for cell in chapter.notebook["cells"]:
            if cell["cell_type"] == "markdown":
                for match in _CITED.finditer("".join(cell["source"])):
                    for key in match[1].split():
                        link = f"[{chapter.article.title}]({chapter.page}.ipynb)"
                        cited_in.setdefault(key, []).append(link)
    if book.references is None or not book.references.is_file():
        return "Nothing is cited yet."
    return bibliography_markdown(book.references, cited_in) or "Nothing is cited yet."


# -- status ---------------------------------------------------------------------------------------


def status(book: Book, _: str) -> str:
    """When, with what and for how long each chapter was run."""
    if not book.chapters:
        return "No chapter has been run yet."
    return "\n\n".join(
        f"## {chapter.article.title}\n\n" + page_html("status.html", rows=_status(chapter))
        for chapter in book.chapters
    )


def _status(chapter: Chapter) -> list[tuple[str, str]]:
    from markupsafe import Markup

    run, study = chapter.run, chapter.study
    versions = run.get("versions", {})
    return [
        (
            "Chapter",
            Markup('<a href="{}.html">{}</a>').format(chapter.page, chapter.article.title),
        ),
        ("Run", str(run.get("date", "–"))),
        (
            "Setting",
            f"{run.get('profile', '–')}, seed {run.get('seed', '–')}, "
            f"{run.get('backend', '–')}, {_threads(run.get('threads'))}",
        ),
        (
            "Time",
            f"{run.get('wall_seconds', '–')} s (processor: {run.get('cpu_seconds', '–')} s) on "
            f"{run.get('processor', '–')}",
        ),
        ("Budget", ", ".join(f"{k} {v:g} s" for k, v in chapter.article.budget.items()) or "–"),
        ("Claims", ", ".join(f"{n} {verdict}" for verdict, n in _counts(chapter)) or "–"),
        (
            "Study",
            f"{study['date'][:10]}, seed {study['seed']}, {study['backend']}, "
            f"{study['wall_seconds']} s"
            if study
            else "none",
        ),
        ("Versions", ", ".join(f"{name} {v}" for name, v in versions.items()) or "–"),
    ]


def _threads(number: Any) -> str:
    return {None: "–", 0: "all threads", 1: "1 thread"}.get(number, f"{number} threads")


GENERATORS: dict[str, Callable[[Book, str], str]] = {
    "bibliography": bibliography,
    "contents": contents,
    "errata": errata,
    "finished": finished,
    "front-picture": front_picture,
    "gallery": gallery,
    "ledger": ledger,
    "library": library_link,
    "part": part_list,
    "start": start,
    "state": state,
    "status": status,
    "yardstick": yardstick,
}
