"""Tasks that a new installation has ready to switch on. They are made once: what an operator deletes stays deleted."""

from sqlalchemy import Engine
from sqlmodel import Session

from headway.clock import Clock
from headway.models.ledger.database import writing
from headway.models.values.actor import Actor, Privilege
from headway.scheduler.planning.definitions.document import Definitions, ScheduleSection, TaskSection
from headway.scheduler.store import settings
from headway.scheduler.store.tasks import load_types, task_named
from headway.scheduler.usecases.tasks.apply import apply

FIRST_START = Actor("headway up", frozenset(Privilege))
"""Who has made them, in the audit trail."""
ERROR_REPORT = "Task Scheduler Error Report"
_OFFERED = "tasks_offered"

READY = (
    TaskSection(
        name=ERROR_REPORT,
        type="task_error_report",
        description="What went wrong since the last report, by mail. Set its parameter mail, then enable it.",
        schedule=ScheduleSection(cron="0 7 * * *"),
        enabled=False,
    ),
)


def offer_tasks(engine: Engine, clock: Clock) -> list[str]:
    """Make those that were never offered here and whose type is deployed; the names of those made."""
    with writing(engine) as session:
        offered = list(settings.get(session, _OFFERED, []))
        types = load_types(session)
        coming = [one for one in READY if one.name not in offered and one.type in types]
        if not coming:
            return []
        made = [one.name for one in coming if _make(session, clock, one)]
        settings.put(session, _OFFERED, [*offered, *(one.name for one in coming)])
    return made


def _make(session: Session, clock: Clock, section: TaskSection) -> bool:
    """False where there is a task of that name already."""
    if task_named(session, section.name) is not None:
        return False
    one = Definitions.model_construct(settings=None, windows=None, tasks=[section])
    return not apply(session, clock, FIRST_START, one).errors
