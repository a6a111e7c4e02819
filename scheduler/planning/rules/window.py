"""Rule `window`: the task's window policy."""

from datetime import datetime, timedelta

from headway.models.values.instant import FOREVER
from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.windows import Calendar
from headway.wording import clock_time, length_in_words


def window(run: Run, board: Board, now: datetime) -> Hold | None:
    task = run.task
    clears_at = board.calendar.clears_at(task.window, task.estimate, now)
    if clears_at is None:
        return None
    until = None if clears_at == FOREVER else clears_at
    say = _say_avoid if task.window is WindowPolicy.AVOID else _say_require
    return Hold(RuleId.WINDOW, until, say, (board.calendar, task.estimate, now, until, task.timezone))


def _say_avoid(
    calendar: Calendar, estimate: timedelta | None, now: datetime, until: datetime | None, timezone: str
) -> str:
    then = f"it may start {clock_time(until, timezone)}" if until else "no end of it is in sight"
    inside = calendar.reserved.at(now)
    if inside is not None:
        return f"inside the reserved maintenance window '{' + '.join(inside.names)}'; {then}"
    following = calendar.reserved.after(now)
    assert following is not None and estimate is not None
    return (
        f"it takes about {length_in_words(estimate)} and would run into the maintenance window "
        f"'{' + '.join(following.names)}' at {clock_time(following.start, timezone)}; {then}"
    )


def _say_require(
    calendar: Calendar, estimate: timedelta | None, now: datetime, until: datetime | None, timezone: str
) -> str:
    if until is None:
        return "it must run in a maintenance window, and there is none; define one, or change the task's policy"
    if calendar.every.at(now) is None:
        return f"it must run in a maintenance window; the next that fits begins {clock_time(until, timezone)}"
    assert estimate is not None
    return (
        f"it takes about {length_in_words(estimate)}, longer than what is left of this maintenance window; "
        f"the next that fits begins {clock_time(until, timezone)}"
    )
