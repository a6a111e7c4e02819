"""How a run ends: by its flow, lost, refused, or cancelled while it waited; and what its task keeps of it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.run import ACTIVE, FINISHED_WELL, RunStatus, Trigger
from headway.scheduler.store.queries.run_detail import error_lines
from headway.scheduler.store.runs.chain_runs import continue_chain
from headway.scheduler.store.runs.claims import free_locks, record_back_to_waiting
from headway.scheduler.store.runs.transitions import end_waiting, record_transition
from headway.scheduler.store.tasks import Catalog, as_run, load_chain_catalog

_LEARN_FROM = 20
_LEARN_AT_LEAST = 3


@dataclass(kw_only=True, frozen=True)
class Ending:
    """How a run ended: its final status and what is known of it."""

    status: RunStatus
    message: str = ""
    error: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    permanent: bool = False  # no automatic retry


def end_run(
    session: Session,
    catalog: Catalog,
    run_id: int,
    ending: Ending,
    *,
    now: datetime,
    who: str,
    claim: str | None = None,
    keep_process: bool = False,
    keep_group: bool = False,
) -> bool:
    """End an active run: retry, or final status with locks freed and next steps made; False if not ours to end.

    keep_process: its process is not proven gone. keep_group: so nothing of its group may start until a reset.
    """
    row = session.get(RunRow, run_id, with_for_update=True, populate_existing=True)
    if row is None or row.status not in ACTIVE or (claim is not None and row.claim != claim):
        return False
    task_row = session.get(TaskRow, row.task_uid, populate_existing=True)
    assert task_row is not None
    process = {} if keep_process else {"process_id": 0}
    if _may_retry(row, task_row, ending, keep_process):
        return _retry(session, row, task_row, ending, now, who)
    values = dict(ending.values)
    if ending.status is RunStatus.FAILED and not values.get("errors"):
        values["errors"] = error_lines(session, row)  # it has counted none itself: what it logged is the truth
    moved = record_transition(
        session,
        run_id,
        ACTIVE,
        ending.status,
        now=now,
        who=who,
        why=ending.error or ending.message,
        under_claim=row.claim,
        ended_at=now,
        message=ending.message,
        error=ending.error,
        **process,
        **values,
    )
    if not moved:
        return False
    free_locks(session, run_id, but_group=keep_group)
    session.refresh(row)
    _remember(session, row, task_row)
    task = catalog.tasks.get(row.task_uid)
    if task is not None:
        continue_chain(session, catalog, as_run(row, task), row, now)
    return True


def _may_retry(row: RunRow, task_row: TaskRow, ending: Ending, keep_process: bool) -> bool:
    if ending.status is not RunStatus.FAILED or ending.permanent or keep_process or row.cancel_asked_by:
        return False
    return row.attempt <= task_row.retries and not _is_unwanted(row, task_row)


def _is_unwanted(row: RunRow, task_row: TaskRow) -> bool:
    """A historical task runs no more, and a disabled one by its schedule and in its chain no more."""
    planned = row.trigger in (Trigger.SCHEDULE, Trigger.CHAIN)
    return task_row.historical or (planned and not task_row.enabled)


def _retry(session: Session, row: RunRow, task_row: TaskRow, ending: Ending, now: datetime, who: str) -> bool:
    retry_at = now + task_row.retry_delay
    why = f"attempt {row.attempt} failed ({ending.error or ending.message}); retried from {retry_at.isoformat()}"
    return record_back_to_waiting(session, row, retry_at, why, now, who, error=ending.error)


def _remember(session: Session, row: RunRow, task_row: TaskRow) -> None:
    """What the task's own row keeps of its history: the last run, whether it needs a reset, how long it takes."""
    task_row.last_run_id = row.id
    task_row.failed_run_id = row.id if row.status is RunStatus.FAILED else None
    if row.status in FINISHED_WELL:
        task_row.learned_duration = learned_duration(session, row.task_uid)
    session.add(task_row)
    session.flush()


