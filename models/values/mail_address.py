"""A mail address as every mail server takes it: `ops@example.com`, one address without a display name."""

import re

MAX_LENGTH = 254
"""RFC 5321, 4.5.3.1: what fits into a command of SMTP."""
_LOCAL_PART = r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]{1,64}"
_NAME = r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*"  # machines in a local network may have an underscore
_NUMBER = r"\[(IPv6:)?[0-9A-Fa-f.:]+\]"
PATTERN = f"{_LOCAL_PART}@({_NAME}|{_NUMBER})"
"""ASCII only: an address beyond it needs an extension that many mail servers lack, and fails when it is used."""


def read_mail_address(text: str) -> str:
    """The address as it is. Raises ValueError, in words, for a text that is none."""
    if not re.fullmatch(PATTERN, text) or len(text) > MAX_LENGTH:
        raise ValueError(f"{text!r} is not a mail address, such as ops@example.com")
    return text


def sender_of(username: str | None) -> str:
    """The sender of a mail that this user of a mail server sends: the user's name where it is an address."""
    try:
        return read_mail_address(username or "")
    except ValueError:
        return "headway@localhost"
