"""Small random worlds, each from a number: tasks, chains and windows around nights that are awkward or plain."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta

from sqlmodel import Session

from headway.models.values.schedule import After, Cron, Schedule
from headway.models.values.task import CatchUp, OnErrors, OnFailure, Task
from headway.models.values.window import DEFAULT_WINDOWS, EVERY_DAY, Window, WindowPolicy
from headway.privileges import OPERATOR
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.definitions.document import (
    DAYS,
    Definitions,
    ScheduleSection,
    SettingsSection,
    TaskSection,
    WindowSection,
)
from headway.scheduler.usecases.tasks.apply import apply
from tests.support.clock import FixedClock
from tests.support.databases import TYPES

MINUTE = timedelta(minutes=1)
WEEKS = (
    datetime(2026, 11, 22, 5, tzinfo=UTC),  # nothing special
    datetime(2026, 10, 29, 4, tzinfo=UTC),  # an hour twice, on Sunday
    datetime(2027, 3, 11, 5, tzinfo=UTC),  # an hour missing
)
_GROUPS = {one.name: one.group for one in TYPES}
_KINDS = ("job0", "job1", "job2", "report_execution", "task_error_report")


@dataclass(frozen=True)
class SmallWorld:
    """What a simulated week begins with. retries and their delay are by UID."""

    start: datetime
    tasks: dict[int, Task]
    windows: tuple[Window, ...]
    max_running: int
    retries: dict[int, tuple[int, timedelta]]


def small_world(seed: int) -> SmallWorld:
    """Always the same one for a number."""
    chance = random.Random(f"world {seed}")
    tasks: list[Task] = []
    for uid in range(1, chance.randint(3, 6) + 1):
        tasks.append(_task(chance, uid, tasks))
    windows = chance.choice(
        [DEFAULT_WINDOWS, DEFAULT_WINDOWS, (), (_window(chance),), (*DEFAULT_WINDOWS, _window(chance))]
    )
    retries = {one.uid: (chance.choice([0, 0, 1, 2]), chance.choice([1, 5, 20]) * MINUTE) for one in tasks}
    return SmallWorld(chance.choice(WEEKS), link(tasks), windows, chance.choice([1, 2, 2, 3, 4]), retries)


def _task(chance: random.Random, uid: int, before: Sequence[Task]) -> Task:
    kind = chance.choice(_KINDS)
    return Task(
        uid=uid,
        name=f"task {uid}",
        type=kind,
        group=_GROUPS[kind],
        schedule=_schedule(chance, before),
        window=chance.choice(list(WindowPolicy)),
        on_failure=chance.choice(list(OnFailure)),
        on_errors=chance.choice(list(OnErrors)),
        catch_up=chance.choice(list(CatchUp)),
        estimate=chance.choice([None, chance.randint(1, 100) * MINUTE]),
    )


def _schedule(chance: random.Random, before: Sequence[Task]) -> Schedule:
    if before and chance.random() < 0.4:
        return After(chance.choice(before).uid, chance.choice([30, 45, 60, 120]) * MINUTE)
    return Cron(cron(chance))


def cron(chance: random.Random) -> str:
    """Once to four times a day, often at an hour that the clocks repeat or leave out."""
    minute = chance.choice([0, 15, 30, chance.randint(0, 59)])
    hours = chance.choice(["1", "2", "5", "*/6", "1,13", str(chance.randint(0, 23)), "4-6", "*/12"])
    return f"{minute} {hours} * * {chance.choice(['*', '*', '*', '1-5', '0,1'])}"


def _window(chance: random.Random) -> Window:
    days = chance.choice([EVERY_DAY, frozenset({chance.randint(0, 6)})])
    start = time(chance.randint(0, 23), chance.choice([0, 1, 30]))
    return Window(name="another", days=days, start=start, end=time(chance.randint(0, 23), chance.choice([0, 15, 45])))


def section(world: SmallWorld, task: Task) -> TaskSection:
    """The task as a file would say it."""
    schedule = task.schedule
    retries, delay = world.retries.get(task.uid, (0, 5 * MINUTE))
    said = None
    if isinstance(schedule, Cron):
        said = ScheduleSection(cron=schedule.expression)
    elif isinstance(schedule, After):
        said = ScheduleSection(after=world.tasks[schedule.predecessor].name, spacing=schedule.spacing)
    return TaskSection(
        name=task.name,
        type=task.type,
        schedule=said,
        enabled=task.enabled,
        window=task.window,
        on_failure=task.on_failure,
        on_errors=task.on_errors,
        catch_up=task.catch_up,
        expected_duration=task.estimate,
        retries=retries,
        retry_delay=delay,
    )


def store(session: Session, world: SmallWorld) -> None:
    """Write the world into a fresh installation, as of its start."""
    windows = [
        WindowSection(name=one.name, days=[DAYS[day] for day in sorted(one.days)], start=one.start, end=one.end)
        for one in world.windows
    ]
    none = Definitions(settings=None, windows=[], tasks=None)  # those of a new installation
    assert not apply(session, FixedClock(world.start), OPERATOR, none).errors
    given = Definitions(
        settings=SettingsSection(max_running=world.max_running),
        windows=windows,
        tasks=[section(world, task) for _, task in sorted(world.tasks.items())],
    )
    applied = apply(session, FixedClock(world.start), OPERATOR, given)
    assert not applied.errors, applied.errors


def allowing(world: SmallWorld) -> SmallWorld:
    """The same without what the lint refuses: a task that needs a window where there is none."""
    if world.windows:
        return world
    tasks = {
        uid: replace(task, window=WindowPolicy.AVOID) if task.window is WindowPolicy.REQUIRE else task
        for uid, task in world.tasks.items()
    }
    return replace(world, tasks=tasks)
