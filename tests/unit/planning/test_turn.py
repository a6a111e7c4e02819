"""One pass of the scheduler over all waiting runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from headway.models.values.run import Run, RunStatus, Trigger
from headway.models.values.schedule import After
from headway.models.values.task import OnErrors, Task
from headway.models.values.window import DEFAULT_WINDOWS, Window, WindowPolicy
from headway.scheduler.planning.board import Board, next_steps
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.turn import turn
from headway.scheduler.planning.windows import Calendar
from tests.support.reference_forecast import NaiveForecast
from tests.support.worlds import HOUR, MINUTE, World, worlds


def ny(hour: int, minute: int = 0) -> datetime:
    """A New York wall time of Sunday 22 November 2026, five hours behind UTC."""
    return datetime(2026, 11, 22, hour, minute, tzinfo=UTC) + 5 * HOUR


def task(uid: int, group: str | None = None, **more: Any) -> Task:
    return Task(uid=uid, name=f"task {uid}", type="sleep", group=group or f"group {uid}", **more)


def board(*tasks: Task, runs: tuple[Run, ...] = (), most: int = 4, windows: tuple[Window, ...] = ()) -> Board:
    return Board(link(tasks), Calendar(windows), most, runs=runs)


def due(one: Task, hour: int, minute: int = 0, **more: Any) -> Run:
    return Run(task=one, due_at=ny(hour, minute), **more)


def uids(runs: list[Run]) -> list[int]:
    return [run.task.uid for run in runs]


def test_tasks_due_0815_and_0845() -> None:
    """A turn at 08:30 starts the first; a turn at 08:50 starts both."""
    first, second = task(1), task(2)
    waiting = [due(second, 8, 45), due(first, 8, 15)]
    assert uids(turn(board(first, second), waiting, ny(8, 30))) == [1]
    waiting = [due(second, 8, 45), due(first, 8, 15)]
    assert uids(turn(board(first, second), waiting, ny(8, 50))) == [1, 2]


def test_due_0515_starts_0600() -> None:
    one = task(1)
    calendar = board(one, windows=DEFAULT_WINDOWS)
    run = due(one, 5, 15)
    assert turn(calendar, [run], ny(5, 15)) == []
    assert turn(calendar, [run], ny(5, 59)) == []
    assert turn(calendar, [run], ny(6)) == [run]


def test_run_is_due_from_its_instant_on() -> None:
    one = task(1)
    run = due(one, 8)
    assert turn(board(one), [run], ny(8) - timedelta(microseconds=1)) == []
    assert turn(board(one), [run], ny(8)) == [run]


def test_order_is_due_then_uid() -> None:
    tasks = [task(uid) for uid in (1, 2, 3)]
    waiting = [due(tasks[2], 8), due(tasks[0], 9), due(tasks[1], 8)]
    assert uids(turn(board(*tasks), waiting, ny(10))) == [2, 3, 1]


def test_started_run_is_on_the_board() -> None:
    one = task(1)
    run = due(one, 8)
    now = board(one, runs=(run,))
    turn(now, [run], ny(9))
    assert (run.status, run.started_at) == (RunStatus.STARTING, ny(9))
    assert now.last_start == {1: ny(9)} and now.active_count == 1


def test_start_is_judged_by_those_behind_it() -> None:
    first, second, third = task(1, "same"), task(2, "same"), task(3)
    waiting = [due(first, 8), due(second, 8), due(third, 8)]
    assert uids(turn(board(first, second, third), waiting, ny(8))) == [1, 3]


def test_held_run_does_not_block_those_behind_it() -> None:
    held, behind = task(1, window=WindowPolicy.REQUIRE), task(2)
    assert uids(turn(board(held, behind), [due(held, 8), due(behind, 9)], ny(9))) == [2]


def test_no_more_than_max_running_start() -> None:
    tasks = [task(uid) for uid in range(1, 7)]
    now = board(*tasks, most=4)
    assert uids(turn(now, [due(one, 8) for one in tasks], ny(8))) == [1, 2, 3, 4]


def test_most_stops_after_so_many_starts() -> None:
    tasks = [task(uid) for uid in range(1, 4)]
    now = board(*tasks)
    waiting = [due(one, 8) for one in tasks]
    assert uids(turn(now, waiting, ny(8), most=1)) == [1]
    assert uids(turn(now, waiting[1:], ny(8), most=2)) == [2, 3]
    assert turn(now, [], ny(8), most=0) == []


def test_step_and_its_predecessor_due_together_keep_their_distance() -> None:
    tasks = link([task(1), task(2, schedule=After(1, 30 * MINUTE))])
    waiting = [due(tasks[1], 8), due(tasks[2], 8, trigger=Trigger.MANUAL)]
    now = Board(tasks, Calendar([]), 4, runs=waiting)
    # The step waits on the board, so step 1 is held; the step itself has no predecessor's start to wait for.
    assert uids(turn(now, waiting, ny(8))) == [2]
    now.finish(waiting[1], RunStatus.COMPLETED, ny(8, 5))
    assert uids(turn(now, waiting[:1], ny(8, 5))) == [1]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds())
def test_turn_starts_what_a_naive_one_starts(world: World) -> None:
    active = [run for run in world.open_runs if run.status is not RunStatus.WAITING]
    waiting = [run for run in world.open_runs if run.status is RunStatus.WAITING]
    stored = world.stored()
    now = Board(
        world.tasks,
        Calendar(world.windows),
        world.max_running,
        runs=[*active, *waiting],
        failures=world.failures,
        last_start=world.last_start,
    )
    now.active_by_group.update(world.lost)
    plain = NaiveForecast(
        list(world.tasks.values()),
        world.windows,
        world.max_running,
        world.start,
        world.start,
        stored=stored,
        failed=frozenset(world.failures),
        last_start=world.last_start,
        lost=frozenset(world.lost),
    )
    plain._turn(world.start)
    expected = [
        (run.task.uid, run.due) for run, one in zip(stored, world.open_runs, strict=True) if began(run.start, one)
    ]
    started = [(run.task.uid, run.due_at) for run in turn(now, waiting, world.start)]
    assert started == sorted(expected, key=lambda pair: (pair[1], pair[0]))


def began(start: datetime | None, before: Run) -> bool:
    return start is not None and before.started_at is None


# What follows a run


def ended(one: Task, status: RunStatus, minutes: int = 10, **more: Any) -> Run:
    return Run(task=one, due_at=ny(8), status=status, started_at=ny(8), ended_at=ny(8) + minutes * MINUTE, **more)


CHAIN = link(
    [
        task(1),
        task(2, schedule=After(1, 30 * MINUTE)),
        task(3, schedule=After(1, HOUR), on_errors=OnErrors.STOP),
        task(4, schedule=After(1, HOUR), enabled=False),
        task(5, schedule=After(1, HOUR), historical=True),
        task(6, schedule=After(2, HOUR)),
    ]
)


def test_steps_are_due_after_their_spacing_from_the_start() -> None:
    made = next_steps(ended(CHAIN[1], RunStatus.COMPLETED), CHAIN)
    assert [(run.task.uid, run.due_at, run.trigger, run.status) for run in made] == [
        (2, ny(8, 30), Trigger.CHAIN, RunStatus.WAITING),
        (3, ny(9), Trigger.CHAIN, RunStatus.WAITING),
    ]


def test_steps_of_a_long_run_are_due_at_its_end() -> None:
    made = next_steps(ended(CHAIN[1], RunStatus.COMPLETED, minutes=45), CHAIN)
    assert [(run.task.uid, run.due_at) for run in made] == [(2, ny(8, 45)), (3, ny(9))]


def test_errors_stop_only_the_step_that_says_so() -> None:
    made = next_steps(ended(CHAIN[1], RunStatus.COMPLETED_WITH_ERRORS), CHAIN)
    assert [run.task.uid for run in made] == [2]


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.COMPLETED, RunStatus.COMPLETED_WITH_ERRORS}))
def test_nothing_follows_any_other_status(status: RunStatus) -> None:
    assert list(next_steps(ended(CHAIN[1], status), CHAIN)) == []


def test_manual_run_that_was_not_asked_to_go_on_has_no_next_step() -> None:
    assert list(next_steps(ended(CHAIN[1], RunStatus.COMPLETED, trigger=Trigger.MANUAL, follow=False), CHAIN)) == []


def test_last_step_has_no_next() -> None:
    assert list(next_steps(ended(CHAIN[6], RunStatus.COMPLETED), CHAIN)) == []
