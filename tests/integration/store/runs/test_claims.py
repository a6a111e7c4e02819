"""The claim: a run, its task, its group and a slot in one transaction, and nobody else's word counts after it."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, func, select

from headway.models.ledger.database import make_engine, reading, writing
from headway.models.ledger.tables import LockRow, RunEventRow, RunFileRow, RunLogRow, RunRow, TaskRow
from headway.models.values.run import RunStatus
from headway.models.values.task import CatchUp, OnErrors, OnFailure
from headway.models.values.window import WindowPolicy
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store import settings
from headway.scheduler.store.runs.claims import claim_run
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.run_writer import StoredRunLedger, open_run_ledger
from headway.scheduler.store.tasks import as_run, load_catalog, load_chain_catalog, save_types
from tests.support.clock import FixedClock, utc
from tests.support.databases import url_of, waits_for_a_lock
from tests.support.installation import Desk

DUE = utc("2026-11-23T16:00")


def _claim(session: Session, name: str, claim: str = "c1", max_running: int = 4) -> bool:
    """Claim the task's waiting run as a worker would, whatever the rules say."""
    catalog = load_catalog(session)
    uid = session.exec(select(TaskRow.uid).where(TaskRow.name == name)).one()
    row = session.exec(select(RunRow).where(RunRow.task_uid == uid).order_by(col(RunRow.id))).first()
    assert row is not None and uid is not None
    return claim_run(
        session,
        as_run(row, catalog.tasks[uid]),
        claim=claim,
        worker_id="w",
        max_running=max_running,
        now=DUE,
        parameters={},
        sequence=1,
        object_name=row.object,
        work_pool="",
    )


def _waiting(desk: Desk, *tasks: tuple[str, str]) -> None:
    desk.tasks(*(f"name: {name}, type: {kind}" for name, kind in tasks))
    for name, _ in tasks:
        desk.run_now(name)


def test_a_claim_takes_the_run_its_task_its_group_and_a_slot(desk: Desk) -> None:
    _waiting(desk, ("a", "report_execution"))
    assert desk.turn() == ["a"]
    assert desk.locks() == {"group:reports", "task:1", "slot:0"}
    row = desk.run("a")
    assert (row.status, row.attempt, row.worker_id) == (RunStatus.STARTING, 1, "worker-1")
    assert row.claim == desk.orders["a"].claim
    assert row.started_at == desk.task("a").last_started_at == desk.clock.now()


# What stands in the way -> the claim of `b` is refused as a whole.
@pytest.mark.parametrize(
    ("first", "second", "max_running"),
    [
        ("report_execution", "task_error_report", 4),  # the group
        ("job0", "job1", 1),  # the last slot
    ],
)
def test_a_claim_is_all_or_nothing(desk: Desk, first: str, second: str, max_running: int) -> None:
    _waiting(desk, ("a", first), ("b", second))
    with writing(desk.engine) as session:
        assert _claim(session, "a", max_running=max_running)
    before = desk.locks()
    with writing(desk.engine) as session:
        assert not _claim(session, "b", "c2", max_running=max_running)
    row = desk.run("b")
    assert (row.status, row.claim, row.attempt) == (RunStatus.WAITING, None, 0)
    assert desk.locks() == before
    assert desk.task("b").last_started_at is None
    assert [event.after for event in desk.events(row.id)] == ["waiting"]


def test_a_run_is_claimed_once(desk: Desk) -> None:
    _waiting(desk, ("a", "job0"))
    with writing(desk.engine) as session:
        assert _claim(session, "a", "c1")
    with writing(desk.engine) as session:
        assert not _claim(session, "a", "c2")
    assert desk.run("a").claim == "c1"


def test_a_claim_that_is_rolled_back_leaves_nothing(desk: Desk) -> None:
    _waiting(desk, ("a", "job0"))
    with pytest.raises(RuntimeError, match="the worker dies"), writing(desk.engine) as session:
        assert _claim(session, "a")
        raise RuntimeError("the worker dies")
    assert desk.run("a").status is RunStatus.WAITING
    assert desk.locks() == set()


def test_of_two_sessions_that_claim_one_group_at_once_one_wins(desk: Desk) -> None:
    _waiting(desk, ("a", "report_execution"), ("b", "task_error_report"))
    results: dict[str, bool] = {}
    both_began = threading.Barrier(2)

    def claim(name: str) -> None:
        engine = make_engine(url_of(desk.engine))
        both_began.wait(30)
        with writing(engine) as session:
            results[name] = _claim(session, name, f"claim of {name}")
        engine.dispose()

    _at_once(claim, ["a", "b"])
    assert sorted(results.values()) == [False, True]
    assert [desk.run(name).status for name in ("a", "b") if results[name]] == [RunStatus.STARTING]
    assert [desk.run(name).status for name in ("a", "b") if not results[name]] == [RunStatus.WAITING]
    assert len(desk.locks()) == 3


