"""Back-up while everything runs, and restore after the original is lost."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from headway.models.ledger.database import make_engine, writing
from headway.models.ledger.tables import SettingRow, SignInRow
from headway.models.values.run import RunStatus
from headway.scheduler.installation.home_lock import MANIFEST
from headway.scheduler.installation.restore import RUN_NUMBERS_SKIPPED
from tests.support.command_line import Forks, Headway
from tests.support.prefect_server import free_port
from tests.support.running_stack import RunningStack, export_yaml

pytest_plugins = ["tests.support.stack"]


@pytest.fixture
def filled(headway: Headway) -> Headway:
    headway.apply(
        "settings: {customer_importer_file_path: '\\\\flexftp\\acme\\import'}\ntasks:\n" + export_yaml("Lots")
    )
    headway("user", "add", "olga").ok()
    (headway.home / "keys").mkdir(mode=0o700, exist_ok=True)
    (headway.home / "keys" / "a key").write_text("secret")
    (headway.home / "keys" / "a key").chmod(0o600)
    return headway


def test_what_is_lost_comes_back(filled: Headway, tmp_path: Path) -> None:
    before = {what: filled(what).ok().out for what in ("export", "tasks")}
    people = filled("user", "list").ok().out
    assert "files" in filled("backup", str(tmp_path / "safe")).ok().out
    shutil.rmtree(filled.home)
    filled("restore", str(tmp_path / "safe")).ok()
    assert {what: filled(what).ok().out for what in before} == before
    assert filled("user", "list").ok().out == people
    key = filled.home / "keys" / "a key"
    assert key.read_text() == "secret" and key.stat().st_mode & 0o777 == 0o600
    assert filled.home.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "safe").rglob("*") if path.is_file())


def test_a_back_up_is_one_instant_of_a_database_that_is_being_written(filled: Headway, tmp_path: Path) -> None:
    """Two rows are always changed together; no back-up may hold one without the other."""
    engine = make_engine(filled.database)
    stop = threading.Event()
    with writing(engine) as session:
        session.add_all([SettingRow(key=key, value=0) for key in ("left", "right")])

    def write() -> None:
        for number in range(1, 1_000_000):
            if stop.is_set():
                return
            with writing(engine) as session:
                for key in ("left", "right"):
                    row = session.get(SettingRow, key)
                    assert row is not None
                    row.value = number
                    session.add(row)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            filled("backup", str(tmp_path / f"safe{number}")).ok()
    finally:
        stop.set()
        writer.join()
        engine.dispose()
    for number in range(3):
        database = sqlite3.connect(tmp_path / f"safe{number}" / "headway.db")
        values = dict(database.execute("SELECT key, value FROM setting WHERE key IN ('left', 'right')"))
        database.close()
        assert values["left"] == values["right"]


def test_sessions_do_not_come_back_and_the_audit_says_who_restored(filled: Headway, tmp_path: Path) -> None:
    database = sqlite3.connect(filled.database.removeprefix("sqlite:///"))
    database.execute(
        f"INSERT INTO {SignInRow.__tablename__} (token_hash, user_id, stamp, address, created_at, seen_at) "
        "SELECT 'x', id, '', '', created_at, created_at FROM user_account"
    )
    database.commit()
    database.close()
    filled("backup", str(tmp_path / "safe")).ok()
    filled("restore", str(tmp_path / "safe"), "--replace").ok()
    (aside,) = filled.home.glob("before-*")
    assert (aside / "headway.db").exists()
    database = sqlite3.connect(filled.database.removeprefix("sqlite:///"))
    assert database.execute(f"SELECT count(*) FROM {SignInRow.__tablename__}").fetchone() == (0,)
    assert database.execute("SELECT count(*) FROM audit WHERE action = 'restore'").fetchone() == (1,)
    database.close()


def test_what_cannot_be_restored_is_refused_and_changes_nothing(filled: Headway, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    filled("backup", str(safe)).ok()
    filled("backup", str(safe)).refused(2, str(safe), "new")
    filled("backup", str(filled.home / "inside")).refused(2, "outside")
    filled("--as", "olga", "backup", str(tmp_path / "hers")).refused(3, "olga")
    filled("restore", str(tmp_path)).refused(2, "no back-up")
    filled("restore", str(safe)).refused(4, "--replace")
    with (safe / "headway.db").open("r+b") as file:
        file.seek(5000)
        file.write(b"xxxx")
    filled("restore", str(safe), "--replace").refused(2, "headway.db", "not what was backed up")
    manifest = json.loads((safe / MANIFEST).read_text())
    manifest["files"][0]["path"] = "../elsewhere"
    (safe / MANIFEST).write_text(json.dumps(manifest))
    filled("restore", str(safe), "--replace").refused(2, "../elsewhere", "outside")
    assert "Lots" in filled("tasks").ok().out


def test_what_a_back_up_leaves_out_it_names(filled: Headway, tmp_path: Path) -> None:
    (filled.home / "reports").symlink_to(tmp_path)
    elsewhere = {
        "HEADWAY_DATABASE_URL": f"sqlite:///{tmp_path / 'l.db'}",
        "HEADWAY_OPERATIONS_DATABASE_URL": "postgresql://me:hush@db/operations",
        "HEADWAY_REPORTS": "/srv/reports",
    }
    out = filled("backup", str(tmp_path / "safe"), **elsewhere).ok().out
    said = [line for line in out.splitlines() if line.startswith("Not in it: ")]
    words = [str(tmp_path / "l.db"), "pg_dump", "/srv/reports", f"reports, which is a link to {tmp_path}"]
    assert len(said) == len(words) and all(word in line for word, line in zip(words, said, strict=True)), out
    assert "hush" not in out
    inside = {
        "HEADWAY_DATABASE_URL": f"sqlite:///{filled.home / 'headway.db'}",
        "HEADWAY_REPORTS": str(filled.home / "own"),
    }
    (filled.home / "reports").unlink()
    assert "Not in it" not in filled("backup", str(tmp_path / "more"), **inside).ok().out


def test_a_back_up_that_fails_leaves_nothing_and_touches_nobody_elses_folder(filled: Headway, tmp_path: Path) -> None:
    place = tmp_path / "place"
    (place / "safe.partial").mkdir(parents=True)
    (place / "safe.partial" / "theirs").touch()
    for address in ("nonsense", "sqlite+nothing:///l.db", "postgresql://me:hush@db:port/l"):
        said = filled("backup", str(place / "safe"), HEADWAY_DATABASE_URL=address).refused(2, "HEADWAY_DATABASE_URL")
        assert "hush" not in said
    (filled.home / "operations.db").write_bytes(b"SQLite format 3\x00" + b"x" * 8192)
    filled("backup", str(place / "safe")).refused(1, "operations.db")
    assert [path.name for path in place.rglob("*")] == ["safe.partial", "theirs"]
    (filled.home / "operations.db").unlink()
    filled("backup", str(place / "safe")).ok()
    assert (place / "safe.partial" / "theirs").exists()


def test_run_numbers_go_higher_after_a_back_up_from_before_the_first_run(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    filled("restore", str(tmp_path / "safe"), "--replace").ok()
    database = sqlite3.connect(filled.database.removeprefix("sqlite:///"))
    numbers = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'run'").fetchall()
    database.close()
    assert numbers == [(RUN_NUMBERS_SKIPPED,)]


def test_what_a_refused_attempt_leaves_does_not_count(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    shutil.rmtree(filled.home)
    (filled.home / "logs").mkdir(parents=True)
    (filled.home / "logs" / "defects.log").write_text("what went wrong")
    (filled.home / ".restoring-20261122T000000-000000").mkdir()
    filled("restore", str(tmp_path / "safe")).ok()
    assert "Lots" in filled("tasks").ok().out
    assert not list(filled.home.glob(".restoring-*"))
    (log,) = filled.home.glob("before-*/logs/defects.log")
    assert log.read_text() == "what went wrong"


def test_what_was_set_aside_is_not_backed_up_again(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    filled("restore", str(tmp_path / "safe"), "--replace").ok()
    assert "set aside" in filled("backup", str(tmp_path / "more")).ok().out
    assert not list((tmp_path / "more").glob("before-*"))


def test_nothing_begins_on_a_half_restored_home(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    stage = filled.home / ".restoring-20261122T000000-000000"
    stage.mkdir()
    for name in (MANIFEST, "headway.db"):
        shutil.copy(tmp_path / "safe" / name, stage)
    (filled.home / "headway.db").unlink()
    for command in (["tasks"], ["worker"], ["backup", str(tmp_path / "more")]):
        filled(*command).refused(4, "half restored", "headway restore")
    assert not (filled.home / "headway.db").exists()
    filled("restore", str(tmp_path / "safe")).ok()
    assert "Lots" in filled("tasks").ok().out


def test_nothing_is_restored_over_what_runs(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    holding = (
        "import sys; from pathlib import Path; from headway.scheduler.installation.home_lock import in_use\n"
        "with in_use(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", holding, str(filled.home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None and worker.stdout.readline() == "held\n"
    filled("restore", str(tmp_path / "safe"), "--replace").refused(4, "in use", "stop")
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    filled("restore", str(tmp_path / "safe"), "--replace").ok()


def test_a_restored_installation_goes_on(stack: RunningStack, forks: Forks, tmp_path: Path) -> None:
    """Backed up in mid-flight, restored under another path, started: it runs and delivers, under new run numbers."""
    stack.apply(export_yaml("Restored"))
    stack.headway("run", "Restored", "--wait").ok()
    stack.headway("backup", str(tmp_path / "safe")).ok()
    stack.headway("restore", str(tmp_path / "safe"), "--replace").refused(4, "in use")

    more = {**stack.headway.more, "HEADWAY_PREFECT_PORT": str(free_port())}
    restored = Headway(tmp_path / "other", forks, tmp_path, more)
    restored("restore", str(tmp_path / "safe")).ok()
    other = RunningStack(restored, stack.sftp)
    try:
        other.server.start(timeout_seconds=180)
        other.start_worker()
        before = other.last("Restored")
        assert before is not None and before.id is not None and before.status is RunStatus.COMPLETED
        other.headway("run", "Restored", "--wait").ok()
        after = other.last("Restored")
        assert after is not None and after.id is not None and after.status is RunStatus.COMPLETED
        assert after.id > before.id + RUN_NUMBERS_SKIPPED
    finally:
        other.clean_up()
