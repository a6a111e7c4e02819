"""The facts that the rules look at: open runs, failures, last starts, windows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headway.models.values.run import ACTIVE, FINISHED_WELL, Failure, Run, RunStatus, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import OnErrors, Task
from headway.scheduler.planning.windows import Calendar


class Board:
    """All open runs and their tasks. Rules read it; a turn and the forecast move its runs on."""

    def __init__(
        self,
        tasks: Mapping[int, Task],
        calendar: Calendar,
        max_running: int,
        *,
        runs: Iterable[Run] = (),
        failures: Mapping[int, Failure] | None = None,
        last_start: Mapping[int, datetime] | None = None,
        engine_problem: str | None = None,
    ) -> None:
        self.tasks = tasks
        self.calendar = calendar
        self.max_running = max_running
        self.failures = dict(failures or {})
        self.last_start = dict(last_start or {})
        self.engine_problem = engine_problem
        self.active_by_task: dict[int, Run] = {}
        self.active_by_group: dict[str, Run] = {}
        self.active_count = 0
        self._later: dict[int, dict[Run, None]] = {}
        for run in runs:
            self.add(run)

    def add(self, run: Run) -> None:
        """Put an open run on the board, waiting or active."""
        if run.status in ACTIVE:
            self._occupy(run)
        if run.task.step > 1:
            self._later.setdefault(run.task.root, {})[run] = None

    def begin(self, run: Run, now: datetime) -> None:
        """The run starts now."""
        run.status = RunStatus.STARTING
        run.started_at = now
        self.last_start[run.task.uid] = now
        self._occupy(run)

    def finish(self, run: Run, status: RunStatus, now: datetime | None = None) -> None:
        """The run leaves the board: it ended, or leaves without having started."""
        if run.status in ACTIVE:
            self.active_count -= 1
            if self.active_by_task.get(run.task.uid) is run:
                del self.active_by_task[run.task.uid]
            if self.active_by_group.get(run.task.group) is run:
                del self.active_by_group[run.task.group]
        run.status = status
        run.ended_at = now
        if run.task.step > 1:
            self._later.get(run.task.root, {}).pop(run, None)

    def later_step(self, root: int) -> Run | None:
        """An open run of a later step in the chain that begins with the task `root`."""
        runs = self._later.get(root)
        return next(iter(runs)) if runs else None

    def _occupy(self, run: Run) -> None:
        self.active_count += 1
        self.active_by_task[run.task.uid] = run
        self.active_by_group[run.task.group] = run


def next_steps(run: Run, tasks: Mapping[int, Task]) -> Sequence[Run]:
    """The runs that follow a run that ended well, waiting from now on. Empty if none follows."""
    if run.status not in FINISHED_WELL or not run.follow:
        return ()
    assert run.started_at is not None and run.ended_at is not None
    made = []
    with_errors = run.status is RunStatus.COMPLETED_WITH_ERRORS
    for uid in run.task.successors:
        task = tasks[uid]
        stops = with_errors and OnErrors.STOP in (run.task.on_errors, task.on_errors)
        if stops or not task.scheduled:
            continue
        assert isinstance(task.schedule, After)
        due_at = max(run.started_at + task.schedule.spacing, run.ended_at)
        made.append(Run(task=task, due_at=due_at, trigger=Trigger.CHAIN))
    return made
