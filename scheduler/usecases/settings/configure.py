"""Change settings one by one; the others keep their values."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import InvalidInput, Refused
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.definitions.document import Definitions, SettingsSection, explain
from headway.scheduler.store import settings
from headway.scheduler.usecases.tasks.apply import Applied, apply


def checked_settings(values: Mapping[str, Any]) -> SettingsSection:
    """The settings that a form describes; InvalidInput names each field, its value and what to do."""
    try:
        return SettingsSection.model_validate(dict(values))
    except ValidationError as error:
        raise InvalidInput(explain(error, dict(values))) from None


def configure(
    session: Session,
    clock: Clock,
    actor: Actor,
    values: Mapping[str, Any],
    *,
    opened: SettingsSection | None = None,
) -> Applied:
    """As `apply` of a file with these settings. InvalidInput also where the lint finds an error with them.

    opened: the settings as they were when the edit began; Refused where one of the named ones has changed since.
    """
    require(actor, Privilege.MANAGE)
    section = checked_settings(values)
    settings.begin_edit(session)
    stored = settings.load_settings(session)
    overtaken = [
        key
        for key in values
        if opened is not None and getattr(stored, key) not in (getattr(opened, key), getattr(section, key))
    ]
    if overtaken:
        raise Refused(
            f"somebody has changed {', '.join(overtaken)} since you opened this page; nothing was saved. Reload it to "
            "see how it is now"
        )
    given = Definitions.model_construct(settings=section, windows=None, tasks=None)
    applied = apply(session, clock, actor, given, about=())  # the page shows no collisions: no need to look for them
    if applied.errors:
        raise InvalidInput([finding.message for finding in applied.errors])
    return applied
