"""Names and folders that try to get out: a list of known tricks, and any number made from a hostile alphabet."""

import random
from collections.abc import Iterator

KNOWN = [
    "",
    ".",
    "..",
    "...",
    "/",
    "//",
    "\\",
    "\\\\",
    "../",
    "..\\",
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "a/../../b",
    "a\\..\\..\\b",
    "....//....//etc",
    "..;/",
    "/etc/passwd",
    "//server/share",
    "\\\\server\\share\\..\\other",
    "\\\\server\\share\\.\\x",
    "\\\\?\\C:\\windows",
    "\\\\.\\pipe\\x",
    "\\\\..\\share\\x",
    "\\\\server\\..\\x",
    "C:\\windows",
    "C:x",
    "~",
    "~root",
    "~/.ssh/authorized_keys",
    "$HOME/x",
    "`id`",
    "$(id)",
    "a\0b",
    "..\0",
    "x.csv\0.png",
    "%2e%2e%2f",
    "%2e%2e/",
    "..%2f",
    "..%5c",
    "%252e%252e%252f",
    "..%c0%af",
    "..%00/",
    "%u002e%u002e/",
    "\uff0e\uff0e\uff0f",  # full-width dots and slash
    "\uff0e\uff0e/",
    "\u2024\u2024/",  # one-dot leaders
    "\u2025/",  # two-dot leader
    "..\u2215x",  # division slash
    "..\u2044x",  # fraction slash
    "..\u29f8x",  # big solidus
    "..\uff3cx",  # full-width backslash
    "..\u2216x",  # set minus
    "\u202e../",  # right-to-left override
    "\ufeff../",
    ".\u200b./",
    "..\r/",
    "..\n",
    "a\n../b",
    "\udc2e\udc2e/",  # what os.fsdecode makes of bytes that are no UTF-8
    "{date}/../{time}",
    "{object}",
    "{task}",
    "{{task}}",
    "{date:../..}",
    "{date:%}",
    "{date:/}",
    "{time:%H/%M}",
    "{date:%D}",  # strftime's own slashes: 11/23/26
    "{date:%x}",
    "{date:\\}",
    "{sequence:/}",
    "{sequence:./>9}",
    "{task.__class__}",
    "{0}",
    ".a.part",
    "..part",
    "...part",
    "-rf",
    "CON",
    "NUL.csv",
    "a" * 256,
    "../" * 100,
]
_ALPHABET = [
    *'..../\\\\ ~:*?"<>|%a0-_;\0\n\r\t\x1b\x7f\x85',
    *("..", "../", "..\\", "/../", "\\..\\", "%2e", "%2f", "%5c", "%00", "//", "\\\\"),
    *("\uff0e", "\uff0f", "\uff3c", "\u2024", "\u2025", "\u2215", "\u2044", "\u29f8", "\u2216", "\u202e", "\u200b"),
    *("\u2028", "\u2029", "\ud800", "\udc2e", "\u0130", "e\u0301", "\xe9", "\ufeff"),
    *("{date}", "{time:%H/%M}", "{date:%x}", "{date:%D}", "{task}", "{object}", "{sequence:04}", "{", "}", "{x}"),
    *("\\\\server\\share\\", "\\\\flexftp\\acme\\import", "server", "share", "link", "inner", "root", "x.csv", ".part"),
]


def hostile_paths(count: int, seed: int) -> Iterator[str]:
    """`count` strings, the known ones first; the same ones for the same seed."""
    yield from KNOWN[:count]
    chance = random.Random(seed)
    for _ in range(count - len(KNOWN)):
        yield "".join(chance.choices(_ALPHABET, k=chance.randint(1, 9)))
