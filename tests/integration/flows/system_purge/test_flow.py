"""system_purge against a real ledger: the command line as a process of its own."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prefect.utilities.callables import parameter_schema
from sqlmodel import select

from headway.flows.system_purge import flow as module
from headway.flows.system_purge.flow import PurgeRule, system_purge
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, RunLogRow, RunRow, id_of
from headway.models.values.run import RunStatus, Trigger
from tests.support.databases import url_of
from tests.support.flow_world import Ran, run
from tests.support.installation import Desk

pytest_plugins = ["tests.support.flow_world"]

NOW = datetime.now(UTC)


@pytest.fixture
def history(quick_desk: Desk, flow_prefect: None, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return filled(quick_desk, monkeypatch)


@pytest.fixture
def history_on_both(desk: Desk, flow_prefect: None, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return filled(desk, monkeypatch)


def filled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Runs of `a` that ended 10, 20, ... 100 days ago, in turn completed and failed, with a line each; `b` runs."""
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(desk.engine))
    monkeypatch.setattr(module.purge, "retry_delay_seconds", 0)
    desk.tasks("name: a, type: job0", "name: b, type: job1")
    uid = id_of(desk.task("a"))
    with writing(desk.engine) as session:
        for number in range(10):
            at = NOW - timedelta(days=100 - 10 * number)
            status = RunStatus.FAILED if number % 2 else RunStatus.COMPLETED
            row = RunRow(
                task_uid=uid,
                type="job0",
                due_at=at,
                trigger=Trigger.SCHEDULE,
                status=status,
                created_at=at,
                started_at=at,
                ended_at=at,
                sorted_at=at,
            )
            session.add(row)
            session.flush()
            session.add(RunLogRow(run_id=id_of(row), at=at, level=20, message="a line"))
    desk.run_now("b")
    desk.turn()
    return desk


def ages(desk: Desk) -> list[int]:
    """How many days ago the runs of `a` that are left ended."""
    return [(NOW - row.ended_at).days for row in desk.runs("a") if row.ended_at]


def said(ran: Ran, what: str) -> list[str]:
    return [line for line in ran.lines() if what in line and "Finished in state" not in line]


def test_runs_and_lines_go_and_the_counts_are_true(history_on_both: Desk) -> None:
    ran = run(system_purge, older_than_days=35)
    result = ran.done()
    assert ages(history_on_both) == [30, 20, 10]
    assert (result.processed, result.errors, result.bytes) == (7, 0, 0)
    assert ran.message == "7 runs and 7 log lines deleted; 0 old ones stay"
    assert said(ran, "deleted") == ["job0, completed: 4 runs deleted", "job0, failed: 3 runs deleted"]
    assert ran.lines(logging.ERROR) == []
    assert ran.progress[-1] == 100
    with reading(history_on_both.engine) as session:
        assert len(session.exec(select(RunLogRow)).all()) == 3
        (audit,) = session.exec(select(AuditRow).where(AuditRow.action == "purge")).all()
    assert audit.reason and "system_purge, run" in audit.reason
    assert history_on_both.run("b").ended_at is None


def test_days_by_type_and_result(history_on_both: Desk) -> None:
    rules = [
        PurgeRule(type="job0", result="failed", older_than_days=75),
        PurgeRule(type="job0", result="completed", older_than_days=None),
    ]
    ran = run(system_purge, older_than_days=1, rules=rules)
    assert ran.done().processed == 1
    assert ages(history_on_both) == [100, 80, 70, 60, 50, 40, 30, 20, 10]


def test_the_last_run_stays_and_it_says_so(history: Desk) -> None:
    ran = run(system_purge, older_than_days=0)
    assert ran.done().processed == 9
    assert ages(history) == [10]
    assert said(ran, "stays") == ["Old enough, but it stays: 1 runs (the last run of its task)"]


def test_a_dry_run_counts_and_deletes_nothing(history: Desk) -> None:
    ran = run(system_purge, older_than_days=35, dry_run=True, only_results=["completed"])
    assert ran.done().processed == 0
    assert said(ran, "would go") == ["job0, completed: 4 runs would go"]
    assert len(ages(history)) == 10 and history.audit("purge") == []


def test_the_setting_is_the_default(history: Desk) -> None:
    ran = run(system_purge)
    assert ran.ended == "FAILED"
    assert "retention_days" in ran.message and "refused" in ran.message
    assert len(ages(history)) == 10
    history.define("settings: {retention_days: 35}")
    assert run(system_purge).done().processed == 7


def test_a_type_that_does_not_exist_is_refused_with_its_name(history: Desk) -> None:
    ran = run(system_purge, older_than_days=1, only_types=["jobb"])
    assert ran.ended == "FAILED" and "'jobb' is no task type" in ran.message
    assert len(ages(history)) == 10


def test_a_database_that_is_away_is_tried_again(history: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.purge, "retries", 1)
    monkeypatch.setenv("HEADWAY_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/none")
    ran = run(system_purge, older_than_days=1)
    assert ran.ended == "FAILED" and "did not answer" in ran.message and "secret" not in ran.message
    assert len(said(ran, "Retry")) + len(said(ran, "retry")) >= 1


def test_whoever_is_named_by_the_environment_does_not_count(history: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right to purge was asked for when the task was made and started."""
    monkeypatch.setenv("HEADWAY_USER", "somebody")
    assert run(system_purge, older_than_days=35).done().processed == 7


@pytest.mark.parametrize(
    ("parameters", "valid"),
    [
        ({}, True),
        ({"older_than_days": 90, "rules": [{"type": "data_export", "older_than_days": 30}]}, True),
        ({"rules": [{"result": "failed", "older_than_days": None}]}, True),
        ({"older_than_days": -1}, False),
        ({"rules": [{"result": "running", "older_than_days": 3}]}, False),
        ({"rules": [{"type": "data_export"}]}, False),  # how long?
        ({"rules": [{"days": 3}]}, False),
        ({"only_results": ["waiting"]}, False),
    ],
)
def test_bad_parameters_are_told_when_the_task_is_saved(parameters: dict[str, Any], valid: bool) -> None:
    schema = parameter_schema(system_purge.fn).model_dump_for_openapi()
    assert (not list(Draft202012Validator(schema).iter_errors(parameters))) == valid
