"""What tests of reports share: a ledger with known runs, and a report's table without any delivery."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlmodel import Session

from headway.blocks.database.block import Database
from headway.flows.report_execution.catalog import SHIPPED, load
from headway.flows.report_execution.cells import Totals, shown_columns
from headway.flows.report_execution.sql import statement
from headway.flows.report_execution.time_frames import DayClock
from headway.flows.report_execution.values import values_of
from headway.models.ledger.tables import ReleaseRow, RunRow, TaskRow, WindowRow
from headway.models.values.run import RunStatus, Trigger
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy
from tests.support.clock import utc

NEW_YORK = ZoneInfo("America/New_York")
DUE = utc("2026-11-23T12:00")  # Monday 07:00 in New York


def table(
    name: str, database: Database, *, due: datetime = DUE, zone: ZoneInfo = NEW_YORK, day_start: time = time(), **given
) -> list[dict[str, str]]:
    """The shipped report's rows as people read them, by column; the last one has the totals if there are any."""
    report = load(SHIPPED / f"{name}.sql")
    query = statement(report.sql, database.dialect, values_of(report, given, due, DayClock(zone, day_start)))
    with database.stream(query) as stream:
        columns = shown_columns(report, stream.columns, zone)
        totals = Totals(columns)
        rows = []
        for row in (row for batch in stream.batches for row in batch):
            values = [one.read(value, totals.rows + 1) for one, value in zip(columns, row, strict=True)]
            totals.add(values)
            rows.append([one.text(value) for one, value in zip(columns, values, strict=True)])
    if totals.wanted:
        rows.append(totals.texts())
    return [dict(zip((one.name for one in columns), row, strict=True)) for row in rows]


def fill_ledger(engine: sa.Engine) -> None:
    """Three tasks, their runs around Monday 23 November 2026, and one released window occurrence."""
    with Session(engine) as session:
        a = _task(session, "Citations export", "data_export")
        b = _task(session, "Permits import", "lookup_import", WindowPolicy.REQUIRE)
        c = _task(session, "Nightly purge", "lookup_import")
        # Instants are UTC; New York is five hours behind.
        _run(session, a, "2026-11-22T13:00", "2026-11-22T13:00:30", "2026-11-22T13:10:30", processed=100, bytes=2048)
        _run(session, a, "2026-11-22T14:00", "2026-11-22T14:02", "2026-11-22T14:32", processed=300, bytes=1024)
        _run(session, a, "2026-11-22T15:00", "2026-11-22T15:00", "2026-11-22T15:01", RunStatus.FAILED)
        # Sunday 05:10 local: inside the daily window.
        _run(
            session,
            b,
            "2026-11-22T10:10",
            "2026-11-22T10:10",
            "2026-11-22T10:11:30",
            RunStatus.COMPLETED_WITH_ERRORS,
            errors=2,
        )
        # Sunday 23:30 local, in a window over midnight that begins on Sunday; still Sunday.
        _run(session, c, "2026-11-23T04:30", "2026-11-23T04:30", "2026-11-23T04:40")
        # Monday 00:30 local: in the same occurrence, and in the Monday window; another day.
        _run(session, c, "2026-11-23T05:30", "2026-11-23T05:30", None, RunStatus.RUNNING)
        _run(session, c, "2026-11-23T07:00", None, None, RunStatus.WAITING)
        night = WindowRow(name="Sunday night", days=[6], start=time(23), end=time(1), timezone="America/New_York")
        session.add(night)
        session.flush()
        session.add(
            ReleaseRow(
                window_id=night.id, day=date(2026, 11, 22), released_by="ops", released_at=utc("2026-11-20T12:00")
            )
        )
        session.commit()


def _task(session: Session, name: str, type_name: str, window: WindowPolicy = WindowPolicy.AVOID) -> TaskRow:
    at = utc("2026-11-01T00:00")
    row = TaskRow(
        name=name, type=type_name, window=window, on_failure=OnFailure.HOLD, on_errors=OnErrors.CONTINUE,
        catch_up=CatchUp.LATEST, retry_delay=timedelta(minutes=5),
        created_at=at, updated_at=at, accounted_at=at,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def _run(
    session: Session,
    task: TaskRow,
    due: str,
    started: str | None,
    ended: str | None,
    status: RunStatus = RunStatus.COMPLETED,
    **counts: int,
) -> None:
    at = utc(due)
    session.add(
        RunRow(
            task_uid=task.uid, type=task.type, due_at=at, trigger=Trigger.SCHEDULE, status=status, created_at=at,
            started_at=utc(started) if started else None, ended_at=utc(ended) if ended else None, sorted_at=at,
            **counts,
        )
    )  # fmt: skip
