"""A run: its status and what may follow it, its trigger, and the run as the rules see it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from headway.models.values.task import Task


class RunStatus(enum.StrEnum):
    """How far a run is. Each member says what it means, who moves the run on, and whether it may be purged."""

    WAITING = "waiting"
    """In the ledger, not started. A turn moves it on. Never purged."""
    STARTING = "starting"
    """Claimed, its process is on the way. The run's process moves it on. Never purged."""
    RUNNING = "running"
    """Its flow runs in Prefect. The run's process moves it on, or a worker that finds it lost. Never purged."""
    COMPLETED = "completed"
    """The flow finished and counted no error. Final. May be purged."""
    COMPLETED_WITH_ERRORS = "completed_with_errors"
    """The flow finished and counted at least one error. Final. May be purged."""
    FAILED = "failed"
    """The flow or its process failed. Final. Purged only after its reset."""
    CANCELLED = "cancelled"
    """An operator ended it, by a reset or by Cancel in Prefect. Final. May be purged."""
    SUPERSEDED = "superseded"
    """A newer occurrence came due while it waited. Final. May be purged."""
    MISSED = "missed"
    """It came due while no worker was alive, and so did a later one. Final. May be purged."""
    SKIPPED = "skipped"
    """A step whose predecessor failed or was cancelled. Final. May be purged."""


TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.WAITING: frozenset(
        {
            RunStatus.STARTING,
            RunStatus.SUPERSEDED,
            RunStatus.MISSED,
            RunStatus.SKIPPED,
            RunStatus.CANCELLED,
        }
    ),
    RunStatus.STARTING: frozenset({RunStatus.RUNNING, RunStatus.WAITING, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.RUNNING: frozenset(
        {
            RunStatus.COMPLETED,
            RunStatus.COMPLETED_WITH_ERRORS,
            RunStatus.FAILED,
            RunStatus.CANCELLED,
            RunStatus.WAITING,
        }
    ),
}
"""What may follow each status. A status that is no key here is final."""

OPEN = frozenset({RunStatus.WAITING, RunStatus.STARTING, RunStatus.RUNNING})
"""Not ended yet."""

ACTIVE = frozenset({RunStatus.STARTING, RunStatus.RUNNING})
"""In progress: it keeps its task and its group."""

FINISHED_WELL = frozenset({RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS})
"""The next step of a chain follows."""

RAN = FINISHED_WELL | {RunStatus.FAILED, RunStatus.CANCELLED}
"""Ended, as a rule after a start; the other final statuses never start."""

SHOWN_AS = {
    RunStatus.WAITING: "Waiting",
    RunStatus.STARTING: "In progress",
    RunStatus.RUNNING: "In progress",
    RunStatus.COMPLETED: "Completed",
    RunStatus.COMPLETED_WITH_ERRORS: "Completed - With Errors",
    RunStatus.FAILED: "Execution failed",
    RunStatus.SUPERSEDED: "Superseded",
    RunStatus.MISSED: "Missed",
    RunStatus.SKIPPED: "Skipped",
    RunStatus.CANCELLED: "Cancelled",
}
"""The Result column, and every other place where an operator reads a status."""


class Trigger(enum.StrEnum):
    """Why there is a run."""

    SCHEDULE = "schedule"
    """An occurrence of the task's own schedule."""
    CHAIN = "chain"
    """The next step, made when its predecessor ended."""
    MANUAL = "manual"
    """An operator asked for it: Run now."""
    PREFECT = "prefect"
    """A user or a schedule started the deployment in Prefect itself."""


@dataclass(kw_only=True, slots=True, eq=False)
class Run:
    """One execution, as the rules see it. The only value here that changes: the board moves it on."""

    task: Task
    due_at: datetime
    trigger: Trigger = Trigger.SCHEDULE
    status: RunStatus = RunStatus.WAITING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    id: int = 0
    """Of the ledger's row; 0 for a run that a forecast made up."""
    attempt: int = 0
    """How often it has started."""
    follow: bool = True
    """Whether the chain's next step follows a good end."""
    overrides: frozenset[str] = frozenset()
    """The rules lifted for this run."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task needs a reset: its last finished run failed and has not been reset."""

    run_id: int
    ended_at: datetime | None
    error: str = ""
