"""Alerts about runs, one each: it takes too long; it failed. By mail where a mail block is set, and to the log.

Whoever sets a run's mark sends the mail, so that several workers send one; and it is sent after that is committed, so
that no mail server is waited for in a transaction. A worker that dies in between leaves its line unsent.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine, update
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed, reading, writing
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.run import ACTIVE, RunStatus
from headway.models.values.task import OnFailure
from headway.scheduler.prefect_side.mail import send_mail
from headway.scheduler.store.settings import load_settings

log = logging.getLogger("headway.alerts")

NEWS_FOR = timedelta(days=1)
_LONGEST_RUN = timedelta(days=14)
_MOST_IN_A_MAIL = 50
_LONGEST_SUBJECT = 150


def alert_long_running(engine: Engine, now: datetime) -> list[int]:
    """Alert about runs that are longer in progress than the setting allows, once each; the runs alerted."""
    with reading(engine) as session:
        settings = load_settings(session)
        limit, recipients = settings.long_running, settings.alert_recipients
        late = session.exec(
            select(RunRow, TaskRow.name)
            .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
            .where(
                col(RunRow.ended_at).is_(None),
                col(RunRow.status).in_(ACTIVE),
                col(RunRow.started_at) <= now - limit,
                col(RunRow.alerted_at).is_(None),
            )
        ).all()
    alerted = []
    for row, name in late:
        assert row.id is not None
        with writing(engine) as session:
            mark = update(RunRow).where(col(RunRow.id) == row.id, col(RunRow.alerted_at).is_(None))
            if count_changed(session, mark.values(alerted_at=now)) != 1:
                continue
        hours = limit.total_seconds() / 3600
        subject = f"Headway: '{name}' has been in progress for more than {hours:g} h"
        text = f"Run {row.id} of '{name}' started {row.started_at:%Y-%m-%d %H:%M} UTC, process ID {row.process_id}."
        log.warning("%s. %s", subject, text)
        send_mail(recipients, subject, text)
        alerted.append(row.id)
    return alerted


def alert_failures(engine: Engine, now: datetime) -> list[int]:
    """Alert about runs that failed in the last day, once each; the runs alerted. What fails together is one mail."""
    with reading(engine) as session:
        settings = load_settings(session)
        found = session.exec(
            select(RunRow, TaskRow)
            .join(TaskRow, col(TaskRow.uid) == col(RunRow.task_uid))
            .where(
                RunRow.status == RunStatus.FAILED,
                col(RunRow.sorted_at) > now - _LONGEST_RUN,
                col(RunRow.ended_at) > now - NEWS_FOR,
                col(RunRow.failure_alerted_at).is_(None),
            )
            .order_by(col(RunRow.ended_at), col(RunRow.id))
            .limit(_MOST_IN_A_MAIL)
        ).all()
    if not found:
        return []
    with writing(engine) as session:
        ours = [(run, task) for run, task in found if _mark_failure(session, run.id, now)]
    if settings.alert_on_failure and ours:
        subject, text = _told(ours)
        log.warning("%s", subject)
        send_mail(settings.alert_recipients, subject, text)
    return [id_of(run) for run, _ in ours]


def _mark_failure(session: Session, run_id: int | None, now: datetime) -> bool:
    mark = update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.failure_alerted_at).is_(None))
    return count_changed(session, mark.values(failure_alerted_at=now)) == 1


def _told(failed: Sequence[tuple[RunRow, TaskRow]]) -> tuple[str, str]:
    """Subject and text of the mail about these runs."""
    names = list(dict.fromkeys(f"'{task.name}'" for _, task in failed))
    if len(failed) == 1:
        subject = f"Headway: {names[0]} failed: {failed[0][0].error or failed[0][0].message}"
    else:
        subject = f"Headway: {len(failed)} runs failed: {', '.join(names)}"
    if len(subject) > _LONGEST_SUBJECT:
        subject = subject[: _LONGEST_SUBJECT - 1] + "…"
    return subject, "\n\n".join(_paragraph(run, task) for run, task in failed)


def _paragraph(run: RunRow, task: TaskRow) -> str:
    ended = f"{run.ended_at:%Y-%m-%d %H:%M} UTC" if run.ended_at else "-"
    lines = [
        f"Run {run.id} of '{task.name}' ({run.type}) failed at {ended}, attempt {run.attempt}:",
        f"  {run.error or run.message or 'no error is recorded'}",
        f"See why: headway log {run.id}",
    ]
    if task.on_failure is OnFailure.HOLD:
        lines.append(f"It does not run again before somebody resets it: headway reset '{task.name}'")
    return "\n".join(lines)
