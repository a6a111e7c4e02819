"""Texts in files that people open in a spreadsheet. Files that are delivered to programs stay as they are."""

import unicodedata

_FORMULA_STARTS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NEXT_CELL = ("\t", "\r", "\n")


def inert(text: str) -> str:
    """A text that a spreadsheet takes for a text: an apostrophe before what would begin a formula.

    What one does not see (spaces, a byte order mark, zero-width and control characters) is no beginning: some
    spreadsheets drop it.
    """
    if text[:1].isalnum():
        return text
    seen = next((one for one in text if not one.isspace() and unicodedata.category(one) not in ("Cc", "Cf")), "")
    return f"'{text}" if seen in _FORMULA_STARTS or text.startswith(_NEXT_CELL) else text
