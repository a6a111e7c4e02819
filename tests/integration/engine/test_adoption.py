"""What somebody starts in Prefect itself enters the same ledger and obeys the same rules."""

from typing import Any

import pytest

from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus, Trigger
from headway.models.values.task import OnFailure
from headway.privileges import OPERATOR
from headway.scheduler.engine.adoption import Adoption, adopt
from headway.scheduler.store.tasks import load_catalog
from headway.scheduler.usecases.tasks.task_state import set_state
from tests.support.clock import utc
from tests.support.installation import Desk, task_named

WINDOW = "[{name: Daily, days: [mon, tue, wed, thu, fri, sat, sun], start: '16:00', end: '17:00', timezone: UTC}]"
NAME = "report_execution (started in Prefect)"


def _adopt(
    desk: Desk, flow_run_id: str, scheduled_at: str | None = None, deployment_id: str = "d3", **parameters: Any
) -> Adoption:
    at = desk.clock.now() if scheduled_at is None else utc(scheduled_at)
    with writing(desk.engine) as session:
        return adopt(session, load_catalog(session), flow_run_id, deployment_id, parameters, at, desk.clock.now())


def _row(desk: Desk, flow_run_id: str) -> RunRow:
    (row,) = [row for row in desk.runs() if row.flow_run_id == flow_run_id]
    return row


def test_it_becomes_a_waiting_run_of_a_task_that_stands_for_its_type(desk: Desk) -> None:
    adoption = _adopt(desk, "f1", rows=3)
    assert adoption.state == "held" and adoption.reason
    row, task = _row(desk, "f1"), desk.task(NAME)
    assert (row.task_uid, row.status, row.trigger) == (task.uid, RunStatus.WAITING, Trigger.PREFECT)
    assert (row.parameters, row.follow) == ({"rows": 3}, False)
    assert task.type == "report_execution" and task.on_failure is OnFailure.CONTINUE
    assert task.cron is None and task.next_due_at is None


def test_asked_again_it_is_the_same_run(desk: Desk) -> None:
    for _ in range(3):
        _adopt(desk, "f1")
    assert len(desk.runs()) == 1


def test_two_that_are_scheduled_for_one_instant_are_two(desk: Desk) -> None:
    _adopt(desk, "f1", "2026-11-23T15:00")
    _adopt(desk, "f2", "2026-11-23T15:00")
    assert len(desk.runs(NAME)) == 2
    assert len({row.due_at for row in desk.runs(NAME)}) == 2


def test_its_order_names_the_flow_run_and_its_parameters(desk: Desk) -> None:
    _adopt(desk, "f1", rows=3)
    assert desk.turn() == [NAME]
    assert desk.orders[NAME].flow_run_id == "f1" and desk.orders[NAME].parameters == {"rows": 3}
    assert _adopt(desk, "f1").state == "claimed"
    desk.end(NAME)
    assert _adopt(desk, "f1").state == "ended"


def test_it_obeys_its_group(desk: Desk) -> None:
    desk.tasks("name: a, type: task_error_report")
    desk.run_now("a")
    desk.turn()
    desk.worker_lives()
    adoption = _adopt(desk, "f1")
    assert (adoption.state, adoption.until) == ("held", None)
    assert "group 'reports' is in use by 'a'" in adoption.reason
    assert desk.turn() == []
    desk.end("a")
    assert desk.turn() == [NAME]


def test_it_obeys_the_windows_and_says_until_when(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", windows=WINDOW)
    desk.clock.set("2026-11-23T16:15")
    desk.worker_lives()
    adoption = _adopt(desk, "f1")
    assert adoption.until == utc("2026-11-23T17:00") and "maintenance window 'Daily'" in adoption.reason
    assert desk.turn() == []
    assert desk.turn("2026-11-23T17:00") == [NAME]


def test_one_that_may_start_waits_for_the_next_turn_only(desk: Desk) -> None:
    desk.worker_lives()
    adoption = _adopt(desk, "f1")
    assert (adoption.state, adoption.until) == ("held", None)
    assert "next turn" in adoption.reason


def test_several_of_a_type_run_one_after_the_other_and_none_is_superseded(desk: Desk) -> None:
    for number in range(3):
        _adopt(desk, f"f{number}")
        desk.clock.move(minutes=1)
    for number in range(3):
        assert desk.turn() == [NAME]
        assert desk.orders[NAME].flow_run_id == f"f{number}"
        desk.end(NAME, RunStatus.FAILED if number == 0 else RunStatus.COMPLETED)  # a failure holds nobody up
        desk.clock.move(minutes=1)


def test_one_scheduled_for_later_is_due_when_it_is_polled_and_not_before(desk: Desk) -> None:
    """A worker may be handed a run some seconds early."""
    _adopt(desk, "f1", "2026-11-23T15:01:05")
    assert _row(desk, "f1").due_at == utc("2026-11-23T15:01")


def test_of_a_historical_task_nothing_is_taken_in(desk: Desk) -> None:
    _adopt(desk, "flow-1")
    with writing(desk.engine) as session:
        set_state(session, desk.clock, OPERATOR, task_named(session, NAME), historical=True)
    runs = len(desk.runs())
    assert _adopt(desk, "flow-2").state == "ended"
    assert len(desk.runs()) == runs


def test_a_deployment_that_is_no_task_type_is_refused(desk: Desk) -> None:
    with pytest.raises(LookupError, match="headway deploy"):
        _adopt(desk, "f1", deployment_id="unheard of")
    assert desk.runs() == []


def test_the_task_that_stands_for_a_type_is_made_once_and_survives_an_export(desk: Desk) -> None:
    _adopt(desk, "f1")
    _adopt(desk, "f2")
    assert desk.task(NAME).uid == 1
    desk.tasks("name: other, type: job0")
    assert desk.task("other").uid == 2
