"""The task list: which tasks there are, in the order in which an operator needs them; asked once for every entrance."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement
from sqlmodel import Session, case, col, func, or_, select

from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.task import OnFailure


@dataclass(frozen=True)
class TaskQuery:
    """Which tasks; all parts must hold."""

    everything: bool = False
    """Also disabled and historical ones."""
    search: str = ""
    types: Sequence[str] = ()


def task_page(session: Session, query: TaskQuery, *, stuck: Collection[int], limit: int) -> list[TaskRow]:
    """Those that need a reset, then stuck ones, then open ones, then by next start, the rest last."""
    open_uids = select(RunRow.task_uid).where(col(RunRow.ended_at).is_(None))
    rank = case(
        (_needs_reset(), 0), (col(TaskRow.uid).in_(list(stuck)), 1), (col(TaskRow.uid).in_(open_uids), 2), else_=3
    )
    order = (rank, col(TaskRow.next_due_at).is_(None), col(TaskRow.next_due_at), col(TaskRow.uid))
    return list(session.exec(select(TaskRow).where(*_matches(query)).order_by(*order).limit(limit)).all())


def count_tasks(session: Session, query: TaskQuery) -> int:
    """How many tasks the query matches."""
    return session.exec(select(func.count()).select_from(TaskRow).where(*_matches(query))).one()


def count_needing_reset(session: Session) -> int:
    """How many tasks are held until an operator resets them."""
    return session.exec(select(func.count()).select_from(TaskRow).where(_needs_reset())).one()


def all_tasks(session: Session, query: TaskQuery) -> list[TaskRow]:
    """Every task that the query matches, in no order."""
    return list(session.exec(select(TaskRow).where(*_matches(query))).all())


def types_in_use(session: Session) -> list[str]:
    """The task types that tasks have."""
    return sorted(session.exec(select(TaskRow.type).distinct()).all())


def followers(session: Session, uids: Collection[int]) -> list[tuple[int, str, str]]:
    """The tasks that come after these in a chain: UID, type and name."""
    found = select(TaskRow.uid, TaskRow.type, TaskRow.name).where(col(TaskRow.after_uid).in_(uids))
    return [(uid, kind, name) for uid, kind, name in session.exec(found).all() if uid is not None]


def _needs_reset() -> ColumnElement[bool]:
    return col(TaskRow.failed_run_id).is_not(None) & (col(TaskRow.on_failure) == OnFailure.HOLD)


def _matches(query: TaskQuery) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if not query.everything:
        where += [col(TaskRow.enabled).is_(True), col(TaskRow.historical).is_(False)]
    if query.search:
        columns = (TaskRow.name, TaskRow.object, TaskRow.description)
        found = [col(column).icontains(query.search, autoescape=True) for column in columns]
        if query.search.isdecimal() and len(query.search) < 18:
            found.append(col(TaskRow.uid) == int(query.search))
        where.append(or_(*found))
    if query.types:
        where.append(col(TaskRow.type).in_(query.types))
    return where
