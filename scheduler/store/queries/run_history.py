"""What is read for lists, reports and detail pages: the task list, the task log, one run."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, func, or_, select, tuple_

from headway.models.ledger.tables import RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow
from headway.models.values.run import RAN, RunStatus


@dataclass(kw_only=True, frozen=True)
class LogFilter:
    """Which runs of the task log: all parts must hold. `errors`: failed, with errors, missed or skipped only."""

    task_uid: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    errors: bool = False
    types: Sequence[str] = ()


BAD = (RunStatus.FAILED, RunStatus.COMPLETED_WITH_ERRORS, RunStatus.MISSED, RunStatus.SKIPPED)


def task_log(
    session: Session, which: LogFilter, *, limit: int | None = 200, before: tuple[datetime, int] | None = None
) -> list[tuple[RunRow, str]]:
    """Ended runs with their task's name, newest first; a page begins after the key (sorted_at, id) `before`."""
    statement = (
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(col(RunRow.ended_at).is_not(None))
        .order_by(col(RunRow.sorted_at).desc(), col(RunRow.id).desc())
        .limit(limit)
    )
    if which.task_uid is not None:
        statement = statement.where(RunRow.task_uid == which.task_uid)
    if which.since is not None:
        statement = statement.where(col(RunRow.sorted_at) >= which.since)
    if which.until is not None:
        statement = statement.where(col(RunRow.sorted_at) < which.until)
    if which.errors:
        statement = statement.where(or_(col(RunRow.status).in_(BAD), col(RunRow.errors) > 0))
    if which.types:
        statement = statement.where(col(RunRow.type).in_(which.types))
    if before is not None:
        statement = statement.where(tuple_(RunRow.sorted_at, RunRow.id) < before)
    return list(session.exec(statement).all())


def run_events(session: Session, run_id: int) -> list[RunEventRow]:
    return list(session.exec(select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(col(RunEventRow.id))))


def error_lines(session: Session, run: RunRow) -> int:
    """How many error lines the run's latest attempt has logged."""
    counted = select(func.count()).where(RunLogRow.run_id == run.id, col(RunLogRow.level) >= logging.ERROR)
    return session.exec(counted if run.started_at is None else counted.where(RunLogRow.at >= run.started_at)).one()


def run_lines(
    session: Session, run_id: int, *, after: int = 0, limit: int = 1000, least_level: int = 0
) -> list[RunLogRow]:
    """Log lines in order, from the one after the ID `after`."""
    return list(
        session.exec(
            select(RunLogRow)
            .where(RunLogRow.run_id == run_id, col(RunLogRow.id) > after, RunLogRow.level >= least_level)
            .order_by(col(RunLogRow.id))
            .limit(limit)
        )
    )


def last_lines(session: Session, run_id: int, count: int) -> list[RunLogRow]:
    rows = session.exec(
        select(RunLogRow).where(RunLogRow.run_id == run_id).order_by(col(RunLogRow.id).desc()).limit(count)
    ).all()
    return list(reversed(rows))


def run_files(session: Session, run_id: int) -> list[RunFileRow]:
    return list(session.exec(select(RunFileRow).where(RunFileRow.run_id == run_id).order_by(col(RunFileRow.id))))


def last_runs(session: Session, uids: Sequence[int]) -> dict[int, RunRow]:
    """The last run of each task that ended after having started, by the task's UID."""
    rows = session.exec(
        select(RunRow)
        .join(TaskRow, col(TaskRow.last_run_id) == col(RunRow.id))
        .where(col(TaskRow.uid).in_(uids), col(RunRow.status).in_(RAN))
    ).all()
    return {row.task_uid: row for row in rows}
