"""A maintenance window and what a task's window policy may be."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, time

from headway.models.values.instant import DEFAULT_TIMEZONE


class WindowPolicy(enum.StrEnum):
    AVOID = "avoid"
    REQUIRE = "require"
    ALLOW = "allow"


@dataclass(kw_only=True, frozen=True, slots=True)
class Window:
    """A weekly maintenance window: wall times of its own zone; `end <= start` means the next day.

    days: 0 = Monday .. 6 = Sunday, the local day of the start. released: the local start dates that operators
    gave back.
    """

    name: str
    days: frozenset[int]
    start: time
    end: time
    timezone: str = DEFAULT_TIMEZONE
    released: frozenset[date] = frozenset()


EVERY_DAY = frozenset(range(7))


DEFAULT_WINDOWS = (
    Window(name="Monday maintenance", days=frozenset({0}), start=time(0, 1), end=time(2, 0)),
    Window(name="Daily maintenance", days=EVERY_DAY, start=time(5, 0), end=time(6, 0)),
)