def learned_duration(session: Session, uid: int) -> timedelta | None:
    """The 95th percentile of its last 20 completed runs; None below three."""
    rows = session.exec(
        select(RunRow.started_at, RunRow.ended_at)
        .where(RunRow.task_uid == uid, col(RunRow.status).in_(FINISHED_WELL))
        .order_by(col(RunRow.sorted_at).desc(), col(RunRow.id).desc())
        .limit(_LEARN_FROM)
    ).all()
    lengths = sorted(ended - started for started, ended in rows if started and ended)
    if len(lengths) < _LEARN_AT_LEAST:
        return None
    return max(lengths[-(-95 * len(lengths) // 100) - 1], timedelta(seconds=1))


def refuse_run(session: Session, catalog: Catalog, run_id: int, error: str, *, now: datetime, who: str) -> bool:
    """A waiting run that cannot start as it is defined fails at once, with the reason, instead of waiting for ever."""
    moved = record_transition(
        session,
        run_id,
        [RunStatus.WAITING],
        RunStatus.STARTING,
        now=now,
        who=who,
        claim=None,
        started_at=now,
        sorted_at=now,
    )
    ending = Ending(status=RunStatus.FAILED, message=error, error=error, permanent=True)
    return moved and end_run(session, catalog, run_id, ending, now=now, who=who)


def cancel_waiting(session: Session, catalog: Catalog, run_id: int, *, now: datetime, who: str, why: str) -> bool:
    """waiting -> cancelled, with the steps behind it skipped."""
    moved = end_waiting(session, run_id, RunStatus.CANCELLED, now=now, who=who, why=why)
    row = session.get(RunRow, run_id, populate_existing=True)
    if moved and row is not None and row.task_uid in catalog.tasks:
        continue_chain(session, catalog, as_run(row, catalog.tasks[row.task_uid]), row, now)
    return moved


@dataclass(kw_only=True, frozen=True)
class Exit:
    """What the ledger knew of a run when its process had left."""

    flow_run_id: str | None
    attempt: int
    cancelled: bool
    """It was asked to end."""
    put_back: bool
    """Its process put it back to waiting: Prefect was away."""


def end_exited(session: Session, run_id: int, claim: str, said: str, *, now: datetime, who: str) -> Exit | None:
    """End a run whose process left it in progress; None where the run is gone, or another attempt's by now.

    said: how the process left. who: the worker whose process it was.
    """
    row = session.get(RunRow, run_id)
    if row is None or row.claim not in (claim, None):
        return None  # another attempt's by now: what this one left is not to be written over it
    asked_by, flow_run_id, attempt = row.cancel_asked_by, row.flow_run_id, row.attempt
    if row.claim == claim and row.status in ACTIVE:
        status = RunStatus.CANCELLED if asked_by else RunStatus.FAILED
        ending = Ending(status=status, error=None if asked_by else said, message=said)
        catalog = load_chain_catalog(session, row.task_uid)
        end_run(session, catalog, run_id, ending, now=now, who=asked_by or who, claim=claim)
    put_back = row.status is RunStatus.WAITING
    return Exit(flow_run_id=flow_run_id, attempt=attempt, cancelled=bool(asked_by), put_back=put_back)


def ask_to_cancel(session: Session, run_id: int, *, now: datetime, who: str, why: str) -> bool:
    """Cancel a run that waits, or note that one in progress is to end; True where its process is to be ended now."""
    row = session.get(RunRow, run_id)
    if row is None or row.ended_at is not None:
        return False
    if row.status is RunStatus.WAITING:
        cancel_waiting(session, load_chain_catalog(session, row.task_uid), run_id, now=now, who=who, why=why)
        return False
    row.cancel_asked_by = who
    session.add(row)
    return True


def cancel_unwanted(session: Session, catalog: Catalog, uid: int, *, now: datetime, who: str) -> list[int]:
    """Cancel what waits of a task that is disabled or historical now; a disabled one's manual runs stay.

    No steps are skipped behind them: at a disabled or historical task the chain ends.
    """
    task, task_row = catalog.tasks.get(uid), session.get(TaskRow, uid)
    if task is None or task_row is None or task.scheduled:
        return []
    why = "the task was marked historical" if task.historical else "the task was disabled"
    rows = session.exec(select(RunRow).where(RunRow.task_uid == uid, RunRow.status == RunStatus.WAITING)).all()
    unwanted = [id_of(row) for row in rows if _is_unwanted(row, task_row)]
    for run_id in unwanted:
        end_waiting(session, run_id, RunStatus.CANCELLED, now=now, who=who, why=why)
    return unwanted
