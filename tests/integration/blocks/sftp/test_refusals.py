"""What an operator reads when a server says no, and whether trying again is worth it."""

import errno
import os
import re
from pathlib import Path

import asyncssh
import pytest

from headway.blocks.remote_names import part_name
from headway.blocks.sftp.block import SftpServer, TransferError
from headway.blocks.transfer import DeliveryKey
from tests.support.openssh import OpenSsh
from tests.support.sftp_faults import FaultServer

Server = FaultServer | OpenSsh
LARGE = 3 * 1024 * 1024 + 17
KEY = DeliveryKey("task 1", "run 1")
PART = part_name("citations.csv", KEY)


def make_file(folder: Path, size: int = LARGE) -> Path:
    path = folder / "local.csv"
    path.write_bytes(os.urandom(size))
    return path


def refused(block: SftpServer, local: Path, folder: str | None = None) -> TransferError:
    with block.connect() as session, pytest.raises(TransferError) as error:
        session.deliver(local, folder or block.importer_folder(), "citations.csv", key=KEY)
    return error.value


def test_a_missing_folder_is_permanent_and_named(any_sftp: Server, tmp_path: Path) -> None:
    error = refused(any_sftp.block(importer_path=r"\\flexftp\acme\wrong"), make_file(tmp_path))
    assert error.permanent
    assert re.match(r"Folder '.*/acme/wrong' does not exist on SFTP server 127\.0\.0\.1:\d+\. Create it", str(error))


def test_permission_denied_is_permanent(openssh: OpenSsh, tmp_path: Path) -> None:
    error = refused(openssh.block("read_only"), make_file(tmp_path))
    assert error.permanent
    assert "permission denied" in str(error)
    assert "Give the block's user that right" in str(error)


@pytest.mark.parametrize(
    ("operation", "nth"),
    [
        ("open_write", 1),
        ("write", 1),
        ("close", 1),
        ("stat", 2),  # comparing the size
        ("stat", 3),  # looking at what bears the final name
        ("rename", 1),
    ],
)
def test_permission_denied_at_any_step_is_permanent(
    fault_server: FaultServer, tmp_path: Path, operation: str, nth: int
) -> None:
    denied = asyncssh.SFTPPermissionDenied("not you")
    fault_server.inject(operation, nth=nth, effect="refuse", error=denied)
    error = refused(fault_server.block(), make_file(tmp_path))
    assert error.permanent
    assert "permission denied (it says: 'not you')" in str(error)
    assert "citations.csv" not in os.listdir(fault_server.folder)
    assert fault_server.behaviour.connections == 1  # a refusal is no reason to reconnect


@pytest.mark.parametrize("nth", [1, 4])  # looking for a part to resume; looking whether it was consumed
def test_a_look_that_may_be_denied_is_no_obstacle(fault_server: FaultServer, tmp_path: Path, nth: int) -> None:
    fault_server.inject("stat", nth=nth, effect="refuse", error=asyncssh.SFTPPermissionDenied("not you"))
    block, local = fault_server.block(), make_file(tmp_path)
    with block.connect() as session:
        receipt = session.deliver(local, block.importer_folder(), "citations.csv")
    assert len(fault_server.behaviour.struck) == receipt.attempts == 1
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_real_full_disk_is_heard(openssh: OpenSsh, tmp_path: Path) -> None:
    """/dev/full says ENOSPC to every write; OpenSSH passes that on as a bare "Failure"."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    (openssh.folder / PART).symlink_to("/dev/full")
    error = refused(openssh.block(), make_file(tmp_path))
    assert not error.permanent
    assert "refused to write" in str(error)
    assert "Failure" in str(error)
    assert os.listdir(openssh.folder) == []


def test_a_full_disk_is_called_so_and_left_clean(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.quota_bytes = 1_000_000
    error = refused(fault_server.block(), make_file(tmp_path))
    assert not error.permanent
    assert "the server's disk is full" in str(error)
    assert os.listdir(fault_server.folder) == []


@pytest.mark.parametrize("operation", ["write", "close"])
def test_a_late_write_error_is_not_swallowed(fault_server: FaultServer, tmp_path: Path, operation: str) -> None:
    nth = 12 if operation == "write" else 1  # among the last answers of a pipelined upload
    fault_server.inject(operation, "after", nth, effect="refuse", error=OSError(errno.EDQUOT, "quota"))
    error = refused(fault_server.block(), make_file(tmp_path))
    assert "refused to write" in str(error)
    assert os.listdir(fault_server.folder) == []


def test_a_quota_that_nobody_reports_shows_in_the_size(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.quota_bytes = 1_000_000
    fault_server.behaviour.quota_is_silent = True
    error = refused(fault_server.block(), make_file(tmp_path))
    assert not error.permanent
    assert re.search(rf"holds \d+ of the {LARGE} bytes sent", str(error))
    assert os.listdir(fault_server.folder) == []


def test_only_reading_back_finds_changed_bytes(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.corrupts = True
    error = refused(fault_server.block(verify="read_back"), make_file(tmp_path))
    assert "gives back other bytes than were sent" in str(error)
    assert os.listdir(fault_server.folder) == []


def test_a_folder_is_not_replaced_by_a_file(any_sftp: Server, tmp_path: Path) -> None:
    (any_sftp.folder / "citations.csv").mkdir()
    error = refused(any_sftp.block(), make_file(tmp_path))
    assert error.permanent
    assert "is a folder on SFTP server" in str(error)
    assert (any_sftp.folder / "citations.csv").is_dir()


def test_a_refused_rename_leaves_the_old_file_standing(fault_server: FaultServer, tmp_path: Path) -> None:
    (fault_server.folder / "citations.csv").write_text("old")
    fault_server.inject("rename", effect="refuse", error=asyncssh.SFTPFailure("locked by the importer"))
    error = refused(fault_server.block(), make_file(tmp_path))
    assert not error.permanent
    assert "refused to rename to" in str(error)
    assert "locked by the importer" in str(error)
    assert (fault_server.folder / "citations.csv").read_text() == "old"


def test_without_posix_rename_a_denied_rename_removes_nothing(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.knows_posix_rename = False
    (fault_server.folder / "citations.csv").write_text("old")
    fault_server.inject("rename", effect="refuse", error=asyncssh.SFTPPermissionDenied("not you"))
    assert refused(fault_server.block(), make_file(tmp_path)).permanent
    assert (fault_server.folder / "citations.csv").read_text() == "old"


def test_a_listing_of_a_missing_folder_says_so(any_sftp: Server) -> None:
    with any_sftp.block().connect() as session, pytest.raises(TransferError, match=r"refused to list '.*/nowhere'"):
        session.list("nowhere")


def test_archiving_into_the_same_folder_is_refused(any_sftp: Server) -> None:
    (any_sftp.folder / "list.csv").touch()
    with any_sftp.block().connect() as session:
        for into in ("", "/", "..", "../done"):
            with pytest.raises(TransferError) as error:
                session.archive("acme/import", "list.csv", into)
            assert error.value.permanent
    assert os.listdir(any_sftp.folder) == ["list.csv"]


def test_a_folder_that_cannot_be_written_here_is_named(any_sftp: Server, tmp_path: Path) -> None:
    (any_sftp.folder / "list.csv").write_text("x")
    local = tmp_path / "missing" / "got.csv"
    with any_sftp.block().connect() as session:
        with pytest.raises(TransferError, match=r"got\.csv' cannot be written here: No such file"):
            session.fetch("acme/import", "list.csv", local)
        assert session.exists("acme/import", "list.csv")  # the session is still in step
