"""Release one occurrence of a maintenance window, or reserve it again."""

from datetime import date

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.definitions.document import DAYS
from headway.scheduler.planning.windows import occurrence_on
from headway.scheduler.store import audit, settings


def release_window(
    session: Session, clock: Clock, actor: Actor, name: str, day: date, *, reserve: bool = False
) -> bool:
    """Give back the occurrence that begins on that local day, or reserve it again; False if it was so already."""
    require(actor, Privilege.MANAGE)
    settings.begin_edit(session)
    window = settings.window_named(session, name)
    if window is None or window.id is None:
        raise InvalidInput(f"there is no maintenance window '{name}'")
    if day.weekday() not in window.days:
        days = ", ".join(DAYS[one] for one in window.days)
        raise InvalidInput(f"'{name}' has no occurrence on {day:%a %Y-%m-%d}; its days are {days}")
    section = next(one for one in settings.load_windows(session) if one.name == name)
    if occurrence_on(section.window(settings.load_settings(session).timezone), day) is None:
        raise InvalidInput(f"'{name}' has no occurrence on {day:%a %Y-%m-%d}: a clock change swallows it")
    if settings.is_released(session, window.id, day) is not reserve:
        return False
    now = clock.now()
    settings.set_released(session, window.id, day, not reserve, actor.name, now)
    settings.definitions_changed(session)
    action = "reserve window" if reserve else "release window"
    before, after = {"released": reserve}, {"released": not reserve}
    audit.record(session, now, actor, action, f"window '{name}' {day.isoformat()}", before=before, after=after)
    return True
