"""A real SFTP server (asyncssh, in a thread) that fails exactly when and how a test says."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import asyncssh
from asyncssh.sftp import SFTPAttrs

from headway.blocks.sftp.block import SftpServer

# So large that a stalled connection blocks in TCP, not in SSH.
WINDOW_BYTES = 2**26
USER, PASSWORD = "ops", "correct horse"


class CutOff(asyncssh.SFTPConnectionLost):
    """The connection is gone; nobody hears of this."""


@dataclass
class Fault:
    """Strikes once: at the `nth` call of `operation`, before it takes place or after, its answer lost.

    `cut` drops the connection, `silence` never answers, `refuse` answers with `error`. With `at_byte` a
    write counts only once it reaches that offset, and what lies before is still written. `slow` strikes every
    time from the `nth` on: one after the other takes `delay_seconds`.
    """

    operation: str
    when: Literal["before", "after"] = "before"
    nth: int = 1
    effect: Literal["cut", "silence", "refuse", "slow"] = "cut"
    error: Exception | None = None
    at_byte: int | None = None
    delay_seconds: float = 0.0
    on_strike: Callable[[], None] = lambda: None


@dataclass
class Behaviour:
    """What a test may set, and what it may look at afterwards."""

    faults: list[Fault] = field(default_factory=list)
    struck: list[Fault] = field(default_factory=list)
    knows_posix_rename: bool = True
    quota_bytes: int | None = None
    quota_is_silent: bool = False
    corrupts: bool = False
    most_read_bytes: int | None = None
    refuses_reading: bool = False
    after_rename: Callable[[Path], None] = lambda path: None
    after_each: Callable[[], None] = lambda: None  # operation, a broken off one too: all that may change a file
    operations: list[tuple[str, str]] = field(default_factory=list)  # operation, path
    written_bytes: int = 0
    write_offsets: list[int] = field(default_factory=list)
    renames_to: list[str] = field(default_factory=list)
    credentials: list[str] = field(default_factory=list)
    connections: int = 0

    def count(self, operation: str) -> int:
        return sum(1 for done, _ in self.operations if done == operation)


class FaultServer:
    """Listens on loopback. `reset` gives each test an empty root and a blank `behaviour`."""

    def __init__(self, root: Path, *key_types: str) -> None:
        self.root = root
        self.behaviour = Behaviour()
        self.user_key = asyncssh.generate_private_key("ssh-ed25519")
        self._keys = [asyncssh.generate_private_key(key_type) for key_type in key_types or ["ssh-ed25519"]]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-sftp", daemon=True)
        self._thread.start()
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._acceptor = self._call(self._listen())
        self.port: int = self._acceptor.get_port()

    @property
    def host_keys(self) -> list[str]:
        return [" ".join(key.export_public_key().decode().split()[:2]) for key in self._keys]

    @property
    def host_key(self) -> str:
        return self.host_keys[0]

    @property
    def user_key_pem(self) -> str:
        return self.user_key.export_private_key().decode()

    @property
    def folder(self) -> Path:
        """Where the importer path of `block()` leads."""
        return self.root / "acme" / "import"

    def block(self, **changes: Any) -> SftpServer:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": USER,
            "password": PASSWORD,
            "known_host_key": self.host_key,
            "importer_path": r"\\flexftp\acme\import",
            "path_server": "flexftp",
            "retry_pause_seconds": 0,
        }
        return SftpServer(**{**values, **changes})

    def inject(self, operation: str, *args: Any, **details: Any) -> Fault:
        fault = Fault(operation, *args, **details)
        self.behaviour.faults.append(fault)
        return fault

    def reset(self) -> None:
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.folder.mkdir(parents=True)
        self.behaviour = Behaviour()

    def cut_all(self) -> None:
        """Drops every connection, as a restarted server would."""
        for connection in list(self._connections):
            self._loop.call_soon_threadsafe(connection.abort)

    def stop(self) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _close(self) -> None:
        self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()
        await self._acceptor.wait_closed()
        waiting = asyncio.all_tasks() - {asyncio.current_task()}  # silent ones, still silent
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _listen(self) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Doorkeeper(self),
            server_host_keys=self._keys,
            sftp_factory=lambda channel: _FaultySftp(self, channel),
            allow_scp=False,
            window=WINDOW_BYTES,
        )


class _Doorkeeper(asyncssh.SSHServer):
    """Takes one password and one key, and notes whatever is offered."""

    def __init__(self, server: FaultServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server._connections.add(conn)
        self._server.behaviour.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        self._server.behaviour.credentials.append(f"user {username}")
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        self._server.behaviour.credentials.append(f"password {password}")
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._server.behaviour.credentials.append("key")
        return username == USER and key.public_data == self._server.user_key.public_data


class _FaultySftp(asyncssh.SFTPServer):
    def __init__(self, server: FaultServer, channel: asyncssh.SSHServerChannel) -> None:
        super().__init__(channel, chroot=os.fsencode(server.root))
        self._behaviour = server.behaviour
        self._is_cut = False
        self._one_at_a_time = asyncio.Lock()  # asyncssh takes requests side by side, a slow disk does not

    async def _perform(self, operation: str, path: str, action: Callable[[], Any]) -> Any:
        await self._strike(operation, "before")
        try:
            return action()
        finally:  # an answer is an answer, a refusal too
            self._behaviour.operations.append((operation, path))
            self._behaviour.after_each()
            await self._strike(operation, "after")

    async def _strike(self, operation: str, when: str, reached: int | None = None) -> None:
        if self._is_cut:  # requests that had come in before the cut are not carried out
            raise CutOff("cut by the test")
        for fault in list(self._behaviour.faults):
            if (fault.operation, fault.when) != (operation, when):
                continue
            if fault.at_byte is not None and (reached is None or reached < fault.at_byte):
                continue
            fault.nth -= 1
            if fault.effect == "slow" and fault.nth <= 0:
                await self._dawdle(fault)
            elif fault.nth == 0:
                self._behaviour.faults.remove(fault)
                self._behaviour.struck.append(fault)
                fault.on_strike()
                await self._take_effect(fault)

    async def _dawdle(self, fault: Fault) -> None:
        self._behaviour.struck.append(fault)
        async with self._one_at_a_time:
            await asyncio.sleep(fault.delay_seconds)

    async def _take_effect(self, fault: Fault) -> None:
        if fault.effect == "refuse":
            raise fault.error or asyncssh.SFTPFailure("refused by the test")
        if fault.effect == "silence":
            await asyncio.get_running_loop().create_future()
        self._is_cut = True
        self._chan.get_connection().abort()
        raise CutOff("cut by the test")

    # Operations, as asyncssh calls them

    async def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> object:
        if self._behaviour.refuses_reading and not pflags & asyncssh.FXF_WRITE:
            raise asyncssh.SFTPPermissionDenied("write only")
        kind = "open_write" if pflags & asyncssh.FXF_WRITE else "open_read"
        return await self._perform(kind, os.fsdecode(path), lambda: super(_FaultySftp, self).open(path, pflags, attrs))

    async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
        behaviour = self._behaviour
        end = offset + len(data)
        behaviour.write_offsets.append(offset)
        for fault in behaviour.faults:
            if fault.operation == "write" and fault.at_byte is not None and end > fault.at_byte and not self._is_cut:
                super().write(file_obj, offset, data[: max(0, fault.at_byte - offset)])
                behaviour.after_each()
        await self._strike("write", "before", end - 1)
        if behaviour.quota_bytes is not None and end > behaviour.quota_bytes:
            if behaviour.quota_is_silent:
                return len(data)
            raise asyncssh.SFTPFailure("write failed")
        if behaviour.corrupts and offset == 0:
            data = bytes([data[0] ^ 1]) + data[1:]
        super().write(file_obj, offset, data)
        behaviour.written_bytes += len(data)
        behaviour.after_each()
        await self._strike("write", "after", end - 1)
        return len(data)

    async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
        most = self._behaviour.most_read_bytes or size
        return await self._perform("read", "", lambda: super(_FaultySftp, self).read(file_obj, offset, min(size, most)))

    async def close(self, file_obj: Any) -> None:
        # A cut connection closes its files too; only a client's close can be struck.
        if self._is_cut or self._chan.is_closing():
            file_obj.close()
            return
        await self._perform("close", "", lambda: super(_FaultySftp, self).close(file_obj))

    async def stat(self, path: bytes) -> Any:
        return await self._perform("stat", os.fsdecode(path), lambda: super(_FaultySftp, self).stat(path))

    async def remove(self, path: bytes) -> None:
        await self._perform("remove", os.fsdecode(path), lambda: super(_FaultySftp, self).remove(path))

    async def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        await self._perform("mkdir", os.fsdecode(path), lambda: super(_FaultySftp, self).mkdir(path, attrs))

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._perform(
            "rename", os.fsdecode(newpath), lambda: self._rename(super(_FaultySftp, self).rename, oldpath, newpath)
        )

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if not self._behaviour.knows_posix_rename:
            raise asyncssh.SFTPOpUnsupported("no such extension")
        await self._perform(
            "rename",
            os.fsdecode(newpath),
            lambda: self._rename(super(_FaultySftp, self).posix_rename, oldpath, newpath),
        )

    def _rename(self, rename: Callable[[bytes, bytes], Any], old: bytes, new: bytes) -> None:
        rename(old, new)
        self._behaviour.renames_to.append(os.fsdecode(new))
        self._behaviour.after_rename(Path(os.fsdecode(self.map_path(new))))

    def statvfs(self, path: bytes) -> Any:
        """A disk with the quota's room, where a quota is set and told of."""
        if self._behaviour.quota_bytes is None or self._behaviour.quota_is_silent:
            return super().statvfs(path)
        values = os.statvfs(self.map_path(path))
        blocks = self._behaviour.quota_bytes // values.f_frsize
        return os.statvfs_result((values.f_bsize, values.f_frsize, blocks, blocks, blocks, *values[5:]))
