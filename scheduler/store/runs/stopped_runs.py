"""Runs whose process may be stopped: those of a host, and the message and the log line that say so."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import RunLogRow, RunRow, TaskRow, id_of
from headway.models.values.run import ACTIVE

_LOGGER = "headway"


def with_process_on(session: Session, host: str) -> Sequence[tuple[RunRow, str]]:
    """Runs in progress that have a process on the host, with their task's name."""
    return session.exec(
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(col(RunRow.status).in_(ACTIVE), RunRow.process_host == host, RunRow.process_id != 0)
    ).all()


def set_message(session: Session, row: RunRow, message: str, line: str, level: int, now: datetime) -> bool:
    """The run's message and a log line; False if another worker has written one, or the run has ended."""
    mine = update(RunRow).where(
        col(RunRow.id) == row.id,
        RunRow.claim == row.claim,  # type: ignore[arg-type]
        col(RunRow.status).in_(ACTIVE),
        RunRow.message == row.message,  # type: ignore[arg-type]
    )
    if count_changed(session, mine.values(message=message)) != 1:
        return False
    session.add(RunLogRow(run_id=id_of(row), at=now, level=level, logger=_LOGGER, message=line))
    return True
