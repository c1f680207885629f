"""The ledger: all claims of all chapters, read from the records in the notebooks' outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.experiment.records import outputs
from kexian_utils.mime import CLAIM_MIME
from kexian_utils.runner.execution.execute import read_notebook


@dataclass(frozen=True)
class Entry:
    """One decided claim: its article, the index of its cell, and the record left there."""

    article: Article
    cell: int
    record: dict[str, Any]


def entries(root: Path, articles: Iterable[Article]) -> list[Entry]:
    """The claims that the stored notebooks hold, in the order of the catalogue."""
    found = []
    for article in articles:
        path = root / article.path
        if path.is_file():
            by_id = {
                record["claim"]: Entry(article, cell, record)
                for cell, record in outputs(read_notebook(path), CLAIM_MIME)
            }
            found += [by_id[claim] for claim in article.claims if claim in by_id]
    return found


def measured_text(record: dict[str, Any]) -> str:
    """The measured values of a record in words; of the study where that decided."""
    parts = record["measured"] or (record.get("study") or {}).get("measured", [])
    return "; ".join(
        f"{p['name']}: {p['text']}" if len(parts) > 1 or p["name"] != "value" else p["text"]
        for p in parts
    )


def verdicts(record: dict[str, Any]) -> set[str]:
    """The verdict of this run and, where there is one, that of the dated study."""
    study = record.get("study")
    return {record["verdict"], study["verdict"]} if study else {record["verdict"]}


def verdict_text(record: dict[str, Any]) -> str:
    """The verdict, with that of the dated study where the default profile does not decide."""
    study = record.get("study")
    if not study:
        return record["verdict"]
    return f"{record['verdict']} ({study['verdict']} in the study of {study['date'][:10]})"


def summary(catalogue: Catalogue, found: list[Entry]) -> str:
    """How many claims there are, by verdict, and how many are still to come."""
    counts = Counter(verdict_text(entry.record) for entry in found)
    total = sum(len(article.claims) for article in catalogue.articles)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return (
        f"{len(found)} claims are recorded ({words or 'none yet'}); "
        f"{total - len(found)} of {total} in the catalogue belong to chapters still to come."
    )
