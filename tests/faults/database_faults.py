"""The database locked, read-only, full, or restarted under load."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from models.db import make_engine, sqlite_module, writing
from models.domain import RunStatus
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


def _use(database: str, *, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """`headway tasks` and `headway run` against it, in a process of its own; what it says."""
    script = (
        "import resource, sys; from scheduler.cli import main; "
        f"limit = {limit!r}; import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "limit and resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); "
        "sys.argv = ['headway', 'run', 'task 0']; main()"
    )
    environment = {**os.environ, "HEADWAY_DATABASE_URL": database, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def full(stack: Stack) -> Line:
    """The disk takes no more bytes (a limit on the size of files, which ends a write in the middle as a full disk does)."""
    database = Path(str(stack.engine.url.database))
    before = len(stack.all_runs())
    stack.engine.dispose()  # so that the journal is empty, and the next write has to grow a file
    size = database.stat().st_size
    answer = _use(stack.url, limit=min(size // 2, 8192))
    after = len(stack.all_runs())
    sound = _sound(stack)
    again = _use(stack.url)
    clear = answer.returncode in (4, 5) and "Traceback" not in answer.stderr and bool(answer.stderr.strip())
    right = clear and before == after and sound and again.returncode == 0
    said = (answer.stderr.strip().splitlines() or ["nothing"])[-1][:160]
    text = f'exit {answer.returncode}: "{said}"; nothing half written; the next call {"worked" if not again.returncode else "failed"}'
    settle(stack)
    return Line("Disk full", stack.where, text, right)


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


def _sound(stack: Stack) -> bool:
    with stack.engine.connect() as connection:
        return connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


__all__ = ["full", "locked", "read_only", "writing"]
