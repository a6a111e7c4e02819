"""When a task comes due by its own schedule.

CronSim decides, on a DST night too: it does what Debian cron does. On days without a clock change its answer is the
product of its hours and minutes, so these are computed a day at a time. Days near a change are left to CronSim.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from headway.models.values.schedule import Cron, Once
from headway.models.values.task import Task
from headway.models.values.zone import zone
from headway.scheduler.planning.local_time import to_utc

_DAY = timedelta(days=1)
_MIDNIGHT = time()


def check_cron(expression: str) -> None:
    """Raises ValueError, with a sentence for operators, unless the expression comes due at some time."""
    if problem := _problem_with(expression):
        raise ValueError(problem)


@lru_cache(maxsize=20_000)  # every edit checks every stored expression
def _problem_with(expression: str) -> str:
    try:
        next(CronSim(expression, datetime(2026, 1, 1)))
    except CronSimError as error:
        return (
            f"bad cron expression {expression!r} ({error}): write five fields, minute hour day month weekday, "
            "such as '15 1 * * *'"
        )
    except StopIteration:
        return f"cron expression {expression!r} never comes due"
    return ""


def occurrences(task: Task, start: datetime, end: datetime) -> list[datetime]:
    """The instants in `[start, end)` at which the task's schedule comes due, ascending, aware UTC.

    Empty for a chain's later step, and for a task that is disabled or historical.
    """
    if not task.scheduled or start >= end:
        return []
    schedule = task.schedule
    if isinstance(schedule, Cron):
        return cron_occurrences(schedule.expression, task.timezone, start, end)
    if isinstance(schedule, Once):
        due = to_utc(schedule.at, zone(task.timezone))
        return [due] if start <= due < end else []
    return []


def next_occurrence(task: Task, after: datetime) -> datetime | None:
    """The first instant later than `after` at which the schedule comes due, or None."""
    if not task.scheduled:
        return None
    if isinstance(task.schedule, Once):
        due = to_utc(task.schedule.at, zone(task.timezone))
        return due if due > after else None
    if not isinstance(task.schedule, Cron):
        return None
    start = after + timedelta(microseconds=1)
    for days in (2, 32, 367):
        found = cron_occurrences(task.schedule.expression, task.timezone, start, after + timedelta(days=days))
        if found:
            return found[0]
    for moment in _by_cronsim(task.schedule.expression, task.timezone, after + timedelta(days=366)):
        if moment > after:
            return moment
    return None


def cron_occurrences(expression: str, timezone: str, start: datetime, end: datetime) -> list[datetime]:
    """As `occurrences`, for a bare cron expression."""
    where = zone(timezone)
    first = start.astimezone(where).date()
    last = end.astimezone(where).date()
    found: list[datetime] = []
    times = _clock_times(expression)
    day = first
    while day <= last:
        midnight = _plain_midnight(where, day)
        if midnight is None or times is None:
            after = day
            while after <= last and (times is None or _plain_midnight(where, after) is None):
                after += _DAY
            ask = _irregular if times is None else _irregular_again
            found += ask(expression, timezone, day, after)
            day = after
            continue
        if _matches_day(expression, day):
            found += [midnight + at for at in times]
        day += _DAY
    low = 0
    while low < len(found) and found[low] < start:
        low += 1
    high = len(found)
    while high > low and found[high - 1] >= end:
        high -= 1
    return found[low:high]


@lru_cache(maxsize=20_000)
def _parsed(expression: str) -> CronSim:
    return CronSim(expression, datetime(2026, 1, 1))


@lru_cache(maxsize=20_000)
def _clock_times(expression: str) -> tuple[timedelta, ...] | None:
    """The times of day that match, ascending; None for an expression with seconds, which would make too many."""
    cron = _parsed(expression)
    if cron.seconds != {0}:
        return None
    return tuple(timedelta(hours=h, minutes=m) for h in sorted(cron.hours) for m in sorted(cron.minutes))


@lru_cache(maxsize=200_000)
def _matches_day(expression: str, day: date) -> bool:
    cron = _parsed(expression)
    return day.month in cron.months and cron.match_day(day)


@lru_cache(maxsize=20_000)
def _plain_midnight(where: ZoneInfo, day: date) -> datetime | None:
    """UTC midnight of a day on which the clocks do not change, nor on the day before; else None.

    The day after a change is left to CronSim, too: it steps by whole hours and may begin that day at 00:30.
    """
    offset = datetime.combine(day, _MIDNIGHT, tzinfo=where).utcoffset()
    around = {datetime.combine(one, _MIDNIGHT, tzinfo=where).utcoffset() for one in (day - _DAY, day + _DAY)}
    if offset is None or around != {offset}:
        return None
    return (datetime.combine(day, _MIDNIGHT) - offset).replace(tzinfo=UTC)


def _irregular(expression: str, timezone: str, first: date, after: date) -> tuple[datetime, ...]:
    """CronSim's own answer for the local days `[first, after)`."""
    where = zone(timezone)
    start = to_utc(datetime.combine(first, _MIDNIGHT), where)
    end = to_utc(datetime.combine(after, _MIDNIGHT), where)
    found = set()
    for moment in _by_cronsim(expression, timezone, start):
        if moment >= end:
            break
        if moment >= start:
            found.add(moment)
    return tuple(sorted(found))


_irregular_again = lru_cache(maxsize=10_000)(_irregular)
"""Cached: with every edit the lint asks about the same nights."""


def _by_cronsim(expression: str, timezone: str, start: datetime) -> Iterator[datetime]:
    """CronSim's instants from an hour before `start` on, a local midnight after a plain evening."""
    begin = (start - timedelta(hours=1)).astimezone(zone(timezone))
    for moment in _Onward(expression, begin):
        yield moment.astimezone(UTC)


class _Onward(CronSim):
    """CronSim that never steps back.

    Where clocks go back in the middle of an hour (Chatham, from 03:45 to 02:45), the beginning of that hour lies
    before the change: CronSim would return to the same minutes for ever.
    """

    def advance_hour(self) -> bool:
        since = self.dt
        moved = super().advance_hour()
        if self.dt.tzinfo is not None and self.dt.astimezone(UTC) < since.astimezone(UTC):
            self.dt = since
            while self.dt.hour not in self.hours:
                self.tick(seconds=3600 - self.dt.minute * 60 - self.dt.second)
                if self.dt.hour == 0:
                    break
        return moved
