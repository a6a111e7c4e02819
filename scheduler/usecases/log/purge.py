"""Purge old runs and their logs. It never deletes everything."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, case, delete, literal, true
from sqlmodel import Session, col, func, select

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.columns import UtcDateTime
from headway.models.ledger.database import count_changed, reading, writing
from headway.models.ledger.tables import LockRow, RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow, TaskTypeRow
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.retention import Retention, days_of
from headway.scheduler.store import audit
from headway.scheduler.store.settings import load_settings

CHUNK_RUNS = 500
CHUNK_LINES = 20_000
"""So much is deleted in one transaction: others who want to write wait for some tenths of a second at most."""
_LONGEST_PAUSE_SECONDS = 0.1
_NEVER = datetime.min.replace(year=1900)


@dataclass(kw_only=True, frozen=True)
class Purged:
    """How many runs went, or would go, by (type, result), and what stays although it is old enough.

    before: runs that no rule names go if they ended before it; None: those are kept. lines: log lines. kept_why: how
    many of the kept ones stay for which reason.
    """

    before: datetime | None
    runs: dict[tuple[str, str], int]
    lines: int
    kept: int
    kept_why: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.runs.values())


def would_go(session: Session, clock: Clock, actor: Actor, retention: Retention) -> Purged:
    """The dry run: what `purge` would delete now, in counts, and what stays and why.

    InvalidInput: nobody says how old runs have to be, neither here nor in the settings, or a type is unknown.
    """
    require(actor, Privilege.PURGE)
    retention = _complete(session, retention)
    return _counted(session, retention, clock.now(), with_lines=True)


def purge(
    engine: Engine,
    clock: Clock,
    actor: Actor,
    retention: Retention,
    *,
    reason: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, of: None,
    pause: Callable[[float], None] = time.sleep,
) -> Purged:
    """Delete old runs with their events, log lines and receipts; what went.

    Open runs, each task's last run, unreset failures and the audit trail stay. It has many short transactions, so that
    the scheduler goes on meanwhile; one that is interrupted has deleted a part, and the next goes on from there. The
    audit row is written before anything is deleted. on_progress: runs deleted so far, and how many it will be.
    InvalidInput as in `would_go`.
    """
    require(actor, Privilege.PURGE)
    now = clock.now()
    with reading(engine) as session:
        retention = _complete(session, retention)
        planned = _counted(session, retention, now, with_lines=False)
        kept = {row_id for row_id, _ in _staying(session)}
    if not planned.total:
        return planned
    with writing(engine) as session:
        rows = session.exec(select(func.count()).select_from(RunRow)).one()
        after = {"runs": rows - planned.total, "deleted": _in_words(planned), **retention.facts()}
        audit.record(session, now, actor, "purge", "task log", before={"runs": rows}, after=after, reason=reason)
    runs: Counter[tuple[str, str]] = Counter()
    lines = 0
    for ids in _chunks(engine, retention, now, kept):
        began = time.monotonic()
        lines += _delete_lines(engine, ids)
        runs += _delete_runs(engine, ids)
        on_progress(runs.total(), planned.total)
        pause(min(time.monotonic() - began, _LONGEST_PAUSE_SECONDS))  # SQLite's lock is not fair: let others at it
    return replace(planned, runs=dict(sorted(runs.items())), lines=lines)


def _complete(session: Session, retention: Retention) -> Retention:
    """With the setting's days where none are given, and types that exist."""
    if retention.days is None and not retention.rules:
        days = load_settings(session).retention_days
        if days is None:
            raise InvalidInput(
                "how old is old? Give --older-than DAYS, or set `retention_days` in the settings (headway apply)"
            )
        retention = replace(retention, days=days)
    if retention.days is not None:
        days_of(retention.days)
    known = {*session.exec(select(TaskTypeRow.name)).all(), *session.exec(select(TaskRow.type).distinct()).all()}
    if unknown := sorted(retention.named_types() - known):
        raise InvalidInput(f"'{unknown[0]}' is no task type; there are: {', '.join(sorted(known)) or 'none'}")
    return retention


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


def _staying(session: Session) -> Iterator[tuple[int, str]]:
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


def _counted(session: Session, retention: Retention, now: datetime, *, with_lines: bool) -> Purged:
    old = _old(retention, now)
    found: Counter[tuple[str, str]] = Counter()
    counts = session.execute(
        select(RunRow.type, RunRow.status, func.count()).where(old).group_by(RunRow.type, RunRow.status)
    )
    found.update({(kind, status.value): count for kind, status, count in counts})
    why: dict[int, str] = {}
    for row_id, reason in _staying(session):
        why.setdefault(row_id, reason)
    kept: Counter[str] = Counter()
    for ids in _parts(sorted(why)):
        rows = session.execute(select(RunRow.id, RunRow.type, RunRow.status).where(old, col(RunRow.id).in_(ids)))
        for row_id, kind, status in rows:
            kept[why[row_id or 0]] += 1
            found[kind, status.value] -= 1
    before = None if retention.days is None else now - timedelta(days=retention.days)
    lines = _count_lines(session, old, sorted(why)) if with_lines and found.total() else 0
    return Purged(
        before=before,
        runs=dict(sorted((+found).items())),
        lines=lines,
        kept=kept.total(),
        kept_why=dict(sorted(kept.items())),
    )


def _count_lines(session: Session, old: ColumnElement[bool], kept: list[int]) -> int:
    lines = select(func.count()).select_from(RunLogRow)
    ids = select(RunRow.id).where(old)
    count = session.exec(lines.where(col(RunLogRow.run_id).in_(ids))).one()
    for part in _parts(kept):
        theirs = ids.where(col(RunRow.id).in_(part))
        count -= session.exec(lines.where(col(RunLogRow.run_id).in_(theirs))).one()
    return count


def _parts(ids: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(ids), CHUNK_RUNS):
        yield ids[start : start + CHUNK_RUNS]


def _chunks(engine: Engine, retention: Retention, now: datetime, kept: set[int]) -> Iterator[list[int]]:
    """The ids that go, some at a time, in their order; each is looked up without holding up anybody."""
    last = 0
    while True:
        with reading(engine) as session:
            statement = select(RunRow.id).where(_old(retention, now), col(RunRow.id) > last)
            found = session.exec(statement.order_by(col(RunRow.id)).limit(CHUNK_RUNS)).all()
        ids = [one for one in found if one is not None]
        if not ids:
            return
        last = ids[-1]
        if going := [one for one in ids if one not in kept]:
            yield going


def _delete_lines(engine: Engine, ids: list[int]) -> int:
    """A run can have any number of lines: they go first, in parts of their own."""
    deleted = 0
    part = select(RunLogRow.id).where(col(RunLogRow.run_id).in_(ids)).limit(CHUNK_LINES)
    while True:
        with writing(engine) as session:
            count = count_changed(session, delete(RunLogRow).where(col(RunLogRow.id).in_(part)))
        deleted += count
        if count < CHUNK_LINES:
            return deleted


def _delete_runs(engine: Engine, ids: list[int]) -> Counter[tuple[str, str]]:
    with writing(engine) as session:
        for table in (RunEventRow, RunLogRow, RunFileRow):
            session.execute(delete(table).where(col(table.run_id).in_(ids)))
        gone = session.execute(
            delete(RunRow).where(col(RunRow.id).in_(ids)).returning(col(RunRow.type), col(RunRow.status))
        ).all()
    return Counter((kind, status.value) for kind, status in gone)


def _in_words(planned: Purged) -> dict[str, int]:
    return {f"{kind}, {result}": count for (kind, result), count in planned.runs.items()}
