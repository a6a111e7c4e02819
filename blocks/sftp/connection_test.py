"""Tries the whole way to the importer path, step by step, with a small file that is gone afterwards."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from headway.blocks.remote_names import join
from headway.blocks.sftp.block import SftpServer
from headway.blocks.sftp.connection import Connection, open_connection, read_host_key
from headway.blocks.sftp.protocol import (
    FLAG_CREATE,
    FLAG_TRUNCATE,
    FLAG_WRITE,
    NO_SUCH_FILE,
    POSIX_RENAME,
    UNSUPPORTED,
    SftpProtocol,
    SftpStatus,
)
from headway.blocks.sftp.refusals import explained
from headway.blocks.sftp.streams import PipelinedWriter
from headway.blocks.sftp.upload import remote_sha256
from headway.blocks.transfer import TransferError
from headway.text import shown

CONTENT = b"Headway tries whether it can deliver here. This file may be deleted.\n"


@dataclass(frozen=True)
class TrialStep:
    """One step of the trial. said: what was seen, or what is wrong and what to do."""

    name: str
    ok: bool
    said: str


def try_importer_path(server: SftpServer) -> Iterator[TrialStep]:
    """The steps as they are taken; the first that fails is the last. Nothing is left behind on the server.

    The names begin with a dot where the file is being written, and end in `.headway-test` after the rename, so that an
    importer that looks for its own patterns passes it by.
    """
    trial = _Trial(server)
    try:
        for name, step in trial.steps:
            try:
                yield TrialStep(name, True, step())
            except TransferError as error:
                yield TrialStep(name, False, str(error))
                return
    finally:
        trial.close()


class _Trial:
    def __init__(self, server: SftpServer) -> None:
        self._server = server
        self._connection: Connection | None = None
        self._folder = ""
        name = secrets.token_hex(4)
        self._temporary_name, self._final_name = f".{name}.headway-test.part", f"{name}.headway-test"
        self._there = ""  # the path that has to be cleared away
        self.steps: list[tuple[str, Callable[[], str]]] = [
            ("Reach the server", self._reach),
            ("Host key and sign-in", self._sign_in),
            ("Importer folder", self._look_at_folder),
            ("Write", self._write),
            ("Read back", self._read_back),
            ("Rename", self._rename),
            ("Remove", self._remove),
        ]

    def _reach(self) -> str:
        login = self._server._login()
        found = read_host_key(login.host, login.port, login.connect_timeout_seconds)
        return f"{login.address} answers and shows the host key {found.fingerprint}"

    def _sign_in(self) -> str:
        login = self._server._login()
        self._connection = open_connection(login)
        return f"the host key is the stored one, and {shown(login.username)} may sign in"

    def _look_at_folder(self) -> str:
        self._folder = self._server.importer_folder()
        with self._asking("look at", self._folder) as connection:
            there = connection.protocol.stat_or_none(self._folder)
        if there is None or not there.is_folder:
            raise TransferError(
                f"{shown(str(self._server.importer_path))} leads to {shown(self._folder)}, and the server has no such "
                "folder. Create it there, or correct the importer path or the root folder.",
                permanent=True,
            )
        return f"{self._server.importer_path} is {self._folder} there"

    def _write(self) -> str:
        path = join(self._folder, self._temporary_name)
        with self._asking("write", path) as connection:
            handle = connection.protocol.open(path, FLAG_WRITE | FLAG_CREATE | FLAG_TRUNCATE)
            self._there = path
            writer = PipelinedWriter(connection.protocol, handle, 0)
            try:
                writer.write(CONTENT)
                writer.finish()
            finally:
                writer.abandon()
            connection.protocol.close(handle)
        return f"{len(CONTENT)} bytes as {self._temporary_name}"

    def _read_back(self) -> str:
        with self._asking("read back", self._there) as connection:
            same = remote_sha256(connection.protocol, self._there, len(CONTENT)) == hashlib.sha256(CONTENT).hexdigest()
        if not same:
            raise TransferError(
                "The server gives back other bytes than were written. Have its disk checked; a full one can do that.",
                permanent=True,
            )
        return "the same bytes came back"

    def _rename(self) -> str:
        path = join(self._folder, self._final_name)
        with self._asking("rename to", path) as connection:
            _rename(connection.protocol, self._there, path)
        self._there = path
        return f"to {self._final_name}, as a delivery does once the file is whole"

    def _remove(self) -> str:
        path, self._there = self._there, ""
        with self._asking("remove", path) as connection:
            try:
                connection.protocol.remove(path)
            except SftpStatus as status:
                if status.code != NO_SUCH_FILE:
                    raise
                return "it is gone already: the importer has taken it"
        return "nothing is left behind"

    @contextmanager
    def _asking(self, doing: str, path: str) -> Iterator[Connection]:
        assert self._connection is not None
        with explained(doing, path, self._connection.address):
            yield self._connection

    def close(self) -> None:
        """Clear away what a failed trial left, and hang up."""
        if self._connection is None:
            return
        if self._there:
            with suppress(SftpStatus, TransferError):
                self._connection.protocol.remove(self._there)
        self._connection.close()


def _rename(protocol: SftpProtocol, old: str, new: str) -> None:
    """As a delivery does it: some servers name an extension that they refuse when it is used."""
    if POSIX_RENAME in protocol.extensions:
        try:
            return protocol.posix_rename(old, new)
        except SftpStatus as status:
            if status.code != UNSUPPORTED:
                raise
    return protocol.rename(old, new)
