"""Stand-ins for the world outside: a clock that tests move."""

from datetime import UTC, datetime, timedelta


def utc(text: str) -> datetime:
    """An ISO text as an aware UTC instant; one without an offset is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class FixedClock:
    """Stands still until a test moves it. Begins on Monday 23 November 2026, 10:01 in New York."""

    def __init__(self, at: datetime = datetime(2026, 11, 23, 15, 1, tzinfo=UTC)) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def set(self, text: str) -> datetime:
        """To that instant (UTC unless it has an offset)."""
        self.at = utc(text)
        return self.at

    def move(self, **length: float) -> datetime:
        """So much later, as timedelta takes it."""
        self.at += timedelta(**length)
        return self.at
