"""Local wall times to UTC, across clock changes."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)
_MIDNIGHT = time()


def to_utc(wall: datetime, where: tzinfo, *, later: bool = False) -> datetime:
    """The instant of a naive wall time.

    A wall time that a DST change skips becomes the first instant after the gap. Of two equal wall times the earlier
    one counts, with `later` the later one.
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
    """The transition that skips `wall`: the instant at which the offset changes."""
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
