r"""Markdown as messages: what a translator sees, and what must be the same in both languages.

A message is one block of Markdown: a heading, a paragraph, an item of a list, a row of a table.
Formulas on lines of their own, code, comments and the marks of a block (``##``, ``-``, ``|``) are
not part of it. In an output the numbers of the run are *slots*, ``{1}``, ``{2}``, so that a message
stays the same when a run is repeated, and no translation is stale in a digit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Block", "blocks", "fill", "fixed_parts", "needs_words", "translate", "with_slots"]

_ITEM = re.compile(r"^(\s*(?:(?:[-*+]|\d+[.)])(?:\s+|$))+)(.*)$")
_HEADING = re.compile(r"^(#{1,6}\s+(?:\d+\.\s+)?)(.*?)(\s*#*)$")
_QUOTE = re.compile(r"^(\s*>\s?)(.*)$")
_SUMMARY = re.compile(r"^(.*<summary>)(.*?)(</summary>.*)$")
_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_HIDDEN = re.compile(r"^<!-- references:.*?<!-- /references -->$", re.S | re.M)
_START = re.compile(r"^(\d{4,5}: )(.+)$")  # of the chapters to begin with, on the front page
_OPEN = re.compile(r"^\s*(`{3,}|:{3,})\{(list-table|note|tip|warning|important|admonition)\}")
# What stays as it is inside a message: formulas, code, targets of links, elements of HTML.
_FIXED = re.compile(
    r"\$\$.+?\$\$|\$[^$\n]+?\$|`[^`\n]+`|\]\([^)\s]*\)|</?[a-zA-Z][^>]*>|https?://\S+"
)
# A date, the name of a claim, or a number, also one that stands beside a Chinese character.
_LETTER = r"[^\W\u3400-\u9fff]"
_NUMBER = re.compile(
    rf"(?<!{_LETTER})(?<![.^])"
    r"(?:\d{4}-\d\d-\d\d|C\d+[a-z]?|[-+−]?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e[-+]?\d+)?)"
    rf"(?!{_LETTER}|\^)"
)
_SLOT = re.compile(r"\{(\d+)\}")
_LABEL = re.compile(r"\bC\d+[a-z]?\b|\((?:\d+'?(?:[–-]\d+)?)\)")
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Block:
    """A piece of Markdown: `before` and `after` stay, `text` is a message ("" if there is none).

    Examples:
        >>> Block("## 2. ", "The question").whole("问题")
        '## 2. 问题'
    """

    before: str
    text: str = ""
    after: str = ""

    def whole(self, text: str | None = None) -> str:
        """The piece with another text in the place of its own."""
        return self.before + (self.text if text is None else text) + self.after


def blocks(markdown: str) -> Iterator[Block]:
    r"""Cut Markdown into pieces; joined by line breaks they are the same Markdown.

    Lines of one paragraph become one line.

    Examples:
        >>> for block in blocks("## 1. A title\n\nOne\nparagraph.\n\n$$x\\tag{1}$$\n\n- an item"):
        ...     print(block)
        Block(before='## 1. ', text='A title', after='')
        Block(before='', text='', after='')
        Block(before='', text='One paragraph.', after='')
        Block(before='', text='', after='')
        Block(before='$$x\\tag{1}$$', text='', after='')
        Block(before='', text='', after='')
        Block(before='- ', text='an item', after='')
    """
    lines = _HIDDEN.sub(lambda found: found[0].replace("\n", "\0"), markdown).split("\n")
    at = 0
    fences: list[str] = []  # of directives that hold Markdown
    while at < len(lines):
        line = lines[at]
        bare = line.strip()
        opens = _OPEN.match(line)
        if opens or (fences and bare == fences[-1]) or (fences and re.match(r":[\w-]+:", bare)):
            if opens:
                fences.append(opens[1])
            elif bare == fences[-1]:
                fences.pop()
            yield Block(line)
            at += 1
            continue
        if bare == "<!-- kexian:start":
            yield Block(line)
            at += 1
            while at < len(lines) and lines[at].strip() != "-->":
                found = _START.match(lines[at])
                yield Block(*found.groups()) if found else Block(lines[at])
                at += 1
            continue
        end = _end_of_fixed(lines, at)
        if end:
            yield Block("\n".join(lines[at:end]).replace("\0", "\n"))
            at = end
            continue
        at += 1
        if not bare or bare == "-->":
            yield Block(bare)
        elif found := _SUMMARY.match(line):
            yield Block(*found.groups())
        elif bare.startswith("<") and not re.match(r"<(https?:|a |em|strong|code|sub|sup)", bare):
            yield Block(line)
        elif bare.startswith("|"):
            yield Block(line) if _RULE.match(line) else Block("", line)
        elif found := _HEADING.match(line):
            yield Block(*found.groups())
        else:
            found = _ITEM.match(line) or _QUOTE.match(line)
            before, text = found.groups() if found else re.match(r"(\s*)(.*)", line).groups()  # type: ignore[union-attr]
            rest = [text.strip()]
            while at < len(lines) and _goes_on(lines, at):
                rest.append(lines[at].strip())
                at += 1
            yield Block(before, " ".join(rest))


def _end_of_fixed(lines: list[str], at: int) -> int:
    """Behind code, a formula or a comment that begins in a line; 0 if none does."""
    bare = lines[at].strip()
    fence = re.match(r"(`{3,}|~{3,})", bare)
    if fence:
        closed = (k for k in range(at + 1, len(lines)) if lines[k].strip().startswith(fence[1]))
        return next(closed, len(lines) - 1) + 1
    for mark, close in (("$$", "$$"), ("\\begin{", "\\end{"), ("<!--", "-->")):
        if bare.startswith(mark):
            if close in bare[len(mark) :]:
                return at + 1
            closed = (k for k in range(at + 1, len(lines)) if close in lines[k])
            return next(closed, len(lines) - 1) + 1
    if bare.startswith((":::", "(")) and re.match(r":::|\([\w-]+\)=$", bare):
        return at + 1
    return 0


def _goes_on(lines: list[str], at: int) -> bool:
    """Whether a line belongs to the paragraph before it."""
    bare = lines[at].strip()
    new = not bare or _end_of_fixed(lines, at) or bare.startswith(("|", "#", ">", "<", "* -"))
    return not (new or _ITEM.match(lines[at]))


def needs_words(text: str) -> bool:
    """Whether there is something to translate: a word outside formulas, code and links.

    Examples:
        >>> needs_words("$x$ and $y$"), needs_words("| $x$ | `f` | 3.2 |"), needs_words("苏剑林")
        (True, False, False)
    """
    bare = _SLOT.sub("", _FIXED.sub("", text))
    return any(word.isascii() for word in _WORD.findall(bare))


def with_slots(text: str) -> tuple[str, list[str]]:
    r"""Put slots in the place of the numbers of a run; those of formulas and code stay.

    Returns:
        The message, and the numbers by slot.

    Examples:
        >>> with_slots("In 3 seeds the loss falls to 0.25 for $\\eta=0.1$, as C2 says.")
        ('In {1} seeds the loss falls to {2} for $\\eta=0.1$, as {3} says.', ['3', '0.25', 'C2'])
    """
    numbers: list[str] = []

    def slot(found: re.Match[str]) -> str:
        numbers.append(found[0])
        return f"{{{len(numbers)}}}"

    pieces, last = [], 0
    for fixed in _FIXED.finditer(text):
        pieces += [_NUMBER.sub(slot, text[last : fixed.start()]), fixed[0]]
        last = fixed.end()
    pieces.append(_NUMBER.sub(slot, text[last:]))
    return "".join(pieces), numbers


def fill(message: str, numbers: list[str]) -> str:
    """Put the numbers back.

    Examples:
        >>> fill("{2} after {1} steps", ["100", "0.5"])
        '0.5 after 100 steps'
    """

    def number(found: re.Match[str]) -> str:
        place = int(found[1])
        return numbers[place - 1] if 0 < place <= len(numbers) else found[0]

    return _SLOT.sub(number, message)


def fixed_parts(message: str) -> Counter[str]:
    r"""What must stand in a translation as often as in the original, in any order.

    Formulas, code, targets of links, elements, slots, numbers, names of claims and of equations.

    Examples:
        >>> sorted(fixed_parts("By (2) and C3, [$x$](a.html) is `f` in {1} of 5 cases."))
        ['$x$', '(2)', '5', 'C3', '](a.html)', '`f`', '{1}']
    """
    found = Counter(_FIXED.findall(message))
    rest = _FIXED.sub(" ", message)
    for pattern in (_LABEL, _SLOT, _NUMBER):
        found.update(part[0] for part in pattern.finditer(rest))
        rest = pattern.sub(" ", rest)
    return found


def translate(
    markdown: str, look_up: Callable[[str], str | None], slots: bool = False, mark: str = ""
) -> str:
    """Markdown in the other language.

    Args:
        markdown: the original.
        look_up: gives the translation of a message, or None.
        slots: whether it is an output, whose numbers are those of a run.
        mark: stands before a message that has no translation.

    Examples:
        >>> translate("## 1. The question", {"The question": "问题"}.get)
        '## 1. 问题'
    """
    return "\n".join(_translated(block, look_up, slots, mark) for block in blocks(markdown))


def _translated(block: Block, look_up: Callable[[str], str | None], slots: bool, mark: str) -> str:
    if not needs_words(block.text):
        return block.whole()
    message, numbers = with_slots(block.text) if slots else (block.text, [])
    found = look_up(message)
    if found is None:
        return block.whole(mark + block.text)
    return block.whole(fill(found, numbers))
