"""The day board: what ran, runs and will run in a stretch of time, and the maintenance windows of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.ledger.tables import RunRow
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.privileges import require
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Occurrence, occurrences_of
from headway.scheduler.store.queries import day_board as rows
from headway.scheduler.store.queries.day_board import BoardQuery as BoardQuery
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.ahead.look_ahead import Ahead

_DAY = timedelta(days=1)


@dataclass(kw_only=True, frozen=True, slots=True)
class Bar:
    """One run. status: None for one that is only forecast; run_id: None where it has no row yet.

    end_at: the real end, or the one that its estimate says. starts: False for a run that never did or never will
    (missed, superseded, unplaced): start_at is its due then. next_from: no following step may start before.
    """

    task: str
    uid: int
    type: str
    step: int
    status: RunStatus | None
    run_id: int | None
    due_at: datetime
    start_at: datetime
    end_at: datetime
    starts: bool = True
    next_from: datetime | None = None
    reason: str = ""


@dataclass(kw_only=True, frozen=True, slots=True)
class Slot:
    """How many runs of a type began in `[start_at, end_at)`, with that status (None: forecast)."""

    type: str
    start_at: datetime
    end_at: datetime
    status: RunStatus | None
    count: int


@dataclass(kw_only=True, frozen=True)
class DayBoard:
    """Either `bars`, or `slots` where one bar a run would be too many; `runs` counts them in both cases.

    forecast_until: where the forecast ends; None where there is none to show.
    """

    now: datetime
    runs: int
    occurrences: list[Occurrence]
    bars: list[Bar] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    forecast_until: datetime | None = None


def day_board(
    session: Session,
    clock: Clock,
    actor: Actor,
    query: BoardQuery,
    *,
    catalog: Catalog | None = None,
    ahead: Ahead | None = None,
    most: int = 1000,
) -> DayBoard:
    """The runs that touch the query's time: those of the ledger, and with `ahead` those of the forecast."""
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    shown = [] if ahead is None else _forecast(query, catalog, ahead, now)
    only_ended = ahead is not None  # the forecast has those in progress, with the ends that their estimates say
    # the index is by start: a run that began a day before (or as long as one may go on unnoticed) is looked for too
    first = query.start - max(_DAY, catalog.resolved.settings.long_running)
    past = rows.count_board_runs(session, query, first=first, only_ended=only_ended, most=most)
    occurrences = _occurrences(catalog, query)
    until = ahead.until if ahead is not None and query.end > now else None
    if past + len(shown) > most:
        slots = [*_ended_slots(session, query, first, only_ended), *_slots(query, shown)]
        return DayBoard(
            now=now, runs=sum(one.count for one in slots), occurrences=occurrences, slots=slots, forecast_until=until
        )
    bars = sorted(
        [*_ended(rows.board_runs(session, query, first=first, only_ended=only_ended), catalog, now), *shown],
        key=lambda bar: (bar.start_at, bar.uid),
    )
    return DayBoard(now=now, runs=len(bars), occurrences=occurrences, bars=bars, forecast_until=until)


def _occurrences(catalog: Catalog, query: BoardQuery) -> list[Occurrence]:
    found = [
        one for window in catalog.resolved.calendar.windows for one in occurrences_of(window, query.start, query.end)
    ]
    return sorted(found, key=lambda one: (one.start, one.window.name))


# What the ledger has


def _ended(found: Iterable[tuple[RunRow, str]], catalog: Catalog, now: datetime) -> Iterable[Bar]:
    for row, name in found:
        begins = row.started_at or row.due_at
        yield Bar(
            task=name,
            uid=row.task_uid,
            type=row.type,
            step=row.step,
            status=row.status,
            run_id=row.id,
            due_at=row.due_at,
            start_at=begins,
            end_at=begins if row.started_at is None else row.ended_at or max(begins, now),
            starts=row.started_at is not None,
            next_from=_next_from(catalog, row.task_uid, row.started_at),
            reason=row.error or row.message or "",
        )


def _ended_slots(session: Session, query: BoardQuery, first: datetime, only_ended: bool) -> Iterable[Slot]:
    edges = _edges(query)
    # The first slot has also what goes on since before it.
    stretches = list(zip([first, *edges[1:-1]], edges[1:], strict=True))
    for number, kind, status, count in rows.board_counts(session, query, stretches=stretches, only_ended=only_ended):
        yield Slot(type=kind, start_at=edges[number], end_at=edges[number + 1], status=status, count=count)


def _edges(query: BoardQuery) -> list[datetime]:
    edges = [query.start]
    while edges[-1] < query.end:
        edges.append(min(edges[-1] + query.slot, query.end))
    return edges


# What the forecast says


def _forecast(query: BoardQuery, catalog: Catalog, ahead: Ahead, now: datetime) -> list[Bar]:
    word = query.search.casefold()
    bars = []
    for row in ahead.rows:
        if query.type is not None and row.task.type != query.type:
            continue
        if word and word not in row.task.name.casefold():
            continue
        if row.outcome == "superseded" and not row.id:
            continue  # it will never be more than a line in the log
        bar = _planned(catalog, row, ahead.active, now)
        if bar.start_at < query.end and (bar.end_at > query.start or bar.start_at >= query.start):
            bars.append(bar)
    return bars


def _planned(catalog: Catalog, row: Planned, active: frozenset[int], now: datetime) -> Bar:
    starts = row.started_at is not None and row.outcome == "planned"
    begins = row.started_at if starts and row.started_at is not None else row.due_at
    ends = row.ended_at if starts and row.ended_at is not None else begins
    status = RunStatus.RUNNING if row.id in active else RunStatus.WAITING if row.id else None
    reason = "; ".join(hold.reason for hold in row.holds)
    if row.outcome == "unplaced":
        reason = f"it finds no place within 192 hours: {reason}"
    return Bar(
        task=row.task.name,
        uid=row.task.uid,
        type=row.task.type,
        step=row.task.step,
        status=status,
        run_id=row.id or None,
        due_at=row.due_at,
        start_at=begins,
        end_at=max(ends, now) if status is RunStatus.RUNNING else ends,
        starts=starts,
        next_from=_next_from(catalog, row.task.uid, begins if starts else None),
        reason=reason,
    )


def _slots(query: BoardQuery, bars: Iterable[Bar]) -> Iterable[Slot]:
    edges = _edges(query)
    counts: dict[tuple[str, int, RunStatus | None], int] = {}
    for bar in bars:
        position = min(max(int((bar.start_at - query.start) / query.slot), 0), len(edges) - 2)
        key = (bar.type, position, bar.status)
        counts[key] = counts.get(key, 0) + 1
    for (kind, position, status), count in counts.items():
        yield Slot(type=kind, start_at=edges[position], end_at=edges[position + 1], status=status, count=count)


def _next_from(catalog: Catalog, uid: int, started_at: datetime | None) -> datetime | None:
    """The instant up to which a start keeps the following steps waiting."""
    task: Task | None = catalog.tasks.get(uid)
    if task is None or started_at is None or not task.successors:
        return None
    schedules = (catalog.tasks[step].schedule for step in task.successors)
    return started_at + max(one.spacing for one in schedules if isinstance(one, After))
