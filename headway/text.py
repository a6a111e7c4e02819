"""Text from outside, made fit for a log line, a terminal or the database."""

import re
from unicodedata import category

REPLACEMENT = "�"
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
_UNSTORABLE = {0: REPLACEMENT, **dict.fromkeys(range(0xD800, 0xE000), REPLACEMENT)}


def first_line(error: BaseException) -> str:
    """The first line of what an error says; where it says nothing, its class in words ("connection reset")."""
    said = str(error).strip()
    return said.splitlines()[0] if said else class_in_words(error)


def class_in_words(error: BaseException) -> str:
    """ConnectionResetError: "connection reset". An error of one general word keeps it: EOFError is "EOF error"."""
    words = _WORD.findall(type(error).__name__.lstrip("_"))
    if len(words) > 2 and words[-1] in ("Error", "Exception"):
        words.pop()
    return " ".join(word if word.isupper() else word.lower() for word in words)


_CLOSED = (EOFError, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


def cause(error: BaseException) -> str:
    """What an error says, to stand before a full stop; in words by its class where its own text is empty.

    Libraries raise many errors of a lost connection without a text: EOFError(), SSHException(""), OSError().
    """
    if told := " ".join(str(error).split()).rstrip("."):
        return told
    if isinstance(error, _CLOSED):
        return "the other side closed the connection"
    return "there was no answer in time" if isinstance(error, TimeoutError) else class_in_words(error)


def printable(text: str) -> str:
    """The text without control characters: a name or a log line must not steer the terminal."""
    return "".join(one if one.isprintable() or one == "\n" or category(one) == "Zs" else REPLACEMENT for one in text)


def shown(text: str) -> str:
    """The text in quotes, for a message; characters that a terminal would obey are escaped."""
    printable = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return f"'{printable}'"


def storable(text: str) -> str:
    """The text without NUL and lone surrogates. PostgreSQL takes neither and would refuse the whole write."""
    return text.translate(_UNSTORABLE)
