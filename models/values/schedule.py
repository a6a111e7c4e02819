"""When a task comes due: by a cron expression, at one local time, or after another task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Cron:
    """Due whenever the expression matches in the task's zone."""

    expression: str
    """Five fields, in CronSim's dialect of Debian cron."""


@dataclass(frozen=True, slots=True)
class Once:
    """Due a single time."""

    at: datetime
    """A naive wall time of the task's zone."""


@dataclass(frozen=True, slots=True)
class After:
    """A chain's later step: due `spacing` after its predecessor's start, or at its end where that is later."""

    predecessor: int
    """The UID of the step before."""
    spacing: timedelta


Schedule = Cron | Once | After
