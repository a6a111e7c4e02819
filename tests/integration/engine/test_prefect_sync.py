"""What Prefect hears late: runs that ended here while it was away, or while no worker was up; what it cancels."""

import pytest

from headway.errors import PrefectUnreachable
from headway.models.values.run import RunStatus
from headway.scheduler.engine import prefect_sync
from headway.scheduler.engine.heartbeat import Heartbeat
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.this_worker import ThisWorker
from headway.scheduler.execution.process_identity import identify_self
from tests.support.databases import url_of
from tests.support.installation import Desk
from tests.support.one_worker import Prefect
from tests.support.prefect_server import ServerForTests


def _heartbeat(prefect: ServerForTests, desk: Desk) -> Heartbeat:
    worker = ThisWorker(engine=desk.engine, url=url_of(desk.engine), prefect=prefect.api, clock=desk.clock)
    return SchedulerService(worker).heartbeat


def running_in_prefect(prefect: ServerForTests) -> str:
    """A flow run of ours that Prefect believes to be running."""
    flow_run_id = prefect.schedule(prefect.deploy("nothing"))
    for kind in ("PENDING", "RUNNING"):
        body = {"state": {"type": kind, "name": kind.capitalize()}, "force": True}
        prefect.call("POST", f"/flow_runs/{flow_run_id}/set_state", body)
    return flow_run_id


@pytest.fixture
def ended(prefect_server: ServerForTests, quick_desk: Desk) -> dict[RunStatus, str]:
    """Runs that ended in the ledger, by how: the flow runs of which Prefect does not know it."""
    names = {RunStatus.COMPLETED: "a", RunStatus.COMPLETED_WITH_ERRORS: "b", RunStatus.FAILED: "c"}
    quick_desk.tasks(*(f"name: {name}, type: job{n}" for n, name in enumerate(names.values())), "name: d, type: job4")
    flow_runs = {}
    for status, name in names.items():
        quick_desk.run_now(name)
        quick_desk.turn()
        quick_desk.end(name, status, message="It is over.", error="no space" if status is RunStatus.FAILED else None)
        flow_runs[status] = running_in_prefect(prefect_server)
        quick_desk.change(quick_desk.run(name), flow_run_id=flow_runs[status])
    return flow_runs


def test_a_new_worker_tells_prefect_what_ended_while_none_was_up(
    prefect_server: ServerForTests, quick_desk: Desk, ended: dict[RunStatus, str]
) -> None:
    quick_desk.run_now("d")
    quick_desk.turn()
    open_one = running_in_prefect(prefect_server)
    quick_desk.change(quick_desk.run("d"), flow_run_id=open_one)

    quick_desk.worker_lives()  # it has the run of d in progress
    heartbeat = _heartbeat(prefect_server, quick_desk)
    heartbeat.check_prefect()
    states = prefect_server.api.states([*ended.values(), open_one])
    assert {status: states[flow_run].type for status, flow_run in ended.items()} == {
        RunStatus.COMPLETED: "COMPLETED",
        RunStatus.COMPLETED_WITH_ERRORS: "COMPLETED",
        RunStatus.FAILED: "FAILED",
    }
    assert states[ended[RunStatus.FAILED]].message == "no space"
    assert states[open_one].type == "RUNNING"


def test_it_asks_once_and_again_after_each_outage(
    prefect_server: ServerForTests, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat = _heartbeat(prefect_server, quick_desk)
    asked: list[str] = []
    away = iter([True, False])

    def unfinished() -> list[str]:
        asked.append("asked")
        if next(away, False):
            raise PrefectUnreachable("away again")
        return []

    monkeypatch.setattr(prefect_server.api, "unfinished", unfinished)
    for _ in range(3):
        heartbeat.check_prefect()
    assert len(asked) == 2, "not answered the first time, answered the second"
    with monkeypatch.context() as outage:
        outage.setattr(prefect_server.api, "health", lambda: "no route")
        heartbeat.check_prefect()
    heartbeat.check_prefect()
    heartbeat.check_prefect()
    assert len(asked) == 3


@pytest.mark.parametrize("running", [False, True])
def test_what_was_cancelled_in_prefect_is_cancelled_here(
    service: SchedulerService, quick_desk: Desk, running: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[object] = []
    monkeypatch.setattr(prefect_sync, "end_group", ended.append)
    if not running:
        quick_desk.run_now("a")
    else:
        quick_desk.turn(worker_id=service.worker.id)
        me = identify_self()
        facts = {"process_ticks": me.started_ticks, "process_boot": me.boot_id, "process_host": me.host}
        quick_desk.change(quick_desk.run("a"), process_id=me.pid, **facts)
    quick_desk.change(quick_desk.run("a"), flow_run_id="flow-a")
    assert isinstance(service.worker.prefect, Prefect)
    service.worker.prefect.cancelled = ["flow-a"]

    service.prefect.watch_cancellations()
    row = quick_desk.run("a")
    if running:
        assert (row.status, row.cancel_asked_by) == (RunStatus.STARTING, "somebody in Prefect")
        assert ended == [identify_self()]
    else:
        assert (row.status, ended) == (RunStatus.CANCELLED, [])
