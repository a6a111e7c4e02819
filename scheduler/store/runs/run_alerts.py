"""Runs that an alert is due about, and the mark that an alert was given: the worker that sets it sends the mail."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import update
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.run import ACTIVE, RunStatus


def long_running(session: Session, limit: timedelta, now: datetime) -> Sequence[tuple[RunRow, str]]:
    """Runs in progress for longer than that with their task's name, of which no alert was given."""
    return session.exec(
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(
            col(RunRow.ended_at).is_(None),
            col(RunRow.status).in_(ACTIVE),
            col(RunRow.started_at) <= now - limit,
            col(RunRow.alerted_at).is_(None),
        )
    ).all()


def mark_long_running(session: Session, run_id: int, now: datetime) -> bool:
    """False where another worker was first."""
    mark = update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.alerted_at).is_(None))
    return count_changed(session, mark.values(alerted_at=now)) == 1


def failures(
    session: Session, *, ended_after: datetime, started_after: datetime, most: int
) -> Sequence[tuple[RunRow, TaskRow]]:
    """Failed runs with their task, of which no alert was given, the first to end first."""
    return session.exec(
        select(RunRow, TaskRow)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(
            RunRow.status == RunStatus.FAILED,
            col(RunRow.sorted_at) > started_after,
            col(RunRow.ended_at) > ended_after,
            col(RunRow.failure_alerted_at).is_(None),
        )
        .order_by(col(RunRow.ended_at), col(RunRow.id))
        .limit(most)
    ).all()


def mark_failure(session: Session, run_id: int, now: datetime) -> bool:
    """False where another worker was first."""
    mark = update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.failure_alerted_at).is_(None))
    return count_changed(session, mark.values(failure_alerted_at=now)) == 1
