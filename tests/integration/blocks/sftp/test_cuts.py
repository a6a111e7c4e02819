"""Connections that break at every point of a delivery: the file arrives once, whole, or the error is honest."""

import hashlib
import itertools
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.blocks.remote_names import part_name
from headway.blocks.sftp.block import Receipt, SftpServer, TransferError
from headway.blocks.transfer import DeliveryKey
from tests.support.sftp_faults import FaultServer
from tests.support.tcp_relay import Switchboard

LARGE = 3 * 1024 * 1024 + 17
KEY = DeliveryKey("task 1", "run 1")
PART = part_name("citations.csv", KEY)


def make_file(folder: Path, size: int = LARGE) -> Path:
    path = folder / "local.csv"
    path.write_bytes(os.urandom(size))
    return path


def deliver(block: SftpServer, local: Path) -> Receipt:
    with block.connect() as session:
        return session.deliver(local, block.importer_folder(), "citations.csv", key=KEY)


@pytest.mark.parametrize("old", [None, b"an old file"])
@pytest.mark.parametrize("verify", ["size", "read_back"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "nth"),
    [
        ("stat", 1),  # looking for a part to resume
        ("open_write", 1),
        ("write", 1),
        ("write", 3),
        ("close", 1),
        ("stat", 2),  # comparing the size
        ("stat", 3),  # looking at what bears the final name
        ("rename", 1),
        ("stat", 4),  # looking whether it was consumed
    ],
)
def test_a_cut_anywhere_costs_a_reconnect_and_nothing_else(
    fault_server: FaultServer, tmp_path: Path, operation: str, nth: int, when: str, verify: str, old: bytes | None
) -> None:
    if old is not None:
        (fault_server.folder / "citations.csv").write_bytes(old)
    fault_server.inject(operation, when, nth)
    local = make_file(tmp_path)
    receipt = deliver(fault_server.block(verify=verify), local)

    assert len(fault_server.behaviour.struck) == 1
    assert receipt.attempts == 2
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()
    assert os.listdir(fault_server.folder) == ["citations.csv"]
    assert fault_server.behaviour.renames_to == ["/acme/import/citations.csv"]
    assert receipt.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
    assert not receipt.consumed


