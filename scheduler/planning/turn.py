"""The turn, and the forecast made of turns.

`turn` is what the worker does once; `forecast` lives it through ahead of time (simulation.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headway.models.values.run import Failure, Run, Trigger
from headway.models.values.task import Task
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.forecast.hold_log import Planned
from headway.scheduler.planning.forecast.simulation import Simulation
from headway.scheduler.planning.occurrences import occurrences
from headway.scheduler.planning.rules import judge
from headway.scheduler.planning.windows import Calendar

__all__ = ["Planned", "forecast", "turn"]


def turn(board: Board, waiting: Iterable[Run], now: datetime, most: int | None = None) -> list[Run]:
    """The runs that may start now, begun on the board, in the order (due, UID): one pass over all waiting ones.

    A held run does not block those behind it. most: stop after so many starts.
    """
    started: list[Run] = []
    for run in sorted(waiting, key=lambda run: (run.due_at, run.task.uid, run.id)):
        if run.due_at > now or (most is not None and len(started) >= most):
            break
        if not judge(run, board, now):
            board.begin(run, now)
            started.append(run)
    return started


def forecast(
    tasks: Mapping[int, Task],
    calendar: Calendar,
    max_running: int,
    start: datetime,
    end: datetime,
    *,
    open_runs: Sequence[Run] = (),
    failures: Mapping[int, Failure] | None = None,
    last_start: Mapping[int, datetime] | None = None,
    lost: Mapping[str, Run] | None = None,
) -> list[Planned]:
    """Every run due in `[start, end)` and the chain steps that follow, in the order (start or due, UID).

    open_runs: what is open at `start` (waiting and active), for a forecast of what is stored. lost: the groups that
    failed runs keep until somebody resets them; in a forecast nobody does.
    """
    board = Board(tasks, calendar, max_running, failures=failures, last_start=last_start)
    for group, run in (lost or {}).items():
        board.active_by_group[group] = run
    simulation = Simulation(board, start)
    simulation.load(open_runs)
    dues = [(due, uid) for uid, task in tasks.items() for due in occurrences(task, start, end)]
    known = {(run.due_at, run.task.uid) for run in open_runs if run.trigger is Trigger.SCHEDULE}
    dues = sorted(due for due in dues if due not in known) if known else sorted(dues)
    simulation.live(dues)
    return sorted(simulation.rows, key=lambda run: (run.started_at or run.due_at, run.task.uid))
