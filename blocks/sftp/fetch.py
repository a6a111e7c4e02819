"""One file from the server, over as many connections as it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headway.blocks.remote_names import check_name, join, temp_name
from headway.blocks.sftp.connection import Connection
from headway.blocks.sftp.protocol import FLAG_READ, Attributes, SftpProtocol
from headway.blocks.sftp.refusals import explained
from headway.blocks.sftp.streams import BackgroundHash, PipelinedReader
from headway.blocks.sftp.upload import Progress
from headway.blocks.transfer import TransferError
from headway.text import shown


class Fetch:
    """Brings `folder`/`name` to `local`, which appears only once it is whole.

    `attempt` is called again after a reconnect: it goes on where the last one ended, if the remote
    file is still the same by size and date.
    """

    def __init__(self, folder: str, name: str, local: Path, progress: Progress | None) -> None:
        self.path = join(folder, check_name(name))
        self.bytes = 0
        self._local = local
        self._temp = local.with_name(temp_name(local.name))
        self._progress = progress or (lambda received, total: None)
        self._digest = BackgroundHash()
        self._seen: Attributes | None = None

    @property
    def sha256(self) -> str:
        """Hex, of all bytes received; for when the fetch is over."""
        return self._digest.hexdigest()

    def attempt(self, connection: Connection) -> None:
        """Fetches what is still missing. Raises `ConnectionLost` where another connection may carry on."""
        protocol, address = connection.protocol, connection.address
        with explained("read", self.path, address):
            self._start_or_go_on(protocol.stat(self.path), address)
            self._receive(protocol)
            unchanged = protocol.stat(self.path) == self._seen
        assert self._seen is not None
        if not unchanged or self._seen.bytes not in (None, self.bytes):
            self._seen = None
            raise TransferError(
                f"{shown(self.path)} on SFTP server {address} changed while it was being fetched: its sender "
                "may still be writing it. Fetch it again later."
            )
        with self._local_errors():
            os.replace(self._temp, self._local)

    def discard(self) -> None:
        """Removes what an unsuccessful fetch left here; harmless after a successful one."""
        self._digest.close()
        self._temp.unlink(missing_ok=True)

    def _start_or_go_on(self, there: Attributes, address: str) -> None:
        if not there.is_file:
            raise TransferError(f"{shown(self.path)} on SFTP server {address} is a folder, not a file.", permanent=True)
        if there != self._seen:
            self._digest.close()
            self._seen, self.bytes, self._digest = there, 0, BackgroundHash()

    def _receive(self, protocol: SftpProtocol) -> None:
        assert self._seen is not None
        total = self._seen.bytes
        handle = protocol.open(self.path, FLAG_READ)
        reader = PipelinedReader(protocol, handle, self.bytes, 2**62 if total is None else total).pieces()
        with self._local_errors(), closing(reader), open(self._temp, "ab" if self.bytes else "wb") as file:
            for data in reader:
                file.write(data)
                self._digest.update(data)
                self.bytes += len(data)
                self._progress(self.bytes, self.bytes if total is None else total)
        protocol.close(handle)

    @contextmanager
    def _local_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TransferError(
                f"{shown(str(self._local))} cannot be written here: {error.strerror or error}. "
                "Make room, or correct the folder."
            ) from error
