"""The worker of the work pool `headway`: the scheduler service, in the shape of a Prefect worker.

Prefect starts it (`prefect worker start --pool headway`), or `headway worker` does by `run_worker`.
Its service starts due work out of our own ledger. What it polls from Prefect is only what a user started
there: that goes into the same ledger, obeys the same rules, and says in Prefect why it waits.
"""

import logging
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import httpx
from anyio.to_thread import run_sync
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from headway.environment import stop_grace_seconds
from headway.errors import PrefectError
from headway.scheduler.prefect_side.api import WORK_POOL, WORKER_TYPE, PrefectApi, is_our_key
from headway.text import first_line

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from headway.scheduler.engine.service import SchedulerService

log = logging.getLogger("headway.worker")

QUERY_SECONDS = 5
"""How often Prefect is asked for runs that were started there, unless PREFECT_WORKER_QUERY_SECONDS says."""
_STRANDED_AFTER = timedelta(minutes=1)
_ASK_AGAIN = timedelta(seconds=15)
_ASK_AGAIN_AT_MOST = timedelta(minutes=10)


class HeadwayJobConfiguration(BaseJobConfiguration):
    """Nothing to configure: runs are processes of the worker's own machine and environment."""


class HeadwayVariables(BaseVariables):
    """Nothing to configure."""


class HeadwayWorkerResult(BaseWorkerResult):
    """What became of a polled flow run; always status 0, because its end is not the worker's to report."""


class HeadwayWorker(BaseWorker[HeadwayJobConfiguration, HeadwayVariables, HeadwayWorkerResult]):
    """Starts what is due when its rules let it, as processes of this machine."""

    type = WORKER_TYPE
    job_configuration = HeadwayJobConfiguration
    job_configuration_variables = HeadwayVariables

    _display_name = "Headway"
    _description = (
        "Starts scheduled work when its rules let it: steps keep their distance, types never collide, "
        "maintenance windows are respected, and every wait is explained."
    )
    _documentation_url = ""
    _logo_url = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        # A run taken before its time would only be put back.
        super().__init__(*args, **{**options, "prefetch_seconds": 0})
        self._service: SchedulerService | None = None
        self._api: PrefectApi | None = None
        self._stopping = threading.Event()

    async def setup(self) -> None:
        """Prefect's own preparations, and the scheduler loop on its threads."""
        await super().setup()
        try:
            # The loop and the runs' processes look into the environment.
            os.environ.update(_current_environment())
            self._api = PrefectApi.from_environment()
            self._service = await run_sync(_start_service)
            threading.Thread(target=self._rescue, name="headway rescue", daemon=True).start()
        except BaseException:
            await super().teardown(None, None, None)
            raise

    async def teardown(self, *exc_info: Any) -> None:
        """Starts nothing more, lets running work finish for a while, ends the rest."""
        self._stopping.set()
        if self._service is not None:
            # Shielded: it is the cancelling of this very worker that brought us here.
            with anyio.CancelScope(shield=True):
                await run_sync(self._service.stop, stop_grace_seconds())
        try:
            await super().teardown(*exc_info)  # waits for polled runs that are being looked at
        finally:
            if self._api is not None:
                self._api.close()
            self._service = self._api = None

    async def get_and_submit_flow_runs(self) -> "list[FlowRun]":
        """Prefect's poll; empty while Prefect is away.

        Prefect's own worker gives up after a few minutes of that. This one must not: the runs that it
        has in progress would end with it.
        """
        try:
            return await super().get_and_submit_flow_runs()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            log.info("Prefect was not polled: %s", error)
            return []

    async def sync_with_backend(self) -> None:
        """Prefect's sign of life; left out while Prefect is away."""
        try:
            await super().sync_with_backend()
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            if not self.is_setup:
                raise  # the first one: `setup` knows what may be waited for, and what is a wrong login
            log.info("Prefect had no sign of life of this worker: %s", error)

    async def run(
        self,
        flow_run: "FlowRun",
        configuration: HeadwayJobConfiguration,
        task_status: anyio.abc.TaskStatus[Any] | None = None,
    ) -> HeadwayWorkerResult:
        """Takes a flow run that was started in Prefect into the ledger, or asks again about one that waits."""
        if task_status is not None:
            # No infrastructure ID: with one, a cancel in Prefect would wait for the end of a
            # process, and a run that waits has none.
            task_status.started(None)
        if is_our_key(flow_run.idempotency_key):
            # A run's own process gave it back (Prefect had it wait for a slot). Its ledger row waits, too,
            # and whatever process takes it next finds this flow run by its key.
            return HeadwayWorkerResult(identifier="ours", status_code=0)
        message = await run_sync(self._take_in, flow_run)
        return HeadwayWorkerResult(identifier=message, status_code=0)

    def _take_in(self, flow_run: "FlowRun") -> str:
        """What became of it, in one word. Every error ends in another look, never in a crashed run."""
        assert self._service is not None and self._api is not None
        flow_run_id = str(flow_run.id)
        now = datetime.now(UTC)
        try:
            adoption = self._service.adopt(
                flow_run_id,
                str(flow_run.deployment_id),
                dict(flow_run.parameters or {}),
                flow_run.expected_start_time or now,
            )
        except Exception as error:
            log.exception("Flow run %s could not be taken over", flow_run_id)
            self._hold(
                flow_run_id, f"Headway could not take it over: {first_line(error)}", now + _ask_later(flow_run, now)
            )
            return "refused"
        if adoption.state == "held":
            again = max(adoption.until or now + _ask_later(flow_run, now), now + timedelta(seconds=1))
            self._hold(flow_run_id, adoption.reason, again)
        elif adoption.state == "ended":
            self._end(flow_run_id, adoption.reason)
        # claimed: its own process takes it over from here
        return adoption.state

    def _hold(self, flow_run_id: str, reason: str, until: datetime) -> None:
        assert self._api is not None
        try:
            if not self._api.hold(flow_run_id, reason, until):
                self._finish_cancel(flow_run_id)
        except PrefectError as error:
            log.warning("Prefect could not be told why flow run %s waits: %s", flow_run_id, error)

    def _finish_cancel(self, flow_run_id: str) -> None:
        """Cancelled while it was being looked at: there is no process whose end Prefect has to wait for."""
        assert self._api is not None
        state = self._api.state(flow_run_id)
        if state is not None and state.type == "CANCELLING":
            self._api.end(flow_run_id, "cancelled", "Cancelled before it started.")

    def _rescue(self) -> None:
        """Now and then, gives back what a worker polled and then had no time to deal with."""
        api = PrefectApi.from_environment()  # its own: the worker's may be closed while this one looks
        while not self._stopping.is_set():
            try:
                for flow_run_id in api.put_back_stranded(_STRANDED_AFTER):
                    log.warning("Flow run %s was left between Prefect and Headway; it is polled again", flow_run_id)
            except PrefectError as error:
                log.info("No look at stranded flow runs: %s", error)
            self._stopping.wait(_STRANDED_AFTER.total_seconds())
        api.close()

    def _end(self, flow_run_id: str, reason: str) -> None:
        assert self._api is not None
        try:
            self._api.end(flow_run_id, "cancelled", reason)
        except PrefectError as error:
            log.warning("Prefect could not be told that flow run %s is over: %s", flow_run_id, error)


