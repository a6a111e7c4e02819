"""campaign_trigger's tasks in the scheduler: the Step column, and a start by hand beside the planned stop."""

from typing import Any

import pytest
from sqlmodel import Session, select

from headway.flows.campaign_trigger.flow import campaign_trigger
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import TaskRow, id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store.queries.step_labels import steps_of
from headway.scheduler.store.tasks import load_types, save_types
from headway.scheduler.usecases.log.browse_log import LogQuery, browse_log, pages_of_log, run_report
from headway.scheduler.usecases.tasks.browse_tasks import TaskQuery, browse_tasks
from headway.scheduler.usecases.tasks.show_task import show_task
from headway.scheduler.usecases.tasks.task_list import task_list
from tests.support.installation import Desk

_WHAT = "type: campaign_trigger, object: Overdue, timezone: UTC"
START = f'name: calls on, {_WHAT}, schedule: {{cron: "0 14 * * *"}}'
STOP = f'name: calls off, {_WHAT}, schedule: {{cron: "0 20 * * *"}}, parameters: {{step: stop}}'
AFTER = f"name: then off, {_WHAT}, schedule: {{after: calls on, spacing: '01:00:00'}}, parameters: {{step: stop}}"


@pytest.fixture
def centre(desk: Desk) -> Desk:
    """An installation that has the type campaign_trigger with the flow's own schema, at 12:00 UTC."""
    schema: dict[str, Any] = campaign_trigger.parameters.model_dump()
    added = TaskType(name="campaign_trigger", group="campaign_trigger", deployment_id="c1", parameter_schema=schema)
    with writing(desk.engine) as session:
        save_types(session, [*load_types(session).values(), added], desk.clock.now())
    desk.clock.set("2026-11-23T12:00")
    desk.worker_lives()
    return desk


def steps(centre: Desk, read: Any) -> dict[str, str]:
    with reading(centre.engine) as session:
        return read(session)


def in_list(centre: Desk) -> dict[str, str]:
    """The column as the command line, the dashboard's list and the task's page have it, which agree."""

    def read(session: Session) -> dict[str, str]:
        lines = task_list(session, centre.clock, OPERATOR)
        browsed = browse_tasks(session, centre.clock, OPERATOR, TaskQuery()).lines
        shown = {line.name: line.step_shown for line in lines}
        assert {line.name: line.step_shown for line in browsed} == shown
        for row in session.exec(select(TaskRow)).all():
            assert show_task(session, centre.clock, OPERATOR, id_of(row)).line.step_shown == shown[row.name]
        return shown

    return steps(centre, read)


def in_log(centre: Desk) -> list[tuple[str, str]]:
    """The column as the task log, its download and a run's page have it, which agree: (task, step), oldest first."""
    with reading(centre.engine) as session:
        page = browse_log(session, OPERATOR, LogQuery(newest_first=False))
        assert steps_of(session, [run for run, _ in page.rows]) == page.steps
        for run, _ in page.rows:
            assert run_report(session, OPERATOR, id_of(run)).step_shown == page.steps[id_of(run)]
    (downloaded,) = pages_of_log(centre.engine, OPERATOR, LogQuery(newest_first=False))
    assert downloaded.steps == page.steps
    return [(name, page.steps[id_of(run)]) for run, name in page.rows]


def test_the_list_shows_which_step_a_task_takes(centre: Desk) -> None:
    centre.tasks(START, STOP, AFTER, "name: other, type: job0")
    assert in_list(centre) == {"calls on": "1 · Start", "calls off": "1 · Stop", "then off": "2 · Stop", "other": "1"}


def test_the_log_shows_the_step_that_a_run_took_whatever_was_edited_since(centre: Desk) -> None:
    centre.tasks(STOP, "name: other, type: job0")
    centre.run_now("calls off")
    centre.run_now("other")
    assert set(centre.turn()) == {"calls off", "other"}
    centre.change(centre.task("calls off"), parameters={"step": "start"})
    assert in_list(centre)["calls off"] == "1 · Stop"  # the run in progress keeps what it started with
    centre.end("calls off")
    centre.end("other")
    assert sorted(in_log(centre)) == [("calls off", "1 · Stop"), ("other", "1")]


def test_a_run_that_never_started_shows_its_tasks_step(centre: Desk) -> None:
    centre.tasks(START, AFTER)
    centre.turn("2026-11-23T14:00")
    centre.end("calls on", RunStatus.FAILED, error="no such campaign")
    assert in_log(centre) == [("calls on", "1 · Start"), ("then off", "2 · Stop")]


def test_a_type_without_a_schema_shows_the_number(centre: Desk) -> None:
    centre.tasks(START)
    with writing(centre.engine) as session:
        types = [one for one in load_types(session).values() if one.name != "campaign_trigger"]
        bare = TaskType(name="campaign_trigger", group="campaign_trigger", deployment_id="c1")
        save_types(session, [*types, bare], centre.clock.now())
    assert in_list(centre) == {"calls on": "1"}


def test_a_start_by_hand_does_not_cancel_the_planned_stop(centre: Desk) -> None:
    centre.tasks(START, STOP)
    planned = centre.task("calls off").next_due_at
    centre.run_now("calls on")
    assert centre.turn() == ["calls on"]
    centre.end("calls on")
    assert centre.task("calls off").next_due_at == planned
    centre.turn("2026-11-23T14:00")
    centre.end("calls on")
    assert centre.turn("2026-11-23T20:00") == ["calls off"]
    assert centre.run("calls off").parameters == {"step": "stop", "campaign": "Overdue"}
