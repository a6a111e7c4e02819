"""Runs whose worker has gone silent: what is true of them, and no more than that, is written."""

from datetime import datetime

from sqlmodel import Session

from headway.models.ledger.tables import RunRow, id_of
from headway.models.values.run import RunStatus
from headway.scheduler.execution.process_identity import is_alive
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.tasks import load_chain_catalog
from headway.scheduler.store.workers import failed_with_process, lately_seen, orphaned, process_of


def end_lost_runs(session: Session, host: str, now: datetime, *, silence_counts: bool = True) -> list[str]:
    """End the active runs of silent workers; the flow runs that Prefect has to be told about.

    A run's group is freed only where its process is proven gone. Of a worker that has just died it may be ending
    still: nothing is said of it before the worker would be silent.

    silence_counts: whether a worker that was not heard of is silent; see `workers.Steadiness`.
    """
    ended = []
    orphans = orphaned(session, now, silence_counts=silence_counts)
    seen = {worker.id for worker in lately_seen(session, now)} if orphans else set()
    for row in orphans:
        gone = _proven_gone(row, host)
        if not gone and row.worker_id in seen:
            continue
        if gone:
            error = "the worker that ran it died, and its process is gone with it"
        else:
            error = f"lost contact: its worker is silent, and process {row.process_id} is not proven gone"
        ending = Ending(status=RunStatus.FAILED, message=error, error=error, permanent=not gone)
        catalog = load_chain_catalog(session, row.task_uid)
        who, claim, keep = "scheduler", row.claim, not gone
        if end_run(
            session, catalog, id_of(row), ending, now=now, who=who, claim=claim, keep_process=keep, keep_group=keep
        ):
            ended += [row.flow_run_id] if row.flow_run_id else []
    _forget_gone_processes(session, host)
    return ended


def _forget_gone_processes(session: Session, host: str) -> None:
    """A failed run keeps its process ID only while that process is not proven gone; its group stays till the reset."""
    for row in failed_with_process(session, host):
        if _proven_gone(row, host):
            row.process_id = 0


def _proven_gone(row: RunRow, host: str) -> bool:
    """A claim that never got a process lost it with its worker: whatever comes later is fenced off by the claim."""
    process = process_of(row)
    if process is None:
        return True
    return process.host == host and not is_alive(process)
