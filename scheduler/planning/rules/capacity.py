"""Rule `capacity`: at most `max_running` runs at a time."""

from datetime import datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.scheduler.planning.board import Board


def capacity(run: Run, board: Board, now: datetime) -> Hold | None:
    if board.active_count < board.max_running:
        return None
    return Hold(RuleId.CAPACITY, None, _say, (board.active_count, board.max_running))


def _say(running: int, most: int) -> str:
    return f"{running} runs are in progress and max_running is {most}; it starts when one of them has ended"
