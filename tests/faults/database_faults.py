"""The database locked, read-only, full, or restarted under load."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from models.db import make_engine, sqlite_module, writing
from models.domain import RunStatus
from models.tables import SettingRow
from tests.faults.stack import Stack, settle
from tests.faults.table import Line


def locked(stack: Stack, seconds: float = 30) -> Line:
    """Somebody else keeps SQLite's write lock for half a minute while a run is in progress and others come due."""
    run_id = stack.run_now(0)
    stack.running(run_id)
    waiting = stack.run_now(1)
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


def read_only(stack: Stack) -> Line:
    """Connections that may not write (root ignores a file's mode, so by SQLite's or PostgreSQL's own means)."""
    engine = make_engine(stack.url)
    before = len(stack.all_runs())
    message = ""
    with contextlib.suppress(SQLAlchemyError), engine.connect() as connection:
        if stack.where == "SQLite":
            connection.exec_driver_sql("PRAGMA query_only = ON")
        else:
            connection.exec_driver_sql("SET default_transaction_read_only = on")
        connection.commit()
        try:
            connection.execute(text("UPDATE task SET object = 'half'"))
        except SQLAlchemyError as error:
            message = str(error).splitlines()[0]
    engine.dispose()
    unchanged = len(stack.all_runs()) == before
    run_id = stack.run_now(0)
    row = stack.ended(run_id)
    right = bool(message) and unchanged and row.status is RunStatus.COMPLETED
    return Line("Database read-only", stack.where, f'"{message}"; unchanged; worked on afterwards', right)


def _sound(engine: Engine) -> bool:
    with engine.connect() as connection:
        return bool(connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok")


__all__ = ["disk_full", "full", "locked", "read_only", "small_disk", "writing"]
