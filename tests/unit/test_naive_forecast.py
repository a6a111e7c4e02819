"""The forecast against a naive one, written from the rules' text alone, over random small worlds."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from scheduler.planner import Planned, forecast
from scheduler.windows import Calendar
from tests.naive import NaiveForecast
from tests.worlds import World, worlds

THOROUGH = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


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
