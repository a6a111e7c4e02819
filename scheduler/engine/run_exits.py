"""What follows when a run's process has left: ledger and Prefect know how the run ended, however it left."""

import logging

from sqlalchemy.exc import SQLAlchemyError

from headway.models.ledger.database import writing
from headway.scheduler.engine.heartbeat import Heartbeat
from headway.scheduler.engine.prefect_sync import PrefectSync
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.warm_server import Exited
from headway.scheduler.store.runs.run_ends import end_exited
from headway.text import first_line

log = logging.getLogger("headway.worker")


class RunExits:
    """One worker's part in the ends of its runs' processes. `close` may be called from any thread."""

    def __init__(self, worker: ThisWorker, signals: Signals, heartbeat: Heartbeat, prefect: PrefectSync) -> None:
        self.begun: set[str] = set()
        """Claims that were handed to a process whose end is still to come."""
        self._worker = worker
        self._signals = signals
        self._heartbeat = heartbeat
        self._prefect = prefect

    def on_exit(self, exited: Exited) -> None:
        """Close the run; again and again while the database is away."""
        while not self._signals.stopping.is_set():
            try:
                self.close(exited)
                break
            except SQLAlchemyError as error:
                log.error("the end of run %s could not be written, trying again: %s", exited.run_id, first_line(error))
                self._signals.stopping.wait(1)
        self._signals.wake.set()

    def close(self, exited: Exited) -> None:
        """End the run where its process left it open, and tell Prefect where the process cannot have done so."""
        self.begun.discard(exited.claim)
        said = exited.describe()
        with writing(self._worker.engine) as session:
            found = end_exited(
                session, exited.run_id, exited.claim, said, now=self._worker.clock.now(), who=self._worker.id
            )
        if found is None:
            return
        if found.put_back:
            self._heartbeat.check_prefect()  # the process found Prefect away, perhaps before this worker did
        elif exited.exit_code != ExitCode.RECORDED:
            flow_run_id = found.flow_run_id or self._prefect.flow_run_of(exited.run_id, found.attempt)
            if flow_run_id:
                self._prefect.tell(flow_run_id, "cancelled" if found.cancelled else "crashed", said)
