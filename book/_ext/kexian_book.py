"""The book's own Sphinx extension: search, launch buttons, the language of Chinese text, and what
the theme's pages lack.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from kexian_bar import add_about
from kexian_download import write_copies
from kexian_page import mend, with_room_for_pictures
from kexian_publish import add_meta, lost_page, write_addresses
from kexian_references import LinkReferences, drop_unused_scripts
from kexian_search import HAN
from kexian_search import register as register_search

# Han characters with the Chinese punctuation between and around them.
_PUNCTUATION = "\u3000-\u303f\uff01-\uff5e\u201c\u201d\u2018\u2019\u2026\u2014·"
_RUN = re.compile(
    rf"[\u3000-\u303f\uff08]*[{HAN}](?:[{HAN}{_PUNCTUATION}]*[{HAN}\u3000-\u303f\uff01-\uff5e])?"
)
_PIECES = re.compile(
    r"(<!--.*?-->|<script\b.*?</script>|<style\b.*?</style>|<title\b.*?</title>|<[^>]+>)",
    re.DOTALL | re.IGNORECASE,
)
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>")
_VOID = set("area base br col embed hr img input link meta source track wbr".split())
_SKIP = {"code", "pre", "textarea", "svg", "option", "select", "math"}
_SKIP_CLASS = re.compile(r"\bclass=\"[^\"]*\b(?:math|highlight)\b")
_MARKED = re.compile(r"\blang=\"zh")


def mark_chinese(page: str) -> str:
    """Put ``<span lang="zh">`` around runs of Han characters in the text of an HTML page.

    Code, formulas, drawings, scripts, attributes and text that is marked already stay as they are.
    """
    out: list[str] = []
    skipping: list[str] = []
    for piece in _PIECES.split(page):
        tag = _TAG.fullmatch(piece)
        if tag:
            closing, name, attributes = tag[1], tag[2].lower(), tag[3]
            if name not in _VOID and not attributes.endswith("/"):
                if closing:
                    if skipping and skipping[-1] == name:
                        skipping.pop()
                elif skipping:
                    # Inside a skipped element only elements of the same name need counting.
                    if name == skipping[0]:
                        skipping.append(name)
                elif name in _SKIP or _SKIP_CLASS.search(attributes) or _MARKED.search(attributes):
                    skipping.append(name)
        elif not skipping and piece and not piece.startswith("<"):
            piece = _RUN.sub(lambda run: f'<span lang="zh">{run[0]}</span>', piece)
        out.append(piece)
    return "".join(out)


def launch_links(repository: str, branch: str, path: str) -> list[tuple[str, str]]:
    """Return (label, address) of the services that open a notebook of a public repository.

    Args:
        repository: "https://github.com/OWNER/NAME", or "" when none is set: then no link.
        branch: the branch that holds the notebook.
        path: the notebook's path in the repository.
    """
    if not repository:
        return []
    match = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(?:\.git)?/?", repository)
    if match is None:
        raise ValueError(
            "the repository in pyproject.toml, [tool.kexian], must look like "
            f"'https://github.com/OWNER/NAME', got {repository!r}"
        )
    name = f"{match[1]}/{match[2]}"
    return [
        ("Open in Colab", f"https://colab.research.google.com/github/{name}/blob/{branch}/{path}"),
        (
            "Launch in JupyterLab (Binder)",
            f"https://mybinder.org/v2/gh/{name}/{branch}?urlpath=lab/tree/{path}",
        ),
    ]


def _add_chapter_bar(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    source = Path(app.srcdir) / f"{pagename}.ipynb"
    if doctree is None or "body" not in context or not source.is_file():
        return
    # "_sources" holds the very file from which the page was made.
    here = context["pathto"](f"_sources/{pagename}.ipynb", 1)
    name = source.name
    links = [f'<a href="{html.escape(here)}" download="{name}">Download notebook</a>']
    config = app.config
    for label, address in launch_links(
        config.kexian_repository, config.kexian_branch, f"notebooks/{pagename}.ipynb"
    ):
        links.append(f'<a href="{html.escape(address)}" rel="noopener">{label}</a>')
    bar = f'<p class="kexian-bar">{" ".join(links)}</p>'
    # A folded cell is called what stands there, not "Toggle hidden content".
    body = context["body"].replace('<summary aria-label="Toggle hidden content">', "<summary>")
    context["body"] = body.replace("</h1>", f"</h1>\n{bar}", 1)


def _note_formulas(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    # Sphinx loads MathJax where the page's source has formulas; generated HTML has them as well.
    if 'class="math' in context.get("body", ""):
        app.env.get_domain("math").data["has_equations"][pagename] = True


def _finish(app: Any, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    for path in Path(app.outdir).rglob("*.html"):
        if "_static" in path.parts or "_sources" in path.parts:
            continue
        page = path.read_text(encoding="utf-8")
        name = path.relative_to(app.outdir).with_suffix("").as_posix()
        page = with_room_for_pictures(mend(page, name), path.parent)
        if not (app.config.language or "en").startswith("zh"):
            page = mark_chinese(page)
        path.write_text(page, encoding="utf-8")
    write_copies(Path(app.outdir) / "_sources")
    if app.config.html_baseurl:
        write_addresses(Path(app.outdir), app.config.html_baseurl, app.config.kexian_chapters)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_config_value("kexian_repository", "", "html", [str])
    app.add_config_value("kexian_branch", "main", "html", [str])
    app.add_config_value("kexian_chapters", {}, "env", [dict])
    app.add_post_transform(LinkReferences)
    register_search(app)
    app.connect("html-page-context", _add_chapter_bar)
    app.connect("html-page-context", add_about, priority=600)  # below the bar
    app.connect("html-page-context", add_meta, priority=600)
    app.connect("html-page-context", drop_unused_scripts, priority=700)
    app.connect("html-collect-pages", lost_page)
    app.connect("html-page-context", _note_formulas, priority=100)  # before Sphinx looks
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": False}
