"""Between ledger and Prefect: the worker tells Prefect how runs ended, and cancels here what was cancelled there."""

import logging
from typing import Literal

from headway.errors import PrefectError
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow, id_of
from headway.models.values.run import RunStatus
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.execution.process_identity import end_group
from headway.scheduler.store import workers
from headway.scheduler.store.queries import active_runs
from headway.scheduler.store.runs.run_ends import ask_to_cancel

log = logging.getLogger("headway.worker")

End = Literal["completed", "failed", "cancelled", "crashed"]
_TOLD_AS: dict[RunStatus, End] = {
    RunStatus.COMPLETED: "completed",
    RunStatus.COMPLETED_WITH_ERRORS: "completed",
    RunStatus.FAILED: "failed",
    RunStatus.CANCELLED: "cancelled",
}
_WHO = "somebody in Prefect"


class PrefectSync:
    """One worker's messages to Prefect. Any thread may call any method."""

    def __init__(self, worker: ThisWorker) -> None:
        self._worker = worker

    def tell(self, flow_run_id: str, how: End, message: str) -> None:
        """Tell Prefect that the flow run has ended; a warning where it cannot be told."""
        try:
            self._worker.prefect.end(flow_run_id, how, message)
        except PrefectError as error:
            log.warning("Prefect could not be told that flow run %s has ended: %s", flow_run_id, error)

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        """The flow run of a process that died before it could write which one it had."""
        try:
            return self._worker.prefect.flow_run_of(run_id, attempt)
        except PrefectError as error:
            log.warning("Prefect could not be asked about run %s: %s", run_id, error)
            return None

    def catch_up(self) -> bool:
        """Tell Prefect now of runs that ended here while no worker could tell it; False while it is away."""
        try:
            unfinished = self._worker.prefect.unfinished()
        except PrefectError as error:
            log.warning("Prefect could not be caught up, it will be later: %s", error)
            return False
        with reading(self._worker.engine) as session:
            rows = active_runs.ended_with_flow_run(session, unfinished)
        for row in rows:
            if row.flow_run_id and row.status in _TOLD_AS:
                self.tell(row.flow_run_id, _TOLD_AS[row.status], row.error or row.message)
        return True

    def watch_cancellations(self) -> None:
        """Cancel here what was cancelled in Prefect. Raises PrefectError."""
        with reading(self._worker.engine) as session:
            ours = active_runs.open_with_flow_run(session, self._worker.id)
        if not ours:
            return
        for state in self._worker.prefect.cancelled_among(list(ours)):
            self._cancel(ours[state.flow_run_id])

    def _cancel(self, row: RunRow) -> None:
        now = self._worker.clock.now()
        with writing(self._worker.engine) as session:
            if not ask_to_cancel(session, id_of(row), now=now, who=_WHO, why="cancelled in Prefect"):
                return
        process = workers.process_of(row)
        if process is not None:
            end_group(process)
