"""The time, as something that can be replaced."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """This instant, aware UTC."""
        ...


class SystemClock:
    """The machine's clock: the only place that reads it."""

    def now(self) -> datetime:
        return datetime.now(UTC)
