"""The steps behind a run that has ended: they come due, or are skipped."""

from datetime import datetime

from sqlmodel import Session

from models.domain import RAN, After, Run, RunStatus, Trigger
from models.tables import RunRow
from scheduler.board import next_steps
from scheduler.store.tasks import Book
from scheduler.store.transitions import add_run


def continue_chain(session: Session, book: Book, run: Run, row: RunRow, now: datetime) -> None:
    made = {step.task.uid for step in next_steps(run, book.tasks)}
    for step in next_steps(run, book.tasks):
        why = f"step {run.task.step} '{run.task.name}' ended {run.status.value.replace('_', ' ')} in run {row.id}"
        add_run(
            session,
            step.task,
            book.rows[step.task.uid],
            due_at=step.due_at,
            trigger=Trigger.CHAIN,
            cause_run_id=row.id,
            now=now,
            who="scheduler",
            why=why,
        )
    if not run.follow or run.status not in RAN:
        return
    for uid in run.task.successors:
        if uid not in made:
            skip_steps(session, book, uid, run, row, now)


def skip_steps(session: Session, book: Book, uid: int, run: Run, row: RunRow, now: datetime) -> None:
    """Skipped rows for the step and all behind it, naming the run that is the cause."""
    task = book.tasks[uid]
    if not task.scheduled:
        return
    assert isinstance(task.schedule, After)
    ended = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "was cancelled"}.get(run.status, "ended with errors")
    message = f"skipped: step {row.step} '{run.task.name}' {ended} in run {row.id}"
    due_at = max((run.started_at or now) + task.schedule.spacing, run.ended_at or now)
    skipped = add_run(
        session,
        task,
        book.rows[uid],
        due_at=due_at,
        trigger=Trigger.CHAIN,
        status=RunStatus.SKIPPED,
        message=message,
        cause_run_id=row.id,
        now=now,
        who="scheduler",
        why=message,
    )
    if skipped is None:
        return
    for behind in task.successors:
        skip_steps(session, book, behind, run, row, now)
