"""Add, change and delete maintenance windows one by one. `apply` makes all of them what a file says."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput, Refused
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.definitions.document import DAYS, WindowSection, explain
from headway.scheduler.store import audit, settings


def checked_window(values: Mapping[str, Any]) -> WindowSection:
    """The window that a form describes; InvalidInput names each field, its value and what to do."""
    try:
        section = WindowSection.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidInput(explain(error, dict(values))) from None
    kept = [day for day in section.released if DAYS[day.weekday()] in section.days]
    return section.model_copy(update={"released": kept})


def save_window(
    session: Session, clock: Clock, actor: Actor, section: WindowSection, *, opened: WindowSection | None
) -> bool:
    """Make a new window, or change the one that was opened to what `section` says; False if it is so already.

    opened: as it was when the edit began, None for a new one. Refused where it has changed since.
    Released occurrences stay released where the window still has them.
    """
    require(actor, Privilege.MANAGE)
    settings.begin_edit(session)
    stored = {one.name: one for one in settings.load_windows(session)}
    if stored.get(section.name) == section:
        return False
    if opened is not None and stored.get(opened.name) != opened:
        raise Refused(_overtaken(opened.name))
    if section.name in stored and (opened is None or opened.name != section.name):
        raise InvalidInput(f"name: there is a maintenance window '{section.name}' already; choose another name")
    windows = [section if one.name == (opened and opened.name) else one for one in stored.values()]
    if opened is None:
        windows.append(section)
    elif opened.name != section.name:
        settings.rename_window(session, opened.name, section.name)
    now = clock.now()
    settings.save_windows(session, windows, actor.name, now)
    settings.definitions_changed(session)
    action = "create window" if opened is None else "edit window"
    audit.record(session, now, actor, action, f"window '{section.name}'", before=_facts(opened), after=_facts(section))
    return True


def delete_window(session: Session, clock: Clock, actor: Actor, opened: WindowSection) -> bool:
    """The window is gone, its releases too; False if it was. Refused where it has changed since it was opened.

    InvalidInput: it is the last one, and a task must run in one.
    """
    require(actor, Privilege.MANAGE)
    settings.begin_edit(session)
    stored = {one.name: one for one in settings.load_windows(session)}
    if opened.name not in stored:
        return False
    if stored[opened.name] != opened:
        raise Refused(_overtaken(opened.name))
    if len(stored) == 1:
        _no_task_needs_one(session, opened.name)
    settings.remove_window(session, opened.name)
    settings.definitions_changed(session)
    audit.record(session, clock.now(), actor, "delete window", f"window '{opened.name}'", before=_facts(opened))
    return True


def _overtaken(name: str) -> str:
    return f"somebody has changed '{name}' since you opened it; nothing was saved. Open it again to see how it is now"


def _no_task_needs_one(session: Session, name: str) -> None:
    """L4 of the lint, before it comes true."""
    needy = settings.tasks_that_require_a_window(session)
    if needy:
        more = f" and {len(needy) - 1} more" if len(needy) > 1 else ""
        raise InvalidInput(
            f"'{name}' is the only maintenance window, and '{needy[0]}'{more} must run in one: define another first, "
            "or let that task run outside"
        )


def _facts(section: WindowSection | None) -> dict[str, Any] | None:
    return None if section is None else section.model_dump(mode="json")
