"""The ledger at 1,000,000 runs beside one of 1,000: a page of the task log, a turn, a claim (SQLite)."""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Engine, text

from benchmarks.table import Row, show
from benchmarks.turn import NOW, _sqlite, install
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import TaskRow
from headway.privileges import OPERATOR
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.store.tasks import load_catalog
from headway.scheduler.usecases.log.browse_log import LogQuery, browse_log
from headway.scheduler.usecases.runs.run_now import run_now
from tests.support.clock import FixedClock

MOST_RATIO = 3.0
TASKS = 100
_FILL = text(
    """
    INSERT INTO run (task_uid, type, object, step, due_at, "trigger", status, attempt, follow, overrides, created_at,
                     started_at, running_at, ended_at, sorted_at, process_id, processed, errors, bytes, message)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
    SELECT 1 + i % :tasks, 'kind' || (1 + i % :tasks), '', 1, at, 'schedule',
           CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'completed' END, 1, 1, '[]',
           at, at, at, at, at, 0, 10, 0, 100, 'Done.'
    FROM (SELECT i, strftime('%Y-%m-%d %H:%M:%S.000000', :first, '-' || (i * 30) || ' seconds') AS at FROM n)
    """
)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    print(f"Load at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    small, large = measure(1_000, options.times), measure(options.runs, options.times)
    target = f"{MOST_RATIO:.0f} times at most"
    rows = []
    for name, few in small.items():
        figure, peer = f"{large[name]:.1f} ms of CPU, {options.runs:,} runs", f"{few:.1f} ms, 1,000 runs"
        ratio = large[name] / few
        rows.append(Row(name, figure, peer, f"{ratio:.1f} times", target, ratio <= MOST_RATIO))
    return show(rows)


def measure(runs: int, times: int) -> dict[str, float]:
    """Median CPU milliseconds of each."""
    clock = FixedClock(NOW)
    with _sqlite() as engine:
        install(engine, TASKS, 0)
        with writing(engine) as session:
            first = (NOW - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
            session.execute(_FILL, {"count": runs, "tasks": TASKS, "first": first})
        return {
            "20 rows of the task log": _median(lambda: _page(engine, clock), times),
            "20 errors": _median(lambda: _page(engine, clock, errors=True), times),
            "a turn that starts nothing": _median(lambda: _turn(engine, clock), times),
            "Run now and its claim": _median(lambda: _claim(engine, clock), times),
        }


def _median(work: Callable[[], object], times: int) -> float:
    taken = []
    for number in range(times + 2):
        began = time.process_time()
        work()
        if number >= 2:
            taken.append((time.process_time() - began) * 1000)
    return statistics.median(taken)


def _page(engine: Engine, clock: FixedClock, errors: bool = False) -> None:
    with reading(engine) as session:
        browse_log(session, OPERATOR, LogQuery(errors=errors), limit=20)  # there are no more errors among 1,000 runs


def _turn(engine: Engine, clock: FixedClock) -> int:
    with writing(engine) as session:
        turn = take_turn(
            session, load_catalog(session), worker_id="worker-1", database_url="", now=clock.now(), problem=None
        )
        return len(turn.orders)


def _claim(engine: Engine, clock: FixedClock) -> None:
    with writing(engine) as session:
        task = session.get(TaskRow, 1)
        assert task is not None
        clock.move(minutes=1)
        run_now(session, clock, OPERATOR, task)
    _turn(engine, clock)
    with writing(engine) as session:
        session.execute(text("DELETE FROM lock"))
        session.execute(text("UPDATE run SET status = 'completed', ended_at = started_at WHERE ended_at IS NULL"))


if __name__ == "__main__":
    sys.exit(main())
