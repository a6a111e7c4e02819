"""What file transfers hand back or raise; standard library only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

Verify = Literal["size", "read_back"]
BeforeRename = Callable[[str], None]
"""Called with the final path once the whole file is there, just before it gets its name; who raises prevents that."""


class DeliveryKey(NamedTuple):
    """Tells a delivery from others of the same file name."""

    owner: str
    """Who never has two deliveries of one name at a time: what an earlier one left belongs to no delivery."""
    run: str
    """The same where a delivery is tried again: it may go on with what it left."""


class TransferError(Exception):
    """A transfer did not succeed; the message is a sentence for an operator.

    `permanent` says that trying again changes nothing until a person acts (wrong password, missing
    folder): flows retry unless it is set.
    """

    expected = True
    """No defect is behind it: log and reset page show the message, without a traceback."""

    def __init__(self, message: str, permanent: bool = False) -> None:
        # Both go to args, so that the error survives pickling between processes.
        super().__init__(message, permanent)
        self.message = message
        self.permanent = permanent

    def __str__(self) -> str:
        return self.message


class ConnectionLost(TransferError):
    """The other side went away or stopped answering; a session reconnects and carries on."""


@dataclass(frozen=True)
class RemoteFile:
    """One file on the server. `modified_at` is None where the server does not tell."""

    name: str
    bytes: int
    modified_at: datetime | None


@dataclass(kw_only=True, frozen=True)
class Receipt:
    """Proof of one transfer.

    `sha256` (hex) is of the bytes that were sent (or received), `host_key` the fingerprint of the server that
    took them. `attempts` counts connections used, 1 where nothing was cut. `consumed`: right after
    the rename the receiver had already taken the file. `verified`: how the whole temporary file was
    compared before it got its final name. Instants are aware UTC.
    """

    name: str
    path: str
    bytes: int
    sha256: str
    host_key: str
    attempts: int
    started_at: datetime
    ended_at: datetime
    consumed: bool
    verified: Verify

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON-able values; instants in ISO 8601 with a Z."""
        values = asdict(self)
        for key in ("started_at", "ended_at"):
            values[key] = values[key].astimezone(UTC).isoformat().replace("+00:00", "Z")
        return values
