"""Rule `reset`: a failed task waits until an operator resets it."""

from datetime import datetime

from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run
from headway.models.values.task import OnFailure
from headway.scheduler.planning.board import Board


def reset(run: Run, board: Board, now: datetime) -> Hold | None:
    failure = board.failures.get(run.task.uid)
    if failure is None or run.task.on_failure is OnFailure.CONTINUE:
        return None
    return Hold(RuleId.RESET, None, _say, (run.task.name, failure.run_id))


def _say(name: str, run_id: int) -> str:
    return f"'{name}' failed in run {run_id} and has not been reset; look at why, then reset it"
