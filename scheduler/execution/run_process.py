"""What runs inside a run's process: the flow, between the first write to the ledger and the last.

began -> flow run in Prefect (Pending) -> bound -> flow -> running -> outcome. Nothing leaves here
without a last write, except where the claim is lost: then nothing more may be written.
"""

import asyncio
import copy
import dataclasses
import functools
import importlib
import inspect
import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from headway.scheduler.execution.flow_run import Gone, Twin, flow_run_for, is_cancelled, load_flow, set_state
from headway.scheduler.execution.ledger_port import ExitCode, LedgerFactory, LogLine, Outcome, RunLedger
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.execution.retrying_ledger import LedgerDown, RetryingLedger
from headway.scheduler.execution.run_outcome import failure_of, one_line, outcome_of, own_traceback, state_failure
from headway.scheduler.execution.run_output import RunOutput
from headway.scheduler.execution.warm_server import StartOrder

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State

__all__ = ["ExitCode", "LedgerFactory", "LogLine", "Outcome", "RunLedger", "execute", "warm_up"]

# The flow is done; so long may Prefect take to hear of it before the ledger gets the end without it.
_PREFECT_PATIENCE_SECONDS = 20.0
# A run that has ended well is not to be called failed because the database is away; a lost claim ends the waiting.
_OUTCOME_PATIENCE_SECONDS = 3600.0
_DRAIN_SECONDS = 3.0
_USED_BY_EVERY_RUN = (
    "anyio._backends._asyncio",
    "prefect.client.orchestration",
    "prefect.client.schemas.actions",
    "prefect.client.schemas.objects",
    "prefect.client.schemas.responses",
    "prefect.context",
    "prefect.events.clients",
    "prefect.events.schemas.events",
    "prefect.events.worker",
    "prefect.flow_engine",
    "prefect.logging.handlers",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "rich._emoji_codes",
)
_tls: ssl.SSLContext | None = None
_for_good = ExitStack()
"""Settings that hold from `warm_up` on."""


class _Terminated(BaseException):
    """TERM arrived outside Prefect's engine."""


class _NotStarted(Exception):
    """Nothing of the flow ran, and it may be tried again."""


def warm_up() -> None:
    """Does once, in the process that is forked from, what every run would do again. Opens nothing."""
    global _tls
    for name in _USED_BY_EVERY_RUN:
        importlib.import_module(name)
    _complete_models()
    # Reading the certificate store takes as long as all the API calls of a small run.
    _tls = ssl.create_default_context()
    _for_good.enter_context(without_heartbeats())


def _complete_models() -> None:
    """Pydantic puts off a model's validator until it is first used: 30 ms in every run."""
    from pydantic import BaseModel

    for name in _USED_BY_EVERY_RUN:
        classes = [found for found in vars(sys.modules[name]).values() if isinstance(found, type)]
        for found in classes:
            if issubclass(found, BaseModel) and found is not BaseModel and not found.__pydantic_complete__:
                found.model_rebuild(raise_errors=False)


def execute(order: StartOrder, open_ledger: LedgerFactory, why_ended: Callable[[], str | None]) -> int:
    """Runs the order's flow in this process; returns the code to exit with.

    `why_ended` says, after a TERM, why the process is being ended, if that is not an operator's reset or
    cancel: then the run has failed. Must be called in the main thread.
    """
    signal.signal(signal.SIGTERM, _raise_terminated)
    os.environ["HEADWAY_RUN"] = str(order.run_id)  # a flow that asks whether its result is read here may know
    try:
        ledger = RetryingLedger(open_ledger(order.database_url, order.run_id, order.claim))
        return _Execution(order, ledger, why_ended).run()
    except LedgerDown as down:
        print(f"Run {order.run_id}: the ledger cannot be written: {down}", file=sys.stderr, flush=True)
        return ExitCode.NOT_RECORDED


