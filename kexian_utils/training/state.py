"""The state of a training run in one file, so that a run that was stopped can go on."""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_state", "write_state"]

_VARIABLE = re.compile("v[0-9]+")
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error)


def write_state(path: str | os.PathLike, variables: Sequence[Any], **extra: Any) -> None:
    """Write variables, in their order, and further arrays, all or nothing.

    A run that is killed while it writes leaves the file as it was before.

    Args:
        path: of the file, which ends in ``.npz``.
        variables: Keras variables: weights, optimiser, states of random generators.
        extra: arrays, numbers or strings by name.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_state(f"{folder}/state.npz", [np.zeros(2)], epoch=3)
        ...     with np.load(f"{folder}/state.npz") as file:
        ...         sorted(file), file["epoch"].item()
        (['epoch', 'v0'], 3)
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.part")
    with open(partial, "wb") as file:
        arrays = {f"v{number}": np.asarray(variable) for number, variable in enumerate(variables)}
        contents: dict[str, Any] = {**arrays, **extra}
        np.savez(file, **contents)
    os.replace(partial, path)


def read_state(
    path: str | os.PathLike, variables: Sequence[Any], extra: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Give variables their values from a file of :func:`write_state`; return the further arrays.

    Args:
        path: of the file.
        variables: as they were written.
        extra: names of further arrays that must be there.

    Raises:
        ValueError: if the file is damaged or does not hold these variables and arrays; nothing is
            assigned then.

    Examples:
        >>> import keras, tempfile
        >>> weight = keras.Variable([0.0, 0.0])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_state(f"{folder}/state.npz", [np.array([1.0, 2.0])], epoch=3)
        ...     extra = read_state(f"{folder}/state.npz", [weight])
        >>> weight.numpy().tolist(), extra["epoch"].item()
        ([1.0, 2.0], 3)
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            state = {name: file[name] for name in file.files}
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # no such file, no permission
        state = None
    if state is None or not set(extra) <= state.keys():
        raise ValueError(
            f"{path} is damaged: put back a copy of it, or delete its folder and train anew"
        )
    shapes = {name: value.shape for name, value in state.items() if _VARIABLE.fullmatch(name)}
    expected = {f"v{number}": tuple(v.shape) for number, v in enumerate(variables)}
    if shapes != expected:
        raise ValueError(
            f"{path} holds other variables: {len(shapes)} of them, expected {len(expected)} "
            "of certain shapes; it belongs to another model, choose another folder"
        )
    for number, variable in enumerate(variables):
        variable.assign(state[f"v{number}"])
    return {name: value for name, value in state.items() if name not in expected}