@pytest.mark.parametrize("operation", ["rename", "remove"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_cut_between_remove_and_rename_loses_nothing(
    fault_server: FaultServer, tmp_path: Path, operation: str, when: str, nth: int
) -> None:
    fault_server.behaviour.knows_posix_rename = False
    (fault_server.folder / "citations.csv").write_text("old")
    fault_server.inject(operation, when, nth)
    local = make_file(tmp_path)
    deliver(fault_server.block(), local)
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()
    assert os.listdir(fault_server.folder) == ["citations.csv"]
    assert fault_server.behaviour.renames_to == ["/acme/import/citations.csv"]


# Where a connection breaks, by the size of one write; the file is three of those and a short one.
CUTS: dict[str, Callable[[int], int]] = {
    "0": lambda chunk: 0,
    "1": lambda chunk: 1,
    "chunk - 1": lambda chunk: chunk - 1,
    "chunk": lambda chunk: chunk,
    "chunk + 1": lambda chunk: chunk + 1,
    "1.5 chunks": lambda chunk: chunk + chunk // 2,
    "2 chunks - 1": lambda chunk: 2 * chunk - 1,
    "2 chunks": lambda chunk: 2 * chunk,
    "2 chunks + 1": lambda chunk: 2 * chunk + 1,
    "3 chunks": lambda chunk: 3 * chunk,
    "size - 1": lambda chunk: 3 * chunk + 16,
    "size": lambda chunk: 3 * chunk + 17,
}


@pytest.fixture(scope="module")
def chunk(fault_server_process: FaultServer, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many bytes one write carries on this server, as an undisturbed delivery shows."""
    fault_server_process.reset()
    deliver(fault_server_process.block(), make_file(tmp_path_factory.mktemp("undisturbed")))
    return sorted(fault_server_process.behaviour.write_offsets)[1]


class Cut:
    """A delivery cut once so many bytes are written, and every content that its final name has ever had."""

    def __init__(self, server: FaultServer, folder: Path, at: int, size: int, old: bytes | None) -> None:
        self.at, self._server, self._old = at, server, old
        self.local = make_file(folder, size)
        self.new = self.local.read_bytes()
        self.final = server.folder / "citations.csv"
        if old is not None:
            self.final.write_bytes(old)
        self._seen: list[bytes | None] = []
        server.behaviour.after_each = lambda: self._seen.append(self._there())
        # After its last byte a write has no next byte to be cut at: then its answer is lost.
        server.inject("write", "after" if at == size else "before", at_byte=min(at, size - 1))

    def _there(self) -> bytes | None:
        return self.final.read_bytes() if self.final.exists() else None

    def assert_delivered_once(self) -> None:
        behaviour = self._server.behaviour
        assert len(behaviour.struck) == 1
        assert self._seen[0] == self._old and self._seen[-1] == self.new
        changes = [before != after for before, after in itertools.pairwise(self._seen)]
        assert changes.count(True) == 1  # from what was there to the whole new file, in one step
        assert behaviour.renames_to == ["/acme/import/citations.csv"]
        assert os.listdir(self._server.folder) == ["citations.csv"]


@pytest.mark.parametrize("old", [None, b"an old file"])
@pytest.mark.parametrize("where", CUTS)
def test_a_cut_at_any_byte_costs_a_reconnect_and_nothing_else(
    fault_server: FaultServer, tmp_path: Path, chunk: int, where: str, old: bytes | None
) -> None:
    cut = Cut(fault_server, tmp_path, CUTS[where](chunk), 3 * chunk + 17, old)
    receipt = deliver(fault_server.block(), cut.local)
    cut.assert_delivered_once()
    assert receipt.attempts == 2
    assert receipt.sha256 == hashlib.sha256(cut.new).hexdigest()


@pytest.mark.parametrize("where", CUTS)
def test_a_cut_at_any_byte_is_named_and_the_next_run_goes_on_there(
    fault_server: FaultServer, tmp_path: Path, chunk: int, where: str
) -> None:
    cut = Cut(fault_server, tmp_path, CUTS[where](chunk), 3 * chunk + 17, b"an old file")
    with pytest.raises(TransferError) as lost:
        deliver(fault_server.block(attempts=1), cut.local)
    assert re.fullmatch(
        r"The (connection broke: .+|server closed the connection)\. Given up after 1 attempt\.", str(lost.value)
    )
    assert not lost.value.permanent
    assert cut.final.read_bytes() == b"an old file"
    assert (fault_server.folder / PART).read_bytes() == cut.new[: cut.at]

    fault_server.behaviour.write_offsets.clear()
    assert deliver(fault_server.block(), cut.local).attempts == 1
    cut.assert_delivered_once()
    assert fault_server.behaviour.write_offsets[:1] == ([cut.at] if cut.at < len(cut.new) else [])


def test_a_cut_in_the_middle_resumes_where_it_was(fault_server: FaultServer, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    fault_server.inject("write", at_byte=2_000_000)
    receipt = deliver(fault_server.block(), local)
    offsets = fault_server.behaviour.write_offsets
    assert 2_000_000 in offsets  # the second connection begins where the part ends
    assert offsets.count(0) == 1
    assert receipt.attempts == 2
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_part_that_was_tampered_with_is_sent_anew(fault_server: FaultServer, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    fault_server.behaviour.corrupts = True
    fault_server.inject("write", at_byte=2_000_000)
    with pytest.raises(TransferError):
        deliver(fault_server.block(attempts=1), local)
    assert (fault_server.folder / PART).stat().st_size == 2_000_000

    fault_server.behaviour.corrupts = False
    deliver(fault_server.block(), local)
    assert fault_server.behaviour.write_offsets.count(0) == 2
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_where_nobody_may_read_the_part_it_is_sent_anew(fault_server: FaultServer, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    fault_server.behaviour.refuses_reading = True
    fault_server.inject("write", at_byte=2_000_000)
    deliver(fault_server.block(), local)
    assert fault_server.behaviour.write_offsets.count(0) == 2
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_when_attempts_run_out_the_part_stays_for_the_next_run(fault_server: FaultServer, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    fault_server.inject("write", at_byte=1_000_000)
    fault_server.inject("write", at_byte=2_000_000)
    with pytest.raises(TransferError, match=r"Given up after 2 attempts\.") as given_up:
        deliver(fault_server.block(attempts=2), local)
    assert not given_up.value.permanent
    assert os.listdir(fault_server.folder) == [PART]  # never half a file under the final name

    deliver(fault_server.block(), local)
    assert fault_server.behaviour.write_offsets.count(0) == 1
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


@pytest.mark.parametrize("verify", ["size", "read_back"])
def test_taken_at_once_and_the_answer_lost_is_consumed(fault_server: FaultServer, tmp_path: Path, verify: str) -> None:
    taken: list[bytes] = []

    def take(path: Path) -> None:
        taken.append(path.read_bytes())
        path.unlink()

    fault_server.behaviour.after_rename = take
    fault_server.inject("rename", "after")
    local = make_file(tmp_path)
    receipt = deliver(fault_server.block(verify=verify), local)
    assert receipt.consumed
    assert taken == [local.read_bytes()]  # once


def test_gone_before_it_was_compared_is_not_consumed(fault_server: FaultServer, tmp_path: Path) -> None:
    """A sweeper takes the unfinished file while the connection is down: it is sent again."""
    local = make_file(tmp_path)
    fault_server.inject("stat", "before", 2)
    block = fault_server.block(attempts=1)
    with pytest.raises(TransferError):
        deliver(block, local)
    (fault_server.folder / PART).unlink()
    receipt = deliver(block, local)
    assert not receipt.consumed
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_rename_that_was_never_carried_out_is_not_believed(fault_server: FaultServer, tmp_path: Path) -> None:
    """Answer lost, the part swept away, the old file still standing: what stands is not ours."""
    old = fault_server.folder / "citations.csv"
    local = make_file(tmp_path, 1000)
    old.write_bytes(os.urandom(1000))
    cut = fault_server.inject("rename", "before")
    cut.on_strike = (fault_server.folder / PART).unlink
    receipt = deliver(fault_server.block(), local)
    assert fault_server.behaviour.struck == [cut]
    assert old.read_bytes() == local.read_bytes()
    assert not receipt.consumed


def test_a_rename_that_was_refused_is_not_believed_later(fault_server: FaultServer, tmp_path: Path) -> None:
    """The old file was removed to make room, then the cut and the sweeper came: neither name is left, yet nobody
    has consumed anything."""
    fault_server.behaviour.knows_posix_rename = False
    (fault_server.folder / "citations.csv").write_text("old")
    cut = fault_server.inject("remove", "after")
    cut.on_strike = (fault_server.folder / PART).unlink
    local = make_file(tmp_path)
    receipt = deliver(fault_server.block(), local)
    assert not receipt.consumed
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_what_cannot_be_told_is_said(fault_server: FaultServer, tmp_path: Path) -> None:
    """Answer lost, the part gone, and another file under the final name: nobody can know."""

    def receiver_replaces(path: Path) -> None:
        path.write_text("another sender's file")

    fault_server.behaviour.after_rename = receiver_replaces
    fault_server.inject("rename", "after")
    with pytest.raises(TransferError, match="cannot be told whether it arrived") as unsure:
        deliver(fault_server.block(), make_file(tmp_path))
    assert unsure.value.permanent


def test_delivered_stays_delivered_when_nobody_answers_afterwards(fault_server: FaultServer, tmp_path: Path) -> None:
    """The rename was acknowledged: a server that goes away right then does not make it a failure."""
    fault_server.inject("stat", "before", 4)
    receipt = deliver(fault_server.block(attempts=1), make_file(tmp_path))
    assert receipt.bytes == LARGE
    assert fault_server.behaviour.renames_to == ["/acme/import/citations.csv"]


@pytest.mark.parametrize("operation", ["stat", "open_write", "write", "close", "rename"])
def test_a_silent_server_counts_as_lost(fault_server: FaultServer, tmp_path: Path, operation: str) -> None:
    fault_server.inject(operation, effect="silence")
    local = make_file(tmp_path)
    receipt = deliver(fault_server.block(idle_timeout_seconds=0.5), local)
    assert receipt.attempts == 2
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_slow_server_is_waited_for(fault_server: FaultServer, tmp_path: Path) -> None:
    """Longer in all than the silence allowed; but it is never silent for so long."""
    slow = fault_server.inject("write", effect="slow", delay_seconds=0.25)
    local = make_file(tmp_path)
    began = time.monotonic()
    receipt = deliver(fault_server.block(idle_timeout_seconds=3), local)
    assert time.monotonic() - began > 3
    assert len(fault_server.behaviour.struck) * slow.delay_seconds > 3
    assert receipt.attempts == fault_server.behaviour.connections == 1
    assert fault_server.behaviour.renames_to == ["/acme/import/citations.csv"]
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux gives a blocked send up")
def test_a_network_that_swallows_everything_counts_as_lost(fault_server: FaultServer, tmp_path: Path) -> None:
    """Nothing is acknowledged any more, in the middle of a send: paramiko alone would retry it for ever."""
    local = make_file(tmp_path, 40 * 1024 * 1024)
    with Switchboard(fault_server.port) as network:
        block = fault_server.block(port=network.port, attempts=1, idle_timeout_seconds=1)
        with block.connect() as session, pytest.raises(TransferError) as lost:
            session.deliver(
                local,
                block.importer_folder(),
                "citations.csv",
                on_progress=lambda sent, total: network.stall(),
                key=KEY,
            )
    assert not lost.value.permanent
    assert os.listdir(fault_server.folder) == [PART]


def test_a_server_that_was_away_between_two_files_costs_no_attempt(fault_server: FaultServer, tmp_path: Path) -> None:
    block = fault_server.block(attempts=1)
    with block.connect() as session:
        fault_server.cut_all()
        for thread in threading.enumerate():
            if isinstance(thread, paramiko.Transport):
                thread.join(10)  # ends once it knows of the cut
        receipt = session.deliver(make_file(tmp_path), block.importer_folder(), "citations.csv", key=KEY)
    assert receipt.attempts == 1


@pytest.mark.parametrize(("operation", "nth"), [("stat", 1), ("open_read", 1), ("read", 2), ("close", 1), ("stat", 2)])
def test_a_fetch_goes_on_after_a_cut(fault_server: FaultServer, tmp_path: Path, operation: str, nth: int) -> None:
    content = os.urandom(LARGE)
    (fault_server.folder / "list.csv").write_bytes(content)
    fault_server.inject(operation, "after", nth)
    block = fault_server.block()
    with block.connect() as session:
        receipt = session.fetch(block.importer_folder(), "list.csv", tmp_path / "got.csv")
    assert receipt.attempts == 2
    assert receipt.sha256 == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "got.csv").read_bytes() == content


def test_a_fetch_starts_over_when_the_file_is_another_one(fault_server: FaultServer, tmp_path: Path) -> None:
    remote = fault_server.folder / "list.csv"
    remote.write_bytes(b"a" * LARGE)
    fault_server.inject("read", "after", 5)
    block = fault_server.block()

    def replace(received: int, total: int) -> None:
        if total == LARGE:
            remote.write_bytes(b"b" * 1000)

    with block.connect() as session:
        session.fetch(block.importer_folder(), "list.csv", tmp_path / "got.csv", on_progress=replace)
    assert (tmp_path / "got.csv").read_bytes() == b"b" * 1000


def test_a_file_that_grows_while_fetched_is_left_alone(fault_server: FaultServer, tmp_path: Path) -> None:
    remote = fault_server.folder / "list.csv"
    remote.write_bytes(b"a" * LARGE)
    block = fault_server.block()

    def append(received: int, total: int) -> None:
        with remote.open("ab") as file:
            file.write(b"more")

    with block.connect() as session, pytest.raises(TransferError, match="changed while it was being fetched"):
        session.fetch(block.importer_folder(), "list.csv", tmp_path / "got.csv", on_progress=append)
    assert os.listdir(tmp_path) == []


def test_short_reads_are_put_together(fault_server: FaultServer, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (fault_server.folder / "list.csv").write_bytes(content)
    fault_server.behaviour.most_read_bytes = 7000
    block = fault_server.block()
    with block.connect() as session:
        session.fetch(block.importer_folder(), "list.csv", tmp_path / "got.csv")
    assert (tmp_path / "got.csv").read_bytes() == content


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("operation", ["rename", "mkdir", "stat"])
def test_archiving_survives_a_cut(fault_server: FaultServer, when: str, operation: str) -> None:
    (fault_server.folder / "list.csv").write_text("new")
    (fault_server.folder / "done").mkdir()
    (fault_server.folder / "done" / "list.csv").write_text("kept")
    fault_server.inject(operation, when)
    block = fault_server.block()
    into = "done/again" if operation == "mkdir" else "done"
    with block.connect() as session:
        path = session.archive(block.importer_folder(), "list.csv", into)
    assert fault_server.behaviour.struck
    assert (fault_server.root / path.lstrip("/")).read_text() == "new"
    assert (fault_server.folder / "done" / "list.csv").read_text() == "kept"
    assert fault_server.behaviour.count("rename") == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_removing_survives_a_cut(fault_server: FaultServer, when: str) -> None:
    (fault_server.folder / "list.csv").write_text("done with")
    fault_server.inject("remove", when)
    block = fault_server.block()
    with block.connect() as session:
        session.remove(block.importer_folder(), "list.csv")
    assert os.listdir(fault_server.folder) == []


faults: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    operation=st.sampled_from(["stat", "open_write", "open_read", "write", "read", "close", "rename", "remove"]),
    when=st.sampled_from(["before", "after"]),
    nth=st.integers(1, 4),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(faults, max_size=4),
    old=st.sampled_from([None, b"an old file"]),
    verify=st.sampled_from(["size", "read_back"]),
    posix_rename=st.booleans(),
    takes=st.booleans(),
    size=st.sampled_from([0, 1000, 1_500_000]),
)
def test_whatever_is_cut_the_file_arrives_whole_and_once(
    fault_server_process: FaultServer,
    plan: list[dict[str, Any]],
    old: bytes | None,
    verify: str,
    posix_rename: bool,
    takes: bool,
    size: int,
) -> None:
    server = fault_server_process
    server.reset()
    server.behaviour.knows_posix_rename = posix_rename
    for fault in plan:
        server.inject(**fault)
    final = server.folder / "citations.csv"
    if old is not None:
        final.write_bytes(old)
    content = os.urandom(size)
    arrived: list[bytes] = []

    def receive(path: Path) -> None:
        arrived.append(path.read_bytes())
        if takes:
            path.unlink()

    server.behaviour.after_rename = receive
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "local.csv"
        local.write_bytes(content)
        receipt = deliver(server.block(verify=verify, attempts=len(plan) + 1), local)
    assert arrived == [content]
    assert receipt.sha256 == hashlib.sha256(content).hexdigest()
    assert receipt.consumed == takes
    assert os.listdir(server.folder) == ([] if takes else ["citations.csv"])
    assert receipt.attempts == 1 + len(server.behaviour.struck)
