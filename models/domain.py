"""What things are: the words of the scheduling rules as plain values (standard library only).

Every instant here is an aware UTC datetime; every length of time is a timedelta.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple

FOREVER = datetime.max.replace(tzinfo=UTC)
"""An instant that never comes: the end of a window that never closes."""

LEAVES_AFTER = timedelta(hours=192)
"""A forecast gives up on a run that is still held this long after being due; windows look as far ahead."""

DEFAULT_TIMEZONE = "America/New_York"


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


class PickUp(enum.StrEnum):
    """What became of a file that was delivered to the importer path. The pick-up watch moves the first one on."""

    LYING = "lying"  # not seen taken so far; looked at every minute
    CONSUMED = "consumed"  # seen gone; final
    REPLACED = "replaced"  # another file has its name now, and nobody saw it taken before; final
    LEFT = "left"  # still there when the watch gave it up; final


class WindowPolicy(enum.StrEnum):
    AVOID = "avoid"
    REQUIRE = "require"
    ALLOW = "allow"


class OnFailure(enum.StrEnum):
    HOLD = "hold"
    CONTINUE = "continue"


class OnErrors(enum.StrEnum):
    CONTINUE = "continue"
    STOP = "stop"


class CatchUp(enum.StrEnum):
    LATEST = "latest"
    ALL = "all"


class Privilege(enum.StrEnum):
    VIEW = "view"
    MANAGE = "manage"
    PURGE = "purge"
    USERS = "users"


class RuleId(enum.StrEnum):
    RESET = "reset"
    BUSY = "busy"
    GROUP = "group"
    CAPACITY = "capacity"
    WINDOW = "window"
    SPACING = "spacing"
    ENGINE = "engine"


OVERRIDABLE = frozenset({RuleId.WINDOW, RuleId.SPACING})


class Level(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"


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


@dataclass(frozen=True, slots=True)
class Task:
    """What the rules know of a task. `step`, `root` and `successors` are filled by scheduler.chains.link."""

    uid: int
    name: str
    type: str
    group: str
    schedule: Schedule | None = None
    timezone: str = DEFAULT_TIMEZONE
    enabled: bool = True
    historical: bool = False
    window: WindowPolicy = WindowPolicy.AVOID
    on_failure: OnFailure = OnFailure.HOLD
    on_errors: OnErrors = OnErrors.CONTINUE
    catch_up: CatchUp = CatchUp.LATEST
    estimate: timedelta | None = None
    step: int = 1
    root: int = 0
    successors: tuple[int, ...] = ()

    @property
    def scheduled(self) -> bool:
        """Whether it gets runs by itself: neither disabled nor historical."""
        return self.enabled and not self.historical


@dataclass(slots=True, eq=False)
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


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly maintenance window: wall times of its own zone; `end <= start` means the next day.

    days: 0 = Monday .. 6 = Sunday, the local day of the start. released: the local start dates that operators
    gave back.
    """

    name: str
    days: frozenset[int]
    start: time
    end: time
    timezone: str = DEFAULT_TIMEZONE
    released: frozenset[date] = frozenset()


EVERY_DAY = frozenset(range(7))
DEFAULT_WINDOWS = (
    Window("Monday maintenance", frozenset({0}), time(0, 1), time(2, 0)),
    Window("Daily maintenance", EVERY_DAY, time(5, 0), time(6, 0)),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task needs a reset: its last finished run failed and nobody has reset it."""

    run_id: int
    ended_at: datetime | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that rules and lint read."""

    min_spacing: timedelta = timedelta(minutes=30)
    recommended_spacing: timedelta = timedelta(minutes=60)
    max_running: int = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of the lint: its id and level as in the rules, the tasks it names, an operator's sentence."""

    id: str
    level: Level
    tasks: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts. `privileges` is what was granted; `privileges.py` knows what that implies."""

    name: str
    privileges: frozenset[Privilege] = field(default_factory=frozenset)
    user_id: int | None = None


def utc(moment: datetime) -> datetime:
    """The same instant as aware UTC; a naive value is a programming error."""
    if moment.tzinfo is None:
        raise ValueError(f"naive datetime {moment!r}: say which zone it is in")
    return moment.astimezone(UTC)
