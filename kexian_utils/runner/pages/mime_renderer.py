"""How the book shows the project's own kinds of output.

Found by MyST-NB through the entry point `myst_nb.mime_renderers`. A claim becomes a line with its
verdict, to which the ledger links; a picture gets the alternative text that the notebook recorded
with it; records that only programs read show nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from kexian_utils.experiment.claims import CLAIMS_HEAD, ClaimRecord, Finding
from kexian_utils.experiment.records import FINISHED
from kexian_utils.mime import (
    CLAIM_MIME,
    FIGURE_MIME,
    HEADLINE_MIME,
    RUN_MIME,
    YARDSTICK_MIME,
)
from kexian_utils.runner.pages.pictures import light_and_dark

if TYPE_CHECKING:
    from docutils.nodes import Element
    from myst_nb.core.render import MimeData, NbElementRenderer

_SILENT = {RUN_MIME, FIGURE_MIME, HEADLINE_MIME, YARDSTICK_MIME}


def claim_anchor(claim: str) -> str:
    """The id of a claim's place in its chapter: "claim-c3" for "C3"."""
    return f"claim-{claim.lower()}"


def verdict_class(verdict: str) -> str:
    """The CSS class of a verdict: "kexian-not-run" for "not run"."""
    return f"kexian-{verdict.replace(' ', '-')}"


class KexianMimeRenderer:
    """MyST-NB's plugin interface: `handle_mime` returns nodes, or None to let others render."""

    # Before text/plain, so that a claim's line replaces the plain one.
    mime_priority_overrides = [("html", CLAIM_MIME, 5)]

    @staticmethod
    def handle_mime(
        renderer: NbElementRenderer, data: MimeData, inline: bool
    ) -> list[Element] | None:
        """Render one part of an output; see MyST-NB for the arguments."""
        if data.mime_type in _SILENT:
            return []
        if inline:
            return None
        if data.mime_type == "text/plain" and data.content.strip() == FINISHED:
            return []
        if data.mime_type == CLAIM_MIME:
            record = data.content
            content = json.loads(record) if isinstance(record, str) else record
            return _claim(renderer, data, ClaimRecord.from_json(content))
        if data.mime_type == "image/png":
            return _image(renderer, data)
        if data.mime_type == "text/markdown" and CLAIMS_HEAD in data.content:
            return renderer.render_markdown(replace(data, content=linked_claims(data.content)))
        return None


def linked_claims(table: str) -> str:
    """The table that closes a chapter, with links to the claims instead of what was measured.

    The claims themselves stand on the same page, with all that was measured.

    Args:
        table: as :func:`kexian_utils.experiment.claims.claims_markdown` makes it; text before it,
            such as the headline, stays.
    """
    before, _, table = table.rpartition(CLAIMS_HEAD)
    rows = [f"{before}| claim | statement | verdict |", "|:--|:--|:--|"]
    for row in table.splitlines()[2:]:
        if not row.startswith("| "):
            rows.append(row)
            continue
        name, statement, verdict = row[2:-2].split(" | ", 2)
        claim, _, kind = name.partition("<br>")
        link = f'<a href="#{claim_anchor(claim)}">{claim}</a><br>{kind}'
        rows.append(f"| {link} | {statement} | {verdict.partition('<br>')[0]} |")
    return "\n".join(rows)


def _image(renderer: NbElementRenderer, data: MimeData) -> list[Element]:
    """The picture twice, for a light page and for a dark one; a browser loads the one it shows."""
    metadata = data.output_metadata.get("image/png", {})
    picture: Image.Image = Image.open(io.BytesIO(base64.b64decode(data.content)))
    images = []
    for name, small in light_and_dark(picture, metadata.get("colours", ())).items():
        file = f"{hashlib.sha256(small).hexdigest()}.webp"
        for image in renderer.render_image(data):
            image["alt"] = metadata.get("alt", "")
            image["uri"] = renderer.write_file([file], small, overwrite=False, exists_ok=True)
            image["classes"] = [*image.get("classes", []), f"only-{name}"]
            images.append(image)
    return images


def _claim(renderer: NbElementRenderer, data: MimeData, record: ClaimRecord) -> list[Element]:
    from docutils import nodes

    verdict = record.verdict
    box = nodes.container(
        ids=[claim_anchor(record.claim)], classes=["kexian-claim", verdict_class(verdict)]
    )
    head = nodes.paragraph(classes=["kexian-claim-head"])
    head += nodes.strong(text=record.claim)
    head += nodes.Text(" ")
    head += nodes.inline(text=verdict, classes=["kexian-verdict", verdict_class(verdict)])
    head += nodes.Text(" ")
    kind = record.kind + (f", {record.equation}" if record.equation else "")
    head += nodes.inline(text=kind, classes=["kexian-kind"])
    box += head
    box += _markdown(renderer, data, record.sentence)
    if record.study is None:
        box += _facts(_line("Measured:", ""), record.facts)
    else:
        line = nodes.paragraph(classes=["kexian-claim-facts"])
        line += nodes.Text(f"Study of {record.study.day}: ")
        line += nodes.inline(
            text=record.study.verdict,
            classes=["kexian-verdict", verdict_class(record.study.verdict)],
        )
        box += _facts(line, record.facts)
    if verdict == "not run" and record.study is None:
        box += _line("", f"Decided from the {record.needs} profile on.")
    if record.note:
        label = "Source: " if verdict == "quoted" else "Note: "
        box += _markdown(renderer, data, label + record.note, "kexian-claim-facts")
    return [box]


def _facts(label: Element, facts: list[Finding]) -> list[Element]:
    """A line that begins with the label, and what was measured: in it if it is one thing."""
    from docutils import nodes

    if len(facts) == 1:
        label += nodes.Text(f" {_fact(facts[0])}")
    if len(facts) < 2:
        return [label] if facts else []
    items = nodes.bullet_list(classes=["kexian-facts"])
    items += [nodes.list_item("", _line("", _fact(fact))) for fact in facts]
    return [label, items]


def _fact(fact: Finding) -> str:
    name = f"{fact.name}: " if fact.name else ""
    return name + fact.text + (f" (required: {fact.required})" if fact.required else "")


def _line(label: str, text: str) -> Element:
    from docutils import nodes

    return nodes.paragraph("", label + text, classes=["kexian-claim-facts"])


def _markdown(
    renderer: NbElementRenderer, data: MimeData, text: str, name: str = "kexian-claim-sentence"
) -> list[Element]:
    """Render one line of Markdown, formulas included, with MyST-NB's own parser."""
    from myst_nb.core.render import MimeData

    source = MimeData("text/markdown", text, cell_metadata=data.cell_metadata, line=data.line)
    found = renderer.render_markdown(source)
    for node in found:
        node["classes"] = [*node.get("classes", []), name]
    return found
