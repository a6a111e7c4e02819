"""The forecast of what is stored, from what is open now."""

from datetime import datetime

from sqlmodel import Session

from headway.clock import Clock
from headway.models.values.actor import Actor, Privilege
from headway.models.values.finding import Finding
from headway.privileges import require
from headway.scheduler.planning.definitions.resolved_definitions import parameter_findings
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.lint import lint
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.tasks import load_catalog
from headway.scheduler.usecases.ahead.look_ahead import from_now


def forecast_stored(
    session: Session, clock: Clock, actor: Actor, start: datetime, end: datetime
) -> tuple[list[Planned], list[Finding]]:
    """The runs that are open or come due in `[start, end)`, and what the lint finds.

    The simulation begins now, so that a later `start` finds the board as it will be; what is due before `start` is
    left out then. Active runs are in it with the start they had.
    """
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session)
    loaded = load_board(session, catalog, now, whole=True)
    rows = from_now(catalog, loaded, now, end)
    wanted = [row for row in rows if row.due_at >= start or (start <= now and row.id)]
    stored = ((row.name, row.type, row.parameters) for row in catalog.rows.values())
    return wanted, [*lint(catalog.resolved, now), *parameter_findings(stored, catalog.resolved.types)]
