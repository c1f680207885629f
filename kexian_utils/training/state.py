"""The state of a training run in one file, so that a run that was stopped can go on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_state", "write_state"]

_VARIABLE = re.compile("v[0-9]+")


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


def read_state(path: str | os.PathLike, variables: Sequence[Any]) -> dict[str, np.ndarray]:
    """Give variables their values from a file of :func:`write_state`; return the further arrays.

    Raises:
        ValueError: if the file does not hold these variables.

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
    with np.load(path) as state:
        shapes = {name: state[name].shape for name in state if _VARIABLE.fullmatch(name)}
        expected = {f"v{number}": tuple(v.shape) for number, v in enumerate(variables)}
        if shapes != expected:
            raise ValueError(
                f"{path} holds other variables: {len(shapes)} of them, expected {len(expected)} "
                "of certain shapes; it belongs to another model, choose another folder"
            )
        for number, variable in enumerate(variables):
            variable.assign(state[f"v{number}"])
        return {name: state[name] for name in state if name not in expected}
