"""BERT's WordPiece in plain Python, after Devlin et al. (2019): slow, and nobody's library."""

import unicodedata


def tokens(text, vocabulary, lowercase):
    """The tokens, one after another, without [CLS] and [SEP]."""
    return [piece for word in words(text, lowercase) for piece in pieces(word, vocabulary)]


def words(text, lowercase):
    found = [""]
    for character in "".join(shown(c, lowercase) for c in text):
        if character.isspace():
            found.append("")
        elif symbol(character) or ideograph(ord(character)):
            found += [character, ""]
        else:
            found[-1] += character
    return [word for word in found if word]


def shown(character, lowercase):
    if character in "\t\n\r":
        return " "
    if character == "\ufffd" or unicodedata.category(character).startswith("C"):
        return ""
    if not lowercase or character.isspace():
        return character
    decomposed = unicodedata.normalize("NFD", character.lower())
    return "".join(c for c in decomposed if unicodedata.category(c) != "Mn")


def symbol(character):
    return character in "$+<=>^`|~" or unicodedata.category(character).startswith("P")


def ideograph(code):
    blocks = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x2CEAF),
              (0x2F800, 0x2FA1F))  # fmt: skip
    return any(first <= code <= last for first, last in blocks)


def pieces(word, vocabulary):
    found, start = [], 0
    if len(word) > 100:
        return ["[UNK]"]
    while start < len(word):
        prefix = "##" if start else ""
        fits = (e for e in range(len(word), start, -1) if prefix + word[start:e] in vocabulary)
        end = next(fits, None)
        if end is None:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found
