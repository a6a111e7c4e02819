"""What the error report reads in the scheduler's database, through the block `ledger`.

The report goes by runs that have ended: when a run's end is on record, so are all of its log lines. Ends are
looked for some time before the last report, too: a transaction that was under way while that one was read
can have an earlier instant. What it has told already is in the receipt of its mail.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from headway.models.columns import Duration, Json, UtcDateTime
from headway.models.duration import read_duration

LOOK_BACK = timedelta(minutes=15)
"""No transaction of the ledger is under way for longer."""
FIRST_PERIOD = timedelta(days=1)
LONG_RUNNING = timedelta(hours=18)
ERROR_LEVEL = 40
MUCH_LONGER = 3
"""A run is stuck once it is in progress for so many times what is usual, and ten minutes longer at least."""
LEAST_EXCESS = timedelta(minutes=10)
STREAMED = {"yield_per": 2000}
GOOD = ("completed", "completed_with_errors")

TASK = sa.table(
    "task",
    sa.column("uid", sa.BigInteger()),
    sa.column("name", sa.Text()),
    sa.column("type", sa.Text()),
    sa.column("historical", sa.Boolean()),
    sa.column("on_failure", sa.Text()),
    sa.column("failed_run_id", sa.BigInteger()),
    sa.column("expected_duration", Duration()),
    sa.column("learned_duration", Duration()),
)
RUN = sa.table(
    "run",
    sa.column("id", sa.BigInteger()),
    sa.column("task_uid", sa.BigInteger()),
    sa.column("type", sa.Text()),
    sa.column("status", sa.Text()),
    sa.column("error", sa.Text()),
    sa.column("errors", sa.Integer()),
    sa.column("process_id", sa.BigInteger()),
    sa.column("flow_run_id", sa.Text()),
    sa.column("started_at", UtcDateTime()),
    sa.column("ended_at", UtcDateTime()),
)
LOG = sa.table(
    "run_log",
    sa.column("id", sa.BigInteger()),
    sa.column("run_id", sa.BigInteger()),
    sa.column("at", UtcDateTime()),
    sa.column("level", sa.Integer()),
    sa.column("message", sa.Text()),
)
FILE = sa.table(
    "run_file", sa.column("id", sa.BigInteger()), sa.column("run_id", sa.BigInteger()), sa.column("receipt", Json())
)
SETTING = sa.table("setting", sa.column("key", sa.Text()), sa.column("value", Json()))


@dataclass(frozen=True)
class Period:
    """Runs that ended after `since`, up to `until`; and those of `told`'s time that the last report did not see."""

    since: datetime
    until: datetime
    told: frozenset[int] = frozenset()


@dataclass(frozen=True)
class OwnRun:
    """The report's own run in the ledger."""

    id: int
    task_uid: int
    started_at: datetime


@dataclass(kw_only=True, frozen=True)
class ErrorLine:
    """One error line of the task log. A failed run that logged none has one of its own, with why it failed."""

    at: datetime
    task_uid: int
    task: str
    type: str
    run_id: int
    run_ended_at: datetime
    failure: str | None
    """Why the run failed; None where it did not."""
    text: str


@dataclass(kw_only=True, frozen=True)
class Trouble:
    """A task that an operator has to look at. since: since when it is so."""

    task: str
    type: str
    run_id: int
    since: datetime
    what: str
    text: str


@dataclass(frozen=True)
class GoodRuns:
    """A task's runs that ended well: the last one in the period, and the last one before it."""

    last_id: int = 0
    last_at: datetime | None = None
    before_at: datetime | None = None
    first_at: datetime | None = None


def own_run(connection: sa.Connection, key: str | None) -> OwnRun | None:
    """The run of that `headway.flows.shared.result.run_key()`; None where the ledger has none, as in plain Prefect."""
    if key is None:
        return None
    named = RUN.c.id == int(key) if key.isdecimal() else RUN.c.flow_run_id == key
    row = connection.execute(sa.select(RUN.c.id, RUN.c.task_uid, RUN.c.started_at).where(named)).first()
    return None if row is None else OwnRun(row.id, row.task_uid, row.started_at or datetime.now(UTC))


