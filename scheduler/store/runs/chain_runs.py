"""The steps behind a run that has ended: they come due, or are skipped."""

from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, select

from headway.models.ledger.tables import RunRow
from headway.models.values.run import RAN, Run, RunStatus, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.scheduler.planning.board import next_steps
from headway.scheduler.store.runs.transitions import add_run
from headway.scheduler.store.tasks import Catalog


def continue_chain(session: Session, catalog: Catalog, run: Run, row: RunRow, now: datetime) -> None:
    made = {step.task.uid for step in next_steps(run, catalog.tasks)}
    for step in next_steps(run, catalog.tasks):
        why = f"step {run.task.step} '{run.task.name}' ended {run.status.value.replace('_', ' ')} in run {row.id}"
        _add_step(session, catalog, step.task, step.due_at, row, now=now, why=why)
    if not run.follow or run.status not in RAN:
        return
    for uid in run.task.successors:
        if uid not in made:
            skip_steps(session, catalog, uid, run, row, now)


def skip_steps(session: Session, catalog: Catalog, uid: int, run: Run, row: RunRow, now: datetime) -> None:
    """Skipped rows for the step and all behind it, naming the run that is the cause."""
    task = catalog.tasks[uid]
    if not task.scheduled:
        return
    assert isinstance(task.schedule, After)
    ended = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "was cancelled"}.get(run.status, "ended with errors")
    message = f"skipped: step {row.step} '{run.task.name}' {ended} in run {row.id}"
    due_at = max((run.started_at or now) + task.schedule.spacing, run.ended_at or now)
    skipped = RunStatus.SKIPPED
    if not _add_step(session, catalog, task, due_at, row, status=skipped, message=message, now=now, why=message):
        return
    for behind in task.successors:
        skip_steps(session, catalog, behind, run, row, now)


def _add_step(session: Session, catalog: Catalog, task: Task, due_at: datetime, cause: RunRow, **values: Any) -> bool:
    """The step's row; False if it is there. Just after another run's, where both are due at the same instant."""
    facts = {"trigger": Trigger.CHAIN, "cause_run_id": cause.id, "who": "scheduler", **values}
    there = select(RunRow.id).where(RunRow.task_uid == task.uid, RunRow.cause_run_id == cause.id)
    while add_run(session, task, catalog.rows[task.uid], due_at=due_at, **facts) is None:
        if session.exec(there).first() is not None:
            return False
        due_at += timedelta(microseconds=1)
    return True
