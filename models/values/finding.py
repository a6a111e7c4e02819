"""A finding of the lint."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of the lint: its id and level as in the rules, the tasks it names, an operator's sentence."""

    id: str
    level: Level
    tasks: tuple[str, ...]
    message: str
