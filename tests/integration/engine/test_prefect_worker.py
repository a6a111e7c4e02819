"""Flow runs that somebody starts in Prefect itself: held, started, cancelled. On a real Prefect server."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.workers.base import BaseWorker
from sqlalchemy.exc import OperationalError

from headway.scheduler.engine import prefect_worker
from headway.scheduler.engine.adoption import Adoption
from headway.scheduler.execution.ledger_port import ExitCode
from tests.support.prefect_server import ServerForTests
from tests.support.run_harness import EngineRoom, eventually


class FakeLoop:
    """Answers as it is told; remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Adoption] = lambda flow_run_id: Adoption("held", "Nobody said.")
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.stopped_with: float | None = None

    def adopt(self, flow_run_id: str, deployment_id: str, parameters: dict[str, Any], at: datetime) -> Adoption:
        self.asked.append((flow_run_id, deployment_id, parameters))
        return self.answer(flow_run_id)

    def stop(self, grace_seconds: float) -> None:
        self.stopped_with = grace_seconds


@pytest.fixture
def loop(prefect_server: ServerForTests, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeLoop]:
    """A worker in this process would start this loop, on the test's Prefect."""
    fake = FakeLoop()
    monkeypatch.setattr(prefect_worker, "_start_service", lambda: fake)
    for name, value in prefect_server.environment.items():
        monkeypatch.setenv(name, value)
    settings = {
        PREFECT_API_URL: prefect_server.url,
        PREFECT_API_AUTH_STRING: prefect_server.environment["PREFECT_API_AUTH_STRING"],
    }
    with temporary_settings(settings):
        yield fake


def poll_once() -> None:
    """One worker, one poll, until all it started is dealt with."""

    async def once() -> None:
        await prefect_worker.HeadwayWorker(work_pool_name="headway").start(run_once=True, printer=lambda text: None)

    anyio.run(once)


