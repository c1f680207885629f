"""A translator that knows one word: each run of English words becomes 文, all else stays."""

from __future__ import annotations

import re
from pathlib import Path

from kexian_utils.runner.translation import catalog
from kexian_utils.runner.translation.messages import fixed_parts
from kexian_utils.runner.translation.style import has_han

_WORD = r"(?<![\w-])[A-Za-z][A-Za-z'’-]*(?![\w-])"
_WORDS = re.compile(f"{_WORD}(?: {_WORD})*")


def translate(message: str) -> str:
    """The message with 文文 for its English words."""
    fixed = sorted(fixed_parts(message), key=len, reverse=True)
    if not fixed:
        return _made(message)
    pieces = re.split("(" + "|".join(map(re.escape, fixed)) + ")", message)
    made = "".join(p if k % 2 else _WORDS.sub("文文", p) for k, p in enumerate(pieces))
    return made if has_han(made) else f"文文 {made}"


def _made(text: str) -> str:
    made = _WORDS.sub("文文", text)
    return made if has_han(made) else f"文文 {made}"


def fill(path: Path) -> None:
    """Translate all that is missing in a catalogue."""
    known = catalog.read(path)
    for entry in known:
        if entry.id and not entry.string:
            entry.string = translate(str(entry.id))
    catalog.write(known, path)
