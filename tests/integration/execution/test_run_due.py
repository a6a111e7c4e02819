"""A run knows when it came due, in which zone, and its task's object: each attempt, also one born in Prefect."""

from dataclasses import replace
from typing import Any

import pytest

from headway.scheduler.execution.warm_server import StartOrder
from tests.support.due_flow import due_of_the_run
from tests.support.flow_world import run
from tests.support.installation import Desk
from tests.support.prefect_server import ServerForTests
from tests.support.run_harness import EngineRoom

pytest_plugins = ["tests.support.flow_world"]

LABELS = {
    "headway.due": "2026-11-23T06:15:00+00:00",
    "headway.zone": "America/New_York",
    "headway.object": "Citations",
}
TOLD = "2026-11-23T06:15:00+00:00 America/New_York Citations"


def told(engine: EngineRoom, order: StartOrder) -> Any:
    started = engine.begin(order)
    started.exited()
    return started.wrote("ended")["message"]


@pytest.fixture
def order(engine: EngineRoom) -> StartOrder:
    return replace(engine.order("nothing"), entrypoint="tests.support.due_flow.due_of_the_run", labels=LABELS)


def test_the_flow_run_that_the_scheduler_makes_carries_it(engine: EngineRoom, order: StartOrder) -> None:
    assert told(engine, order) == TOLD


def test_a_second_attempt_knows_the_same(engine: EngineRoom, order: StartOrder) -> None:
    told(engine, order)
    assert told(engine, replace(order, attempt=2, claim="second")) == TOLD


def test_a_flow_run_that_was_started_in_prefect_gets_it_too(
    engine: EngineRoom, order: StartOrder, prefect_server: ServerForTests
) -> None:
    born = prefect_server.schedule(prefect_server.deploy("nothing"))
    assert told(engine, replace(order, flow_run_id=born)) == TOLD


def test_outside_of_the_scheduler_it_is_now_in_utc(flow_prefect: None) -> None:
    ran = run(due_of_the_run)
    assert ran.ended == "COMPLETED"


def test_the_claim_tells_due_zone_and_object(desk: Desk) -> None:
    desk.tasks("name: a, type: data_export, object: Lots, schedule: {cron: '0 8 * * *'}, timezone: Europe/Berlin")
    desk.turn("2026-11-24T07:30")
    assert desk.orders["a"].labels == {
        "headway.due": "2026-11-24T07:00:00+00:00",
        "headway.zone": "Europe/Berlin",
        "headway.object": "Lots",
        "headway.importer_path": r"\\flexftp\acme\import",
    }


def test_two_reports_due_at_once_run_one_after_the_other(desk: Desk) -> None:
    schedule = "schedule: {cron: '0 8 * * *'}, timezone: UTC, window: allow"
    desk.tasks(f"name: a, type: report_execution, {schedule}", f"name: b, type: task_error_report, {schedule}")
    assert desk.turn("2026-11-24T08:00") == ["a"]
    assert desk.turn("2026-11-24T08:01") == []
    desk.end("a")
    assert desk.turn("2026-11-24T08:02") == ["b"]
