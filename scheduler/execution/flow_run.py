"""The flow run in Prefect that belongs to a run of ours, seen from the run's own process."""

import asyncio
import importlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from headway.scheduler.execution.run_outcome import one_line
from headway.scheduler.execution.user_folder import is_own, put_user_folder_first
from headway.scheduler.execution.warm_server import StartOrder

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun, State


class Twin(Exception):
    """Another process has this run and attempt."""


class Gone(Exception):
    """The flow run that was to be taken over exists no more."""


def flow_run_for(client: "SyncPrefectClient", order: StartOrder) -> "FlowRun":
    """The order's flow run: made now, or the one that was started in Prefect.

    It is Pending afterwards, or else cancelled. Raises Twin, Gone, LookupError (no such deployment) and
    httpx's errors.
    """
    if order.flow_run_id is None:
        return _create(client, order)
    flow_run = _take_over(client, UUID(order.flow_run_id))
    if is_startable(flow_run) or is_cancelled(flow_run.state):
        return _with_parameters(client, flow_run, order)
    if order.attempt == 1:
        raise Twin
    # An earlier attempt's, which is over (the ledger gave this process the run): a retry gets its own.
    if flow_run.state is not None and not flow_run.state.is_final():
        set_state(client, flow_run, "Crashed", f"Attempt {order.attempt} takes its place.")
    return _create(client, order)


def _create(client: "SyncPrefectClient", order: StartOrder) -> "FlowRun":
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.states import Pending

    try:
        flow_run = client.create_flow_run_from_deployment(
            UUID(order.deployment_id),
            parameters=order.parameters,
            # Pending, not Scheduled: a worker's poll finds only what is scheduled.
            state=Pending(),
            name=order.name,
            tags=order.tags,
            labels=dict(order.labels),
            # With the run's id alone, a retry would get the finished flow run back.
            idempotency_key=f"{order.run_id}:{order.attempt}",
        )
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 404:
            raise
        raise LookupError(f"Prefect has no deployment {order.deployment_id} any more. Run 'headway deploy'.") from None
    flow_run = _as_pending(client, flow_run)
    if not (is_startable(flow_run) or is_cancelled(flow_run.state)):
        raise Twin
    return flow_run


def _take_over(client: "SyncPrefectClient", flow_run_id: UUID) -> "FlowRun":
    from prefect.exceptions import ObjectNotFound

    try:
        return _as_pending(client, client.read_flow_run(flow_run_id))
    except ObjectNotFound:
        raise Gone from None


def _as_pending(client: "SyncPrefectClient", flow_run: "FlowRun") -> "FlowRun":
    """A scheduled flow run made Pending; any other as it is."""
    from prefect.client.schemas.objects import StateDetails
    from prefect.states import Pending

    if flow_run.state is None or not flow_run.state.is_scheduled():
        return flow_run
    # Not forced, so that a cancel that comes first wins. With a time of its own, because Prefect would
    # else let Running wait for the time at which the held run is polled again.
    due_now = StateDetails(scheduled_time=datetime.now(UTC))
    client.set_flow_run_state(flow_run.id, Pending(state_details=due_now))
    return client.read_flow_run(flow_run.id)


def _with_parameters(client: "SyncPrefectClient", flow_run: "FlowRun", order: StartOrder) -> "FlowRun":
    """With what the claim made of its parameters (file names, for instance, are resolved there), and its labels."""
    if order.labels:
        client.update_flow_run_labels(flow_run.id, dict(order.labels))
    wanted = {**flow_run.parameters, **order.parameters}
    if wanted == flow_run.parameters:
        return flow_run
    client.update_flow_run(flow_run.id, parameters=wanted)
    return flow_run.model_copy(update={"parameters": wanted})


def load_flow(client: "SyncPrefectClient", order: StartOrder, flow_run: "FlowRun") -> "Flow[..., Any]":
    """The flow by the order's entrypoint, out of a module that is imported already where that is so.

    What is not Headway's own is fetched as its deployment says: by its pull steps, as any Prefect worker does.
    Raises whatever its import raises, and LookupError if the module has no such flow.
    """
    from prefect import Flow
    from prefect.flows import load_flow_from_entrypoint, load_flow_from_flow_run

    module, _, name = (order.entrypoint or "").rpartition(".")
    if not is_own(module):
        put_user_folder_first()  # the worker's folder, then the one that pull steps go to
    not_found: ModuleNotFoundError | None = None
    if order.entrypoint and ":" not in order.entrypoint:
        try:
            found = getattr(importlib.import_module(module), name, None)
        except ModuleNotFoundError as error:
            if not _is_missing(module, error):
                raise
            not_found = error
        else:
            if isinstance(found, Flow):
                return found
            raise LookupError(f"Module '{module}' has no flow '{name}'.")
    if order.entrypoint is None or _has_pull_steps(client, flow_run):
        return asyncio.run(load_flow_from_flow_run(flow_run, use_placeholder_flow=False))
    if not_found is not None:
        raise not_found
    return load_flow_from_entrypoint(order.entrypoint, use_placeholder_flow=False)


def _is_missing(module: str, error: ModuleNotFoundError) -> bool:
    """Whether it is the module itself that is not there, as against something that it imports."""
    return error.name is not None and (module == error.name or module.startswith(f"{error.name}."))


def _has_pull_steps(client: "SyncPrefectClient", flow_run: "FlowRun") -> bool:
    return flow_run.deployment_id is not None and bool(client.read_deployment(flow_run.deployment_id).pull_steps)


def set_state(client: "SyncPrefectClient", flow_run: "FlowRun", name: str, message: str) -> None:
    """Forces an end state (its type is its name); a failure is only told, the ledger is what counts."""
    from prefect.client.schemas.objects import State, StateType

    try:
        state: State[Any] = State(type=StateType(name.upper()), name=name, message=message)
        client.set_flow_run_state(flow_run.id, state, force=True)
    except Exception as error:
        print(f"Prefect could not be told of '{message}': {one_line(error)}", file=sys.stderr, flush=True)


def is_startable(flow_run: "FlowRun") -> bool:
    return flow_run.state is None or flow_run.state.is_pending()


def is_cancelled(state: "State[Any] | None") -> bool:
    """Also while the cancel is under way."""
    return state is not None and (state.is_cancelled() or state.is_cancelling())
