"""Schedules in words."""

from datetime import timedelta

from headway.models.values.schedule import After, Once
from headway.models.values.task import Task

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def schedule_in_words(task: Task, before: str) -> str:
    """`every day at 01:15 (America/New_York)`. before: for a chain's later step, the name of the step before."""
    schedule = task.schedule
    if schedule is None:
        return "no times of its own: it runs when somebody asks"
    if isinstance(schedule, Once):
        return f"once, on {schedule.at:%a %-d %b %Y at %H:%M} ({task.timezone})"
    if isinstance(schedule, After):
        minutes = int(schedule.spacing.total_seconds() // 60)
        length = f"{minutes} min" if schedule.spacing >= timedelta(minutes=1) else f"{schedule.spacing.seconds} s"
        return f"after '{before}', at least {length} behind its start"
    words = cron_in_words(schedule.expression)
    return f"{words} ({task.timezone})" if words else f"cron {schedule.expression} ({task.timezone})"


def cron_in_words(expression: str) -> str | None:
    """A common cron expression in words; None for one that is better read as it stands."""
    fields = expression.split()
    if len(fields) != 5:
        return None
    minute, hour, day, month, weekday = fields
    if month != "*" or not minute.isdecimal():
        if minute.startswith("*/") and fields[1:] == ["*"] * 4:
            return f"every {minute[2:]} minutes"
        return None
    when = f"at minute {int(minute)} of every hour" if hour == "*" else _clock_times(minute, hour)
    if when is None:
        return None
    if day == "*" and weekday == "*":
        return when if hour == "*" else f"every day at {when}"
    if day == "*" and (days := _weekdays(weekday)):
        return f"{days} {when}" if hour == "*" else f"{days} at {when}"
    if weekday == "*" and day.isdecimal():
        return f"on day {int(day)} of every month at {when}" if hour != "*" else None
    return None


def _clock_times(minute: str, hour: str) -> str | None:
    hours = hour.split(",")
    if not all(one.isdecimal() for one in hours):
        return None
    return ", ".join(f"{int(one):02d}:{int(minute):02d}" for one in hours)


def _weekdays(field: str) -> str | None:
    names = {name[:3].lower(): number for number, name in enumerate(_DAYS[:7])}
    numbers: list[int] = []
    for part in field.lower().split(","):
        ends = [str(names.get(one, one)) for one in part.split("-")]
        if not all(one.isdecimal() and int(one) <= 7 for one in ends) or len(ends) > 2:
            return None
        numbers += range(int(ends[0]), int(ends[-1]) + 1)
    if sorted(set(numbers)) == [1, 2, 3, 4, 5]:
        return "Monday to Friday"
    return ", ".join(_DAYS[number] for number in numbers) or None
