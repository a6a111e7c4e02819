"""Random small worlds for property tests: windows, tasks, what is open, around nights that are awkward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from models.domain import (
    DEFAULT_WINDOWS,
    EVERY_DAY,
    After,
    CatchUp,
    Cron,
    Failure,
    Once,
    OnFailure,
    Run,
    RunStatus,
    Schedule,
    Task,
    Trigger,
    Window,
    WindowPolicy,
)
from scheduler.chains import link
from tests.naive import NaiveRun

NIGHTS = (
    ("America/New_York", date(2026, 11, 1)),  # an hour twice
    ("America/New_York", date(2027, 3, 14)),  # an hour missing
    ("America/New_York", date(2026, 11, 23)),  # nothing special, a Monday
    ("Europe/London", date(2026, 10, 25)),
    ("Europe/London", date(2027, 3, 28)),  # the gap begins at 01:00
    ("Australia/Lord_Howe", date(2026, 10, 4)),  # half an hour missing
    ("Australia/Lord_Howe", date(2027, 4, 4)),  # half an hour twice
    ("America/Sao_Paulo", date(2018, 11, 4)),  # no midnight
    ("America/Sao_Paulo", date(2018, 2, 18)),  # midnight's hour before twice
    ("Asia/Kathmandu", date(2026, 6, 1)),  # 5 h 45 min
)
ZONES = tuple(dict.fromkeys(zone for zone, _ in NIGHTS)) + ("UTC",)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@dataclass
class World:
    """What a forecast takes."""

    tasks: dict[int, Task]
    windows: list[Window]
    max_running: int
    start: datetime
    end: datetime
    open_runs: list[Run] = field(default_factory=list)
    failures: dict[int, Failure] = field(default_factory=dict)
    last_start: dict[int, datetime] = field(default_factory=dict)

    def stored(self) -> list[NaiveRun]:
        return [
            NaiveRun(
                run.task,
                run.due_at,
                run.trigger,
                "waiting" if run.status is RunStatus.WAITING else "running",
                start=run.started_at,
                follow=run.follow,
                overrides=run.overrides,
            )
            for run in self.open_runs
        ]


def nights() -> st.SearchStrategy[tuple[str, date]]:
    return st.sampled_from(NIGHTS)


def wall_times() -> st.SearchStrategy[time]:
    awkward = st.sampled_from([time(0), time(0, 30), time(1), time(1, 30), time(2), time(2, 30), time(3)])
    return st.one_of(awkward, st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59])))


def days_of_week() -> st.SearchStrategy[frozenset[int]]:
    return st.one_of(st.just(EVERY_DAY), st.frozensets(st.integers(0, 6), min_size=1, max_size=7))


@st.composite
def windows(draw: st.DrawFn, zone: str, day: date) -> list[Window]:
    """Up to four windows near `day`: overnight, touching, a whole day, of other zones, partly released."""
    if draw(st.integers(0, 4)) == 0:
        return list(DEFAULT_WINDOWS)
    made = []
    for number in range(draw(st.integers(0, 4))):
        start, end = draw(wall_times()), draw(wall_times())
        if made and draw(st.integers(0, 3)) == 0:
            start = made[-1].end  # touches the one before
        if draw(st.integers(0, 9)) == 0:
            end = start  # 24 hours
        near = st.builds(lambda n: day + timedelta(days=n), st.integers(-2, 6))
        made.append(
            Window(
                f"window {number}",
                draw(days_of_week()),
                start,
                end,
                draw(st.sampled_from((zone, zone, *ZONES))),
                draw(st.frozensets(near, max_size=3)),
            )
        )
    return made


def estimates() -> st.SearchStrategy[timedelta | None]:
    """Unknown, short, hours, and longer than any free stretch."""
    return st.one_of(
        st.none(),
        st.integers(1, 90).map(lambda n: n * MINUTE),
        st.sampled_from([HOUR, 2 * HOUR, 4 * HOUR, 23 * HOUR, 24 * HOUR, 25 * HOUR, 200 * HOUR]),
        st.integers(1, 7200).map(lambda n: timedelta(seconds=n)),
    )


def crons() -> st.SearchStrategy[str]:
    minute = st.one_of(st.integers(0, 59).map(str), st.sampled_from(["0", "30", "0,30", "*/15", "5-50/9"]))
    hour = st.one_of(st.integers(0, 23).map(str), st.sampled_from(["1,2", "0-3", "*/6", "*/2", "2", "1"]))
    daily = st.builds(lambda m, h: f"{m} {h} * * *", minute, hour)
    weekly = st.builds(lambda m, h, d: f"{m} {h} * * {d}", minute, hour, st.integers(0, 6))
    dense = st.builds(lambda n, h: f"*/{n} {h}-{h + 2} * * *", st.sampled_from([3, 5, 7]), st.integers(0, 8))
    return st.one_of(daily, daily, weekly, dense, st.just("0 * * * *"))


def schedules(day: date) -> st.SearchStrategy[Schedule | None]:
    near = st.builds(lambda d, t: Once(datetime.combine(day + timedelta(days=d), t)), st.integers(-1, 2), wall_times())
    return st.one_of(crons().map(Cron), crons().map(Cron), crons().map(Cron), near, st.none())


@st.composite
def task_lists(draw: st.DrawFn, zone: str, day: date) -> dict[int, Task]:
    """One to eight tasks in a few groups; some are later steps, some disabled or historical."""
    made: list[Task] = []
    numbers = draw(st.permutations(range(1, draw(st.integers(1, 8)) + 1)))
    for uid in numbers:
        schedule = draw(schedules(day))
        if made and draw(st.integers(0, 2)) == 0:
            spacing = draw(st.sampled_from([10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR]))
            schedule = After(draw(st.sampled_from(made)).uid, spacing)
        made.append(
            Task(
                uid,
                f"task {uid}",
                "sleep",
                draw(st.sampled_from(["one", "two", "three", f"own {uid}"])),
                schedule=schedule,
                timezone=draw(st.sampled_from((zone, zone, *ZONES))),
                enabled=draw(st.integers(0, 7)) > 0,
                historical=draw(st.integers(0, 11)) == 0,
                window=draw(st.sampled_from(list(WindowPolicy))),
                on_failure=draw(st.sampled_from(list(OnFailure))),
                catch_up=draw(st.sampled_from(list(CatchUp))),
                estimate=draw(estimates()),
            )
        )
    return link(made)


@st.composite
def stored_runs(draw: st.DrawFn, tasks: dict[int, Task], start: datetime) -> list[Run]:
    """What is open: waiting since long or just now, waiting steps still to come due, active ones."""
    runs: list[Run] = []
    busy: set[str] = set()
    for uid, task in tasks.items():
        for number in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2, 3]))):
            ago = draw(st.sampled_from([0, 1, 7, 45, 60, 300, 5000, 11519, 11521])) * MINUTE
            due_at = start - ago - timedelta(seconds=10 * number + 1)
            trigger = draw(st.sampled_from([Trigger.SCHEDULE, Trigger.MANUAL, Trigger.CHAIN]))
            if isinstance(task.schedule, After) and trigger is Trigger.SCHEDULE:
                trigger = Trigger.CHAIN
            later = trigger is Trigger.CHAIN or (trigger is Trigger.SCHEDULE and number == 0)  # step, retry
            if later and draw(st.booleans()):
                due_at = start + ago + timedelta(seconds=10 * number + 1)
            run = Run(task, due_at, trigger, id=100 * uid + number)
            run.follow = draw(st.booleans()) if trigger is Trigger.MANUAL else True
            run.overrides = draw(st.sampled_from([frozenset(), frozenset({"window"}), frozenset({"spacing"})]))
            if task.group not in busy and draw(st.integers(0, 3)) == 0:
                run.status = draw(st.sampled_from([RunStatus.STARTING, RunStatus.RUNNING]))
                run.due_at = min(run.due_at, start)
                run.started_at = min(start, run.due_at + draw(st.integers(0, 60)) * MINUTE)
                busy.add(task.group)
            runs.append(run)
    return runs


@st.composite
def worlds(draw: st.DrawFn, *, stored: bool = True) -> World:
    zone, day = draw(nights())
    tasks = draw(task_lists(zone, day))
    midnight = datetime.combine(day, time(), tzinfo=UTC)
    start = midnight + draw(st.integers(-12 * 60, 12 * 60)) * MINUTE
    end = start + draw(st.integers(1, 40)) * HOUR
    world = World(tasks, draw(windows(zone, day)), draw(st.integers(1, 4)), start, end)
    if stored and draw(st.booleans()):
        world.open_runs = draw(stored_runs(tasks, start))
        for uid in draw(st.frozensets(st.sampled_from(sorted(tasks)), max_size=2)):
            world.failures[uid] = Failure(run_id=uid, ended_at=start - HOUR)
        for uid in draw(st.frozensets(st.sampled_from(sorted(tasks)), max_size=4)):
            world.last_start[uid] = start - draw(st.integers(0, 240)) * MINUTE
        for run in world.open_runs:
            if run.started_at is not None:
                known = world.last_start.get(run.task.uid, run.started_at)
                world.last_start[run.task.uid] = max(known, run.started_at)
    return world


def in_order(runs: Sequence[NaiveRun]) -> list[NaiveRun]:
    return sorted(runs, key=lambda run: (run.start or run.due, run.task.uid))
