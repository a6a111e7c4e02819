"""The task log and a task's runs: which there are, page by page, asked once for every entrance."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, or_, select, tuple_

from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.run import RAN, RunStatus

LOOKED_THROUGH = 100_000
"""Runs a page: a quarter of a second, whatever is asked for."""
BAD = (RunStatus.FAILED, RunStatus.COMPLETED_WITH_ERRORS, RunStatus.MISSED, RunStatus.SKIPPED)
Key = tuple[datetime, int]
"""Of a run in the log's order: `sorted_at` and ID."""
_KEY = (col(RunRow.sorted_at), col(RunRow.id))
_PLACE = tuple_(RunRow.sorted_at, RunRow.id)


@dataclass(kw_only=True, frozen=True)
class LogQuery:
    """Which ended runs; all parts must hold."""

    since: datetime | None = None
    until: datetime | None = None
    task_uid: int | None = None
    search: str = ""
    """Part of the task's name or of the run's object."""
    types: Sequence[str] = ()
    results: Sequence[RunStatus] = ()
    errors: bool = False
    """Failed, with errors, missed or skipped only."""
    newest_first: bool = True
    """The log's order; False reverses it."""


def log_page(
    session: Session, query: LogQuery, *, behind: Key | None, end: Key | None, limit: int
) -> list[tuple[RunRow, str]]:
    """Ended runs with their task's name, behind the key, at most to the key `end`."""
    statement = (
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(col(RunRow.ended_at).is_not(None))
        .order_by(*_order(query))
        .limit(limit)
    )
    statement = _within(statement, query, behind)
    if query.task_uid is not None:
        statement = statement.where(RunRow.task_uid == query.task_uid)
    if word := query.search:
        named = col(TaskRow.name).icontains(word, autoescape=True)
        statement = statement.where(or_(named, col(RunRow.object).icontains(word, autoescape=True)))
    if query.types:
        statement = statement.where(col(RunRow.type).in_(query.types))
    if query.results:
        statement = statement.where(col(RunRow.status).in_(query.results))
    if query.errors:
        statement = statement.where(or_(col(RunRow.status).in_(BAD), col(RunRow.errors) > 0))
    if end is not None:
        statement = statement.where(end <= _PLACE if query.newest_first else end >= _PLACE)
    return list(session.exec(statement).all())


def end_of_look(session: Session, query: LogQuery, behind: Key | None) -> Key | None:
    """The key of the last run to look at; None where there are no more than that, or an index finds them all."""
    filtered = query.search or query.types or query.results or query.errors
    if not filtered or query.task_uid is not None:
        return None
    statement = _within(select(*_KEY).order_by(*_order(query)), query, behind)
    found = session.exec(statement.offset(LOOKED_THROUGH).limit(1)).first()
    return None if found is None else (found[0], found[1])


def _order(query: LogQuery) -> list[Any]:
    return [one.desc() if query.newest_first else one.asc() for one in _KEY]


def _within(statement: Any, query: LogQuery, behind: Key | None) -> Any:
    """The part of the log between the query's times, behind the key."""
    if query.since is not None:
        statement = statement.where(col(RunRow.sorted_at) >= query.since)
    if query.until is not None:
        statement = statement.where(col(RunRow.sorted_at) < query.until)
    if behind is not None:
        statement = statement.where(behind > _PLACE if query.newest_first else behind < _PLACE)
    return statement


def runs_of_task(session: Session, uid: int, *, limit: int, ran: bool = False) -> list[RunRow]:
    """A task's last runs, the newest first: ended or open ones, or those alone that really ran."""
    statement = select(RunRow).where(RunRow.task_uid == uid)
    if ran:
        statement = statement.where(col(RunRow.status).in_(RAN), col(RunRow.started_at).is_not(None))
    newest = statement.order_by(*(one.desc() for one in _KEY))
    return list(session.exec(newest.limit(limit)).all())


def last_runs(session: Session, uids: Sequence[int]) -> dict[int, RunRow]:
    """The last run of each task that ended after having started, by the task's UID."""
    rows = session.exec(
        select(RunRow)
        .join(TaskRow, col(TaskRow.last_run_id) == col(RunRow.id))
        .where(col(TaskRow.uid).in_(uids), col(RunRow.status).in_(RAN))
    ).all()
    return {row.task_uid: row for row in rows}
