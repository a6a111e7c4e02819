"""How runs come into the ledger and move on.

Every write is one UPDATE that names the state it expects; no row updated means that somebody else was first.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, select

from models.domain import TRANSITIONS, RunStatus, Task
from models.tables import RunEventRow, RunRow, TaskRow

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
    row = session.exec(select(RunRow.status).where(RunRow.id == run_id)).first()
    statement = update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.status).in_(expected))
    if under_claim is not None:
        statement = statement.where(col(RunRow.claim) == under_claim)
    result = session.execute(statement.values(status=after, **values), execution_options=UNSEEN)
    if result.rowcount != 1:  # type: ignore[attr-defined]
        return False
    session.add(RunEventRow(run_id=run_id, at=now, before=row, after=after, who=who, why=why))
    session.flush()
    return True


def end_waiting(session: Session, run_id: int, status: RunStatus, *, now: datetime, who: str, why: str) -> bool:
    """waiting -> superseded | cancelled: it ends without having started, and its message says why."""
    return record_transition(
        session, run_id, [RunStatus.WAITING], status, now=now, who=who, why=why, ended_at=now, message=why
    )


def add_run(session: Session, task: Task, row: TaskRow, **values: Any) -> RunRow | None:
    """A new ledger row; None if this occurrence (task, due, trigger) has one already."""
    due_at, now, status = values["due_at"], values.pop("now"), values.get("status", RunStatus.WAITING)
    who, why = values.pop("who"), values.pop("why", "")
    facts = {
        "task_uid": task.uid,
        "type": task.type,
        "object": row.object,
        "step": task.step,
        "status": status,
        "created_at": now,
        "sorted_at": due_at,
        "overrides": [],
        **values,
    }
    if status is not RunStatus.WAITING:
        facts.setdefault("ended_at", now)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(RunRow).values(**_with_defaults(facts)).on_conflict_do_nothing()
    run_id = session.execute(statement.returning(col(RunRow.id))).scalar_one_or_none()
    if run_id is None:
        return None
    session.add(RunEventRow(run_id=run_id, at=now, before=None, after=status, who=who, why=why))
    session.flush()
    return session.get(RunRow, run_id)


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
