"""The ledger of runs: how they come into it, are claimed, and end.

Every write is one UPDATE that names the state it expects; no row updated means that somebody else was first.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, func, select

from models.domain import (
    ACTIVE,
    FINISHED_WELL,
    RAN,
    TRANSITIONS,
    After,
    CatchUp,
    Run,
    RunStatus,
    Task,
    Trigger,
)
from models.tables import LockRow, RunEventRow, RunRow, TaskRow
from scheduler.board import next_steps
from scheduler.occurrences import next_occurrence, occurrences
from scheduler.store.logs import error_lines
from scheduler.store.tasks import Book, as_run

MOST_MISSED_ROWS = 100
_TICK = timedelta(microseconds=1)
_LEARN_FROM = 20
_LEARN_AT_LEAST = 3
_UNSEEN = {"synchronize_session": False}
"""For updates in a turn: to look through all rows of the session for the one that changed makes a rush quadratic.

Rows that were read before have to be refreshed where they are looked at again.
"""


@dataclass(frozen=True)
class Ending:
    """How a run ended: its final status and what is known of it."""

    status: RunStatus
    message: str = ""
    error: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    permanent: bool = False  # no automatic retry


def record_transition(
    session: Session,
    run_id: int,
    before: Iterable[RunStatus],
    after: RunStatus,
    *,
    now: datetime,
    who: str,
    why: str = "",
    under_claim: str | None = None,
    **values: Any,
) -> bool:
    """Move a run on if it is still where the caller thinks (and under that claim); the event with it."""
    expected = [status for status in before if after in TRANSITIONS.get(status, ())]
    row = session.exec(select(RunRow.status).where(RunRow.id == run_id)).first()
    statement = update(RunRow).where(col(RunRow.id) == run_id, col(RunRow.status).in_(expected))
    if under_claim is not None:
        statement = statement.where(col(RunRow.claim) == under_claim)
    result = session.execute(statement.values(status=after, **values), execution_options=_UNSEEN)
    if result.rowcount != 1:  # type: ignore[attr-defined]
        return False
    session.add(RunEventRow(run_id=run_id, at=now, before=row, after=after, who=who, why=why))
    session.flush()
    return True


def add_run(session: Session, task: Task, row: TaskRow, **values: Any) -> RunRow | None:
    """A new ledger row; None if this occurrence (task, due, trigger) has one already."""
    due_at, now, status = values["due_at"], values.pop("now"), values.get("status", RunStatus.WAITING)
    who, why = values.pop("who"), values.pop("why", "")
    facts = {
        "task_uid": task.uid,
        "type": task.type,
        "object": row.object,
        "step": task.step,
        "status": status,
        "created_at": now,
        "sorted_at": due_at,
        "overrides": [],
        **values,
    }
    if status is not RunStatus.WAITING:
        facts.setdefault("ended_at", now)
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(RunRow).values(**_with_defaults(facts)).on_conflict_do_nothing()
    run_id = session.execute(statement.returning(col(RunRow.id))).scalar_one_or_none()
    if run_id is None:
        return None
    session.add(RunEventRow(run_id=run_id, at=now, before=None, after=status, who=who, why=why))
    session.flush()
    return session.get(RunRow, run_id)


def _with_defaults(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "attempt": 0,
        "follow": True,
        "process_id": 0,
        "processed": 0,
        "errors": 0,
        "bytes": 0,
        "message": "",
        **facts,
    }


# Coming due


def account_for_dues(session: Session, book: Book, now: datetime) -> int:
    """Give every occurrence up to now its row, by each task's catch-up rule; how many tasks came due."""
    rows = session.exec(select(TaskRow).where(col(TaskRow.next_due_at) <= now).order_by(col(TaskRow.next_due_at))).all()
    for row in rows:
        task = book.tasks.get(row.uid or 0)
        if task is not None:
            _come_due(session, task, row, _newly_due(session, task, row, now), now)
    return len(rows)


