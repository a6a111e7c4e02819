"""Runs whose process stands still: stopped by a signal or a debugger. The worker tells of it, an operator decides.

The worker lives, so nothing is lost and nothing may be ended on its behalf: the process may go on at any moment.
"""

import logging
from datetime import datetime, timedelta

from sqlalchemy import Engine

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow, id_of
from headway.scheduler.execution.process_identity import is_stopped
from headway.scheduler.prefect_side.mail import send_mail
from headway.scheduler.store.runs import stopped_runs
from headway.scheduler.store.settings import load_settings
from headway.scheduler.store.workers import STANDS_STILL, process_of

log = logging.getLogger("headway.stopped_processes")

TOLD_AFTER = timedelta(seconds=60)


class StoppedProcesses:
    """One worker's look at the processes of its host. Several workers of a host tell of each run once."""

    def __init__(self, engine: Engine, host: str) -> None:
        self._engine, self._host = engine, host
        self._since: dict[int, datetime] = {}

    def round(self, now: datetime) -> list[int]:
        """Tell of runs that have stood still for a minute, and of those that go on; the runs newly told of."""
        with reading(self._engine) as session:
            active = stopped_runs.with_process_on(session, self._host)
        stopped = [id_of(row) for row, _ in active if (process := process_of(row)) and is_stopped(process)]
        self._since = {run_id: self._since.get(run_id, now) for run_id in stopped}
        told = []
        for row, name in active:
            since, known = self._since.get(id_of(row)), row.message.startswith(STANDS_STILL)
            if since is not None and not known and now - since >= TOLD_AFTER:
                text = _in_words(row, since)
                if self._tell(row, text, logging.ERROR, now):
                    self._alert(name, f"run {row.id} of '{name}': {text}")
                    told.append(id_of(row))
            elif since is None and known:
                self._tell(row, "", logging.INFO, now)
        return told

    def _alert(self, name: str, text: str) -> None:
        log.warning("%s", text)
        with reading(self._engine) as session:
            recipients = load_settings(session).alert_recipients
        send_mail(recipients, f"Headway: '{name}' stands still", text[:1].upper() + text[1:])

    def _tell(self, row: RunRow, message: str, level: int, now: datetime) -> bool:
        """False if another worker has told of it, or the run has ended."""
        with writing(self._engine) as session:
            return stopped_runs.set_message(session, row, message, message or "its process goes on", level, now)


def _in_words(row: RunRow, since: datetime) -> str:
    return (
        f"{STANDS_STILL}: {row.process_id} on {row.process_host} has been stopped since {since:%Y-%m-%d %H:%M} UTC; "
        f"`kill -CONT {row.process_id}` there lets it go on, a reset ends it"
    )
