"""Which file and folder names may be used on a server, and where they lie below its root.

Every rule raises a permanent `TransferError` that says which name is wrong and why: a name that is
refused today is refused tomorrow.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata

from headway.blocks.transfer import DeliveryKey, TransferError
from headway.text import shown

# Most file systems allow 255 bytes; the temporary name needs its own affixes within that.
MAX_NAME_BYTES = 255
TEMP_PREFIX = "."
TEMP_SUFFIX = ".part"
_MARK = re.compile(r"[0-9a-f]{12}")


def temp_name(name: str) -> str:
    """The name that a file bears until it is whole, where no other delivery makes one of the same name."""
    return f"{TEMP_PREFIX}{name}{TEMP_SUFFIX}"


def part_name(name: str, key: DeliveryKey | None) -> str:
    """The name that one delivery of `name` bears until it is whole: same folder, and no other delivery's.

    The same for the same key, so that a repetition finds what it left; another each time for None.
    """
    mark = f"{_mark(key.owner, name)}{_mark(key.run, name)}" if key is not None else secrets.token_hex(6)
    return temp_name(f"{_stem(name)}.{mark}")


def is_owners_part(part: str, name: str, key: DeliveryKey) -> bool:
    """Whether `part` is what another delivery of `name`, by the same owner, left unfinished."""
    return part.startswith(f"{TEMP_PREFIX}{_stem(name)}.{_mark(key.owner, name)}") and is_part_of(part, name)


def _mark(text: str, name: str) -> str:
    return hashlib.sha256(f"{text}\0{name}".encode()).hexdigest()[:6]


def is_part_of(part: str, name: str) -> bool:
    """Whether `part` is what some delivery of `name` left unfinished, this release's or an earlier one's."""
    head, _, mark = part.removeprefix(TEMP_PREFIX).removesuffix(TEMP_SUFFIX).rpartition(".")
    return part == temp_name(name) or (is_temp_name(part) and head == _stem(name) and _MARK.fullmatch(mark) is not None)


def _stem(name: str) -> str:
    """As much of it as leaves room for a mark."""
    room = MAX_NAME_BYTES - len(temp_name(".").encode()) - 12
    return name.encode()[:room].decode(errors="ignore")


def is_temp_name(name: str) -> bool:
    """Whether a delivery could be using this name for an unfinished file."""
    affixes = len(TEMP_PREFIX) + len(TEMP_SUFFIX)
    return len(name) > affixes and name.startswith(TEMP_PREFIX) and name.endswith(TEMP_SUFFIX)


def check_name(name: str) -> str:
    """`name`, if a single file may bear it on the server.

    Refused: empty, '.' and '..', separators, control characters, text that is no UTF-8, names that
    could be another delivery's temporary file, and names too long to carry the temporary affixes.
    """
    problem = _segment_problem(name)
    if problem is None and is_temp_name(name):
        problem = f"is kept for unfinished transfers (starts with '{TEMP_PREFIX}', ends with '{TEMP_SUFFIX}')"
    if problem is None and len(temp_name(name).encode()) > MAX_NAME_BYTES:
        longest = MAX_NAME_BYTES - len(temp_name(""))
        problem = f"is {len(name.encode())} bytes long; at most {longest} are possible"
    if problem is not None:
        raise TransferError(f"File name {shown(name)} {problem}. Choose another name.", permanent=True)
    return name


def check_root(root: str) -> str:
    """`root` without superfluous slashes; absolute, and free of '..'."""
    if not root.startswith("/"):
        raise TransferError(
            f"Remote root {shown(root)} must be absolute: start it with '/', for example '/upload'.",
            permanent=True,
        )
    return "/" + "/".join(_segments(root, "Remote root"))


def remote_folder(root: str, folder: str) -> str:
    """Absolute POSIX path of `folder`, which is either below `root` already or relative to it."""
    base = check_root(root)
    segments = _segments(folder, "Remote folder")
    if not folder.startswith("/"):
        return join(base, *segments)
    path = "/" + "/".join(segments)
    if base not in ("/", path) and not path.startswith(base + "/"):
        raise TransferError(
            f"Remote folder {shown(folder)} lies outside the server's root {shown(base)}. "
            "Name a folder below it, or change the block's root.",
            permanent=True,
        )
    return path


def check_steps(folder: str) -> None:
    """Refuses a local folder one of whose steps is no name; `..` passes: where it leads to is looked at later."""
    for step in folder.split("/"):
        problem = _segment_problem(step) if step not in ("", ".", "..") else None
        if problem is not None:
            raise TransferError(f"Folder {shown(folder)}: the part {shown(step)} {problem}.", permanent=True)


def join(folder: str, *names: str) -> str:
    """POSIX path of names below an absolute folder."""
    return "/".join([folder.rstrip("/"), *names]) or "/"


def _segments(path: str, what: str) -> list[str]:
    segments = [segment for segment in path.split("/") if segment]
    for segment in segments:
        problem = _segment_problem(segment)
        if problem is not None:
            raise TransferError(f"{what} {shown(path)}: the part {shown(segment)} {problem}.", permanent=True)
    return segments


def _segment_problem(segment: str) -> str | None:
    """Why this cannot be one step of a path, or None."""
    if not segment:
        return "is empty"
    if segment in (".", ".."):
        return "would lead to another folder"
    if "/" in segment or "\\" in segment:
        return "holds a path separator"
    # Cc: control, Cs: lone surrogates (bytes that were no UTF-8), Zl and Zp: line and paragraph breaks.
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in segment):
        return "holds a control character or bytes that are no UTF-8"
    if len(segment.encode()) > MAX_NAME_BYTES:
        return f"is longer than {MAX_NAME_BYTES} bytes"
    return None
