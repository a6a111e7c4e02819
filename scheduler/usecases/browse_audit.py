"""The audit trail, page by page."""

from datetime import datetime

from sqlmodel import Session, col, or_, select

from models.domain import Actor, Privilege
from models.tables import AuditRow
from scheduler.errors import NotAllowed
from scheduler.privileges import may


def browse_audit(
    session: Session,
    actor: Actor,
    *,
    search: str = "",
    since: datetime | None = None,
    before_id: int | None = None,
    limit: int = 200,
) -> list[AuditRow]:
    """Who did what, the newest first; a page begins below the ID `before_id`. It takes View, or User management."""
    if not may(actor, Privilege.VIEW) and not may(actor, Privilege.USERS):
        raise NotAllowed(actor.name, Privilege.VIEW)
    statement = select(AuditRow).order_by(col(AuditRow.id).desc()).limit(limit)
    if search:
        columns = (AuditRow.actor, AuditRow.action, AuditRow.subject, AuditRow.reason)
        statement = statement.where(or_(*(col(one).icontains(search, autoescape=True) for one in columns)))
    if since is not None:
        statement = statement.where(col(AuditRow.at) >= since)
    if before_id is not None:
        statement = statement.where(col(AuditRow.id) < before_id)
    return list(session.exec(statement).all())
