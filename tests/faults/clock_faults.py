"""The clock jumps an hour and back, and the nights on which the clocks change, a turn a simulated minute."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text
from sqlmodel import select

from models.db import reading, writing
from models.domain import CatchUp, Cron, RunStatus, Task, WindowPolicy
from models.tables import RunRow
from scheduler.chains import link
from scheduler.processes import identify_self
from scheduler.starts import take_turn
from scheduler.store import workers
from scheduler.store.endings import Ending, end_run
from scheduler.store.tasks import Book, chain_book, load_book
from tests.faults.small_worlds import SmallWorld, store
from tests.faults.table import Line
from tests.naive import dues

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHTS = {
    "an hour twice": datetime(2026, 11, 1, 3, tzinfo=UTC),
    "an hour missing": datetime(2027, 3, 14, 4, tzinfo=UTC),
}
CRONS = ("30 1 * * *", "15 2 * * *", "0 2 * * *", "0 * * * *", "*/20 0-4 * * *", "45 2,3 * * *", "59 1 * * *")


def night_world(start: datetime) -> SmallWorld:
    tasks = [
        Task(
            uid=number + 1,
            name=f"task {number}",
            type=f"job{number % 6}",
            group=f"job{number % 6}",
            schedule=Cron(expression),
            window=WindowPolicy.ALLOW,
            catch_up=CatchUp.ALL,
            estimate=2 * MINUTE,
        )
        for number, expression in enumerate(CRONS)
    ]
    return SmallWorld(start, link(tasks), (), 8, {})


class Night:
    """Turns at whatever the clock shows, and runs that end two minutes later."""

    def __init__(self, engine: Engine, world: SmallWorld) -> None:
        self.engine, self.world = engine, world
        self.claimed: Counter[int] = Counter()
        self._book: Book | None = None
        self._active: list[tuple[int, str, int, int]] = []
        with writing(engine) as session:
            store(session, world)
            workers.say_hello(session, "worker-1", identify_self(), world.start)

    def minute(self, now: datetime) -> None:
        """Ends what began two turns ago, then turns until one starts nothing."""
        due = [one for one in self._active if one[3] <= 0]
        self._active = [(run, claim, uid, left - 1) for run, claim, uid, left in self._active if left > 0]
        for run_id, claim, uid, _ in due:
            with writing(self.engine) as session:
                session.execute(text("UPDATE run SET status = 'running' WHERE id = :id"), {"id": run_id})
                book = chain_book(session, uid)
                assert end_run(session, book, run_id, Ending(RunStatus.COMPLETED), now=now, who="run", claim=claim)
        while True:
            with writing(self.engine) as session:
                workers.beat(session, "worker-1", now, None)
                self._book = load_book(session, self._book)
                turn = take_turn(session, self._book, worker_id="worker-1", database_url="", now=now, problem=None)
            for order in turn.orders:
                self.claimed[order.run_id] += 1
                uid = int(order.tags[0].partition(":")[2])
                self._active.append((order.run_id, order.claim, uid, 1))
            if not turn.orders:
                return

    def problems(self, until: datetime) -> tuple[int, list[str]]:
        """How many occurrences there were; which have no row or several, or started twice or never."""
        expected = Counter(
            (task.uid, due)
            for task in self.world.tasks.values()
            for due in dues(replace(task), self.world.start, until + timedelta(microseconds=1))
        )
        with reading(self.engine) as session:
            rows = session.exec(select(RunRow)).all()
        found = Counter((row.task_uid, row.due_at) for row in rows)
        problems = [f"no row: {key}" for key in expected - found] + [
            f"a row too many: {key}" for key in found - expected
        ]
        problems += [f"run {run} started {times} times" for run, times in self.claimed.items() if times != 1]
        problems += [f"run {row.id} is {row.status.value}" for row in rows if row.status is not RunStatus.COMPLETED]
        return sum(expected.values()), problems


def change_night(engine: Engine, name: str) -> Line:
    """Eight hours of the night, a turn a simulated minute."""
    start = NIGHTS[name]
    night = Night(engine, night_world(start))
    now = start
    for _ in range(8 * 60):
        night.minute(now)
        now += MINUTE
    until = now - MINUTE
    for _ in range(4):  # to the end of what has begun; nothing comes due at these instants
        night.minute(until)
    count, problems = night.problems(until)
    told = (
        f"{count} occurrences of {len(CRONS)} tasks, each one row and one start" if not problems else str(problems[:4])
    )
    return Line(f"Clocks change: {name}", "SQLite", told, not problems)


def jumps(engine: Engine, seed: int = 0) -> Line:
    """Twelve hours, in which the clock jumps an hour ahead or back, and later to where it should be."""
    chance = random.Random(f"jumps {seed}")
    start = datetime(2026, 11, 23, 5, tzinfo=UTC)
    night = Night(engine, night_world(start))
    true, wrong, count = start, timedelta(), 0
    latest = start
    for _ in range(12 * 60):
        if chance.random() < 1 / 40:
            wrong = timedelta() if wrong else chance.choice([HOUR, -HOUR])
            count += 1
        shown = max(true + wrong, start)
        latest = max(latest, shown)
        night.minute(shown)
        true += MINUTE
    for _ in range(8):
        night.minute(max(latest, true))
    occurrences, problems = night.problems(max(latest, true))
    told = (
        f"{count} jumps, {occurrences} occurrences, each one row and one start" if not problems else str(problems[:4])
    )
    return Line("Clock jumps an hour ahead and back", "SQLite", told, not problems)
