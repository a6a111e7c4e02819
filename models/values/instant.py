"""Instants: aware UTC datetimes, and the few that have a name. Standard library only, as all values."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

FOREVER = datetime.max.replace(tzinfo=UTC)
"""An instant that never comes: the end of a window that never closes."""


LEAVES_AFTER = timedelta(hours=192)
"""A run that is still held this long after its due leaves the forecast; windows look as far ahead."""


DEFAULT_TIMEZONE = "America/New_York"
"""The zone of a new installation."""


def utc(moment: datetime) -> datetime:
    """The same instant as aware UTC. Raises ValueError for a naive one, which is a programming error."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: say which zone it is in")
    return moment.astimezone(UTC)
