"""The task log and a run's report, as they are browsed page by page, by every entrance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Engine
from sqlmodel import Session

from headway.errors import InvalidInput
from headway.models.ledger.database import reading
from headway.models.ledger.tables import RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.store.queries import run_detail, run_history
from headway.scheduler.store.queries.run_detail import ERROR
from headway.scheduler.store.queries.run_history import Key, LogQuery
from headway.scheduler.store.queries.step_labels import steps_of

__all__ = ["ERROR", "Key", "LineQuery", "LogPage", "LogQuery", "RunReport", "browse_log", "run_lines", "run_report"]


@dataclass(frozen=True)
class LogPage:
    """One page of the task log."""

    rows: list[tuple[RunRow, str]]
    """Runs with their task's name."""
    following: Key | None
    """The key that the next page begins behind, None on the last."""
    steps: Mapping[int, str]
    """Each run's step as it is shown, by the run's ID."""
    looked_to: datetime | None = None
    """Where the page ends though the log goes on: few runs pass the filter, and enough had been looked through."""


def browse_log(
    session: Session, actor: Actor, query: LogQuery, *, behind: Key | None = None, limit: int = 200
) -> LogPage:
    """One page of the task log, found by key, however deep. It looks through `LOOKED_THROUGH` runs at most."""
    require(actor, Privilege.VIEW)
    end = run_history.end_of_look(session, query, behind)
    rows = run_history.log_page(session, query, behind=behind, end=end, limit=limit + 1)
    looked_to = end[0] if end is not None else None
    if len(rows) > limit:
        rows, last = rows[:limit], rows[limit - 1][0]
        end, looked_to = (last.sorted_at, id_of(last)), None
    return LogPage(rows, end, steps_of(session, [run for run, _ in rows]), looked_to)


def newest_of_log(session: Session, actor: Actor, query: LogQuery, *, limit: int | None) -> LogPage:
    """The query's first runs in one page, however far it has to look; all of them if limit is None."""
    rows: list[tuple[RunRow, str]] = []
    steps: dict[int, str] = {}
    behind: Key | None = None
    while limit is None or len(rows) < limit:
        page = browse_log(session, actor, query, behind=behind, limit=1000 if limit is None else limit - len(rows))
        rows += page.rows
        steps.update(page.steps)
        behind = page.following
        if behind is None:
            break
    return LogPage(rows, behind, steps)


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
    """All about one run but its log lines."""

    run: RunRow
    task: TaskRow
    events: list[RunEventRow]
    files: list[RunFileRow]
    caused: list[tuple[RunRow, str]] = field(default_factory=list)
    """The runs that its end made or kept from running, with their task's name."""
    step_shown: str = ""
    """Its step in words."""


def run_report(session: Session, actor: Actor, run_id: int) -> RunReport:
    """A run's report detail. InvalidInput where there is none of that ID (any more)."""
    require(actor, Privilege.VIEW)
    found = run_detail.run_with_task(session, run_id)
    if found is None:
        raise InvalidInput(f"there is no run {run_id}: it was purged, or its ID is wrong; `headway log` lists them")
    run, task = found
    return RunReport(
        run=run,
        task=task,
        events=run_detail.run_events(session, run_id),
        files=run_detail.run_files(session, run_id),
        caused=run_detail.caused_runs(session, run_id),
        step_shown=steps_of(session, [run])[run_id],
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
    level = ERROR if which.errors else 0
    return run_detail.run_lines(
        session, run_id, after=after, before=before, search=which.search, least_level=level, limit=limit
    )


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
    return run_history.runs_of_task(session, uid, limit=limit)


def durations(session: Session, actor: Actor, uid: int, *, limit: int = 50) -> list[RunRow]:
    """A task's last runs that really ran, the oldest first: for its trend."""
    require(actor, Privilege.VIEW)
    return list(reversed(run_history.runs_of_task(session, uid, limit=limit, ran=True)))
