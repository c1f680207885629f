"""References in prose become links: "(5)", "C8", "section 6", "Figure 2", "exercise 3", "6992".

The chapters are plain CommonMark, so that they read the same in JupyterLab and on Colab; what they
refer to is found here, when the page is written. A reference is linked only if its target exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

CLASS = "kexian-ref"
_TAG = re.compile(r"\\tag\{([^}]*)\}")
_LABEL = r"\d{1,2}[a-z]?['\u2019]?"
# Of several all are links: "sections 3 and 4", "Figures 2, 3 and 5", "sections 5 to 11".
_MORE = r"(?:(?:, | and |, and | or | to |[–-])\d{1,2})+"
_REFERENCE = re.compile(
    rf"(?P<equation>\({_LABEL}\))(?! of (?:the|their) (?:\w+ ){{0,4}}paper)"
    rf"|(?P<kind>[Ss]ection|[Ff]igure|[Ee]xercise)(?P<numbers>s\s\d{{1,2}}{_MORE}|\s\d{{1,2}})"
    r"(?![\d%]|\.\d)"
    r"|(?P<chinese>图|习题)\s?\d{1,2}(?![\d%]|\.\d)|(?P<section>第\s?\d{1,2}\s?节)"
    r"|(?<![\w./-])(?:(?P<article>\d{4,5})(?:\s(?P<there>C\d{1,2}[a-z]?))?"
    r"|(?P<claim>C\d{1,2}[a-z]?))(?![\w-]|[.,/]\d)"
)
_CHINESE = {"图": "figure", "习题": "exercise"}
_SILENT = (
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.raw,
    nodes.math,
    nodes.math_block,
    nodes.title,
    nodes.comment,
    nodes.image,
)


@dataclass
class Targets:
    """What one page can refer to: the ids of its places, by kind and label."""

    places: dict[tuple[str, str], str] = field(default_factory=dict)
    pages: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # article: address, title

    def find(self, kind: str, label: str) -> str | None:
        """The address of a place on this page."""
        place = self.places.get((kind, label.replace("\u2019", "'")))
        return f"#{place}" if place else None


def mark_targets(document: nodes.document) -> dict[tuple[str, str], str]:
    """Give ids to equations, figures and exercises; return the id of every possible target."""
    places: dict[tuple[str, str], str] = {}
    for block in document.findall(nodes.math_block):
        for tag in _TAG.findall(block.astext()):
            name = f"eq-{tag.replace(chr(39), '-prime')}"
            block["ids"].append(name)
            places["equation", tag] = name
    for section in document.findall(nodes.section):
        number = re.match(r"(\d+)\.\s", section[0].astext())
        if number:
            places["section", number[1]] = section["ids"][0]
    for box in document.findall(nodes.container):
        for name in box["ids"]:
            if name.startswith("claim-c"):
                places["claim", name.removeprefix("claim-").capitalize()] = name
    for kind, label, paragraph in list(_labelled(document)):
        name = f"{kind}-{label}"
        if (kind, label) in places:
            continue
        places[kind, label] = name
        if kind == "exercise":
            paragraph["ids"].append(name)
            continue
        # A caption stands below its picture, and the picture is where one wants to arrive.
        parent = paragraph.parent
        place = max(0, parent.index(paragraph) - 1)
        while place and isinstance(parent[place - 1], nodes.image):  # for light pages, for dark
            place -= 1
        parent.insert(place, nodes.target("", "", ids=[name]))
    return places


def _labelled(document: nodes.document) -> Iterator[tuple[str, str, nodes.paragraph]]:
    for paragraph in document.findall(nodes.paragraph):
        strong = _first(paragraph)
        if not isinstance(strong, nodes.strong):
            continue
        text = strong.astext()
        figure = re.match(r"(?:Figure|图) (\d+)(?:[.。]|$)", text)
        exercise = re.fullmatch(r"(\d+)\.", text)
        if figure:
            yield "figure", figure[1], paragraph
        elif exercise and _in_exercises(paragraph):
            yield "exercise", exercise[1], paragraph


def _first(paragraph: nodes.Element) -> nodes.Node | None:
    """The first child that says something; MyST puts empty texts between."""
    return next((child for child in paragraph.children if child.astext()), None)


def _in_exercises(node: nodes.Node) -> bool:
    while node is not None:
        if isinstance(node, nodes.section):
            return any(word in node[0].astext() for word in ("Exercises", "习题"))
        node = node.parent
    return False


def link_references(document: nodes.document, targets: Targets) -> None:
    """Replace the references in the prose of a page by links."""
    for parent in list(document.findall(nodes.TextElement)):
        if isinstance(parent, _SILENT) or _within(parent, _SILENT):
            continue
        _join_texts(parent)
        for text in [child for child in parent.children if isinstance(child, nodes.Text)]:
            if _in_raw_link(text) or _is_label(text):
                continue
            made = list(_pieces(text, targets))
            if len(made) > 1 or not isinstance(made[0], nodes.Text):
                parent.replace(text, made)


def _pieces(text: nodes.Text, targets: Targets) -> Iterator[nodes.Node]:
    words, done = str(text), 0
    for match in _REFERENCE.finditer(words):
        for start, end, address, title in _links(match, targets):
            if address is None or _holds(text, address):
                continue
            if start > done:
                yield nodes.Text(words[done:start])
            link = nodes.reference("", words[start:end], refuri=address, internal=True)
            link["classes"].append(CLASS)
            if title:
                link["reftitle"] = title
            yield link
            done = end
    if done < len(words) or not done:
        yield nodes.Text(words[done:])


def _links(match: re.Match[str], targets: Targets) -> Iterator[tuple[int, int, str | None, str]]:
    """Start, end, address and title of each link in one match."""
    if match["equation"]:
        address = targets.find("equation", match["equation"][1:-1])
        yield (*match.span("equation"), address, "")
    elif match["kind"]:
        start = match.start("kind")
        for number in re.finditer(r"\d+", match["numbers"]):
            place = match.start("numbers") + number.start()
            end = place + len(number[0])
            yield start, end, targets.find(match["kind"].lower(), number[0]), ""
            start = end + len(_between(match.string[end:]))
    elif match["chinese"] or match["section"]:
        number = re.search(r"\d+", match[0])[0]  # type: ignore[index]
        kind = _CHINESE.get(match["chinese"], "section")
        yield (*match.span(), targets.find(kind, number), "")
    elif match["claim"]:
        yield (*match.span("claim"), targets.find("claim", match["claim"]), "")
    elif match["article"] in targets.pages:
        address, title = targets.pages[match["article"]]
        if match["there"]:
            address += f"#claim-{match['there'].lower()}"
        yield (*match.span(), address, title)


def _between(rest: str) -> str:
    """What stands between two numbers of a list."""
    return rest[: re.match(r"\D*", rest).end()]  # type: ignore[union-attr]


def _join_texts(parent: nodes.Element) -> None:
    """Make one text of neighbours: a line break of the source cuts them in two."""
    joined: list[nodes.Node] = []
    for child in parent.children:
        if isinstance(child, nodes.Text) and joined and isinstance(joined[-1], nodes.Text):
            joined[-1] = nodes.Text(str(joined[-1]) + str(child))
        else:
            joined.append(child)
    if len(joined) < len(parent.children):
        parent[:] = joined


def _within(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    above = node.parent
    while above is not None:
        if isinstance(above, kinds):
            return True
        above = above.parent
    return False


def _in_raw_link(text: nodes.Text) -> bool:
    place = text.parent.index(text)
    before = text.parent[place - 1] if place else None  # `<a href=…>` in Markdown is three nodes
    return isinstance(before, nodes.raw) and before.astext().startswith("<a ")


def _is_label(text: nodes.Text) -> bool:
    """Whether the text is the name of the thing itself: of a figure, a claim, an exercise."""
    strong = text.parent
    return (
        isinstance(strong, nodes.strong)
        and isinstance(strong.parent, nodes.paragraph)
        and _first(strong.parent) is strong
        and bool(re.match(r"(?:Figure )?\d+\.|图 \d+[.。]?$|C\d+", str(text)))
    )


def _holds(text: nodes.Text, address: str) -> bool:
    """Whether the text stands in its own target."""
    node = text.parent
    while node is not None:
        if isinstance(node, (nodes.container, nodes.paragraph)) and address[1:] in node["ids"]:
            return True
        node = node.parent
    return False


class LinkReferences(SphinxPostTransform):
    """Sphinx's part: which chapters there are, and where a page lies."""

    default_priority = 20  # the outputs are chosen, the cells not yet folded
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        """Link the references of one page."""
        here = self.env.docname
        builder = self.app.builder
        pages = {
            facts["id"]: (builder.get_relative_uri(here, page), facts["title"])
            for page, facts in self.config.kexian_chapters.items()
            if page != here
        }
        link_references(self.document, Targets(mark_targets(self.document), pages))


# A script is asked for by the pages that hold what it works on.
_USED_BY = {"previews.js": f'class="{CLASS} ', "code.js": "kexian-code-switch"}


def drop_unused_scripts(
    app: Any, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Leave out the scripts that a page has no use for."""
    body = context.get("body", "")
    unused = tuple(name for name, mark in _USED_BY.items() if mark not in body)
    context["script_files"] = [
        script
        for script in context["script_files"]
        if not str(script.filename).split("?")[0].endswith(unused)
    ]
