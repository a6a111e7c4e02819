r"""The importer path: `\\server\share\folder`, with exactly two leading backslashes."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from headway.text import shown

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,253}[A-Za-z0-9])?")
# What Windows allows in no file name; '/' would be a second kind of separator.
_FORBIDDEN = set('<>:"|?*/')
_EXAMPLE = (
    r"it needs exactly two leading backslashes; write it as \\server\share\folder, for example \\flexftp\acme\import"
)


@dataclass(frozen=True)
class UncPath:
    """A parsed importer path."""

    server: str
    share: str
    folders: tuple[str, ...]
    """The folders below the share, if any."""

    def __str__(self) -> str:
        return "\\\\" + "\\".join((self.server, self.share, *self.folders))

    def is_on(self, server: str) -> bool:
        """Whether the path names this server; case does not matter."""
        return self.server.casefold() == server.casefold()


def parse_unc(text: str) -> UncPath:
    """The parts of an importer path; one trailing backslash is allowed. Raises ValueError, with a remedy."""
    leading = len(text) - len(text.lstrip("\\"))
    if leading != 2:
        raise ValueError(f"Importer path {shown(text)} has {leading} leading backslashes, not two: {_EXAMPLE}.")
    parts = text[2:].removesuffix("\\").split("\\")
    if len(parts) < 2:
        raise ValueError(f"Importer path {shown(text)} names no share: {_EXAMPLE}.")
    if not _SERVER.fullmatch(parts[0]):
        raise ValueError(f"Importer path {shown(text)}: {shown(parts[0])} is no name of a server: {_EXAMPLE}.")
    for part in parts[1:]:
        problem = _part_problem(part)
        if problem is not None:
            raise ValueError(f"Importer path {shown(text)}: the part {shown(part)} {problem}: {_EXAMPLE}.")
    return UncPath(parts[0], parts[1], tuple(parts[2:]))


def read_server(text: str) -> str:
    """The name of a server as an importer path can name it. Raises ValueError, in words."""
    if not _SERVER.fullmatch(text):
        raise ValueError(f"{shown(text)} is no name of a server, as in \\\\flexftp\\acme\\import")
    return text


def _part_problem(part: str) -> str | None:
    if not part:
        return "is empty (a doubled backslash?)"
    if part != part.strip() or part.endswith("."):
        return "starts or ends with a space, or ends with a dot"
    if _FORBIDDEN & set(part):
        return 'holds one of < > : " | ? * /'
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in part):
        return "holds a control character"
    if len(part.encode()) > 255:
        return "is longer than 255 bytes"
    return None
