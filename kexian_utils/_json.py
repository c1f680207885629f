"""The one door for JSON that others wrote: whatever is wrong is a ValueError of one sentence."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a truth value",
    type(None): "null",
}


def parse_json(text: str | bytes, kind: type | None = None) -> Any:
    """The value that a text in JSON stands for.

    Args:
        text: bytes are UTF-8, with or without a byte-order mark.
        kind: what it must be: dict or list; None: anything.

    Raises:
        ValueError: it is something else. The message begins with "must": put a name before it.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise ValueError(f"must be UTF-8: {error}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"must be JSON: {error}") from None
    except RecursionError:
        raise ValueError("must be JSON of a sane depth, it is nested too deeply") from None
    if kind is not None and not isinstance(value, kind):
        wanted = "object" if kind is dict else "list"
        raise ValueError(f"must hold a JSON {wanted}, got {JSON_NAMES[type(value)]}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"must hold finite numbers, got {text[:20]}")
    return value


def read_json(path: str | os.PathLike, kind: type | None = None) -> Any:
    """The value in a JSON file, as `parse_json` gives it.

    Raises:
        ValueError: the file's path, and what is wrong.
        OSError: it cannot be read.
    """
    try:
        return parse_json(Path(path).read_bytes(), kind)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
