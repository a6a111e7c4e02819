"""Many reads or writes on their way at once, a bounded number of bytes in flight, errors in order."""

from __future__ import annotations

import hashlib
import queue
import struct
import threading
from collections import deque
from collections.abc import Generator

from headway.blocks.sftp.protocol import DATA, EOF, READ, WRITE, SftpProtocol, SftpStatus, string

# What stands in a WRITE request besides handle and data: size, kind, number, three lengths, offset.
WRITE_OVERHEAD_BYTES = 4 + 1 + 4 + 4 + 8 + 4
# Enough to fill a link of 1 Gbit/s and 100 ms.
IN_FLIGHT_BYTES = 16 * 1024 * 1024
HASH_BACKLOG = 4


class PipelinedWriter:
    """Writes to an open handle from `offset` on. Every answer is read: the first refusal is raised."""

    def __init__(self, protocol: SftpProtocol, handle: bytes, offset: int) -> None:
        self._protocol = protocol
        self._handle = string(handle)
        self._offset = offset
        self._in_flight: deque[tuple[int, int]] = deque()  # request, bytes
        self._unanswered_bytes = 0
        self.chunk_bytes = self._best_chunk_bytes(len(handle))

    def write(self, data: bytes) -> None:
        """Sends `data` in requests of `chunk_bytes`; blocks only while too much is in flight."""
        view = memoryview(data)
        for start in range(0, len(data), self.chunk_bytes):
            self._write_one(view[start : start + self.chunk_bytes])

    def _write_one(self, data: memoryview) -> None:
        fields = self._handle + struct.pack(">QI", self._offset, len(data))
        self._in_flight.append((self._protocol.send(WRITE, fields, data), len(data)))
        self._offset += len(data)
        self._unanswered_bytes += len(data)
        while self._in_flight and (
            self._unanswered_bytes > IN_FLIGHT_BYTES or self._protocol.is_answered(self._in_flight[0][0])
        ):
            self._settle_first()

    def finish(self) -> None:
        """Returns once the server has accepted every byte."""
        while self._in_flight:
            self._settle_first()

    def abandon(self) -> None:
        """No call waits for the answers that are still due; harmless after `finish`."""
        while self._in_flight:
            self._protocol.forget(self._in_flight.popleft()[0])

    def _best_chunk_bytes(self, handle_bytes: int) -> int:
        """The largest write that fills whole SSH packets: a small packet in between costs as much as a full one."""
        overhead = WRITE_OVERHEAD_BYTES + handle_bytes
        most, packet = self._protocol.write_chunk_bytes, self._protocol.ssh_packet_bytes
        whole_packets = (most + overhead) // packet
        return whole_packets * packet - overhead if whole_packets * packet > 2 * overhead else most

    def _settle_first(self) -> None:
        number, size = self._in_flight.popleft()
        self._unanswered_bytes -= size
        self._protocol.done(number)


class PipelinedReader:
    """Reads [start, end) of an open handle; the bytes come in order, and end early where the file does."""

    def __init__(self, protocol: SftpProtocol, handle: bytes, start: int, end: int) -> None:
        self._protocol = protocol
        self._handle = string(handle)
        self._upcoming = start
        self._end = end
        self._in_flight: deque[tuple[int, int, int]] = deque()  # request, offset, bytes
        self._most = max(1, IN_FLIGHT_BYTES // protocol.read_chunk_bytes)

    def pieces(self) -> Generator[bytes, None, None]:
        """To be closed where it is left early, so that no call waits for what was still asked for."""
        try:
            while data := self._next():
                yield data
        finally:
            for number, _offset, _size in self._in_flight:
                self._protocol.forget(number)

    def _next(self) -> bytes:
        """The next bytes, none at the end."""
        while self._upcoming < self._end and len(self._in_flight) < self._most:
            size = min(self._protocol.read_chunk_bytes, self._end - self._upcoming)
            self._in_flight.append(self._ask(self._upcoming, size))
            self._upcoming += size
        if not self._in_flight:
            return b""
        number, offset, size = self._in_flight.popleft()
        try:
            data = self._protocol.expect(number, DATA).string()
        except SftpStatus as status:
            if status.code == EOF:
                return b""
            raise
        if 0 < len(data) < size:  # a server may give less than was asked for
            self._in_flight.appendleft(self._ask(offset + len(data), size - len(data)))
        return data

    def _ask(self, offset: int, size: int) -> tuple[int, int, int]:
        fields = self._handle + struct.pack(">QI", offset, size)
        return self._protocol.send(READ, fields), offset, size


class BackgroundHash:
    """SHA-256 in a thread of its own: hashlib releases the GIL, so it costs the transfer no time.

    At most `HASH_BACKLOG` pieces wait; `update` blocks beyond that.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: queue.Queue[bytes | None] = queue.Queue(HASH_BACKLOG)
        self._thread = threading.Thread(target=self._run, name="sftp-sha256", daemon=True)
        self._thread.start()

    def update(self, piece: bytes) -> None:
        self._pieces.put(piece)

    def hexdigest(self) -> str:
        """The digest of all pieces; the last call, after `close` or instead of it."""
        self.close()
        return self._hash.hexdigest()

    def close(self) -> None:
        """Ends the thread; harmless twice."""
        if self._thread.is_alive():
            self._pieces.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            self._hash.update(piece)
