"""Text made safe for Markdown and HTML."""

import html
import re

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_MAKES_LINKS = re.compile(r"(?<=[:@])(?=\S)|(?<=www)(?=\\\.)|(?<=WWW)(?=\\\.)")


def sentence(text: str) -> str:
    """The text with a capital in front: an error begins with a small letter, as it follows "headway: "."""
    return text[:1].upper() + text[1:]


def plain(text: str) -> str:
    """Text for places that read Markdown (errors, toasts, labels): nothing in it is markup, link or picture."""
    escaped = _PUNCTUATION.sub(r"\\\1", text.replace("\n", "  \n"))
    return _MAKES_LINKS.sub("\u2060", escaped)


def tag(name: str, text: str) -> str:
    """The text as an HTML element, itself no HTML."""
    return f"<{name}>{html.escape(text)}</{name}>"
