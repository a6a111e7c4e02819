"""Runs beside their flow runs in Prefect: those that are over here, and those that are not."""

from collections.abc import Collection, Sequence

from sqlmodel import Session, col, select

from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus


def ended_with_flow_run(session: Session, flow_run_ids: Collection[str]) -> Sequence[RunRow]:
    """The ended runs among those of these flow runs."""
    return session.exec(
        select(RunRow).where(col(RunRow.ended_at).is_not(None), col(RunRow.flow_run_id).in_(flow_run_ids))
    ).all()


def open_with_flow_run(session: Session, worker_id: str) -> dict[str, RunRow]:
    """By flow run: the runs that wait, and those that this worker has in progress."""
    rows = session.exec(select(RunRow).where(col(RunRow.ended_at).is_(None), col(RunRow.flow_run_id).is_not(None)))
    return {
        row.flow_run_id: row
        for row in rows
        if row.flow_run_id and (row.status is RunStatus.WAITING or row.worker_id == worker_id)
    }
