"""Rule `busy`: a task never overlaps itself."""

from datetime import datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.scheduler.planning.board import Board


def busy(run: Run, board: Board, now: datetime) -> Hold | None:
    other = board.active_by_task.get(run.task.uid)
    if other is None or other is run:
        return None
    return Hold(RuleId.BUSY, None, _say, (run.task.name,))


def _say(name: str) -> str:
    return f"'{name}' itself is still in progress; it starts when that run has ended"
