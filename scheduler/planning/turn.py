"""The turn: one pass over the waiting runs, which decides what starts now."""

from collections.abc import Iterable
from datetime import datetime

from headway.models.values.run import Run
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.rules import judge


def turn(board: Board, waiting: Iterable[Run], now: datetime, most: int | None = None) -> list[Run]:
    """The runs that may start now, begun on the board, in the order (due, UID).

    A held run does not block those behind it. most: stop after this number of starts.
    """
    started: list[Run] = []
    for run in sorted(waiting, key=lambda run: (run.due_at, run.task.uid, run.id)):
        if run.due_at > now or (most is not None and len(started) >= most):
            break
        if not judge(run, board, now):
            board.begin(run, now)
            started.append(run)
    return started
