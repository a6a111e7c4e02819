"""How things are written on screen: times, lengths, sizes, states. Text in, text out; no Streamlit."""

import html
import re
from datetime import datetime, timedelta
from functools import cache
from zoneinfo import available_timezones

from headway.models.ledger.tables import RunRow
from headway.scheduler.planning.local_time import zone as known_zone

LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_MAKES_LINKS = re.compile(r"(?<=[:@])(?=\S)|(?<=www)(?=\\\.)|(?<=WWW)(?=\\\.)")


@cache
def zones() -> tuple[str, ...]:
    """The names of all time zones, in order."""
    return tuple(sorted(available_timezones()))


def in_zone(moment: datetime | None, zone: str, *, seconds: bool = False) -> str:
    """`2026-11-23 01:15 EST`: it sorts as it reads, and says its zone. Empty for None."""
    if moment is None:
        return ""
    return moment.astimezone(known_zone(zone)).strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} %Z")


def day_and_time(moment: datetime | None, zone: str) -> str:
    """`Mon 23 Nov 01:15 EST`, for sentences."""
    return "" if moment is None else moment.astimezone(known_zone(zone)).strftime("%a %-d %b %H:%M %Z")


def from_to(start: datetime, end: datetime, zone: str) -> str:
    """`Mon 23 Nov 05:00 to 06:00 EST`; with both days where it runs over midnight, with both zones on a DST night."""
    first, last = start.astimezone(known_zone(zone)), end.astimezone(known_zone(zone))
    if first.date() != last.date() or first.utcoffset() != last.utcoffset():
        return f"{day_and_time(start, zone)} to {day_and_time(end, zone)}"
    return f"{first:%a %-d %b %H:%M} to {last:%H:%M %Z}"


def length(value: timedelta | None) -> str:
    """`45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())
    if seconds < 90:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3600} h"


def clock_length(value: timedelta | None) -> str:
    """`mm:ss`, minutes growing past 99; empty for None."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def count(number: int, one: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"


def duration(run: RunRow) -> str:
    """From its start to its end as `mm:ss`; empty where one of them is missing."""
    return clock_length(run.ended_at - run.started_at) if run.started_at and run.ended_at else ""


def size_kb(run: RunRow) -> float:
    return round(run.bytes / 1024, 1)


def process_in_words(process_id: int, state: str) -> str:
    """What a process ID means, for people to whom a number means nothing."""
    if process_id == 0:
        return "0: it is not running"
    if state == "Execution failed":
        return f"{process_id}: it failed, and that process is not proven gone; a reset ends it and is safe"
    return f"{process_id}: it is running on the server; editing the task now could break the process"


def sentence(text: str) -> str:
    """The text with a capital in front; after "headway: " it begins with a small letter."""
    return text[:1].upper() + text[1:]


def plain(text: str) -> str:
    """Text for places that read Markdown (errors, toasts, labels): nothing in it is markup, link or picture."""
    escaped = _PUNCTUATION.sub(r"\\\1", text.replace("\n", "  \n"))
    return _MAKES_LINKS.sub("\u2060", escaped)


def tag(name: str, text: str) -> str:
    """The text as an HTML element, itself no HTML."""
    return f"<{name}>{html.escape(text)}</{name}>"
