"""Finding the task that somebody means."""

from sqlmodel import Session

from models.tables import TaskRow
from scheduler.errors import InvalidInput
from scheduler.store.tasks import by_name


def find_task(session: Session, name: str) -> TaskRow:
    """The task of that name or UID; InvalidInput if there is none."""
    row = by_name(session, name)
    if row is None:
        raise InvalidInput(f"there is no task '{name}'; `headway tasks --all` lists every one")
    return row
