"""The protocol against a scripted peer: nothing said is lost, nonsense is noticed, memory stays bounded."""

import hashlib
import struct
from collections.abc import Callable

import pytest

from headway.blocks.sftp import streams
from headway.blocks.sftp.protocol import (
    DATA,
    FAILURE,
    INIT,
    LIMITS,
    READ,
    STATUS,
    VERSION,
    WRITE,
    SftpProtocol,
    SftpStatus,
    string,
)
from headway.blocks.sftp.streams import IN_FLIGHT_BYTES, BackgroundHash, PipelinedReader, PipelinedWriter
from headway.blocks.transfer import ConnectionLost

Answer = Callable[[int, int, bytes], bytes]


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, kind) + body


def status(number: int, code: int, text: str = "") -> bytes:
    return packet(STATUS, struct.pack(">II", number, code) + string(text.encode()) + string(b""))


class ScriptedChannel:
    """Plays the server: `answer` gets (kind, number, fields) of each request and returns raw bytes."""

    out_max_packet_size = 32768

    def __init__(self, answer: Answer | None = None, version: bytes | None = None) -> None:
        self.answer = answer or (lambda kind, number, fields: status(number, 0))
        self.to_client = bytearray()
        self.from_client = bytearray()
        self.requests: list[tuple[int, int, int]] = []  # kind, number, bytes of the fields
        self.version = packet(VERSION, struct.pack(">I", 3)) if version is None else version

    def send(self, data: memoryview) -> int:
        self.from_client += data
        while len(self.from_client) >= 4:
            size = int.from_bytes(self.from_client[:4], "big")
            if len(self.from_client) < 4 + size:
                break
            request = bytes(self.from_client[4 : 4 + size])
            del self.from_client[: 4 + size]
            self._take(request)
        return len(data)

    def _take(self, request: bytes) -> None:
        if request[0] == INIT:
            self.to_client += self.version
            return
        number = int.from_bytes(request[1:5], "big")
        self.requests.append((request[0], number, len(request) - 5))
        self.to_client += self.answer(request[0], number, request[5:])

    def recv_ready(self) -> bool:
        return bool(self.to_client)

    def recv(self, size: int) -> bytes:
        if not self.to_client:
            raise TimeoutError
        data = bytes(self.to_client[: min(size, 1000)])  # in pieces that fit no packet
        del self.to_client[: len(data)]
        return data


def protocol(channel: ScriptedChannel) -> SftpProtocol:
    return SftpProtocol(channel)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (packet(VERSION, struct.pack(">I", 2)), "speaks SFTP version 2"),
        (packet(STATUS, struct.pack(">I", 3)), "not with a version"),
        (packet(VERSION, b"\0"), "breaks off in the middle"),
        (b"Welcome to the FTP service\r\n", "that is no SFTP"),
        (struct.pack(">I", 0), "that is no SFTP"),
        (b"", "stopped answering"),
    ],
)
def test_a_peer_that_is_no_sftp_server_is_noticed(version: bytes, words: str) -> None:
    with pytest.raises(ConnectionLost, match=words):
        protocol(ScriptedChannel(version=version))


def test_extensions_and_limits_are_taken_up() -> None:
    greeting = struct.pack(">I", 3) + string(LIMITS.encode()) + string(b"1") + string(b"other@example") + string(b"x")
    limits = struct.pack(">QQQQ", 262144, 100_000, 0, 0)
    channel = ScriptedChannel(
        lambda kind, number, fields: packet(201, struct.pack(">I", number) + limits), packet(VERSION, greeting)
    )
    spoken = protocol(channel)
    assert set(spoken.extensions) == {LIMITS, "other@example"}
    assert (spoken.read_chunk_bytes, spoken.write_chunk_bytes) == (100_000, 32768)


def test_without_limits_every_request_is_small() -> None:
    spoken = protocol(ScriptedChannel())
    assert (spoken.read_chunk_bytes, spoken.write_chunk_bytes) == (32768, 32768)


def test_answers_out_of_order_reach_who_waits_for_them() -> None:
    held: list[bytes] = []

    def reversed_pairs(kind: int, number: int, fields: bytes) -> bytes:
        held.append(status(number, FAILURE, f"answer to {number}"))
        return b"".join(reversed(held)) if len(held) == 2 else b""

    spoken = protocol(ScriptedChannel(reversed_pairs))
    first, second = spoken.send(READ, b"1"), spoken.send(READ, b"2")
    for number in (first, second):
        with pytest.raises(SftpStatus) as refused:
            spoken.done(number)
        assert refused.value.text == f"answer to {number}"


