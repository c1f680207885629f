"""What a killed process leaves behind, and how the next one clears it away.

A process that is stopped by SIGKILL, or by a machine that is switched off, cannot tidy up. So what
is half made bears the number of the process that makes it, and whoever makes the like next removes
what belongs to a process that is no more.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

__all__ = ["new_folder", "sweep"]

# A number may belong to another machine that shares the disk: its work is seldom this old.
HOUR = 3600


def new_folder(prefix: str, parent: Path | None = None) -> Path:
    """An empty folder whose name bears the number of this process; old ones of its kind go.

    Args:
        prefix: how its name begins.
        parent: where it is made; by default where temporary files are.
    """
    place = Path(parent or tempfile.gettempdir())
    sweep(place, re.escape(prefix) + r"(\d+)-\w+")
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))


def sweep(parent: Path, pattern: str) -> None:
    """Remove what bears the number of a process that is no more and is older than an hour.

    Args:
        parent: folder that is looked through, not what is below it.
        pattern: regular expression of whole names, whose first group is the number.
    """
    try:
        for entry in os.scandir(parent):
            match = re.fullmatch(pattern, entry.name)
            if match and _left(entry, int(match[1])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)
    except OSError:  # nothing depends on it
        return


def _left(entry: os.DirEntry, process: int) -> bool:
    about = entry.stat(follow_symlinks=False)
    if about.st_uid != os.getuid() or time.time() - about.st_mtime < HOUR:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False
