"""A second opinion: the forecast and the window rule, written from the rules' text alone.

Nothing here is fast, and nothing comes from `scheduler`. Every waiting run is judged at every turn; windows
are laid out day by day; an `until` is found by trying one edge after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from cronsim import CronSim

from headway.models.values.run import Trigger
from headway.models.values.schedule import After, Cron, Once
from headway.models.values.task import CatchUp, OnFailure, Task
from headway.models.values.window import Window, WindowPolicy

AHEAD = timedelta(hours=192)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NEVER = datetime.max.replace(tzinfo=UTC)
Stretch = tuple[datetime, datetime]


@cache
def instant(wall: datetime, zone: str, later: bool) -> datetime:
    """UTC of a naive wall time, found by looking for an instant at which the clock shows it."""
    where = ZoneInfo(zone)
    guess = wall.replace(tzinfo=UTC)
    offsets = {(guess + timedelta(hours=h)).astimezone(where).utcoffset() for h in range(-30, 31, 3)}
    shown = sorted(
        guess - offset
        for offset in offsets
        if offset is not None and (guess - offset).astimezone(where).replace(tzinfo=None) == wall
    )
    if shown:
        return shown[-1] if later else shown[0]
    moment = guess.replace(second=0, microsecond=0) - timedelta(hours=30)
    while moment.astimezone(where).replace(tzinfo=None) < wall:
        moment += MINUTE
    return moment


@dataclass(frozen=True)
class Laid:
    """One occurrence of a window."""

    start: datetime
    end: datetime
    day: date
    reserved: bool


def lay_out(window: Window, first: date, last: date) -> list[Laid]:
    """The window's occurrences that begin on the local days `first` to `last`."""
    found = []
    day = first
    while day <= last:
        if day.weekday() in window.days:
            end_day = day + DAY if window.end <= window.start else day
            start = instant(datetime.combine(day, window.start), window.timezone, False)
            end = instant(datetime.combine(end_day, window.end), window.timezone, True)
            if start < end:
                found.append(Laid(start, end, day, day not in window.released))
        day += DAY
    return found


def join(occurrences: Sequence[Laid]) -> list[Stretch]:
    """Touching or overlapping occurrences as one."""
    joined: list[Stretch] = []
    for one in sorted(occurrences, key=lambda one: one.start):
        if joined and one.start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], one.end))
        else:
            joined.append((one.start, one.end))
    return joined


class NaiveWindows:
    """The windows laid out from 10 days before `low` to 10 days after `high`; ask only between the two.

    A stretch that still lasts at `high` is taken to last for ever; so keep what you ask about well before it.
    """

    def __init__(self, windows: Sequence[Window], low: datetime, high: datetime) -> None:
        self._lay_out(windows, low, high)
        if any(end == NEVER for _, end in self.every + self.reserved):  # perhaps only until the clocks change
            self._lay_out(windows, low, high + 400 * DAY)

    def _lay_out(self, windows: Sequence[Window], low: datetime, high: datetime) -> None:
        first, last = low.date() - 10 * DAY, high.date() + 10 * DAY
        laid = [one for window in windows for one in lay_out(window, first, last)]
        self.every = self._endless(join(laid), high)
        self.reserved = self._endless(join([one for one in laid if one.reserved]), high)
        self.edges = sorted({edge for span in self.every + self.reserved for edge in span} - {NEVER})

    @staticmethod
    def _endless(spans: list[Stretch], high: datetime) -> list[Stretch]:
        return [(start, NEVER if end >= high else end) for start, end in spans if start < high]

    def held(self, policy: WindowPolicy, estimate: timedelta | None, now: datetime) -> bool:
        if policy is WindowPolicy.AVOID:
            return self._avoid(estimate, now)
        if policy is WindowPolicy.REQUIRE:
            return self._require(estimate, now)
        return False

    def _avoid(self, estimate: timedelta | None, now: datetime) -> bool:
        if any(start <= now < end for start, end in self.reserved):
            return True
        if estimate is None:
            return False
        next_start = min((start for start, _ in self.reserved if start > now), default=NEVER)
        if next_start - now >= estimate:
            return False
        return any(length >= estimate for length in self._free_lengths(now))

    def _free_lengths(self, now: datetime) -> list[timedelta]:
        """Of the free stretches that begin within the next 192 hours."""
        lengths = []
        for index, (_, end) in enumerate(self.reserved):
            if now < end <= now + AHEAD:
                following = self.reserved[index + 1][0] if index + 1 < len(self.reserved) else NEVER
                lengths.append(following - end)
        return lengths

    def _require(self, estimate: timedelta | None, now: datetime) -> bool:
        ends = [end for start, end in self.every if start <= now < end]
        if not ends:
            return True
        if estimate is None or ends[0] - now >= estimate:
            return False
        return any(end - start >= estimate for start, end in self.every if now < start <= now + AHEAD)

    def clears_at(self, policy: WindowPolicy, estimate: timedelta | None, now: datetime) -> datetime | None:
        """None where the run is not held, else the first edge at which it is not, or NEVER."""
        if not self.held(policy, estimate, now):
            return None
        later = (edge for edge in self.edges if edge > now and not self.held(policy, estimate, edge))
        return next(later, NEVER)


