"""The forecast against a naive one, written from the rules' text alone, over random small worlds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings

from headway.models.values.run import Failure, Run, RunStatus, Trigger
from headway.models.values.schedule import After, Cron, Once
from headway.models.values.task import CatchUp, Task
from headway.models.values.window import DEFAULT_WINDOWS, Window, WindowPolicy
from headway.scheduler.planning.chains import link
from headway.scheduler.planning.forecast.forecast import forecast
from headway.scheduler.planning.forecast.planned import Planned
from headway.scheduler.planning.windows import Calendar
from tests.support.reference_forecast import NaiveForecast, NaiveWindows, dues
from tests.support.worlds import HOUR, MINUTE, World, worlds

THOROUGH = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def planned(world: World) -> list[Planned]:
    return forecast(
        world.tasks,
        Calendar(world.windows),
        world.max_running,
        world.start,
        world.end,
        open_runs=world.open_runs,
        failures=world.failures,
        last_start=world.last_start,
        lost=world.lost,
    )


def row(run: Planned) -> tuple[object, ...]:
    ended_at = run.ended_at if run.started_at else None
    holds = tuple((hold.rule.value, hold.until) for hold in run.holds)
    return (run.task.uid, run.trigger.value, run.due_at, run.started_at, ended_at, run.outcome, holds)


def naive_rows(world: World) -> list[tuple[object, ...]]:
    naive = NaiveForecast(
        list(world.tasks.values()),
        world.windows,
        world.max_running,
        world.start,
        world.end,
        stored=world.stored(),
        failed=frozenset(world.failures),
        last_start=world.last_start,
        lost=frozenset(world.lost),
    )
    return [run.row for run in naive.run()]


def in_one_order(rows: list[tuple[object, ...]]) -> list[str]:
    """Two runs of one task may share an instant (due, or start); the contract leaves their order open."""
    return sorted(map(str, rows))


@THOROUGH
@given(worlds())
def test_forecast_is_what_a_naive_simulation_says(world: World) -> None:
    assert in_one_order([row(run) for run in planned(world)]) == in_one_order(naive_rows(world))


@THOROUGH
@given(worlds(stored=False))
def test_forecast_of_an_empty_board_is_what_a_naive_simulation_says(world: World) -> None:
    assert [row(run) for run in planned(world)] == naive_rows(world)


@THOROUGH
@given(worlds())
def test_no_forecast_breaks_what_every_rule_promises(world: World) -> None:
    runs = planned(world)
    ran = [run for run in runs if run.started_at is not None]
    windows = NaiveWindows(world.windows, world.start - 9 * timedelta(days=1), world.end + timedelta(days=60))
    check_groups(ran)
    for run in ran:
        if run.started_at is not None and run.due_at <= run.started_at and run.id not in active_ids(world):
            check_capacity(run, ran, world.max_running)
            check_window(run, windows)
            check_spacing(run, ran)
    check_everything_due_has_a_row(world, runs)


def active_ids(world: World) -> set[int]:
    return {run.id for run in world.open_runs if run.status is not RunStatus.WAITING}


def check_groups(ran: list[Planned]) -> None:
    by_group: dict[str, list[Planned]] = {}
    for run in ran:
        by_group.setdefault(run.task.group, []).append(run)
    for runs in by_group.values():
        for one, following in pairwise(sorted(runs, key=started)):
            assert one.ended_at is not None and one.ended_at <= started(following)


def check_capacity(run: Planned, ran: list[Planned], max_running: int) -> None:
    beside = [other for other in ran if started(other) <= started(run) < ended(other)]
    assert len(beside) <= max_running


def check_window(run: Planned, windows: NaiveWindows) -> None:
    if "window" in run.overrides:
        return
    inside_reserved = any(start <= started(run) < end for start, end in windows.reserved)
    inside_any = any(start <= started(run) < end for start, end in windows.every)
    assert not (run.task.window is WindowPolicy.AVOID and inside_reserved)
    assert not (run.task.window is WindowPolicy.REQUIRE and not inside_any)


def check_spacing(run: Planned, ran: list[Planned]) -> None:
    after = run.task.schedule
    if not isinstance(after, After) or "spacing" in run.overrides:
        return
    before = [other for other in ran if other.task.uid == after.predecessor and started(other) < started(run)]
    for other in before:
        assert started(run) >= started(other) + after.spacing
        assert started(run) >= ended(other)


def check_everything_due_has_a_row(world: World, runs: list[Planned]) -> None:
    rows = {(run.task.uid, run.due_at) for run in runs if run.trigger is Trigger.SCHEDULE}
    for task in world.tasks.values():
        for due in dues(task, world.start, world.end):
            assert (task.uid, due) in rows


def started(run: Planned) -> datetime:
    assert run.started_at is not None
    return run.started_at


def ended(run: Planned) -> datetime:
    assert run.ended_at is not None
    return run.ended_at


# What the naive simulation found once, each as small as it was.


def at(hour: int, minute: int = 0, day: int = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour, minutes=minute)


def task(uid: int, **more: object) -> Task:
    facts: dict[str, object] = {"window": WindowPolicy.ALLOW, "timezone": "UTC", **more}
    return Task(uid=uid, name=f"task {uid}", type="sleep", group=str(facts.pop("group", "one")), **facts)  # type: ignore[arg-type]


def world_of(*tasks: Task, windows: list[Window] | None = None, hours: int = 24, most: int = 4) -> World:
    return World(link(tasks), windows or [], most, at(0), at(hours))


def starts(world: World) -> list[tuple[int, datetime, str]]:
    return [(run.task.uid, run.started_at or run.due_at, run.outcome) for run in planned(world)]


def test_superseded_run_does_not_use_up_the_chance_of_the_one_behind_it() -> None:
    slow = task(1, schedule=Cron("0 0 * * *"), estimate=10 * MINUTE)
    dense = task(2, schedule=Cron("1-9/3 0 * * *"))
    assert starts(world_of(slow, dense)) == [
        (1, at(0), "planned"),
        (2, at(0, 1), "superseded"),
        (2, at(0, 4), "superseded"),
        (2, at(0, 10), "planned"),
    ]


def test_retry_that_is_not_due_yet_is_superseded_and_supersedes_nothing() -> None:
    world = world_of(task(1, schedule=Cron("5,25 0 * * *")))
    world.open_runs = [Run(task=world.tasks[1], due_at=at(0, 20), trigger=Trigger.SCHEDULE, id=1, attempt=1)]
    assert starts(world) == [
        (1, at(0, 5), "planned"),
        (1, at(0, 20), "superseded"),
        (1, at(0, 25), "planned"),
    ]


def test_occurrence_due_as_the_forecast_begins_supersedes_the_stored_one() -> None:
    world = world_of(task(1, schedule=Cron("0 0 * * *")))
    world.open_runs = [Run(task=world.tasks[1], due_at=at(-1), id=1)]
    assert starts(world) == [(1, at(-1), "superseded"), (1, at(0), "planned")]


def test_stored_occurrence_is_not_planned_a_second_time() -> None:
    world = world_of(task(1, schedule=Cron("0 0 * * *")))
    world.open_runs = [Run(task=world.tasks[1], due_at=at(0), id=1)]
    assert starts(world) == [(1, at(0), "planned")]


def test_stored_runs_of_one_task_do_not_supersede_each_other() -> None:
    """They came due long ago; only a newer occurrence that comes due supersedes."""
    world = world_of(task(1, catch_up=CatchUp.LATEST))
    world.open_runs = [Run(task=world.tasks[1], due_at=at(-2), id=1), Run(task=world.tasks[1], due_at=at(-1), id=2)]
    assert starts(world) == [(1, at(0), "planned"), (1, at(0, 1), "planned")]


def test_failure_is_over_when_a_run_in_progress_completes() -> None:
    world = world_of(task(1, schedule=Cron("0 3 * * *"), estimate=HOUR))
    world.open_runs = [Run(task=world.tasks[1], due_at=at(-1), status=RunStatus.RUNNING, started_at=at(-1), id=1)]
    world.failures = {1: Failure(run_id=9, ended_at=at(-5))}
    assert starts(world)[-1] == (1, at(3), "planned")


def test_failed_task_waits_192_hours_and_leaves() -> None:
    world = world_of(task(1, schedule=Cron("0 3 * * *")), task(2, schedule=After(1, HOUR)))
    world.failures = {1: Failure(run_id=9, ended_at=at(-5))}
    assert starts(world) == [(1, at(3), "unplaced")]


def test_run_kept_by_a_window_lets_another_run_of_its_step_try() -> None:
    first = task(1, estimate=14 * MINUTE)
    second = task(2, schedule=After(1, 30 * MINUTE), window=WindowPolicy.REQUIRE)
    world = world_of(first, second, windows=[DEFAULT_WINDOWS[1]])  # 10:00-11:00 UTC
    world.open_runs = [
        Run(task=world.tasks[1], due_at=at(0), status=RunStatus.RUNNING, started_at=at(0), id=1, follow=False),
        Run(task=world.tasks[2], due_at=at(0) - MINUTE, trigger=Trigger.MANUAL, id=2),
        Run(task=world.tasks[2], due_at=at(0, 10), trigger=Trigger.MANUAL, id=3, overrides=frozenset({"window"})),
    ]
    world.last_start = {1: at(0)}
    assert starts(world)[1:] == [(2, at(0, 30), "planned"), (2, at(10), "planned")]


def test_runs_that_leave_at_once_are_kept_apart_from_what_came_later_in_that_instant() -> None:
    """Two turns at one instant: `window` was met in the first, `busy` in the second."""
    wants = {"window": WindowPolicy.REQUIRE, "catch_up": CatchUp.ALL}
    world = world_of(task(2, group="two", **wants), task(3, **wants))
    world.open_runs = [
        Run(task=world.tasks[2], due_at=at(0) - timedelta(hours=193), trigger=Trigger.MANUAL, id=1),
        Run(task=world.tasks[3], due_at=at(-1), trigger=Trigger.MANUAL, id=2),
        Run(task=world.tasks[3], due_at=at(0) - MINUTE, id=3, overrides=frozenset({"window"})),
    ]
    held = next(run for run in planned(world) if run.id == 2)
    assert [hold.rule.value for hold in held.holds] == ["window", "busy", "group"]


def test_group_of_a_lost_run_is_kept_for_good() -> None:
    """Its process is not proven gone: only a reset frees the group, and a forecast foresees none."""
    world = world_of(task(1, schedule=Cron("0 3 * * *")), task(2, group="two", schedule=Cron("0 3 * * *")))
    world.lost = {"one": Run(task=world.tasks[1], due_at=at(-1), status=RunStatus.FAILED, started_at=at(-1), id=7)}
    kept, free = planned(world)
    assert (kept.outcome, [hold.rule for hold in kept.holds]) == ("unplaced", ["group"])
    assert "run 7" in kept.holds[0].reason and "reset" in kept.holds[0].reason
    assert (free.outcome, free.started_at) == ("planned", at(3))


def spacing_world() -> World:
    """Task 4's spacing ends at 01:28, between the other turns, while it waits for a free slot."""
    first = task(3, group="left")
    second = task(2, schedule=After(3, 10 * MINUTE), group="right", estimate=78 * MINUTE)
    third = task(1, schedule=After(2, HOUR), group="left", estimate=87 * MINUTE)
    beside = task(4, schedule=After(3, 10 * MINUTE), group="right")
    world = world_of(first, second, third, beside, most=1)
    tasks = world.tasks
    world.open_runs = [
        Run(task=tasks[3], due_at=at(-1), trigger=Trigger.MANUAL, id=1, follow=False),
        Run(task=tasks[3], due_at=at(0) - 10 * MINUTE, id=2, follow=False, overrides=frozenset({"spacing"})),
        Run(
            task=tasks[2],
            due_at=at(0) - 9 * MINUTE,
            trigger=Trigger.CHAIN,
            status=RunStatus.RUNNING,
            started_at=at(0),
            id=3,
            follow=False,
        ),
        Run(task=tasks[4], due_at=at(0, 45), trigger=Trigger.CHAIN, id=4),
        Run(task=tasks[1], due_at=at(0, 7), trigger=Trigger.CHAIN, id=5),
    ]
    world.last_start = {2: at(0), 3: at(-3)}
    return world


