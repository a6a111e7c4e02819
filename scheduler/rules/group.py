"""Rule `group`: runs of one group never overlap."""

from datetime import datetime

from models.domain import Hold, RuleId, Run
from scheduler.board import Board


def group(run: Run, board: Board, now: datetime) -> Hold | None:
    other = board.active_by_group.get(run.task.group)
    if other is None or other is run:
        return None
    return Hold(RuleId.GROUP, None, _say, (run.task.group, other.task.name))


def _say(name: str, other: str) -> str:
    return f"group '{name}' is in use by '{other}'; it starts when that run has ended"
