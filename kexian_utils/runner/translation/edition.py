"""A notebook in the other language: the same code and results, the words exchanged."""

from __future__ import annotations

import copy
import html
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kexian_utils.experiment.claims import (
    CLAIMS_HEAD,
    ClaimRecord,
    StudyVerdict,
    claims_markdown,
    recorded_claims,
)
from kexian_utils.experiment.records import FINISHED
from kexian_utils.mime import CLAIM_MIME, FIGURE_MIME, HEADLINE_MIME, RUN_MIME, YARDSTICK_MIME
from kexian_utils.runner.execution.cells import fold_title
from kexian_utils.runner.translation import messages
from kexian_utils.runner.translation.catalog import Found

__all__ = ["MARK", "extracted", "headings", "titles", "translated"]

MARK = "〔英文〕"  # stands before what is not translated yet

_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$", re.M)

Look = Callable[[str], str | None]


def extracted(notebook: Any) -> list[Found]:
    """All messages of a notebook, in its order; each once."""
    found: dict[str, Found] = {}
    where = ""

    def record(message: str, sample: str = "") -> None:
        found.setdefault(message, Found(message, where, sample))

    walker = _Walker(lambda message: record(message), record)
    for cell in notebook["cells"]:
        where = str(cell.get("id", ""))
        walker.cell(copy.deepcopy(cell), claims={})
    return list(found.values())


def translated(notebook: Any, look_up: Look) -> Any:
    """A copy of a notebook in the other language."""
    made = copy.deepcopy(notebook)
    walker = _Walker(look_up)
    records = [record for _, record in recorded_claims(notebook)]
    claims = {record.claim: walker.claim(record) for record in records}
    for cell in made["cells"]:
        walker.cell(cell, claims)
    made["metadata"]["language"] = "zh-CN"
    made["metadata"]["headings"] = headings(notebook)  # sections are found by their first names
    return made


def headings(notebook: Any) -> list[str]:
    """The headings of a notebook's Markdown, in their order, without marks.

    Examples:
        >>> headings({"cells": [{"cell_type": "markdown", "source": "# One\n\n## 2. Two"}]})
        ['One', '2. Two']
    """
    sources = (c["source"] for c in notebook["cells"] if c["cell_type"] == "markdown")
    return [title for source in sources for title in _HEADING.findall(_joined(source))]


def titles(look_up: Look) -> Callable[[str], str]:
    """What gives the title of a folded cell in the other language."""
    walker = _Walker(look_up)
    return lambda title: walker.words(title, True)


class _Walker:
    """Goes through a notebook and exchanges what a reader reads."""

    def __init__(self, look_up: Look, sampled: Callable[[str, str], None] | None = None) -> None:
        self._look_up = look_up
        self._sampled = sampled

    def _ask(self, message: str, sample: str) -> str | None:
        if self._sampled is not None:
            self._sampled(message, sample)
            return None
        return self._look_up(message)

    def markdown(self, text: str, slots: bool) -> str:
        """Markdown, block by block."""
        lines = []
        for block in messages.blocks(text):
            if not messages.needs_words(block.text):
                lines.append(block.whole())
                continue
            lines.append(block.whole(self._words(block.text, slots, MARK)))
        return "\n".join(lines)

    def _words(self, text: str, slots: bool, mark: str) -> str:
        message, numbers = messages.with_slots(text) if slots else (text, [])
        found = self._ask(message, text)
        return mark + text if found is None else messages.fill(found, numbers)

    def words(self, text: str, slots: bool = False) -> str:
        """One line without marks of Markdown blocks."""
        return self._words(text, slots, "") if messages.needs_words(text) else text

    def claim(self, claim: ClaimRecord) -> ClaimRecord:
        """A claim whose sentence, note and measurements are in the other language."""
        study = claim.study
        if study is not None:
            study = StudyVerdict(
                study.verdict, study.date, study.seed, study.backend, self._facts(study.measured)
            )
        return replace(
            claim,
            sentence=self._words(claim.sentence, False, MARK),
            note=self._words(claim.note, False, MARK) if claim.note else "",
            equation=self.words(claim.equation),
            measured=self._facts(claim.measured),
            study=study,
        )

    def _facts(self, measured: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        return tuple(
            fact
            | {"name": fact["name"] if fact["name"] == "value" else self.words(fact["name"], True)}
            | {key: self.words(str(fact[key]), True) for key in ("text", "criterion")}
            for fact in measured
        )

    def cell(self, cell: Any, claims: dict[str, ClaimRecord]) -> None:
        """Exchange the words of one cell in its place."""
        if cell["cell_type"] == "markdown":
            cell["source"] = self.markdown(_joined(cell["source"]), False)
            return
        if cell["cell_type"] != "code":
            return
        title = fold_title(_joined(cell["source"]))
        if title is not None:
            self.words(title, True)  # asked for, so that it is extracted; the code stays as it is
        for output in cell.get("outputs", []):
            self._output(output, claims)

    def _output(self, output: Any, claims: dict[str, ClaimRecord]) -> None:
        data = output.get("data")
        if not data:
            return
        if CLAIM_MIME in data:
            claim = self.claim(ClaimRecord.from_json(data[CLAIM_MIME]))
            data[CLAIM_MIME] = claim.to_json()
            data["text/plain"] = claim.line()
            return
        if "text/markdown" in data:
            before = _joined(data["text/markdown"])
            after = (
                self._table(before, claims)
                if CLAIMS_HEAD in before
                else (self.markdown(before, True))
            )
            data["text/markdown"] = after
            if _joined(data.get("text/plain", "")) == before:
                data["text/plain"] = after
            if HEADLINE_MIME in data and data[HEADLINE_MIME].get("text"):
                data[HEADLINE_MIME] = data[HEADLINE_MIME] | {"text": after}
        if YARDSTICK_MIME in data:
            for rows in (data[YARDSTICK_MIME][part] for part in ("rows", "rivals")):
                for row in rows:
                    row["name"] = self.words(row["name"], True)
        if FIGURE_MIME in data:
            self._figure(output, data)
        elif RUN_MIME in data and "text/plain" in data:
            line = _joined(data["text/plain"])
            if line != FINISHED:  # the pages hide it
                data["text/plain"] = self.words(line, True)

    def _figure(self, output: Any, data: Any) -> None:
        alt = data[FIGURE_MIME].get("alt", "")
        other = self.words(alt, True)
        record = data[FIGURE_MIME] | {"alt": other}
        if record.get("caption"):
            record["caption"] = self.markdown(record["caption"], True)
        data[FIGURE_MIME] = record
        for kind in ("text/plain", "text/html"):
            if kind in data:
                text = _joined(data[kind]).replace(html.escape(alt), html.escape(other))
                data[kind] = text.replace(alt, other)
        for metadata in output.get("metadata", {}).values():
            if isinstance(metadata, dict) and metadata.get("alt") == alt:
                metadata["alt"] = other

    def _table(self, text: str, claims: dict[str, ClaimRecord]) -> str:
        before, _, _ = text.partition(CLAIMS_HEAD)
        head = self.markdown(before, True)
        return head + claims_markdown(claims.values()) if claims else text


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)
