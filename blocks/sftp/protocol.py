"""SFTP version 3 over an SSH channel: requests, answers, and every refusal heard.

paramiko's own `SFTPClient` drops the answers to pipelined writes and the one to close, so a full disk can
look like success; it also loses the server's status codes and its list of extensions. Delivering needs all
four, so this module speaks the protocol itself (draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL file)
and leaves SSH to paramiko.
"""

from __future__ import annotations

import itertools
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

import paramiko

from headway.blocks.transfer import ConnectionLost
from headway.text import cause

INIT, VERSION = 1, 2
OPEN, CLOSE, READ, WRITE = 3, 4, 5, 6
OPENDIR, READDIR, REMOVE, MKDIR, STAT, RENAME = 11, 12, 13, 14, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

FLAG_READ, FLAG_WRITE, FLAG_CREATE, FLAG_TRUNCATE = 0x01, 0x02, 0x08, 0x10

OK, EOF, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE, UNSUPPORTED = 0, 1, 2, 3, 4, 8
NO_CONNECTION, CONNECTION_LOST = 6, 7
NO_SPACE, QUOTA_EXCEEDED = 14, 15  # of later versions; some servers send them all the same

POSIX_RENAME = "posix-rename@openssh.com"
LIMITS = "limits@openssh.com"
STATVFS = "statvfs@openssh.com"

# What every server takes in one request; OpenSSH says by `limits` that it takes eight times as much.
DEFAULT_CHUNK_BYTES = 32 * 1024
MAX_CHUNK_BYTES = 256 * 1024
MAX_PACKET_BYTES = 16 * 1024 * 1024
RECEIVE_BYTES = 512 * 1024
NO_DATA = memoryview(b"")


class SftpStatus(Exception):
    """The server refused a request: its status code, and its own text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclass(frozen=True)
class Attributes:
    """What a server tells of a file; None where it does not."""

    bytes: int | None
    mode: int | None
    modified_at: datetime | None

    @property
    def is_file(self) -> bool:
        return self.mode is None or stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return self.mode is not None and stat.S_ISLNK(self.mode)


class Payload:
    """Reads the fields of one answer in order; a field cut short means a broken peer."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def raw(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ConnectionLost("The server sent an SFTP answer that breaks off in the middle.")
        self._at += size
        return piece

    def uint32(self) -> int:
        return int.from_bytes(self.raw(4), "big")

    def uint64(self) -> int:
        return int.from_bytes(self.raw(8), "big")

    def string(self) -> bytes:
        return self.raw(self.uint32())

    def text(self) -> str:
        """UTF-8; bytes that are none become lone surrogates, which `check_name` refuses by name."""
        return self.string().decode(errors="surrogateescape")

    def rest_is_empty(self) -> bool:
        return self._at >= len(self._data)

    def attributes(self) -> Attributes:
        flags = self.uint32()
        size = self.uint64() if flags & 0x1 else None
        if flags & 0x2:
            self.raw(8)  # owner and group
        mode = self.uint32() if flags & 0x4 else None
        modified_at = None
        if flags & 0x8:
            self.uint32()  # last access
            modified_at = datetime.fromtimestamp(self.uint32(), UTC)
        if flags & 0x80000000:
            for _ in range(self.uint32()):
                self.string(), self.string()
        return Attributes(size, mode, modified_at)


def string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def path_bytes(path: str) -> bytes:
    return string(path.encode(errors="surrogateescape"))


