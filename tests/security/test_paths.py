"""No name or folder that a person writes leads out of its root: 100,000 strings through every door for paths."""

import os
import posixpath
from collections import Counter
from pathlib import Path, PureWindowsPath
from unittest import mock

import pytest

from headway.blocks.drop_folder import DropFolder, DropFolderSession
from headway.blocks.remote_names import check_name, part_name, remote_folder
from headway.blocks.transfer import DeliveryKey, TransferError
from headway.flows.shared.files import resolved_file_name
from headway.flows.shared.result import InputRefused
from headway.models.values.importer_path import parse_unc
from headway.scheduler.planning.definitions.file_names import resolve
from tests.security.hostile_paths import KNOWN, hostile_paths
from tests.support.clock import utc

COUNT, SEED = 100_000, 5
ON_DISK = 1_000
"""Of those that go to a real folder: each costs system calls."""


def one_step(name: str) -> bool:
    """Whether a file of that name lies in the folder it is put into, for any program on any system."""
    return (
        name not in ("", ".", "..")
        and not set(name) & set("/\\\0\r\n")
        and posixpath.normpath(posixpath.join("/root/in", name)) == f"/root/in/{name}"
        and os.fsencode(name) == name.encode()
    )


def below(path: str, root: str) -> bool:
    return posixpath.normpath(path) == path and (path == root or path.startswith(root.rstrip("/") + "/"))


def test_a_name_that_is_accepted_is_one_step() -> None:
    accepted = 0
    for text in hostile_paths(COUNT, SEED):
        try:
            name = check_name(text)
        except TransferError as refused:
            assert refused.permanent
            continue
        accepted += 1
        assert name == text
        assert one_step(name), ascii(name)
    assert 0 < accepted < COUNT


@pytest.mark.parametrize("root", ["/", "/root", "/root/in"])
def test_a_remote_folder_that_is_accepted_lies_below_its_root(root: str) -> None:
    accepted = 0
    for text in hostile_paths(COUNT, SEED + 1):
        try:
            path = remote_folder(root, text)
        except TransferError:
            continue
        accepted += 1
        assert below(path, root), ascii(path)
    assert 0 < accepted < COUNT


