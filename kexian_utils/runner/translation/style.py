"""How Chinese is set here: one convention for punctuation and spaces, applied and checked.

In a Chinese sentence punctuation is full-width, and so are parentheses around Chinese words;
between a Han character and a Latin word, a number, a formula or code stands one space, beside
full-width punctuation none. Names of equations, ``(2)``, keep their parentheses. A stop stands
behind emphasis, not in it: ``**界**。``
"""

from __future__ import annotations

import re

__all__ = ["has_han", "literal_asterisks", "tidy"]

_HAN = r"[\u3400-\u4dbf\u4e00-\u9fff〇]"
_FULL = "，。、；：？！（）「」『』《》“”‘’【】…"
_STOPS = "，。、；：？！…"
_PAIRS = ("“”", "‘’", "（）", "「」", "『』", "《》", "【】")
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
        >>> tidy("**概要。**人们用Adam **就是**这样")
        '**概要**。人们用 Adam **就是**这样'
    """
    if not has_han(text):
        return text
    tokens = [[str(found.lastgroup), found[0]] for found in _TOKEN.finditer(_enclosed(text))]
    for k, (kind, mark) in enumerate(tokens):
        if kind == "mark" and (
            _ends_sentence(tokens, k) if mark == "." else _in_chinese(tokens, k)
        ):
            tokens[k] = ["full", "。" if mark == "." else mark.translate(_WIDE)]
    return "".join(_spaced(_outside(tokens)))


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


def _outside(tokens: list[list[str]]) -> list[list[str]]:
    """Emphasis whose closing marks Markdown knows: they stand before a stop, not behind it.

    Behind punctuation and before a letter, a Chinese one too, asterisks close nothing; before
    punctuation and behind a letter they open nothing.
    """
    opened: list[int] = []
    k = 0
    while k < len(tokens):
        kind, text = tokens[k]
        if kind != "link" or not text.startswith("*"):
            k += 1
            continue
        if opened and tokens[opened[-1]][1] == text:
            first = opened.pop()
            while k - first > 2 and tokens[k - 1][1] in _STOPS:
                tokens[k - 1], tokens[k] = tokens[k], tokens[k - 1]
                k -= 1
            pair = tokens[first + 1][1] + tokens[k - 1][1]
            outer = [tokens[n][0] if 0 <= n < len(tokens) else "" for n in (first - 1, k + 1)]
            if pair in _PAIRS and k - first > 3 and {"han", "word"} & set(outer):
                tokens[first], tokens[first + 1] = tokens[first + 1], tokens[first]
                tokens[k], tokens[k - 1] = tokens[k - 1], tokens[k]
        else:
            opened.append(k)
        k += 1
    return tokens


def _spaced(tokens: list[list[str]]) -> list[str]:
    made: list[str] = []
    solid = ""  # kind of the last token that is neither a space nor a mark of Markdown
    place = 0  # where a space before the marks that follow it would stand
    waiting = False  # whether the source has a space there
    opened: list[str] = []  # asterisks that are to be closed
    for kind, text in tokens:
        if kind == "space":
            waiting = True
            continue
        if text == "|":  # a cell of a table ends
            made.append(" | " if made else "| ")
            solid, waiting, place = "cell", False, len(made)
            continue
        if kind == "link" and solid:
            opens = text == "[" or (text.startswith("<") and not text.startswith("</"))
            if text.startswith("*"):
                opens = opened[-1:] != [text]
                opened = [*opened, text] if opens else opened[:-1]
            made.append(text)
            if not opens:
                place = len(made)
            continue
        if text.startswith("*"):
            opened.append(text)
        pair = {solid, kind}
        if solid and solid != "cell":
            if pair == {"han", "word"} or (waiting and "full" not in pair and pair != {"han"}):
                made.insert(place, " ")
        made.append(text)
        solid, waiting, place = kind, False, len(made)
    return [*made[:-1], made[-1].rstrip()] if made else made


def literal_asterisks(text: str) -> bool:
    """Whether a piece of Markdown shows asterisks, because they open or close no emphasis.

    Examples:
        >>> literal_asterisks("**界。**它"), literal_asterisks("**界**。它")
        (True, False)
    """
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

    parsed = MarkdownIt("commonmark").use(dollarmath_plugin).parseInline(text)
    return any(
        "*" in part.content
        for token in parsed
        for part in token.children or ()
        if part.type == "text"
    )
