"""Runs that were started in Prefect itself: their rows, and the tasks that stand for them."""

from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.actor import Actor
from headway.models.values.run import Trigger
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy
from headway.scheduler.store import audit, settings
from headway.scheduler.store.runs.transitions import add_run
from headway.scheduler.store.tasks import Catalog, load_catalog


def run_of_flow_run(session: Session, flow_run_id: str) -> RunRow | None:
    return session.exec(select(RunRow).where(col(RunRow.flow_run_id) == flow_run_id)).first()


def add_adopted_run(
    session: Session,
    catalog: Catalog,
    task_row: TaskRow,
    flow_run_id: str,
    parameters: dict[str, Any],
    due_at: datetime,
    now: datetime,
) -> tuple[RunRow, Catalog]:
    """The flow run's row, and a catalog that has its task."""
    uid = id_of(task_row)
    if uid not in catalog.tasks:
        catalog = load_catalog(session)
    while True:  # two that Prefect schedules for one instant still are two
        row = add_run(
            session,
            catalog.tasks[uid],
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
        row = row or run_of_flow_run(session, flow_run_id)
        if row is not None:
            return row, catalog
        due_at += timedelta(microseconds=1)


def task_for_runs_of_prefect(session: Session, type_name: str, now: datetime) -> TaskRow:
    """The task that stands for what is started in Prefect, made if need be; no schedule of its own, one a type."""
    name = f"{type_name} (started in Prefect)"
    found = select(TaskRow).where(TaskRow.name == name)
    known = session.exec(found).first()
    if known is None:
        settings.begin_edit(session)
        known = session.exec(found).first()  # another worker may just have made it
    return known or _add_task(session, name, type_name, now)


def _add_task(session: Session, name: str, type_name: str, now: datetime) -> TaskRow:
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
