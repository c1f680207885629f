"""Fetch the part of MathJax that the book needs into ``book/assets/mathjax``.

``python tools/vendor_mathjax.py`` downloads the pinned release through npm and copies the files;
``python tools/vendor_mathjax.py --check`` compares what is committed with the recorded hashes
(no network). The record, ``VERSIONS.json``, and MathJax's licence stand beside the files.
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
from pathlib import Path

VERSION = "3.2.2"
TARGET = Path(__file__).resolve().parents[1] / "book" / "assets" / "mathjax"
RECORD = "VERSIONS.json"
# Source in the archive -> place in the book. MathJax looks for the folders where it finds them.
PARTS = {
    "LICENSE": "LICENSE",
    "es5/tex-chtml.js": "tex-chtml.js",
    "es5/output/chtml/fonts/woff-v2": "output/chtml/fonts/woff-v2",
    "es5/input/tex/extensions": "input/tex/extensions",
}
# A bundle of all extensions, which repeats the single files.
LEFT_OUT = {"input/tex/extensions/all-packages.js"}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` but the record, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD
    }


def vendor() -> None:
    """Replace ``book/assets/mathjax`` by a fresh copy of the pinned release."""
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run(["npm", "pack", "--silent", f"mathjax@{VERSION}"], cwd=temporary, check=True)
        archive = Path(temporary) / f"mathjax-{VERSION}.tgz"
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")
        package = Path(temporary) / "package"
        if TARGET.exists():
            shutil.rmtree(TARGET)
        for source, place in PARTS.items():
            here, there = package / source, TARGET / place
            there.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if here.is_dir() else shutil.copyfile)(here, there)
        for name in LEFT_OUT:
            (TARGET / name).unlink()
        record = {
            "package": "mathjax",
            "version": VERSION,
            "licence": "Apache-2.0",
            "home": "https://www.mathjax.org",
            "archive_sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "files_sha256": digests(TARGET),
        }
    text = json.dumps(record, indent=1) + "\n"
    (TARGET / RECORD).write_text(text, encoding="utf-8")


def check() -> list[str]:
    """Return what differs between the committed files and their record."""
    record = json.loads((TARGET / RECORD).read_text(encoding="utf-8"))
    recorded, found = record["files_sha256"], digests(TARGET)
    problems = [
        f"{name}: {'missing' if name not in found else 'not recorded or changed'}"
        for name in sorted(set(recorded) | set(found))
        if recorded.get(name) != found.get(name)
    ]
    if record["version"] != VERSION:
        problems.append(f"the record says {record['version']}, this script {VERSION}")
    return problems


def main() -> int:
    """Vendor, or check with ``--check``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the recorded hashes")
    if parser.parse_args().check:
        problems = check()
        print("\n".join(problems) or f"MathJax {VERSION}: all files as recorded")
        return 1 if problems else 0
    if shutil.which("npm") is None:
        print("npm is needed to fetch MathJax: install Node.js, then call again", file=sys.stderr)
        return 3
    vendor()
    print(f"MathJax {VERSION} is in {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
