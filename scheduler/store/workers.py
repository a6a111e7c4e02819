"""Workers' signs of life, and what follows from them for the `engine` rule and for lost runs."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, update
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import RunRow, TaskRow, WorkerRow
from headway.models.values.run import ACTIVE
from headway.scheduler.execution.process_identity import ProcessIdentity, is_alive

SILENT_AFTER = timedelta(seconds=60)
STANDS_STILL = "its process stands still"
"""How the message of a run begins whose process is stopped, as long as it is."""

# Asked at every turn and every sign of life, so put together once.
_WORKER: Any = WorkerRow.__table__  # type: ignore[attr-defined]
_LAST_SIGN = sa.select(_WORKER.c.seen_at, _WORKER.c.stopped_at).where(_WORKER.c.id == bindparam("worker"))
_SIGN = (
    update(_WORKER)
    .where(_WORKER.c.id == bindparam("worker"), _WORKER.c.stopped_at.is_(None))
    .values(seen_at=bindparam("now"), engine_problem=bindparam("problem"))
)
_SEEN = select(WorkerRow).where(col(WorkerRow.seen_at) > bindparam("since")).order_by(col(WorkerRow.started_at))
_NOT_STOPPED = select(WorkerRow).where(col(WorkerRow.stopped_at).is_(None))
_ACTIVE = select(RunRow).where(col(RunRow.ended_at).is_(None), col(RunRow.status).in_(ACTIVE))
_OWN = _ACTIVE.where(col(RunRow.work_pool) == "")
_KEPT = (
    select(RunRow)
    .join(TaskRow, col(TaskRow.failed_run_id) == col(RunRow.id))
    .where(RunRow.process_id != 0, RunRow.process_host == bindparam("host"))
)


class Steadiness:
    """Whether a worker that judges others by their silence was awake itself for as long.

    After a standstill, an outage of the database or a jump of the clock every worker seems to have been silent.
    """

    def __init__(self) -> None:
        self._last: datetime | None = None
        self._since: datetime | None = None

    def beats(self, now: datetime) -> bool:
        """A sign of life is given now; whether the silence of others counts."""
        last, self._last = self._last, now
        if last is not None and abs(now - last) >= SILENT_AFTER:
            self._since = now
        return self._since is None or now - self._since >= SILENT_AFTER


def say_hello(session: Session, worker_id: str, process: ProcessIdentity, now: datetime) -> None:
    session.add(
        WorkerRow(
            id=worker_id,
            host=process.host,
            process_id=process.pid,
            process_ticks=process.started_ticks,
            process_boot=process.boot_id,
            started_at=now,
            seen_at=now,
        )
    )


def beat(session: Session, worker_id: str, now: datetime, problem: str | None) -> bool:
    """The worker lives; False if its row is gone or it was declared stopped."""
    return count_changed(session, _SIGN, {"worker": worker_id, "now": now, "problem": problem}) == 1


def show_life(session: Session, worker_id: str, now: datetime, problem: str | None) -> bool:
    """As `beat`, where the last sign grows old: what a worker starts while it seems silent is taken for lost."""
    last = session.execute(_LAST_SIGN, {"worker": worker_id}).first()
    if last is None or last[1] is not None:
        return False
    return now - last[0] < SILENT_AFTER / 2 or beat(session, worker_id, now, problem)


def say_goodbye(session: Session, worker_id: str, now: datetime) -> None:
    session.execute(update(WorkerRow).where(col(WorkerRow.id) == worker_id).values(stopped_at=now))


def alive(session: Session, now: datetime) -> list[WorkerRow]:
    """The workers that are neither stopped nor silent."""
    return [worker for worker in lately_seen(session, now) if worker.stopped_at is None]


def lately_seen(session: Session, now: datetime) -> list[WorkerRow]:
    """The workers that are not silent yet, though they may have stopped or died."""
    return list(session.exec(_SEEN, params={"since": now - SILENT_AFTER}).all())


def engine_problem(session: Session, now: datetime) -> str | None:
    """Why nothing can start now, for the `engine` rule: no live worker, or none that reaches Prefect."""
    workers = alive(session, now)
    if not workers:
        return "no worker is alive; start one with `headway up` or `headway worker`"
    if all(worker.engine_problem for worker in workers):
        return f"Prefect cannot be reached: {workers[0].engine_problem}"
    return None


def process_of(row: RunRow | WorkerRow) -> ProcessIdentity | None:
    """The process that the row names for good, or None where it names none."""
    host = row.process_host if isinstance(row, RunRow) else row.host
    if not row.process_id or row.process_ticks is None or not host:
        return None
    return ProcessIdentity(row.process_id, row.process_ticks, row.process_boot or "", host)


def bury_dead(session: Session, here: ProcessIdentity, now: datetime) -> list[str]:
    """Declare stopped the workers of this host whose process is gone, without waiting for their silence.

    here: a process of this host. Of another boot nothing is said: it may be another machine of the same name.
    """
    dead = []
    for worker in alive(session, now):
        process = process_of(worker) if (worker.host, worker.process_boot) == (here.host, here.boot_id) else None
        if process is not None and not is_alive(process):
            worker.stopped_at = now
            session.add(worker)
            dead.append(worker.id)
    return dead


def orphaned(session: Session, now: datetime, *, silence_counts: bool = True) -> list[RunRow]:
    """Active runs whose worker is silent, stopped or unknown; not those of other pools, which need none of ours."""
    rows = session.exec(_OWN).all()
    if not rows:
        return []
    running = alive(session, now) if silence_counts else session.exec(_NOT_STOPPED).all()
    living = {worker.id for worker in running}
    return [row for row in rows if row.worker_id not in living]


def failed_with_process(session: Session, host: str) -> list[RunRow]:
    """Failed runs of the host that keep a process ID."""
    return list(session.exec(_KEPT, params={"host": host}).all())
