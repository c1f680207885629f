"""The object that a notebook gets from its set-up cell, and through which it decides claims."""

from __future__ import annotations

import difflib
import os
import random
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kexian_utils import catalogue, mime
from kexian_utils.catalogue import PROFILES, Article
from kexian_utils.experiment import backend as backends
from kexian_utils.experiment import records
from kexian_utils.experiment.claims import (
    KINDS,
    MISSED,
    ClaimRecord,
    StudyVerdict,
    claims_markdown,
    equations,
)
from kexian_utils.experiment.criteria import Criterion, measurements, rival_measurements


class ClaimMissed(AssertionError):
    """A claim's criterion was not met: the notebook must not go on as if it were."""


def check_profile(profile: str) -> str:
    """Return `profile` if it is one of smoke, default, study, full (else ValueError)."""
    if profile not in PROFILES:
        near = difflib.get_close_matches(str(profile), PROFILES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}.{hint}")
    return profile


def check_seed(seed: int) -> int:
    """Return `seed` if it is an integer from 0 to 2**32 - 1.

    Raises:
        TypeError: not an integer.
        ValueError: out of range.
    """
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie between 0 and 2**32 - 1, got {seed}")
    return int(seed)


def _show(data: dict[str, Any], text: str, **kwargs: Any) -> Any:
    """Display a record with its plain line; outside a notebook only print the line."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(text)
        return None
    return display({**data, "text/plain": text}, raw=True, **kwargs)


class Experiment:
    """One run of one chapter: profile, seed, backend, and the claims that it decides.

    Made by `start`; see there for the arguments.

    Attributes:
        article: the catalogue entry of the chapter.
        profile: "smoke", "default", "study" or "full".
        seed: the seed from which all randomness of the run derives.
        backend: the Keras backend, or "none" for a chapter without Keras.
        threads: the number of threads that every pool is limited to; 0 means all cores.
    """

    def __init__(
        self,
        article: Article,
        profile: str,
        seed: int,
        backend: str,
        threads: int,
        study: dict[str, Any] | None,
    ) -> None:
        self.article = article
        self.profile = profile
        self.seed = seed
        self.backend = backend
        self.threads = threads
        self._study = study
        self._claims: dict[str, ClaimRecord] = {}
        self._headline: tuple[Any, str] | None = None
        self._started = (records.now(), time.perf_counter(), time.process_time())

    # -- sizes and randomness ---------------------------------------------------------------

    def reaches(self, profile: str) -> bool:
        """Whether this run's profile is `profile` or a larger one."""
        return PROFILES.index(self.profile) >= PROFILES.index(check_profile(profile))

    def sizes(self, table: Mapping[str, Mapping[str, Any]]) -> SimpleNamespace:
        """The row of `table` that belongs to this run's profile, with attribute access.

        Raises:
            ValueError: unknown profiles, no row for this profile, or rows with different keys.
        """
        for profile in table:
            check_profile(profile)
        rows = [set(row) for row in table.values()]
        if any(row != rows[0] for row in rows):
            odd = rows[0].union(*rows) - rows[0].intersection(*rows)
            raise ValueError(f"every profile needs the same sizes; not in all rows: {sorted(odd)}")
        if self.profile not in table:
            raise ValueError(
                f"this chapter has no profile {self.profile!r}, only "
                f"{', '.join(table)}; set `profile` to one of them."
            )
        return SimpleNamespace(**table[self.profile])

    def seed_for(self, *names: str | int) -> int:
        """A seed of its own for the purpose named by `names`, derived from the run's seed."""
        words = [zlib.crc32(str(name).encode()) for name in names]
        return int(np.random.SeedSequence([self.seed, *words]).generate_state(1)[0])

    def keras_seed(self, *names: str | int) -> int:
        """As `seed_for`, but from 0 to 999,999: not every component of Keras takes 32 bits."""
        return self.seed_for(*names) % 10**6

    def rng(self, *names: str | int) -> np.random.Generator:
        """A NumPy generator of its own for the purpose named by `names`."""
        return np.random.default_rng(self.seed_for(*names))

    def require_gpu(self, what: str) -> None:
        """Refuse to go on without a GPU.

        Raises:
            RuntimeError: the backend sees no GPU; the remedy is named.
        """
        if self.backend == "none" or not backends.gpu_available(self.backend):
            raise RuntimeError(
                f"{what} needs a GPU, and the {self.backend} backend sees none. On "
                "Colab choose Runtime > Change runtime type > GPU; elsewhere install "
                "'tensorflow[and-cuda]'; or set profile to 'default'."
            )

    # -- claims -----------------------------------------------------------------------------

    def check(
        self,
        claim: str,
        measured: Any | Callable[[], Any],
        criterion: Criterion | dict[str, Criterion],
        *,
        sentence: str,
        kind: str,
        verdict: str = "holds",
        equation: str = "",
        note: str = "",
        needs: str | None = None,
        digits: int = 3,
        rivals: Mapping[str, Mapping[str, Any]] | Callable[[], Mapping] | None = None,
    ) -> None:
        """Decide one claim by a measured value.

        Args:
            claim: id from the catalogue, such as "C3".
            measured: a number, a 1-D sequence (one value per seed, say: all must satisfy the
                criterion), a dict from names to such values, or a function of no arguments that
                returns one of these and is called only if the claim is decided in this profile.
            criterion: from `at_most`, `between`, `below` and so on; a dict for a dict.
            sentence: what the article (or the chapter) claims, as one sentence.
            kind: "theorem", "approximation", "empirical", "advice" or "erratum".
            verdict: what meeting the criterion means: "holds", "refuted" (the criterion shows
                that the claim is false) or "not shown" (the criterion shows that the effect
                is absent at this scale).
            equation: the equations that it stands on, such as "(7), (8)".
            note: the evidence or the limits, in a few words.
            needs: the smallest profile that decides it. Default: "smoke" for theorems,
                approximations and errata, "default" for the rest.
            digits: significant digits that are stable enough to be shown.
            rivals: for the name of a measured quantity ("value" if there is only one) what trivial
                rivals score in it, such as ``{"accuracy": {"always the first class": 0.5}}``; a
                number or one per seed, or a function like `measured`. They are shown beside, and
                each must fail the criterion: what it meets, too, decides nothing.

        Raises:
            ClaimMissed: the criterion is not met, or a rival meets it. The record is left in the
                output first.
            ValueError: unknown claim, kind, verdict or profile; a claim decided in two places; a
                rival in a quantity that is not measured.
        """
        self._validate(claim, sentence, kind)
        if verdict not in ("holds", "refuted", "not shown"):
            raise ValueError(f"verdict must be holds, refuted or not shown, got {verdict!r}")
        decided_at_once = kind in ("theorem", "approximation", "erratum")
        needs = check_profile(needs or ("smoke" if decided_at_once else "default"))
        record = self._claim(claim, sentence, kind, needs=needs, equation=equation, note=note)
        if not self.reaches(needs):
            self._leave(
                replace(record, study=self._from_study(claim)), f"needs the {needs} profile"
            )
            return
        value = measured() if callable(measured) else measured
        parts = list(measurements(value, criterion, digits))
        if rivals is not None:
            scores = rivals() if callable(rivals) else rivals
            parts += rival_measurements(parts, scores, digits)
        missed = any(not part.met for part in parts)
        record = replace(
            record,
            measured=tuple(part.record() for part in parts),
            verdict=MISSED if missed else verdict,
        )
        self._leave(record)
        if missed:
            wrong = replace(record, measured=tuple(p.record() for p in parts if not p.met))
            raise ClaimMissed(
                f"{claim} of article {self.article.id} is missed: {equations(wrong.facts)}"
            )

    def quote(self, claim: str, *, sentence: str, kind: str, source: str) -> None:
        """Record a figure of the article or of a paper that is not decided here."""
        self._validate(claim, sentence, kind)
        if not source.strip():
            raise ValueError(f"{claim}: a quoted claim needs its source")
        record = self._claim(claim, sentence, kind, needs="smoke", note=source)
        self._leave(replace(record, verdict="quoted"), source)

    def _claim(
        self, claim: str, sentence: str, kind: str, *, needs: str, note: str, equation: str = ""
    ) -> ClaimRecord:
        """A claim that nothing has been decided of."""
        return ClaimRecord(
            article=self.article.id,
            claim=claim,
            sentence=sentence,
            kind=kind,
            verdict="not run",
            equation=equation,
            note=note,
            needs=needs,
            profile=self.profile,
            seed=self.seed,
            backend=self.backend,
        )

    def _validate(self, claim: str, sentence: str, kind: str) -> None:
        if claim not in self.article.claims:
            raise ValueError(
                f"article {self.article.id} has no claim {claim!r} in the catalogue; "
                f"its claims are {', '.join(self.article.claims)}"
            )
        # The same sentence again is a cell that was run again; another one is a second claim.
        if claim in self._claims and self._claims[claim].sentence != sentence:
            raise ValueError(
                f"{claim} is already decided by another cell, which says "
                f"{self._claims[claim].sentence!r}; decide each claim in one place."
            )
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if not sentence.strip() or "|" in sentence or "\n" in sentence:
            raise ValueError(
                f"{claim}: `sentence` must be one line of text without '|' "
                "(write \\vert in formulas)"
            )

    def recorded(self, claim: str) -> dict[str, Any]:
        """What the recorded study of this chapter measured for a claim.

        Args:
            claim: id from the catalogue.

        Returns:
            Name of each measured quantity to its value, a list where there is one value per seed;
            empty if no study is recorded or it did not decide the claim.
        """
        for record in (self._study or {"claims": ()})["claims"]:
            if record["claim"] == claim:
                return {part["name"]: part["value"] for part in record["measured"]}
        return {}

    def _from_study(self, claim: str) -> StudyVerdict | None:
        study = self._study or {"claims": ()}
        for record in study["claims"]:
            if record["claim"] == claim:
                return ClaimRecord.from_json(record).as_study(study["date"])
        return None

    def _leave(self, record: ClaimRecord, instead: str = "") -> None:
        self._claims[record.claim] = record
        _show({mime.CLAIM_MIME: record.to_json()}, record.line(instead))

    # -- headline and end -------------------------------------------------------------------

    def headline(self, text: str | None = None) -> None:
        """Without `text`: reserve the place of the measured headline. With it: fill the place.

        Args:
            text: Markdown, one sentence with the measured number.
        """
        placeholder = "*The measured headline appears here when the notebook has been run.*"
        shown = text or placeholder
        record = {"schema": 1, "article": self.article.id, "text": text}
        data = {mime.HEADLINE_MIME: record, "text/markdown": shown}
        if text is None:
            self._headline = (_show(data, shown, display_id=True), "")
            return
        if self._headline is None:
            raise RuntimeError(
                "call headline() without text in the cell after the set-up first: "
                "it reserves the place where the sentence appears."
            )
        handle, _ = self._headline
        self._headline = (handle, text)
        if handle is not None:
            handle.update({**data, "text/plain": shown}, raw=True)

    def finish(self) -> None:
        """Show all claims as a table and leave the record of the run.

        Raises:
            RuntimeError: a claim of the catalogue was not decided, or the headline is missing.
        """
        missing = [claim for claim in self.article.claims if claim not in self._claims]
        if missing:
            raise RuntimeError(
                f"claims of article {self.article.id} left undecided: "
                f"{', '.join(missing)}; run all cells in order."
            )
        if self._headline is not None and not self._headline[1]:
            raise RuntimeError(
                "the headline was reserved but never filled: call "
                "exp.headline('…') with the measured sentence."
            )
        ordered = [self._claims[claim] for claim in self.article.claims]
        table = claims_markdown(ordered)
        if self._headline is not None:
            table = f"{self._headline[1]}\n\n{table}"
        _show({"text/markdown": table}, table)
        self._run_record("finish")

    def _run_record(self, phase: str) -> None:
        date, wall, cpu = self._started
        record = {
            "schema": 1,
            "article": self.article.id,
            "phase": phase,
            "profile": self.profile,
            "seed": self.seed,
            "backend": self.backend,
            "threads": self.threads,
            "versions": records.versions(),
            "processor": records.processor(),
            "date": date,
            "wall_seconds": round(time.perf_counter() - wall, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
        }
        count = {0: "all threads", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        line = (
            f"Kexian {self.article.id} · profile {self.profile} · seed {self.seed} · "
            f"backend {self.backend} · {count}"
        )
        _show({mime.RUN_MIME: record}, line if phase == "start" else records.FINISHED)


def _threads(profile: str, threads: int | None) -> int:
    if threads is None:
        setting = os.environ.get("KEXIAN_THREADS")
        if setting is None:
            return 0 if profile == "full" else 1
        if not setting.isdecimal():
            raise ValueError(
                f"KEXIAN_THREADS must be a whole number (0: all cores), got {setting!r}"
            )
        return int(setting)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 0:
        raise ValueError(f"threads must be a whole number (0: all cores), got {threads!r}")
    return threads


def _load_study(article: Article) -> dict[str, Any] | None:
    for path in (
        Path(article.study_path.name),
        *(root / article.study_path for root in [catalogue.project_root()] if root),
        Path(__file__).resolve().parents[1] / "data" / article.study_path,
    ):
        if path.is_file():
            return records.read_study(path)
    return None


def start(
    article: int | str,
    *,
    profile: str = "default",
    seed: int = 0,
    backend: str | None = None,
    threads: int | None = None,
    keras: bool = True,
) -> Experiment:
    """Begin a chapter: fix threads, seeds, profile and backend, and say so in one line.

    Call it in the set-up cell before any `import keras`, because thread counts and the backend
    are read when the framework is imported.

    Args:
        article: the article's id in the catalogue.
        profile: "smoke" (seconds, structure and theorems), "default" (what is committed),
            "study" (ablations over many seeds) or "full" (a GPU and real data at full size).
        seed: from 0 to 2**32 - 1; all randomness of the run derives from it.
        backend: "tensorflow", "jax" or "torch"; default: KERAS_BACKEND, else TensorFlow.
        threads: limit of every thread pool; 0 means all cores. Default: KEXIAN_THREADS, else one
            thread (all in `full`), because the thread count moves the last digits.
        keras: False for a chapter that needs no framework, which then is not imported.

    Returns:
        The experiment, through which the chapter takes its sizes and decides its claims.

    Raises:
        TypeError, ValueError: unknown article, profile or backend, or a bad seed.
        RuntimeError: Keras is already imported with another backend, or the backend is missing.
    """
    entry = catalogue.load().article(article)
    profile, seed = check_profile(profile), check_seed(seed)
    threads = _threads(profile, threads)
    name = backends.choose_backend(backend) if keras else "none"
    backends.fix_threads(threads)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (third-party code may draw from the global stream)
    if keras:
        framework = backends.import_keras(name, threads)
        with backends.without_chatter():
            framework.utils.set_random_seed(seed)  # sets TensorFlow's seed on every backend
    from kexian_utils import plots  # Matplotlib: not for those who only read records

    plots.use_style()
    experiment = Experiment(entry, profile, seed, name, threads, _load_study(entry))
    experiment._run_record("start")
    return experiment