def test_spacings_end_is_a_turn() -> None:
    """Run 1 is judged before task 1 starts in the same turn, so `group` holds it from the next turn on: 01:28."""
    world = spacing_world()
    assert [row(run) for run in planned(world)] == naive_rows(world)
    held = next(run for run in planned(world) if run.id == 1)
    assert [hold.rule.value for hold in held.holds] == ["capacity", "spacing", "group"]


# The forecast's own words in the contract.


def test_run_without_an_estimate_lasts_a_minute() -> None:
    (run,) = planned(world_of(task(1, schedule=Cron("0 3 * * *"))))
    assert run.ended_at == at(3, 1)


def test_nothing_comes_due_at_the_end_and_a_start_may_lie_after_it() -> None:
    long = task(1, schedule=Cron("50 23 * * *"), estimate=HOUR)
    behind = task(2, schedule=Cron("59 23 * * *"))
    at_end = task(3, schedule=Once(datetime(2026, 11, 24)))
    assert starts(world_of(long, behind, at_end)) == [
        (1, at(23, 50), "planned"),
        (2, at(0, 50, day=1), "planned"),
    ]


def test_chain_steps_follow_after_the_end() -> None:
    first = task(1, schedule=Cron("50 23 * * *"))
    assert starts(world_of(first, task(2, schedule=After(1, HOUR)), task(3, schedule=After(2, HOUR)))) == [
        (1, at(23, 50), "planned"),
        (2, at(0, 50, day=1), "planned"),
        (3, at(1, 50, day=1), "planned"),
    ]


@pytest.mark.parametrize("off", [{"enabled": False}, {"historical": True}])
def test_chain_ends_at_a_disabled_or_historical_step(off: dict[str, bool]) -> None:
    first = task(1, schedule=Cron("0 3 * * *"))
    second = task(2, schedule=After(1, HOUR), **off)
    assert starts(world_of(first, second, task(3, schedule=After(2, HOUR)))) == [(1, at(3), "planned")]


def test_manual_run_goes_on_only_if_asked() -> None:
    world = world_of(task(1), task(2, schedule=After(1, HOUR)))
    asked = Run(task=world.tasks[1], due_at=at(0), trigger=Trigger.MANUAL, id=1, follow=True)
    world.open_runs = [asked]
    assert [uid for uid, _, _ in starts(world)] == [1, 2]
    asked.follow = False
    assert [uid for uid, _, _ in starts(world)] == [1]


def test_all_keeps_every_occurrence_in_order() -> None:
    hourly = task(1, schedule=Cron("0 0-2 * * *"), estimate=90 * MINUTE, catch_up=CatchUp.ALL)
    assert [run.started_at for run in planned(world_of(hourly))] == [at(0), at(1, 30), at(3)]
