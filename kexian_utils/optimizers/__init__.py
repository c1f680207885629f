"""Optimisers and learning-rate schedules that Keras does not have."""

from importlib import import_module
from typing import Any

_HOME = {
    "momentum_accumulated_sgd": ("MomentumAccumulatedSGD",),
    "schedules": ("PerUpdateSchedule",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
