"""The short form of the faults: `python -m tests.faults` is the long one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus
from tests.faults import clock, database, kill, prefect_server
from tests.faults.many_workers import several_workers
from tests.faults.marks import Mark
from tests.faults.restarting_postgres import restarting_postgres
from tests.faults.stack import Stack
from tests.faults.table import Line
from tests.simulation import forecast_against_life
from tests.simulation.run import Theatre
from tests.simulation.scheduler import Installation
from tests.support.databases import url_of

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
    compared = forecast_against_life.compare(Installation().engine, seed=2, tasks=20, days=3)
    assert not [one for day in compared for one in day.differences]
    assert sum(day.foreseen for day in compared) > 20


@pytest.mark.parametrize("night", clock.NIGHTS)
def test_nothing_is_lost_or_doubled_when_the_clocks_change(sqlite: Engine, night: str) -> None:
    line = clock.change_night(sqlite, night)
    assert line.holds, line.measured


def test_nothing_is_lost_or_doubled_when_the_clock_jumps(sqlite: Engine) -> None:
    line = clock.jumps(sqlite)
    assert line.holds, line.measured


def test_a_full_disk_leaves_nothing_half_written(sqlite: Engine) -> None:
    line = database.full(sqlite)
    assert line.holds, line.measured


def test_two_workers_one_of_them_frozen_on_a_database_that_restarts(tmp_path: Path) -> None:
    with restarting_postgres() as database:
        line = several_workers(database, tmp_path, 2, 100)
    assert line.holds, line.measured


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Short tasks 0 and 1, 2 that needs too much memory, 3 that takes its time, 4 and 5 of two seconds; a worker."""
    with Stack(tmp_path_factory.mktemp("on-sqlite")) as stack:
        stack.define(2, seconds=0.2)
        stack.define(1, "eating")
        stack.define(1, seconds=60.0)
        stack.define(2, seconds=2.0)
        stack.start_worker()
        yield stack


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Tasks 0 and 1 of two seconds, and a worker."""
    folder = tmp_path_factory.mktemp("on-postgres")
    with restarting_postgres() as database, Stack(folder, url_of(database.engine)) as stack:
        stack.define(2, seconds=2.0)
        stack.start_worker()
        yield stack


def holds(line: Line) -> None:
    assert line.holds, f"{line.fault}: {line.measured}"


def test_the_process_of_a_run_is_killed(on_sqlite: Stack) -> None:
    on_sqlite.a_worker()
    holds(kill.process_killed(on_sqlite, number=3))


def test_a_run_is_out_of_memory(on_sqlite: Stack) -> None:
    on_sqlite.a_worker()
    holds(kill.process_out_of_memory(on_sqlite, number=2))


def test_prefect_is_slow(on_sqlite: Stack) -> None:
    on_sqlite.a_worker()
    holds(prefect_server.slow(on_sqlite, runs=2, delay_seconds=0.1))


def test_prefect_answers_500(on_sqlite: Stack) -> None:
    on_sqlite.a_worker()
    holds(prefect_server.answers_500(on_sqlite, seconds=1))


def test_the_database_is_locked(on_sqlite: Stack) -> None:
    on_sqlite.a_worker()
    holds(database.locked(on_sqlite, seconds=3, number=4))


def test_the_database_is_read_only(on_postgres: Stack) -> None:
    on_postgres.a_worker()
    holds(database.read_only_server(on_postgres, seconds=1))


@pytest.mark.parametrize(("where", "kills"), [("on_sqlite", 2), ("on_postgres", 1)])
def test_the_worker_is_killed_while_dues_come_and_are_worked_off(
    request: pytest.FixtureRequest, where: str, kills: int
) -> None:
    holds(kill.worker_killed(request.getfixturevalue(where), runs=10 * kills, kills=kills))


COMPLETED, FAILED = RunStatus.COMPLETED, RunStatus.FAILED
DIED = "the worker that ran it died, and its process is gone with it"


@pytest.mark.parametrize(
    ("status", "error", "worker", "ended_at", "is_false"),
    [
        (COMPLETED, None, "living", 900.0, False),
        (FAILED, DIED, "killed", None, False),  # at work when its worker was killed
        (FAILED, DIED, "killed", 999.0, False),  # it had just ended, and nobody could record it
        (FAILED, DIED, "killed", 1001.0, False),  # it ended by itself after the kill
        (FAILED, DIED, "killed", 900.0, True),  # its result had all the time to be recorded
        (FAILED, DIED, "living", None, True),  # nobody killed its worker
        (FAILED, "ValueError", "killed", None, True),  # the flow does not fail
        (RunStatus.WAITING, None, "living", None, True),
        (RunStatus.CANCELLED, None, "killed", None, True),
    ],
)
def test_what_counts_as_a_false_row_after_kills(
    status: RunStatus, error: str | None, worker: str, ended_at: float | None, is_false: bool
) -> None:
    row = RunRow(id=7, status=status, error=error, worker_id=worker)
    marks = [Mark("7:1", "began", 890.0)] + ([Mark("7:1", "ended", ended_at)] if ended_at else [])
    false, _ = kill.false_rows([row], marks, {"killed": 1000.0})
    assert bool(false) is is_false