class _Execution:
    def __init__(self, order: StartOrder, ledger: RetryingLedger, why_ended: Callable[[], str | None]) -> None:
        self._order = order
        self._ledger = ledger
        self._why_ended = why_ended
        self._flow_began = False
        self._captured: Outcome | None = None
        """What the flow's function said, whether or not Prefect lives to hear it."""
        self._output = RunOutput(ledger, _loggers(), self._give_up, why_ended)

    def run(self) -> int:
        try:
            process = identify_self()
            self._ledger.write(lambda ledger: ledger.began(process))
            with self._output:
                outcome = self._outcome()
            self._record(outcome)
        except _NotStarted as not_started:
            reason = str(not_started)
            self._ledger.write(lambda ledger: ledger.not_started(reason), _OUTCOME_PATIENCE_SECONDS)
        except Twin:
            return ExitCode.TWIN
        except _Terminated:
            self._record(self._ended_by_signal())
        self._ledger.close()
        _drain_prefect()
        return ExitCode.RECORDED

    def _record(self, outcome: Outcome) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is over: nothing is left to end
        self._ledger.write(lambda ledger: ledger.ended(outcome), _OUTCOME_PATIENCE_SECONDS)

    def _give_up(self) -> NoReturn:
        """A time limit passed: the main thread is stuck. Called on the output's thread."""
        try:
            self._output.flush()
            self._record(self._captured or self._ended_by_signal())
        except LedgerDown:
            os._exit(ExitCode.NOT_RECORDED)
        os._exit(ExitCode.RECORDED)

    def _ended_by_signal(self) -> Outcome:
        if self._captured is not None:
            return self._captured
        if reason := self._why_ended():
            return Outcome(kind="failed", error=f"Ended by SIGTERM: {reason}.")
        return Outcome(kind="cancelled", message="Ended by SIGTERM.")

    # ------------------------------------------------------------------ the run

    def _outcome(self) -> Outcome:
        """Raises _NotStarted or Twin where there is none."""
        from prefect.context import SyncClientContext

        settings = {"verify": _tls} if _tls is not None else None
        try:
            # One client for our calls and the engine's: one connection, one CSRF token.
            with SyncClientContext(httpx_settings=settings) as context:
                return self._outcome_with(context.client)
        except (_NotStarted, Twin):
            raise
        except Gone:
            return Outcome(kind="cancelled", message="Its flow run was deleted in Prefect.")
        except Exception as error:
            return self._failure_to_start(error)
        except BaseException as error:
            # SystemExit of the flow, KeyboardInterrupt, and Prefect's own signal classes.
            return self._ended_otherwise(error)

    def _failure_to_start(self, error: Exception) -> Outcome:
        if self._captured is not None:
            return self._captured
        if self._flow_began:
            return failure_of(error)
        if _is_unreachable(error):
            raise _NotStarted(f"Prefect cannot be reached: {one_line(error)}.") from error
        self._complain("The run could not be started.", error)
        return failure_of(error)

    def _ended_otherwise(self, error: BaseException) -> Outcome:
        from prefect.exceptions import TerminationSignal

        if isinstance(error, TerminationSignal | _Terminated):
            return self._ended_by_signal()
        if self._captured is not None:
            return self._captured
        return failure_of(error)

    def _outcome_with(self, client: "SyncPrefectClient") -> Outcome:
        flow_run = flow_run_for(client, self._order)
        if flow_run.state is not None and is_cancelled(flow_run.state):
            if flow_run.state.is_cancelling():
                set_state(client, flow_run, "Cancelled", "Cancelled before it started.")
            return state_failure(flow_run.state)
        try:
            self._ledger.write(lambda ledger: ledger.bind(str(flow_run.id)))
            flow = load_flow(client, self._order, flow_run)
        except _Terminated:
            set_state(client, flow_run, "Cancelled", "Ended before it started.")
            raise
        except Exception as error:
            self._complain(f"The flow '{self._order.entrypoint}' could not be loaded.", error)
            set_state(client, flow_run, "Failed", f"The flow could not be loaded: {one_line(error)}")
            return dataclasses.replace(failure_of(error), permanent=True)
        return self._drive(client, flow, flow_run)

    # ------------------------------------------------------------------ the flow

    def _drive(self, client: "SyncPrefectClient", flow: "Flow[..., Any]", flow_run: "FlowRun") -> Outcome:
        from prefect.exceptions import Abort, Pause
        from prefect.flow_engine import run_flow

        # Without its deployment the engine opens no websocket to watch for a suspension in Prefect's
        # screen: that costs more than the rest of a short run, and a run is reset here, not there.
        # The engine reads the flow run, deployment and all, again before the flow's function is called.
        bare = flow_run.model_copy(update={"deployment_id": None})
        try:
            running = run_flow(self._watched(flow), flow_run=bare, return_type="state")
            state = _result_of(running)
        except (Abort, Pause) as refused:
            return self._refused(client, flow_run, refused)
        if self._captured is None or (state.is_failed() and self._captured.kind == "completed"):
            return self._told_by_prefect(state)
        return self._captured

    def _told_by_prefect(self, state: "State[Any]") -> Outcome:
        """The flow's function was not reached, or Prefect made a failure of what it returned."""
        if state.is_scheduled() or state.is_pending():
            raise _NotStarted(f"Prefect puts it back: {state.name} {state.message or ''}".strip() + ".")
        return outcome_of(None) if state.is_completed() else state_failure(state)

    def _refused(self, client: "SyncPrefectClient", flow_run: "FlowRun", refused: BaseException) -> Outcome:
        if self._captured is not None:
            return self._captured
        state = client.read_flow_run(flow_run.id).state
        if state is not None and is_cancelled(state):
            return state_failure(state)
        return Outcome(kind="failed", error=f"Prefect did not let it go on: {one_line(refused)}")

    def _watched(self, flow: "Flow[..., Any]") -> "Flow[..., Any]":
        """The same flow, whose function tells us when it is called, and with what it ends.

        So the outcome is known however the engine fares with its last call to Prefect.
        """
        watched = copy.copy(flow)
        inner = flow.fn
        if flow.isgenerator:
            return watched  # its outcome is what Prefect says
        if flow.isasync:

            @functools.wraps(inner)
            async def outer(*args: Any, **kwargs: Any) -> Any:
                with _Watch(self, flow) as watch:
                    watch.returned = await inner(*args, **kwargs)
                return watch.returned

        else:

            @functools.wraps(inner)
            def outer(*args: Any, **kwargs: Any) -> Any:
                with _Watch(self, flow) as watch:
                    watch.returned = inner(*args, **kwargs)
                return watch.returned

        watched.fn = outer
        return watched

    def flow_begins(self) -> None:
        """The engine calls the flow's function only once the flow run is Running in Prefect."""
        self._captured = None
        if not self._flow_began:
            self._flow_began = True
            self._ledger.write(lambda ledger: ledger.running())

    def flow_ended(self, outcome: Outcome, *, final: bool) -> None:
        self._captured = outcome
        if final:
            self._output.limit(_PREFECT_PATIENCE_SECONDS)

    def flow_terminated(self) -> None:
        if self._why_ended() is None:
            _let_engine_cancel()

    def _complain(self, message: str, error: Exception) -> None:
        text = f"{message}\n{own_traceback(error)}"
        line = LogLine(datetime.now(UTC), logging.ERROR, "headway", text)
        self._ledger.try_write(lambda ledger: ledger.log([line]), "A log line")


