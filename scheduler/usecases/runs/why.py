"""Why does it wait: every rule's verdict on a task's waiting run, else on its next one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from headway.clock import Clock
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.actor import Actor, Privilege
from headway.models.values.rule import Hold, RuleId
from headway.models.values.run import Run, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import Task
from headway.privileges import require
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.occurrences import next_occurrence
from headway.scheduler.planning.rules import RULES, judge
from headway.scheduler.store.boards import LoadedBoard, load_board
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.ahead.look_ahead import from_now, open_runs

_HORIZONS = (timedelta(hours=1), timedelta(days=1), timedelta(days=9))
"""How far behind the due the forecast looks. What comes due after a start cannot move it, so the first horizon that
holds the start is right, and with many tasks the near ones cost a fraction of the last."""


@dataclass(kw_only=True, frozen=True)
class Why:
    """run_id: None where the run has no row yet. due_at: None where nothing is to come.

    verdicts: every rule with its hold, None where it does not hold. problem: what keeps the task out of the scheduler
    altogether; there is no verdict then.
    """

    task: str
    run_id: int | None
    due_at: datetime | None
    earliest_start_at: datetime | None
    verdicts: tuple[tuple[RuleId, Hold | None], ...]
    problem: str = ""


def why(
    session: Session,
    clock: Clock,
    actor: Actor,
    task_row: TaskRow,
    *,
    catalog: Catalog | None = None,
    with_start: bool = True,
) -> Why:
    """What holds the task's waiting run now, or its next run at the instant it comes due; and its earliest start.

    with_start: among thousands of tasks the earliest start takes a second or two of forecast, the verdicts none;
    without it `earliest_start_at` is None.
    """
    require(actor, Privilege.VIEW)
    now = clock.now()
    catalog = load_catalog(session, catalog)
    loaded = load_board(session, catalog, now, whole=True)
    task = loaded.board.tasks.get(id_of(task_row))
    if task is None:
        found = [one.message for one in catalog.resolved.findings if task_row.name in one.tasks]
        return Why(
            task=task_row.name,
            run_id=None,
            due_at=None,
            earliest_start_at=None,
            verdicts=(),
            problem="; ".join(found) or "see `headway plan`",
        )
    waiting = sorted((run for run in loaded.waiting if run.task.uid == task.uid), key=lambda run: (run.due_at, run.id))
    run = waiting[0] if waiting else None
    if run is None and with_start and isinstance(task.schedule, After) and task.scheduled:
        return _next_step(catalog, loaded, task, now)
    if run is None:
        due_at = next_occurrence(task, now)
        run = Run(task=task, due_at=due_at or now, trigger=Trigger.SCHEDULE if due_at else Trigger.MANUAL)
        verdicts = _verdicts(run, loaded, max(now, run.due_at))
        earliest = _earliest(catalog, loaded, run, now) if due_at and with_start else None
        return Why(task=task_row.name, run_id=None, due_at=due_at, earliest_start_at=earliest, verdicts=verdicts)
    verdicts = _verdicts(run, loaded, now)
    earliest = _earliest(catalog, loaded, run, now) if with_start else None
    return Why(task=task_row.name, run_id=run.id, due_at=run.due_at, earliest_start_at=earliest, verdicts=verdicts)


def _next_step(catalog: Catalog, loaded: LoadedBoard, task: Task, now: datetime) -> Why:
    """Of a chain's later step: its first run in the forecast, which begins when the step before it has ended."""
    first, before = task, set()
    while isinstance(first.schedule, After):
        first = loaded.board.tasks[first.schedule.predecessor]
        before.add(first.uid)
    under_way = any(run.task.uid in before for run in open_runs(loaded))
    begins = now if under_way else next_occurrence(first, now)
    rows = _forecasts(catalog, loaded, now, begins) if begins else ()
    for _, found in rows:
        row = next((one for one in found if one.task.uid == task.uid and one.outcome == "planned"), None)
        if row is not None:
            at = max(now, row.due_at)
            return Why(
                task=task.name,
                run_id=None,
                due_at=row.due_at,
                earliest_start_at=row.started_at,
                verdicts=_verdicts(Run(task=task, due_at=at, trigger=Trigger.CHAIN), loaded, at),
            )
    return Why(
        task=task.name,
        run_id=None,
        due_at=None,
        earliest_start_at=None,
        verdicts=_verdicts(Run(task=task, due_at=now, trigger=Trigger.CHAIN), loaded, now),
    )


def earliest_if_run_now(
    session: Session, clock: Clock, catalog: Catalog, uid: int, overrides: frozenset[str]
) -> datetime | None:
    """When a run asked for now would start, by the forecast; None if something only an event can clear holds it."""
    now = clock.now()
    loaded = load_board(session, catalog, now, whole=True)
    run = Run(task=loaded.board.tasks[uid], due_at=now, trigger=Trigger.MANUAL, overrides=overrides)
    return _earliest(catalog, loaded, run, now)


def _verdicts(run: Run, loaded: LoadedBoard, at: datetime) -> tuple[tuple[RuleId, Hold | None], ...]:
    holding = {hold.rule: hold for hold in judge(run, loaded.board, at)}
    return tuple((rule, holding.get(rule)) for rule in RULES)


def _earliest(catalog: Catalog, loaded: LoadedBoard, run: Run, now: datetime) -> datetime | None:
    """When the forecast starts the run, with all else that is open or comes due before it."""
    board = loaded.board
    if board.engine_problem is not None or run.task.group in loaded.lost:
        return None
    only_thought_of = run.trigger is Trigger.MANUAL and run.id == 0  # a scheduled one comes due
    for until, rows in _forecasts(catalog, loaded, now, run.due_at, [run] if only_thought_of else []):
        found = next((row.started_at for row in rows if _is(row, run)), None)
        if found is not None and (found < until or until - max(run.due_at, now) == _HORIZONS[-1]):
            return found
    return None


def _forecasts(
    catalog: Catalog, loaded: LoadedBoard, now: datetime, due_at: datetime, more: Sequence[Run] = ()
) -> Iterator[tuple[datetime, list[Planned]]]:
    """Forecasts that look further and further behind the due, and how far."""
    for ahead in _HORIZONS:
        until = max(due_at, now) + ahead
        yield until, from_now(catalog, loaded, now, until, more=more)


def _is(row: Planned, run: Run) -> bool:
    """Whether the forecast's row is the run that is asked about."""
    return row.id == run.id if run.id else (row.task.uid == run.task.uid and row.due_at == run.due_at)
