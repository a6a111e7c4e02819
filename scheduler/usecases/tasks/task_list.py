"""The task list: what is scheduled and in progress, as `headway tasks` and the dashboard show it."""

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from headway.clock import Clock
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import ACTIVE, SHOWN_AS, RunStatus
from headway.privileges import require
from headway.scheduler.planning.rules import judge
from headway.scheduler.planning.step_label import step_shown
from headway.scheduler.store.boards import LoadedBoard, load_board
from headway.scheduler.store.queries import run_history
from headway.scheduler.store.queries.task_list import TaskQuery, all_tasks
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.runs.reset import needs_reset


@dataclass(kw_only=True, frozen=True)
class TaskLine:
    """One task of the list. state: Scheduled, or its open run's, or empty where nothing is to come.

    reason: why its waiting run waits. progress: percent. last_result: as shown, None if it never ran. stuck: why
    an operator should look at its run in progress, where that was asked about. step_shown: the step in words.
    """

    uid: int
    name: str
    type: str
    object: str
    step: int
    step_shown: str
    enabled: bool
    historical: bool
    state: str
    process_id: int
    attempts: int
    progress: float | None
    next_start_at: datetime | None
    last_result: str | None
    needs_reset: bool
    reason: str
    stuck: str = ""


def task_list(session: Session, clock: Clock, actor: Actor, *, everything: bool = False) -> list[TaskLine]:
    """Enabled tasks, or literally every one, by next start; those that nothing is planned for come last."""
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session)
    loaded = load_board(session, catalog, now)
    tasks = all_tasks(session, TaskQuery(everything=everything))
    lines = lines_of(session, catalog, loaded, tasks, now)
    return sorted(lines, key=lambda line: (line.next_start_at is None, line.next_start_at or now, line.uid))


def lines_of(
    session: Session, catalog: Catalog, loaded: LoadedBoard, rows: list[TaskRow], now: datetime
) -> list[TaskLine]:
    """The lines of these tasks, each with why its waiting run waits."""
    wanted = {row.uid for row in rows}
    open_rows: dict[int, RunRow] = {}
    for one in sorted(loaded.rows.values(), key=lambda one: (one.status not in ACTIVE, one.retry_at or one.due_at)):
        if one.task_uid in wanted:
            open_rows.setdefault(one.task_uid, one)
    waiting = {run.id: run for run in loaded.waiting}
    last = run_history.last_runs(session, [id_of(row) for row in rows])
    lines = []
    for row in rows:
        uid = id_of(row)
        run = open_rows.get(uid)
        reason = ""
        if run is not None and run.status is RunStatus.WAITING and run.id in waiting:
            reason = "; ".join(hold.reason for hold in judge(waiting[run.id], loaded.board, now))
        lines.append(task_line(row, run, last.get(uid), catalog, reason))
    return lines


def task_line(task: TaskRow, run: RunRow | None, last: RunRow | None, catalog: Catalog, reason: str) -> TaskLine:
    """The line of one task, with its open run and its last one."""
    known, task_type = catalog.tasks.get(id_of(task)), catalog.resolved.types.get(task.type)
    step = known.step if known else 1
    # A run in progress keeps the parameters it started with, whatever was edited since.
    parameters = task.parameters if run is None or run.parameters is None else run.parameters
    next_start_at = task.next_due_at if task.enabled and not task.historical else None
    if run is not None and run.status is RunStatus.WAITING:
        next_start_at = run.retry_at or run.due_at
    state = SHOWN_AS[run.status] if run is not None else ("Scheduled" if next_start_at else "")
    kept = next((one for one in (run, last) if one is not None and one.process_id), None)
    return TaskLine(
        uid=id_of(task),
        name=task.name,
        type=task.type,
        object=task.object,
        step=step,
        step_shown=step_shown(step, parameters, task_type.parameter_schema if task_type else None),
        enabled=task.enabled,
        historical=task.historical,
        state=state,
        process_id=kept.process_id if kept else 0,
        attempts=run.attempt if run else 0,
        progress=run.progress if run else None,
        next_start_at=next_start_at,
        last_result=SHOWN_AS[last.status] if last else None,
        needs_reset=needs_reset(task),
        reason=reason,
    )
