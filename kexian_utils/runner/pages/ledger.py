"""The ledger: all claims of all chapters, read from the records in the notebooks' outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kexian_utils.catalogue import Article, Catalogue
from kexian_utils.experiment.claims import ClaimRecord, recorded_claims
from kexian_utils.runner.execution.files import read_notebook


@dataclass(frozen=True)
class Entry:
    """One decided claim: its article, the index of its cell, and the record left there."""

    article: Article
    cell: int
    record: ClaimRecord


def entries(root: Path, articles: Iterable[Article]) -> list[Entry]:
    """The claims that the stored notebooks hold, in the order of the catalogue.

    Raises:
        KexianError: a notebook cannot be read.
    """
    found = []
    for article in articles:
        path = root / article.path
        if path.is_file():
            by_id = {
                record.claim: Entry(article, cell, record)
                for cell, record in recorded_claims(read_notebook(path))
            }
            found += [by_id[claim] for claim in article.claims if claim in by_id]
    return found


def summary(catalogue: Catalogue, found: list[Entry]) -> str:
    """How many claims there are, by verdict, and how many are still to come."""
    counts = Counter(entry.record.verdict_text() for entry in found)
    total = sum(len(article.claims) for article in catalogue.articles)
    words = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    return (
        f"{len(found)} claims are recorded ({words or 'none yet'}); "
        f"{total - len(found)} of {total} in the catalogue belong to chapters still to come."
    )
