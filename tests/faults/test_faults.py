"""The short form of the faults: `python -m tests.faults` is the long one."""

import tempfile
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.faults import clock_faults, database_faults, forecast_life, killings
from tests.faults.hub import Installation
from tests.faults.interleavings import Theatre
from tests.faults.many_workers import several_workers
from tests.faults.restarting import RestartingPostgres
from tests.faults.stack import Stack

SEEDS = (0, 1, 2, 3, 4, 33)  # 33: in a quiet week, a turn's commit is not heard of


@pytest.fixture(scope="module")
def theatre() -> Theatre:
    return Theatre()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_simulated_week_keeps_every_promise(theatre: Theatre, seed: int) -> None:
    week = theatre.live(seed)
    assert not week.broken, "\n".join([str(week.broken), *week.log[-40:]])
    assert week.starts > 0 and week.occurrences > 0


def test_the_same_seed_lives_the_same_week(theatre: Theatre) -> None:
    assert theatre.live(6) == theatre.live(6)


def test_the_forecast_of_a_day_before_is_what_then_happens() -> None:
    compared = forecast_life.compare(Installation().engine, seed=2, tasks=20, days=3)
    assert not [one for day in compared for one in day.differences]
    assert sum(day.foreseen for day in compared) > 20


@pytest.mark.parametrize("night", clock_faults.NIGHTS)
def test_nothing_is_lost_or_doubled_when_the_clocks_change(sqlite: Engine, night: str) -> None:
    line = clock_faults.change_night(sqlite, night)
    assert line.holds, line.measured


def test_nothing_is_lost_or_doubled_when_the_clock_jumps(sqlite: Engine) -> None:
    line = clock_faults.jumps(sqlite)
    assert line.holds, line.measured


def test_a_full_disk_leaves_nothing_half_written(sqlite: Engine) -> None:
    line = database_faults.full(sqlite)
    assert line.holds, line.measured


def test_two_workers_one_of_them_frozen_on_a_database_that_restarts(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="headway-pg-") as folder:
        database = RestartingPostgres(Path(folder))
        try:
            line = several_workers(database, tmp_path, 2, 100)
        finally:
            database.stop()
    assert line.holds, line.measured


def test_the_worker_is_killed_while_it_works_off_what_came_due(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        line = killings.worker_killed(stack, runs=20, kills=2)
    assert line.holds, line.measured
