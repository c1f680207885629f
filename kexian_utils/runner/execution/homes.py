"""Where packages keep their settings and caches: not in a new folder of the home directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# The folders in the home directory, each with the variable that names another place.
_HOMES = {
    "IPYTHONDIR": (".ipython",),
    "KERAS_HOME": (".keras",),
    "MPLCONFIGDIR": (".config/matplotlib", ".cache/matplotlib", ".matplotlib"),
}


def own_homes() -> dict[str, str]:
    """Environment variables that name places in this virtual environment instead.

    A folder that the user has already is used as ever, with the settings and data in it. Outside
    virtual environments the result is empty.
    """
    if sys.prefix == sys.base_prefix or not os.access(sys.prefix, os.W_OK):
        return {}
    folder = Path(sys.prefix, "share", "kexian")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a full disk: whoever writes there will say so
        return {}
    return {
        name: str(folder / name.lower())
        for name, folders in _HOMES.items()
        if name not in os.environ
        and not any(Path("~", folder).expanduser().exists() for folder in folders)
    }
