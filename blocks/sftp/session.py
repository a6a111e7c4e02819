"""What a flow does on an SFTP server once it is connected; every action survives a cut connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import TypeVar

from headway.blocks.remote_names import check_name, is_temp_name, join, remote_folder
from headway.blocks.sftp.archive import Move
from headway.blocks.sftp.connection import Connection, Login, open_connection
from headway.blocks.sftp.delivery import Delivery
from headway.blocks.sftp.fetch import Fetch
from headway.blocks.sftp.protocol import NO_SUCH_FILE, Attributes, SftpProtocol, SftpStatus
from headway.blocks.sftp.refusals import explained, refusal
from headway.blocks.sftp.upload import Progress
from headway.blocks.transfer import (
    BeforeRename,
    ConnectionLost,
    DeliveryKey,
    Receipt,
    RemoteFile,
    TransferError,
    Verify,
)

T = TypeVar("T")


class SftpSession:
    """A conversation with one server. Folders are absolute below `root`, or relative to it.

    Every method raises `TransferError`, its `permanent` saying whether a retry can help.
    Not for several threads at once.
    """

    def __init__(self, login: Login, *, root: str, verify: Verify, attempts: int, retry_pause_seconds: float) -> None:
        self._login = login
        self._root = root
        self._verify = verify
        self._attempts = attempts
        self._retry_pause_seconds = retry_pause_seconds
        self._connection: Connection | None = None
        self._host_key = ""

    def open(self) -> None:
        """Connects, so that a wrong key or password shows at once."""
        self._run(lambda connection: None)

    def close(self) -> None:
        """Harmless twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # Files

    def deliver(
        self,
        local: Path,
        folder: str,
        name: str,
        *,
        on_progress: Progress | None = None,
        key: DeliveryKey | None = None,
        before_rename: BeforeRename | None = None,
    ) -> Receipt:
        """Puts a local file on the server as `name`, replacing what has that name; the proof of it.

        The file has the final name only once it is whole. Memory use does not depend on its size.
        `on_progress` gets (bytes sent or found there, bytes in all). `key` tells this delivery from others of the same
        name: a later one with it goes on with what this one left. Never two at the same time with one key.
        """
        started_at = datetime.now(UTC)
        delivery = Delivery(
            local, remote_folder(self._root, folder), name, key, self._verify, on_progress, before_rename
        )
        try:
            consumed, attempts = self._run(delivery.attempt)
        except TransferError:
            if not delivery.renamed:
                raise
            # It is delivered; only whether the receiver has taken it already could not be seen.
            consumed, attempts = False, self._attempts
        return Receipt(
            name=name, path=delivery.path, bytes=delivery.source.bytes, sha256=delivery.sha256,
            host_key=self._host_key, attempts=attempts,
            started_at=started_at, ended_at=datetime.now(UTC), consumed=consumed, verified=delivery.verified,
        )  # fmt: skip

    def fetch(self, folder: str, name: str, local: Path, *, on_progress: Progress | None = None) -> Receipt:
        """Brings a remote file to the path `local`, which appears only once it is whole.

        The receipt's `sha256` is of the bytes received. A file that changes meanwhile is an error.
        """
        started_at = datetime.now(UTC)
        fetch = Fetch(remote_folder(self._root, folder), name, local, on_progress)
        try:
            _, attempts = self._run(fetch.attempt)
        finally:
            fetch.discard()
        return Receipt(
            name=name, path=fetch.path, bytes=fetch.bytes, sha256=fetch.sha256,
            host_key=self._host_key, attempts=attempts,
            started_at=started_at, ended_at=datetime.now(UTC), consumed=False, verified="size",
        )  # fmt: skip

    def list(self, folder: str, pattern: str = "*") -> list[RemoteFile]:
        """Files (no folders) whose name matches the shell pattern, by name; unfinished transfers are left out."""
        path = remote_folder(self._root, folder)

        def look(connection: Connection) -> list[RemoteFile]:
            with explained("list", path, connection.address):
                return sorted(_files(connection.protocol, path, pattern), key=lambda file: file.name)

        return self._run(look)[0]

    def stat(self, folder: str, name: str) -> RemoteFile | None:
        """What the server tells of one file; None where there is no file of that name."""
        path = join(remote_folder(self._root, folder), check_name(name))

        def look(connection: Connection) -> RemoteFile | None:
            with explained("look at", path, connection.address):
                there = connection.protocol.stat_or_none(path)
            return None if there is None or there.is_folder else _remote_file(name, there)

        return self._run(look)[0]

    def exists(self, folder: str, name: str) -> bool:
        """Whether a file of that name is there."""
        return self.stat(folder, name) is not None

    def look(self, folder: str, names: Sequence[str]) -> dict[str, RemoteFile | None]:
        """What the server tells of each of these files; None for one that is not there.

        An error where the folder itself is not there: then nothing can be said of the files.
        """
        path = remote_folder(self._root, folder)

        def one_by_one(connection: Connection) -> dict[str, RemoteFile | None]:
            with explained("look into", path, connection.address):
                connection.protocol.stat(path)
                found = {name: connection.protocol.stat_or_none(join(path, check_name(name))) for name in names}
            return {
                name: None if there is None or there.is_folder else _remote_file(name, there)
                for name, there in found.items()
            }

        return self._run(one_by_one)[0]

    def remove(self, folder: str, name: str) -> None:
        """Deletes one file; an error where it is not there."""
        path = join(remote_folder(self._root, folder), check_name(name))
        was_sent = False

        def delete(connection: Connection) -> None:
            nonlocal was_sent
            try:
                sent_before, was_sent = was_sent, True
                connection.protocol.remove(path)
            except SftpStatus as status:
                # Gone on the second attempt: the first one's answer was lost.
                if not (sent_before and status.code == NO_SUCH_FILE):
                    raise refusal(status, "remove", path, connection.address) from status

        self._run(delete)

    def archive(self, folder: str, name: str, into: str) -> str:
        """Moves a file into a subfolder, made if missing, and returns its path there.

        Never overwrites: "list.csv" becomes "list-1.csv", "list-2.csv" and so on.
        """
        source = remote_folder(self._root, folder)
        move = Move(source, check_name(name), remote_folder(source, into.strip("/")))
        return self._run(move.attempt)[0]

    # Connections

    def _run(self, action: Callable[[Connection], T]) -> tuple[T, int]:
        """The action's result and how many connections it took; reconnects up to `attempts`."""
        for attempt in count(1):
            try:
                return action(self._connect()), attempt
            except ConnectionLost as lost:
                self.close()
                if attempt >= self._attempts:
                    tries = "1 attempt" if attempt == 1 else f"{attempt} attempts"
                    raise ConnectionLost(f"{lost} Given up after {tries}.") from lost
                time.sleep(self._retry_pause_seconds)
        raise AssertionError("unreachable")

    def _connect(self) -> Connection:
        if self._connection is not None and not self._connection.is_alive():
            self.close()  # cut while nothing was asked of it: that is no failed attempt
        if self._connection is None:
            self._connection = open_connection(self._login)
            self._host_key = self._connection.host_key.fingerprint
        return self._connection


def _files(protocol: SftpProtocol, folder: str, pattern: str) -> Iterator[RemoteFile]:
    for name, attributes in protocol.entries(folder):
        if is_temp_name(name) or not fnmatchcase(name, pattern):
            continue
        # A folder's listing tells of a link itself, not of what it leads to.
        there = protocol.stat_or_none(join(folder, name)) if attributes.is_link else attributes
        if there is not None and there.is_file:
            yield _remote_file(name, there)


def _remote_file(name: str, attributes: Attributes) -> RemoteFile:
    return RemoteFile(name, attributes.bytes or 0, attributes.modified_at)