def last_covers(connection: sa.Connection, task_uid: int) -> tuple[int, dict[str, Any]] | None:
    """The newest receipt of the task's mails that says what it covers, with its run; also that of a run that died."""
    statement = (
        sa.select(FILE.c.run_id, FILE.c.receipt)
        .join_from(FILE, RUN, RUN.c.id == FILE.c.run_id)
        .where(RUN.c.task_uid == task_uid)
        .order_by(FILE.c.id.desc())
        .limit(50)
    )
    found = ((row.run_id, row.receipt) for row in connection.execute(statement))
    return next(((run_id, receipt) for run_id, receipt in found if receipt.get("covers")), None)


def period_of(own: OwnRun | None, covers: dict[str, Any] | None, now: datetime) -> Period:
    """From the last report's end to this run's start; the first report is about a day."""
    until = own.started_at if own else now
    if covers is None:
        return Period(until - FIRST_PERIOD, until)
    return Period(datetime.fromisoformat(covers["until"]), until, frozenset(covers["late"]))


def covers_of(period: Period, late: list[int], lines: int) -> dict[str, Any]:
    """What the receipt says, for `period_of` of the next report."""
    instants = {"since": period.since.isoformat(), "until": period.until.isoformat()}
    return {"covers": {**instants, "late": late, "lines": lines}}


def error_lines(connection: sa.Connection, period: Period) -> Iterator[ErrorLine]:
    """The period's error lines, by the ends of their runs; read as they are consumed."""
    seen = RUN.c.ended_at > period.since - LOOK_BACK
    for row in connection.execute(_lines(seen, period.until), execution_options=STREAMED):
        if row.ended_at > period.since or row.run_id not in period.told:
            yield _line(row)


def earlier_lines(connection: sa.Connection, period: Period, days: int) -> Iterator[ErrorLine]:
    """The error lines of so many days before the period."""
    after = RUN.c.ended_at > period.since - timedelta(days=days)
    for row in connection.execute(_lines(after, period.since), execution_options=STREAMED):
        if row.ended_at <= period.since - LOOK_BACK or row.run_id in period.told:
            yield _line(row)


def _lines(after: sa.ColumnElement[bool], until: datetime) -> sa.Select[Any]:
    errors = sa.and_(LOG.c.run_id == RUN.c.id, LOG.c.level >= ERROR_LEVEL)
    return (
        sa.select(
            RUN.c.id.label("run_id"),
            RUN.c.task_uid,
            RUN.c.type,
            RUN.c.status,
            RUN.c.error,
            RUN.c.ended_at,
            TASK.c.name,
            LOG.c.at,
            LOG.c.message,
        )
        .join_from(RUN, TASK, TASK.c.uid == RUN.c.task_uid)
        .outerjoin(LOG, errors)
        .where(after, RUN.c.ended_at <= until, sa.or_(LOG.c.id.is_not(None), RUN.c.status == "failed"))
        .order_by(RUN.c.ended_at, RUN.c.id, LOG.c.id)
    )


def _line(row: Any) -> ErrorLine:
    failure = (row.error or "It failed, and nobody knows why.") if row.status == "failed" else None
    return ErrorLine(
        at=row.at or row.ended_at,
        task_uid=row.task_uid,
        task=row.name,
        type=row.type,
        run_id=row.run_id,
        run_ended_at=row.ended_at,
        failure=failure,
        text=row.message if row.message is not None else failure or "",
    )