def dues(task: Task, start: datetime, end: datetime) -> list[datetime]:
    """The instants in `[start, end)` at which the task's own schedule comes due."""
    if not task.enabled or task.historical:
        return []
    found: set[datetime] = set()
    if isinstance(task.schedule, Once):
        found.add(instant(task.schedule.at, task.timezone, False))
    elif isinstance(task.schedule, Cron):
        where = ZoneInfo(task.timezone)
        for moment in CronSim(task.schedule.expression, (start - 2 * DAY).astimezone(where)):
            found.add(moment.astimezone(UTC))
            if moment.astimezone(UTC) > end + 2 * DAY:
                break
    return sorted(moment for moment in found if start <= moment < end)


@dataclass(eq=False)
class NaiveRun:
    task: Task
    due: datetime
    trigger: Trigger = Trigger.SCHEDULE
    status: str = "waiting"  # waiting, running, completed, superseded, unplaced
    start: datetime | None = None
    end: datetime | None = None
    follow: bool = True
    overrides: frozenset[str] = frozenset()
    stored: bool = False
    holds: list[tuple[str, datetime | None]] = field(default_factory=list)

    @property
    def row(self) -> tuple[object, ...]:
        status = "planned" if self.status == "completed" else self.status
        return (self.task.uid, self.trigger.value, self.due, self.start, self.end, status, tuple(self.holds))


