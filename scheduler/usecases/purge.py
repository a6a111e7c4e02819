"""Purge old runs and their logs. It never deletes everything."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, not_
from sqlmodel import Session, col, func, select

from models.domain import Actor, Privilege
from models.tables import LockRow, RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow
from scheduler.clock import Clock
from scheduler.errors import InvalidInput
from scheduler.privileges import require
from scheduler.store import audit

_CHUNK = 500


@dataclass(frozen=True)
class Purged:
    """How many runs went, or in a dry run would go, by (type, result), and what stays although it is old enough."""

    before: datetime
    runs: dict[tuple[str, str], int]
    lines: int
    kept: int

    @property
    def total(self) -> int:
        return sum(self.runs.values())


def purge(session: Session, clock: Clock, actor: Actor, older_than_days: int, *, dry_run: bool = False) -> Purged:
    """Delete runs that ended more than so many days ago, with their events, log lines and receipts.

    Open runs, each task's last run, unreset failures and the audit trail stay.
    """
    require(actor, Privilege.PURGE)
    if older_than_days < 0:
        raise InvalidInput(f"--older-than {older_than_days}: give a number of days, 0 or more")
    now = clock.now()
    before = now - timedelta(days=older_than_days)
    old = and_(col(RunRow.ended_at).is_not(None), col(RunRow.ended_at) < before)
    going = and_(old, not_(_stays()))
    counts = session.execute(
        select(RunRow.type, RunRow.status, func.count()).where(going).group_by(RunRow.type, RunRow.status)
    ).all()
    ids = select(RunRow.id).where(going)
    lines = session.exec(select(func.count()).select_from(RunLogRow).where(col(RunLogRow.run_id).in_(ids))).one()
    all_old = session.exec(select(func.count()).select_from(RunRow).where(old)).one()
    found = Counter({(kind, status.value): count for kind, status, count in counts})
    purged = Purged(before, dict(sorted(found.items())), lines, all_old - found.total())
    if dry_run or not purged.total:
        return purged
    rows = session.exec(select(func.count()).select_from(RunRow)).one()
    _delete(session, list(session.exec(ids).all()))
    after = {"runs": rows - purged.total, "lines deleted": purged.lines, "ended before": before.isoformat()}
    audit.record(session, now, actor, "purge", "task log", before={"runs": rows}, after=after)
    return purged


def _stays() -> ColumnElement[bool]:
    """What must not go: each task's last run, failures nobody has reset, whatever still holds a lock."""
    last = select(func.max(RunRow.id)).group_by(col(RunRow.task_uid))
    return (
        col(RunRow.id).in_(last)
        | col(RunRow.id).in_(select(TaskRow.last_run_id).where(col(TaskRow.last_run_id).is_not(None)))
        | col(RunRow.id).in_(select(TaskRow.failed_run_id).where(col(TaskRow.failed_run_id).is_not(None)))
        | col(RunRow.id).in_(select(LockRow.run_id))
    )


def _delete(session: Session, ids: list[int | None]) -> None:
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        for table in (RunEventRow, RunLogRow, RunFileRow):
            session.execute(delete(table).where(col(table.run_id).in_(part)))
        session.execute(delete(RunRow).where(col(RunRow.id).in_(part)))
