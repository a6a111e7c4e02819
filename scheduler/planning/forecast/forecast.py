"""The forecast: the turns of days to come, simulated ahead of time."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from headway.models.values.run import Failure, Run, Trigger
from headway.models.values.task import Task
from headway.scheduler.planning.board import Board
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.forecast.simulation import Simulation
from headway.scheduler.planning.occurrences import occurrences
from headway.scheduler.planning.windows import Calendar


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

    open_runs: the stored runs that are open at `start`, waiting and active. lost: the failed runs that keep their
    groups, by group; the forecast assumes that they are not reset.
    """
    board = Board(tasks, calendar, max_running, failures=failures, last_start=last_start)
    for group, run in (lost or {}).items():
        board.active_by_group[group] = run
    simulation = Simulation(board, start)
    simulation.load(open_runs)
    dues = [(due, uid) for uid, task in tasks.items() for due in occurrences(task, start, end)]
    known = {(run.due_at, run.task.uid) for run in open_runs if run.trigger is Trigger.SCHEDULE}
    dues = sorted(due for due in dues if due not in known) if known else sorted(dues)
    simulation.run(dues)
    return sorted(simulation.rows, key=lambda run: (run.started_at or run.due_at, run.task.uid))
