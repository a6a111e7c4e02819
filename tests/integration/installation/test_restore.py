"""Restore where the home is all that may be written, and restore that is cut short at any point."""

import errno
import multiprocessing
import os
import shutil
import signal
import sqlite3
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headway.errors import InvalidInput, Refused
from headway.models.ledger.database import make_engine
from headway.scheduler.installation.backup import back_up
from headway.scheduler.installation.home_lock import LOCK_FILE, half_restored, in_use
from headway.scheduler.installation.restore import restore
from headway.scheduler.installation.setup import install

Contents = dict[str, bytes]


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A back-up: a ledger, keys, and a name that the older state does not have."""
    folder = tmp_path_factory.mktemp("made")
    engine = make_engine(f"sqlite:///{folder / 'home' / 'headway.db'}")
    install(engine)
    engine.dispose()
    fill(folder / "home", {"keys/a": b"new key", "prefect-keys.json": b"new", "reports/new.sql": b"new"})
    back_up(folder / "home", folder / "safe")
    return folder / "safe"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """What is there already; its ledger is never opened here."""
    home = tmp_path / "home"
    fill(home, {"headway.db": b"old", "headway.db-wal": b"old", "keys/a": b"old key", "only-old": b"old", "z": b"old"})
    return home


def fill(home: Path, files: Contents) -> None:
    for name, what in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(what)


def contents(folder: Path) -> Contents:
    """All files but the lock, and what restores keep apart."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    apart = (LOCK_FILE, "before-", ".restoring-")
    return {str(path): (folder / path).read_bytes() for path in paths if not path.parts[0].startswith(apart)}


def is_new(home: Path, safe: Path) -> bool:
    """Whether the home holds what was backed up, and nothing else; the ledger with its restore on record."""
    there, saved = contents(home), contents(safe)
    saved.pop("headway-backup.json")
    if there.keys() != saved.keys():
        return False
    ledger = sqlite3.connect(home / "headway.db")
    restores = ledger.execute("SELECT count(*) FROM audit WHERE action = 'restore'").fetchone()
    ledger.close()
    return restores == (1,) and all(there[name] == saved[name] for name in there if name != "headway.db")


def killed_at(step: int, safe: Path, home: Path) -> bool:
    """Restore in a process that is killed before its step-th change to a folder. False: it has fewer of them."""

    def run() -> None:
        left = [step]

        def counted(name: str) -> Callable[..., Any]:
            real = getattr(os, name)

            def call(*args: Any, **more: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **more)

            return call

        for name in ("rename", "mkdir", "unlink", "rmdir"):
            setattr(os, name, counted(name))
        try:
            restore(safe, home, replace=True)
        except BaseException:
            told.write_text(traceback.format_exc(), encoding="utf-8")
            os._exit(1)
        os._exit(0)  # nothing of what this process has inherited is to be tidied up

    told = home.with_name("told")
    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), told.read_text(encoding="utf-8")
    return process.exitcode != 0


def test_killed_at_any_point_it_is_the_old_one_or_the_new_one_or_the_next_restore_finishes_it(
    safe: Path, home: Path, tmp_path: Path
) -> None:
    old = contents(home)
    untouched = tmp_path / "untouched"
    shutil.copytree(home, untouched)
    found = {"old": 0, "new": 0, "half": 0}
    step = 1
    while killed_at(step, safe, home):
        if half_restored(home) is not None:
            found["half"] += 1
            with pytest.raises(Refused, match="headway restore"), in_use(home):
                pass
            again = False  # no need to say --replace once more
        else:
            found["new" if is_new(home, safe) else "old"] += 1
            assert is_new(home, safe) or contents(home) == old, step
            again = True
        restore(safe, home, replace=again)
        assert is_new(home, safe), step
        assert not list(home.glob(".restoring-*")), step
        assert old in [contents(aside) for aside in home.glob("before-*")], step
        shutil.rmtree(home)
        shutil.copytree(untouched, home)
        step += 1
    assert all(found.values()), found
    assert is_new(home, safe)


