"""A training that may be stopped at any time and goes on in its folder as if it had not been.

A run's folder holds a JSON file that says which run it is, and ``state.npz`` with all that moves
(:mod:`kexian_utils.training.state`).
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kexian_utils._json import read_json

__all__ = ["open_run", "run_steps", "unchanged", "write_record"]


def open_run(
    path: str | os.PathLike, run: Mapping[str, Any], same: Sequence[str] | None = None
) -> dict[str, Any] | None:
    """Make the folder of a run, or find it to hold this very run.

    Args:
        path: of the JSON file in the folder.
        run: what is written into a new one.
        same: entries that a run that goes on must share; all by default.

    Returns:
        What the file held, None if the run is new.

    Raises:
        ValueError: if the folder holds another run or other things, or the file is damaged.

    Examples:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = f"{folder.name}/run/record.json"
        >>> open_run(path, {"rate": 0.1}) is None  # a new one
        True
        >>> open_run(path, {"rate": 0.1})  # it goes on
        {'rate': 0.1}
        >>> try:
        ...     open_run(path, {"rate": 0.2})
        ... except ValueError as error:
        ...     str(error).removeprefix(folder.name)[:70]
        '/run holds a run with another rate (0.1 there, 0.2 asked for): choose '
        >>> folder.cleanup()
    """
    path, run = Path(path), json.loads(json.dumps(run))
    folder = path.parent
    if not path.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} must be empty or hold a run, it holds other things")
        folder.mkdir(parents=True, exist_ok=True)
        write_record(path, run)
        return None
    try:
        before = read_json(path, dict)
    except ValueError:
        raise ValueError(f"{path} is damaged: choose another folder, or delete this one") from None
    unlike = [name for name in same or run if before.get(name) != run[name]]
    if unlike:
        words = (f"{name}{_difference(before.get(name), run[name])}" for name in unlike)
        raise ValueError(
            f"{folder} holds a run with another {', another '.join(words)}: choose another "
            "folder, or the same texts and options"
        )
    return before


def write_record(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Write a JSON file, all or nothing.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_record(f"{folder}/record.json", {"step": 3})
        ...     pathlib.Path(folder, "record.json").read_text()
        '{\\n "step": 3\\n}\\n'
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


@contextlib.contextmanager
def unchanged(variables: Sequence[Any]) -> Iterator[None]:
    """Give variables their values back at the end: for steps that only warm programs up.

    On TensorFlow the first shape of batches is traced alone and the second for all that follow,
    and the two programs may round differently: without a warm-up a run that goes on would differ
    from one that never stopped. JAX compiles each shape for itself.

    Examples:
        >>> import keras
        >>> weight = keras.Variable([1.0, 2.0])
        >>> with unchanged([weight]):
        ...     _ = weight.assign([0.0, 0.0])
        >>> keras.ops.convert_to_numpy(weight).tolist()
        [1.0, 2.0]
    """
    before = [np.asarray(variable).copy() for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)


def run_steps(
    first: int,
    steps: int,
    step: Callable[[int], dict[str, Any]],
    save: Callable[[], None],
    save_every: float,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    """Make the steps from `first` on, saving now and then, and at the end whatever ends it.

    Args:
        first: number of steps that have been made.
        steps: number of steps in all.
        step: makes the step of this number, counted from 0; returns what is told of it.
        save: writes the state.
        save_every: seconds between two saved states.
        report: called after each step with step, steps, seconds_left and what `step` returned.

    Examples:
        >>> made, saved = [3, 4], []
        >>> run_steps(2, 5, lambda k: made.append(k * k) or {}, lambda: saved.append(len(made)), 60)
        >>> made, saved
        ([3, 4, 4, 9, 16], [5])
    """
    began = saved = time.monotonic()
    try:
        for number in range(first, steps):
            facts = step(number)
            now = time.monotonic()
            if report is not None:
                left = (now - began) / (number + 1 - first) * (steps - number - 1)
                report({"step": number + 1, "steps": steps, **facts, "seconds_left": left})
            if now - saved > save_every:
                save()
                saved = now
    finally:
        save()


def _difference(before: Any, now: Any) -> str:
    """Which settings differ, or how texts do; nothing for what is not worth telling."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [name for name in now if before.get(name) != now[name]]
        told = ", ".join(f"{n}: {before.get(n)} there, {now[n]} asked for" for n in names)
    else:
        told = f"{str(before)[:12]} there, {str(now)[:12]} asked for"
    return f" ({told})"
