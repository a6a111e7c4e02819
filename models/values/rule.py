"""The rules' ids, and a rule's veto."""

from __future__ import annotations

import enum
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple


class RuleId(enum.StrEnum):
    RESET = "reset"
    """A failed task waits for its reset."""
    BUSY = "busy"
    """A task never overlaps itself."""
    GROUP = "group"
    """Runs of one group never overlap."""
    CAPACITY = "capacity"
    """At most `max_running` runs are in progress."""
    WINDOW = "window"
    """The task's window policy."""
    SPACING = "spacing"
    """The steps of a chain keep their distance."""
    ENGINE = "engine"
    """Prefect and a worker are alive."""


OVERRIDABLE = frozenset({RuleId.WINDOW, RuleId.SPACING})
"""The rules that Run now may lift."""


class Hold(NamedTuple):
    """One rule's veto on a start."""

    rule: RuleId
    until: datetime | None
    """When the hold clears by itself; None if that takes an event."""
    say: Callable[..., str]
    """Words the reason from the facts."""
    facts: tuple[Any, ...] = ()

    @property
    def reason(self) -> str:
        """The sentence for an operator. Worded at each call: a forecast makes thousands of holds and shows few."""
        return self.say(*self.facts)
