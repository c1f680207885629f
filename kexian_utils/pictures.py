"""Figures as files for other programs: .svg, .png and .pdf."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SUFFIXES", "save_figure"]

# What must not be written lest the same picture makes another file the next time.
_DATES = {".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}
SUFFIXES = tuple(_DATES)


def save_figure(draw: Callable[[], Figure], path: str | os.PathLike) -> None:
    """Draw to a file in the style of the book; text in an SVG is drawn as outlines.

    The file gets its name when it is complete. Characters without a glyph are boxes.

    Args:
        draw: makes the figure.
        path: ends in .svg, .png or .pdf.

    Raises:
        ValueError: for another suffix.
        OSError: if the file cannot be written.
    """
    import matplotlib as mpl

    from kexian_utils import plots

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"path must end in {', '.join(SUFFIXES)}, got {os.fspath(path)!r}")
    handle, partial = tempfile.mkstemp(suffix, f".{path.stem}-", path.parent)
    os.close(handle)
    try:
        with mpl.rc_context(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Gg]lyph .* missing.*")
            plots.use_style()
            mpl.rcParams.update({"svg.fonttype": "path", "axes.grid": False})
            draw().savefig(partial, metadata=_DATES[suffix])
        os.chmod(partial, 0o666 & ~_umask())
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
