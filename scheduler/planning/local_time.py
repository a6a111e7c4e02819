"""Local wall times and UTC: the questions that daylight saving makes hard."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAY = timedelta(days=1)
_MIDNIGHT = time()


@lru_cache(maxsize=512)
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name. ValueError with a remedy if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}: use an IANA name such as America/New_York") from None


def to_utc(wall: datetime, where: tzinfo, *, later: bool = False) -> datetime:
    """The instant of a naive wall time.

    A wall time that a DST change skips becomes the first instant after the gap; of two equal wall times the
    earlier is meant, or the later if `later`.
    """
    early = wall.replace(tzinfo=where, fold=0)
    late = wall.replace(tzinfo=where, fold=1)
    early_offset, late_offset = early.utcoffset(), late.utcoffset()
    assert early_offset is not None and late_offset is not None
    if early_offset == late_offset:
        return (wall - early_offset).replace(tzinfo=UTC)
    if early_offset < late_offset:
        return _first_after_gap(wall, where, early_offset, late_offset)
    return (wall - (late_offset if later else early_offset)).replace(tzinfo=UTC)


def _first_after_gap(wall: datetime, where: tzinfo, before: timedelta, after: timedelta) -> datetime:
    """The transition that skips `wall`: the one instant between these two where the offset changes."""
    low = (wall - after).replace(tzinfo=UTC)
    high = (wall - before).replace(tzinfo=UTC)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        middle -= timedelta(microseconds=middle.microsecond)
        if middle <= low:
            break
        if middle.astimezone(where).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


@lru_cache(maxsize=50_000)
def plain_midnight(where: ZoneInfo, day: date) -> datetime | None:
    """UTC midnight of a day without a clock change from the day before it to the end of the day after; else None.

    On such a day, and over its following night, wall times are midnight plus their time of day.
    """
    offset = datetime.combine(day - _DAY, _MIDNIGHT, tzinfo=where).utcoffset()
    for ahead in (0, 1, 2):
        if datetime.combine(day + _DAY * ahead, _MIDNIGHT, tzinfo=where).utcoffset() != offset:
            return None
    assert offset is not None
    return (datetime.combine(day, _MIDNIGHT) - offset).replace(tzinfo=UTC)


def clock_time(moment: datetime, where: str) -> str:
    """How an operator reads an instant: `Mon 23 Nov 06:00 EST`, with seconds where it has any."""
    local = moment.astimezone(zone(where))
    return local.strftime("%a %-d %b %H:%M:%S %Z" if local.second else "%a %-d %b %H:%M %Z")


def length_in_words(length: timedelta) -> str:
    """`45 s`, `30 min`, `2 h 05 min`."""
    seconds = round(length.total_seconds())
    if seconds < 60 or (seconds < 600 and seconds % 60):
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
