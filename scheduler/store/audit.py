"""The audit trail: one row for everything that changes something."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from headway.models.ledger.tables import AuditRow
from headway.models.values.actor import Actor


def record(
    session: Session,
    now: datetime,
    actor: Actor,
    action: str,
    subject: str,
    *,
    before: Any = None,
    after: Any = None,
    reason: str | None = None,
) -> None:
    """Who did what to which subject, and how it was and is."""
    session.add(
        AuditRow(at=now, actor=actor.name, action=action, subject=subject, before=before, after=after, reason=reason)
    )
