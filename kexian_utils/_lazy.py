"""Packages that hand on names and import a module only when one of its names is asked for.

A package's `__init__` lists what it hands on, by module::

    from kexian_utils._lazy import attach

    __getattr__, __dir__, __all__ = attach(
        __name__,
        {
            "rope": ("rotate", "rope_frequencies"),
            "wordpiece": ("Tokenizer",),
        },
    )

`from kexian_utils.bert import rotate` then imports `rope` alone, at run time and for the question
what a chapter depends on: the runner reads the table, which therefore has to be written out as
above. The form is that of scientific-python's `lazy_loader.attach`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["attach"]


def attach(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package that imports lazily.

    Args:
        package: its name, `__name__`.
        modules: module of the package to the names that are handed on from it.

    Raises:
        ValueError: a name comes from two modules, or is that of a module, which would take its
            place in the package as soon as it is imported.
    """
    places = {name: module for module, names in modules.items() for name in names}
    if len(places) != sum(map(len, modules.values())):
        raise ValueError(f"{package} hands on a name from two modules, or twice from one.")
    if clashes := sorted(places.keys() & modules):
        raise ValueError(
            f"{package} cannot hand on {', '.join(clashes)}: a module of that name takes its place "
            "once it is imported; rename one of them, or import the name from its module."
        )

    def get(name: str) -> Any:
        if name in places:
            return getattr(import_module(f"{package}.{places[name]}"), name)
        if name in modules:
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*places, *modules}), sorted(places)