def test_a_wrong_kind_of_answer_is_no_success() -> None:
    spoken = protocol(
        ScriptedChannel(lambda kind, number, fields: packet(DATA, struct.pack(">I", number) + string(b"")))
    )
    with pytest.raises(ConnectionLost, match="where a status was due"):
        spoken.remove("/a")
    with pytest.raises(ConnectionLost, match="where 105 was due"):
        spoken.stat("/a")


def test_an_answer_cut_short_is_no_success() -> None:
    spoken = protocol(ScriptedChannel(lambda kind, number, fields: packet(STATUS, struct.pack(">I", number) + b"\0")))
    with pytest.raises(ConnectionLost, match="breaks off"):
        spoken.remove("/a")


def test_a_status_without_text_is_understood() -> None:
    spoken = protocol(ScriptedChannel(lambda kind, number, fields: packet(STATUS, struct.pack(">II", number, 4))))
    with pytest.raises(SftpStatus) as refused:
        spoken.remove("/a")
    assert (refused.value.code, refused.value.text) == (4, "")


@pytest.mark.parametrize("refused_write", [1, 5, 10])
def test_one_refusal_among_pipelined_writes_is_heard(refused_write: int) -> None:
    written = 0

    def refuse_one(kind: int, number: int, fields: bytes) -> bytes:
        nonlocal written
        written += 1
        return status(number, FAILURE if written == refused_write else 0, "no space")

    writer = PipelinedWriter(protocol(ScriptedChannel(refuse_one)), b"handle", 0)
    with pytest.raises(SftpStatus, match="no space"):
        for _ in range(10):
            writer.write(b"x" * 100)
        writer.finish()


def test_writes_in_flight_are_bounded() -> None:
    """A server that answers nothing gets one bufferful, then is waited for."""
    channel = ScriptedChannel(lambda kind, number, fields: b"")
    writer = PipelinedWriter(protocol(channel), b"handle", 0)
    with pytest.raises(ConnectionLost, match="stopped answering"):
        while True:
            writer.write(b"x" * writer.chunk_bytes)
    sent = sum(size for kind, _, size in channel.requests if kind == WRITE)
    assert IN_FLIGHT_BYTES < sent < IN_FLIGHT_BYTES * 1.02


def test_writes_fill_whole_ssh_packets() -> None:
    channel = ScriptedChannel()
    writer = PipelinedWriter(protocol(channel), b"1234", 0)
    writer.write(b"x" * writer.chunk_bytes)
    kind, _, size = channel.requests[-1]
    assert kind == WRITE
    assert 4 + 1 + 4 + size == channel.out_max_packet_size - 64


def test_reads_in_flight_are_bounded_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "IN_FLIGHT_BYTES", 4 * 32768)
    asked = 0
    most_asked = 0

    def give(kind: int, number: int, fields: bytes) -> bytes:
        nonlocal asked, most_asked
        asked += 1
        most_asked = max(most_asked, asked)
        offset = int.from_bytes(fields[-12:-4], "big")
        size = int.from_bytes(fields[-4:], "big")
        return packet(DATA, struct.pack(">I", number) + string(offset.to_bytes(8, "big") + b"\0" * (size - 8)))

    reader = PipelinedReader(protocol(ScriptedChannel(give)), b"handle", 0, 20 * 32768)
    offsets = []
    for piece in reader.pieces():
        asked -= 1
        offsets.append(int.from_bytes(piece[:8], "big"))
    assert offsets == [number * 32768 for number in range(20)]
    assert most_asked == 4


def test_a_reader_left_early_leaves_nothing_behind() -> None:
    def give(kind: int, number: int, fields: bytes) -> bytes:
        if kind != READ:
            return status(number, 0)
        return packet(DATA, struct.pack(">I", number) + string(b"x" * int.from_bytes(fields[-4:], "big")))

    spoken = protocol(ScriptedChannel(give))
    pieces = PipelinedReader(spoken, b"handle", 0, 100 * 32768).pieces()
    next(pieces)
    pieces.close()
    spoken.remove("/a")  # takes in everything that was still on its way
    assert spoken.answers_kept == 0


def test_a_writer_given_up_leaves_nothing_behind() -> None:
    held: list[bytes] = []

    def answer_late(kind: int, number: int, fields: bytes) -> bytes:
        held.append(status(number, 0))
        return b"" if kind == WRITE else b"".join(held)

    spoken = protocol(ScriptedChannel(answer_late))
    writer = PipelinedWriter(spoken, b"handle", 0)
    writer.write(b"x" * 100_000)
    writer.abandon()
    spoken.remove("/a")
    assert spoken.answers_kept == 0


def test_a_hash_in_the_background_is_the_hash() -> None:
    digest = BackgroundHash()
    for _ in range(100):
        digest.update(b"abc")
    assert digest.hexdigest() == hashlib.sha256(b"abc" * 100).hexdigest()