def in_seconds(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_prefect_knows_the_worker_by_its_type() -> None:
    assert BaseWorker.get_worker_class_from_type("headway") is prefect_worker.HeadwayWorker
    assert "explained" in prefect_worker.HeadwayWorker.get_description()


def test_the_loop_is_handed_the_flow_run_with_its_parameters(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    deployment = prefect_server.deploy("counting")
    flow_run = prefect_server.schedule(deployment, processed=3)
    loop.answer = lambda flow_run_id: Adoption("claimed", "")

    poll_once()
    assert (flow_run, deployment, {"processed": 3}) in loop.asked


def test_a_held_run_says_why_and_until_when_in_prefect(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    until = in_seconds(3600)
    loop.answer = lambda flow_run_id: Adoption("held", "Window 'Daily' until 06:00 ET.", until)

    poll_once()
    found = prefect_server.call("GET", f"/flow_runs/{flow_run}")
    assert (found["state_type"], found["state_name"]) == ("SCHEDULED", "Held")
    assert found["state"]["message"] == "Window 'Daily' until 06:00 ET."
    assert datetime.fromisoformat(found["state"]["state_details"]["scheduled_time"]) == until
    assert not found["infrastructure_pid"]  # with one, Prefect would not cancel it at once


def test_a_held_run_is_not_polled_before_its_time(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    loop.answer = lambda flow_run_id: Adoption("held", "Later.", in_seconds(3600))

    poll_once()
    poll_once()
    assert [asked for asked, _, _ in loop.asked].count(flow_run) == 1


def test_a_run_that_was_held_again_and_again_starts_in_its_own_process(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    loop.answer = lambda flow_run_id: Adoption("held", "Not yet.", in_seconds(-1))
    for _ in range(3):
        asked = len(loop.asked)
        eventually(lambda known=asked: poll_once() or len(loop.asked) > known, "polled again")

    run = engine.begin(engine.again(engine.order("nothing"), flow_run_id=flow_run))
    assert run.exited().exit_code == ExitCode.RECORDED
    assert run.wrote("ended")["kind"] == "completed"
    states = prefect_server.state_names(flow_run)
    assert states.count("Held") == 3
    assert states[-3:] == ["Pending", "Running", "Completed"]
    assert "Crashed" not in states


def test_a_run_held_for_hours_starts_at_once_when_it_may(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    loop.answer = lambda flow_run_id: Adoption("held", "Not before noon.", in_seconds(7200))
    poll_once()

    run = engine.begin(engine.again(engine.order("nothing"), flow_run_id=flow_run))
    run.exited(seconds=20)
    assert prefect_server.state_names(flow_run)[-2:] == ["Running", "Completed"]


def test_what_the_claim_made_of_the_parameters_counts(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("counting"), processed=1, errors=2)

    run = engine.begin(engine.again(engine.order("counting", processed=8), flow_run_id=flow_run))
    run.exited()
    assert (run.wrote("ended")["processed"], run.wrote("ended")["errors"]) == (8, 2)


def test_a_flow_run_that_was_deleted_in_prefect_ends_cancelled(engine: EngineRoom) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"

    run = engine.begin(engine.again(engine.order("nothing"), flow_run_id=unknown))
    run.exited()
    assert run.wrote("ended")["kind"] == "cancelled"
    assert "deleted in Prefect" in run.wrote("ended")["message"]


def test_a_run_that_the_worker_has_just_submitted_can_be_taken_over(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    order = engine.again(engine.order("nothing"), flow_run_id=flow_run)

    def claimed_meanwhile(flow_run_id: str) -> Adoption:
        assert engine.begin(order).exited().exit_code == ExitCode.RECORDED
        return Adoption("held", "An answer that is out of date.", in_seconds(60))

    loop.answer = claimed_meanwhile
    poll_once()
    assert prefect_server.state_names(flow_run)[-1] == "Completed"


def test_a_held_run_that_is_cancelled_stays_cancelled(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    loop.answer = lambda flow_run_id: Adoption("held", "Later.", in_seconds(3600))
    poll_once()
    prefect_server.cancel(flow_run)

    run = engine.begin(engine.again(engine.order("nothing"), flow_run_id=flow_run))
    run.exited()
    assert run.calls() == ["began", "ended"]
    assert run.wrote("ended")["kind"] == "cancelled"
    assert prefect_server.state_names(flow_run)[-1] == "Cancelled"


def test_a_run_that_is_cancelled_while_it_is_looked_at_stays_cancelled(
    prefect_server: ServerForTests, loop: FakeLoop
) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))

    def cancelled_meanwhile(flow_run_id: str) -> Adoption:
        prefect_server.cancel(flow_run_id)
        return Adoption("held", "Later.", in_seconds(3600))

    loop.answer = cancelled_meanwhile
    poll_once()
    assert prefect_server.state_names(flow_run)[-2:] == ["Cancelling", "Cancelled"]


@pytest.mark.parametrize("overtaken_by", ["CANCELLED", "RUNNING", "COMPLETED"])
def test_a_hold_that_comes_too_late_is_taken_back(prefect_server: ServerForTests, overtaken_by: str) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    api = prefect_server.api
    look = api.state
    too_early = look(flow_run)
    prefect_server.call(
        "POST",
        f"/flow_runs/{flow_run}/set_state",
        {"state": {"type": overtaken_by, "name": overtaken_by.title(), "message": "was first"}, "force": True},
    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "state", lambda flow_run_id: too_early)
        assert not api.hold(flow_run, "Too late.", in_seconds(60))
    now = look(flow_run)
    assert now is not None
    assert (now.type, now.message) == (overtaken_by, "was first")


def test_a_run_that_is_over_in_the_ledger_ends_in_prefect(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    loop.answer = lambda flow_run_id: Adoption("ended", "Superseded by a later one.")

    poll_once()
    found = prefect_server.api.state(flow_run)
    assert found is not None
    assert (found.name, found.message) == ("Cancelled", "Superseded by a later one.")


def test_a_run_that_cannot_be_taken_over_waits_and_says_so(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))

    def refuse(flow_run_id: str) -> Adoption:
        raise LookupError("deployment is no task type; run `headway deploy`")

    loop.answer = refuse
    poll_once()
    found = prefect_server.api.state(flow_run)
    assert found is not None
    assert found.name == "Held"
    assert "run `headway deploy`" in found.message


def test_what_a_dying_worker_left_behind_is_polled_again(prefect_server: ServerForTests, loop: FakeLoop) -> None:
    flow_run = prefect_server.schedule(prefect_server.deploy("nothing"))
    pending = {"state": {"type": "PENDING", "name": "Submitting"}, "force": True}
    prefect_server.call("POST", f"/flow_runs/{flow_run}/set_state", pending)

    assert flow_run not in prefect_server.api.put_back_stranded(timedelta(minutes=1))
    assert flow_run in prefect_server.api.put_back_stranded(timedelta())
    loop.answer = lambda flow_run_id: Adoption("held", "Found.", in_seconds(60))
    poll_once()
    assert flow_run in [asked for asked, _, _ in loop.asked]


def test_a_flow_run_of_our_own_is_never_taken_for_stranded(prefect_server: ServerForTests) -> None:
    body = {"state": {"type": "PENDING", "name": "Pending"}, "idempotency_key": "17:1"}
    deployment = prefect_server.deploy("nothing")
    own = prefect_server.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"]

    assert own not in prefect_server.api.put_back_stranded(timedelta())


def test_a_run_of_our_own_that_was_given_back_is_not_adopted_but_started_again(
    prefect_server: ServerForTests, loop: FakeLoop, engine: EngineRoom
) -> None:
    order = engine.order("nothing")
    body = {
        "idempotency_key": f"{order.run_id}:1",
        "state": {"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"},
    }
    given_back = prefect_server.call("POST", f"/deployments/{order.deployment_id}/create_flow_run", body)["id"]

    poll_once()
    assert given_back not in [asked for asked, _, _ in loop.asked]
    run = engine.begin(order)
    run.exited()
    assert (run.wrote("bind"), run.wrote("ended")["kind"]) == (given_back, "completed")


def test_an_outage_of_prefect_does_not_end_the_worker(
    prefect_server: ServerForTests, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: BaseWorker[Any, Any, Any]) -> list[Any]:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(BaseWorker, "get_and_submit_flow_runs", refuse)

    async def five_looks() -> None:
        async with prefect_worker.HeadwayWorker(work_pool_name="headway") as ours:
            monkeypatch.setattr(BaseWorker, "sync_with_backend", refuse)
            for _ in range(5):
                assert await ours.get_and_submit_flow_runs() == []
                await ours.sync_with_backend()

    anyio.run(five_looks)
    assert loop.stopped_with is not None


def test_the_loop_is_stopped_with_the_worker(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_STOP_GRACE_SECONDS", "7")
    poll_once()

    assert loop.stopped_with == 7


def test_what_keeps_a_worker_from_starting_leaves_it_as_it_is(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not wrapped in a group, of which the command line could say only that it is a defect."""

    def refuse() -> FakeLoop:
        raise OperationalError("INSERT", {}, Exception("attempt to write a readonly database"))

    monkeypatch.setattr(prefect_worker, "_start_service", refuse)
    with pytest.raises(OperationalError, match="attempt to write a readonly database"):
        prefect_worker.run_worker()


_FOREGROUND = """
import pathlib, sys
from headway.scheduler.engine import prefect_worker

class Loop:
    def stop(self, grace_seconds):
        pathlib.Path(sys.argv[1]).write_text("stopped in order")

def start_loop():
    pathlib.Path(sys.argv[1]).write_text("started")
    return Loop()

prefect_worker._start_service = start_loop
prefect_worker.run_worker("in the foreground")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_worker_in_order(
    prefect_server: ServerForTests, tmp_path: Path, number: signal.Signals
) -> None:
    said = tmp_path / "said"
    process = subprocess.Popen(
        [sys.executable, "-c", _FOREGROUND, str(said)],
        env={**os.environ, **prefect_server.environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: said.exists() and said.read_text() == "started", "the worker started")
    process.send_signal(number)

    _, complaints = process.communicate(timeout=30)
    assert said.read_text() == "stopped in order"
    assert process.returncode == 0
    assert "Traceback" not in complaints
