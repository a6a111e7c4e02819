"""Random small worlds for property tests: windows, tasks and open runs, around DST nights."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from headway.models.values.run import Failure, Run, RunStatus, Trigger
from headway.models.values.schedule import After, Cron, Once, Schedule
from headway.models.values.task import CatchUp, OnFailure, Task
from headway.models.values.window import DEFAULT_WINDOWS, EVERY_DAY, Window, WindowPolicy
from headway.scheduler.planning.chains import link
from tests.support.reference_forecast import NaiveRun

NIGHTS = (
    ("America/New_York", date(2026, 11, 1)),  # an hour twice
    ("America/New_York", date(2027, 3, 14)),  # an hour missing
    ("America/New_York", date(2026, 11, 23)),  # an ordinary Monday
    ("Europe/London", date(2026, 10, 25)),
    ("Europe/London", date(2027, 3, 28)),  # the gap begins at 01:00
    ("Australia/Lord_Howe", date(2026, 10, 4)),  # half an hour missing
    ("Australia/Lord_Howe", date(2027, 4, 4)),  # half an hour twice
    ("America/Sao_Paulo", date(2018, 11, 4)),  # no midnight
    ("America/Sao_Paulo", date(2018, 2, 18)),  # the hour before midnight twice
    ("Asia/Kathmandu", date(2026, 6, 1)),  # 5 h 45 min
)
ZONES = (*dict.fromkeys(zone for zone, _ in NIGHTS), "UTC")
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
    lost: dict[str, Run] = field(default_factory=dict)

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


# Made once: hypothesis spends longer on making a strategy than on drawing from it.
SMALL = {most: st.integers(0, most) for most in (1, 2, 3, 4, 7, 9, 11)}
NIGHT = st.sampled_from(NIGHTS)
AWKWARD_TIME = st.sampled_from([time(0), time(0, 30), time(1), time(1, 30), time(2), time(2, 30), time(3)])
WALL_TIME = AWKWARD_TIME | st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 45, 59]))
DAYS_OF_WEEK = st.just(EVERY_DAY) | st.frozensets(st.integers(0, 6), min_size=1, max_size=7)
DAYS_FROM_NIGHT = st.frozensets(st.integers(-2, 6), max_size=3)
ZONE = st.sampled_from(ZONES)
ESTIMATE = st.one_of(
    st.none(),
    st.integers(1, 90).map(lambda n: n * MINUTE),
    st.sampled_from([HOUR, 2 * HOUR, 4 * HOUR, 23 * HOUR, 24 * HOUR, 25 * HOUR, 200 * HOUR]),
    st.integers(1, 7200).map(lambda n: timedelta(seconds=n)),
)
MINUTE_FIELD = st.integers(0, 59).map(str) | st.sampled_from(["0", "30", "0,30", "*/15", "5-50/9"])
HOUR_FIELD = st.integers(0, 23).map(str) | st.sampled_from(["1,2", "0-3", "*/6", "*/2", "2", "1"])
DAILY = st.builds(lambda m, h: f"{m} {h} * * *", MINUTE_FIELD, HOUR_FIELD)
WEEKLY = st.builds(lambda m, h, d: f"{m} {h} * * {d}", MINUTE_FIELD, HOUR_FIELD, st.integers(0, 6))
DENSE = st.builds(lambda n, h: f"*/{n} {h}-{h + 2} * * *", st.sampled_from([3, 5, 7]), st.integers(0, 8))
CRON = st.one_of(DAILY, DAILY, WEEKLY, DENSE, st.just("0 * * * *"))
GROUP = st.sampled_from(["one", "two", "three", "own"])
SPACING = st.sampled_from([10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR])
WINDOW_POLICY = st.sampled_from(list(WindowPolicy))
ON_FAILURE = st.sampled_from(list(OnFailure))
CATCH_UP = st.sampled_from(list(CatchUp))
ORDERS = {size: st.permutations(range(1, size + 1)) for size in range(1, 9)}
SIZE = st.integers(1, 8)
STORED = st.sampled_from([0, 0, 0, 1, 1, 2, 3])
AGO = st.sampled_from([minutes * MINUTE for minutes in (0, 1, 7, 45, 60, 300, 5000, 11519, 11521)])
TRIGGER = st.sampled_from([Trigger.SCHEDULE, Trigger.MANUAL, Trigger.CHAIN])
OVERRIDES = st.sampled_from([frozenset(), frozenset({"window"}), frozenset({"spacing"})])
ACTIVE_STATUS = st.sampled_from([RunStatus.STARTING, RunStatus.RUNNING])
YES_OR_NO = st.booleans()
UP_TO_AN_HOUR = st.integers(0, 60)
START = st.integers(-12 * 60, 12 * 60)
HOURS = st.integers(1, 40)
MAX_RUNNING = st.integers(1, 4)
FOUR_HOURS = st.integers(0, 240)
FAILED = st.sets(SIZE, max_size=2)
STARTED = st.sets(SIZE, max_size=4)


@st.composite
def windows(draw: st.DrawFn, zone: str, day: date) -> list[Window]:
    """Up to four windows near `day`: overnight, touching, a whole day, of other zones, partly released."""
    if draw(SMALL[4]) == 0:
        return list(DEFAULT_WINDOWS)
    made: list[Window] = []
    for number in range(draw(SMALL[4])):
        start, end = draw(WALL_TIME), draw(WALL_TIME)
        if made and draw(SMALL[3]) == 0:
            start = made[-1].end  # touches the one before
        if draw(SMALL[9]) == 0:
            end = start  # 24 hours
        where = draw(ZONE) if draw(SMALL[1]) else zone
        released = frozenset(day + timedelta(days=ahead) for ahead in draw(DAYS_FROM_NIGHT))
        made.append(
            Window(
                name=f"window {number}",
                days=draw(DAYS_OF_WEEK),
                start=start,
                end=end,
                timezone=where,
                released=released,
            )
        )
    return made


def draw_schedule(draw: st.DrawFn, day: date) -> Schedule | None:
    kind = draw(SMALL[4])
    if kind == 0:
        return None
    if kind == 1:
        return Once(datetime.combine(day + timedelta(days=draw(SMALL[3]) - 1), draw(WALL_TIME)))
    return Cron(draw(CRON))


@st.composite
def task_lists(draw: st.DrawFn, zone: str, day: date) -> dict[int, Task]:
    """One to eight tasks in a few groups; some are later steps, some disabled or historical."""
    made: list[Task] = []
    for uid in draw(ORDERS[draw(SIZE)]):
        schedule = draw_schedule(draw, day)
        if made and draw(SMALL[2]) == 0:
            schedule = After(made[draw(SMALL[7]) % len(made)].uid, draw(SPACING))
        group = draw(GROUP)
        made.append(
            Task(
                uid=uid,
                name=f"task {uid}",
                type="sleep",
                group=f"own {uid}" if group == "own" else group,
                schedule=schedule,
                timezone=draw(ZONE) if draw(SMALL[1]) else zone,
                enabled=draw(SMALL[7]) > 0,
                historical=draw(SMALL[11]) == 11,
                window=draw(WINDOW_POLICY),
                on_failure=draw(ON_FAILURE),
                catch_up=draw(CATCH_UP),
                estimate=draw(ESTIMATE),
            )
        )
    return link(made)


def draw_run(draw: st.DrawFn, task: Task, number: int, start: datetime) -> Run:
    """An open run: due long ago or just now; a chain's step, or a retry, may still have to come due."""
    trigger = draw(TRIGGER)
    if isinstance(task.schedule, After) and trigger is Trigger.SCHEDULE:
        trigger = Trigger.CHAIN
    ago, apart = draw(AGO), timedelta(seconds=10 * number + 1)
    later = trigger is Trigger.CHAIN or (trigger is Trigger.SCHEDULE and number == 0)
    due_at = start + ago + apart if later and draw(YES_OR_NO) else start - ago - apart
    run = Run(task=task, due_at=due_at, trigger=trigger, id=100 * task.uid + number, overrides=draw(OVERRIDES))
    run.follow = trigger is not Trigger.MANUAL or draw(YES_OR_NO)
    return run


