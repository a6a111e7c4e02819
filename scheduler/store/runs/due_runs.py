"""Occurrences that came due get their rows: waiting, missed or superseded, by the task's catch-up rule."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import Session, col, select

from headway.models.ledger.database import count_changed
from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.run import RunStatus, Trigger
from headway.models.values.task import CatchUp, Task
from headway.scheduler.planning.occurrences import next_occurrence, occurrences
from headway.scheduler.store.runs.transitions import UNSEEN, add_runs, end_waiting
from headway.scheduler.store.tasks import Catalog

MOST_MISSED_ROWS = 100
MOST_AT_ONCE = 500
"""Rows in one transaction, about: while it lasts, no other process may write, and a crash undoes all of it."""
_TICK = timedelta(microseconds=1)
_DUE = select(TaskRow).where(col(TaskRow.next_due_at) <= bindparam("now")).order_by(col(TaskRow.next_due_at))


def account_for_dues(session: Session, catalog: Catalog, now: datetime) -> bool:
    """Give occurrences up to now their rows, by each task's catch-up rule; whether that was all of them.

    After a long silence it is not: the next transaction goes on. (What waits for a turn while some of it has no row
    yet may be the wrong thing to start.)
    """
    rows = session.exec(_DUE.limit(MOST_AT_ONCE), params={"now": now}).all()
    known = [(row, catalog.tasks[id_of(row)]) for row in rows if row.uid in catalog.tasks]
    room = MOST_AT_ONCE
    for row, task in known:
        if room <= 0:
            return False
        dues = _newly_due(session, task, row, now, room)
        _come_due(session, task, row, dues, now)
        room -= len(dues)
    return room > 0 and not (known and len(rows) == MOST_AT_ONCE)


def account_before_edit(session: Session, catalog: Catalog, uids: set[int], stopped: set[int], now: datetime) -> None:
    """As account_for_dues, by the definitions of before an edit and for these tasks alone.

    What came due while no worker took a turn keeps its row that way. stopped: the tasks that the edit takes out of
    use; what they missed is not run any more.
    """
    for row in session.exec(_DUE, params={"now": now}).all():
        task = catalog.tasks.get(id_of(row))
        if task is None or row.uid not in uids:
            continue
        dues = _newly_due(session, task, row, now)
        session.refresh(row)  # the edit writes on it
        if row.uid in stopped:
            _miss(session, task, row, dues, now, "it was taken out of use before a worker came to it")
        else:
            _come_due(session, task, row, dues, now)


def _newly_due(session: Session, task: Task, row: TaskRow, now: datetime, most: int | None = None) -> list[datetime]:
    """The occurrences since the row was last accounted for; none if another was first.

    most: so many of those that will all wait; of others only the last does, so they are looked at as a whole.
    """
    dues, until = occurrences(task, row.accounted_at, now + _TICK), now
    if most is not None and task.catch_up is CatchUp.ALL and len(dues) > most:
        dues = dues[:most]
        until = dues[-1]
    accounted = (
        update(TaskRow)
        .where(col(TaskRow.uid) == row.uid, col(TaskRow.accounted_at) == row.accounted_at)
        .values(accounted_at=until + _TICK, next_due_at=next_occurrence(task, until))
        .execution_options(**UNSEEN)
    )
    return dues if count_changed(session, accounted) == 1 else []


def _come_due(session: Session, task: Task, row: TaskRow, dues: list[datetime], now: datetime) -> None:
    if not dues:
        return
    waiting = dues if task.catch_up is CatchUp.ALL else dues[-1:]
    why = "no worker was alive when it came due, and a later occurrence has come due since"
    _miss(session, task, row, dues[: -len(waiting)], now, why)
    if task.catch_up is CatchUp.LATEST:
        _supersede(session, task.uid, waiting[-1], now)
    add_runs(session, task, row, waiting, trigger=Trigger.SCHEDULE, now=now, who="scheduler", why="came due")


def _miss(session: Session, task: Task, row: TaskRow, missed: list[datetime], now: datetime, why: str) -> None:
    """A Missed row for each of the last 100, and one for all before them."""
    common: dict[str, Any] = {"trigger": Trigger.SCHEDULE, "status": RunStatus.MISSED, "now": now, "who": "scheduler"}
    left_out, missed = missed[:-MOST_MISSED_ROWS], missed[-MOST_MISSED_ROWS:]
    if left_out:
        more = f"missed, with {len(left_out) - 1} more between it and the next row: {why}"
        message = more if len(left_out) > 1 else why
        add_runs(session, task, row, left_out[:1], message=message, **common)
    add_runs(session, task, row, missed, message=why, **common)


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
        end_waiting(session, run_id, RunStatus.SUPERSEDED, now=now, who="scheduler", why=why)
