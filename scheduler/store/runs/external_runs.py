"""Runs that were claimed for another work pool: which worker watches over them, and what they left."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import or_, update
from sqlmodel import Session, col, func, select

from headway.models.ledger.tables import RunLogRow, RunRow, TaskTypeRow
from headway.models.values.run import ACTIVE, Trigger
from headway.scheduler.planning.definitions.task_types import POOL
from headway.scheduler.store import workers
from headway.scheduler.store.runs.claims import record_not_started

_IN_PROGRESS = select(RunRow).where(
    col(RunRow.ended_at).is_(None), col(RunRow.status).in_(ACTIVE), col(RunRow.work_pool) != ""
)


def handed_over(session: Session) -> list[RunRow]:
    """Active runs that were claimed for another pool, of every worker."""
    return list(session.exec(_IN_PROGRESS).all())


def take_watch(session: Session, active: list[RunRow], worker_id: str, now: datetime) -> list[RunRow]:
    """Those of them that are this worker's to watch: its own, and from now on those of workers that are gone."""
    living = {worker.id for worker in workers.alive(session, now)} if active else set()
    mine = [row for row in active if row.worker_id == worker_id or row.worker_id not in living]
    for row in mine:
        if row.worker_id != worker_id:
            statement = update(RunRow).where(col(RunRow.id) == row.id, col(RunRow.claim) == row.claim)
            session.execute(statement.values(worker_id=worker_id))
    return mine


def give_back_unmade(
    session: Session, run_id: int, claim: str, worker_id: str, before: str | None, why: str, now: datetime
) -> bool:
    """The run waits again; False if it has its flow run meanwhile, or is another worker's to watch.

    before: the flow run it had when it was claimed (one born in Prefect), else None.
    """
    row = session.get(RunRow, run_id, with_for_update=True)
    if row is None or (row.claim, row.worker_id, row.flow_run_id) != (claim, worker_id, before):
        return False
    return record_not_started(session, row, why, now, "run")


def deployments_elsewhere(session: Session, types: set[str]) -> set[str]:
    """The deployments of other pools' types, and of these, whose runs are in progress there wherever they are now."""
    named = or_(col(TaskTypeRow.work_pool) != POOL, col(TaskTypeRow.name).in_(types))
    found = session.exec(select(TaskTypeRow.deployment_id).where(named, TaskTypeRow.deployment_id != "")).all()
    return set(found)


def last_line_at(session: Session, run_id: int) -> datetime | None:
    """When the newest log line of the run was written."""
    return session.exec(select(func.max(RunLogRow.at)).where(RunLogRow.run_id == run_id)).one()


def is_over(session: Session, run_id: int) -> bool:
    row = session.get(RunRow, run_id)
    return row is not None and row.ended_at is not None


def unchanged(session: Session, row: RunRow) -> bool:
    """Whether the run still has the claim and the flow run that it had when the row was read."""
    now = session.get(RunRow, row.id)
    return now is not None and (now.claim, now.flow_run_id) == (row.claim, row.flow_run_id)


def flow_runs_of_ended(session: Session, run_ids: Collection[int]) -> dict[int, str | None]:
    """Those of these runs that are over: the flow run each had on its pool; None where the ledger does not know it."""
    over = session.exec(
        select(RunRow.id, RunRow.flow_run_id, RunRow.trigger).where(
            col(RunRow.id).in_(run_ids), col(RunRow.ended_at).is_not(None), col(RunRow.work_pool) != ""
        )
    ).all()
    return {
        run_id: None if trigger is Trigger.PREFECT else bound for run_id, bound, trigger in over if run_id is not None
    }
