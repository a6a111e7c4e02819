"""The settings that rules and lint read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that rules and lint read."""

    min_spacing: timedelta = timedelta(minutes=30)
    recommended_spacing: timedelta = timedelta(minutes=60)
    max_running: int = 4
