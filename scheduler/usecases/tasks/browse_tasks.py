"""The task list as it is browsed: what needs somebody first, filtered and cut off in the database.

`task_list` gives every line; with ten thousand tasks a screen cannot use that every few seconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement
from sqlmodel import Session, case, col, func, or_, select

from headway.clock import Clock
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.instant import FOREVER
from headway.models.values.run import ACTIVE, RunStatus
from headway.models.values.task import OnFailure
from headway.privileges import require
from headway.scheduler.planning.rules import judge
from headway.scheduler.planning.windows import Span
from headway.scheduler.store import workers
from headway.scheduler.store.boards import LoadedBoard, load_board
from headway.scheduler.store.queries import run_history
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.tasks.task_list import TaskLine, task_line
from headway.wording import length_in_words

LATE_AFTER = timedelta(minutes=15)


@dataclass(frozen=True)
class TaskQuery:
    """Which tasks; all parts must hold. everything: also disabled and historical ones."""

    everything: bool = False
    search: str = ""
    types: Sequence[str] = ()


@dataclass(kw_only=True, frozen=True)
class Overview:
    """What an operator has to know first. All but the windows are counts.

    failed: tasks that wait for a reset. stuck: in progress for longer than the settings' long_running, or their
    worker is silent, or their process stands still. late: due for more than 15 minutes and still waiting.
    waiting: all that is due and waiting.
    """

    failed: int
    stuck: int
    late: int
    waiting: int
    running: int
    window_now: Span | None
    window_next: Span | None
    engine_problem: str | None


@dataclass(frozen=True)
class TaskPage:
    """The first lines, those that need somebody before the rest, and how many the query matches in all."""

    lines: list[TaskLine]
    matching: int


def overview(session: Session, clock: Clock, actor: Actor, *, catalog: Catalog | None = None) -> Overview:
    """Everything in one line, whatever is filtered below it."""
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    loaded = load_board(session, catalog, now)
    due = [run for run in loaded.waiting if run.due_at <= now]
    active = [row for row in loaded.rows.values() if row.status in ACTIVE]
    calendar = catalog.resolved.calendar
    ahead = calendar.reserved.after(now)
    return Overview(
        failed=session.exec(select(func.count()).select_from(TaskRow).where(_needs_reset())).one(),
        stuck=len(_stuck(session, catalog, loaded, now)),
        late=sum(now - run.due_at > LATE_AFTER for run in due),
        waiting=len(due),
        running=len(active),
        window_now=calendar.reserved.at(now),
        window_next=ahead if ahead is not None and ahead.start != FOREVER else None,
        engine_problem=loaded.board.engine_problem,
    )


def browse_tasks(
    session: Session, clock: Clock, actor: Actor, query: TaskQuery, *, catalog: Catalog | None = None, limit: int = 300
) -> TaskPage:
    """At most `limit` tasks: those that need a reset, then open ones, then by next start, the rest last."""
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    loaded = load_board(session, catalog, now)
    where = _matches(query)
    stuck = _stuck(session, catalog, loaded, now)
    open_uids = select(RunRow.task_uid).where(col(RunRow.ended_at).is_(None))
    rank = case(
        (_needs_reset(), 0), (col(TaskRow.uid).in_(list(stuck)), 1), (col(TaskRow.uid).in_(open_uids), 2), else_=3
    )
    statement = (
        select(TaskRow)
        .where(*where)
        .order_by(rank, col(TaskRow.next_due_at).is_(None), col(TaskRow.next_due_at), col(TaskRow.uid))
        .limit(limit)
    )
    rows = list(session.exec(statement).all())
    matching = session.exec(select(func.count()).select_from(TaskRow).where(*where)).one()
    lines = lines_of(session, catalog, loaded, rows, now)
    return TaskPage([replace(line, stuck=stuck.get(line.uid, "")) for line in lines], matching)


def _stuck(session: Session, catalog: Catalog, loaded: LoadedBoard, now: datetime) -> dict[int, str]:
    """Tasks in progress that somebody should look at, by UID, with why."""
    silent = {row.id for row in workers.orphaned(session, now)}
    long = catalog.resolved.settings.long_running
    found: dict[int, str] = {}
    for row in loaded.rows.values():
        if row.status not in ACTIVE:
            continue
        if row.id in silent:
            found[row.task_uid] = "its worker is silent: the next worker's turn settles it, or a reset"
        elif row.message.startswith(workers.STANDS_STILL):
            found[row.task_uid] = row.message
        elif row.started_at is not None and now - row.started_at > long:
            lasting, allowed = length_in_words(now - row.started_at), length_in_words(long)
            found[row.task_uid] = f"in progress for {lasting}, longer than {allowed}"
    return found


def _needs_reset() -> ColumnElement[bool]:
    return col(TaskRow.failed_run_id).is_not(None) & (col(TaskRow.on_failure) == OnFailure.HOLD)


def _matches(query: TaskQuery) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if not query.everything:
        where += [col(TaskRow.enabled).is_(True), col(TaskRow.historical).is_(False)]
    if query.search:
        found = [
            col(column).icontains(query.search, autoescape=True)
            for column in (TaskRow.name, TaskRow.object, TaskRow.description)
        ]
        if query.search.isdecimal() and len(query.search) < 18:
            found.append(col(TaskRow.uid) == int(query.search))
        where.append(or_(*found))
    if query.types:
        where.append(col(TaskRow.type).in_(query.types))
    return where


def lines_of(
    session: Session, catalog: Catalog, loaded: LoadedBoard, rows: list[TaskRow], now: datetime
) -> list[TaskLine]:
    """The lines of these tasks, each with why its waiting run waits."""
    wanted = {row.uid for row in rows}
    open_rows: dict[int, RunRow] = {}
    for one in sorted(loaded.rows.values(), key=lambda one: (one.status not in ACTIVE, one.retry_at or one.due_at)):
        if one.task_uid in wanted:
            open_rows.setdefault(one.task_uid, one)
    waiting = {run.id: run for run in loaded.waiting}
    last = run_history.last_runs(session, [id_of(row) for row in rows])
    lines = []
    for row in rows:
        uid = id_of(row)
        run = open_rows.get(uid)
        reason = ""
        if run is not None and run.status is RunStatus.WAITING and run.id in waiting:
            reason = "; ".join(hold.reason for hold in judge(waiting[run.id], loaded.board, now))
        lines.append(task_line(row, run, last.get(uid), catalog, reason))
    return lines


def types_in_use(session: Session, actor: Actor) -> list[str]:
    """The task types that tasks have, for filters."""
    require(actor, Privilege.VIEW)
    return sorted(session.exec(select(TaskRow.type).distinct()).all())
