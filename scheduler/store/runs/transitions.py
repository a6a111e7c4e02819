"""How runs come into the ledger and move on.

Every write is one UPDATE that names the state it expects; no row updated means that another writer was first.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import RunEventRow, RunRow, TaskRow
from headway.models.values.run import TRANSITIONS, RunStatus
from headway.models.values.task import Task
from headway.text import storable

_RUN: Any = RunRow.__table__  # type: ignore[attr-defined]
_STATUS = select(_RUN.c.status).where(_RUN.c.id == bindparam("run"))
_EVENT = insert(RunEventRow.__table__)  # type: ignore[attr-defined]

UNSEEN = {"synchronize_session": False}
"""For updates in a turn: to look through all rows of the session for the one that changed makes a rush quadratic.

Rows that were read before have to be refreshed where they are looked at again.
"""


def record_transition(
    session: Session,
    run_id: int,
    before: Iterable[RunStatus],
    after: RunStatus,
    *,
    now: datetime,
    who: str,
    why: str = "",
    under_claim: str | None = None,
    **values: Any,
) -> bool:
    """Move a run on if it is still where the caller thinks (and under that claim); the event with it."""
    expected = [status for status in before if after in TRANSITIONS.get(status, ())]
    session.flush()
    was = session.execute(_STATUS, {"run": run_id}).scalar()
    statement = update(_RUN).where(_RUN.c.id == run_id, _RUN.c.status.in_(expected))
    if under_claim is not None:
        statement = statement.where(_RUN.c.claim == under_claim)
    texts = {name: storable(value) for name, value in values.items() if isinstance(value, str)}
    if count_changed(session, statement.values(status=after, **{**values, **texts})) != 1:
        return False
    session.execute(
        _EVENT, {"run_id": run_id, "at": now, "before": was, "after": after, "who": who, "why": storable(why)}
    )
    return True


def end_waiting(session: Session, run_id: int, status: RunStatus, *, now: datetime, who: str, why: str) -> bool:
    """waiting -> superseded | cancelled: it ends without having started, and its message says why."""
    return record_transition(
        session, run_id, [RunStatus.WAITING], status, now=now, who=who, why=why, ended_at=now, message=why
    )


def add_run(session: Session, task: Task, row: TaskRow, *, due_at: datetime, **values: Any) -> RunRow | None:
    """A new ledger row; None if this occurrence (task, due, trigger) has one already."""
    ids = add_runs(session, task, row, [due_at], **values)
    return session.get(RunRow, ids[0]) if ids else None


def add_runs(session: Session, task: Task, row: TaskRow, dues: Sequence[datetime], **values: Any) -> list[int]:
    """New ledger rows that differ in nothing but when they came due; those that there are already are left out."""
    now, status = values.pop("now"), values.get("status", RunStatus.WAITING)
    who, why = values.pop("who"), values.pop("why", "")
    facts = {
        "task_uid": task.uid,
        "type": task.type,
        "object": row.object,
        "step": task.step,
        "status": status,
        "created_at": now,
        "overrides": [],
        **values,
    }
    if status is not RunStatus.WAITING:
        facts.setdefault("ended_at", now)
    facts = _with_defaults(facts)
    if not dues:
        return []
    session.flush()
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(_RUN).on_conflict_do_nothing()
    rows = [{**facts, "due_at": due, "sorted_at": due} for due in dues]
    ids = sorted(session.execute(statement.returning(col(RunRow.id)), rows).scalars().all())
    if ids:
        events = [
            {"run_id": run_id, "at": now, "before": None, "after": status, "who": who, "why": why} for run_id in ids
        ]
        session.execute(_EVENT, events)
    return ids


def _with_defaults(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "attempt": 0,
        "follow": True,
        "process_id": 0,
        "processed": 0,
        "errors": 0,
        "bytes": 0,
        "message": "",
        **facts,
    }


def skip_run_numbers(session: Session, count: int) -> None:
    """On SQLite: the next run's ID is that much higher, for a restored ledger must not give an ID twice."""
    # SQLite makes the row at the first run only.
    first = "INSERT INTO sqlite_sequence SELECT 'run', 0 WHERE 'run' NOT IN (SELECT name FROM sqlite_sequence)"
    session.execute(sa.text(first))
    skip = sa.text("UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = 'run'")
    session.execute(skip, {"skipped": count})
