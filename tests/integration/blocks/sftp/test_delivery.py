"""What ops count on from a delivery, against two real servers."""

import hashlib
import json
import os
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.blocks.remote_names import part_name
from headway.blocks.sftp.block import SftpServer, TransferError, read_host_key
from headway.blocks.transfer import DeliveryKey
from tests.support.openssh import OpenSsh
from tests.support.sftp_faults import FaultServer

Server = FaultServer | OpenSsh
LARGE = 3 * 1024 * 1024 + 17
KEY = DeliveryKey("task 1", "run 1")
PART = part_name("citations.csv", KEY)


def make_file(folder: Path, size: int = LARGE, name: str = "local.csv") -> Path:
    path = folder / name
    path.write_bytes(os.urandom(size))
    return path


def deliver(block: SftpServer, local: Path, name: str = "citations.csv"):
    with block.connect() as session:
        return session.deliver(local, block.importer_folder(), name, key=KEY)


@pytest.mark.parametrize("size", [0, 1, LARGE])
def test_a_file_arrives_byte_for_byte_with_a_receipt(any_sftp: Server, tmp_path: Path, size: int) -> None:
    local = make_file(tmp_path, size)
    before = datetime.now(UTC)
    block = any_sftp.block()
    receipt = deliver(block, local)

    assert (any_sftp.folder / "citations.csv").read_bytes() == local.read_bytes()
    assert os.listdir(any_sftp.folder) == ["citations.csv"]
    assert receipt.name == "citations.csv"
    assert receipt.path == block.importer_folder() + "/citations.csv"
    assert receipt.bytes == size
    assert receipt.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
    assert receipt.host_key == read_host_key("127.0.0.1", any_sftp.port, 10).fingerprint
    assert (receipt.attempts, receipt.consumed, receipt.verified) == (1, False, "size")
    assert before <= receipt.started_at <= receipt.ended_at <= datetime.now(UTC)


def test_a_receipt_becomes_json(any_sftp: Server, tmp_path: Path) -> None:
    receipt = deliver(any_sftp.block(), make_file(tmp_path, 5))
    stored = json.loads(json.dumps(receipt.as_dict()))
    assert stored["bytes"] == 5
    assert stored["started_at"].endswith("Z")
    assert datetime.fromisoformat(stored["ended_at"]) == receipt.ended_at