class NaiveForecast:
    """The event simulation of the contract: ends, dues, a turn; then the runs that waited 192 hours leave."""

    def __init__(
        self,
        tasks: Sequence[Task],
        windows: Sequence[Window],
        max_running: int,
        start: datetime,
        end: datetime,
        *,
        stored: Sequence[NaiveRun] = (),
        failed: frozenset[int] = frozenset(),
        last_start: Mapping[int, datetime] | None = None,
        lost: frozenset[str] = frozenset(),
    ) -> None:
        self.tasks = {task.uid: task for task in tasks}
        self.windows = NaiveWindows(windows, start - AHEAD, end + timedelta(days=60))
        self.max_running = max_running
        self.start = start
        self.failed = set(failed)
        self.lost = lost
        self.last_start = dict(last_start or {})
        self.runs: list[NaiveRun] = list(stored)
        self.open: list[NaiveRun] = list(stored)
        known = {(run.task.uid, run.due, run.trigger) for run in stored}
        self.future = [
            NaiveRun(task, due)
            for task in tasks
            for due in dues(task, start, end)
            if (task.uid, due, Trigger.SCHEDULE) not in known
        ]
        for run in stored:
            run.stored = True
            if run.status == "running":
                assert run.start is not None
                run.end = max(start, run.start + self._length(run))
                self._started(run.task.uid, run.start)

    def run(self) -> list[NaiveRun]:
        now: datetime | None = self.start
        while now is not None:
            self._live(now)
            now = self._next_instant(now)
        return sorted(self.runs, key=lambda run: (run.start or run.due, run.task.uid))

    def _add(self, run: NaiveRun) -> None:
        self.runs.append(run)
        self.open.append(run)

    def _live(self, now: datetime) -> None:
        for run in [run for run in self._running() if run.end is not None and run.end <= now]:
            self._finish(run, now)
        for run in [run for run in self.future if run.due <= now]:
            self._come_due(run)
        self._turn(now)
        while leaving := [run for run in self._due(now) if run.due + AHEAD <= now]:
            for run in leaving:
                run.status = "unplaced"
            self._turn(now)
        self.open = [run for run in self.open if run.status in ("waiting", "running")]

    def _next_instant(self, now: datetime) -> datetime | None:
        instants = [run.due for run in self.future]
        instants += [run.due for run in self._waiting()]
        instants += [run.end for run in self._running() if run.end is not None]
        due = self._due(now)
        instants += [run.due + AHEAD for run in due]
        if due:
            instants += self.windows.edges
        spaced = [self._spacing(run.task, now) for run in due if "spacing" not in run.overrides]
        instants += [moment for moment in spaced if moment is not None and moment != NEVER]
        return min((moment for moment in instants if moment > now), default=None)

    def _waiting(self) -> list[NaiveRun]:
        return [run for run in self.open if run.status == "waiting"]

    def _due(self, now: datetime) -> list[NaiveRun]:
        return sorted((run for run in self._waiting() if run.due <= now), key=lambda run: (run.due, run.task.uid))

    def _running(self) -> list[NaiveRun]:
        return [run for run in self.open if run.status == "running"]

    def _finish(self, run: NaiveRun, now: datetime) -> None:
        run.status = "completed"
        self.failed.discard(run.task.uid)
        if not run.follow:
            return
        assert run.start is not None
        for step in self.tasks.values():
            after = step.schedule
            if isinstance(after, After) and after.predecessor == run.task.uid:
                if step.enabled and not step.historical:
                    self._add(NaiveRun(step, max(run.start + after.spacing, now), Trigger.CHAIN))

    def _come_due(self, run: NaiveRun) -> None:
        self.future.remove(run)
        if run.task.catch_up is CatchUp.LATEST:
            for older in self._waiting():
                if older.task.uid == run.task.uid and older.trigger is Trigger.SCHEDULE:
                    older.status = "superseded"
        self._add(run)

    def _turn(self, now: datetime) -> None:
        for run in self._due(now):
            holds = self.judge(run, now)
            for rule, until in holds:
                if rule not in [known for known, _ in run.holds]:
                    run.holds.append((rule, until))
            if not holds:
                run.status, run.start, run.end = "running", now, now + self._length(run)
                self._started(run.task.uid, now)

    def judge(self, run: NaiveRun, now: datetime) -> list[tuple[str, datetime | None]]:
        """Every rule's hold in the order of the rules' table: its id and `until`."""
        task, running = run.task, self._running()
        holds: list[tuple[str, datetime | None]] = []
        if task.uid in self.failed and task.on_failure is OnFailure.HOLD:
            holds.append(("reset", None))
        if any(other.task.uid == task.uid for other in running):
            holds.append(("busy", None))
        if task.group in self.lost or any(other.task.group == task.group for other in running):
            holds.append(("group", None))
        if len(running) >= self.max_running:
            holds.append(("capacity", None))
        clears_at = self.windows.clears_at(task.window, task.estimate, now)
        if clears_at is not None and "window" not in run.overrides:
            holds.append(("window", None if clears_at == NEVER else clears_at))
        spaced_at = self._spacing(task, now)
        if spaced_at is not None and "spacing" not in run.overrides:
            holds.append(("spacing", None if spaced_at == NEVER else spaced_at))
        return holds

    def _spacing(self, task: Task, now: datetime) -> datetime | None:
        after = task.schedule
        if isinstance(after, After):
            if any(other.task.uid == after.predecessor for other in self._running()):
                return NEVER
            last = self.last_start.get(after.predecessor)
            if last is not None and now < last + after.spacing:
                return last + after.spacing
            return None
        behind = self._behind(task.uid)
        still_open = [other for other in self.open if other.status in ("waiting", "running")]
        return NEVER if any(other.task.uid in behind for other in still_open) else None

    def _behind(self, root: int) -> set[int]:
        """The UIDs of all later steps of the chain that begins with `root`."""
        found: set[int] = set()
        while True:
            more = {
                task.uid
                for task in self.tasks.values()
                if isinstance(task.schedule, After) and task.schedule.predecessor in found | {root}
            }
            if more <= found:
                return found
            found |= more

    def _started(self, uid: int, at: datetime) -> None:
        self.last_start[uid] = max(at, self.last_start.get(uid, at))

    @staticmethod
    def _length(run: NaiveRun) -> timedelta:
        return run.task.estimate if run.task.estimate is not None else MINUTE
