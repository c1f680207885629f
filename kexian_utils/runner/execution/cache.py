"""Which executed copies are still valid: the key of a run, and the record kept beside its copy.

A run depends on the code of its notebook (not on prose and comments), on the modules of
`kexian_utils` that it reaches (not on their docstrings and comments) and the data that these name,
on the ids of the chapter's claims and its study record, on the packages, on the setting, the thread
count and the class of the processor. All of that is one digest, the key. An executed copy counts as
long as its record holds the present key and the digest of the copy itself, so that a truncated or
edited one is not taken.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kexian_utils.catalogue import Article, load
from kexian_utils.errors import KexianError
from kexian_utils.experiment.records import now, processor, versions
from kexian_utils.runner.execution import cells, dependencies
from kexian_utils.runner.execution.files import Run, Setting, read_json, write_text


@functools.cache
def _machine() -> str:
    # Machines that share KEXIAN_MACHINE count as one: those of one run of CI, of several kinds.
    return json.dumps([versions(), os.environ.get("KEXIAN_MACHINE") or processor()])


def run_key(root: Path, article: Article | None, notebook: dict[str, Any], setting: Setting) -> str:
    """What a run depends on, as one digest.

    Args:
        root: the checkout.
        article: the chapter's entry in the catalogue; None for a notebook outside it.
        notebook: as nbformat reads it.
        setting: profile, seed and backend.
    """
    modules = dependencies.sources(root, notebook)
    files = [*dependencies.data_files(root, modules, notebook), root / "uv.lock"]
    if article is not None:
        files.append(root / article.study_path)
    parts = [
        cells.digest(notebook),
        *(f"{path.relative_to(root)} {dependencies.code_digest(path)}" for path in modules),
        "" if article is None else f"{article.id} {article.claims}",
        *(f"{path.name} {dependencies.content_digest(path)}" for path in files if path.is_file()),
        _machine(),
        os.environ.get("KEXIAN_THREADS", ""),
        json.dumps(asdict(setting), sort_keys=True),
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def article_at(root: Path, path: Path) -> Article | None:
    """The catalogue's entry of the notebook at `path`, None if it has none."""
    try:
        known = load(root).articles
    except ValueError:  # a folder of notebooks without a catalogue
        return None
    return next((article for article in known if root / article.path == path), None)


def write_record(
    copy: Path, key: str, setting: Setting, seconds: float, peak_mib: float | None = None
) -> None:
    """Write the record of a finished run beside its executed copy.

    Args:
        copy: the executed copy.
        key: of `run_key`, "" for a run that must not be taken up again.
        setting: profile, seed and backend.
        seconds: wall time.
        peak_mib: peak memory of the kernel, if known.
    """
    record = {
        "key": key,
        "sha256": dependencies.content_digest(copy),
        **asdict(setting),
        "seconds": round(seconds, 1),
        **({"peak_mib": peak_mib} if peak_mib else {}),
        "date": now(),
    }
    write_text(copy.with_suffix(".json"), json.dumps(record, indent=1) + "\n")


def finished_run(run: Run) -> Path | None:
    """The executed copy, if one is there, whole, and of the present code."""
    try:
        record = json.loads(run.record.read_text(encoding="utf-8"))
        if record["sha256"] != dependencies.content_digest(run.copy):
            return None
        key = run_key(run.root, run.article, read_json(run.source), run.setting)
        return run.copy if record["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, KexianError):
        return None
