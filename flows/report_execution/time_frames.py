"""Relative time frames, as reports use them: `yesterday`, `last 7 days`, `month to date`. Pure functions.

A frame is reckoned from the instant at which the run came due, in the task's zone, so a retry hours later
reports on the same time. Days are *statistical days*: they begin at a wall time (00:00 unless told
otherwise), and are named by the date on which they begin. On the nights when clocks change they have 23 or
25 hours. Weeks begin on Monday.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

TO_DATE = ("today", "this week", "month to date")
"""Frames that are not over yet: they end at the due instant."""
WHOLE = ("yesterday", "last week", "last month")
WANTED = (
    "a time frame: today, yesterday, last N days, last N hours, this week, last week, month to date, last month, "
    "or two dates such as 2026-11-01 to 2026-11-15"
)
_LENGTH = r"last ([1-9]\d{0,3}) (days|hours)"
_POINT = r"(\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2})?)"
PATTERN = f"^(?:{'|'.join((*TO_DATE, *WHOLE))}|{_LENGTH}|{_POINT} to {_POINT})$"
"""What a time frame looks like, as a regular expression that JSON schemas understand too."""

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """A stretch of time `[start, end)`, aware UTC, and the statistical days that it touches."""

    start: datetime
    end: datetime
    first_day: date
    last_day: date


@dataclass(frozen=True)
class DayClock:
    """Where and when days begin: an IANA zone, and the wall time at which a statistical day starts there."""

    zone: ZoneInfo
    day_start: time = time()

    def start_of(self, day: date) -> datetime:
        """The instant at which the statistical day of that date begins, aware UTC."""
        return instant_of(datetime.combine(day, self.day_start), self.zone)

    def day_of(self, moment: datetime) -> date:
        """The date of the statistical day that holds this instant."""
        day = moment.astimezone(self.zone).date()
        return day if moment >= self.start_of(day) else day - _DAY


def period_of(frame: str, due: datetime, clock: DayClock) -> Period:
    """The stretch that the frame means for a run that came due then.

    `today`, `this week` and `month to date` end at the due instant, the others at a day's end. `last N days` are
    the N whole days before today. Of `A to B` both dates are within; with times it is exactly from A until B.
    Raises ValueError, with what is possible, for anything else.
    """
    frame = " ".join(frame.split())
    today = clock.day_of(due)
    if length := re.fullmatch(_LENGTH, frame):
        return _last(int(length[1]), length[2], due, today, clock)
    if points := re.fullmatch(f"{_POINT} to {_POINT}", frame):
        return _explicit(points[1], points[2], clock)
    monday = today - today.weekday() * _DAY
    first = today.replace(day=1)
    before = (first - _DAY).replace(day=1)
    if frame in TO_DATE:
        begin = {"today": today, "this week": monday, "month to date": first}[frame]
        return Period(clock.start_of(begin), due, begin, today)
    if frame in WHOLE:
        begin, end = {
            "yesterday": (today - _DAY, today),
            "last week": (monday - 7 * _DAY, monday),
            "last month": (before, first),
        }[frame]
        return _days(begin, end, clock)
    raise ValueError(f"{frame!r} is not {WANTED}")


def _days(begin: date, end: date, clock: DayClock) -> Period:
    """From the start of the one day to the start of the other."""
    return Period(clock.start_of(begin), clock.start_of(end), begin, end - _DAY)


def _last(count: int, unit: str, due: datetime, today: date, clock: DayClock) -> Period:
    if unit == "days":
        return _days(today - count * _DAY, today, clock)
    start = due - timedelta(hours=count)
    return Period(start, due, clock.day_of(start), today)


def _explicit(begin: str, end: str, clock: DayClock) -> Period:
    start = _point(begin, clock, 0)
    until = _point(end, clock, 1)
    if until <= start:
        raise ValueError(f"'{begin} to {end}': the end lies before the beginning")
    last = clock.day_of(until - timedelta(microseconds=1))
    return Period(start, until, clock.day_of(start), last)


def _point(text: str, clock: DayClock, days_later: int) -> datetime:
    """The instant of a local time, or of the start of a day (that many days later)."""
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == len("2026-11-01"):
            return clock.start_of(moment.date() + days_later * _DAY)
        return instant_of(moment, clock.zone)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no date, or no date and time such as 2026-11-01T08:00") from None


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant of a naive wall time: of two equal ones the earlier, in a gap the first after it."""
    early = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if early.astimezone(zone).replace(tzinfo=None) == wall:
        return early
    # No clock showed it. Read with the offset from before the gap (fold 0) it falls behind the gap, by as much
    # as it lay inside; read with the one from after (fold 1), before it. The change itself is in between.
    low, high = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), early
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle <= low:
            break
        low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
    return high.replace(microsecond=0)
