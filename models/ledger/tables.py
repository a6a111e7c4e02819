"""The scheduler's tables: tasks, the ledger of runs, locks, windows, people, audit.

Uniqueness and exclusion are constraints here; the rules only explain them.
"""

from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import CheckConstraint, Column, Enum, Index, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from headway.models.columns import BigId, Duration, Json, UtcDateTime, new_metadata
from headway.models.values.actor import Privilege
from headway.models.values.pickup import PickUp
from headway.models.values.run import RunStatus, Trigger
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy

metadata = new_metadata()


class _Row(SQLModel):
    metadata = metadata


def _enum(kind: type) -> Enum:
    """An enum stored as its values, as text with a check."""
    return Enum(
        kind, values_callable=lambda kind: [one.value for one in kind], native_enum=False, length=32, name=kind.__name__
    )


class TaskRow(_Row, table=True):
    """A task. The last four columns are kept by the ledger's transitions so that a turn need not search history."""

    __tablename__ = "task"
    __table_args__ = (
        CheckConstraint(
            "(cron IS NULL OR once IS NULL) AND (after_uid IS NULL OR (cron IS NULL AND once IS NULL))",
            name="one_schedule",
        ),
        {"sqlite_autoincrement": True},  # a UID is never given again
    )

    uid: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    name: str = Field(unique=True)
    type: str = Field(index=True)
    object: str = ""
    description: str = ""
    cron: str | None = None
    once: str | None = None  # local wall time, ISO 8601 without offset
    after_uid: int | None = Field(default=None, foreign_key="task.uid", index=True)
    spacing: timedelta | None = Field(default=None, sa_column=Column(Duration()))
    timezone: str | None = None  # None: the settings' zone
    enabled: bool = True
    historical: bool = False
    window: WindowPolicy = Field(sa_column=Column(_enum(WindowPolicy), nullable=False))
    on_failure: OnFailure = Field(sa_column=Column(_enum(OnFailure), nullable=False))
    on_errors: OnErrors = Field(sa_column=Column(_enum(OnErrors), nullable=False))
    catch_up: CatchUp = Field(sa_column=Column(_enum(CatchUp), nullable=False))
    expected_duration: timedelta | None = Field(default=None, sa_column=Column(Duration()))
    retries: int = 0
    retry_delay: timedelta = Field(sa_column=Column(Duration(), nullable=False))
    parameters: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json(), nullable=False))
    version: int = 1  # counts edits, so that the second of two editors is refused
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    updated_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    accounted_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))  # no due before it lacks a row
    next_due_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime(), index=True))
    last_started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    last_run_id: int | None = None  # the last run that ended after having started
    failed_run_id: int | None = None  # that run, if it failed and has not been reset
    learned_duration: timedelta | None = Field(default=None, sa_column=Column(Duration()))
    sequence: int = 0  # how many runs have been claimed: the {sequence} of file names


class TaskTypeRow(_Row, table=True):
    """A task type: what `headway deploy` read back from Prefect about a deployment on the headway pool."""

    __tablename__ = "task_type"

    name: str = Field(primary_key=True)
    group_name: str
    exporter: bool = False
    description: str = ""
    entrypoint: str = ""
    deployment_id: str = ""
    work_pool: str = Field(default="headway", sa_column_kwargs={"server_default": "headway"})  # who executes its runs
    parameter_schema: dict[str, Any] | None = Field(default=None, sa_column=Column(Json()))
    tags: list[str] = Field(default_factory=list, sa_column=Column(Json(), nullable=False))
    updated_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class RunRow(_Row, table=True):
    """The ledger: one row a run. A claim is a fencing token: later writes about the run must carry it."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("task_uid", "due_at", "trigger", name="uq_run_occurrence"),
        Index(
            "ix_run_open", "status", sqlite_where=text("ended_at IS NULL"), postgresql_where=text("ended_at IS NULL")
        ),
        Index("ix_run_log", "sorted_at", "id"),
        Index("ix_run_task_log", "task_uid", "sorted_at", "id"),
        Index("ix_run_result", "status", "sorted_at", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    task_uid: int = Field(foreign_key="task.uid")
    type: str
    object: str = ""
    step: int = 1
    due_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    trigger: Trigger = Field(sa_column=Column(_enum(Trigger), nullable=False))
    status: RunStatus = Field(sa_column=Column(_enum(RunStatus), nullable=False))
    attempt: int = 0
    claim: str | None = None
    worker_id: str | None = Field(default=None, index=True)
    work_pool: str = Field(default="", sa_column_kwargs={"server_default": ""})  # where it was handed to; "": nowhere
    follow: bool = True  # whether the chain goes on after it
    overrides: list[str] = Field(default_factory=list, sa_column=Column(Json(), nullable=False))
    override_reason: str | None = None
    requested_by: str | None = None
    cause_run_id: int | None = Field(default=None, index=True)  # the predecessor's run
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    running_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    ended_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    sorted_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))  # the log's order: start, else due
    sequence: int | None = None
    parameters: dict[str, Any] | None = Field(default=None, sa_column=Column(Json()))  # as resolved at the claim
    flow_run_id: str | None = Field(default=None, unique=True)
    process_id: int = 0
    process_ticks: int | None = None  # with boot and host it names the process for good; a bare PID does not
    process_boot: str | None = None
    process_host: str | None = None
    progress: float | None = None
    processed: int = 0
    errors: int = 0
    bytes: int = 0
    message: str = ""
    error: str | None = None
    retry_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))  # waiting again, due from then
    reset_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    reset_by: str | None = None
    cancel_asked_by: str | None = None
    alerted_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))  # long-running alert sent
    failure_alerted_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))  # "it failed" sent


class RunEventRow(_Row, table=True):
    """One step in a run's life: who moved it on, when, why."""

    __tablename__ = "run_event"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    run_id: int = Field(foreign_key="run.id", index=True, ondelete="CASCADE")
    at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    before: str | None = None
    after: str
    who: str
    why: str = ""


