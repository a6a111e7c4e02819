"""Save one task, as the dashboard's form has it; the second of two editors is refused."""

from sqlmodel import Session

from headway.clock import Clock
from headway.errors import Refused
from headway.models.values.actor import Actor, Privilege
from headway.privileges import require
from headway.scheduler.planning.definitions.document import Definitions, TaskSection
from headway.scheduler.store import settings
from headway.scheduler.store.tasks import task_named
from headway.scheduler.usecases.tasks.apply import Applied, apply


def save_task(
    session: Session,
    clock: Clock,
    actor: Actor,
    section: TaskSection,
    *,
    version: int | None,
    dry_run: bool = False,
    confirmed: bool = False,
) -> Applied:
    """As `apply` of a file with this one task; nothing is written where `errors` are found.

    version: the one that was edited, None for a new task. Refused: it was saved in between, or the new name is
    taken, or it is running and that was not confirmed.
    """
    require(actor, Privilege.MANAGE)
    if not dry_run:
        settings.begin_edit(session)
    row = task_named(session, section.name)
    if version is None and row is not None:
        raise Refused(
            f"there is a task '{section.name}' already (UID {row.uid}); choose another name, or edit that one"
        )
    if version is not None and (row is None or row.version != version):
        raise Refused(
            f"somebody has changed '{section.name}' since you opened it; nothing was saved. Open it again to see how "
            "it is now"
        )
    definitions = Definitions.model_construct(settings=None, windows=None, tasks=[section])
    return apply(session, clock, actor, definitions, dry_run=dry_run, confirmed=confirmed, about={section.name})
