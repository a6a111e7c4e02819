"""Two exporters deliver the same name at the same time: one of the two files bears it, whole."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headway.blocks.drop_folder import DropFolderSession
from headway.blocks.remote_names import part_name
from headway.blocks.sftp.delivery import ABANDONED_AFTER
from headway.blocks.sftp.protocol import SftpProtocol
from headway.blocks.sftp.session import SftpSession
from headway.blocks.transfer import DeliveryKey, TransferError
from tests.support.openssh import OpenSsh
from tests.support.sftp_faults import FaultServer

NAME = "citations.csv"
RUN_1, RUN_2, RUN_3 = (DeliveryKey(f"task {number}", f"run {number}") for number in (1, 2, 3))
BYTES = 600_000  # a few requests to write
PATIENCE_SECONDS = 30


class TwoDeliveries:
    """One stops before a request of its choice, the other goes on up to one of its own, then each to its end."""

    def __init__(self, first: Callable[[], Any], second: Callable[[], Any], first_stop: int, second_stop: int) -> None:
        self._stops = {"first": first_stop, "second": second_stop}
        self._sent = {"first": 0, "second": 0}
        self._second_stands, self._second_may_go_on = threading.Event(), threading.Event()
        self.outcome: dict[str, Any] = {}
        self._second = threading.Thread(target=self._deliver, args=("second", second), name="second")
        self._first = threading.Thread(target=self._deliver, args=("first", first), name="first")

    def live(self) -> dict[str, Any]:
        """What became of each: None, or its TransferError."""
        self._first.start()
        self._first.join(PATIENCE_SECONDS)
        self._start_second()
        self._second_may_go_on.set()
        self._second.join(PATIENCE_SECONDS)
        assert self.outcome.keys() == {"first", "second"}
        return self.outcome

    def before_a_request(self) -> None:
        who = threading.current_thread().name
        if who not in self._sent:
            return
        self._sent[who] += 1
        if self._sent[who] != self._stops[who]:
            return
        if who == "first":
            self._start_second()
        else:
            self._second_stands.set()
            assert self._second_may_go_on.wait(PATIENCE_SECONDS)

    def _start_second(self) -> None:
        if self._second.ident is None:
            self._second.start()
        assert self._second_stands.wait(PATIENCE_SECONDS)

    def _deliver(self, who: str, work: Callable[[], Any]) -> None:
        try:
            work()
            self.outcome[who] = None
        except TransferError as error:
            self.outcome[who] = error
        finally:
            if who == "second":
                self._second_stands.set()


def _requests(session: SftpSession, local: Path, folder: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many requests one delivery is."""
    sent, send = [], SftpProtocol.send
    with monkeypatch.context() as patch:
        patch.setattr(SftpProtocol, "send", lambda self, *args: (sent.append(1), send(self, *args))[1])
        session.deliver(local, folder, NAME, key=RUN_1)
    return len(sent)


@pytest.mark.parametrize("posix_rename", [True, False])
def test_two_of_one_name_leave_one_of_the_two_whole(
    fault_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, posix_rename: bool
) -> None:
    """Wherever one overtakes the other, request by request; of equal size, so that the size tells nothing."""
    fault_server.behaviour.knows_posix_rename = posix_rename
    contents = {who: os.urandom(BYTES) for who in ("first", "second")}
    for who, content in contents.items():
        (tmp_path / who).write_bytes(content)
    block, final, send = fault_server.block(), fault_server.folder / NAME, SftpProtocol.send
    folder = block.importer_folder()
    with block.connect() as one, block.connect() as other:
        requests = _requests(one, tmp_path / "first", folder, monkeypatch)
        assert requests > 10
        for first_stop in range(1, requests + 1):
            for second_stop in range(1, requests + 2):
                final.unlink(missing_ok=True)
                two = TwoDeliveries(
                    lambda: one.deliver(tmp_path / "first", folder, NAME, key=RUN_1),
                    lambda: other.deliver(tmp_path / "second", folder, NAME, key=RUN_2),
                    first_stop,
                    second_stop,
                )

                def stopped(self: SftpProtocol, *args: Any, two: TwoDeliveries = two) -> int:
                    two.before_a_request()
                    return send(self, *args)

                monkeypatch.setattr(SftpProtocol, "send", stopped)
                outcome = two.live()
                delivered = [contents[who] for who, error in outcome.items() if error is None]
                assert final.read_bytes() in delivered, (first_stop, second_stop, outcome)
                assert len(delivered) == 2 or not posix_rename, outcome
                for left in fault_server.folder.glob(".*.part"):  # of one that was refused, for its retry
                    left.unlink()


