"""Who acts, and the privileges that a person may hold."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Privilege(enum.StrEnum):
    VIEW = "view"
    """Read tasks, runs, logs and settings."""
    MANAGE = "manage"
    """Define tasks and windows, run and reset tasks, change settings."""
    PURGE = "purge"
    """Delete old runs and their logs."""
    USERS = "users"
    """Administer users."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, or the operator of the machine."""

    name: str
    """As the audit trail names the actor."""
    privileges: frozenset[Privilege] = field(default_factory=frozenset)
    """Those granted; `headway.privileges` knows what each implies."""
    user_id: int | None = None
    """None for an actor without an account."""