class RunLogRow(_Row, table=True):
    """One log line of a run."""

    __tablename__ = "run_log"
    __table_args__ = (Index("ix_run_log_lines", "run_id", "id"), {"sqlite_autoincrement": True})

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    run_id: int = Field(foreign_key="run.id", ondelete="CASCADE")
    at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    level: int
    logger: str = ""
    message: str


_LYING = "pickup = 'lying'"


class RunFileRow(_Row, table=True):
    """A file that a run delivered: its receipt, and, at the importer path, whether it was picked up."""

    __tablename__ = "run_file"
    __table_args__ = (Index("ix_run_file_lying", "id", sqlite_where=text(_LYING), postgresql_where=text(_LYING)),)

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    run_id: int = Field(foreign_key="run.id", index=True, ondelete="CASCADE")
    at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    name: str
    path: str = ""
    bytes: int = 0
    sha256: str = ""
    receipt: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json(), nullable=False))
    pickup: PickUp | None = Field(default=None, sa_column=Column(_enum(PickUp)))  # None: no receiver is to pick it up
    pickup_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))  # when it was seen so
    overdue_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))  # when it was warned about


class LockRow(_Row, table=True):
    """What a starting or running run has to itself: its group, its task, a slot of the capacity."""

    __tablename__ = "lock"

    name: str = Field(primary_key=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    claim: str
    at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class WindowRow(_Row, table=True):
    """A weekly maintenance window."""

    __tablename__ = "window"

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    name: str = Field(unique=True)
    days: list[int] = Field(sa_column=Column(Json(), nullable=False))
    start: time
    end: time
    timezone: str | None = None  # None: the settings' zone


class ReleaseRow(_Row, table=True):
    """An occurrence that operators gave back: the window and the local date of its start."""

    __tablename__ = "window_release"

    window_id: int = Field(foreign_key="window.id", primary_key=True, ondelete="CASCADE")
    day: date = Field(primary_key=True)
    released_by: str
    released_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class UserRow(_Row, table=True):
    """A person who may sign in."""

    __tablename__ = "user_account"

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    name: str = Field(unique=True)
    password_hash: str | None = None
    must_change_password: bool = True
    locked_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    failed_sign_ins: int = 0
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


class GrantRow(_Row, table=True):
    """One privilege of one user."""

    __tablename__ = "user_grant"

    user_id: int = Field(foreign_key="user_account.id", primary_key=True, ondelete="CASCADE")
    privilege: Privilege = Field(sa_column=Column(_enum(Privilege), primary_key=True))


class AuditRow(_Row, table=True):
    """Who changed what, when, from what to what. Never purged."""

    __tablename__ = "audit"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False, index=True))
    actor: str
    action: str
    subject: str
    before: Any = Field(default=None, sa_column=Column(Json()))
    after: Any = Field(default=None, sa_column=Column(Json()))
    reason: str | None = None


class SettingRow(_Row, table=True):
    """One setting that differs from its default."""

    __tablename__ = "setting"

    key: str = Field(primary_key=True)
    value: Any = Field(default=None, sa_column=Column(Json()))


class WorkerRow(_Row, table=True):
    """A worker and its sign of life."""

    __tablename__ = "worker"

    id: str = Field(primary_key=True)
    host: str
    process_id: int
    process_ticks: int | None = None
    process_boot: str | None = None
    started_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    seen_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False, index=True))
    stopped_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))
    engine_problem: str | None = None  # why it cannot reach Prefect


class ChoreRow(_Row, table=True):
    """Something that one worker at a time does now and then. The worker that moves `next_at` on does it."""

    __tablename__ = "chore"

    name: str = Field(primary_key=True)
    next_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    worker_id: str = ""


class SignInRow(_Row, table=True):
    """One sign-in to the dashboard. Only a hash of its token is kept, so that the table is no way to sign in."""

    __tablename__ = "sign_in_session"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: int | None = Field(default=None, sa_column=Column(BigId(), primary_key=True, autoincrement=True))
    token_hash: str = Field(unique=True)
    user_id: int = Field(foreign_key="user_account.id", index=True, ondelete="CASCADE")
    stamp: str  # of password and privileges at sign-in: when either changes, the session is over
    address: str = ""
    timezone: str | None = None  # what the viewer reads times in; None: the settings' zone
    created_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))
    seen_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))  # last act of a person, not a refresh
    ended_at: datetime | None = Field(default=None, sa_column=Column(UtcDateTime()))


class SignInThrottleRow(_Row, table=True):
    """Failed sign-ins by user name or by address, whether or not such a user exists."""

    __tablename__ = "sign_in_throttle"

    key: str = Field(primary_key=True)
    failures: int = 0
    last_at: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False, index=True))
    blocked_until: datetime = Field(sa_column=Column(UtcDateTime(), nullable=False))


Numbered = TaskRow | RunRow | RunEventRow | RunLogRow | RunFileRow | WindowRow | UserRow | AuditRow | SignInRow


def id_of(row: Numbered) -> int:
    """The number that the database gave a row: its ID, of a task its UID. ValueError where it was never stored."""
    number = row.uid if isinstance(row, TaskRow) else row.id
    if number is None:
        raise ValueError(f"a {type(row).__name__} has no number before it is stored")
    return number