def run_worker(name: str | None = None) -> None:
    """Runs the worker in the foreground until SIGTERM or SIGINT; then it stops in order.

    For `headway worker`. `name` is what Prefect's screen calls it (default: a random one).
    """
    from prefect.settings import PREFECT_WORKER_QUERY_SECONDS, temporary_settings

    asked_for = "PREFECT_WORKER_QUERY_SECONDS" in os.environ
    with temporary_settings({} if asked_for else {PREFECT_WORKER_QUERY_SECONDS: QUERY_SECONDS}):
        worker = HeadwayWorker(work_pool_name=WORK_POOL, name=name)
        try:
            anyio.run(_work_until_told, worker)
        except ExceptionGroup as group:  # anyio's wrapping: who reports it has to see what it is
            raise _alone(group) from None


def _alone(error: Exception) -> Exception:
    """What a group holds, where that is one error."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _work_until_told(worker: HeadwayWorker) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_on_signal, group.cancel_scope)
        await worker.start(printer=log.info)
        group.cancel_scope.cancel()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for number in received:
            log.info("%s: stopping", signal.Signals(number).name)
            scope.cancel()
            return


def _start_service() -> "SchedulerService":
    from headway.scheduler.engine.service import SchedulerService
    from headway.scheduler.engine.this_worker import ThisWorker

    service = SchedulerService(ThisWorker.from_environment())
    service.start()
    return service


def _ask_later(flow_run: "FlowRun", now: datetime) -> timedelta:
    """How long until a run is looked at again whose wait has no known end.

    The longer it has waited, the rarer: each look leaves three states in Prefect. Its start does not
    depend on it, the loop takes it by itself.
    """
    waited = now - flow_run.created if flow_run.created else timedelta()
    return min(max(_ASK_AGAIN, waited / 10), _ASK_AGAIN_AT_MOST)


def _current_environment() -> dict[str, str]:
    """Where Prefect is by Prefect's own reckoning: `prefect worker start` may have it from a profile."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_KEY, PREFECT_API_URL

    known = {
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "PREFECT_API_AUTH_STRING": _secret(PREFECT_API_AUTH_STRING.value()),
        "PREFECT_API_KEY": _secret(PREFECT_API_KEY.value()),
    }
    return {name: value for name, value in known.items() if value}


def _secret(value: Any) -> str | None:
    plain: str | None = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return plain
