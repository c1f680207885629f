"""How Chinese is set here: one convention for punctuation and spaces, applied and checked.

In a Chinese sentence punctuation is full-width, and so are parentheses around Chinese words;
between a Han character and a Latin word, a number, a formula or code stands one space, beside
full-width punctuation none. Names of equations, ``(2)``, keep their parentheses.
"""

from __future__ import annotations

import re

__all__ = ["has_han", "tidy"]

_HAN = r"[\u3400-\u4dbf\u4e00-\u9fff〇]"
_FULL = "，。、；：？！（）「」『』《》“”‘’【】…"
_WIDE = str.maketrans(",;:?!", "，；：？！")
_TOKEN = re.compile(
    rf"(?P<han>{_HAN})"
    rf"|(?P<full>[{_FULL}]|——)"
    r"|(?P<link>\]\([^)\s]*\)|\[|\]|</?[a-zA-Z][^>]*>|\*+|\|)"
    r"|(?P<word>\$\$.+?\$\$|\$[^$\n]+?\$|`[^`\n]+`|https?://[^\s，。；）]+|\{\d+\}|\([\d'–, -]+\)"
    r"|[+\-−]?\d[\d,]*(?:\.\d+)?%?|[^\W\d_\u3400-\u9fff]+)"
    r"|(?P<mark>[,;:?!.](?![^\s\u3400-\u9fff*|\]<$`\[]))"
    r"|(?P<space>\s+)"
    r"|(?P<other>.)",
    re.S,
)
_ENCLOSED = re.compile(rf"\(((?:[^()]|\([^()]*\))*{_HAN}(?:[^()]|\([^()]*\))*)\)")


def has_han(text: str) -> bool:
    """Whether a text holds a Chinese character.

    Examples:
        >>> has_han("BERT"), has_han("用 BERT")
        (False, True)
    """
    return re.search(_HAN, text) is not None


def tidy(text: str) -> str:
    r"""Set a Chinese text by the convention; a text without Chinese is left alone.

    Examples:
        >>> tidy("由(2)得 $x=1$,故损失为0.5 .")
        '由 (2) 得 $x=1$，故损失为 0.5。'
        >>> tidy("见[这里](a.html)的**C3**；用`relu`激活(即截断)")
        '见[这里](a.html)的 **C3**；用 `relu` 激活（即截断）'
    """
    if not has_han(text):
        return text
    tokens = [[str(found.lastgroup), found[0]] for found in _TOKEN.finditer(_enclosed(text))]
    for k, (kind, mark) in enumerate(tokens):
        if kind == "mark" and (
            _ends_sentence(tokens, k) if mark == "." else _in_chinese(tokens, k)
        ):
            tokens[k] = ["full", "。" if mark == "." else mark.translate(_WIDE)]
    return "".join(_spaced(tokens))


def _enclosed(text: str) -> str:
    """Full-width parentheses around Chinese words, but not those of a link's target."""
    kept = re.split(r"(\$\$.+?\$\$|\$[^$\n]+?\$|`[^`\n]+`|\]\([^)\s]*\))", text)
    if any(part.count("(") != part.count(")") for part in kept[::2]):
        return text  # a formula stands in parentheses; the translator's own marks stay
    return "".join(part if k % 2 else _ENCLOSED.sub(r"（\1）", part) for k, part in enumerate(kept))


def _in_chinese(tokens: list[list[str]], at: int) -> bool:
    """Whether Chinese stands on one side of a mark, or a formula or code on both."""
    sides = (reversed(tokens[:at]), tokens[at + 1 :])
    near = [
        next((one for one in side if one[0] not in ("link", "space")), ["", ""]) for side in sides
    ]
    return any(kind in ("han", "full") for kind, _ in near) or all(
        text[:1] in ("$", "`") and text for _, text in near
    )


def _ends_sentence(tokens: list[list[str]], at: int) -> bool:
    before = next((kind for kind, _ in reversed(tokens[:at]) if kind not in ("link", "space")), "")
    after = [kind for kind, text in tokens[at + 1 :] if text != "*" and kind != "link"]
    return before == "han" or not after


def _spaced(tokens: list[list[str]]) -> list[str]:
    made: list[str] = []
    solid = ""  # kind of the last token that is neither a space nor a mark of Markdown
    place = 0  # where a space before the marks that follow it would stand
    waiting = False  # whether the source has a space there
    for kind, text in tokens:
        if kind == "space":
            waiting = True
            continue
        if text == "|":  # a cell of a table ends
            made.append(" | " if made else "| ")
            solid, waiting, place = "cell", False, len(made)
            continue
        if kind == "link" and solid:
            opens = text in ("[",) or (text.startswith(("*", "<")) and not text.startswith("</"))
            if waiting and solid not in ("han", "full", "cell") and opens:
                made.append(" ")
                waiting = False
            made.append(text)
            if not opens:
                place = len(made)
            continue
        pair = {solid, kind}
        if solid and solid != "cell":
            if pair == {"han", "word"} and solid == "word":
                made.append(" ")
            elif pair == {"han", "word"}:
                made.insert(place, " ")
            elif waiting and "full" not in pair and pair != {"han"}:
                made.append(" ")
        made.append(text)
        solid, waiting, place = kind, False, len(made)
    return [*made[:-1], made[-1].rstrip()] if made else made
