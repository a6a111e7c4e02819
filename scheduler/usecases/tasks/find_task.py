"""Finding the task that a name or UID means."""

from sqlmodel import Session

from headway.errors import InvalidInput
from headway.models.ledger.tables import TaskRow
from headway.scheduler.store.tasks import by_name


def find_task(session: Session, name: str) -> TaskRow:
    """The task of that name or UID; InvalidInput if there is none."""
    if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InvalidInput(f"{name!r} is no task's name: it is not UTF-8 text; `headway tasks --all` lists every one")
    row = by_name(session, name)
    if row is None:
        raise InvalidInput(f"there is no task '{name}'; `headway tasks --all` lists every one")
    return row