@pytest.mark.parametrize("posix_rename", [True, False])
def test_who_may_not_rename_leaves_the_final_name_as_it_was(
    fault_server: FaultServer, tmp_path: Path, posix_rename: bool
) -> None:
    """Asked last of all before the rename: a claim that was lost during the upload is noticed in time."""
    fault_server.behaviour.knows_posix_rename = posix_rename
    final = fault_server.folder / NAME
    final.write_bytes(b"another run's")
    (tmp_path / "local").write_bytes(b"b" * BYTES)
    block, asked = fault_server.block(), []

    def refuse(path: str) -> None:
        asked.append((path, final.read_bytes(), fault_server.behaviour.operations[-1]))
        raise TransferError("not this run's any more")

    with block.connect() as session:
        with pytest.raises(TransferError, match="not this run's"):
            session.deliver(tmp_path / "local", block.importer_folder(), NAME, key=RUN_1, before_rename=refuse)
        remote = f"/acme/import/{NAME}"
        assert asked == [(remote, b"another run's", ("stat", remote))]
        assert final.read_bytes() == b"another run's"
        assert {"rename", "remove"}.isdisjoint(done for done, _ in fault_server.behaviour.operations)
        written = fault_server.behaviour.written_bytes
        session.deliver(tmp_path / "local", block.importer_folder(), NAME, key=RUN_1)
    assert final.read_bytes() == b"b" * BYTES and fault_server.behaviour.written_bytes == written


def _leave(folder: Path, name: str, age_seconds: float) -> Path:
    path = folder / name
    path.write_bytes(b"half")
    at = time.time() - age_seconds
    os.utime(path, (at, at))
    return path


def test_what_nobody_came_back_for_is_cleared_away(openssh: OpenSsh, tmp_path: Path) -> None:
    old = ABANDONED_AFTER.total_seconds() + 60
    abandoned = [_leave(openssh.folder, name, old) for name in (part_name(NAME, RUN_1), f".{NAME}.part")]
    kept = [
        _leave(openssh.folder, part_name(NAME, RUN_2), old - 120),  # may still be wanted
        _leave(openssh.folder, part_name("other.csv", RUN_1), old),
        _leave(openssh.folder, f"{NAME}.old", old),
    ]
    (tmp_path / "local").write_bytes(b"whole")
    block = openssh.block()
    with block.connect() as session:
        session.deliver(tmp_path / "local", block.importer_folder(), NAME, key=RUN_3)
    assert [path.exists() for path in abandoned] == [False, False] and all(path.exists() for path in kept)
    assert (openssh.folder / NAME).read_bytes() == b"whole"


def test_what_an_earlier_run_of_the_same_task_left_is_cleared_away_at_once(openssh: OpenSsh, tmp_path: Path) -> None:
    """A task has one run at a time: that run is over, and if it was taken for dead it cannot rename any more."""
    left = _leave(openssh.folder, part_name(NAME, RUN_1._replace(run="the run before")), 1)
    others = _leave(openssh.folder, part_name(NAME, RUN_2), 1)
    (tmp_path / "local").write_bytes(b"whole")
    block = openssh.block()
    with block.connect() as session:
        session.deliver(tmp_path / "local", block.importer_folder(), NAME, key=RUN_1)
    assert not left.exists() and others.exists()
    assert (openssh.folder / NAME).read_bytes() == b"whole"


def test_an_unfinished_file_that_cannot_be_gone_on_with_is_not_written_into(openssh: OpenSsh, tmp_path: Path) -> None:
    """Who left it may still have it open: what comes late goes into a file without a name."""
    part = openssh.folder / part_name(NAME, RUN_1)
    (tmp_path / "local").write_bytes(b"b" * BYTES)
    block = openssh.block()
    with part.open("wb") as late, block.connect() as session:
        late.write(b"a" * 100)
        late.flush()
        session.deliver(tmp_path / "local", block.importer_folder(), NAME, key=RUN_1)
        late.write(b"a" * 100)
    assert (openssh.folder / NAME).read_bytes() == b"b" * BYTES


def _refuse(path: str) -> None:
    raise TransferError("not this run's any more")


def test_two_of_one_name_in_a_drop_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second comes and goes between the first one's copy and its rename."""
    root = tmp_path / "root"
    root.mkdir()
    for who in ("first", "second"):
        (tmp_path / who).write_text(who)
    session, replace, bore = DropFolderSession(root), os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "replace", replace)
        session.deliver(tmp_path / "second", "", NAME, key=RUN_2)
        bore.append(target.read_text())
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    session.deliver(tmp_path / "first", "", NAME, key=RUN_1)
    with pytest.raises(TransferError):
        session.deliver(tmp_path / "second", "", NAME, key=RUN_2, before_rename=_refuse)
    assert bore == ["second"] and (root / NAME).read_text() == "first"
    assert os.listdir(root) == [NAME]
