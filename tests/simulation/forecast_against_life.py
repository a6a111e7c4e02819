"""Forecast against life: the forecast of one day before beside what the turns then did, run for run."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from sqlalchemy import Engine, text
from sqlmodel import col, select

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine import turns
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.planning.definitions.document import Definitions, ScheduleSection, SettingsSection, TaskSection
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.tasks import load_catalog, load_chain_catalog, save_types
from headway.scheduler.usecases.ahead.look_ahead import look_ahead
from headway.scheduler.usecases.tasks.apply import apply
from tests.faults.table import Line
from tests.simulation.service_by_hand import LoopByHand
from tests.support.clock import FixedClock

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
FAR = timedelta(days=5)
"""How far behind the day a forecast of it looks."""
START = datetime(2026, 10, 25, 4, tzinfo=UTC)
"""A Sunday; the second one of these fourteen days has an hour twice."""
Key = tuple[int, str, datetime]
"""Task, trigger, due."""


@dataclass
class Compared:
    """One day: how many runs were foreseen, how many were there, and which differ."""

    day: datetime
    foreseen: int
    lived: int
    differences: list[str] = field(default_factory=list)


class Life:
    """A stored installation whose every run takes exactly its estimate, and the product's loop, which starts them.

    The loop says when it wants its next turn, and is let on then, or when a run has ended: at no other instant.
    """

    def __init__(self, engine: Engine, seed: int, tasks: int) -> None:
        self.engine = engine
        self.clock = FixedClock(START)
        self._chance = random.Random(f"life {seed}")
        self._ends: list[tuple[datetime, int, str, int]] = []
        self._define(tasks)
        with reading(engine) as session:
            self._estimates = {uid: task.estimate for uid, task in load_catalog(session).tasks.items()}
        self.worker = LoopByHand(engine, self.clock, self._begin)

    def _define(self, count: int) -> None:
        types = [
            TaskType(name=f"kind{n}", group=f"kind{n}", entrypoint="f.x.e", deployment_id=f"d{n}")
            for n in range(count // 4)
        ]
        tasks: list[TaskSection] = []
        for number in range(count):
            tasks.append(self._task(number, len(types), tasks))
        given = Definitions(settings=SettingsSection(max_running=max(4, count // 12)), windows=None, tasks=tasks)
        with writing(self.engine) as session:
            save_types(session, types, START)
            applied = apply(session, self.clock, OPERATOR, given)
        assert not applied.errors, applied.errors[:3]

    def _task(self, number: int, kinds: int, before: list[TaskSection]) -> TaskSection:
        chance = self._chance
        if before and chance.random() < 0.25:
            after = chance.choice(before).name
            schedule = ScheduleSection(after=after, spacing=chance.choice([30, 45, 60, 90]) * MINUTE)
        else:
            hours = chance.choice(["*/6", "*/8", "1", "2", "1,13", "5", str(chance.randint(0, 23))])
            days = chance.choice(["*", "*", "1-5"])
            schedule = ScheduleSection(cron=f"{chance.choice([0, 15, 30, chance.randint(0, 59)])} {hours} * * {days}")
        return TaskSection(
            name=f"task {number}",
            type=f"kind{chance.randrange(kinds)}",
            schedule=schedule,
            window=chance.choice(["avoid"] * 6 + ["allow"] * 3 + ["require"]),  # type: ignore[arg-type]
            catch_up=chance.choice(["latest", "all"]),  # type: ignore[arg-type]
            expected_duration=chance.randint(1, 40) * MINUTE,
        )

    def live_until(self, until: datetime) -> None:
        """Every instant, up to and with `until`, at which a run ends or the loop wants a turn."""
        while (following := self._following()) <= until:
            self.clock.at = following
            self._end_all(following)
            self.worker.settle()
            assert self._following() > following, "the loop wanted a turn and took none"
        self.clock.at = until

    def _following(self) -> datetime:
        wanted = self.worker.next_turn or self.clock.at
        return min(wanted, self._ends[0][0]) if self._ends else wanted

    def _begin(self, order: StartOrder) -> None:
        uid = int(order.tags[0].partition(":")[2])
        estimate = self._estimates[uid]
        assert estimate is not None
        heapq.heappush(self._ends, (self.clock.at + estimate, order.run_id, order.claim, uid))

    def _end_all(self, now: datetime) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, run_id, claim, uid = heapq.heappop(self._ends)
            with writing(self.engine) as session:
                session.execute(text("UPDATE run SET status = 'running' WHERE id = :id"), {"id": run_id})
                ending = Ending(status=RunStatus.COMPLETED)
                assert end_run(
                    session, load_chain_catalog(session, uid), run_id, ending, now=now, who="run", claim=claim
                )
            self.worker.exited(run_id, claim)

    # The comparison

    def foresee(self, day: datetime) -> dict[Key, tuple[str, datetime | None]]:
        """The forecast that a screen would show now, of the runs due on that day."""
        until = day + FAR  # what comes due later may still supersede
        with reading(self.engine) as session:
            ahead = look_ahead(session, self.clock, OPERATOR, until)
        assert ahead.until == until, "so many tasks are not forecast so far"
        wanted = (row for row in ahead.rows if day <= row.due_at < day + DAY)
        return {
            (row.task.uid, row.trigger.value, row.due_at): _within(day, row.outcome, row.started_at) for row in wanted
        }

    def lived(self, day: datetime) -> dict[Key, tuple[str, datetime | None]]:
        with reading(self.engine) as session:
            rows = session.exec(select(RunRow).where(col(RunRow.due_at) >= day, col(RunRow.due_at) < day + DAY)).all()
        return {
            (row.task_uid, row.trigger.value, row.due_at): _within(day, row.status.value, row.started_at)
            for row in rows
        }


def _within(day: datetime, outcome: str, started_at: datetime | None) -> tuple[str, datetime | None]:
    """The outcome as far as a forecast of that day can know it: what starts behind its horizon starts later.

    (What comes due behind the horizon moves no start before it; a task that comes due more often than windows and its
    group have room for waits for weeks.)
    """
    if started_at is not None and started_at < day + FAR:
        return "started", started_at
    return ("later", None) if outcome not in ("superseded", "missed", "skipped") else (outcome, None)


def compare(engine: Engine, seed: int = 1, tasks: int = 300, days: int = 14) -> list[Compared]:
    """Day by day: what was foreseen at the midnight before it begins, beside what then happened.

    Everything here lies on whole minutes, so held runs are judged again once a minute and not once a second. An idle
    loop sleeps for a day and not for five seconds: a wake-up that is not at the next due costs a start its minute.
    """
    life = Life(engine, seed, tasks)
    foreseen: dict[datetime, dict[Key, Any]] = {}
    with (
        mock.patch.object(turns, "HELD_SECONDS", MINUTE.total_seconds()),
        mock.patch.object(turns, "IDLE_SECONDS", DAY.total_seconds()),
    ):
        for number in range(days + FAR.days + 1):
            midnight = START + number * DAY
            life.live_until(midnight)
            if number < days - 1:
                foreseen[midnight + DAY] = life.foresee(midnight + DAY)
        life.worker.leave()
    compared = []
    for day, plan in foreseen.items():
        found = life.lived(day)
        differences = [
            f"task {key[0]} due {key[2]:%m-%d %H:%M} ({key[1]}): foreseen {plan.get(key)}, lived {found.get(key)}"
            for key in sorted(plan.keys() | found.keys(), key=lambda key: (key[2], key[0]))
            if plan.get(key) != found.get(key)
        ]
        compared.append(Compared(day, len(plan), len(found), differences))
    return compared


def line(compared: list[Compared], where: str, tasks: int) -> Line:
    runs = sum(one.foreseen for one in compared)
    wrong = sum(len(one.differences) for one in compared)
    days = len(compared) + 1
    told = f"{tasks} tasks, {days} days: {runs:,} runs foreseen a day before, {wrong:,} differ in start or outcome"
    return Line("Forecast against life", where, told, wrong == 0 and runs > 0)
