"""A decided claim: what travels in a notebook's outputs, and how it is put into words.

The notebook's line, its table, the book's pages, the ledger and the command all take their words
from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from kexian_utils.experiment.records import outputs
from kexian_utils.mime import CLAIM_MIME

__all__ = ["ClaimRecord", "Finding", "StudyVerdict", "claims_markdown", "recorded_claims"]

KINDS = ("theorem", "approximation", "empirical", "advice", "erratum")
VERDICTS = ("holds", "refuted", "not shown", "quoted", "not run")
CLAIMS_HEAD = "| claim | statement | verdict, measured (required) |"  # of the closing table
MISSED = "missed"  # what a failing check leaves behind; never in a stored notebook


class Finding(NamedTuple):
    """One measured number in words: its name ("" if it is the only one), value, and criterion.

    Examples:
        >>> Finding("error", "0.01", "< 0.1").required
        '< 0.1'
    """

    name: str
    text: str
    criterion: str

    @property
    def required(self) -> str:
        """The criterion, or "" where the value says it already."""
        return "" if self.text == self.criterion else self.criterion


@dataclass(frozen=True)
class StudyVerdict:
    """What the dated study beside the notebook decided, where the profile decides nothing.

    Attributes:
        measured: dicts with name, text and criterion.

    Examples:
        >>> measured = {"name": "value", "text": "0.01", "criterion": "< 0.1"}
        >>> study = StudyVerdict("holds", "2026-11-20T10:00:00", 0, "tensorflow", (measured,))
        >>> study.day
        '2026-11-20'
    """

    verdict: str
    date: str
    seed: int
    backend: str
    measured: tuple[dict[str, Any], ...]

    @property
    def day(self) -> str:
        """The date without the time."""
        return self.date[:10]


@dataclass(frozen=True)
class ClaimRecord:
    """One claim as it was decided in one run.

    Attributes:
        article: id of the article.
        claim: id of the claim, such as "C3".
        sentence: what is claimed.
        kind: one of `KINDS`.
        verdict: one of `VERDICTS`, or `MISSED`.
        equation: the equations that it stands on.
        note: evidence or limits; of a quoted claim the source.
        needs: the smallest profile that decides it.
        profile, seed, backend: the setting of the run.
        measured: dicts with name, value, text and criterion.
        study: what the dated study decided, if this run did not.

    Examples:
        >>> claim = ClaimRecord(
        ...     article="6992", claim="C1", sentence="The mean is 0.", kind="empirical",
        ...     verdict="holds", equation="(1)", note="", needs="smoke", profile="smoke", seed=0,
        ...     backend="jax",
        ...     measured=({"name": "value", "value": 0.01, "text": "0.01", "criterion": "< 0.1"},),
        ... )
        >>> claim.line()
        'C1 holds [empirical] 0.01 (< 0.1)'
        >>> ClaimRecord.from_json(claim.to_json()) == claim
        True
    """

    article: str
    claim: str
    sentence: str
    kind: str
    verdict: str
    equation: str
    note: str
    needs: str
    profile: str
    seed: int
    backend: str
    measured: tuple[dict[str, Any], ...] = ()
    study: StudyVerdict | None = None

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> ClaimRecord:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: for another schema, or if a field is missing or unknown.
        """
        values = {name: value for name, value in record.items() if name != "schema"}
        study = values.get("study")
        try:
            if record["schema"] != 1:
                raise ValueError(f"schema {record['schema']!r}")
            if study is not None:
                values["study"] = StudyVerdict(**{**study, "measured": tuple(study["measured"])})
            values["measured"] = tuple(values["measured"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a record of a claim ({error}): {record!r:.200}") from error

    def to_json(self) -> dict[str, Any]:
        """The record as JSON has it."""
        record: dict[str, Any] = {"schema": 1}
        record |= {field.name: getattr(self, field.name) for field in fields(self)}
        record["measured"] = list(self.measured)
        if self.study is not None:
            record["study"] = asdict(self.study) | {"measured": list(self.study.measured)}
        return record

    def as_study(self, date: str) -> StudyVerdict:
        """What a later run quotes of this record, which a study of that date left."""
        parts = ({k: part[k] for k in ("name", "text", "criterion")} for part in self.measured)
        return StudyVerdict(self.verdict, date, self.seed, self.backend, tuple(parts))

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The verdict of this run and, where there is one, that of the study."""
        return (self.verdict,) if self.study is None else (self.verdict, self.study.verdict)

    @property
    def facts(self) -> list[Finding]:
        """What was measured, in this run or in the study that decided."""
        return _facts(self.measured or (self.study.measured if self.study else ()))

    def verdict_text(self) -> str:
        """The verdict in words: "not run here; holds in the study of 2026-11-20"."""
        if self.study is None:
            return self.verdict
        return f"{self.verdict} here; {self.study.verdict} in the study of {self.study.day}"

    def measured_text(self) -> str:
        """The measured values in one line."""
        return "; ".join(f"{f.name}: {f.text}" if f.name else f.text for f in self.facts)

    def line(self, instead: str = "") -> str:
        """The plain line under the cell; `instead` stands where nothing was measured."""
        text = instead or equations(_facts(self.measured))
        line = f"{self.claim} {self.verdict} [{self.kind}] {text}"
        if self.study is not None:
            study = equations(_facts(self.study.measured))
            line += f"; {self.study.verdict} in the study of {self.study.day}: {study}"
        return line


def equations(facts: Iterable[Finding]) -> str:
    """Facts as "name = value (criterion)", in one line."""
    return "; ".join(
        (f"{f.name} = " if f.name else "") + f.text + (f" ({f.required})" if f.required else "")
        for f in facts
    )


def recorded_claims(notebook: dict[str, Any]) -> Iterator[tuple[int, ClaimRecord]]:
    """Pairs (cell index, claim) in the order of the notebook.

    Examples:
        >>> from kexian_utils.mime import CLAIM_MIME
        >>> claim = ClaimRecord(
        ...     article="6992", claim="C1", sentence="The mean is 0.", kind="empirical",
        ...     verdict="holds", equation="(1)", note="", needs="smoke", profile="smoke", seed=0,
        ...     backend="jax",
        ...     measured=({"name": "value", "value": 0.01, "text": "0.01", "criterion": "< 0.1"},),
        ... )
        >>> output = {"output_type": "display_data", "data": {CLAIM_MIME: claim.to_json()}}
        >>> notebook = {"cells": [{"cell_type": "code", "outputs": [output]}]}
        >>> [(index, found.claim) for index, found in recorded_claims(notebook)]
        [(0, 'C1')]
    """
    for index, record in outputs(notebook, CLAIM_MIME):
        yield index, ClaimRecord.from_json(record)


def claims_markdown(claims: Iterable[ClaimRecord]) -> str:
    """The claims as a Markdown table, in the order in which they are given.

    Three columns, so that it can be read on a phone.

    Examples:
        >>> claim = ClaimRecord(
        ...     article="6992", claim="C1", sentence="The mean is 0.", kind="empirical",
        ...     verdict="holds", equation="(1)", note="", needs="smoke", profile="smoke", seed=0,
        ...     backend="jax",
        ...     measured=({"name": "value", "value": 0.01, "text": "0.01", "criterion": "< 0.1"},),
        ... )
        >>> print(claims_markdown([claim]))
        | claim | statement | verdict, measured (required) |
        |:--|:--|:--|
        | C1<br>empirical | The mean is 0. | **holds**<br>0.01 (< 0.1) |
    """
    rows = [CLAIMS_HEAD, "|:--|:--|:--|"]
    for claim in claims:
        verdict = f"**{claim.verdict}**"
        if claim.study is not None:
            study = claim.study
            verdict += f" here; **{study.verdict}** in the study of {study.day}"
        facts = claim.facts
        lines = [
            (f"{f.name or 'value'}: " if len(facts) > 1 else "")
            + f.text
            + (f" ({f.required})" if f.required else "")
            for f in facts
        ]
        cells = (f"{claim.claim}<br>{claim.kind}", claim.sentence, "<br>".join([verdict, *lines]))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _facts(parts: Iterable[Mapping[str, Any]]) -> list[Finding]:
    return [
        Finding("" if part["name"] == "value" else part["name"], part["text"], part["criterion"])
        for part in parts
    ]
