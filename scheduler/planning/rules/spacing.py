"""Rule `spacing`: consecutive steps keep their distance, and a chain does not overtake itself."""

from datetime import datetime, timedelta

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.models.values.schedule import After
from headway.scheduler.planning.board import Board
from headway.wording import clock_time, length_in_words


def spacing(run: Run, board: Board, now: datetime) -> Hold | None:
    task = run.task
    schedule = task.schedule
    if isinstance(schedule, After):
        return _after_predecessor(run, schedule, board, now)
    if not task.successors:
        return None
    later = board.later_step(task.uid)
    if later is None:
        return None
    return Hold(RuleId.SPACING, None, _say_later_step, (later.task.step, later.task.name))


def _after_predecessor(run: Run, schedule: After, board: Board, now: datetime) -> Hold | None:
    before = board.tasks[schedule.predecessor]
    active = board.active_by_task.get(before.uid)
    if active is not None:
        return Hold(RuleId.SPACING, None, _say_in_progress, (before.step, before.name))
    started_at = board.last_start.get(before.uid)
    if started_at is None or now >= started_at + schedule.spacing:
        return None
    until = started_at + schedule.spacing
    facts = (before.step, before.name, started_at, schedule.spacing, until, run.task.timezone)
    return Hold(RuleId.SPACING, until, _say_too_soon, facts)


def _say_later_step(step: int, name: str) -> str:
    return f"step {step} '{name}' of its chain is not done yet; step 1 starts again when the chain is through"


def _say_in_progress(step: int, name: str) -> str:
    return f"step {step} '{name}' before it is still in progress"


def _say_too_soon(step: int, name: str, started_at: datetime, length: timedelta, until: datetime, timezone: str) -> str:
    return (
        f"step {step} '{name}' started {clock_time(started_at, timezone)}; {length_in_words(length)} must pass, "
        f"until {clock_time(until, timezone)}"
    )
