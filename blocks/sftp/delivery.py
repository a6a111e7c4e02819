"""One file on its way to its final name, over as many connections as it takes.

The bytes go to a temporary name in the same folder, are compared there, and only then renamed: no half
file ever bears the final name. The temporary name is this delivery's own: two of one name never write into
one file, and the one that is renamed last bears the name, whole. What must survive a cut connection is kept
here, above all whether a rename was sent: its answer may be lost although it was carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headway.blocks.local_source import LocalSource
from headway.blocks.remote_names import check_name, is_owners_part, is_part_of, join, part_name
from headway.blocks.sftp.connection import Connection
from headway.blocks.sftp.protocol import (
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    POSIX_RENAME,
    UNSUPPORTED,
    Attributes,
    SftpProtocol,
    SftpStatus,
)
from headway.blocks.sftp.refusals import explained, refusal
from headway.blocks.sftp.upload import PartUpload, Progress, remote_sha256
from headway.blocks.transfer import BeforeRename, DeliveryKey, TransferError, Verify
from headway.text import shown

ABANDONED_AFTER = timedelta(days=2)
"""Since an unfinished file was last written to. No transfer pauses for so long; one that did would begin anew."""


class Delivery:
    """Brings one local file to `folder`/`name`; `attempt` is called again after a reconnect."""

    def __init__(
        self,
        local: Path,
        folder: str,
        name: str,
        key: DeliveryKey | None,
        verify: Verify,
        progress: Progress | None,
        before_rename: BeforeRename | None,
    ) -> None:
        """`key`: another delivery with it is this one, tried again, and goes on with what this one left."""
        self.path = join(folder, check_name(name))
        self.source = LocalSource(local)
        self.sha256 = ""
        self.verified: Verify = verify
        self.renamed = False
        self._folder = folder
        self._name, self._key = name, key
        self._part = join(folder, part_name(name, key))
        self._swept = False
        self._verify = verify
        self._progress = progress or (lambda sent, total: None)
        self._before_rename = before_rename or (lambda path: None)
        self._rename_unanswered = False
        self._standing: Attributes | None = None  # what bore the final name just before the rename

    def attempt(self, connection: Connection) -> bool:
        """Delivers, or finds that it was delivered; whether the receiver has taken the file already.

        Raises `ConnectionLost` where another connection may carry on.
        """
        if self._rename_unanswered and not self.renamed:
            self.renamed = self._lost_rename_took_place(connection)
        if not self.renamed:
            self._sweep(connection.protocol)
            upload = PartUpload(connection, self.source, self._folder, self._part, self._progress)
            self.sha256, self.verified = upload.complete(self._verify)
            self._rename(connection)
        return self._is_consumed(connection.protocol)

    def _sweep(self, protocol: SftpProtocol) -> None:
        """Removes what deliveries of this name left unfinished and no run comes back for. Tried once; it may fail."""
        if self._swept:
            return
        self._swept = True
        before = datetime.now(UTC) - ABANDONED_AFTER
        with suppress(SftpStatus):
            for left, there in list(protocol.entries(self._folder)):
                old = there.modified_at is not None and there.modified_at < before
                ours = self._key is not None and is_owners_part(left, self._name, self._key)
                path = join(self._folder, left)
                if there.is_file and path != self._part and (ours or (old and is_part_of(left, self._name))):
                    protocol.remove(path)

    def _rename(self, connection: Connection) -> None:
        protocol, address = connection.protocol, connection.address
        with explained("look at", self.path, address):
            self._standing = protocol.stat_or_none(self.path)
        if self._standing is not None and self._standing.is_folder:
            raise TransferError(
                f"{shown(self.path)} is a folder on SFTP server {address}: a file cannot take its place. "
                "Choose another name or folder.",
                permanent=True,
            )
        self._before_rename(self.path)
        try:
            self._replace(protocol)
        except SftpStatus as status:
            # An earlier rename, given up as lost, may have been carried out only now.
            late = status.code == NO_SUCH_FILE and self._rename_unanswered
            if not (late and self._lost_rename_took_place(connection)):
                raise refusal(status, "rename to", self.path, address) from status
        self.renamed = True

    def _replace(self, protocol: SftpProtocol) -> None:
        """In one step where the server can; else the old file goes first, and only once a rename said it must.

        A cut between the two leaves the whole new file under its temporary name: the retry renames it.
        """
        if POSIX_RENAME in protocol.extensions:
            try:
                return self._send_rename(protocol.posix_rename)
            except SftpStatus as status:
                if status.code != UNSUPPORTED:
                    raise
        try:
            return self._send_rename(protocol.rename)
        except SftpStatus as status:
            if self._standing is None or status.code in (NO_SUCH_FILE, PERMISSION_DENIED):
                raise
        protocol.remove(self.path)
        self._standing = None
        return self._send_rename(protocol.rename)

    def _send_rename(self, rename: Callable[[str, str], None]) -> None:
        before, self._rename_unanswered = self._rename_unanswered, True
        try:
            rename(self._part, self.path)
        except SftpStatus:
            self._rename_unanswered = before  # an answer came: this one did not take place
            raise

    def _lost_rename_took_place(self, connection: Connection) -> bool:
        """Whether a rename without an answer was carried out, judged by what bears the two names now.

        The part had been compared as a whole before the rename was sent. So where neither name exists,
        the receiver has taken the file.
        """
        protocol = connection.protocol
        with explained("look for", self.path, connection.address):
            if protocol.stat_or_none(self._part) is not None:
                return False
            there = protocol.stat_or_none(self.path)
        if there is None:
            return True
        if there.bytes in (None, self.source.bytes) and self._holds_our_bytes(protocol, there):
            return True
        if there == self._standing:
            return False
        raise TransferError(
            f"SFTP server {connection.address} did not confirm the rename to {shown(self.path)}; now another "
            f"file bears that name and the uploaded one is gone, so it cannot be told whether it arrived. "
            "Ask the receiver before sending it again.",
            permanent=True,
        )

    def _holds_our_bytes(self, protocol: SftpProtocol, there: Attributes) -> bool:
        try:
            return remote_sha256(protocol, self.path, self.source.bytes) == self.sha256
        except SftpStatus as status:
            # Taken while we looked, or not ours to read: then it is ours if it was not there before.
            return status.code == NO_SUCH_FILE or there != self._standing

    def _is_consumed(self, protocol: SftpProtocol) -> bool:
        """Whether the receiver has already taken (or replaced) what was delivered."""
        try:
            there = protocol.stat_or_none(self.path)
        except SftpStatus:
            return False  # not ours to look at; the rename itself was acknowledged
        return there is None or there.bytes not in (None, self.source.bytes)
