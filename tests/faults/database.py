"""The database locked, read-only, full, or restarted under load."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from headway.models.ledger.database import sqlite_module, writing
from headway.models.ledger.tables import RunRow, SettingRow
from headway.models.values.run import RunStatus
from tests.faults.stack import Stack, settle, within
from tests.faults.table import Line
from tests.support.running_stack import processes_of, until


def locked(stack: Stack, seconds: float = 30, number: int = 0) -> Line:
    """Somebody else keeps SQLite's write lock for half a minute while a run is in progress and others come due."""
    run_id = stack.run_now(number)
    stack.running(run_id)
    waiting = stack.run_now(number + 1)
    intruder = sqlite_module().connect(str(stack.engine.url.database), timeout=60, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    stack.sleep(seconds)
    intruder.execute("COMMIT")
    intruder.close()
    settle(stack)
    rows = [stack.run(run_id), stack.run(waiting)]
    problems = stack.problems()
    right = all(row.status is RunStatus.COMPLETED for row in rows) and not problems
    text = f"locked for {seconds:.0f} s: {[row.status.value for row in rows]}, by themselves" + "".join(problems[:3])
    return Line("Database locked", stack.where, text, right)


@contextlib.contextmanager
def small_disk(folder: Path, megabytes: int = 8) -> Iterator[Path | None]:
    """A tmpfs of that size at the folder, or None where one may not mount."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def disk_full(stack: Stack, disk: Path, seconds: float = 20) -> Line:
    """The disk with the database fills up while a run is in progress and another comes due; later there is room."""
    run_id = stack.run_now(0)
    stack.running(run_id)
    waiting = stack.run_now(1)
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    stack.sleep(seconds)
    filler.unlink()
    settle(stack)
    rows = [stack.run(run_id), stack.run(waiting)]
    problems = stack.problems()
    told = "disk is full" in (stack.folder / "worker.log").read_text()
    right = all(row.status is RunStatus.COMPLETED for row in rows) and told and not problems and _sound(stack.engine)
    said = '"database or disk is full" in the worker\'s log' if told else "nothing said"
    text = f"full for {seconds:.0f} s: {said}; {[row.status.value for row in rows]}, by themselves"
    return Line("Disk full", "SQLite on a small tmpfs", text + "".join(problems[:3]), right)


def full(engine: Engine) -> Line:
    """No page more fits: SQLite answers as on a full disk (by its own limit, where a tmpfs may not be mounted)."""
    before = _contents(engine)
    said = ""
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        connection.rollback()
    try:
        with writing(engine) as session:
            for _ in range(50):
                session.add(SettingRow(key=f"filler {uuid.uuid4()}", value="x" * 4000))
                session.flush()
    except SQLAlchemyError as error:
        said = str(error).splitlines()[0]
    unchanged = _contents(engine) == before
    engine.dispose()  # a new connection has no such limit: there is room again
    with writing(engine) as session:
        session.add(SettingRow(key="after", value="worked"))
    right = "full" in said and unchanged and _sound(engine)
    return Line("Disk full", "SQLite", f'"{said}"; nothing half written; worked on once there was room', right)


def _contents(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT key, value FROM setting ORDER BY key")).all())


def read_only_server(stack: Stack, seconds: float = 30) -> Line:
    """PostgreSQL takes no write from anybody for a while, as a standby does, under a worker with a run in progress."""
    run_id = stack.run_now(0)
    stack.running(run_id)
    due_at = _in(seconds / 2)
    stack.come_due_at(1, due_at)
    before = len(stack.log())
    _set_read_only(stack.engine, True)
    try:
        told = within(lambda: "read-only transaction" in stack.log()[before:], 60)
        kept = _ledger(stack.engine)  # not before: a transaction that had begun may still have been committed
        stack.sleep(max(seconds, (due_at - datetime.now(UTC)).total_seconds() + 2))
        unchanged = _ledger(stack.engine) == kept
    finally:
        _set_read_only(stack.engine, False)
    until(lambda: len(_runs_of(stack, 1, due_at)) == 1, "the row of what came due", 60)
    settle(stack)
    rows = [stack.run(run_id), *_runs_of(stack, 1, due_at)]
    problems = stack.problems()
    right = told and unchanged and all(row.status is RunStatus.COMPLETED for row in rows) and not problems
    said = '"cannot execute ... in a read-only transaction" in the worker\'s log' if told else "nothing said"
    text = f"{said}; nothing written: {unchanged}; {[row.status.value for row in rows]}, by themselves"
    return Line(f"Database read-only for {seconds:.0f} s", stack.where, text + "".join(problems[:3]), right)


def _set_read_only(engine: Engine, on: bool) -> None:
    """For every session there is, at its next statement."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()  # the next connection is a new session: it has heard of it
    with engine.connect() as connection:
        shown = "SHOW default_transaction_read_only"
        until(lambda: (connection.exec_driver_sql(shown).scalar_one() == "on") is on, f"{shown}: {on}", 10)


def read_only_disk(stack: Stack, disk: Path, seconds: float = 20) -> Line:
    """After a power cut the disk with the database is read-only for a while; the worker is restarted all the time.

    The kernel lets nobody make a disk read-only on which a file is open for writing, so not under a living worker.
    """
    run_id = stack.run_now(0)
    stack.running(run_id)
    due_at = _in(seconds / 2)
    stack.come_due_at(1, due_at)
    for process_id in processes_of(stack.home):
        if process_id != stack.server.pid:
            os.kill(process_id, signal.SIGKILL)
    stack.engine.dispose()
    before = len(stack.log())
    until(lambda: _remount(disk, "ro"), "a disk on which nothing is open for writing", 30)
    files = {path.name: path.read_bytes() for path in disk.iterdir()}
    deadline = time.monotonic() + seconds
    starts = 0
    while time.monotonic() < deadline or datetime.now(UTC) < due_at or not starts:
        starts += 1
        stack.start_worker(wait=False).wait(120)  # what keeps services running starts the next
    said = stack.log()[before:]
    unchanged = files == {path.name: path.read_bytes() for path in disk.iterdir()}
    assert _remount(disk, "rw")
    stack.start_worker()
    until(lambda: len(_runs_of(stack, 1, due_at)) == 1, "the row of what came due", 60)
    settle(stack)
    cut, due = stack.run(run_id), _runs_of(stack, 1, due_at)[0]
    problems = stack.problems()
    told = said.count("attempt to write a readonly database") >= starts
    ends = (cut.status, due.status) == (RunStatus.FAILED, RunStatus.COMPLETED)
    right = told and unchanged and ends and not problems and _sound(stack.engine)
    text = (
        f"{starts} starts of the worker, {'' if told else 'NOT '}told why in its log; nothing written: {unchanged}; "
        f"afterwards {cut.status.value} ({cut.error}) and, what came due meanwhile, {due.status.value}"
    )
    return Line("Disk read-only after a power cut", "SQLite on a tmpfs", text + "".join(problems[:3]), right)


def _in(seconds: float) -> datetime:
    """A whole second, at least so many from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds + 1)).replace(microsecond=0)


def _remount(disk: Path, how: str) -> bool:
    return (
        subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], capture_output=True, check=False).returncode == 0
    )


def _runs_of(stack: Stack, number: int, due_at: datetime) -> list[RunRow]:
    return [row for row in stack.all_runs() if row.type == f"kind{number}" and row.due_at == due_at]


def _ledger(engine: Engine) -> list[object]:
    """Everything that a run's life writes."""
    with engine.connect() as connection:
        tables = ("run", "run_event", "run_log", "lock", "worker")
        return [connection.execute(text(f"SELECT * FROM {table} ORDER BY 1")).all() for table in tables]


def _sound(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok")


__all__ = ["disk_full", "full", "locked", "read_only_disk", "read_only_server", "small_disk"]
