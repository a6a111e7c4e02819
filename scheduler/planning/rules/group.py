"""Rule `group`: runs of one group never overlap."""

from datetime import datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run, RunStatus
from headway.scheduler.planning.board import Board


def group(run: Run, board: Board, now: datetime) -> Hold | None:
    other = board.active_by_group.get(run.task.group)
    if other is None or other is run:
        return None
    if other.status is RunStatus.FAILED:
        return Hold(RuleId.GROUP, None, _say_lost, (run.task.group, other.task.name, other.id))
    return Hold(RuleId.GROUP, None, _say, (run.task.group, other.task.name))


def _say(name: str, other: str) -> str:
    return f"group '{name}' is in use by '{other}'; it starts when that run has ended"


def _say_lost(name: str, other: str, run_id: int) -> str:
    return (
        f"group '{name}' is kept by '{other}': contact with its run {run_id} was lost, and its process is not proven "
        f"gone; reset '{other}'"
    )
