"""Who acts, and the privileges that a person may hold."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Privilege(enum.StrEnum):
    VIEW = "view"
    MANAGE = "manage"
    PURGE = "purge"
    USERS = "users"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `privileges` is what was granted; `privileges.py` knows what that implies."""

    name: str
    privileges: frozenset[Privilege] = field(default_factory=frozenset)
    user_id: int | None = None