def account_before_edit(session: Session, book: Book, uids: set[int], stopped: set[int], now: datetime) -> None:
    """As account_for_dues, by the definitions of before an edit and for these tasks alone.

    What came due while no worker took a turn keeps its row that way. stopped: the tasks that the edit takes out of
    use; what they missed is not run any more.
    """
    for row in session.exec(select(TaskRow).where(col(TaskRow.next_due_at) <= now)).all():
        task = book.tasks.get(row.uid or 0)
        if task is None or row.uid not in uids:
            continue
        dues = _newly_due(session, task, row, now)
        session.refresh(row)  # the edit writes on it
        if row.uid in stopped:
            _miss(session, task, row, dues, now, "it was taken out of use before a worker came to it")
        else:
            _come_due(session, task, row, dues, now)


def _newly_due(session: Session, task: Task, row: TaskRow, now: datetime) -> list[datetime]:
    """The occurrences since the row was last accounted for; none if another was first."""
    dues = occurrences(task, row.accounted_at, now + _TICK)
    result = session.execute(
        update(TaskRow)
        .where(col(TaskRow.uid) == row.uid, col(TaskRow.accounted_at) == row.accounted_at)
        .values(accounted_at=now + _TICK, next_due_at=next_occurrence(task, now)),
        execution_options=_UNSEEN,
    )
    return dues if result.rowcount == 1 else []  # type: ignore[attr-defined]


def _come_due(session: Session, task: Task, row: TaskRow, dues: list[datetime], now: datetime) -> None:
    if not dues:
        return
    waiting = dues if task.catch_up is CatchUp.ALL else dues[-1:]
    why = "no worker was alive when it came due, and a later occurrence has come due since"
    _miss(session, task, row, dues[: -len(waiting)], now, why)
    if task.catch_up is CatchUp.LATEST:
        _supersede(session, task.uid, waiting[-1], now)
    for due in waiting:
        add_run(session, task, row, due_at=due, trigger=Trigger.SCHEDULE, now=now, who="scheduler", why="came due")


def _miss(session: Session, task: Task, row: TaskRow, missed: list[datetime], now: datetime, why: str) -> None:
    """A Missed row for each of the last 100, and one for all before them."""
    common: dict[str, Any] = {"trigger": Trigger.SCHEDULE, "status": RunStatus.MISSED, "now": now, "who": "scheduler"}
    left_out, missed = missed[:-MOST_MISSED_ROWS], missed[-MOST_MISSED_ROWS:]
    if left_out:
        more = f"missed, with {len(left_out) - 1} more between it and the next row: {why}"
        message = more if len(left_out) > 1 else why
        add_run(session, task, row, due_at=left_out[0], message=message, **common)
    for due in missed:
        add_run(session, task, row, due_at=due, message=why, **common)


def _supersede(session: Session, uid: int, due: datetime, now: datetime) -> None:
    older = session.exec(
        select(RunRow.id).where(
            RunRow.task_uid == uid,
            RunRow.status == RunStatus.WAITING,
            RunRow.trigger == Trigger.SCHEDULE,
            RunRow.due_at < due,
        )
    ).all()
    for run_id in older:
        why = f"the occurrence of {due.isoformat(timespec='minutes')} came due while it waited"
        assert run_id is not None
        record_transition(
            session,
            run_id,
            [RunStatus.WAITING],
            RunStatus.SUPERSEDED,
            now=now,
            who="scheduler",
            why=why,
            ended_at=now,
            message=why,
        )


