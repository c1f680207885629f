"""What `kexian doctor` looks at: versions, backend, threads, GPU, fonts, disk."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from kexian_utils.experiment.records import processor, versions

SUPPORTED = ((3, 11), (3, 14))  # from, below; as in pyproject.toml
DISK_GB = 3.0


def _row(name: str, value: str, problem: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "problem": problem}


def examine(root: Path | None) -> list[dict[str, str]]:
    """Rows of name, value and problem (empty if all is well; else one sentence with remedy)."""
    found = versions()
    rows = [_row(name, version) for name, version in found.items() if name != "python"]
    rows.insert(0, _python())
    rows += [
        _backend(),
        _threads(),
        _kernels(),
        _gpu(),
        _fonts(),
        _disk(root or Path.cwd()),
        _encoding(),
    ]
    if root:
        rows.append(_lock(root))
    rows += [
        _tool(name, module, needed=root is not None)
        for name, module in (
            ("papermill", "papermill"),
            ("nbval", "nbval"),
            ("jupyter-book", "jupyter_book"),
            ("JupyterLab", "jupyterlab"),
        )
    ]
    rows.append(_chromium())
    return rows


def _python() -> dict[str, str]:
    low, high = (".".join(map(str, v)) for v in SUPPORTED)
    fits = SUPPORTED[0] <= sys.version_info[:2] < SUPPORTED[1]
    return _row(
        "python",
        platform.python_version(),
        ""
        if fits
        else f"Python {low} or newer, but below {high}, is needed; install "
        "Python 3.11 and run `make clean` and `make book` again.",
    )


def _backend() -> dict[str, str]:
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in ("tensorflow", "jax", "torch"):
        return _row(
            "backend",
            name,
            f"KERAS_BACKEND={name} is unknown; set it to tensorflow, jax or torch, or unset it.",
        )
    missing = importlib.util.find_spec(name) is None
    return _row(
        "backend",
        name,
        f"the backend {name} is not installed: pip install {name}" if missing else "",
    )


def _threads() -> dict[str, str]:
    value = os.environ.get("KEXIAN_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    text = f"{value or '1 (all in the full profile)'}, {cores} cores, {processor()}"
    wrong = value is not None and not value.isdecimal()
    return _row(
        "threads", text, f"KEXIAN_THREADS={value} is not a whole number; unset it." if wrong else ""
    )


def _kernels() -> dict[str, str]:
    try:
        from kexian_utils.runner.execution.execute import kernel_name
        from kexian_utils.runner.execution.provisioner import KERNEL, forks

        name = kernel_name()
    except ModuleNotFoundError:
        return _row("kernels", "none (Jupyter is not installed)")
    if name == KERNEL and forks():
        return _row("kernels", "forked from a template that has imported what they need")
    missing = f"the kernel {KERNEL} is not installed: `make setup`, or install the package again."
    return _row("kernels", "cold, each imports for itself", missing if forks() else "")


def _gpu() -> dict[str, str]:
    if not shutil.which("nvidia-smi"):
        return _row("GPU", "none found (needed by the full profile alone)")
    try:
        out = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        out = ""
    return _row(
        "GPU",
        out.strip().replace("\n", ", ")
        or "nvidia-smi does not answer (needed by the full profile alone)",
    )


def _fonts() -> dict[str, str]:
    from kexian_utils.plots import cjk_font

    try:
        font = cjk_font()
    except RuntimeError as error:
        return _row("Chinese font", "missing", str(error))
    return _row(
        "Chinese font",
        font.name,
        "" if font.is_file() else f"{font.name} is missing: pip install --force-reinstall zhplot",
    )


def _disk(folder: Path) -> dict[str, str]:
    free = shutil.disk_usage(folder).free / 1e9
    return _row(
        "free disk",
        f"{free:.1f} GB",
        ""
        if free >= DISK_GB
        else f"only {free:.1f} GB are free; an environment and a book need {DISK_GB:g} GB: "
        "free some space (`make clean` drops what can be rebuilt).",
    )


def _encoding() -> dict[str, str]:
    name = (sys.stdout.encoding or "unknown").lower()
    return _row(
        "output encoding",
        name,
        ""
        if "utf" in name
        else f"the terminal's encoding is {name}, so Chinese shows as escapes; set "
        "PYTHONUTF8=1 or a UTF-8 locale such as LANG=C.UTF-8.",
    )


def _lock(root: Path) -> dict[str, str]:
    uv = root / ".uv" / "bin" / "uv"
    if not uv.is_file():
        return _row("uv.lock", "not checked (uv is not set up; `make book` does it)")
    hidden = {
        k: v
        for k, v in os.environ.items()
        if k not in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX")
    }
    try:
        done = subprocess.run(
            [uv, "lock", "--check", "--offline"],
            cwd=root,
            env=hidden,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return _row("uv.lock", "not checked (uv does not run; `make setup` sets it up anew)")
    stale = done.returncode != 0 and "needs to be updated" in done.stderr
    return _row(
        "uv.lock",
        "stale" if stale else "agrees with pyproject.toml",
        "uv.lock is older than pyproject.toml; run `.uv/bin/uv lock` and commit it."
        if stale
        else "",
    )


def _tool(name: str, module: str, needed: bool) -> dict[str, str]:
    if importlib.util.find_spec(module) is not None:
        return _row(name, "installed")
    if not needed:
        return _row(name, "not installed (needed in a checkout alone)")
    return _row(name, "not installed", f"{name} is not installed: `make setup`.")


def chromium_path() -> str | None:
    """The Chromium that browser tests use: KEXIAN_CHROMIUM, else the first one on the path."""
    named = os.environ.get("KEXIAN_CHROMIUM")
    if named:
        return named if Path(named).is_file() else None
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


CHROMIUM_HINT = "install Chromium for the browser tests: sudo apt-get install -y chromium"


def _chromium() -> dict[str, str]:
    path = chromium_path()
    return _row("Chromium", path or f"not found ({CHROMIUM_HINT})")
