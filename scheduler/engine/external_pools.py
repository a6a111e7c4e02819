"""Runs of task types on another work pool (Docker, Kubernetes, a process pool): handed over, and watched.

The claim is the same. Then, instead of a process of this machine, Prefect gets a flow run for the other pool's
worker, with the run's idempotency key; what Prefect says about it from then on goes into the ledger under the claim.
No worker's death loses it: any other can take the watch over, and making the flow run twice makes one.

A lost answer is no answer: a run waits again only where Prefect has surely not been told of it. Else it stays
*starting*, with its locks, until a round has found its flow run or made it.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from headway.errors import PrefectError, PrefectRefused, PrefectUnreachable
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import RunRow, id_of
from headway.models.values.run import RunStatus, Trigger
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.engine.turn import start_order
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.run_outcome import counts_of
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.prefect_side.api import FlowRunState
from headway.scheduler.store.runs import external_runs
from headway.scheduler.store.runs.run_writer import StoredRunLedger
from headway.scheduler.store.tasks import load_chain_catalog
from headway.text import cause, first_line

log = logging.getLogger("headway.external_pools")
T = TypeVar("T")
_LOOKS = 10  # at a result that cannot be read, before the run ends without its counts
_OVER = "Its run was ended in Headway."


class ExternalPools:
    """One worker's watch over the runs that other pools execute. `begin` and `round` may be called from any thread."""

    def __init__(
        self,
        worker: ThisWorker,
        read_result: Callable[[str], Any] | None = None,
    ) -> None:
        """`read_result`: what a flow run returned, by its id (default: from Prefect's result storage)."""
        self._worker = worker
        self._prefect = worker.prefect
        self._read_result = read_result or persisted_result
        self._ending: dict[str, int] = {}  # how often a claim's flow run was seen as ended
        self._deployments: set[str] = set()  # of other pools, now or when one of their runs was seen in progress
        self._who_begins = threading.Lock()
        self._beginning: set[str] = set()  # claims whose first call to Prefect is under way: no round's yet
        self._taken_up: set[str] = set()  # claims that a round has taken up: not to be begun any more

    def begin(self, order: StartOrder) -> None:
        """Make the flow run for the other pool. Prefect surely not told: the run waits again. It refuses: failed."""
        with self._who_begins:
            if order.claim in self._taken_up:
                return
            self._beginning.add(order.claim)
        try:
            self._make(order)
        except PrefectUnreachable as error:
            if not error.nothing_done:
                log.warning("run %s: whether Prefect took it, the next round finds out: %s", order.run_id, error)
            elif not self._give_back(order.run_id, order.claim, order.flow_run_id, str(error)):
                log.warning("run %s is not this worker's to give back: %s", order.run_id, error)
        finally:
            with self._who_begins:
                self._beginning.discard(order.claim)

    def _make(self, order: StartOrder) -> None:
        """The flow run is there, and bound. Raises PrefectUnreachable."""
        ledger = StoredRunLedger(self._worker.url, order.run_id, order.claim)
        try:
            flow_run_id = self._prefect.create_flow_run(
                order.deployment_id,
                idempotency_key=f"{order.run_id}:{order.attempt}",
                parameters=order.parameters,
                name=order.name,
                tags=order.tags,
                labels=order.labels,
            )
        except PrefectRefused as error:
            ledger.ended(Outcome(kind="failed", error=f"Prefect did not take it: {cause(error)}"))
        else:
            self._bind(ledger, order.run_id, order.flow_run_id, flow_run_id)
        finally:
            ledger.close()

    def _bind(self, ledger: StoredRunLedger, run_id: int, before: str | None, flow_run_id: str) -> None:
        """The run has this flow run. `before`, as which it was born in Prefect, is over first: polled again, it would
        be another run.
        """
        if before is not None and before != flow_run_id:
            try:
                self._prefect.end(before, "crashed", f"Flow run {flow_run_id} takes its place, on another work pool.")
            except PrefectUnreachable as error:
                raise PrefectUnreachable(str(error)) from error  # whatever it says: the new one is made
        if not ledger.bind(flow_run_id):
            self._end_if_over(run_id, flow_run_id)

    def _give_back(self, run_id: int, claim: str, before: str | None, why: str) -> bool:
        """It waits again; False if it has its flow run meanwhile, or is another worker's to watch.

        before: the flow run it had when it was claimed (one born in Prefect), else None.
        """
        now = datetime.now(UTC)
        with writing(self._worker.engine) as session:
            return external_runs.give_back_unmade(session, run_id, claim, self._worker.id, before, why, now)

    def _end_if_over(self, run_id: int, flow_run_id: str) -> None:
        """Its run was reset while the flow run was being made. Where it waits again, its next claim finds this one."""
        with reading(self._worker.engine) as session:
            over = external_runs.is_over(session, run_id)
        if over:
            try:
                self._prefect.cancel(flow_run_id, _OVER)
            except PrefectError as error:
                log.warning("flow run %s could not be ended, the next round tries again: %s", flow_run_id, error)

    def round(self, now: datetime) -> bool:
        """Look at every handed-over run once; whether one ended. Raises PrefectUnreachable."""
        with writing(self._worker.engine) as session:
            active = external_runs.handed_over(session)
            rows = external_runs.take_watch(session, active, self._worker.id, now)
            self._deployments |= external_runs.deployments_elsewhere(session, {row.type for row in active})
        with self._who_begins:
            self._taken_up &= {row.claim for row in active if row.claim}
        bound: dict[str, RunRow] = {}
        for row in rows:
            if row.flow_run_id is not None and self._is_ours(row, row.flow_run_id):
                bound[row.flow_run_id] = row
            else:  # just claimed, or its worker died, or it did not hear Prefect's answer
                _alone(row.id, partial(self._begin_again, row))
        states = self._prefect.states(bound) if bound else {}
        ended = [_alone(row.id, partial(self._follow, row, states.get(key))) for key, row in bound.items()]
        self._end_what_was_reset()
        return any(ended)

    def _is_ours(self, row: RunRow, flow_run_id: str) -> bool:
        """Whether it is the flow run for the other pool, and not the one that a run was born as in Prefect."""
        if row.trigger is not Trigger.PREFECT or row.status is not RunStatus.STARTING:
            return True
        return self._prefect.flow_run_of(id_of(row), row.attempt) == flow_run_id

    def _begin_again(self, row: RunRow) -> None:
        """Hand over a run that was claimed and perhaps handed over. Raises PrefectUnreachable: in the next round, then.

        Never given back because Prefect is away: an earlier call may have been heard.
        """
        assert row.claim is not None
        run_id = id_of(row)
        with self._who_begins:
            if row.claim in self._beginning:
                return
            self._taken_up.add(row.claim)
        with reading(self._worker.engine) as session:
            if not external_runs.unchanged(session, row):
                return  # its first call has come back since this round looked
            catalog = load_chain_catalog(session, row.task_uid)
        flow_run_id = self._prefect.flow_run_of(run_id, row.attempt)
        task_type = catalog.resolved.types.get(row.type)
        if flow_run_id is not None:
            ledger = StoredRunLedger(self._worker.url, run_id, row.claim)
            try:
                self._bind(ledger, run_id, row.flow_run_id, flow_run_id)
            finally:
                ledger.close()
        elif task_type is not None and task_type.handed_to == row.work_pool:
            parameters = dict(row.parameters or {})
            self._make(start_order(catalog, task_type, row, row.claim, row.attempt, parameters, self._worker.url))
        else:
            why = f"its type is not on the work pool '{row.work_pool}' any more"
            self._give_back(run_id, row.claim, row.flow_run_id, why)

    def _follow(self, row: RunRow, state: FlowRunState | None) -> bool:
        """Bring the ledger up to what Prefect says of one run; whether it ended."""
        assert row.claim is not None and row.flow_run_id is not None
        run_id = id_of(row)
        ledger = StoredRunLedger(self._worker.url, run_id, row.claim)
        try:
            if state is None:
                return ledger.ended(Outcome(kind="cancelled", message="Its flow run was deleted in Prefect."))
            if state.type in ("RUNNING", "CANCELLING") and row.status is RunStatus.STARTING:
                ledger.running()
            self._copy_lines(ledger, row)
            if not state.terminal:
                return False
            seen = self._ending[row.claim] = self._ending.get(row.claim, 0) + 1
            if seen == 1:
                return False  # its last log lines may still be on the way
            outcome = self._outcome(row.flow_run_id, state, patient=seen < _LOOKS)
            if outcome is None:
                return False
            del self._ending[row.claim]
            for receipt in outcome.files:
                given = receipt if isinstance(receipt, dict) else {"name": str(receipt)}
                _alone(run_id, partial(ledger.receipt, given))
            return ledger.ended(outcome)
        finally:
            ledger.close()

    def _copy_lines(self, ledger: StoredRunLedger, row: RunRow) -> None:
        """The log lines that Prefect has and the ledger has not."""
        assert row.flow_run_id is not None
        with reading(self._worker.engine) as session:
            last = external_runs.last_line_at(session, id_of(row))
        lines = [
            LogLine(datetime.fromisoformat(line["timestamp"]), line["level"], line["name"], line["message"])
            for line in self._prefect.log_lines(row.flow_run_id, after=last)
        ]
        if lines:
            ledger.log(lines)

    def _outcome(self, flow_run_id: str, state: FlowRunState, *, patient: bool) -> Outcome | None:
        """How it ended; None: what it returned could not be read just now, and there is time to try again."""
        if state.type == "CANCELLED":
            return Outcome(kind="cancelled", message=state.message or "Cancelled in Prefect.")
        if state.type != "COMPLETED":
            return Outcome(kind="failed", error=state.message or f"Prefect ended it as {state.name}.")
        result: Any = self._prefect.left_result(flow_run_id)
        if result is None:
            try:
                result = self._read_result(flow_run_id)
            except Exception as error:  # whatever the storage may raise: the run has completed all the same
                log.warning("the result of flow run %s could not be read: %s", flow_run_id, error)
                if patient:
                    return None
        message = str(result.get("summary") or "") if isinstance(result, dict) else ""
        return Outcome(kind="completed", message=state.message or message, **counts_of(result))

    def _end_what_was_reset(self) -> None:
        """Flow runs that go on although their run here is over: it was reset. Prefect cancels them.

        The run may not know its flow run: it was reset, and its worker died, while that was being made.
        """
        unfinished = self._prefect.unfinished_of(self._deployments) if self._deployments else {}
        if not unfinished:
            return
        with reading(self._worker.engine) as session:
            known = external_runs.flow_runs_of_ended(session, set(unfinished.values()))
        for flow_run_id, run_id in unfinished.items():
            if run_id in known and known[run_id] in (None, flow_run_id):
                _alone(run_id, partial(self._prefect.cancel, flow_run_id, _OVER))


def _alone(run_id: int | None, work: Callable[[], T]) -> T | None:
    """What the work on one run gives. Its error becomes a line in the log and stops no other run's work.

    Raises PrefectUnreachable: then no run can be looked at.
    """
    try:
        return work()
    except PrefectUnreachable:
        raise
    except Exception as error:
        log.error("run %s on another pool: %s", run_id, first_line(error))
        return None


def persisted_result(flow_run_id: str) -> Any:
    """What the flow returned, where it was kept in a storage that this machine reaches; else None."""
    from uuid import UUID

    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run_id)).state
    return state.result(raise_on_failure=False) if state is not None and state.data is not None else None