def test_another_back_up_is_not_taken_for_the_rest_of_a_half_restored_one(
    safe: Path, home: Path, tmp_path: Path
) -> None:
    old = contents(home)
    fill(tmp_path / "small", {"keys/a": b"another key"})
    back_up(tmp_path / "small", tmp_path / "other")
    step = 1
    while half_restored(home) is None:
        assert killed_at(step, safe, home)
        step += 1
    with pytest.raises(Refused, match="half restored, from the back-up made at"):
        restore(tmp_path / "other", home)
    _, aside = restore(tmp_path / "other", home, replace=True)
    assert contents(home) == {"keys/a": b"another key"}
    assert aside is not None and is_new(aside, safe)
    assert old in [contents(kept) for kept in home.glob("before-*")]


def test_only_the_home_itself_need_be_writable(
    safe: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a service's user whose home lies in /var/lib, and for a volume mounted there."""
    beside = sorted(tmp_path.iterdir())
    for name in ("rename", "mkdir", "rmdir"):
        monkeypatch.setattr(os, name, only_within(home, getattr(os, name)))
    _, aside = restore(safe, home, replace=True)
    assert is_new(home, safe) and aside is not None and aside.parent == home
    assert home.stat().st_mode & 0o077 == 0 and aside.stat().st_mode & 0o077 == 0
    assert sorted(tmp_path.iterdir()) == beside


def only_within(home: Path, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **more: Any) -> Any:
        for path in (arg for arg in args if isinstance(arg, str | Path)):
            if Path(path).is_absolute() and home not in Path(path).parents:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        return real(*args, **more)

    return call


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("home", "headway.db"),  # the first to leave
        ("home", "z"),  # the last, and not in the back-up: a mount point of its own
        (".restoring-", "keys"),  # the first to come
        (".restoring-", "headway.db"),  # the last
    ],
)
def test_what_cannot_be_moved_is_refused_and_all_is_as_it_was(
    where: str, name: str, safe: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, real = contents(home), os.rename

    def rename(was: Any, becomes: Any) -> None:
        if Path(was).name == name and Path(was).parent.name.startswith(where):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(was))
        real(was, becomes)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(Refused, match=f"{name}.*as it was.*restore again"):
        restore(safe, home, replace=True)
    assert contents(home) == old
    assert {path.name for path in home.iterdir()} == {Path(one).parts[0] for one in old} | {LOCK_FILE}


def test_nothing_is_moved_before_it_would_outlive_a_power_cut(
    safe: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place whose contents are still in memory would be an empty one after it."""
    done: list[tuple[str, Path]] = []

    def noted(name: str, path: Callable[[Any], Any]) -> None:
        real = getattr(os, name)

        def call(first: Any, *args: Any, **more: Any) -> Any:
            done.append((name, Path(path(first))))
            return real(first, *args, **more)

        monkeypatch.setattr(os, name, call)

    noted("fsync", lambda handle: os.readlink(f"/proc/self/fd/{handle}"))
    noted("rename", os.fspath)
    noted("unlink", os.fspath)
    restore(safe, home, replace=True)

    moves = [at for at, (what, path) in enumerate(done) if what == "rename" and path.name != "headway-backup.json.new"]
    stage = done[moves[-1]][1].parent
    safe_now = {path for what, path in done[: moves[0]] if what == "fsync"}
    kept = {path for path in safe.rglob("*") if path.name != "headway-backup.json"}
    assert {stage / path.relative_to(safe) for path in kept} | {stage, home} <= safe_now
    assert ("fsync", stage / "headway-backup.json.new") in done[: moves[0]]
    forgotten = done.index(("unlink", stage / "headway-backup.json"))
    assert ("fsync", home) in done[moves[-1] : forgotten]


def test_a_full_disk_is_refused_and_leaves_no_secret(safe: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half a sec")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(Refused, match=r"No space left.*bytes must be free"):
        restore(safe, home, replace=True)
    assert not list(home.glob(".restoring-*"))


def test_a_back_up_that_may_not_be_read_is_refused(safe: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when root made it and the service's user restores it."""
    real = Path.open

    def closed(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **more)

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(InvalidInput, match="keys/a: cannot be read: Permission denied"):
        restore(safe, home, replace=True)
