"""The rules' ids, and a rule's veto."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple


class RuleId(enum.StrEnum):
    RESET = "reset"
    BUSY = "busy"
    GROUP = "group"
    CAPACITY = "capacity"
    WINDOW = "window"
    SPACING = "spacing"
    ENGINE = "engine"


OVERRIDABLE = frozenset({RuleId.WINDOW, RuleId.SPACING})


class Hold(NamedTuple):
    """One rule's veto. `until` is the instant at which it clears by itself, None if that takes an event."""

    rule: RuleId
    until: datetime | None
    say: Callable[..., str]
    facts: tuple[Any, ...] = ()

    @property
    def reason(self) -> str:
        """The sentence for an operator; worded only when somebody reads it."""
        return self.say(*self.facts)
