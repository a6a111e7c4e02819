"""Purge old runs and their logs. It never deletes everything."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.ledger.database import reading, writing
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.retention import Retention, days_of
from headway.scheduler.store import audit
from headway.scheduler.store.runs import purging
from headway.scheduler.store.settings import load_settings

_LONGEST_PAUSE_SECONDS = 0.1


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

    InvalidInput: no age is given, neither here nor in the settings, or a type is unknown.
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
        kept = {row_id for row_id, _ in purging.staying_runs(session)}
    if not planned.total:
        return planned
    with writing(engine) as session:
        rows = purging.count_runs(session)
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
    known = purging.known_types(session)
    if unknown := sorted(retention.named_types() - known):
        raise InvalidInput(f"'{unknown[0]}' is no task type; there are: {', '.join(sorted(known)) or 'none'}")
    return retention


def _counted(session: Session, retention: Retention, now: datetime, *, with_lines: bool) -> Purged:
    found = purging.count_old(session, retention, now)
    why: dict[int, str] = {}
    for row_id, reason in purging.staying_runs(session):
        why.setdefault(row_id, reason)
    kept: Counter[str] = Counter()
    for row_id, kind, result in purging.old_among(session, retention, now, sorted(why)):
        kept[why[row_id]] += 1
        found[kind, result] -= 1
    before = None if retention.days is None else now - timedelta(days=retention.days)
    lines = purging.count_old_lines(session, retention, now, sorted(why)) if with_lines and found.total() else 0
    return Purged(
        before=before,
        runs=dict(sorted((+found).items())),
        lines=lines,
        kept=kept.total(),
        kept_why=dict(sorted(kept.items())),
    )


def _chunks(engine: Engine, retention: Retention, now: datetime, kept: set[int]) -> Iterator[list[int]]:
    """The ids that go, some at a time, in their order; each is looked up without holding up other writers."""
    last = 0
    while True:
        with reading(engine) as session:
            ids = purging.next_old(session, retention, now, behind=last)
        if not ids:
            return
        last = ids[-1]
        if going := [one for one in ids if one not in kept]:
            yield going


def _delete_lines(engine: Engine, ids: list[int]) -> int:
    """A run can have any number of lines: they go first, in transactions of their own."""
    deleted = 0
    while True:
        with writing(engine) as session:
            count = purging.delete_some_lines(session, ids)
        deleted += count
        if count < purging.CHUNK_LINES:
            return deleted


def _delete_runs(engine: Engine, ids: list[int]) -> Counter[tuple[str, str]]:
    with writing(engine) as session:
        return purging.delete_runs(session, ids)


def _in_words(planned: Purged) -> dict[str, int]:
    return {f"{kind}, {result}": count for (kind, result), count in planned.runs.items()}
