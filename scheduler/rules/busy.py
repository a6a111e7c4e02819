"""Rule `busy`: a task never overlaps itself."""

from datetime import datetime

from models.domain import Hold, RuleId, Run
from scheduler.board import Board


def busy(run: Run, board: Board, now: datetime) -> Hold | None:
    other = board.active_by_task.get(run.task.uid)
    if other is None or other is run:
        return None
    return Hold(RuleId.BUSY, None, _say, (run.task.name,))


def _say(name: str) -> str:
    return f"'{name}' itself is still in progress; it starts when that run has ended"
