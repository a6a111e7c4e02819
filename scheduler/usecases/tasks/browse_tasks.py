"""The task list as it is browsed: what needs an operator first, filtered and cut off in the database.

`task_list` gives every line; with ten thousand tasks a screen cannot use that every few seconds.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.values.actor import Actor, Privilege
from headway.models.values.instant import FOREVER
from headway.models.values.run import ACTIVE
from headway.privileges import require
from headway.scheduler.planning.windows import Span
from headway.scheduler.store import workers
from headway.scheduler.store.boards import LoadedBoard, load_board
from headway.scheduler.store.queries import task_list
from headway.scheduler.store.queries.task_list import TaskQuery as TaskQuery
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.tasks.task_list import TaskLine, lines_of
from headway.wording import length_in_words

LATE_AFTER = timedelta(minutes=15)


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
    """The first lines, those that need an operator before the rest, and how many the query matches in all."""

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
        failed=task_list.count_needing_reset(session),
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
    stuck = _stuck(session, catalog, loaded, now)
    rows = task_list.task_page(session, query, stuck=list(stuck), limit=limit)
    matching = task_list.count_tasks(session, query)
    lines = lines_of(session, catalog, loaded, rows, now)
    return TaskPage([replace(line, stuck=stuck.get(line.uid, "")) for line in lines], matching)


def _stuck(session: Session, catalog: Catalog, loaded: LoadedBoard, now: datetime) -> dict[int, str]:
    """Tasks in progress that an operator should look at, by UID, with why."""
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


def types_in_use(session: Session, actor: Actor) -> list[str]:
    """The task types that tasks have, for filters."""
    require(actor, Privilege.VIEW)
    return task_list.types_in_use(session)