def test_a_second_claim_waits_for_the_first_transaction_and_then_loses(postgres: Engine) -> None:
    """Without the turn's lock too: the first holds the group uncommitted while the second tries."""
    desk = Desk(postgres, FixedClock())
    _waiting(desk, ("a", "report_execution"), ("b", "task_error_report"))
    second_is_at_it = threading.Event()
    result: list[bool] = []

    def second() -> None:
        with writing(postgres) as session:
            second_is_at_it.set()
            result.append(_claim(session, "b", "c2"))

    with writing(postgres) as session:
        assert _claim(session, "a", "c1")
        thread = threading.Thread(target=second)
        thread.start()
        assert second_is_at_it.wait(30)
        assert waits_for_a_lock(postgres), "the second session did not wait for the first"
        assert result == []
    thread.join(30)
    assert result == [False]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_racing_on_postgresql_start_500_due_runs_once_each(postgres: Engine, workers: int) -> None:
    _race(postgres, workers)


def test_workers_racing_on_sqlite_start_500_due_runs_once_each(sqlite: Engine) -> None:
    _race(sqlite, 2)


def _race(engine: Engine, workers: int, count: int = 500) -> None:
    _many_due_tasks(engine, count)
    all_began = threading.Barrier(workers)
    orders: dict[str, list[int]] = {}

    def work(worker_id: str) -> None:
        own = make_engine(url_of(engine))
        mine: list[int] = []
        with reading(own) as session:
            catalog = load_catalog(session)
        all_began.wait(60)
        while True:
            try:
                with writing(own) as session:
                    turn = take_turn(session, catalog, worker_id=worker_id, database_url="", now=DUE, problem=None)
            except (
                OperationalError
            ):  # SQLite's lock is not fair: on a busy machine one may wait in vain, and asks again
                continue
            mine += [order.run_id for order in turn.orders]
            if not turn.orders:
                break
        orders[worker_id] = mine
        own.dispose()

    _at_once(work, [f"worker-{n}" for n in range(workers)])
    started = Counter(run_id for mine in orders.values() for run_id in mine)
    assert len(started) == count and set(started.values()) == {1}
    with reading(engine) as session:
        assert session.exec(select(func.count()).select_from(RunRow)).one() == count
        assert session.exec(select(func.count()).select_from(LockRow)).one() == 3 * count
        claims = session.exec(select(RunRow.claim, RunRow.attempt, RunRow.status)).all()
        starts = session.exec(select(RunEventRow.run_id).where(RunEventRow.after == "starting")).all()
    assert len({claim for claim, _, _ in claims}) == count
    assert {(attempt, status) for _, attempt, status in claims} == {(1, RunStatus.STARTING)}
    assert len(starts) == len(set(starts)) == count


def _many_due_tasks(engine: Engine, count: int) -> None:
    """So many tasks, each of a group of its own, all due at DUE."""
    facts = {
        "window": WindowPolicy.ALLOW,
        "on_failure": OnFailure.HOLD,
        "on_errors": OnErrors.CONTINUE,
        "catch_up": CatchUp.LATEST,
        "retry_delay": utc("2026-01-01T00:05") - utc("2026-01-01T00:00"),
        "created_at": DUE,
        "updated_at": DUE,
        "accounted_at": DUE,
        "next_due_at": DUE,
        "timezone": "UTC",
        "cron": "0 * * * *",
    }
    with writing(engine) as session:
        save_types(session, [TaskType(name=f"t{n}", group=f"t{n}", deployment_id="d") for n in range(count)], DUE)
        settings.put(session, "max_running", 1000)
        for n in range(count):
            session.add(TaskRow(name=f"task {n}", type=f"t{n}", **facts))
        settings.definitions_changed(session)


# Fencing: the process of a run whose claim was lost can write nothing.

WRITES: dict[str, Callable[[StoredRunLedger], bool]] = {
    "began": lambda ledger: ledger.began(identify_self()),
    "bind": lambda ledger: ledger.bind("00000000-0000-0000-0000-000000000001"),
    "running": lambda ledger: ledger.running(),
    "log": lambda ledger: ledger.log([LogLine(datetime.now(UTC), 40, "flow", "a line")]),
    "progress": lambda ledger: ledger.progress(50, 7),
    "receipt": lambda ledger: ledger.receipt({"name": "x.csv", "path": "/x.csv", "bytes": 3, "sha256": "ab"}),
    "ended": lambda ledger: ledger.ended(Outcome(kind="completed", processed=3)),
    "ended with errors": lambda ledger: ledger.ended(Outcome(kind="completed", errors=3)),
    "ended failed": lambda ledger: ledger.ended(Outcome(kind="failed", error="no")),
    "ended cancelled": lambda ledger: ledger.ended(Outcome(kind="cancelled")),
    "not_started": lambda ledger: ledger.not_started("no"),
}


