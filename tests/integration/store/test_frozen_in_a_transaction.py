"""Whoever is frozen or cut off while he holds locks on PostgreSQL; nobody waits for him for long."""

import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from headway.models.ledger import database
from headway.models.ledger.database import make_engine, reading, writing
from headway.models.values.run import RunStatus
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.execution.ledger_port import LogLine
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.run_writer import StoredRunLedger, open_run_ledger
from headway.scheduler.store.tasks import load_catalog, load_chain_catalog
from tests.support.clock import FixedClock
from tests.support.databases import url_of, waits_for_a_lock
from tests.support.installation import Desk

LIMIT = text("SHOW idle_in_transaction_session_timeout")


@pytest.fixture
def desk(postgres: Engine) -> Iterator[Desk]:
    """With a database of connections of its own: some of them are cut."""
    engine = make_engine(url_of(postgres))
    yield Desk(engine, FixedClock())
    engine.dispose()


def test_only_what_holds_locks_is_limited_and_far_below_a_workers_silence(desk: Desk) -> None:
    with writing(desk.engine) as session:
        assert session.execute(LIMIT).scalar_one() == "20s"
    with reading(desk.engine) as session:  # the same connection, from the pool
        assert session.execute(LIMIT).scalar_one() == "0"


def test_a_turn_that_stands_still_is_undone_and_the_others_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    monkeypatch.setattr(database, "_STANDSTILL_SECONDS", 1)
    with pytest.raises(SQLAlchemyError), writing(desk.engine) as frozen:
        turn = take_turn(
            frozen,
            load_catalog(frozen),
            worker_id="worker-1",
            database_url=url_of(desk.engine),
            now=desk.clock.now(),
            problem=None,
        )
        assert [order.name for order in turn.orders] == ["a 1"]
        assert desk.turn(worker_id="worker-2") == ["a"]  # as soon as the frozen one has lost its transaction
    assert desk.run("a").worker_id == "worker-2"
    assert len(desk.locks()) == 3


def test_a_url_may_say_otherwise_of_its_connections(desk: Desk) -> None:
    engine = make_engine(f"{url_of(desk.engine)}&keepalives_idle=77")
    with engine.connect() as connection:
        given = connection.connection.driver_connection.info.get_parameters()  # type: ignore[union-attr]
    engine.dispose()
    assert (given["keepalives_idle"], given["keepalives_interval"]) == ("77", "5")


def _say(ledger: StoredRunLedger, desk: Desk) -> bool:
    return ledger.log([LogLine(desk.clock.now(), 20, "flow", "still here")])


def _deliver(ledger: StoredRunLedger, desk: Desk) -> bool:
    return ledger.receipt({"name": "a.csv", "path": "/in/a.csv", "bytes": 1})


@pytest.mark.parametrize("write", [_say, _deliver])
def test_a_run_cannot_be_overtaken_while_it_writes(
    desk: Desk, write: Callable[[StoredRunLedger, Desk], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its claim and the commit."""
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    assert desk.turn() == ["a"]
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    real = StoredRunLedger._mine

    def cancel() -> None:
        with writing(desk.engine) as session:
            ending = Ending(status=RunStatus.CANCELLED)
            end_run(session, load_chain_catalog(session, 1), order.run_id, ending, now=desk.clock.now(), who="olga")

    canceller = threading.Thread(target=cancel)

    def overtaken(self: StoredRunLedger, session: object) -> bool:
        mine = real(self, session)  # type: ignore[arg-type]
        canceller.start()
        assert waits_for_a_lock(desk.engine, canceller.is_alive), "it was cancelled meanwhile"
        return mine

    monkeypatch.setattr(StoredRunLedger, "_mine", overtaken)
    assert write(ledger, desk)
    canceller.join()
    monkeypatch.undo()
    assert desk.run("a").status is RunStatus.CANCELLED
    assert not write(ledger, desk)
    ledger.close()
