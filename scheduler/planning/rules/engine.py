"""Rule `engine`: nothing starts without Prefect and a live worker."""

from datetime import datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.scheduler.planning.board import Board


def engine(run: Run, board: Board, now: datetime) -> Hold | None:
    if board.engine_problem is None:
        return None
    return Hold(RuleId.ENGINE, None, str, (board.engine_problem,))
