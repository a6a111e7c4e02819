"""The runs of one task that an action on it looks at: open, kept, waiting."""

from collections.abc import Collection

from sqlmodel import Session, and_, col, func, select

from headway.models.ledger.tables import LockRow, RunEventRow, RunRow, TaskRow
from headway.models.values.run import ACTIVE, RunStatus, Trigger


def fresh_task(session: Session, uid: int | None) -> TaskRow | None:
    """The task as it is in the database now, whatever the session has read before."""
    return session.get(TaskRow, uid, populate_existing=True)


def fresh_run(session: Session, run_id: int) -> RunRow | None:
    """The run as it is in the database now, whatever the session has read before."""
    return session.get(RunRow, run_id, populate_existing=True)


def locked_run(session: Session, run_id: int) -> RunRow:
    """The run, which no other transaction changes until this one ends."""
    return session.get_one(RunRow, run_id, with_for_update=True)


def failed_run(session: Session, task: TaskRow) -> RunRow | None:
    """The run for which the task needs a reset."""
    return session.get(RunRow, task.failed_run_id) if task.failed_run_id else None


def active_run(session: Session, task: TaskRow) -> RunRow | None:
    """The task's run that is starting or running."""
    active = select(RunRow).where(
        RunRow.task_uid == task.uid, col(RunRow.status).in_(ACTIVE), col(RunRow.ended_at).is_(None)
    )
    return session.exec(active).first()


def run_keeping_a_lock(session: Session, task: TaskRow) -> RunRow | None:
    """A lost run that keeps its group, though another run of the task has ended well since."""
    kept = select(RunRow).join(LockRow, col(LockRow.run_id) == col(RunRow.id)).where(RunRow.task_uid == task.uid)
    return session.exec(kept.where(col(RunRow.ended_at).is_not(None))).first()


def waiting_run_now(session: Session, task: TaskRow) -> RunRow | None:
    """The run that an earlier Run now added and that still waits.

    It locks the task's row first: of two that ask at once the second finds the run of the first.
    """
    session.exec(select(TaskRow.uid).where(TaskRow.uid == task.uid).with_for_update()).all()
    waiting = select(RunRow).where(
        RunRow.task_uid == task.uid, RunRow.status == RunStatus.WAITING, RunRow.trigger == Trigger.MANUAL
    )
    return session.exec(waiting).first()


def locks_of(session: Session, run_id: int) -> list[str]:
    """The names of the locks that the run holds."""
    return sorted(session.exec(select(LockRow.name).where(LockRow.run_id == run_id)).all())


def skipped_behind(session: Session, run_id: int) -> list[str]:
    """The tasks whose step was skipped because of this run."""
    named = select(TaskRow.name).join(RunRow, col(RunRow.task_uid) == col(TaskRow.uid))
    return list(session.exec(named.where(RunRow.cause_run_id == run_id, RunRow.status == RunStatus.SKIPPED)).all())


def open_states(session: Session, uid: int) -> list[tuple[int, RunStatus]]:
    """The task's open runs with their status, by ID."""
    found = select(RunRow.id, RunRow.status).where(RunRow.task_uid == uid, col(RunRow.ended_at).is_(None))
    return sorted((run_id, RunStatus(status)) for run_id, status in session.exec(found).all() if run_id is not None)


def tasks_with_a_process(session: Session, names: Collection[str]) -> set[str]:
    """Those of these tasks that have a process ID: of an open run, or of a lost one that needs a reset."""
    of_task = col(RunRow.task_uid) == col(TaskRow.uid), col(RunRow.ended_at).is_(None)
    lost = (col(RunRow.id) == col(TaskRow.failed_run_id),)
    found: set[str] = set()
    for which in (of_task, lost):  # not in one condition: among a million runs no index would help
        found |= set(session.exec(select(TaskRow.name).join(RunRow, and_(*which)).where(RunRow.process_id != 0)).all())
    return found.intersection(names)


def newest_event(session: Session) -> int | None:
    """The ID of the newest event of any run: another one as soon as any run has moved on."""
    return session.exec(select(func.max(RunEventRow.id))).one()
