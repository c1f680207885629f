"""Copies of the notebooks that a page can save when it is read from a file.

A browser does not let a page save a file that lies beside it, nor read it, but it may load it as a
script. So each notebook has a copy as a script, compressed; ``assets/page.js`` saves what it holds.
"""

from __future__ import annotations

import base64
import gzip
from pathlib import Path


def write_copies(sources: Path) -> None:
    """Write ``NAME.js`` beside every ``NAME.ipynb`` below `sources`."""
    for path in sources.rglob("*.ipynb"):
        packed = base64.b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode("ascii")
        script = f'window.kexianNotebook = "{packed}";\n'
        path.with_suffix(".js").write_text(script, encoding="ascii")
