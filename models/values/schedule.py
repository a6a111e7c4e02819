"""When a task comes due by itself: a cron expression, one local time, or after another task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Cron:
    """Due whenever the five-field expression matches in the task's zone (CronSim's dialect of Debian cron)."""

    expression: str


@dataclass(frozen=True, slots=True)
class Once:
    """Due a single time: a local wall time of the task's zone (naive)."""

    at: datetime


@dataclass(frozen=True, slots=True)
class After:
    """A chain's later step: due `spacing` after the start of the task with the UID `predecessor`."""

    predecessor: int
    spacing: timedelta


Schedule = Cron | Once | After
