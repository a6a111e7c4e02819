"""A finding of the lint."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    ERROR = "error"
    """It keeps a file from being applied."""
    WARNING = "warning"
    """It is shown, and keeps nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of the lint."""

    id: str
    """`L1` to `L8`, as in RULES.md."""
    level: Level
    tasks: tuple[str, ...]
    """The names of the tasks it is about."""
    message: str
    """A sentence for operators, with a remedy."""
