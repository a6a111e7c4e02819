"""Lengths of time, and counts."""

from datetime import timedelta


def length(value: timedelta | None) -> str:
    """`45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`: rounded down to what fits a cell. Empty for None."""
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


def length_in_words(value: timedelta) -> str:
    """`45 s`, `30 min`, `2 h 05 min`, for the sentences of rules and lint: to the second below ten minutes."""
    seconds = round(value.total_seconds())
    if seconds < 60 or (seconds < 600 and seconds % 60):
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def clock_length(value: timedelta | None) -> str:
    """`mm:ss`, minutes growing past 99. Empty for None."""
    if value is None:
        return ""
    seconds = int(value.total_seconds())
    return f"{seconds // 60:02d}:{seconds % 60:02d}"


def count(number: int, one: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
