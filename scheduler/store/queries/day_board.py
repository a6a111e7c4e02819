"""The day board's left side: runs that ended or are in progress, as rows or counted by slot."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, or_, select

from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.run import ACTIVE, RunStatus


@dataclass(kw_only=True, frozen=True)
class BoardQuery:
    """Which stretch of time, and which runs of it."""

    start: datetime
    end: datetime
    slot: timedelta
    """Of a busy board: runs are counted for each stretch of this length."""
    type: str | None = None
    search: str = ""


Where = Sequence[ColumnElement[bool]]


def count_board_runs(session: Session, query: BoardQuery, *, first: datetime, only_ended: bool, most: int) -> int:
    """How many runs there are; where there are more than `most`, only that: the rest need not be counted.

    first: how far before the query's start runs are looked for that may still touch it (the index is by start).
    only_ended: without those in progress.
    """
    statement = select(RunRow.id).where(*_matches(query, only_ended), *_began(first, query.end))
    if query.search:
        statement = statement.join(TaskRow, _own_task())
    return session.exec(select(func.count()).select_from(statement.limit(most + 1).subquery())).one()


def board_runs(session: Session, query: BoardQuery, *, first: datetime, only_ended: bool) -> list[tuple[RunRow, str]]:
    """The runs with their task's name, by start."""
    statement = select(RunRow, TaskRow.name).join(TaskRow, _own_task())
    statement = statement.where(*_matches(query, only_ended), *_began(first, query.end))
    return list(session.exec(statement.order_by(col(RunRow.sorted_at), col(RunRow.id))).all())


def board_counts(
    session: Session, query: BoardQuery, *, stretches: Sequence[tuple[datetime, datetime]], only_ended: bool
) -> Iterator[tuple[int, str, RunStatus, int]]:
    """How many runs began in each stretch: its number, their type, status and count.

    Counted in the database: a day of ten thousand tasks is not worth its rows. A short walk along the index for each
    stretch costs a fifth of one statement that sorts every row into its stretch.
    """
    statement = select(RunRow.type, RunRow.status, func.count()).select_from(RunRow)
    if query.search:
        statement = statement.join(TaskRow, _own_task())
    statement = statement.where(*_matches(query, only_ended)).group_by(col(RunRow.type), col(RunRow.status))
    for number, (begin, end) in enumerate(stretches):
        for kind, status, count in session.execute(statement.where(*_began(begin, end))):
            yield number, kind, RunStatus(status), count


def _own_task() -> ColumnElement[bool]:
    return col(TaskRow.uid) == col(RunRow.task_uid)


def _began(start: datetime, end: datetime) -> Where:
    """A stretch of the index. One lower bound only: of two, SQLite would walk from the earlier."""
    return [col(RunRow.sorted_at) >= start, col(RunRow.sorted_at) < end]


def _matches(query: BoardQuery, only_ended: bool) -> Where:
    """Ended runs that touch the time, and those in progress."""
    where: list[ColumnElement[bool]] = [
        or_(col(RunRow.sorted_at) >= query.start, col(RunRow.ended_at) > query.start, col(RunRow.ended_at).is_(None)),
        or_(col(RunRow.started_at).is_not(None), col(RunRow.sorted_at) >= query.start),
        or_(col(RunRow.ended_at).is_not(None), col(RunRow.status).in_(ACTIVE)),
    ]
    if query.type is not None:
        where.append(col(RunRow.type) == query.type)
    if query.search:
        where.append(col(TaskRow.name).icontains(query.search, autoescape=True))
    if only_ended:
        where.append(col(RunRow.ended_at).is_not(None))
    return where
