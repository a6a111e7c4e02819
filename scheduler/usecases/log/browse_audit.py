"""The audit trail, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session, col, func, or_, select

from headway.errors import NotAllowed
from headway.models.ledger.database import reading
from headway.models.ledger.tables import AuditRow
from headway.models.values.actor import Actor, Privilege
from headway.privileges import may

LOOKED_THROUGH = 50_000
"""Rows a page, so that a search for what is nowhere is no slower with a long history."""


@dataclass(frozen=True)
class AuditQuery:
    """Which rows; all parts must hold. search: in who, what, subject or reason."""

    search: str = ""
    since: datetime | None = None
    until: datetime | None = None
    actions: Sequence[str] = ()


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
    start = before_id if before_id is not None else (session.exec(select(func.max(AuditRow.id))).one() or 0) + 1
    end = max(start - LOOKED_THROUGH, 1)
    statement = select(AuditRow).where(col(AuditRow.id) < start, col(AuditRow.id) >= end, *_matches(query))
    rows = list(session.exec(statement.order_by(col(AuditRow.id).desc()).limit(limit + 1)).all())
    if len(rows) > limit:
        return AuditPage(rows[:limit], rows[limit - 1].id)
    more = end > 1 and (query.since is None or _begins_before(session, end, query.since))
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
    newest = session.exec(select(func.max(AuditRow.id))).one() or 0
    statement = select(AuditRow.action).distinct().where(col(AuditRow.id) > newest - LOOKED_THROUGH)
    return sorted(session.exec(statement).all())


def _require(actor: Actor) -> None:
    if not may(actor, Privilege.VIEW) and not may(actor, Privilege.USERS):
        raise NotAllowed(actor.name, Privilege.VIEW)


def _begins_before(session: Session, end: int, since: datetime) -> bool:
    """Whether rows below that ID can be of that time still: the trail is written in order."""
    at = session.exec(select(AuditRow.at).where(col(AuditRow.id) < end).order_by(col(AuditRow.id).desc())).first()
    return at is not None and at >= since


def _matches(query: AuditQuery) -> list[Any]:
    where: list[Any] = []
    if query.search:
        columns = (AuditRow.actor, AuditRow.action, AuditRow.subject, AuditRow.reason)
        where.append(or_(*(col(one).icontains(query.search, autoescape=True) for one in columns)))
    if query.since is not None:
        where.append(col(AuditRow.at) >= query.since)
    if query.until is not None:
        where.append(col(AuditRow.at) < query.until)
    if query.actions:
        where.append(col(AuditRow.action).in_(query.actions))
    return where
