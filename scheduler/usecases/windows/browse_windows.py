"""Maintenance windows as they are browsed: the coming occurrences, reserved or released."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.values.actor import Actor, Privilege
from headway.models.values.window import Window
from headway.privileges import require
from headway.scheduler.planning.definitions.document import WindowSection
from headway.scheduler.planning.windows import occurrences_of
from headway.scheduler.store.settings import load_windows, released_by
from headway.scheduler.store.tasks import Catalog, load_catalog

_AHEAD = timedelta(days=400)


@dataclass(kw_only=True, frozen=True)
class ComingOccurrence:
    """One occurrence. released_by: who gave it back, None while it is reserved."""

    window: Window
    day: date
    start: datetime
    end: datetime
    released_by: str | None

    @property
    def reserved(self) -> bool:
        return self.released_by is None


def windows(session: Session, actor: Actor) -> list[WindowSection]:
    """The windows as they are defined."""
    require(actor, Privilege.VIEW)
    return load_windows(session)


def coming_occurrences(
    session: Session, clock: Clock, actor: Actor, *, count: int = 14, catalog: Catalog | None = None
) -> list[ComingOccurrence]:
    """The next occurrences of all windows, the present one first, in the order of their starts."""
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    released = released_by(session)
    found = []
    for window in catalog.resolved.calendar.windows:
        ahead = timedelta(days=count * 7 + 8)
        occurrences = list(occurrences_of(window, now, now + min(ahead, _AHEAD)))[:count]
        found += [
            ComingOccurrence(
                window=one.window,
                day=one.day,
                start=one.start,
                end=one.end,
                released_by=released.get((window.name, one.day)),
            )
            for one in occurrences
        ]
    return sorted(found, key=lambda one: (one.start, one.window.name))[:count]
