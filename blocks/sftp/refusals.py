"""What a server's refusal means to an operator, and whether trying again can help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headway.blocks.sftp.protocol import (
    NO_SPACE,
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    QUOTA_EXCEEDED,
    UNSUPPORTED,
    SftpStatus,
)
from headway.blocks.transfer import TransferError
from headway.text import shown

# Codes above 8 belong to later versions of SFTP, but servers send them under version 3 as well.
NO_SUCH_PATH, WRITE_PROTECTED = 10, 12

# Status -> what it says, what to do, and whether it stays so until a person acts.
_MEANINGS = {
    NO_SUCH_FILE: ("it does not exist", "Check the name and the folder.", False),
    NO_SUCH_PATH: ("its folder does not exist", "Create the folder, or correct the path.", True),
    PERMISSION_DENIED: ("permission denied", "Give the block's user that right on the server.", True),
    WRITE_PROTECTED: ("the server's disk is write-protected", "Ask the server's owner.", True),
    NO_SPACE: ("the server's disk is full", "Make room there.", False),
    QUOTA_EXCEEDED: ("the user's quota is used up", "Make room there, or have the quota raised.", False),
    UNSUPPORTED: ("the server cannot do that", "Ask the server's owner.", True),
}
_OTHERWISE = ("the server gives no reason", "Ask the server's owner, or see the server's log.", False)


def refusal(status: SftpStatus, doing: str, path: str, address: str) -> TransferError:
    """The sentence for one refusal, for example `doing` = "write"."""
    meaning, remedy, permanent = _MEANINGS.get(status.code, _OTHERWISE)
    said = f" (it says: {shown(status.text)})" if status.text else f" (status {status.code})"
    return TransferError(
        f"SFTP server {address} refused to {doing} {shown(path)}: {meaning}{said}. {remedy}", permanent
    )


@contextmanager
def explained(doing: str, path: str, address: str) -> Iterator[None]:
    """Turns a refusal inside into a `TransferError`."""
    try:
        yield
    except SftpStatus as status:
        raise refusal(status, doing, path, address) from status
