"""The clock jumps an hour and back beneath two workers, and the nights on which the clocks change."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from sqlalchemy import Engine
from sqlmodel import col, select

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus
from headway.models.values.schedule import Cron
from headway.models.values.task import CatchUp, Task
from headway.models.values.window import DEFAULT_WINDOWS, Window, WindowPolicy
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.planning.chains import link
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.tasks import load_chain_catalog
from headway.scheduler.store.workers import SILENT_AFTER
from tests.faults.table import Line
from tests.simulation.service_by_hand import LoopByHand
from tests.simulation.worlds import SmallWorld, store
from tests.support.clock import FixedClock
from tests.support.reference_forecast import NaiveWindows, dues

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BEAT = timedelta(seconds=20)
NIGHTS = {
    "an hour twice": datetime(2026, 11, 1, 3, tzinfo=UTC),
    "an hour missing": datetime(2027, 3, 14, 4, tzinfo=UTC),
}
CRONS = ("30 1 * * *", "15 2 * * *", "0 2 * * *", "0 * * * *", "*/20 0-4 * * *", "45 2,3 * * *", "59 1 * * *")
ALLOW, AVOID, REQUIRE = WindowPolicy.ALLOW, WindowPolicy.AVOID, WindowPolicy.REQUIRE
JUMPED = (
    ("*/5 * * * *", ALLOW),
    ("0 * * * *", ALLOW),
    ("*/20 * * * *", AVOID),
    ("30 0,5 * * *", AVOID),
    ("15 1,5 * * *", REQUIRE),
)
"""In hours that begin at midnight in New York, with a window from 00:01 to 02:00 and one from 05:00 to 06:00."""


def small(start: datetime, tasks: Sequence[tuple[str, WindowPolicy]], windows: tuple[Window, ...] = ()) -> SmallWorld:
    """Tasks of which every occurrence is to run."""
    made = [
        Task(
            uid=number + 1,
            name=f"task {number}",
            type=f"job{number % 6}",
            group=f"job{number % 6}",
            schedule=Cron(expression),
            window=policy,
            catch_up=CatchUp.ALL,
            estimate=2 * MINUTE,
        )
        for number, (expression, policy) in enumerate(tasks)
    ]
    return SmallWorld(start, link(made), windows, 8, {})


@dataclass
class Running:
    """A run in progress; its process is this test's own, so it lives."""

    worker: int
    run_id: int
    claim: str
    uid: int
    ends_at: datetime


class Machine:
    """Workers with the product's loop on one machine, whose clock shows what it is told to.

    They give a sign of life, look for lost runs and take their turns at each step. Runs last by the true time.
    """

    def __init__(self, engine: Engine, world: SmallWorld, workers: int, seed: str) -> None:
        self.engine, self.world = engine, world
        self.chance = random.Random(seed)
        self.true = self.latest = world.start
        self.clock = FixedClock(world.start)
        self.begun: Counter[int] = Counter()
        self.running: list[Running] = []
        self.found: list[str] = []
        self._windows = NaiveWindows(world.windows, world.start - DAY, world.start + 3 * DAY)
        with writing(engine) as session:
            store(session, world)
        self.workers = [LoopByHand(engine, self.clock, partial(self._begin, one)) for one in range(workers)]

    def step(self, length: timedelta, shown: datetime, acting: Sequence[int] | None = None) -> None:
        """So much later by the true time; the clock then shows `shown`. acting: whose turns are not left out."""
        self.true += length
        self.clock.at, self.latest = shown, max(self.latest, shown)
        self._end_what_is_over()
        acts = [one.beat for one in self.workers]
        acts += [one.settle for number, one in enumerate(self.workers) if acting is None or number in acting]
        for act in self.chance.sample(acts, len(acts)):
            act()

    def open_runs(self) -> int:
        with reading(self.engine) as session:
            return len(session.exec(select(RunRow.id).where(col(RunRow.ended_at).is_(None))).all())

    def problems(self) -> tuple[int, list[str]]:
        """How many occurrences the clock has shown; which have no row or several, or did not run once and well."""
        expected = Counter(
            (task.uid, due)
            for task in self.world.tasks.values()
            for due in dues(replace(task), self.world.start, self.latest + timedelta(microseconds=1))
        )
        with reading(self.engine) as session:
            rows = session.exec(select(RunRow)).all()
        there = Counter((row.task_uid, row.due_at) for row in rows)
        problems = [f"no row: {key}" for key in expected - there]
        problems += [f"a row too many: {key}" for key in there - expected]
        problems += [f"run {run} started {times} times" for run, times in self.begun.items() if times != 1]
        bad = (row for row in rows if row.status is not RunStatus.COMPLETED)
        problems += [f"run {row.id} is {row.status.value}: {row.error}" for row in bad]
        return sum(expected.values()), self.found + problems

    def leave(self) -> None:
        for one in self.workers:
            one.leave()

    def _begin(self, worker: int, order: StartOrder) -> None:
        task = self.world.tasks[int(order.tags[0].partition(":")[2])]
        now, process = self.clock.at, identify_self()
        if self._windows.held(task.window, task.estimate, now):
            self.found.append(f"run {order.run_id} started at {now:%H:%M:%S}, where a window holds it")
        with writing(self.engine) as session:
            row = session.get_one(RunRow, order.run_id)
            row.status, row.running_at = RunStatus.RUNNING, now
            row.process_id, row.process_ticks = process.pid, process.started_ticks
            row.process_boot, row.process_host = process.boot_id, process.host
            session.add(row)
        ends_at = self.true + self.chance.choice([2, 3, 4]) * MINUTE
        self.running.append(Running(worker, order.run_id, order.claim, task.uid, ends_at))
        self.begun[order.run_id] += 1

    def _end_what_is_over(self) -> None:
        over = [one for one in self.running if one.ends_at <= self.true]
        self.running = [one for one in self.running if one.ends_at > self.true]
        for one in over:
            with writing(self.engine) as session:
                catalog, ending = load_chain_catalog(session, one.uid), Ending(status=RunStatus.COMPLETED)
                if not end_run(session, catalog, one.run_id, ending, now=self.clock.at, who="run", claim=one.claim):
                    self.found.append(f"run {one.run_id} ended well, and the ledger would not have it")
            self.workers[one.worker].exited(one.run_id, one.claim)


