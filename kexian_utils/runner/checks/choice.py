"""Which chapters a push tries, if it has no time for all: those that were touched, some in turn.

What a push touched is read from git. Where git knows too little to say, CI stops: in a clone of
one commit every chapter would seem touched, and nobody would notice. Elsewhere, in an unpacked
archive or a shallow clone of one's own, only what is not committed counts.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from pathlib import Path

from kexian_utils.catalogue import Article

LATELY = 50  # commits; as many as one push may bring


class HistoryError(RuntimeError):
    """In CI git does not know what was touched."""


def rotation() -> int:
    """A number that grows by one with each run of CI (KEXIAN_ROTATION), elsewhere with each day.

    Not the number of commits: a push brings several, and if it is always an even number, half of
    the chapters would never take their turn.
    """
    setting = os.environ.get("KEXIAN_ROTATION")
    if setting is None:
        return datetime.datetime.now(datetime.UTC).toordinal()
    if not setting.isdecimal():
        raise ValueError(f"KEXIAN_ROTATION must be a whole number, got {setting!r}")
    return int(setting)


def _git(root: Path, *words: str) -> str | None:
    """What git prints, None without git or in an archive of the source."""
    try:
        return subprocess.run(
            # CI may have checked out as another user; git only reads here.
            ["git", "-c", "safe.directory=*", *words],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def changed_paths(root: Path, commits: int = LATELY) -> list[str]:
    """Paths that are not committed, then those of the last commits, the latest first.

    Raises:
        HistoryError: CI is set, and git is missing, knows no commit or not all of them.
    """
    shallow = _git(root, "rev-parse", "--is-shallow-repository")
    whole = shallow is not None and shallow.strip() == "false"
    log = _git(root, "log", f"-{commits}", "--name-only", "--format=") if whole else None
    if log is None and os.environ.get("CI"):
        reason = "this clone holds only the latest commits" if shallow else "git cannot be asked"
        raise HistoryError(
            f"CI is set, but {reason}, so that nobody can tell which chapters were touched. Check "
            "out the whole history (actions/checkout with `fetch-depth: 0`, or `git fetch "
            "--unshallow`); without history, unset CI."
        )
    words = (("diff", "--name-only", "HEAD"), ("ls-files", "--others", "--exclude-standard"))
    texts = [*(_git(root, *command) for command in words), log]
    return list(dict.fromkeys(line for text in texts for line in (text or "").splitlines() if line))


def touched(chapters: list[Article], root: Path, commits: int = LATELY) -> list[Article]:
    """The chapters whose notebook or descriptor changed lately, the latest first."""
    order = {path: number for number, path in enumerate(changed_paths(root, commits))}
    last = len(order)
    when = {
        a.id: min(order.get(p.as_posix(), last) for p in (a.path, a.descriptor_path))
        for a in chapters
    }
    return sorted((a for a in chapters if when[a.id] < last), key=lambda a: when[a.id])


def touched_or_in_turn(
    chapters: list[Article], root: Path, count: int, in_turn: int | None = None
) -> list[Article]:
    """``count`` chapters that were touched last and ``in_turn`` more, in the order of the book.

    The others take their turn; ``in_turn`` is ``count`` where nothing else is said.
    """
    turn = rotating(chapters, count if in_turn is None else in_turn)
    chosen = [*touched(chapters, root)[:count], *turn]
    return [article for article in chapters if article in chosen]


def rotating(chapters: list, count: int = 2, step: int | None = None) -> list:
    """``count`` of the chapters, others at the next step, each as often as any other."""
    return [chapter for chapter, _ in turns(chapters, count, step)]


def turns(chapters: list, count: int = 2, step: int | None = None) -> list[tuple]:
    """The rotating chapters, each with the number of turns that it had before.

    Which seed a chapter runs with goes by that number. A seed that went by the step would be the
    same at each of its turns, where the number of chapters is a multiple of that of the seeds.
    """
    step = rotation() if step is None else step
    if len(chapters) <= count:
        return [(chapter, step) for chapter in chapters]
    places = [step * count + k for k in range(count)]
    return [(chapters[place % len(chapters)], place // len(chapters)) for place in places]
