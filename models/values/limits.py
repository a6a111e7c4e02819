"""The limits that rules and lint go by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that rules and lint read."""

    min_spacing: timedelta = timedelta(minutes=30)
    """The lint finds an error (L2) in a chain step that starts sooner after its predecessor."""
    recommended_spacing: timedelta = timedelta(minutes=60)
    """The spacing of a chain step that names none; the lint warns (L2) below it."""
    max_running: int = 4
    """The most runs in progress at a time."""
