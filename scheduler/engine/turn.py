"""One turn against the stored ledger: what came due gets its row, what may start is claimed."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from headway.models.ledger.tables import RunRow, TaskRow, id_of
from headway.models.values.run import Run
from headway.models.values.task import Task
from headway.scheduler.execution.warm_server import StartOrder
from headway.scheduler.planning.definitions import file_names
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.planning.turn import turn
from headway.scheduler.store.boards import LoadedBoard, first_scheduled, first_waiting, load_board
from headway.scheduler.store.runs.claims import claim_run, next_sequence
from headway.scheduler.store.runs.due_runs import account_for_dues
from headway.scheduler.store.runs.run_ends import refuse_run
from headway.scheduler.store.settings import wait_for_turn
from headway.scheduler.store.tasks import Catalog, load_catalog

BATCH = 16
"""How many runs one turn starts at most, so that several workers share a rush."""


@dataclass(frozen=True)
class Turn:
    """What a turn did: the orders it claimed, and when something is due next (None: nothing is).

    Due at once, and no order: it had enough to do with what came due, and the next turn goes on.
    """

    orders: list[StartOrder]
    held: int
    next_due_at: datetime | None


def take_turn(
    session: Session,
    catalog: Catalog,
    *,
    worker_id: str,
    database_url: str,
    now: datetime,
    problem: str | None,
    new_claim: Callable[[], str] = lambda: uuid.uuid4().hex,
) -> Turn:
    """Live one turn in the session's transaction. problem: why this worker cannot reach Prefect, if so.

    now: read after `wait_for_turn`, where others take turns too.
    """
    wait_for_turn(session)
    catalog = load_catalog(session, catalog)  # it may have been edited since the caller looked
    scheduled, waiting = first_scheduled(session), first_waiting(session)
    if not any(at is not None and at <= now for at in (scheduled, waiting)):
        return Turn([], 0, _earliest(scheduled, waiting))
    if scheduled is not None and scheduled <= now:
        if not account_for_dues(session, catalog, now):
            return Turn([], 0, now)
        scheduled = first_scheduled(session)
    loaded = load_board(session, catalog, now, problem=problem)
    ready = [run for run in loaded.waiting if run.due_at <= now]
    started = turn(loaded.board, ready, now, most=BATCH)
    orders = []
    for run in started:
        order = _claim(session, catalog, loaded, run, worker_id, database_url, now, new_claim())
        if order is not None:
            orders.append(order)
    later = (run.due_at for run in loaded.waiting if run.due_at > now)
    return Turn(orders, len(ready) - len(started), _earliest(scheduled, *later))


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)


def _claim(
    session: Session,
    catalog: Catalog,
    loaded: LoadedBoard,
    run: Run,
    worker_id: str,
    database_url: str,
    now: datetime,
    claim: str,
) -> StartOrder | None:
    task, row = run.task, loaded.rows[run.id]
    task_type = catalog.resolved.types[task.type]
    sequence = row.sequence or next_sequence(session, task.uid)
    try:
        parameters = _parameters(task, row, catalog.rows[task.uid], task_type, sequence)
    except ValueError as error:
        refuse_run(session, catalog, run.id, str(error), now=now, who="scheduler")
        return None
    claimed = claim_run(
        session,
        run,
        claim=claim,
        worker_id=worker_id,
        max_running=loaded.board.max_running,
        now=now,
        parameters=parameters,
        sequence=sequence,
        object_name=catalog.rows[task.uid].object,
        work_pool=task_type.handed_to,
    )
    if not claimed:
        return None
    return start_order(catalog, task_type, row, claim, run.attempt + 1, parameters, database_url)


def start_order(
    catalog: Catalog,
    task_type: TaskType,
    row: RunRow,
    claim: str,
    attempt: int,
    parameters: dict[str, object],
    database_url: str,
) -> StartOrder:
    """All that the process, or the other pool, has to know of the run."""
    task, task_row = catalog.tasks[row.task_uid], catalog.rows[row.task_uid]
    return StartOrder(
        run_id=id_of(row),
        attempt=attempt,
        claim=claim,
        database_url=database_url,
        deployment_id=task_type.deployment_id,
        work_pool=task_type.handed_to,
        flow_run_id=row.flow_run_id,
        entrypoint=task_type.entrypoint or None,
        parameters=parameters,
        name=f"{task.name} {row.id}",
        tags=[f"task:{task.uid}"],
        due_at=row.due_at.isoformat(),
        labels={
            "headway.due": row.due_at.isoformat(),
            "headway.zone": task.timezone,
            "headway.object": task_row.object,
            "headway.importer_path": catalog.resolved.settings.customer_importer_file_path or "",
        },
    )


def _parameters(task: Task, row: RunRow, task_row: TaskRow, task_type: TaskType, sequence: int) -> dict[str, object]:
    """The parameters this run starts with. A retry keeps those of the first attempt, file names and all."""
    if row.parameters is not None and row.attempt > 0:
        return dict(row.parameters)
    parameters = dict(task_row.parameters if row.parameters is None else row.parameters)

    def resolve(_path: str, text: str) -> str:
        return file_names.resolve(
            text,
            task=task.name,
            object_name=task_row.object,
            due_at=row.due_at,
            timezone=task.timezone,
            sequence=sequence,
        )

    return file_names.with_texts(parameters, task_type.parameter_schema, resolve)