def change_night(engine: Engine, name: str) -> Line:
    """Eight hours of the night, minute by minute."""
    start = NIGHTS[name]
    machine = Machine(engine, small(start, [(one, ALLOW) for one in CRONS]), 1, name)
    for _ in range(8 * 60):
        machine.step(MINUTE, machine.true + MINUTE)
    _finish(machine)
    count, problems = machine.problems()
    machine.leave()
    told = f"{count} occurrences of {len(CRONS)} tasks, each one row and one start"
    return Line(f"Clocks change: {name}", "SQLite", str(problems[:4]) if problems else told, not problems)


def jumps(engine: Engine, seed: int = 0, hours: int = 3) -> Line:
    """The clock jumps an hour ahead or back, and later to where it should be, beneath two workers and their runs."""
    world = small(datetime(2026, 11, 23, 5, tzinfo=UTC), JUMPED, DEFAULT_WINDOWS)
    machine = Machine(engine, world, 2, f"jumps {seed}")
    wrong, count, beneath = timedelta(), 0, 0
    for _ in range(hours * HOUR // BEAT):
        if machine.chance.random() < 1 / 40:
            wrong = timedelta() if wrong else machine.chance.choice([HOUR, -HOUR])
            count, beneath = count + 1, beneath + len(machine.running)
        machine.step(BEAT, max(machine.true + BEAT + wrong, world.start))
    _finish(machine)
    occurrences, problems = machine.problems()
    problems += _fall_silent(machine)
    machine.leave()
    told = (
        f"{count} jumps beneath two workers and {beneath} runs in progress; {occurrences} occurrences, each one row "
        "and one start, no good run ended as lost; a worker that then fell silent was noticed"
    )
    holds = not problems and beneath > 0
    return Line("Clock jumps an hour ahead and back", "SQLite", str(problems[:4]) if problems else told, holds)


def _finish(machine: Machine) -> None:
    """To the next minute at which nothing is open; the clock is right again."""
    for _ in range(2 * HOUR // BEAT):
        machine.step(BEAT, machine.true + BEAT)
        if not machine.open_runs():
            return


def _fall_silent(machine: Machine) -> list[str]:
    """What is wrong with the end of a run whose worker, the second one, is not heard of any more."""
    for _ in range(HOUR // BEAT):
        machine.step(BEAT, machine.true + BEAT, acting=[1])
        if machine.running:
            break
    run_id = machine.running[0].run_id
    silent = machine.workers.pop()
    silent.leave()
    machine.running.clear()
    statuses = []
    for _ in range(3 * SILENT_AFTER // BEAT):
        machine.step(BEAT, machine.true + BEAT, acting=[])
        with reading(machine.engine) as session:
            statuses.append(session.get_one(RunRow, run_id).status)
    quiet = SILENT_AFTER // BEAT - 1  # so many beats it may be late
    if statuses[quiet - 1] is not RunStatus.RUNNING or statuses[-1] is not RunStatus.FAILED:
        return [f"run {run_id} of a silent worker was {', '.join(statuses)}"]
    return []
