"""The audit trail, page by page."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session

from headway.errors import NotAllowed
from headway.models.ledger.database import reading
from headway.models.ledger.tables import AuditRow
from headway.models.values.actor import Actor, Privilege
from headway.privileges import may
from headway.scheduler.store.queries import audit_trail
from headway.scheduler.store.queries.audit_trail import LOOKED_THROUGH
from headway.scheduler.store.queries.audit_trail import AuditQuery as AuditQuery


@dataclass(frozen=True)
class AuditPage:
    """following: the ID below which the next page begins, None on the last.

    looked_to: the ID at which the page ends though the trail goes on, because enough rows had been looked through.
    """

    rows: list[AuditRow]
    following: int | None
    looked_to: int | None = None


def browse_audit(
    session: Session,
    actor: Actor,
    query: AuditQuery = AuditQuery(),
    *,
    before_id: int | None = None,
    limit: int = 200,
) -> AuditPage:
    """Who did what, the newest first. It takes View, or User management."""
    _require(actor)
    start = before_id if before_id is not None else audit_trail.newest_id(session) + 1
    end = max(start - LOOKED_THROUGH, 1)
    rows = audit_trail.audit_rows(session, query, below=start, from_id=end, limit=limit + 1)
    if len(rows) > limit:
        return AuditPage(rows[:limit], rows[limit - 1].id)
    more = end > 1 and (query.since is None or audit_trail.begins_before(session, end, query.since))
    return AuditPage(rows, end if more else None, end if more else None)


def all_of_audit(engine: Engine, actor: Actor, query: AuditQuery) -> Iterator[AuditRow]:
    """Every row of the query, a short transaction a page: for downloads."""
    before_id: int | None = None
    while True:
        with reading(engine) as session:
            page = browse_audit(session, actor, query, before_id=before_id, limit=1000)
        yield from page.rows
        if page.following is None:
            return
        before_id = page.following


def actions_in_use(session: Session, actor: Actor) -> list[str]:
    """What the trail knows people to have done lately, for a filter."""
    _require(actor)
    return audit_trail.actions_lately(session)


def _require(actor: Actor) -> None:
    if not may(actor, Privilege.VIEW) and not may(actor, Privilege.USERS):
        raise NotAllowed(actor.name, Privilege.VIEW)
