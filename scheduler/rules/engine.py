"""Rule `engine`: nothing starts without Prefect and a live worker."""

from datetime import datetime

from models.domain import Hold, RuleId, Run
from scheduler.board import Board


def engine(run: Run, board: Board, now: datetime) -> Hold | None:
    if board.engine_problem is None:
        return None
    return Hold(RuleId.ENGINE, None, str, (board.engine_problem,))
