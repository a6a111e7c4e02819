"""PostgreSQL restarts under real workers, and is away for longer than it takes to be silent."""

from __future__ import annotations

import time
from collections import Counter

from sqlalchemy.exc import SQLAlchemyError

from headway.models.values.run import RunStatus
from tests.faults.restarting_postgres import RestartingPostgres
from tests.faults.stack import Stack, settle
from tests.faults.table import Line
from tests.support.running_stack import until

TASKS = 8


def restarted(stack: Stack, database: RestartingPostgres, restarts: int) -> Line:
    """A restart every second or two while runs come due, begin, write and end."""
    stack.define(TASKS, seconds=1.0)
    stack.start_worker()
    stack.come_due(Counter(dict.fromkeys(range(TASKS), restarts)))
    for number in range(restarts):
        _ended_runs(stack, number * TASKS // 2)
        stack.sleep(number % 3 * 0.4)
        database.restart()
    settle(stack)
    return _line(stack, f"PostgreSQL restarted {restarts} times under load", TASKS * restarts)


def away(stack: Stack, database: RestartingPostgres, seconds: float, work: float) -> Line:
    """All workers are silent meanwhile: none may take the others' runs, of so many seconds, for lost."""
    stack.define(2, seconds=work)
    for _ in range(2):
        stack.start_worker()
    began = [stack.run_now(number) for number in range(2)]
    for run_id in began:
        stack.running(run_id)
    with database.away():
        stack.sleep(seconds)
    since = time.monotonic()
    settle(stack, seconds + 120)
    when = "afterwards" if work > seconds else "meanwhile"
    line = _line(stack, f"PostgreSQL away for {seconds:.0f} s, two workers with runs that end {when}", len(began))
    return Line(line.fault, line.where, f"{line.measured}; recorded {time.monotonic() - since:.0f} s after", line.holds)


def _ended_runs(stack: Stack, count: int) -> None:
    """Returns once so many have ended."""

    def enough() -> bool:
        try:
            return sum(row.ended_at is not None for row in stack.all_runs()) >= count
        except SQLAlchemyError:
            return False

    until(enough, f"{count} ended runs", 300)


def _line(stack: Stack, fault: str, expected: int) -> Line:
    stack.stop_workers()
    problems = stack.problems(expected)
    outcomes = Counter(row.status.value for row in stack.all_runs())
    told = f"{expected} dues: {dict(outcomes)}; {'; '.join(problems) or 'nothing lost, nothing twice, no lock left'}"
    return Line(fault, stack.where, told, not problems and set(outcomes) == {RunStatus.COMPLETED})
