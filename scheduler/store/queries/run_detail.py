"""All that is kept of one run: its events, files and log lines, and the runs that its end made."""

import logging

from sqlmodel import Session, col, func, select

from headway.models.ledger.tables import RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow

ERROR = logging.ERROR


def run_with_task(session: Session, run_id: int) -> tuple[RunRow, TaskRow] | None:
    """The run and its task; None where there is no such run (any more)."""
    both = select(RunRow, TaskRow).join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
    found = session.exec(both.where(RunRow.id == run_id)).first()
    return None if found is None else (found[0], found[1])


def caused_runs(session: Session, run_id: int, *, limit: int = 50) -> list[tuple[RunRow, str]]:
    """The runs that the run's end made or kept from running, with their task's name."""
    named = select(RunRow, TaskRow.name).join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
    caused = named.where(RunRow.cause_run_id == run_id).order_by(col(RunRow.id)).limit(limit)
    return list(session.exec(caused).all())


def run_events(session: Session, run_id: int) -> list[RunEventRow]:
    """What happened to the run, in order."""
    return list(session.exec(select(RunEventRow).where(RunEventRow.run_id == run_id).order_by(col(RunEventRow.id))))


def run_files(session: Session, run_id: int) -> list[RunFileRow]:
    """The files that the run has delivered, in order."""
    return list(session.exec(select(RunFileRow).where(RunFileRow.run_id == run_id).order_by(col(RunFileRow.id))))


def run_lines(
    session: Session,
    run_id: int,
    *,
    after: int = 0,
    before: int | None = None,
    search: str = "",
    least_level: int = 0,
    limit: int = 1000,
) -> list[RunLogRow]:
    """Log lines in order: those behind the ID `after`, or, with `before`, the last ones before that ID."""
    statement = select(RunLogRow).where(RunLogRow.run_id == run_id)
    if least_level:
        statement = statement.where(RunLogRow.level >= least_level)
    if search:
        statement = statement.where(col(RunLogRow.message).icontains(search, autoescape=True))
    if before is None:
        in_order = statement.where(col(RunLogRow.id) > after).order_by(col(RunLogRow.id))
        return list(session.exec(in_order.limit(limit)).all())
    newest = statement.where(col(RunLogRow.id) < before).order_by(col(RunLogRow.id).desc())
    return list(reversed(session.exec(newest.limit(limit)).all()))


def last_lines(session: Session, run_id: int, count: int) -> list[RunLogRow]:
    """The run's last log lines, in order."""
    newest = select(RunLogRow).where(RunLogRow.run_id == run_id).order_by(col(RunLogRow.id).desc())
    return list(reversed(session.exec(newest.limit(count)).all()))


def error_lines(session: Session, run: RunRow) -> int:
    """How many error lines the run's latest attempt has logged."""
    counted = select(func.count()).where(RunLogRow.run_id == run.id, col(RunLogRow.level) >= ERROR)
    return session.exec(counted if run.started_at is None else counted.where(RunLogRow.at >= run.started_at)).one()
