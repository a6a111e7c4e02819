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

from models.db import make_engine, writing
from models.domain import RunStatus
from models.tables import SettingRow, SignInRow
from scheduler.backup import MANIFEST, RUN_NUMBERS_SKIPPED
from tests.acceptance.runner import Forks, Headway
from tests.acceptance.running import RunningStack, export_yaml
from tests.prefect_server import free_port

pytest_plugins = ["tests.acceptance.stack"]


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
    (aside,) = filled.home.parent.glob("home.before-*")
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


def test_nothing_is_restored_over_what_runs(filled: Headway, tmp_path: Path) -> None:
    filled("backup", str(tmp_path / "safe")).ok()
    holding = (
        "import sys; from pathlib import Path; from scheduler.in_use import in_use\n"
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
