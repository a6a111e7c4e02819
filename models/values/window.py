"""A maintenance window and what a task's window policy may be."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, time

from headway.models.values.instant import DEFAULT_TIMEZONE


class WindowPolicy(enum.StrEnum):
    AVOID = "avoid"
    """Never start inside a reserved window, nor run into one."""
    REQUIRE = "require"
    """Start only inside a window."""
    ALLOW = "allow"
    """Ignore windows."""


@dataclass(kw_only=True, frozen=True, slots=True)
class Window:
    """A weekly maintenance window."""

    name: str
    days: frozenset[int]
    """The local days of the start: 0 is Monday, 6 is Sunday."""
    start: time
    """A wall time of the window's zone."""
    end: time
    """As `start`; not later than it: of the next day."""
    timezone: str = DEFAULT_TIMEZONE
    released: frozenset[date] = frozenset()
    """The local start dates that operators have released."""


EVERY_DAY = frozenset(range(7))

DEFAULT_WINDOWS = (
    Window(name="Monday maintenance", days=frozenset({0}), start=time(0, 1), end=time(2, 0)),
    Window(name="Daily maintenance", days=EVERY_DAY, start=time(5, 0), end=time(6, 0)),
)
"""The windows of a new installation."""
