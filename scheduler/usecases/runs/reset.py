"""Reset: look at why it failed, see what will happen, then Finish."""

import socket
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine
from sqlmodel import Session

from headway.clock import Clock
from headway.errors import Refused
from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunLogRow, RunRow, TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.run import ACTIVE, RunStatus
from headway.models.values.task import OnFailure
from headway.privileges import require
from headway.scheduler.execution.process_identity import ProcessIdentity, end_group, is_alive
from headway.scheduler.planning.occurrences import next_occurrence
from headway.scheduler.store import audit
from headway.scheduler.store.queries import run_detail
from headway.scheduler.store.queries.runs_of_task import (
    active_run,
    failed_run,
    fresh_run,
    fresh_task,
    locked_run,
    locks_of,
    run_keeping_a_lock,
    skipped_behind,
)
from headway.scheduler.store.runs.claims import free_locks
from headway.scheduler.store.runs.run_ends import Ending, cancel_waiting, end_run
from headway.scheduler.store.tasks import load_chain_catalog
from headway.scheduler.store.workers import alive, process_of

LAST_LINES = 20


class Fate(StrEnum):
    """What Finish makes of the run's process."""

    GONE = "no process is alive"
    ENDED = "ends the live process (TERM, after 10 s KILL)"
    OUT_OF_REACH = "none: it is on another machine, and cannot be ended from here"
    PRESUMED_DEAD = "takes it for dead: nobody can see it"


_WARNINGS = {
    Fate.ENDED: "process {} on {} is alive: Finish ends it",
    Fate.OUT_OF_REACH: "process {} on {} may be alive and cannot be ended from here: "
    "run the reset on that machine, or end the process there first",
    Fate.PRESUMED_DEAD: "process {} on {} cannot be seen, for no worker of that machine is alive: Finish takes it for "
    "dead and frees its group. Make sure first that it has ended, or two of the group will work at once",
}


@dataclass(kw_only=True, frozen=True)
class ResetPreview:
    """What a reset is about, for a person to read before Finish."""

    task: str
    run_id: int
    status: RunStatus
    error: str | None
    last_lines: list[RunLogRow]
    errors: int
    process: ProcessIdentity | None
    fate: Fate
    locks: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    delivered: list[str] = field(default_factory=list)
    next_start_at: datetime | None = None

    @property
    def warning(self) -> str | None:
        return _warning(self.fate, self.process)


def preview_reset(session: Session, clock: Clock, actor: Actor, task: TaskRow) -> ResetPreview:
    """Why it failed and what a reset will do. Refused where it is neither running nor failed."""
    require(actor, Privilege.MANAGE)
    row = _to_reset(session, task)
    assert row.id is not None
    process = process_of(row)
    catalog = load_chain_catalog(session, row.task_uid)
    return ResetPreview(
        task=task.name,
        run_id=row.id,
        status=row.status,
        error=row.error,
        last_lines=run_detail.last_lines(session, row.id, LAST_LINES),
        errors=row.errors,
        process=process,
        fate=_fate(session, row, clock.now()),
        locks=locks_of(session, row.id),
        skipped=skipped_behind(session, row.id),
        delivered=[f"{one.path or one.name} ({one.bytes} bytes)" for one in run_detail.run_files(session, row.id)],
        next_start_at=next_occurrence(catalog.tasks[row.task_uid], clock.now())
        if row.task_uid in catalog.tasks
        else None,
    )


def reset(engine: Engine, clock: Clock, actor: Actor, task_uid: int, *, shown: int | None = None) -> RunStatus:
    """Finish: its process ended (TERM, KILL after 10 s), its locks freed, process ID 0; the run's final status.

    A running run is Cancelled; a failed one stays Execution failed, but needs no reset any more. Two transactions,
    with none open while the process is given its ten seconds: its own last words need the database.

    shown: the run that was shown before Finish; Refused where it is another one by now.
    A failed run's process on another machine is taken for dead where no worker is alive there; a living one would
    have seen that it is gone.
    """
    require(actor, Privilege.MANAGE)
    with writing(engine) as session:
        row = _to_reset(session, _task(session, task_uid))
        assert row.id is not None
        if shown not in (None, row.id):
            raise Refused(f"run {shown} needs no reset any more, and run {row.id} is another one: look at it first")
        run_id, process = row.id, process_of(row)
        before = {"run": row.id, "status": row.status, "process_id": row.process_id}
        if row.status in ACTIVE:
            row.cancel_asked_by = actor.name
            session.add(row)
        fate = _fate(session, row, clock.now())
    while True:
        unproven = process is not None and not end_group(process)
        with writing(engine) as session:
            row = locked_run(session, run_id)
            ended, process = process, process_of(row)
            if process not in (None, ended):  # it began only now
                row.cancel_asked_by, fate = actor.name, _fate(session, row, clock.now())
                session.add(row)
                continue
            if not unproven or fate is _fate(session, row, clock.now()) is Fate.PRESUMED_DEAD:
                return _finish(session, clock, actor, _task(session, task_uid), run_id, before)
            row.cancel_asked_by = None  # nothing has happened after all
            session.add(row)
        raise Refused(_warning(Fate.OUT_OF_REACH, ended) or "")


def _fate(session: Session, row: RunRow, now: datetime) -> Fate:
    process = process_of(row)
    if process is None or not is_alive(process):
        return Fate.GONE
    if process.host == socket.gethostname():
        return Fate.ENDED
    watched = process.host in {worker.host for worker in alive(session, now)}
    return Fate.OUT_OF_REACH if watched or row.status in ACTIVE else Fate.PRESUMED_DEAD


def _warning(fate: Fate, process: ProcessIdentity | None) -> str | None:
    return _WARNINGS[fate].format(process.pid, process.host) if process is not None and fate in _WARNINGS else None


def _finish(
    session: Session, clock: Clock, actor: Actor, task: TaskRow, run_id: int, before: dict[str, object]
) -> RunStatus:
    now = clock.now()
    ending = Ending(status=RunStatus.CANCELLED, message=f"reset by {actor.name}")
    catalog = load_chain_catalog(session, id_of(task))
    end_run(session, catalog, run_id, ending, now=now, who=actor.name)
    cancel_waiting(
        session, catalog, run_id, now=now, who=actor.name, why=ending.message
    )  # it had not begun, and said so
    free_locks(session, run_id)
    row = fresh_run(session, run_id)
    assert row is not None
    row.process_id, row.reset_at, row.reset_by = 0, now, actor.name
    row.claim = None  # whatever its process still tries to write is void
    session.add(row)
    if task.failed_run_id == run_id:
        task.failed_run_id = None
        session.add(task)
    session.flush()
    after = {"run": row.id, "status": row.status, "process_id": 0}
    audit.record(session, now, actor, "reset", f"task {task.uid} '{task.name}'", before=before, after=after)
    return RunStatus(row.status)


def _task(session: Session, uid: int) -> TaskRow:
    row = fresh_task(session, uid)
    if row is None:
        raise Refused(f"task {uid} has been deleted meanwhile")
    return row


def _to_reset(session: Session, task: TaskRow) -> RunRow:
    row = active_run(session, task) or failed_run(session, task) or run_keeping_a_lock(session, task)
    if row is None:
        raise Refused("You can't reset a task that's not running")
    return row


def needs_reset(task: TaskRow) -> bool:
    """Whether the task's next runs are held until an operator resets it."""
    return task.failed_run_id is not None and task.on_failure is OnFailure.HOLD