class _Watch:
    """Around one call of the flow's function."""

    def __init__(self, execution: _Execution, flow: "Flow[..., Any]") -> None:
        self._execution = execution
        self._flow = flow
        self.returned: Any = None

    def __enter__(self) -> "_Watch":
        self._execution.flow_begins()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from prefect.exceptions import TerminationSignal

        if error is None:
            self._execution.flow_ended(outcome_of(self.returned), final=True)
        elif isinstance(error, TerminationSignal | _Terminated):
            self._execution.flow_terminated()
        else:
            # Prefect may call the function again, after a delay of the flow's choice.
            self._execution.flow_ended(failure_of(error), final=not self._flow.retries)


def _raise_terminated(number: int, frame: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: a second must not cut the clean-up
    raise _Terminated


def _result_of(running: Any) -> "State[Any]":
    """Waits for an async flow, exhausts a generator flow."""
    state: State[Any] = asyncio.run(running) if inspect.iscoroutine(running) else running
    return state


def _loggers() -> list[str]:
    from prefect.settings import get_current_settings

    extra = get_current_settings().logging.extra_loggers or []
    return ["prefect.flow_runs", "prefect.task_runs", *extra]


def _is_unreachable(error: BaseException) -> bool:
    """Whether Prefect could not be asked, as against: was asked and said no."""
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (401, 403, 408, 429) or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


def without_heartbeats() -> AbstractContextManager[object]:
    """Prefect's heartbeats off, unless they are asked for.

    A silent worker is noticed through the ledger. Prefect's own beat opens a websocket in every run and
    keeps a finished one for up to a second, which its group would have to wait for.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if "PREFECT_FLOWS_HEARTBEAT_FREQUENCY" in os.environ:
        return nullcontext()
    return temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def _let_engine_cancel() -> None:
    """Makes Prefect's engine take the TERM for a cancel, as it does when its own runner sends one.

    There is no public way to say so. Without it the flow run would end as Crashed.
    """
    try:
        from prefect._internal import control_listener

        control_listener._set_intent("cancel")
    except (ImportError, AttributeError):
        pass


def _drain_prefect() -> None:
    """Log lines and events on their way to Prefect get a moment to arrive."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        try:
            worker.drain_all(timeout=_DRAIN_SECONDS)
        except Exception as error:
            print(f"Not all of it reached Prefect: {one_line(error)}", file=sys.stderr, flush=True)
