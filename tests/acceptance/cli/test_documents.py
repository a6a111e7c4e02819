"""The JSON documents of the contract: their keys to the letter, one document on stdout and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headway.models.values.run import RunStatus
from tests.support.command_line import Headway
from tests.support.written_ledger import Ledger, now

pytest_plugins = ["tests.support.stack"]

TASKS = r"""
settings:
  customer_importer_file_path: '\\flexftp\acme\import'
tasks:
  - name: Citations export
    type: data_export
    object: Citations
    schedule: {cron: "15 1 * * *"}
    expected_duration: "00:20:00"
    parameters: {table: citation, file_name: citations.csv}
  - name: Customers reload
    type: lookup_import
    object: Customers
    schedule: {after: Citations export, spacing: "01:00:00"}
    parameters: {lookup: customers, file_name: customers.csv}
  - name: Old export
    type: data_export
    enabled: false
    parameters: {table: lot, file_name: lots.csv}
"""
TASK_KEYS = [
    "uid",
    "name",
    "type",
    "object",
    "step",
    "enabled",
    "historical",
    "state",
    "process_id",
    "attempts",
    "progress",
    "next_start_at",
    "last_result",
    "needs_reset",
]
LOG_KEYS = [
    "id",
    "task",
    "uid",
    "type",
    "object",
    "step",
    "trigger",
    "due_at",
    "start_at",
    "end_at",
    "duration",
    "size_kb",
    "result",
    "error",
    "processed",
    "errors",
    "attempts",
]
RULES = ["reset", "busy", "group", "capacity", "window", "spacing", "engine"]
START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def loaded(headway: Headway) -> Headway:
    headway.apply(TASKS)
    return headway


def test_plan_of_a_file(nowhere: Headway) -> None:
    file = nowhere.file(TASKS)
    document = nowhere("plan", file, "--from", "2026-11-23", "--to", "2026-11-24", "--json").json()
    assert list(document) == ["from", "to", "runs", "findings"]
    assert (document["from"], document["to"]) == ("2026-11-23T05:00:00Z", "2026-11-24T05:00:00Z")  # New York's midnight
    first, second = document["runs"]
    # a Monday: the Monday window ends at 02:00
    reason = first["holds"][0].pop("reason")
    assert "Monday maintenance" in reason and "02:00" in reason
    assert first == {
        "task": "Citations export",
        "uid": 1,
        "type": "data_export",
        "group": "data_export",
        "step": 1,
        "due_at": "2026-11-23T06:15:00Z",
        "start_at": "2026-11-23T07:00:00Z",
        "end_at": "2026-11-23T07:20:00Z",
        "status": "planned",
        "holds": [{"rule": "window", "until": "2026-11-23T07:00:00Z"}],
    }
    assert list(first) == ["task", "uid", "type", "group", "step", "due_at", "start_at", "end_at", "status", "holds"]
    assert (second["task"], second["step"], second["due_at"]) == ("Customers reload", 2, "2026-11-23T08:00:00Z")
    finding = document["findings"][0]
    assert list(finding) == ["id", "level", "tasks", "message"]
    assert (finding["id"], finding["level"], finding["tasks"]) == ("L3", "warning", ["Citations export"])


def test_plan_of_what_is_stored(loaded: Headway) -> None:
    span = ("--from", "2027-01-05T00:00:00-05:00", "--to", "2027-01-06T00:00:00-05:00")
    stored = loaded("plan", *span, "--json").json()
    from_file = loaded("plan", loaded.file(TASKS), *span, "--json").json()
    assert list(stored) == list(from_file) and stored["runs"] == from_file["runs"]
    assert [run["start_at"] for run in stored["runs"]] == ["2027-01-05T06:15:00Z", "2027-01-05T07:15:00Z"]


def test_tasks(loaded: Headway) -> None:
    ledger = Ledger(loaded.database)
    ledger.ended("Citations export", START, status=RunStatus.FAILED, error="the server said no")
    document = loaded("tasks", "--json").json()
    assert list(document) == ["tasks"] and all(list(task) == TASK_KEYS for task in document["tasks"])
    by_name = {task["name"]: task for task in document["tasks"]}
    assert set(by_name) == {"Citations export", "Customers reload"}
    task = by_name["Citations export"]
    assert (task["uid"], task["type"], task["object"], task["step"]) == (1, "data_export", "Citations", 1)
    assert (task["enabled"], task["historical"], task["state"], task["process_id"]) == (True, False, "Scheduled", 0)
    assert (task["last_result"], task["needs_reset"]) == ("Execution failed", True)
    assert datetime.fromisoformat(task["next_start_at"]).utcoffset() == timedelta(0)
    assert task["next_start_at"].endswith("Z")
    everything = loaded("tasks", "--all", "--json").json()["tasks"]
    assert [task["name"] for task in everything if not task["enabled"]] == ["Old export"]
    step = by_name["Customers reload"]
    assert (step["step"], step["state"], step["next_start_at"]) == (2, "", None)
    (skipped,) = ledger.runs("Customers reload")
    assert skipped.status is RunStatus.SKIPPED and "Citations export" in skipped.message


def test_log_and_one_run_of_it(loaded: Headway) -> None:
    ledger = Ledger(loaded.database)
    run_id = ledger.ended("Citations export", START, timedelta(seconds=83), processed=1200, bytes=2560)
    ledger.ended("Old export", START + timedelta(hours=1), status=RunStatus.FAILED, error="table lot is gone")
    document = loaded("log", "--json").json()
    assert list(document) == ["runs"] and all(list(run) == LOG_KEYS for run in document["runs"])
    failed, completed = document["runs"]  # newest first
    assert completed == {
        "id": run_id,
        "task": "Citations export",
        "uid": 1,
        "type": "data_export",
        "object": "Citations",
        "step": 1,
        "trigger": "schedule",
        "due_at": "2026-11-20T08:00:00Z",
        "start_at": "2026-11-20T08:00:00Z",
        "end_at": "2026-11-20T08:01:23Z",
        "duration": "01:23",
        "size_kb": 2.5,
        "result": "Completed",
        "error": None,
        "processed": 1200,
        "errors": 0,
        "attempts": 1,
    }
    assert (failed["result"], failed["error"]) == ("Execution failed", "table lot is gone")
    detail = loaded("log", str(run_id), "--json").json()
    assert list(detail)[: len(LOG_KEYS)] == LOG_KEYS
    assert [event["after"] for event in detail["events"]] == ["waiting", "starting", "running", "completed"]


def test_log_is_narrowed_by_task_errors_and_time(loaded: Headway) -> None:
    ledger = Ledger(loaded.database)
    for hour in range(3):
        ledger.ended("Old export", START + timedelta(hours=hour), processed=hour)
    ledger.ended("Citations export", START + timedelta(hours=4), status=RunStatus.COMPLETED_WITH_ERRORS, errors=2)
    assert len(loaded("log", "--task", "Old export", "--json").json()["runs"]) == 3
    errors = loaded("log", "--errors", "--json").json()["runs"]
    assert [(run["task"], run["result"], run["errors"]) for run in errors] == [
        ("Citations export", "Completed - With Errors", 2)
    ]
    # 04:00 in the settings' zone is 09:00 UTC: the runs at 09:00, 10:00 and 12:00 UTC
    assert len(loaded("log", "--since", "2026-11-20T04:00", "--json").json()["runs"]) == 3
    assert len(loaded("log", "--since", "2026-11-20T10:00Z", "--json").json()["runs"]) == 2
    assert len(loaded("log", "--since", "2026-11-20T09:30:00-01:00", "--json").json()["runs"]) == 1
    assert len(loaded("log", "--limit", "1", "--json").json()["runs"]) == 1


def test_a_time_without_offset_follows_the_settings(loaded: Headway) -> None:
    Ledger(loaded.database).ended("Old export", START)
    assert loaded("log", "--since", "2026-11-20T03:30", "--json").json()["runs"] == []
    loaded.apply("settings: {timezone: Europe/Berlin}")
    assert len(loaded("log", "--since", "2026-11-20T09:00", "--json").json()["runs"]) == 1
    assert loaded("log", "--since", "2026-11-20T09:30", "--json").json()["runs"] == []


def test_why_has_every_rule(loaded: Headway) -> None:
    document = loaded("why", "Citations export", "--json").json()
    assert list(document) == ["task", "run", "due_at", "earliest_start_at", "verdicts"]
    assert (document["task"], document["run"], document["earliest_start_at"]) == ("Citations export", None, None)
    assert datetime.fromisoformat(document["due_at"]) > now()
    assert [verdict["rule"] for verdict in document["verdicts"]] == RULES
    assert all(list(verdict) == ["rule", "held", "reason", "until"] for verdict in document["verdicts"])
    engine = document["verdicts"][-1]
    assert engine["held"] is True and "no worker is alive" in engine["reason"] and engine["until"] is None
    assert all(verdict["reason"] == "" for verdict in document["verdicts"] if not verdict["held"])


def test_why_of_a_chains_step_names_the_instant(loaded: Headway) -> None:
    started = now() - timedelta(minutes=10)
    ledger = Ledger(loaded.database)
    ledger.ended("Citations export", started)
    document = loaded("why", "Customers reload", "--json").json()
    waiting = ledger.runs("Customers reload")[0]
    assert (document["run"], waiting.status) == (waiting.id, RunStatus.WAITING)
    spacing = next(verdict for verdict in document["verdicts"] if verdict["rule"] == "spacing")
    assert spacing["held"] and datetime.fromisoformat(spacing["until"]) == started + timedelta(hours=1)
    assert "Citations export" in spacing["reason"] and "60 min" in spacing["reason"]


def test_why_lists_every_blocker_not_only_the_first(loaded: Headway) -> None:
    ledger = Ledger(loaded.database)
    ledger.ended("Old export", START, status=RunStatus.FAILED, error="no")
    ledger.running("Citations export", now() - timedelta(minutes=1))
    ledger.waiting("Old export", now())
    held = {v["rule"] for v in loaded("why", "Old export", "--json").json()["verdicts"] if v["held"]}
    assert {"reset", "group", "engine"} <= held and "busy" not in held


def test_status_before_anything_is_up(nowhere: Headway) -> None:
    answer = nowhere("status", "--json", HEADWAY_DASHBOARD_PORT="1", HEADWAY_PREFECT_PORT="1")
    assert answer.exit_code == 5 and not nowhere.home.exists()
    assert '"ready": false' in answer.out and answer.out.count("\n") == 1


def test_purge(loaded: Headway) -> None:
    ledger = Ledger(loaded.database)
    for days in (400, 300, 200):
        ledger.ended("Old export", now() - timedelta(days=days))
    before = ledger.contents()
    dry = loaded("purge", "--older-than", "250", "--dry-run", "--json").json()
    assert (dry["dry_run"], dry["runs"], dry["kept"]) == (True, 2, 0)
    assert dry["counts"] == [{"type": "data_export", "result": "completed", "runs": 2}]
    assert ledger.contents() == before
    done = loaded("purge", "--older-than", "0", "--json").json()
    assert (done["dry_run"], done["runs"], done["kept"]) == (False, 2, 1)  # the task's last run stays
    assert len(ledger.runs("Old export")) == 1
    assert loaded("purge", "--older-than", "0", "--json").json()["runs"] == 0


@pytest.mark.parametrize("command", [["tasks"], ["log"], ["plan"], ["why", "Citations export"]])
def test_nothing_but_the_document_is_on_stdout(loaded: Headway, command: list[str]) -> None:
    assert loaded(*command, "--json").json() is not None
    assert loaded(*command).ok().out.strip()


def test_json_in_a_python_of_its_own(loaded: Headway, tmp_path: Path) -> None:
    assert len(loaded.anew("tasks", "--json").json()["tasks"]) == 2
