"""A run: its status and what may follow it, its trigger, and the value that a board moves along."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from headway.models.values.task import Task


class RunStatus(enum.StrEnum):
    WAITING = "waiting"  # in the ledger, not started; the turn moves it on; never purged
    STARTING = "starting"  # claimed, its process is on the way; the run's process moves it on; never purged
    RUNNING = "running"  # its flow runs in Prefect; the run's process, or a worker that finds it lost; never purged
    COMPLETED = "completed"  # the flow finished and counted no error; final; may be purged
    COMPLETED_WITH_ERRORS = "completed_with_errors"  # finished with at least one error; final; may be purged
    FAILED = "failed"  # the flow or its process failed; final; purged only once it has been reset
    CANCELLED = "cancelled"  # somebody ended it (reset, or Cancel in Prefect); final; may be purged
    SUPERSEDED = "superseded"  # a newer occurrence came due while it waited; final; may be purged
    MISSED = "missed"  # came due while no worker was alive and a later one was; final; may be purged
    SKIPPED = "skipped"  # a step whose predecessor failed or was cancelled; final; may be purged


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
"""What may follow what. A status that is no key here is final."""


OPEN = frozenset({RunStatus.WAITING, RunStatus.STARTING, RunStatus.RUNNING})


ACTIVE = frozenset({RunStatus.STARTING, RunStatus.RUNNING})


FINISHED_WELL = frozenset({RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS})


RAN = FINISHED_WELL | {RunStatus.FAILED, RunStatus.CANCELLED}


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


class Trigger(enum.StrEnum):
    SCHEDULE = "schedule"  # an occurrence of the task's own schedule
    CHAIN = "chain"  # the next step, made when its predecessor ended
    MANUAL = "manual"  # Run now
    PREFECT = "prefect"  # somebody started the deployment in Prefect itself


@dataclass(kw_only=True, slots=True, eq=False)
class Run:
    """One execution on a board. The only value here that changes: the board moves it along its life."""

    task: Task
    due_at: datetime
    trigger: Trigger = Trigger.SCHEDULE
    status: RunStatus = RunStatus.WAITING
    started_at: datetime | None = None
    ended_at: datetime | None = None
    id: int = 0
    attempt: int = 0
    follow: bool = True
    overrides: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task needs a reset: its last finished run failed and nobody has reset it."""

    run_id: int
    ended_at: datetime | None
    error: str = ""
