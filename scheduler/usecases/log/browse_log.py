"""The task log and a run's report, as they are browsed page by page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, or_, select, tuple_

from headway.errors import InvalidInput
from headway.models.ledger.database import reading
from headway.models.ledger.tables import RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RAN, RunStatus
from headway.privileges import require
from headway.scheduler.store.queries import run_history
from headway.scheduler.store.queries.step_labels import steps_of

ERROR = 40
LOOKED_THROUGH = 100_000
"""Runs a page: a quarter of a second, whatever is asked for."""
Key = tuple[datetime, int]


@dataclass(kw_only=True, frozen=True)
class LogQuery:
    """Which ended runs; all parts must hold. newest_first: the log's order; False reverses it."""

    since: datetime | None = None
    until: datetime | None = None
    task_uid: int | None = None
    search: str = ""
    types: Sequence[str] = ()
    results: Sequence[RunStatus] = ()
    errors: bool = False
    newest_first: bool = True


@dataclass(frozen=True)
class LogPage:
    """Runs with their task's name. following: the key that the next page begins behind, None on the last.

    steps: each run's step as it is shown, by the run's ID. looked_to: where the page ends though the log goes on,
    because enough runs had been looked through for a filter that few of them pass.
    """

    rows: list[tuple[RunRow, str]]
    following: Key | None
    steps: Mapping[int, str]
    looked_to: datetime | None = None


def browse_log(
    session: Session, actor: Actor, query: LogQuery, *, behind: Key | None = None, limit: int = 200
) -> LogPage:
    """One page of the task log, found by key, however deep. It looks through `LOOKED_THROUGH` runs at most."""
    require(actor, Privilege.VIEW)
    key = (col(RunRow.sorted_at), col(RunRow.id))
    end = _end_of_look(session, query, behind)
    statement = (
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(col(RunRow.ended_at).is_not(None))
        .order_by(*(one.desc() if query.newest_first else one.asc() for one in key))
        .limit(limit + 1)
    )
    statement = _within(statement, query, behind)
    if query.task_uid is not None:
        statement = statement.where(RunRow.task_uid == query.task_uid)
    if query.search:
        word = query.search
        statement = statement.where(
            or_(col(TaskRow.name).icontains(word, autoescape=True), col(RunRow.object).icontains(word, autoescape=True))
        )
    if query.types:
        statement = statement.where(col(RunRow.type).in_(query.types))
    if query.results:
        statement = statement.where(col(RunRow.status).in_(query.results))
    if query.errors:
        statement = statement.where(or_(col(RunRow.status).in_(run_history.BAD), col(RunRow.errors) > 0))
    if end is not None:
        there = tuple_(RunRow.sorted_at, RunRow.id)
        statement = statement.where(there >= end if query.newest_first else there <= end)
    rows = list(session.exec(statement).all())
    if len(rows) > limit:
        rows, last = rows[:limit], rows[limit - 1][0]
        end = (last.sorted_at, id_of(last))
        return LogPage(rows, end, steps_of(session, [run for run, _ in rows]))
    looked_to = end[0] if end is not None else None
    return LogPage(rows, end, steps_of(session, [run for run, _ in rows]), looked_to)


def _within(statement: Any, query: LogQuery, behind: Key | None) -> Any:
    """The part of the log between the query's times, behind the key."""
    if query.since is not None:
        statement = statement.where(col(RunRow.sorted_at) >= query.since)
    if query.until is not None:
        statement = statement.where(col(RunRow.sorted_at) < query.until)
    if behind is not None:
        there = tuple_(RunRow.sorted_at, RunRow.id)
        statement = statement.where(there < behind if query.newest_first else there > behind)
    return statement


def _end_of_look(session: Session, query: LogQuery, behind: Key | None) -> Key | None:
    """The key of the last run to look at; None where there are no more than that, or an index finds them all."""
    filtered = query.search or query.types or query.results or query.errors
    if not filtered or query.task_uid is not None:
        return None
    key = (col(RunRow.sorted_at), col(RunRow.id))
    statement = select(*key).order_by(*(one.desc() if query.newest_first else one.asc() for one in key))
    found = session.exec(_within(statement, query, behind).offset(LOOKED_THROUGH).limit(1)).first()
    return None if found is None else (found[0], found[1] or 0)