# The claim


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
) -> bool:
    """Claim a waiting run with its task's, its group's and a slot's lock, all or nothing; False if another won."""
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
                **_claimed(run, claim, worker_id, now, parameters, sequence),
            )
            if not claimed:
                return False
            for name in locks:
                session.execute(insert(LockRow).values(name=name, run_id=run.id, claim=claim, at=now))
    except IntegrityError:  # the constraint has the last word: somebody holds one of these locks
        return False
    # A retry keeps its number, and must not set the count back.
    highest = case((col(TaskRow.sequence) < sequence, sequence), else_=col(TaskRow.sequence))
    session.execute(
        update(TaskRow).where(col(TaskRow.uid) == task.uid).values(last_started_at=now, sequence=highest),
        execution_options=_UNSEEN,
    )
    return True


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
    }


def free_locks(session: Session, run_id: int, *, but_group: bool = False) -> None:
    """Give up all that the run has to itself, or all but its group."""
    statement = delete(LockRow).where(col(LockRow.run_id) == run_id)
    if but_group:
        statement = statement.where(col(LockRow.name).not_like("group:%"))
    session.execute(statement)


# The end


def end_run(
    session: Session,
    book: Book,
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
    task = book.tasks.get(row.task_uid)
    if task is not None:
        _continue_chain(session, book, as_run(row, task), row, now)
    return True


def _may_retry(row: RunRow, task_row: TaskRow, ending: Ending, keep_process: bool) -> bool:
    if ending.status is not RunStatus.FAILED or ending.permanent or keep_process or row.cancel_asked_by:
        return False
    return row.attempt <= task_row.retries


def _retry(session: Session, row: RunRow, task_row: TaskRow, ending: Ending, now: datetime, who: str) -> bool:
    assert row.id is not None
    retry_at = now + task_row.retry_delay
    why = f"attempt {row.attempt} failed ({ending.error or ending.message}); retried from {retry_at.isoformat()}"
    return record_back_to_waiting(session, row, retry_at, why, now, who, error=ending.error)


def record_back_to_waiting(
    session: Session, row: RunRow, retry_at: datetime, why: str, now: datetime, who: str, *, error: str | None
) -> bool:
    """starting | running -> waiting, due from `retry_at`; its claim and locks are void from here on."""
    assert row.id is not None
    born_in_prefect = row.trigger is Trigger.PREFECT and row.attempt == 0
    moved = record_transition(
        session,
        row.id,
        ACTIVE,
        RunStatus.WAITING,
        now=now,
        who=who,
        why=why,
        under_claim=row.claim,
        retry_at=retry_at,
        process_id=0,
        error=error,
        flow_run_id=row.flow_run_id if born_in_prefect else None,
        claim=None,
    )
    if moved:
        free_locks(session, row.id)
    return moved


def record_not_started(session: Session, row: RunRow, why: str, now: datetime, who: str) -> bool:
    """starting -> waiting as if it had not been claimed: nothing of the flow ran, and the attempt does not count."""
    assert row.id is not None
    moved = record_transition(
        session,
        row.id,
        [RunStatus.STARTING],
        RunStatus.WAITING,
        now=now,
        who=who,
        why=f"not started: {why}",
        under_claim=row.claim,
        claim=None,
        attempt=max(row.attempt - 1, 0),
        process_id=0,
        flow_run_id=row.flow_run_id if row.trigger is Trigger.PREFECT else None,
    )
    if moved:
        free_locks(session, row.id)
    return moved


def give_back_unbegun(session: Session, worker_id: str, begun: Collection[str], now: datetime) -> list[int]:
    """What this worker claimed in a turn whose end it did not hear of, and so never handed to a process.

    begun: the claims that it did hand over. Returns the runs that wait again.
    """
    rows = session.exec(
        select(RunRow)
        .where(RunRow.worker_id == worker_id, RunRow.status == RunStatus.STARTING, RunRow.process_id == 0)
        .execution_options(populate_existing=True)
    ).all()
    unheard = [row for row in rows if row.claim not in begun]
    why = "its worker did not hear that it had claimed it"
    return [row.id or 0 for row in unheard if record_not_started(session, row, why, now, worker_id)]


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


# The chain behind a run


def _continue_chain(session: Session, book: Book, run: Run, row: RunRow, now: datetime) -> None:
    made = {step.task.uid for step in next_steps(run, book.tasks)}
    for step in next_steps(run, book.tasks):
        why = f"step {run.task.step} '{run.task.name}' ended {run.status.value.replace('_', ' ')} in run {row.id}"
        add_run(
            session,
            step.task,
            book.rows[step.task.uid],
            due_at=step.due_at,
            trigger=Trigger.CHAIN,
            cause_run_id=row.id,
            now=now,
            who="scheduler",
            why=why,
        )
    if not run.follow or run.status not in RAN:
        return
    for uid in run.task.successors:
        if uid not in made:
            skip_steps(session, book, uid, run, row, now)


def skip_steps(session: Session, book: Book, uid: int, run: Run, row: RunRow, now: datetime) -> None:
    """Skipped rows for the step and all behind it, naming the run that is the cause."""
    task = book.tasks[uid]
    if not task.scheduled:
        return
    assert isinstance(task.schedule, After)
    ended = {RunStatus.FAILED: "failed", RunStatus.CANCELLED: "was cancelled"}.get(run.status, "ended with errors")
    message = f"skipped: step {row.step} '{run.task.name}' {ended} in run {row.id}"
    due_at = max((run.started_at or now) + task.schedule.spacing, run.ended_at or now)
    skipped = add_run(
        session,
        task,
        book.rows[uid],
        due_at=due_at,
        trigger=Trigger.CHAIN,
        status=RunStatus.SKIPPED,
        message=message,
        cause_run_id=row.id,
        now=now,
        who="scheduler",
        why=message,
    )
    if skipped is None:
        return
    for behind in task.successors:
        skip_steps(session, book, behind, run, row, now)


def refuse_run(session: Session, book: Book, run_id: int, error: str, *, now: datetime, who: str) -> bool:
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
    ending = Ending(RunStatus.FAILED, message=error, error=error, permanent=True)
    return moved and end_run(session, book, run_id, ending, now=now, who=who)


def cancel_waiting(session: Session, book: Book, run_id: int, *, now: datetime, who: str, why: str) -> bool:
    """waiting -> cancelled, with the steps behind it skipped."""
    moved = record_transition(
        session,
        run_id,
        [RunStatus.WAITING],
        RunStatus.CANCELLED,
        now=now,
        who=who,
        why=why,
        ended_at=now,
        message=why,
    )
    row = session.get(RunRow, run_id, populate_existing=True)
    if moved and row is not None and row.task_uid in book.tasks:
        _continue_chain(session, book, as_run(row, book.tasks[row.task_uid]), row, now)
    return moved


def cancel_unwanted(session: Session, book: Book, uid: int, *, now: datetime, who: str) -> list[int]:
    """Cancel what waits of a task that is disabled or historical now; a disabled one's manual runs stay.

    No steps are skipped behind them: at a disabled or historical task the chain ends.
    """
    task = book.tasks.get(uid)
    if task is None or task.scheduled:
        return []
    why = "the task was marked historical" if task.historical else "the task was disabled"
    rows = session.exec(select(RunRow).where(RunRow.task_uid == uid, RunRow.status == RunStatus.WAITING)).all()
    unwanted = [r.id or 0 for r in rows if task.historical or r.trigger in (Trigger.SCHEDULE, Trigger.CHAIN)]
    for run_id in unwanted:
        ended: dict[str, Any] = {"ended_at": now, "message": why}
        record_transition(session, run_id, [RunStatus.WAITING], RunStatus.CANCELLED, now=now, who=who, why=why, **ended)
    return unwanted


def open_runs(session: Session) -> list[RunRow]:
    """Every waiting, starting and running row."""
    return list(session.exec(select(RunRow).where(col(RunRow.ended_at).is_(None))).all())


def count_open(session: Session) -> int:
    return session.exec(select(func.count()).select_from(RunRow).where(col(RunRow.ended_at).is_(None))).one()