@st.composite
def stored_runs(draw: st.DrawFn, tasks: dict[int, Task], start: datetime) -> list[Run]:
    """The open runs at the start of a forecast; at most one active run a group."""
    runs: list[Run] = []
    busy: set[str] = set()
    for task in tasks.values():
        for number in range(draw(STORED)):
            run = draw_run(draw, task, number, start)
            if task.group not in busy and draw(SMALL[3]) == 0:
                run.status = draw(ACTIVE_STATUS)
                run.due_at = min(run.due_at, start)
                run.started_at = min(start, run.due_at + draw(UP_TO_AN_HOUR) * MINUTE)
                busy.add(task.group)
            runs.append(run)
    return runs


@st.composite
def worlds(draw: st.DrawFn, *, stored: bool = True) -> World:
    zone, day = draw(NIGHT)
    tasks = draw(task_lists(zone, day))
    start = datetime.combine(day, time(), tzinfo=UTC) + draw(START) * MINUTE
    world = World(tasks, draw(windows(zone, day)), draw(MAX_RUNNING), start, start + draw(HOURS) * HOUR)
    if stored and draw(YES_OR_NO):
        world.open_runs = draw(stored_runs(tasks, start))
        world.failures = {uid: Failure(uid, start - HOUR) for uid in draw(FAILED) if uid in tasks}
        world.last_start = {uid: start - draw(FOUR_HOURS) * MINUTE for uid in draw(STARTED) if uid in tasks}
        for run in world.open_runs:
            if run.started_at is not None:
                known = world.last_start.get(run.task.uid, run.started_at)
                world.last_start[run.task.uid] = max(known, run.started_at)
        free = {task.group: task for task in tasks.values()}
        for run in world.open_runs:
            if run.started_at is not None:
                free.pop(run.task.group, None)
        if free and draw(SMALL[4]) == 0:
            group, task = free.popitem()
            world.lost[group] = Run(task=task, due_at=start - HOUR, status=RunStatus.FAILED, started_at=start - HOUR)
    return world
