"""Instants as an operator reads them, in a zone."""

from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

from headway.models.values.zone import zone as known_zone


@cache
def zones() -> tuple[str, ...]:
    """The names of all time zones, in order."""
    return tuple(sorted(available_timezones()))


def in_zone(moment: datetime | None, zone: str, *, seconds: bool = False) -> str:
    """`2026-11-23 01:15 EST`, for tables: it sorts as it reads, and says its zone. Empty for None."""
    if moment is None:
        return ""
    return moment.astimezone(known_zone(zone)).strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} %Z")


def in_zone_briefly(moment: datetime | None, zone: str) -> str:
    """`11-23 01:15`, for narrow tables. Empty for None."""
    return "" if moment is None else moment.astimezone(known_zone(zone)).strftime("%m-%d %H:%M")


def day_and_time(moment: datetime | None, zone: str) -> str:
    """`Mon 23 Nov 01:15 EST`, for sentences on screen. Empty for None."""
    return "" if moment is None else moment.astimezone(known_zone(zone)).strftime("%a %-d %b %H:%M %Z")


def clock_time(moment: datetime, zone: str) -> str:
    """`Mon 23 Nov 06:00 EST`, for the sentences of rules and lint: with seconds where the instant has any."""
    local = moment.astimezone(known_zone(zone))
    return local.strftime("%a %-d %b %H:%M:%S %Z" if local.second else "%a %-d %b %H:%M %Z")


def from_to(start: datetime, end: datetime, zone: str) -> str:
    """`Mon 23 Nov 05:00 to 06:00 EST`; with both days where it runs over midnight, with both zones on a DST night."""
    first, last = start.astimezone(known_zone(zone)), end.astimezone(known_zone(zone))
    if first.date() != last.date() or first.utcoffset() != last.utcoffset():
        return f"{day_and_time(start, zone)} to {day_and_time(end, zone)}"
    return f"{first:%a %-d %b %H:%M} to {last:%H:%M %Z}"
