"""The audit trail, page by page, the newest first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, or_, select

from headway.models.ledger.tables import AuditRow

LOOKED_THROUGH = 50_000
"""Rows a page, so that a search for what is nowhere is no slower with a long history."""


@dataclass(frozen=True)
class AuditQuery:
    """Which rows; all parts must hold. search: in who, what, subject or reason."""

    search: str = ""
    since: datetime | None = None
    until: datetime | None = None
    actions: Sequence[str] = ()


def newest_id(session: Session) -> int:
    """The ID of the newest row; 0 where there is none."""
    return session.exec(select(func.max(AuditRow.id))).one() or 0


def audit_rows(session: Session, query: AuditQuery, *, below: int, from_id: int, limit: int) -> list[AuditRow]:
    """Rows with an ID below `below` and not below `from_id`, the newest first."""
    within = select(AuditRow).where(col(AuditRow.id) < below, col(AuditRow.id) >= from_id, *_matches(query))
    return list(session.exec(within.order_by(col(AuditRow.id).desc()).limit(limit)).all())


def begins_before(session: Session, end: int, since: datetime) -> bool:
    """Whether rows below that ID can be of that time still: the trail is written in order."""
    at = session.exec(select(AuditRow.at).where(col(AuditRow.id) < end).order_by(col(AuditRow.id).desc())).first()
    return at is not None and at >= since


def actions_lately(session: Session) -> list[str]:
    """The actions of the newest rows, each once."""
    lately = select(AuditRow.action).distinct().where(col(AuditRow.id) > newest_id(session) - LOOKED_THROUGH)
    return sorted(session.exec(lately).all())


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
