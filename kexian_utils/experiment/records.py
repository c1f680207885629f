"""The records that a notebook leaves in its outputs, and how they are read back."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from kexian_utils._json import read_json
from kexian_utils.mime import CLAIM_MIME, RUN_MIME

_PACKAGES = (
    *("tensorflow", "keras", "keras-hub", "jax", "torch"),
    *("numpy", "scipy", "scikit-learn", "matplotlib"),
)


def versions() -> dict[str, str]:
    """Versions of Python, this package and the numerical libraries that are installed."""
    found = {"python": platform.python_version()}
    for name in ("kexian-utils", *_PACKAGES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


FINISHED = "The run is complete."  # what `exp.finish` says beside its record; the pages hide it


def processor() -> str:
    """The class of processor: architecture and vector instructions, which move the last digits."""
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                flags = set(line.split(":", 1)[1].split())
                break
    except OSError:  # not Linux: the architecture alone
        pass
    vector = [name for name in ("avx2", "avx512f", "amx_tile", "asimd", "sve") if name in flags]
    return " ".join([platform.machine(), *vector])


def now() -> str:
    """The moment in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def outputs(notebook: dict[str, Any], mime: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Pairs (cell index, record) of one MIME type, in the order of the notebook.

    Args:
        notebook: a notebook as nbformat reads it.
        mime: one of the MIME types of this module.
    """
    for index, cell in enumerate(notebook["cells"]):
        for output in cell.get("outputs", ()):
            data = output.get("data", {}).get(mime)
            if data is not None:
                yield index, json.loads(data) if isinstance(data, str) else data


def code_digest(notebook: dict[str, Any]) -> str:
    """A digest of the notebook's code (not of its prose or outputs): which code a record is of."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code"]
    code = "\0".join(
        "".join(c["source"]).strip()
        for c in cells
        if "colab-install" not in c["metadata"].get("tags", ())
        and "injected-parameters" not in c["metadata"].get("tags", ())
    )
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def study_record(notebook: dict[str, Any], code: str) -> dict[str, Any]:
    """The dated record of a run in the `study` profile, to be committed beside the notebook.

    Args:
        notebook: the executed notebook.
        code: the digest of the code that the record is of.

    Raises:
        ValueError: the notebook holds no finished run of that profile.
    """
    runs = [record for _, record in outputs(notebook, RUN_MIME)]
    finished = [run for run in runs if run["phase"] == "finish"]
    if not finished or finished[-1]["profile"] != "study":
        raise ValueError(
            "the notebook holds no finished run of the study profile; "
            "run it with `kexian run ID --profile study` first."
        )
    run = finished[-1]
    keep = (
        "article",
        "profile",
        "seed",
        "backend",
        "date",
        "versions",
        "processor",
        "wall_seconds",
        "cpu_seconds",
    )
    return {
        "schema": 1,
        **{key: run[key] for key in keep},
        "code": code,
        "claims": [
            {k: v for k, v in record.items() if k != "study"}
            for _, record in outputs(notebook, CLAIM_MIME)
            if record["verdict"] != "not run"
        ],
    }


def read_study(path: Path) -> dict[str, Any]:
    """Read a study record.

    Raises:
        ValueError: the file is not one.
    """
    try:
        record = read_json(path, dict)
        if record["schema"] != 1 or record["profile"] != "study":
            raise KeyError("schema")
        {claim["claim"] for claim in record["claims"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is not a study record ({error!r}); make it anew with "
            "`kexian run ID --profile study --record`."
        ) from error
    return record
