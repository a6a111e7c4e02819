"""The one alert a run that takes too long: by mail where a mail block is set, else to the log."""

import logging
from datetime import datetime

from sqlalchemy import Engine, update
from sqlmodel import col, select

from models.db import reading, writing
from models.domain import ACTIVE
from models.tables import RunRow, TaskRow
from scheduler.mail import send_mail
from scheduler.store.settings import load_settings

log = logging.getLogger("headway.alerts")


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
        with writing(engine) as session:  # whoever sets the mark sends the alert, so that several workers send one
            mark = update(RunRow).where(col(RunRow.id) == row.id, col(RunRow.alerted_at).is_(None))
            if session.execute(mark.values(alerted_at=now)).rowcount != 1:  # type: ignore[attr-defined]
                continue
        hours = limit.total_seconds() / 3600
        subject = f"Headway: '{name}' has been in progress for more than {hours:g} h"
        text = f"Run {row.id} of '{name}' started {row.started_at:%Y-%m-%d %H:%M} UTC, process ID {row.process_id}."
        log.warning("%s. %s", subject, text)
        send_mail(recipients, subject, text)
        alerted.append(row.id)
    return alerted
