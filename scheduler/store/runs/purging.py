"""What a purge looks for and deletes: old runs with their events, log lines and receipts."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, case, delete, literal, true
from sqlmodel import Session, col, func, select

from headway.models.columns import UtcDateTime
from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import LockRow, RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow, TaskTypeRow
from headway.scheduler.planning.retention import Retention

CHUNK_RUNS = 500
CHUNK_LINES = 20_000
"""So much is deleted in one transaction: others who want to write wait for some tenths of a second at most."""
_NEVER = datetime.min.replace(year=1900)


def known_types(session: Session) -> set[str]:
    """The task types that are deployed or that tasks have."""
    return {*session.exec(select(TaskTypeRow.name)).all(), *session.exec(select(TaskRow.type).distinct()).all()}


def count_runs(session: Session) -> int:
    """How many runs the ledger holds."""
    return session.exec(select(func.count()).select_from(RunRow)).one()


def staying_runs(session: Session) -> Iterator[tuple[int, str]]:
    """The ids of runs that must not go, and why; an id may come twice.

    Once an ended run is not among them it never is again: a task's last run is only followed by others.
    """
    yield from ((one, "a failure that nobody has reset") for one in _ids(session, col(TaskRow.failed_run_id)))
    yield from ((one, "still holds a lock") for one in _ids(session, col(LockRow.run_id)))
    newest = select(func.max(RunRow.id)).group_by(col(RunRow.task_uid))
    yield from ((one, "the last run of its task") for one in session.exec(newest).all() if one is not None)
    yield from ((one, "the last run of its task") for one in _ids(session, col(TaskRow.last_run_id)))


def _ids(session: Session, column: Any) -> list[int]:
    return [one for one in session.execute(select(column).where(column.is_not(None))).scalars() if one is not None]


def count_old(session: Session, retention: Retention, now: datetime) -> Counter[tuple[str, str]]:
    """Old runs by (type, result), those that stay among them."""
    kinds = select(RunRow.type, RunRow.status, func.count()).where(_old(retention, now))
    counts = session.execute(kinds.group_by(RunRow.type, RunRow.status))
    return Counter({(kind, status.value): count for kind, status, count in counts})


def old_among(session: Session, retention: Retention, now: datetime, ids: list[int]) -> Iterator[tuple[int, str, str]]:
    """Those of these runs that are old: ID, type and result."""
    for part in parts_of(ids):
        old = select(RunRow.id, RunRow.type, RunRow.status).where(_old(retention, now), col(RunRow.id).in_(part))
        yield from ((row_id, kind, status.value) for row_id, kind, status in session.execute(old))


def count_old_lines(session: Session, retention: Retention, now: datetime, kept: list[int]) -> int:
    """How many log lines old runs have, but for the kept ones."""
    lines = select(func.count()).select_from(RunLogRow)
    ids = select(RunRow.id).where(_old(retention, now))
    count = session.exec(lines.where(col(RunLogRow.run_id).in_(ids))).one()
    for part in parts_of(kept):
        theirs = ids.where(col(RunRow.id).in_(part))
        count -= session.exec(lines.where(col(RunLogRow.run_id).in_(theirs))).one()
    return count


def next_old(session: Session, retention: Retention, now: datetime, *, behind: int) -> list[int]:
    """The IDs of old runs behind that ID, some at a time, in their order."""
    statement = select(RunRow.id).where(_old(retention, now), col(RunRow.id) > behind)
    found = session.exec(statement.order_by(col(RunRow.id)).limit(CHUNK_RUNS)).all()
    return [one for one in found if one is not None]


def delete_some_lines(session: Session, ids: list[int]) -> int:
    """Delete log lines of these runs, at most CHUNK_LINES; how many."""
    part = select(RunLogRow.id).where(col(RunLogRow.run_id).in_(ids)).limit(CHUNK_LINES)
    return count_changed(session, delete(RunLogRow).where(col(RunLogRow.id).in_(part)))


def delete_runs(session: Session, ids: list[int]) -> Counter[tuple[str, str]]:
    """Delete these runs with all that is left of them; how many, by (type, result)."""
    for table in (RunEventRow, RunLogRow, RunFileRow):
        session.execute(delete(table).where(col(table.run_id).in_(ids)))
    gone = delete(RunRow).where(col(RunRow.id).in_(ids)).returning(col(RunRow.type), col(RunRow.status))
    return Counter((kind, status.value) for kind, status in session.execute(gone).all())


def parts_of(ids: list[int]) -> Iterator[list[int]]:
    """The IDs some at a time: a statement takes only so many values."""
    for start in range(0, len(ids), CHUNK_RUNS):
        yield ids[start : start + CHUNK_RUNS]


def _old(retention: Retention, now: datetime) -> ColumnElement[bool]:
    """Runs that ended long enough ago, by the first rule that fits them."""

    def end_before(days: int | None) -> ColumnElement[datetime]:
        moment = _NEVER.replace(tzinfo=now.tzinfo) if days is None else now - timedelta(days=days)
        return literal(moment, UtcDateTime())

    cases = [
        (
            and_(
                true() if rule.type is None else col(RunRow.type) == rule.type,
                true() if rule.result is None else col(RunRow.status) == rule.result,
            ),
            end_before(rule.days),
        )
        for rule in retention.rules
    ]
    limit = case(*cases, else_=end_before(retention.days)) if cases else end_before(retention.days)
    old = and_(col(RunRow.ended_at).is_not(None), col(RunRow.ended_at) < limit)
    if retention.types:
        old = and_(old, col(RunRow.type).in_(retention.types))
    if retention.results:
        old = and_(old, col(RunRow.status).in_(retention.results))
    return old
