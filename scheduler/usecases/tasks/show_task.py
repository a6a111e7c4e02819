"""One task with all that can be read of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.models.values.zone import zone
from headway.privileges import require
from headway.scheduler.planning.occurrences import next_occurrence
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.queries.runs_of_task import failed_run, open_states
from headway.scheduler.store.tasks import Catalog, has_run, load_catalog, task_of_uid
from headway.scheduler.usecases.runs.why import Why, earliest_if_run_now, why
from headway.scheduler.usecases.tasks.task_list import TaskLine, lines_of
from headway.wording import schedule_in_words


@dataclass(frozen=True)
class NextStart:
    """A coming start. clock_changes: on its local day the zone's clocks are put forward or back."""

    at: datetime
    clock_changes: bool


@dataclass(kw_only=True, frozen=True)
class Step:
    """A task of the same chain, for its picture."""

    uid: int
    name: str
    step: int
    after_uid: int | None
    spacing: timedelta | None


@dataclass(kw_only=True, frozen=True)
class TaskView:
    """A task's row, its line as in the list, and what follows from both.

    known: the task as the rules see it, None where its definition is broken. chain: all its steps in order, empty
    for a task in no chain. open_run: its open run, if any. failed: the run that needs a reset. has_run: whether the
    ledger knows any run of it.
    """

    row: TaskRow
    line: TaskLine
    known: Task | None
    why: Why
    starts: list[NextStart]
    chain: list[Step]
    schedule: str
    open_run: RunRow | None
    failed: RunRow | None
    has_run: bool
    version: int


def show_task(
    session: Session, clock: Clock, actor: Actor, uid: int, *, catalog: Catalog | None = None, with_start: bool = True
) -> TaskView:
    """The task of that UID; InvalidInput where there is none. with_start: as of `why`."""
    require(actor, Privilege.VIEW)
    row = task_of_uid(session, uid)
    if row is None:
        raise InvalidInput(f"there is no task with UID {uid}: it was deleted, or the address is wrong")
    catalog = load_catalog(session, catalog)
    known = catalog.tasks.get(uid)
    now = clock.now()
    loaded = load_board(session, catalog, now)
    runs = sorted(
        (one for one in loaded.rows.values() if one.task_uid == uid),
        key=lambda one: (one.status is RunStatus.WAITING, one.due_at),
    )
    return TaskView(
        row=row,
        line=lines_of(session, catalog, loaded, [row], now)[0],
        known=known,
        why=why(session, clock, actor, row, catalog=catalog, with_start=with_start),
        starts=_starts(known, now, 10) if known else [],
        chain=_chain(known, catalog) if known else [],
        schedule=_schedule(known, catalog) if known else "its definition is broken",
        open_run=runs[0] if runs else None,
        failed=failed_run(session, row),
        has_run=has_run(session, uid),
        version=row.version,
    )


def state_of(session: Session, actor: Actor, uid: int) -> tuple[object, ...]:
    """Something that is another as soon as the task or one of its open runs has moved on: for a page that is open."""
    require(actor, Privilege.VIEW)
    row = task_of_uid(session, uid)
    runs = open_states(session, uid)
    return () if row is None else (row.version, row.failed_run_id, row.last_run_id, *runs)


def earliest_start(
    session: Session,
    clock: Clock,
    actor: Actor,
    uid: int,
    overrides: frozenset[str] = frozenset(),
    *,
    catalog: Catalog | None = None,
) -> datetime | None:
    """When Run now would start, by the forecast; None where that takes an event, such as a reset."""
    require(actor, Privilege.VIEW)
    catalog = load_catalog(session, catalog)
    return earliest_if_run_now(session, clock, catalog, uid, overrides) if uid in catalog.tasks else None


def _starts(task: Task, now: datetime, count: int) -> list[NextStart]:
    where, at = zone(task.timezone), now
    found: list[NextStart] = []
    while len(found) < count and (following := next_occurrence(task, at)) is not None:
        local = following.astimezone(where)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        found.append(NextStart(following, midnight.utcoffset() != (midnight + timedelta(days=1)).utcoffset()))
        at = following
    return found


def _chain(task: Task, catalog: Catalog) -> list[Step]:
    steps = sorted(
        (one for one in catalog.tasks.values() if one.root == task.root), key=lambda one: (one.step, one.uid)
    )
    if len(steps) < 2:
        return []
    return [
        Step(
            uid=one.uid,
            name=one.name,
            step=one.step,
            after_uid=one.schedule.predecessor if isinstance(one.schedule, After) else None,
            spacing=one.schedule.spacing if isinstance(one.schedule, After) else None,
        )
        for one in steps
    ]


def _schedule(task: Task, catalog: Catalog) -> str:
    before = catalog.tasks[task.schedule.predecessor].name if isinstance(task.schedule, After) else ""
    return schedule_in_words(task, before)