def test_an_importer_path_that_is_accepted_stays_below_its_share() -> None:
    accepted = 0
    prefixes = ("", "\\\\flexftp\\acme\\")
    for text in (prefix + text for text in hostile_paths(COUNT // 2, SEED + 2) for prefix in prefixes):
        try:
            path = parse_unc(text)
        except ValueError:
            continue
        accepted += 1
        steps = (path.share, *path.folders)
        assert all(one_step(step) for step in steps), ascii(text)
        # Windows drops dots and spaces at a step's end, and reads a colon as a drive or a stream.
        assert not any(step.endswith((".", " ")) or ":" in step for step in steps), ascii(text)
        assert PureWindowsPath(str(path)).parts[1:] == path.folders, ascii(text)
        remote = remote_folder("/root", "/".join(steps))
        assert remote == "/".join(("/root", *steps))
    assert 0 < accepted < COUNT


def test_a_file_name_stays_one_step_whatever_its_tokens_become() -> None:
    """The same string as the pattern, as the task's name and as the object's: what the claim makes of it is a name
    or is refused.
    """
    seen: Counter[str] = Counter()
    for text in hostile_paths(COUNT, SEED + 3):
        for pattern, task, object_name in ((text, "t", "o"), ("{task}.csv", text, "o"), ("{object}.csv", "t", text)):
            try:
                name = resolve(
                    pattern,
                    task=task,
                    object_name=object_name,
                    due_at=utc("2026-11-24T03:05:09"),
                    timezone="America/New_York",
                    sequence=7,
                )
                assert pattern != "{task}.csv" or one_step(name), ascii(task)
                name = resolved_file_name(name)
            except (ValueError, InputRefused):
                seen["refused"] += 1
                continue
            seen["accepted"] += 1
            assert one_step(name), ascii((pattern, task, object_name))
            assert not set(name) & set("{}")
    assert seen["accepted"]
    assert seen["refused"]


@pytest.fixture
def drop(tmp_path: Path) -> DropFolderSession:
    """A drop folder with ways out of it, and files beyond that nobody may get at."""
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("x.csv", "passwd"):
        (outside / name).write_text("SECRET")
    (root / "link").symlink_to(outside)
    (root / "inner" / "link").symlink_to("../../outside")
    (root / "passwd").symlink_to(outside / "passwd")
    (root / "here.csv").write_text("mine")
    # A folder beside the root whose name begins like it.
    (tmp_path / "root-of-others").mkdir()
    (tmp_path / "root-of-others" / "x.csv").write_text("SECRET")
    with DropFolder(root=str(root)).connect() as session:
        return session


def test_a_drop_folder_writes_and_reads_through_no_link(drop: DropFolderSession, tmp_path: Path) -> None:
    """Whoever may write into the folder may put a link wherever we are about to write, or have just looked."""
    victim = tmp_path / "outside" / "x.csv"
    mine = tmp_path / "to-deliver"
    mine.write_text("mine")
    key = DeliveryKey("task 1", "run 1")
    (drop.root / part_name("new.csv", key)).symlink_to(victim)
    drop.deliver(mine, "", "new.csv", key=key)
    assert victim.read_text() == "SECRET" and (drop.root / "new.csv").read_text() == "mine"

    (drop.root / "late.csv").symlink_to(victim)
    with mock.patch.object(Path, "is_symlink", return_value=False), pytest.raises(TransferError, match="late"):
        drop.fetch("", "late.csv", tmp_path / "fetched")
    os.mkfifo(drop.root / "pipe.csv")
    with mock.patch.object(Path, "is_file", return_value=True), pytest.raises(TransferError, match="no plain file"):
        drop.fetch("", "pipe.csv", tmp_path / "fetched")


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_call_of_a_drop_folder_reads_or_writes_beyond_it(drop: DropFolderSession, tmp_path: Path) -> None:
    outside = [tmp_path / "outside", tmp_path / "root-of-others"]
    before = [state(folder) for folder in outside]
    local, mine = tmp_path / "fetched", tmp_path / "to-deliver"
    mine.write_text("mine")
    beside = {path.name for path in tmp_path.iterdir()} | {"fetched"}
    done = 0
    for text in hostile_paths(ON_DISK, SEED + 4):
        calls = [
            lambda text=text: drop.list(text),
            lambda text=text: drop.stat("", text),
            lambda text=text: drop.fetch(text, "x.csv", local),
            lambda text=text: drop.fetch("", text, local),
            lambda text=text: drop.deliver(mine, text, "new.csv"),
            lambda text=text: drop.deliver(mine, "", text),
            lambda text=text: drop.archive("", "here.csv", text),
            lambda text=text: drop.remove(text, "x.csv"),
        ]
        for call in calls:
            try:
                answer = call()
            except (TransferError, OSError, ValueError):
                continue
            done += 1
            if isinstance(answer, list):
                assert "passwd" not in {file.name for file in answer}, ascii(text)
        if local.exists():
            assert local.read_bytes() == b"mine", ascii(text)
            local.unlink()
        here = drop.root / "here.csv"
        if not here.exists():
            here.write_text("mine")
    assert done
    assert [state(folder) for folder in outside] == before
    assert {path.name for path in tmp_path.iterdir()} <= beside


@pytest.mark.parametrize("text", KNOWN)
def test_a_known_trick_gets_a_refusal_that_can_be_shown(drop: DropFolderSession, text: str) -> None:
    """An answer in words, not a crash of another kind: what comes out of a block goes to a person."""
    for call in (lambda: drop.list(text), lambda: drop.remove("", text), lambda: drop.archive("", "here.csv", text)):
        try:
            call()
        except TransferError as refused:
            assert "\0" not in str(refused)
            str(refused).encode()
