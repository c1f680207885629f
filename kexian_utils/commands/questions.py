"""Questions with passages, as `answer` and `train-reader` take them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kexian_utils.datasets.comprehension import sliding_windows
from kexian_utils.errors import ENVIRONMENT, KexianError

QUESTIONS, WINDOWS = 64, 2048  # that are answered together, at most

WINDOW = "Longer passages are cut into windows of N characters, each N/2 after the one before"


class Window(NamedTuple):
    """A piece of a passage: the passage's number from 0, the place of its first character."""

    passage: int
    offset: int
    text: str


class Item(NamedTuple):
    """A question of the input, or the error that stands in its place."""

    id: Any
    question: str = ""
    windows: tuple[Window, ...] = ()
    error: str = ""


def checked(question: str, texts: Sequence[str], size: int) -> tuple[str, tuple[Window, ...]]:
    """The question and the windows of the passages; ValueError says what is wrong."""
    if not question.strip():
        raise ValueError("the question is empty")
    if len(question) > size:
        raise ValueError(
            f"the question has {len(question)} characters, --max-length allows {size}: shorten it"
        )
    stride = max(1, size // 2)
    windows = tuple(
        Window(number, offset, part)
        for number, text in enumerate(texts)
        for offset, part in sliding_windows(text, size, stride)
    )
    return question, windows


def text_of(value: dict[str, Any], name: str) -> str:
    """The string under a key; ValueError says what stands there instead."""
    if not isinstance(value.get(name), str):
        raise ValueError(f'"{name}" must be a string, got {shown(value, name)}')
    return value[name]


def passages_of(value: dict[str, Any]) -> list[str]:
    """Texts of the passages, which are strings or objects with a text."""
    given = value.get("passages")
    if not isinstance(given, list):
        raise ValueError(f'"passages" must be a list, got {shown(value, "passages")}')
    texts = []
    for number, item in enumerate(given):
        text = item.get("text") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise ValueError(
                f'"passages"[{number}] must be a string, or an object with a string "text", '
                f"got {item!r:.40}"
            )
        texts.append(text)
    return texts


def shown(value: dict[str, Any], name: str) -> str:
    """What stands under a key, cut short, for a message."""
    return f"{value[name]!r:.40}" if name in value else "none"


def answered(reader: Any, items: Iterator[Item]) -> Iterator[tuple[Item, Any]]:
    """Items in their order with readings; None for errors."""
    together: list[Item] = []
    windows = 0
    for item in items:
        together.append(item)
        windows += len(item.windows)
        if len(together) == QUESTIONS or windows >= WINDOWS:
            yield from _answered_together(reader, together)
            together, windows = [], 0
    yield from _answered_together(reader, together)


def _answered_together(reader: Any, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
    asked = [(i.question, [window.text for window in i.windows]) for i in items if not i.error]
    readings = iter(reader.answer_many(asked))
    for item in items:
        yield item, None if item.error else next(readings)


def prepare_keras() -> None:
    """Import Keras without the greetings of its backend."""
    from kexian_utils.experiment import backend

    try:
        backend.import_keras(backend.choose_backend(None), threads=0)
    except RuntimeError as error:
        raise KexianError(str(error), ENVIRONMENT) from None
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new shape
