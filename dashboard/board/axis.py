"""The day board's axis: real minutes from a local midnight, so that a DST day is as long as it is. No Streamlit."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from headway.models.values.zone import zone as known_zone
from headway.scheduler.planning.local_time import to_utc

_DAY = timedelta(days=1)
_HALF_HOUR = timedelta(minutes=30)


@dataclass(kw_only=True, frozen=True)
class Axis:
    """`[start, end)` in UTC: whole local days of a zone."""

    start: datetime
    end: datetime
    first: date
    days: int
    zone: str

    @property
    def minutes(self) -> float:
        return (self.end - self.start) / timedelta(minutes=1)

    @property
    def hours(self) -> float:
        return self.minutes / 60

    @property
    def clocks_change(self) -> bool:
        return self.hours != 24 * self.days

    def place(self, moment: datetime) -> float:
        """Minutes from the left edge, kept within the axis."""
        return min(max((moment - self.start) / timedelta(minutes=1), 0.0), self.minutes)

    def ticks(self) -> list[tuple[float, str]]:
        """(minutes, label): hours of one day, midnights of several.

        On a day on which the clocks change every hour has its mark, and the first of each offset its abbreviation.
        """
        found, offset, at = [], None, self.start
        while at < self.end:
            local = at.astimezone(known_zone(self.zone))
            if self.days > 1:
                if local.date() != (at - _HALF_HOUR).astimezone(known_zone(self.zone)).date():
                    found.append((self.place(at), f"{local:%a %-d %b}"))
            elif local.minute == 0 and (self.clocks_change or local.hour % 2 == 0):
                new = self.clocks_change and local.utcoffset() != offset
                found.append((self.place(at), f"{local:%H:%M %Z}" if new else f"{local:%H:%M}"))
                offset = local.utcoffset()
            at += _HALF_HOUR
        return found


def axis_of(day: date, days: int, zone: str) -> Axis:
    """From the day's local midnight to the midnight so many days later."""
    where = known_zone(zone)
    start = to_utc(datetime.combine(day, time()), where)
    return Axis(
        start=start, end=to_utc(datetime.combine(day + days * _DAY, time()), where), first=day, days=days, zone=zone
    )


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def title_of(axis: Axis) -> str:
    """`Mon 23 Nov 2026`, or the week's first and last day; with the hours of a day that has not 24."""
    last = axis.first + (axis.days - 1) * _DAY
    text = f"{axis.first:%a %-d %b %Y}" if axis.days == 1 else f"{axis.first:%a %-d %b} to {last:%a %-d %b %Y}"
    if axis.clocks_change:
        text += f" ({axis.hours:g} hours: the clocks change)"
    return text
