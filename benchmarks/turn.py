"""How long a turn takes: 10,000 tasks and 1,000 waiting runs, on SQLite and on PostgreSQL.

The peer is the same turn with 100 tasks and 10 waiting runs: how much of a turn is due to size.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, insert, update

from benchmarks.table import Row, show
from headway.models.ledger.database import make_engine, migrate, writing
from headway.models.ledger.tables import RunRow, TaskRow, WorkerRow
from headway.models.values.run import RunStatus, Trigger
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store import settings, workers
from headway.scheduler.store.tasks import Catalog, load_catalog, save_types
from tests.support.databases import PostgresForTests

NOW = datetime(2026, 11, 23, 15, 1, tzinfo=UTC)
MOST_MS = {"SQLite": 100.0, "PostgreSQL": 200.0}
KINDS = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--waiting", type=int, default=1_000)
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    print(f"Load at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    rows = []
    for where, opened in (("SQLite", _sqlite), ("PostgreSQL", _postgres)):
        with opened() as engine:
            install(engine, 100, 10)
            small = statistics.median(wall for wall, _ in turns(engine, options.turns))
        with opened() as engine:
            install(engine, options.tasks, options.waiting)
            taken = turns(engine, options.turns)
        median, most = statistics.median(wall for wall, _ in taken), MOST_MS[where]
        cpu = statistics.median(cpu for _, cpu in taken)
        what = f"a turn, {options.tasks:,} tasks, {options.waiting:,} runs waiting, {where}"
        figure, peer = f"{median:.0f} ms ({cpu:.0f} ms of CPU)", f"{small:.0f} ms, 100 tasks, 10 runs waiting"
        ratio = f"{median / small:.1f} times"
        rows.append(Row(what, figure, peer, ratio, f"{most:.0f} ms at most", median <= most))
    return show(rows)


def install(engine: Engine, tasks: int, waiting: int) -> None:
    """Tasks that come due daily; the first ones' runs wait, held by the windows (it is 05:30 in New York then)."""
    migrate(engine)
    kinds = [
        TaskType(name=f"kind{n}", group=f"kind{n}", entrypoint="f.x.e", deployment_id=f"d{n}") for n in range(KINDS)
    ]
    task = {
        "window": "avoid",
        "on_failure": "hold",
        "on_errors": "continue",
        "catch_up": "latest",
        "enabled": True,
        "historical": False,
        "retries": 0,
        "retry_delay": timedelta(minutes=5),
        "parameters": {},
        "object": "",
        "description": "",
        "version": 1,
        "sequence": 0,
        "created_at": NOW,
        "updated_at": NOW,
        "accounted_at": NOW,
        "next_due_at": NOW + timedelta(hours=1),
        "expected_duration": timedelta(minutes=10),
    }
    run = {
        "trigger": Trigger.SCHEDULE,
        "status": RunStatus.WAITING,
        "attempt": 0,
        "follow": True,
        "overrides": [],
        "process_id": 0,
        "processed": 0,
        "errors": 0,
        "bytes": 0,
        "message": "",
        "object": "",
        "step": 1,
        "created_at": NOW,
    }
    with writing(engine) as session:
        settings.install(session)
        save_types(session, kinds, NOW)
        rows = [
            {**task, "uid": n, "name": f"task {n}", "type": f"kind{n % KINDS}", "cron": f"{n % 60} {n % 24} * * *"}
            for n in range(1, tasks + 1)
        ]
        session.execute(insert(TaskRow), rows)
        due = NOW - timedelta(hours=6)
        runs = [
            {**run, "task_uid": n, "type": f"kind{n % KINDS}", "due_at": due, "sorted_at": due}
            for n in range(1, waiting + 1)
        ]
        if runs:
            session.execute(insert(RunRow), runs)
        settings.definitions_changed(session)
        workers.say_hello(session, "worker-1", identify_self(), NOW)


def turns(engine: Engine, count: int) -> list[tuple[float, float]]:
    """Milliseconds of each turn: by the wall clock, and of this process's CPU.

    It is inside a maintenance window, so that every waiting run is judged and none starts.
    """
    at = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)  # 05:30 in New York
    with writing(engine) as session:
        session.execute(update(WorkerRow).values(seen_at=at))
    catalog: Catalog | None = None
    taken = []
    for number in range(count + 2):
        began, cpu = time.perf_counter(), time.process_time()
        with writing(engine) as session:
            catalog = load_catalog(session, catalog)
            turn = take_turn(session, catalog, worker_id="worker-1", database_url="", now=at, problem=None)
        if number >= 2:  # the first ones compile statements and read the book
            taken.append(((time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000))
        assert not turn.orders
    return taken


@contextmanager
def _sqlite() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(f"sqlite:///{Path(folder) / 'headway.db'}")
        yield engine
        engine.dispose()


@contextmanager
def _postgres() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="headway-pg-") as folder:
        server = PostgresForTests(Path(folder))
        engine = server.empty()
        yield engine
        engine.dispose()
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
