"""The claim of a run with its locks, and how it is given back."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import case, delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from headway.models.ledger.tables import LockRow, RunRow, TaskRow, id_of
from headway.models.values.run import ACTIVE, Run, RunStatus, Trigger
from headway.scheduler.store.runs.transitions import UNSEEN, record_transition


def claim_run(
    session: Session,
    run: Run,
    *,
    claim: str,
    worker_id: str,
    max_running: int,
    now: datetime,
    parameters: dict[str, Any],
    sequence: int,
    object_name: str,
    work_pool: str,
) -> bool:
    """Claim a waiting run with its task's, its group's and a slot's lock, all or nothing; False if another won.

    From here on the run's own type, object and work pool count, whatever becomes of its task's and its type's.
    """
    task = run.task
    taken = set(session.exec(select(LockRow.name).where(col(LockRow.name).like("slot:%"))).all())
    slot = next((n for n in range(max_running) if f"slot:{n}" not in taken), None)
    if slot is None:
        return False
    locks = [f"group:{task.group}", f"task:{task.uid}", f"slot:{slot}"]
    try:
        with session.begin_nested():
            claimed = record_transition(
                session,
                run.id,
                [RunStatus.WAITING],
                RunStatus.STARTING,
                now=now,
                who=worker_id,
                why=f"attempt {run.attempt + 1}",
                type=task.type,
                object=object_name,
                work_pool=work_pool,
                **_claimed(run, claim, worker_id, now, parameters, sequence),
            )
            if not claimed:
                return False
            rows = [{"name": name, "run_id": run.id, "claim": claim, "at": now} for name in locks]
            session.execute(insert(LockRow.__table__), rows)  # type: ignore[attr-defined]
    except IntegrityError:  # the constraint has the last word: another run holds one of these locks
        return False
    # A retry keeps its number, and must not set the count back.
    highest = case((col(TaskRow.sequence) < sequence, sequence), else_=col(TaskRow.sequence))
    session.execute(
        update(TaskRow).where(col(TaskRow.uid) == task.uid).values(last_started_at=now, sequence=highest),
        execution_options=UNSEEN,
    )
    return True


def next_sequence(session: Session, uid: int) -> int:
    """The number of the task's next run; it counts once the run is claimed."""
    return 1 + session.exec(select(TaskRow.sequence).where(TaskRow.uid == uid)).one()


def _claimed(
    run: Run, claim: str, worker_id: str, now: datetime, parameters: dict[str, Any], sequence: int
) -> dict[str, Any]:
    return {
        "claim": claim,
        "worker_id": worker_id,
        "attempt": run.attempt + 1,
        "started_at": now,
        "sorted_at": now,
        "running_at": None,
        "progress": None,
        "processed": 0,
        "errors": 0,
        "bytes": 0,
        "error": None,
        "message": "",
        "retry_at": None,
        "parameters": parameters,
        "sequence": sequence,
        "process_id": 0,
        "process_ticks": None,
        "process_boot": None,
        "process_host": None,
        "cancel_asked_by": None,
    }


def free_locks(session: Session, run_id: int, *, but_group: bool = False) -> None:
    """Give up all that the run has to itself, or all but its group."""
    statement = delete(LockRow).where(col(LockRow.run_id) == run_id)
    if but_group:
        statement = statement.where(col(LockRow.name).not_like("group:%"))
    session.execute(statement)


def record_back_to_waiting(
    session: Session, row: RunRow, retry_at: datetime, why: str, now: datetime, who: str, *, error: str | None
) -> bool:
    """starting | running -> waiting, due from `retry_at`; its claim and locks are void from here on."""
    born_in_prefect = row.trigger is Trigger.PREFECT and row.attempt == 0
    flow_run_id = row.flow_run_id if born_in_prefect else None
    values = {"retry_at": retry_at, "error": error, "flow_run_id": flow_run_id}
    return _back_to_waiting(session, row, ACTIVE, why, now, who, values)


def record_not_started(session: Session, row: RunRow, why: str, now: datetime, who: str) -> bool:
    """starting -> waiting as if it had not been claimed: nothing of the flow ran, and the attempt does not count.

    row: as it is, read under its lock. Of a run that was handed to another pool no worker can say so: False where it
    has its flow run. (One that was born in Prefect has had one before; the caller has to see that it is
    still that one.)
    """
    if row.work_pool and row.flow_run_id is not None and row.trigger is not Trigger.PREFECT:
        return False
    flow_run_id = row.flow_run_id if row.trigger is Trigger.PREFECT else None
    values = {"attempt": max(row.attempt - 1, 0), "flow_run_id": flow_run_id}
    return _back_to_waiting(session, row, [RunStatus.STARTING], f"not started: {why}", now, who, values)


def _back_to_waiting(
    session: Session,
    row: RunRow,
    before: Iterable[RunStatus],
    why: str,
    now: datetime,
    who: str,
    values: dict[str, Any],
) -> bool:
    run_id = id_of(row)
    given_up: dict[str, Any] = {"claim": None, "process_id": 0, **values}
    moved = record_transition(
        session, run_id, before, RunStatus.WAITING, now=now, who=who, why=why, under_claim=row.claim, **given_up
    )
    if moved:
        free_locks(session, run_id)
    return moved


def give_back_unbegun(session: Session, worker_id: str, begun: Collection[str], now: datetime) -> list[int]:
    """What this worker claimed in a turn whose end it did not hear of, and so never handed to a process.

    begun: the claims that it did hand over. Returns the runs that wait again. Not those of other pools: the worker that
    watches over them makes a flow run that is missing, and how far one is that is there, the ledger does not know.
    """
    rows = session.exec(
        select(RunRow)
        .where(RunRow.worker_id == worker_id, RunRow.status == RunStatus.STARTING, RunRow.process_id == 0)
        .where(RunRow.work_pool == "")
        .execution_options(populate_existing=True)
    ).all()
    unheard = [row for row in rows if row.claim not in begun]
    why = "its worker did not hear that it had claimed it"
    return [id_of(row) for row in unheard if record_not_started(session, row, why, now, worker_id)]
