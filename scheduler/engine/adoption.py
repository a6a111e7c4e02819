"""Flow runs that a user starts in Prefect itself: they enter the same ledger and obey the same rules."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlmodel import Session

from headway.models.values.run import ACTIVE, RunStatus
from headway.scheduler.planning.rules import judge
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.runs.adopted_runs import add_adopted_run, run_of_flow_run, task_for_runs_of_prefect
from headway.scheduler.store.tasks import Catalog


@dataclass(frozen=True)
class Adoption:
    """What became of a flow run that was started in Prefect."""

    state: Literal["held", "claimed", "ended"]
    """held: waits, with the reason and when to ask again. claimed: its process has it. ended: it is over."""
    reason: str
    until: datetime | None = None


def adopt(
    session: Session,
    catalog: Catalog,
    flow_run_id: str,
    deployment_id: str,
    parameters: dict[str, Any],
    scheduled_at: datetime,
    now: datetime,
) -> Adoption:
    """The flow run's place in the ledger, made if it has none. LookupError for a deployment that is no task type."""
    row = run_of_flow_run(session, flow_run_id)
    if row is None:
        task_row = task_for_runs_of_prefect(session, _type_of(catalog, deployment_id), now)
        if task_row.historical:
            return Adoption("ended", f"the task '{task_row.name}' is historical: it runs no more")
        due_at = min(scheduled_at, now)
        row, catalog = add_adopted_run(session, catalog, task_row, flow_run_id, parameters, due_at, now)
    if row.status in ACTIVE:
        return Adoption("claimed", "it is in progress")
    if row.status is not RunStatus.WAITING:
        return Adoption("ended", row.error or row.message or row.status.value)
    loaded = load_board(session, catalog, now)
    run = next((run for run in loaded.waiting if run.id == row.id), None)
    if run is None:
        return Adoption("held", "its task cannot be judged; see `headway plan` for what is wrong with it")
    holds = judge(run, loaded.board, now)
    if not holds:
        return Adoption("held", "it starts at the next turn")
    untils = [hold.until for hold in holds]
    until = None if None in untils else max(one for one in untils if one is not None)
    return Adoption("held", "; ".join(hold.reason for hold in holds), until)


def _type_of(catalog: Catalog, deployment_id: str) -> str:
    found = next((one.name for one in catalog.resolved.types.values() if one.deployment_id == deployment_id), None)
    if found is None:
        raise LookupError(f"deployment {deployment_id} is no task type; run `headway deploy`")
    return found
