"""The temporary file of a delivery: resumed or sent anew, and compared before it gets its final name."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress

from headway.blocks.local_source import LocalSource
from headway.blocks.sftp.connection import Connection
from headway.blocks.sftp.protocol import (
    FLAG_CREATE,
    FLAG_READ,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    NO_SPACE,
    NO_SUCH_FILE,
    PERMISSION_DENIED,
    SftpProtocol,
    SftpStatus,
)
from headway.blocks.sftp.refusals import explained, refusal
from headway.blocks.sftp.streams import BackgroundHash, PipelinedReader, PipelinedWriter
from headway.blocks.transfer import ConnectionLost, TransferError, Verify
from headway.text import shown

Progress = Callable[[int, int], None]

# One read of the local file, one hand-over to the hash, one call of `progress`.
CHUNKS_PER_READ = 4


class PartUpload:
    """One attempt, on one connection, to have all of `source` under the temporary name `path`."""

    def __init__(self, connection: Connection, source: LocalSource, folder: str, path: str, progress: Progress) -> None:
        self._protocol = connection.protocol
        self._address = connection.address
        self._source = source
        self._folder = folder
        self._path = path
        self._progress = progress
        self._left_over = False

    def complete(self, verify: Verify) -> tuple[str, Verify]:
        """SHA-256 (hex) of the whole file, and how the server's copy was compared with it.

        Raises `ConnectionLost` with the part left for a resume, or `TransferError`; where no retry could
        use the part, it is removed.
        """
        offset, digest = self._resume()
        try:
            # `None` is not 0: an empty part that is there and matches is whole for an empty file.
            is_whole = offset == self._source.bytes
            if not is_whole:
                self._send_from(offset or 0, digest)
            sha256 = digest.hexdigest()
        finally:
            digest.close()
        try:
            self._source.check_unchanged()
            return sha256, "read_back" if is_whole else self._check(sha256, verify)
        except ConnectionLost:
            raise
        except TransferError:
            self._discard()
            raise

    # Resuming

    def _resume(self) -> tuple[int | None, BackgroundHash]:
        """From where to go on, and the hash of what lies before; None where to start anew."""
        digest = BackgroundHash()
        offset = None
        try:
            with suppress(SftpStatus):  # a drop box that cannot be read: all of it is sent again
                offset = self._matching_bytes(digest)
        except BaseException:
            digest.close()
            raise
        if offset is None:
            digest.close()
            digest = BackgroundHash()
            if self._left_over:  # not written into: who left it may still have it open
                self._discard()
        return offset, digest

    def _matching_bytes(self, digest: BackgroundHash) -> int | None:
        """Size of the part on the server, if each of its bytes was read back and is the local file's."""
        there = self._protocol.stat_or_none(self._path)
        self._left_over = there is not None and there.is_file
        if there is None or not there.is_file or there.bytes is None or there.bytes > self._source.bytes:
            return None
        handle = self._protocol.open(self._path, FLAG_READ)
        reader = PipelinedReader(self._protocol, handle, 0, there.bytes).pieces()
        compared = 0
        with self._source.open() as local, closing(reader):
            for data in reader:
                if local.read(len(data)) != data:
                    break
                digest.update(data)
                compared += len(data)
                self._progress(compared, self._source.bytes)
        self._protocol.close(handle)
        return compared if compared == there.bytes else None

    # Sending

    def _send_from(self, offset: int, digest: BackgroundHash) -> None:
        handle = self._open(FLAG_WRITE | FLAG_CREATE | (0 if offset else FLAG_TRUNCATE))
        writer = PipelinedWriter(self._protocol, handle, offset)
        block_bytes = writer.chunk_bytes * CHUNKS_PER_READ
        try:
            with self._source.open() as local:
                local.seek(offset)
                # Never more than the size it had: a file that grows is noticed afterwards, not chased.
                while piece := local.read(min(block_bytes, self._source.bytes - offset)):
                    writer.write(piece)
                    digest.update(piece)
                    offset += len(piece)
                    self._progress(offset, self._source.bytes)
            writer.finish()
            self._protocol.close(handle)
        except SftpStatus as status:
            raise self._write_refused(status, handle) from status
        finally:
            writer.abandon()

    def _open(self, flags: int) -> bytes:
        try:
            return self._protocol.open(self._path, flags)
        except SftpStatus as status:
            if status.code != NO_SUCH_FILE:
                raise refusal(status, "create", self._path, self._address) from status
            raise TransferError(
                f"Folder {shown(self._folder)} does not exist on SFTP server {self._address}. "
                "Create it there, or correct the path that leads to it.",
                permanent=True,
            ) from status

    def _write_refused(self, status: SftpStatus, handle: bytes) -> TransferError:
        """Why the write failed. OpenSSH says only "Failure" of a full disk, so it is asked for the room left."""
        free = None
        with suppress(SftpStatus):
            free = self._protocol.free_bytes(self._folder)
        if free is not None and free < self._source.bytes and status.code != PERMISSION_DENIED:
            status = SftpStatus(NO_SPACE, status.text)
        with suppress(SftpStatus):
            self._protocol.close(handle)
        self._discard()
        return refusal(status, "write", self._path, self._address)

    def _discard(self) -> None:
        """Removes a part that no retry could use; on a full disk it would also be in the way."""
        with suppress(SftpStatus):
            self._protocol.remove(self._path)

    # Comparing

    def _check(self, sha256: str, verify: Verify) -> Verify:
        """Compares the part with what was sent, by its size or by its bytes; says which."""
        with explained("look at", self._path, self._address):
            there = self._protocol.stat(self._path)
        if there.bytes is not None and there.bytes != self._source.bytes:
            raise TransferError(
                f"SFTP server {self._address} holds {there.bytes} of the {self._source.bytes} bytes sent as "
                f"{shown(self._path)}, and reported no error. Its disk may be full or a quota used up: "
                "make room there."
            )
        if verify == "size" and there.bytes is not None:
            return "size"
        with explained("read back", self._path, self._address):
            same = remote_sha256(self._protocol, self._path, self._source.bytes) == sha256
        if not same:
            raise TransferError(
                f"SFTP server {self._address} gives back other bytes than were sent as {shown(self._path)}. "
                "Nothing was delivered: have the server's disk checked."
            )
        return "read_back"


def remote_sha256(protocol: SftpProtocol, path: str, size: int) -> str:
    """SHA-256 (hex) of the first `size` bytes of a remote file, read back in full."""
    digest = BackgroundHash()
    try:
        handle = protocol.open(path, FLAG_READ)
        with closing(PipelinedReader(protocol, handle, 0, size).pieces()) as pieces:
            for piece in pieces:
                digest.update(piece)
        protocol.close(handle)
        return digest.hexdigest()
    finally:
        digest.close()