def _stale(desk: Desk, how: str) -> tuple[int, str]:
    """A run and a claim on it that is not, or no longer, the one in force."""
    desk.tasks("name: a, type: job0, retries: 5, retry_delay: '00:00:00'")
    desk.run_now("a")
    desk.turn()
    order = desk.orders["a"]
    if how == "claimed anew":
        desk.end("a", RunStatus.FAILED, error="first attempt")
        assert desk.turn() == ["a"]
        assert desk.orders["a"].run_id == order.run_id and desk.orders["a"].claim != order.claim
    elif how == "waiting for a retry":
        desk.end("a", RunStatus.FAILED, error="first attempt")
    elif how == "ended":
        desk.end("a", RunStatus.CANCELLED)
    elif how == "another claim":
        order = replace(order, claim="never given")
    return order.run_id, order.claim


def _everything(desk: Desk) -> list[object]:
    """All that a run's process could have changed."""
    with reading(desk.engine) as session:
        tables = (RunRow, RunEventRow, RunLogRow, RunFileRow, LockRow, TaskRow)
        return [row.model_dump() for table in tables for row in session.exec(select(table)).all()]


@pytest.mark.parametrize("how", ["claimed anew", "waiting for a retry", "ended", "another claim"])
def test_a_stale_claim_can_write_nothing(desk: Desk, how: str) -> None:
    run_id, claim = _stale(desk, how)
    before = _everything(desk)
    ledger = open_run_ledger(url_of(desk.engine), run_id, claim)
    # What was written before may be said again, in case its answer was lost; it changes nothing either.
    said_again = {"ended cancelled": True} if how == "ended" else {}
    assert {name: write(ledger) for name, write in WRITES.items()} == dict.fromkeys(WRITES, False) | said_again
    ledger.close()
    assert _everything(desk) == before


def test_of_a_run_that_is_gone_nothing_can_be_written(desk: Desk) -> None:
    ledger = open_run_ledger(url_of(desk.engine), 4711, "c")
    assert {name: write(ledger) for name, write in WRITES.items()} == dict.fromkeys(WRITES, False)
    ledger.close()


def test_a_worker_that_was_overtaken_cannot_end_the_run(desk: Desk) -> None:
    run_id, claim = _stale(desk, "claimed anew")
    with writing(desk.engine) as session:
        catalog = load_chain_catalog(session, 1)
        ending = Ending(status=RunStatus.FAILED, error="its process died")
        assert not end_run(session, catalog, run_id, ending, now=DUE, who="worker-1", claim=claim)
    assert desk.run("a").status is RunStatus.STARTING


def test_the_claim_in_force_can_write_all_of_it(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    life = ["began", "bind", "running", "log", "progress", "receipt", "ended with errors"]
    assert [WRITES[name](ledger) for name in life] == [True] * len(life)
    ledger.close()
    row = desk.run("a")
    assert row.status is RunStatus.COMPLETED_WITH_ERRORS
    assert (row.errors, row.processed, row.progress, row.process_id) == (3, 7, 100, 0)
    assert row.flow_run_id == "00000000-0000-0000-0000-000000000001"
    assert desk.locks() == set()
    with reading(desk.engine) as session:
        assert [line.message for line in session.exec(select(RunLogRow)).all()] == ["a line"]
        assert [file.name for file in session.exec(select(RunFileRow)).all()] == ["x.csv"]


def test_a_second_process_of_one_claim_is_turned_away(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    me = identify_self()
    assert ledger.began(me)
    assert not ledger.began(replace(me, pid=me.pid + 1))
    ledger.close()
    assert desk.run("a").process_id == me.pid


def test_what_never_started_waits_again_as_if_nothing_had_been(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.not_started("Prefect did not answer")
    ledger.close()
    row = desk.run("a")
    assert (row.status, row.attempt, row.claim, row.process_id) == (RunStatus.WAITING, 0, None, 0)
    assert desk.locks() == set()
    assert desk.turn() == ["a"]
    assert desk.orders["a"].attempt == 1


def _at_once(work: Callable[[str], None], names: list[str]) -> None:
    errors: list[BaseException] = []

    def guarded(name: str) -> None:
        try:
            work(name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