class SftpProtocol:
    """One SFTP conversation. Not for several threads at once.

    Raises `SftpStatus` where the server refuses and `ConnectionLost` where it is gone, silent for
    longer than the channel's timeout, or talking nonsense.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._received = bytearray()
        self._answers: dict[int, tuple[int, Payload]] = {}
        self._unwanted: set[int] = set()
        self._ids = itertools.count(1)
        # paramiko keeps 64 bytes of each SSH packet for itself.
        self.ssh_packet_bytes = max(1, channel.out_max_packet_size - 64)
        self.extensions = self._agree_on_version()
        self.read_chunk_bytes, self.write_chunk_bytes = self._chunk_bytes()

    # Requests and answers

    def send(self, kind: int, fields: bytes, data: memoryview = NO_DATA) -> int:
        """Sends one request without waiting; the number to `wait` for."""
        number = next(self._ids) & 0xFFFFFFFF
        head = struct.pack(">IBI", 5 + len(fields) + len(data), kind, number) + fields
        # Only what shares the first SSH packet with the head is copied.
        shared = max(0, self.ssh_packet_bytes - len(head))
        self._send_all(memoryview(head + data[:shared]))
        self._send_all(data[shared:])
        return number

    def wait(self, number: int) -> tuple[int, Payload]:
        """The answer to request `number`; answers to others are kept for them."""
        while number not in self._answers:
            self._receive_one()
        return self._answers.pop(number)

    def forget(self, number: int) -> None:
        """No call will wait for this request: its answer is dropped when it comes."""
        if self._answers.pop(number, None) is None:
            self._unwanted.add(number)

    @property
    def answers_kept(self) -> int:
        """Answers that have come and that no call has waited for yet."""
        return len(self._answers)

    def is_answered(self, number: int) -> bool:
        """Whether `wait` would return at once; takes in what has arrived, but never blocks."""
        while number not in self._answers and (self._has_packet() or self._channel.recv_ready()):
            if self._has_packet():
                self._receive_one()
            else:
                self._received += self._receive()
        return number in self._answers

    def expect(self, number: int, kind: int) -> Payload:
        """The answer, if it is of this kind; a status becomes `SftpStatus`."""
        got, payload = self.wait(number)
        if got == STATUS:
            self._check_status(payload)
        if got != kind:
            raise ConnectionLost(f"The server sent SFTP message {got} where {kind} was due.")
        return payload

    def done(self, number: int) -> None:
        """Returns once the server has said OK to request `number`."""
        got, payload = self.wait(number)
        if got != STATUS:
            raise ConnectionLost(f"The server sent SFTP message {got} where a status was due.")
        self._check_status(payload)

    # Operations

    def open(self, path: str, flags: int) -> bytes:
        """A handle for reading or writing `path`."""
        fields = path_bytes(path) + struct.pack(">II", flags, 0)
        return self.expect(self.send(OPEN, fields), HANDLE).string()

    def close(self, handle: bytes) -> None:
        """Closes a handle; a server may report only here that it could not write."""
        self.done(self.send(CLOSE, string(handle)))

    def stat(self, path: str) -> Attributes:
        return self.expect(self.send(STAT, path_bytes(path)), ATTRS).attributes()

    def stat_or_none(self, path: str) -> Attributes | None:
        """None where nothing has that name."""
        try:
            return self.stat(path)
        except SftpStatus as status:
            if status.code != NO_SUCH_FILE:
                raise
            return None

    def remove(self, path: str) -> None:
        self.done(self.send(REMOVE, path_bytes(path)))

    def make_folder(self, path: str) -> None:
        self.done(self.send(MKDIR, path_bytes(path) + struct.pack(">I", 0)))

    def rename(self, old: str, new: str) -> None:
        """Plain rename: refused by most servers where `new` exists."""
        self.done(self.send(RENAME, path_bytes(old) + path_bytes(new)))

    def posix_rename(self, old: str, new: str) -> None:
        """OpenSSH's rename: replaces `new` in one step."""
        self.done(self.send(EXTENDED, string(POSIX_RENAME.encode()) + path_bytes(old) + path_bytes(new)))

    def free_bytes(self, path: str) -> int | None:
        """Room left on the file system of `path`, None where the server cannot tell."""
        if STATVFS not in self.extensions:
            return None
        answer = self.expect(self.send(EXTENDED, string(STATVFS.encode()) + path_bytes(path)), EXTENDED_REPLY)
        _block, fragment_bytes, _total, _free, available = (answer.uint64() for _ in range(5))
        return fragment_bytes * available

    def entries(self, folder: str) -> Iterator[tuple[str, Attributes]]:
        """Names in a folder with what the server tells of each; '.' and '..' are left out."""
        handle = self.expect(self.send(OPENDIR, path_bytes(folder)), HANDLE).string()
        while True:
            try:
                answer = self.expect(self.send(READDIR, string(handle)), NAME)
            except SftpStatus as status:
                if status.code != EOF:
                    raise
                break
            for _ in range(answer.uint32()):
                name, _long_name, attributes = answer.text(), answer.text(), answer.attributes()
                if name not in (".", ".."):
                    yield name, attributes
        self.close(handle)

    # Bytes on the channel

    def _agree_on_version(self) -> dict[str, bytes]:
        self._send_all(memoryview(struct.pack(">IBI", 5, INIT, 3)))
        kind, payload = self._next_packet()
        if kind != VERSION:
            raise ConnectionLost(f"The server answered SFTP's first message with {kind}, not with a version.")
        if (version := payload.uint32()) < 3:
            raise ConnectionLost(f"The server speaks SFTP version {version}; at least 3 is needed.")
        extensions = {}
        while not payload.rest_is_empty():
            name, data = payload.text(), payload.string()
            extensions[name] = data
        return extensions

    def _chunk_bytes(self) -> tuple[int, int]:
        """How many bytes one read and one write may carry."""
        if LIMITS not in self.extensions:
            return DEFAULT_CHUNK_BYTES, DEFAULT_CHUNK_BYTES
        answer = self.expect(self.send(EXTENDED, string(LIMITS.encode())), EXTENDED_REPLY)
        _packet, read, write, _handles = (answer.uint64() for _ in range(4))
        # 0 means that the server does not say; more than OpenSSH's own bound would only cost memory.
        return min(read or DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES), min(write or DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES)

    def _send_all(self, view: memoryview) -> None:
        try:
            while view:
                # A view saves copying the rest for every SSH packet; paramiko's types know only bytes.
                sent = self._channel.send(cast(bytes, view))
                if sent == 0:
                    raise ConnectionLost("The server closed the connection.")
                view = view[sent:]
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _lost(error) from error

    def _receive(self) -> bytes:
        try:
            data = self._channel.recv(RECEIVE_BYTES)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _lost(error) from error
        if not data:
            raise ConnectionLost("The server closed the connection.")
        return data

    def _has_packet(self) -> bool:
        received = self._received
        return len(received) >= 4 and len(received) >= 4 + int.from_bytes(received[:4], "big")

    def _next_packet(self) -> tuple[int, Payload]:
        while not self._has_packet():
            self._received += self._receive()
            if len(self._received) >= 4:
                self._check_size(int.from_bytes(self._received[:4], "big"))
        size = int.from_bytes(self._received[:4], "big")
        self._check_size(size)
        with memoryview(self._received) as received:
            packet = bytes(received[4 : 4 + size])
        del self._received[: 4 + size]
        return packet[0], Payload(packet, at=1)

    def _receive_one(self) -> None:
        kind, payload = self._next_packet()
        number = payload.uint32()
        if number in self._unwanted:
            self._unwanted.remove(number)
        else:
            self._answers[number] = (kind, payload)

    @staticmethod
    def _check_size(size: int) -> None:
        if not 1 <= size <= MAX_PACKET_BYTES:
            raise ConnectionLost(f"The server sent an SFTP message of {size} bytes: that is no SFTP.")

    @staticmethod
    def _check_status(payload: Payload) -> None:
        code = payload.uint32()
        text = "" if payload.rest_is_empty() else payload.text()
        if code in (NO_CONNECTION, CONNECTION_LOST):
            raise ConnectionLost(f"The server reports a lost connection behind it: {text or code}.")
        if code != OK:
            raise SftpStatus(code, text)


def _lost(error: Exception) -> ConnectionLost:
    if isinstance(error, TimeoutError):
        return ConnectionLost("The server stopped answering.")
    if isinstance(error, EOFError) or not str(error):  # paramiko's channel, closed while this side was sending
        return ConnectionLost("The server closed the connection.")
    return ConnectionLost(f"The connection broke: {cause(error)}.")
