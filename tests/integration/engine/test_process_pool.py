"""What the loop does with a run that it has claimed, where it cannot begin it, and with a process that has left."""

from typing import Any

import pytest

from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.scheduler.engine import process_pool
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.engine.turns import is_due
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.execution.warm_server import Exited, StartOrder, WarmServerGone
from headway.scheduler.store.run_writer import open_run_ledger
from tests.support.clock import utc
from tests.support.databases import url_of
from tests.support.installation import Desk

AT = "2026-11-23T16:00"


class Prefect:
    """Hears how flow runs ended."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def end(self, flow_run_id: str, how: str, message: str) -> bool:
        self.told.append(flow_run_id)
        return True

    def flow_run_of(self, run_id: int, attempt: int) -> str | None:
        return None


class Warm:
    """A warm server that is gone, or takes orders."""

    def __init__(self, *given: Any, gone: bool = False) -> None:
        self.gone = gone
        self.begun: list[StartOrder] = []
        self.alive = not gone
        self.ready = self

    def is_set(self) -> bool:
        return True

    def start(self) -> None: ...

    def begin(self, order: StartOrder) -> None:
        if self.gone:
            raise WarmServerGone
        self.begun.append(order)

    def running(self) -> list[object]:
        return []

    def drain(self, timeout: float | None = None) -> bool:
        return True

    def stop(self) -> None: ...


def _service(desk: Desk) -> SchedulerService:
    url, prefect = url_of(desk.engine), Prefect()
    return SchedulerService(ThisWorker(engine=desk.engine, url=url, prefect=prefect, clock=desk.clock))  # type: ignore[arg-type]


@pytest.fixture
def loop(quick_desk: Desk) -> SchedulerService:
    """A worker with a task that is due, and Prefect within reach."""
    quick_desk.tasks("name: a, type: job0, retries: 3, retry_delay: '00:00:00', schedule: {cron: '0 * * * *'}")
    quick_desk.clock.set(AT)
    made = _service(quick_desk)
    made.heartbeat.problem = None
    quick_desk.worker_lives(made.worker.id)
    return made


def test_a_run_waits_again_where_no_warm_process_can_be_made(
    loop: SchedulerService, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "WarmServer", lambda *given: Warm(gone=True))
    with pytest.raises(WarmServerGone):
        loop.turns.take(quick_desk.clock.now())
    assert quick_desk.run("a").status is RunStatus.STARTING

    monkeypatch.setattr(process_pool, "WarmServer", Warm)
    loop.turns.take(quick_desk.clock.now())
    assert isinstance(loop.pool._warm, Warm)
    assert [order.attempt for order in loop.pool._warm.begun] == [1]
    assert [event.after for event in quick_desk.events(id_of(quick_desk.run("a")))] == [
        *("waiting", "starting", "waiting", "starting")
    ]


@pytest.mark.parametrize("stopped", ["before it is begun", "while it is begun"])
def test_a_run_that_was_claimed_while_the_worker_stops_waits_for_another(
    loop: SchedulerService, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    warm = Warm()
    monkeypatch.setattr(process_pool, "WarmServer", lambda *given: warm)
    if stopped == "before it is begun":
        monkeypatch.setattr(loop.turns, "_lead_exporters", lambda orders, catalog: loop.signals.no_starts.set())
        loop.turns.take(quick_desk.clock.now())
    else:

        def stops(order: StartOrder) -> None:
            loop.signals.no_starts.set()
            raise WarmServerGone

        monkeypatch.setattr(warm, "begin", stops)
        with pytest.raises(WarmServerGone):
            loop.turns.take(quick_desk.clock.now())
    assert warm.begun == []
    row = quick_desk.run("a")
    assert (row.status, row.attempt, quick_desk.locks()) == (RunStatus.WAITING, 0, set())


def test_a_process_that_was_overtaken_says_nothing_of_the_run_that_follows(
    loop: SchedulerService, quick_desk: Desk
) -> None:
    assert quick_desk.turn(worker_id=loop.worker.id) == ["a"]
    first = quick_desk.orders["a"]
    quick_desk.end("a", RunStatus.FAILED, error="the worker that ran it died")
    assert quick_desk.turn(worker_id="worker-2") == ["a"]
    second = quick_desk.orders["a"]
    ledger = open_run_ledger(url_of(quick_desk.engine), second.run_id, second.claim)
    assert ledger.began(identify_self()) and ledger.bind("flow-of-attempt-2") and ledger.running()
    ledger.close()

    loop.exits.close(
        Exited(run_id=first.run_id, claim=first.claim, pid=4711, exit_code=ExitCode.CLAIM_LOST, signal=None)
    )
    assert quick_desk.run("a").status is RunStatus.RUNNING
    assert isinstance(loop.worker.prefect, Prefect) and loop.worker.prefect.told == []


def _other_worker(loop: SchedulerService, desk: Desk) -> SchedulerService:
    """A second one on this machine, with a run in progress; both have just given a sign of life."""
    other = _service(desk)
    desk.worker_lives(other.worker.id)
    assert desk.turn(worker_id=other.worker.id) == ["a"]
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.began(identify_self()) and ledger.running()
    ledger.close()
    loop.heartbeat.beat()
    other.heartbeat.beat()
    return other


@pytest.mark.parametrize("minutes", [2, 60, -60])
def test_after_a_jump_of_the_clock_nobody_is_taken_for_silent(
    loop: SchedulerService, quick_desk: Desk, minutes: int
) -> None:
    """Also after a machine's sleep, and after the database was away for all."""
    other = _other_worker(loop, quick_desk)
    quick_desk.clock.move(minutes=minutes)
    loop.heartbeat.beat()
    other.heartbeat.beat()
    for _ in range(12):
        quick_desk.clock.move(seconds=10)
        loop.heartbeat.beat()
        other.heartbeat.beat()
    assert quick_desk.run("a").status is RunStatus.RUNNING


def test_after_a_jump_of_the_clock_silence_counts_a_minute_later(loop: SchedulerService, quick_desk: Desk) -> None:
    _other_worker(loop, quick_desk)
    quick_desk.clock.move(minutes=60)
    loop.heartbeat.beat()
    for _ in range(5):
        quick_desk.clock.move(seconds=10)
        loop.heartbeat.beat()
        assert quick_desk.run("a").status is RunStatus.RUNNING
    quick_desk.clock.move(seconds=10)
    loop.heartbeat.beat()
    assert "lost contact" in (quick_desk.run("a").error or "")


@pytest.mark.parametrize(
    ("next_turn", "due"),
    [
        (None, True),
        ("2026-11-23T15:59:59", True),
        ("2026-11-23T16:00", True),
        ("2026-11-23T16:00:01", False),
        ("2026-11-23T16:00:05", False),
        ("2026-11-23T17:00", True),  # the clock went back an hour
    ],
)
def test_no_turn_is_put_off_because_the_clock_went_back(next_turn: str | None, due: bool) -> None:
    assert is_due(utc(next_turn) if next_turn else None, utc(AT)) is due
