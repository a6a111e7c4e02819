"""Texts that came from elsewhere, made fit for a terminal or for the database."""

from unicodedata import category

REPLACEMENT = "�"
_UNSTORABLE = {0: REPLACEMENT, **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)}


def printable(text: str) -> str:
    """The text without control characters: a name or a log line must not steer the terminal."""
    return "".join(one if one.isprintable() or one == "\n" or category(one) == "Zs" else REPLACEMENT for one in text)


def storable(text: str) -> str:
    """The text without NUL and lone surrogates: PostgreSQL takes neither, and would refuse the whole write."""
    return text.translate(_UNSTORABLE)
