"""Alerts about runs, one each: it takes too long; it failed. By mail where a mail block is set, and to the log.

The worker that sets a run's mark sends the mail, so that several workers send one. The mail leaves after the commit:
no transaction waits for a mail server. A worker that dies in between leaves its mail unsent.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Engine

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.task import OnFailure
from headway.scheduler.prefect_side.mail import send_mail
from headway.scheduler.store.runs import run_alerts
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
        late = run_alerts.long_running(session, limit, now)
    alerted = []
    for row, name in late:
        with writing(engine) as session:
            if not run_alerts.mark_long_running(session, id_of(row), now):
                continue
        hours = limit.total_seconds() / 3600
        subject = f"Headway: '{name}' has been in progress for more than {hours:g} h"
        text = f"Run {row.id} of '{name}' started {row.started_at:%Y-%m-%d %H:%M} UTC, process ID {row.process_id}."
        log.warning("%s. %s", subject, text)
        send_mail(recipients, subject, text)
        alerted.append(id_of(row))
    return alerted


def alert_failures(engine: Engine, now: datetime) -> list[int]:
    """Alert about runs that failed in the last day, once each; the runs alerted. What fails together is one mail."""
    with reading(engine) as session:
        settings = load_settings(session)
        found = run_alerts.failures(
            session, ended_after=now - NEWS_FOR, started_after=now - _LONGEST_RUN, most=_MOST_IN_A_MAIL
        )
    if not found:
        return []
    with writing(engine) as session:
        ours = [(run, task) for run, task in found if run_alerts.mark_failure(session, id_of(run), now)]
    if settings.alert_on_failure and ours:
        subject, text = _told(ours)
        log.warning("%s", subject)
        send_mail(settings.alert_recipients, subject, text)
    return [id_of(run) for run, _ in ours]


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
