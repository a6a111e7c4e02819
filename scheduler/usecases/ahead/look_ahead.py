"""The forecast as screens use it: from what is stored now, made once for everybody who looks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import ACTIVE, Run
from headway.privileges import require
from headway.scheduler.planning.forecast.forecast import forecast
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar
from headway.scheduler.store.boards import LoadedBoard, load_board
from headway.scheduler.store.queries.runs_of_task import newest_event
from headway.scheduler.store.tasks import Catalog, load_catalog

STALE_AFTER = timedelta(minutes=1)
TASK_DAYS = 14_000
"""So many days of one task are forecast while a person waits: about a second and a half. The rest is left out, and
the screen says so."""


@dataclass(kw_only=True, frozen=True)
class Ahead:
    """A forecast of everything, from `made_at` to `until`. version, event: what was known when it was made.

    active: the IDs of the runs that were in progress then.
    """

    version: int
    event: int | None
    made_at: datetime
    until: datetime
    rows: list[Planned]
    active: frozenset[int]


def look_ahead(
    session: Session,
    clock: Clock,
    actor: Actor,
    until: datetime,
    *,
    catalog: Catalog | None = None,
    known: Ahead | None = None,
) -> Ahead:
    """What starts when, to `until` or, with very many tasks, not quite so far.

    known: an earlier answer, which is given again while nothing has happened and a minute has not passed.
    """
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    until = min(until, now + reach(catalog))
    event = newest_event(session)
    if known is not None and (known.version, known.event) == (catalog.version, event):
        if known.until >= until and timedelta(0) <= now - known.made_at < STALE_AFTER:
            return known
    loaded = load_board(session, catalog, now, whole=True)
    active = frozenset(run_id for run_id, row in loaded.rows.items() if row.status in ACTIVE)
    return Ahead(
        version=catalog.version,
        event=event,
        made_at=now,
        until=until,
        rows=from_now(catalog, loaded, now, until),
        active=active,
    )


def reach(catalog: Catalog, *, share: float = 1.0) -> timedelta:
    """How far ahead a forecast may look, so that no page waits for it; a `share` of that for part of the work."""
    scheduled = sum(task.scheduled for task in catalog.tasks.values())
    return min(timedelta(days=366), timedelta(days=TASK_DAYS * share) / max(scheduled, 1))


def from_now(
    catalog: Catalog,
    loaded: LoadedBoard,
    now: datetime,
    until: datetime,
    calendar: Calendar | None = None,
    *,
    more: Sequence[Run] = (),
) -> list[Planned]:
    """The worker's own turns, lived through from what is open now; with other windows if a calendar is given.

    more: runs that are only thought of.
    """
    board = loaded.board
    return forecast(
        board.tasks,
        calendar or catalog.resolved.calendar,
        catalog.resolved.limits.max_running,
        now,
        max(until, now),
        open_runs=[*open_runs(loaded), *more],
        failures=board.failures,
        last_start=board.last_start,
        lost=loaded.lost,
    )


def open_runs(loaded: LoadedBoard) -> list[Run]:
    """Every run that waits, starts or runs."""
    return [*loaded.waiting, *loaded.board.active_by_task.values()]
