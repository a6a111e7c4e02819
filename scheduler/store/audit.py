"""The audit trail: one row for each change."""

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
    """Add a row: who did what to which subject, its state before and after, and why."""
    session.add(
        AuditRow(at=now, actor=actor.name, action=action, subject=subject, before=before, after=after, reason=reason)
    )
