"""The board as it is stored now: what a turn, `why` and the forecast judge by."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, func
from sqlmodel import Session, col, select

from headway.models.ledger.tables import LockRow, RunRow, TaskRow, id_of
from headway.models.values.run import Failure, Run, RunStatus
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.scheduler.planning.board import Board
from headway.scheduler.store.tasks import Catalog, as_run
from headway.scheduler.store.workers import engine_problem

_CHUNK = 5000

# Asked at every turn, so put together once.
_OPEN = select(RunRow).where(col(RunRow.ended_at).is_(None))
_LOCKED = (
    select(LockRow.name, RunRow)
    .join(RunRow, col(RunRow.id) == col(LockRow.run_id))
    .where(col(LockRow.name).like("group:%"))
)
_TASK: Any = TaskRow.__table__  # type: ignore[attr-defined]
_RUN: Any = RunRow.__table__  # type: ignore[attr-defined]
_FACTS = sa.select(
    _TASK.c.uid, _TASK.c.expected_duration, _TASK.c.learned_duration, _TASK.c.failed_run_id, _TASK.c.last_started_at
).where(_TASK.c.uid.in_(bindparam("uids", expanding=True)))
_FIRST_SCHEDULED = sa.select(func.min(_TASK.c.next_due_at))
_FIRST_WAITING = sa.select(func.min(func.coalesce(_RUN.c.retry_at, _RUN.c.due_at))).where(
    _RUN.c.ended_at.is_(None), _RUN.c.status == RunStatus.WAITING
)


@dataclass(frozen=True)
class LoadedBoard:
    """A board with its waiting runs, and the rows behind them. lost: the groups that failed runs keep."""

    board: Board
    waiting: list[Run]
    rows: dict[int, RunRow]
    lost: dict[str, Run]


def load_board(
    session: Session, catalog: Catalog, now: datetime, *, problem: str | bool | None = True, whole: bool = False
) -> LoadedBoard:
    """Everything the rules look at. problem: what the `engine` rule gets; True asks the workers' rows.

    whole: also what is true of tasks without an open run (the board's tasks have today's estimates then), for a look
    at what is to come; a turn needs none of it.
    """
    rows = [row for row in open_runs(session) if row.task_uid in catalog.tasks]
    uids = {row.task_uid for row in rows}
    before = {schedule.predecessor for uid in uids if isinstance(schedule := catalog.tasks[uid].schedule, After)}
    facts = _facts(session, set(catalog.tasks) if whole else uids | before)
    tasks = {uid: _as_learned(task, facts.get(uid)) for uid, task in catalog.tasks.items()} if whole else catalog.tasks
    runs = [as_run(row, _as_learned(tasks[row.task_uid], facts[row.task_uid])) for row in rows]
    told = engine_problem(session, now) if isinstance(problem, bool) else problem
    board = Board(
        tasks,
        catalog.resolved.calendar,
        catalog.resolved.limits.max_running,
        runs=runs,
        failures={uid: Failure(fact.failed_run_id, None) for uid, fact in facts.items() if fact.failed_run_id},
        last_start={uid: fact.last_started_at for uid, fact in facts.items() if fact.last_started_at},
        engine_problem=told,
    )
    locked = _locked_groups(session, catalog)
    for group, (run, _) in locked.items():
        board.active_by_group.setdefault(group, run)
    lost = {group: run for group, (run, ended) in locked.items() if ended}
    waiting = [run for run in runs if run.status is RunStatus.WAITING]
    return LoadedBoard(board, waiting, {id_of(row): row for row in rows}, lost)


def _locked_groups(session: Session, catalog: Catalog) -> dict[str, tuple[Run, bool]]:
    """The groups that runs have to themselves, and whether the run has ended.

    A failed run keeps its group until it is reset, where its process is not proven gone; and one in progress keeps the
    group that it started in, whatever `headway deploy` makes of its type meanwhile.
    """
    return {
        name.removeprefix("group:"): (as_run(row, catalog.tasks[row.task_uid]), row.ended_at is not None)
        for name, row in session.exec(_LOCKED).all()
        if row.task_uid in catalog.tasks
    }


@dataclass(frozen=True, slots=True)
class _Fact:
    expected_duration: timedelta | None
    learned_duration: timedelta | None
    failed_run_id: int | None
    last_started_at: datetime | None


def _facts(session: Session, uids: set[int]) -> dict[int, _Fact]:
    found: dict[int, _Fact] = {}
    ordered = sorted(uids)
    for start in range(0, len(ordered), _CHUNK):
        part = ordered[start : start + _CHUNK]
        for uid, *rest in session.execute(_FACTS, {"uids": part}):
            found[uid] = _Fact(*rest)
    return found


def _as_learned(task: Task, fact: _Fact | None) -> Task:
    """With the estimate of today: runs teach it, with no change of the definition."""
    if fact is None:
        return task
    estimate = fact.expected_duration or fact.learned_duration
    return task if task.estimate == estimate else replace(task, estimate=estimate)


def open_runs(session: Session) -> list[RunRow]:
    """Every waiting, starting and running row."""
    return list(session.exec(_OPEN).all())


def first_scheduled(session: Session) -> datetime | None:
    """The first occurrence that has no row yet; None: nothing is scheduled."""
    at: datetime | None = session.execute(_FIRST_SCHEDULED).scalar_one()
    return at


def first_waiting(session: Session) -> datetime | None:
    """When the first of the waiting runs was or comes due; None: none waits."""
    at: datetime | None = session.execute(_FIRST_WAITING).scalar_one()
    return at
