"""Flow runs that somebody starts in Prefect itself: they enter the same ledger and obey the same rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlmodel import Session, col, select

from headway.models.ledger.tables import RunRow, TaskRow
from headway.models.values.actor import Actor
from headway.models.values.run import ACTIVE, RunStatus, Trigger
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy
from headway.scheduler.planning.rules import judge
from headway.scheduler.store import audit, settings
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.store.transitions import add_run


@dataclass(frozen=True)
class Adoption:
    """held: waits, with the reason and when to ask again. claimed: its process has it. ended: it is over."""

    state: Literal["held", "claimed", "ended"]
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
    row = session.exec(select(RunRow).where(RunRow.flow_run_id == flow_run_id)).first()
    if row is None:
        task_row = _ad_hoc_task(session, catalog, deployment_id, now)
        if task_row.historical:
            return Adoption("ended", f"the task '{task_row.name}' is historical: it runs no more")
        row, catalog = _take_in(session, catalog, task_row, flow_run_id, parameters, min(scheduled_at, now), now)
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


def _take_in(
    session: Session,
    catalog: Catalog,
    task_row: TaskRow,
    flow_run_id: str,
    parameters: dict[str, Any],
    due_at: datetime,
    now: datetime,
) -> tuple[RunRow, Catalog]:
    assert task_row.uid is not None
    if task_row.uid not in catalog.tasks:
        catalog = load_catalog(session)
    task = catalog.tasks[task_row.uid]
    while True:  # two that Prefect schedules for one instant still are two
        row = add_run(
            session,
            task,
            task_row,
            due_at=due_at,
            trigger=Trigger.PREFECT,
            flow_run_id=flow_run_id,
            parameters=parameters,
            follow=False,
            now=now,
            who="Prefect",
            why="started in Prefect",
        )
        if row is not None:
            return row, catalog
        found = session.exec(select(RunRow).where(col(RunRow.flow_run_id) == flow_run_id)).first()
        if found is not None:
            return found, catalog
        due_at += timedelta(microseconds=1)


def _ad_hoc_task(session: Session, catalog: Catalog, deployment_id: str, now: datetime) -> TaskRow:
    """The task that stands for what is started in Prefect, made if need be; no schedule of its own, one a type."""
    type_name = next((one.name for one in catalog.resolved.types.values() if one.deployment_id == deployment_id), None)
    if type_name is None:
        raise LookupError(f"deployment {deployment_id} is no task type; run `headway deploy`")
    name = f"{type_name} (started in Prefect)"
    found = select(TaskRow).where(TaskRow.name == name)
    known = session.exec(found).first()
    if known is None:
        settings.begin_edit(session)
        known = session.exec(found).first()  # perhaps somebody else has just made it
    if known is not None:
        return known
    row = TaskRow(
        name=name,
        type=type_name,
        description="Runs of this type that somebody started in Prefect itself",
        window=WindowPolicy.AVOID,
        on_failure=OnFailure.CONTINUE,
        on_errors=OnErrors.CONTINUE,
        catch_up=CatchUp.ALL,
        retry_delay=timedelta(minutes=5),
        created_at=now,
        updated_at=now,
        accounted_at=now,
    )
    session.add(row)
    session.flush()
    settings.definitions_changed(session)
    audit.record(session, now, Actor("Prefect"), "create task", f"task {row.uid} '{name}'", after={"type": type_name})
    return row