def good_runs(connection: sa.Connection, period: Period) -> dict[int, GoodRuns]:
    """By task UID, for tasks with a run that ended well in the period."""
    good = RUN.c.status.in_(GOOD)
    recent = (
        sa.select(
            RUN.c.task_uid,
            sa.func.max(RUN.c.id).label("last_id"),
            sa.func.max(RUN.c.ended_at).label("last_at"),
            sa.func.min(RUN.c.ended_at).label("first_at"),
        )
        .where(good, RUN.c.ended_at > period.since, RUN.c.ended_at <= period.until)
        .group_by(RUN.c.task_uid)
    )
    found = {row.task_uid: GoodRuns(row.last_id, row.last_at, None, row.first_at) for row in connection.execute(recent)}
    before = (
        sa.select(RUN.c.task_uid, sa.func.max(RUN.c.ended_at).label("at"))
        .where(good, RUN.c.ended_at <= period.since, RUN.c.ended_at > period.since - timedelta(days=90))
        .group_by(RUN.c.task_uid)
    )
    for row in connection.execute(before):
        if one := found.get(row.task_uid):
            found[row.task_uid] = GoodRuns(one.last_id, one.last_at, row.at, one.first_at)
    return found


def troubles(connection: sa.Connection, now: datetime) -> list[Trouble]:
    """Tasks that need a reset, and runs in progress for much longer than usual or than the setting allows."""
    return [*_to_reset(connection), *_stuck(connection, now)]


def _to_reset(connection: sa.Connection) -> Iterator[Trouble]:
    statement = (
        sa.select(TASK.c.name, TASK.c.type, RUN.c.id, RUN.c.error, RUN.c.ended_at, RUN.c.process_id)
        .join_from(TASK, RUN, RUN.c.id == TASK.c.failed_run_id)
        .where(TASK.c.on_failure == "hold", TASK.c.historical.is_(False))
        .order_by(RUN.c.ended_at)
    )
    for row in connection.execute(statement):
        process = f" Process ID {row.process_id} is not proven gone." if row.process_id else ""
        text = f"{row.error or 'It failed.'}{process}"
        yield Trouble(task=row.name, type=row.type, run_id=row.id, since=row.ended_at, what="needs a reset", text=text)


def _stuck(connection: sa.Connection, now: datetime) -> Iterator[Trouble]:
    limit = _long_running(connection)
    statement = (
        sa.select(
            TASK.c.name,
            TASK.c.type,
            TASK.c.expected_duration,
            TASK.c.learned_duration,
            RUN.c.id,
            RUN.c.started_at,
            RUN.c.process_id,
        )
        .join_from(RUN, TASK, TASK.c.uid == RUN.c.task_uid)
        .where(RUN.c.ended_at.is_(None), RUN.c.status.in_(["starting", "running"]), RUN.c.started_at.is_not(None))
        .order_by(RUN.c.started_at)
    )
    for row in connection.execute(statement):
        lasted = now - row.started_at
        usual = row.expected_duration or row.learned_duration
        if lasted <= limit and (usual is None or lasted <= max(MUCH_LONGER * usual, usual + LEAST_EXCESS)):
            continue
        text = f"in progress for {in_words(lasted)}" + (f", usually {in_words(usual)}" if usual else "")
        text += f"; process ID {row.process_id}"
        yield Trouble(task=row.name, type=row.type, run_id=row.id, since=row.started_at, what="stuck", text=text)


def _long_running(connection: sa.Connection) -> timedelta:
    stored = connection.execute(sa.select(SETTING.c.value).where(SETTING.c.key == "long_running")).scalar()
    return LONG_RUNNING if stored is None else read_duration(stored)


def never_started(connection: sa.Connection, period: Period) -> dict[str, int]:
    """How many runs of the period were missed or skipped, by result."""
    statement = (
        sa.select(RUN.c.status, sa.func.count().label("runs"))
        .where(RUN.c.status.in_(["missed", "skipped"]), RUN.c.ended_at > period.since, RUN.c.ended_at <= period.until)
        .group_by(RUN.c.status)
        .order_by(RUN.c.status)
    )
    return {row.status: row.runs for row in connection.execute(statement)}


def in_words(length: timedelta) -> str:
    """`2 d 4 h`, `5 h 10 min`, `12 min`, `40 s`."""
    seconds = int(length.total_seconds())
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"