def all_of_log(engine: Engine, actor: Actor, query: LogQuery) -> Iterator[tuple[RunRow, str]]:
    """Every run of the query, in its order."""
    for page in pages_of_log(engine, actor, query):
        yield from page.rows


def pages_of_log(engine: Engine, actor: Actor, query: LogQuery) -> Iterator[LogPage]:
    """Every page of the query, in its order, a short transaction each: for downloads."""
    behind: Key | None = None
    while True:
        with reading(engine) as session:
            page = browse_log(session, actor, query, behind=behind, limit=1000)
        yield page
        if page.following is None:
            return
        behind = page.following


@dataclass(frozen=True)
class LineQuery:
    """Which log lines of a run."""

    errors: bool = False
    search: str = ""


@dataclass(kw_only=True, frozen=True)
class RunReport:
    """All about one run but its log lines. caused: the runs that its end made or kept from running.

    step_shown: its step in words.
    """

    run: RunRow
    task: TaskRow
    events: list[RunEventRow]
    files: list[RunFileRow]
    caused: list[tuple[RunRow, str]] = field(default_factory=list)
    step_shown: str = ""


def run_report(session: Session, actor: Actor, run_id: int) -> RunReport:
    """A run's report detail. InvalidInput where there is none of that ID (any more)."""
    require(actor, Privilege.VIEW)
    run = session.get(RunRow, run_id)
    task = session.get(TaskRow, run.task_uid) if run is not None else None
    if run is None or task is None:
        raise InvalidInput(f"there is no run {run_id}: it was purged, or the address is wrong")
    caused = session.exec(
        select(RunRow, TaskRow.name)
        .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
        .where(RunRow.cause_run_id == run_id)
        .order_by(col(RunRow.id))
        .limit(50)
    ).all()
    events, files = run_history.run_events(session, run_id), run_history.run_files(session, run_id)
    return RunReport(
        run=run, task=task, events=events, files=files, caused=list(caused), step_shown=steps_of(session, [run])[run_id]
    )


def run_lines(
    session: Session,
    actor: Actor,
    run_id: int,
    which: LineQuery,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int = 500,
) -> list[RunLogRow]:
    """Log lines in order: those behind the ID `after`, or, with `before`, the last ones before that ID."""
    require(actor, Privilege.VIEW)
    statement = select(RunLogRow).where(RunLogRow.run_id == run_id)
    if which.errors:
        statement = statement.where(RunLogRow.level >= ERROR)
    if which.search:
        statement = statement.where(col(RunLogRow.message).icontains(which.search, autoescape=True))
    if before is None:
        statement = statement.where(col(RunLogRow.id) > after).order_by(col(RunLogRow.id))
        return list(session.exec(statement.limit(limit)).all())
    statement = statement.where(col(RunLogRow.id) < before).order_by(col(RunLogRow.id).desc())
    return list(reversed(session.exec(statement.limit(limit)).all()))


def all_lines(engine: Engine, actor: Actor, run_id: int) -> Iterator[RunLogRow]:
    """Every log line of a run, a short transaction a page: for downloads."""
    after = 0
    while True:
        with reading(engine) as session:
            lines = run_lines(session, actor, run_id, LineQuery(), after=after, limit=5000)
        yield from lines
        if not lines:
            return
        after = id_of(lines[-1])


def runs_of_task(session: Session, actor: Actor, uid: int, *, limit: int = 20) -> list[RunRow]:
    """A task's last runs, ended or open, the newest first."""
    require(actor, Privilege.VIEW)
    statement = select(RunRow).where(RunRow.task_uid == uid)
    return list(session.exec(statement.order_by(col(RunRow.sorted_at).desc(), col(RunRow.id).desc()).limit(limit)))


def durations(session: Session, actor: Actor, uid: int, *, limit: int = 50) -> list[RunRow]:
    """A task's last runs that really ran, the oldest first: for its trend."""
    require(actor, Privilege.VIEW)
    statement = select(RunRow).where(
        RunRow.task_uid == uid, col(RunRow.status).in_(RAN), col(RunRow.started_at).is_not(None)
    )
    rows = session.exec(statement.order_by(col(RunRow.sorted_at).desc(), col(RunRow.id).desc()).limit(limit)).all()
    return list(reversed(rows))