def test_an_existing_file_is_replaced(any_sftp: Server, tmp_path: Path) -> None:
    (any_sftp.folder / "citations.csv").write_text("yesterday's, and longer than the new one")
    local = make_file(tmp_path, 7)
    deliver(any_sftp.block(), local)
    assert (any_sftp.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_names_with_spaces_and_umlauts_arrive_as_they_are(any_sftp: Server, tmp_path: Path) -> None:
    deliver(any_sftp.block(), make_file(tmp_path, 3), "Größe 12 % – final.csv")
    assert os.listdir(any_sftp.folder) == ["Größe 12 % – final.csv"]


def test_reading_back_compares_every_byte(any_sftp: Server, tmp_path: Path) -> None:
    receipt = deliver(any_sftp.block(verify="read_back"), make_file(tmp_path))
    assert receipt.verified == "read_back"


def test_progress_grows_to_the_whole(any_sftp: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    block = any_sftp.block()
    with block.connect() as session:
        session.deliver(make_file(tmp_path), block.importer_folder(), "a.csv", on_progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert seen[-1] == (LARGE, LARGE)
    assert len(seen) > 3


def test_a_part_of_an_earlier_try_is_not_taken_on_trust(any_sftp: Server, tmp_path: Path) -> None:
    (any_sftp.folder / PART).write_bytes(b"somebody else's bytes" * 1000)
    local = make_file(tmp_path)
    deliver(any_sftp.block(), local)
    assert (any_sftp.folder / "citations.csv").read_bytes() == local.read_bytes()
    assert os.listdir(any_sftp.folder) == ["citations.csv"]


def test_a_part_that_is_longer_than_the_file_is_no_part_of_it(any_sftp: Server, tmp_path: Path) -> None:
    local = make_file(tmp_path, 100)
    (any_sftp.folder / PART).write_bytes(local.read_bytes() + b"more")
    deliver(any_sftp.block(), local)
    assert (any_sftp.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_whole_part_of_an_earlier_try_only_needs_its_name(any_sftp: Server, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    (any_sftp.folder / PART).write_bytes(local.read_bytes())
    receipt = deliver(any_sftp.block(), local)
    assert receipt.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
    assert receipt.verified == "read_back"
    assert os.listdir(any_sftp.folder) == ["citations.csv"]


def test_without_posix_rename_the_old_file_gives_way(openssh: OpenSsh, tmp_path: Path) -> None:
    (openssh.folder / "citations.csv").write_text("old")
    local = make_file(tmp_path)
    deliver(openssh.block("no_posix_rename"), local)
    assert (openssh.folder / "citations.csv").read_bytes() == local.read_bytes()
    assert os.listdir(openssh.folder) == ["citations.csv"]


def test_a_server_that_refuses_posix_rename_gets_a_plain_one(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.knows_posix_rename = False
    (fault_server.folder / "citations.csv").write_text("old")
    local = make_file(tmp_path)
    deliver(fault_server.block(), local)
    assert (fault_server.folder / "citations.csv").read_bytes() == local.read_bytes()


def test_a_first_delivery_without_posix_rename_removes_nothing(fault_server: FaultServer, tmp_path: Path) -> None:
    fault_server.behaviour.knows_posix_rename = False
    deliver(fault_server.block(), make_file(tmp_path))
    assert fault_server.behaviour.count("remove") == 0


def test_a_receiver_that_takes_the_file_at_once_has_consumed_it(fault_server: FaultServer, tmp_path: Path) -> None:
    taken: list[bytes] = []

    def take(path: Path) -> None:
        taken.append(path.read_bytes())
        path.unlink()

    fault_server.behaviour.after_rename = take
    local = make_file(tmp_path)
    receipt = deliver(fault_server.block(), local)
    assert receipt.consumed
    assert taken == [local.read_bytes()]


def test_a_local_file_that_is_missing_is_named(any_sftp: Server, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"gone\.csv' cannot be read here: No such file") as refused:
        deliver(any_sftp.block(), tmp_path / "gone.csv")
    assert refused.value.permanent


def test_a_local_file_that_changes_meanwhile_is_not_delivered(any_sftp: Server, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    block = any_sftp.block()

    def append(sent: int, total: int) -> None:
        if sent == total:
            with local.open("ab") as file:
                file.write(b"late line\n")

    with block.connect() as session, pytest.raises(TransferError, match="changed while it was being sent") as refused:
        session.deliver(local, block.importer_folder(), "a.csv", on_progress=append)
    assert not refused.value.permanent
    assert os.listdir(any_sftp.folder) == []


def test_a_session_goes_on_after_a_callback_gave_up(any_sftp: Server, tmp_path: Path) -> None:
    local = make_file(tmp_path)
    block = any_sftp.block()

    def give_up(sent: int, total: int) -> None:
        raise KeyboardInterrupt

    with block.connect() as session:
        with pytest.raises(KeyboardInterrupt):
            session.deliver(local, block.importer_folder(), "a.csv", on_progress=give_up)
        assert not session.exists(block.importer_folder(), "a.csv")
        session.deliver(local, block.importer_folder(), "a.csv")
    assert (any_sftp.folder / "a.csv").read_bytes() == local.read_bytes()


def test_a_fetched_file_is_whole_and_hashed(any_sftp: Server, tmp_path: Path) -> None:
    content = os.urandom(LARGE)
    (any_sftp.folder / "list.csv").write_bytes(content)
    block = any_sftp.block()
    seen: list[tuple[int, int]] = []
    with block.connect() as session:
        receipt = session.fetch(
            block.importer_folder(), "list.csv", tmp_path / "got.csv", on_progress=lambda *at: seen.append(at)
        )
    assert (tmp_path / "got.csv").read_bytes() == content
    assert (receipt.name, receipt.bytes) == ("list.csv", LARGE)
    assert receipt.sha256 == hashlib.sha256(content).hexdigest()
    assert seen[-1] == (LARGE, LARGE)
    assert os.listdir(tmp_path) == ["got.csv"]


def test_a_missing_file_may_still_come(any_sftp: Server, tmp_path: Path) -> None:
    block = any_sftp.block()
    with block.connect() as session, pytest.raises(TransferError, match=r"list\.csv': it does not exist") as refused:
        session.fetch(block.importer_folder(), "list.csv", tmp_path / "got.csv")
    assert not refused.value.permanent
    assert os.listdir(tmp_path) == []


def test_a_listing_has_finished_files_only(any_sftp: Server) -> None:
    for name in ("b.csv", "a.csv", "note.txt", ".c.csv.part"):
        (any_sftp.folder / name).write_text(name)
    (any_sftp.folder / "folder.csv").mkdir()
    (any_sftp.folder / "link.csv").symlink_to(any_sftp.folder / "note.txt")
    (any_sftp.folder / "dangling.csv").symlink_to("nowhere")
    written_at = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
    os.utime(any_sftp.folder / "a.csv", (0, written_at.timestamp()))
    with any_sftp.block().connect() as session:
        files = session.list("acme/import", "*.csv")
        every_name = [file.name for file in session.list("acme/import")]
    assert [(file.name, file.bytes) for file in files] == [("a.csv", 5), ("b.csv", 5), ("link.csv", 8)]
    assert files[0].modified_at == written_at
    assert every_name == ["a.csv", "b.csv", "link.csv", "note.txt"]


def test_a_large_folder_is_listed_completely(any_sftp: Server) -> None:
    names = {f"list-{number:04}-{'x' * 80}.csv" for number in range(600)}
    for name in names:
        (any_sftp.folder / name).touch()
    with any_sftp.block().connect() as session:
        assert {file.name for file in session.list("acme/import")} == names


def test_archiving_never_overwrites(any_sftp: Server) -> None:
    block = any_sftp.block()
    folder = block.importer_folder()
    with block.connect() as session:
        paths = []
        for content in ("first", "second", "third"):
            (any_sftp.folder / "list.csv").write_text(content)
            paths.append(session.archive(folder, "list.csv", "done/2026"))
    assert paths == [f"{folder}/done/2026/{name}" for name in ("list.csv", "list-1.csv", "list-2.csv")]
    kept = {path.name: path.read_text() for path in (any_sftp.folder / "done" / "2026").iterdir()}
    assert kept == {"list.csv": "first", "list-1.csv": "second", "list-2.csv": "third"}
    assert not (any_sftp.folder / "list.csv").exists()


def test_looking_and_removing(any_sftp: Server) -> None:
    block = any_sftp.block()
    folder = block.importer_folder()
    (any_sftp.folder / "list.csv").write_text("12345")
    with block.connect() as session:
        assert session.exists(folder, "list.csv")
        found = session.stat(folder, "list.csv")
        assert found is not None
        assert found.bytes == 5
        assert found.modified_at is not None
        assert abs(found.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
        session.remove(folder, "list.csv")
        assert not session.exists(folder, "list.csv")
        assert session.stat("acme", "import") is None  # a folder is no file
        with pytest.raises(TransferError, match=r"refused to remove '.*list\.csv': it does not exist"):
            session.remove(folder, "list.csv")


def test_nothing_outside_the_root_is_touched(openssh: OpenSsh, tmp_path: Path) -> None:
    with openssh.block().connect() as session:
        for folder in (str(tmp_path), "../elsewhere", "/", str(openssh.root) + "-sibling"):
            with pytest.raises(TransferError) as refused:
                session.list(folder)
            assert refused.value.permanent


def test_memory_does_not_grow_with_the_file(openssh: OpenSsh, tmp_path: Path) -> None:
    local = tmp_path / "large.bin"
    with local.open("wb") as file:
        file.truncate(80 * 1024 * 1024)
    block = openssh.block(verify="read_back")
    with block.connect() as session:
        tracemalloc.start()
        try:
            session.deliver(local, block.importer_folder(), "large.bin")
            session.fetch(block.importer_folder(), "large.bin", tmp_path / "back.bin")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 40 * 1024 * 1024
