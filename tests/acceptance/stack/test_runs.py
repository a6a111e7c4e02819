"""Runs on the whole stack: delivered, spaced, apart from each other, and told truthfully."""

import signal
import threading
from datetime import datetime, timedelta
from typing import Any

from headway.models.values.run import RunStatus, Trigger
from tests.support.running_stack import RunningStack, export_yaml, in_seconds, processes_of, until

pytest_plugins = ["tests.support.stack"]


def test_an_export_is_delivered_and_the_next_step_says_why_it_waits(stack: RunningStack) -> None:
    stack.apply(
        export_yaml("Lots", rows=500, file_name="lots_{date}_{sequence}.csv"),
        "  - {name: Lots back, type: lookup_import, schedule: {after: Lots}, "
        "parameters: {lookup: lots, file_name: 'lots_*.csv', key_columns: [i], create_table: true}}\n",
    )
    answer = stack.headway("run", "Lots", "--follow", "--wait").ok()
    assert "Completed" in answer.out
    run = stack.headway("log", "--task", "Lots", "--json").json()["runs"][0]
    (file,) = [path for path in stack.sftp.folder.iterdir() if path.name.startswith("lots_")]
    assert (run["result"], run["processed"], run["errors"], run["attempts"]) == ("Completed", 500, 0, 1)
    assert run["size_kb"] == round(file.stat().st_size / 1024, 1) > 0 and len(run["duration"]) == 5
    assert len(file.read_text().splitlines()) == 501
    detail = stack.headway("log", str(run["id"]), "--json").json()
    assert detail["files"][0]["name"] == file.name and any("500" in line["message"] for line in detail["lines"])

    started = datetime.fromisoformat(run["start_at"])
    step = stack.headway("why", "Lots back", "--json").json()
    spacing = next(verdict for verdict in step["verdicts"] if verdict["rule"] == "spacing")
    assert spacing["held"] and "'Lots'" in spacing["reason"]
    assert datetime.fromisoformat(spacing["until"]) == started + timedelta(hours=1)
    assert datetime.fromisoformat(step["earliest_start_at"]) == started + timedelta(hours=1)

    # Overridden with a reason, it starts at once; and its chain's first step waits no longer.
    stack.headway("run", "Lots back", "--override", "spacing", "--reason", "seen by the test", "--wait").ok()
    loaded = stack.last("Lots back")
    assert loaded is not None and (loaded.trigger, loaded.processed) == (Trigger.MANUAL, 500)
    stack.headway("disable", "Lots back").ok()


def test_two_tasks_of_one_type_never_overlap(stack: RunningStack) -> None:
    names = ["First of three", "Second of three", "Third of three"]
    stack.apply(*(export_yaml(name) for name in names))
    with stack.paused_delivery() as reached:
        for name in names:
            stack.headway("run", name).ok()
        assert reached.wait(60), "the first of them never delivered"
        held = stack.held_by(names[1])
        assert set(held) == {"group"} and names[0] in held["group"]["reason"]
        assert [(run := stack.last(name)) and run.status for name in names[1:]] == [RunStatus.WAITING] * 2
    runs = [stack.ended(name) for name in names]
    assert all(run.status is RunStatus.COMPLETED for run in runs)
    for earlier, later in zip(runs, runs[1:], strict=False):
        assert earlier.ended_at is not None and later.started_at is not None
        assert earlier.ended_at <= later.started_at


def test_a_worker_killed_in_mid_delivery(stack: RunningStack) -> None:
    stack.apply(export_yaml("Big one", rows=60_000))
    writing = threading.Event()
    stack.sftp.inject("write", at_byte=100_000, effect="silence", on_strike=writing.set)
    stack.headway("run", "Big one").ok()
    assert writing.wait(60), "the upload never began"
    process_id = stack.in_state("Big one", RunStatus.RUNNING).process_id
    assert process_id != 0
    stack.stop_worker(signal.SIGKILL)
    assert "big_one.csv" not in stack.delivered, "half a file bears the final name"
    # What it had forked ends with it, and says so itself or leaves that to the next worker.
    until(lambda: process_id not in processes_of(stack.headway.home), "the end of the run's process")

    stack.start_worker()
    run = stack.ended("Big one")
    assert (run.status, run.process_id) == (RunStatus.FAILED, 0)
    assert run.error and "worker" in run.error, run.error
    assert "big_one.csv" not in stack.delivered
    stack.headway("run", "Big one").refused(4, "reset")
    shown = stack.headway("reset", "Big one", "--yes").ok().out
    assert run.error.splitlines()[0] in shown and "Files already delivered: none" in shown

    stack.headway("run", "Big one", "--wait").ok()
    assert stack.behaviour.renames_to.count("/acme/import/big_one.csv") == 1
    assert len((stack.sftp.folder / "big_one.csv").read_text().splitlines()) == 60_001
    assert [name for name in stack.delivered if "big_one" in name] == ["big_one.csv"], "a temporary file is left behind"


def test_prefect_away_while_three_tasks_come_due(stack: RunningStack) -> None:
    names = ["Due one", "Due two", "Due three"]
    stack.server.stop()
    try:
        due = in_seconds(12)
        once = f"    schedule: {{once: '{due.replace(tzinfo=None).isoformat()}'}}\n    timezone: UTC\n"
        stack.apply(*(export_yaml(name, more=once) for name in names))
        for name in names:
            stack.in_state(name, RunStatus.WAITING)  # each has its row, although nothing can start
        held = until(lambda: stack.held_by(names[0]).get("engine"), "the engine rule")
        assert "Prefect cannot be reached" in held["reason"] and held["until"] is None
        assert "prefect" not in stack.up()
        assert all(run.attempt == 0 for name in names for run in stack.ledger.runs(name))
    finally:
        stack.server.start()
    for name in names:
        run = stack.ended(name, timeout_seconds=90)
        assert (run.status, run.attempt, run.trigger) == (RunStatus.COMPLETED, 1, Trigger.SCHEDULE)
        assert len(stack.ledger.runs(name)) == 1
        assert len(flow_runs(stack, f"{name} {run.id}")) == 1
        file = f"/acme/import/{name.lower().replace(' ', '_')}.csv"
        assert stack.behaviour.renames_to.count(file) == 1
    assert "engine" not in stack.held_by(names[0])


def test_a_flow_run_started_in_prefect_obeys(stack: RunningStack) -> None:
    stack.apply(export_yaml("Busy one"))
    task = "data_export (started in Prefect)"
    with stack.paused_delivery() as reached:
        stack.headway("run", "Busy one").ok()
        assert reached.wait(60)
        flow_run_id = start_in_prefect(stack, "from_prefect.csv")
        run = stack.in_state(task, RunStatus.WAITING)
        assert (run.trigger, run.flow_run_id) == (Trigger.PREFECT, flow_run_id)
        state = until(lambda: held_state(stack, flow_run_id), "a reason in Prefect")
        assert state["type"] == "SCHEDULED" and "Busy one" in state["message"]
        assert set(stack.held_by(task)) == {"group"}
    run = stack.ended(task)
    assert run.status is RunStatus.COMPLETED and "from_prefect.csv" in stack.delivered
    state = until(lambda: final_state(stack, flow_run_id), "its end in Prefect")
    assert state["type"] == "COMPLETED"


def test_cancelling_in_prefect_ends_it_here(stack: RunningStack) -> None:
    stack.apply(export_yaml("Cancelled one"))
    task = "data_export (started in Prefect)"
    with stack.paused_delivery() as reached:
        stack.headway("run", "Cancelled one").ok()
        assert reached.wait(60)
        waiting = start_in_prefect(stack, "never.csv")
        stack.in_state(task, RunStatus.WAITING)
        cancel(stack, waiting)
        assert stack.ended(task).status is RunStatus.CANCELLED
        running = stack.in_state("Cancelled one", RunStatus.RUNNING)
        assert running.flow_run_id is not None
        cancel(stack, running.flow_run_id)
        ended = stack.ended("Cancelled one")
    assert (ended.status, ended.process_id) == (RunStatus.CANCELLED, 0)
    for flow_run_id in (waiting, running.flow_run_id):
        state = until(lambda: final_state(stack, flow_run_id), "its end in Prefect")  # noqa: B023
        assert state["type"] == "CANCELLED"
    assert "never.csv" not in stack.delivered
    # A cancelled task needs no reset, and its group is free.
    stack.headway("run", "Cancelled one", "--wait").ok()


def test_a_worker_told_to_stop_lets_the_running_one_finish(stack: RunningStack) -> None:
    stack.apply(export_yaml("Last one"), export_yaml("Too late"))
    assert stack.worker is not None
    with stack.paused_delivery() as reached:
        stack.headway("run", "Last one").ok()
        assert reached.wait(60)
        stack.headway("run", "Too late").ok()
        stack.worker.send_signal(signal.SIGTERM)
    assert stack.worker.wait(60) == 0
    last, late = stack.last("Last one"), stack.last("Too late")
    assert last is not None and last.status is RunStatus.COMPLETED
    assert late is not None and (late.status, late.attempt) == (RunStatus.WAITING, 0)
    assert set(stack.held_by("Too late")) == {"engine"}
    stack.start_worker()
    assert stack.ended("Too late").status is RunStatus.COMPLETED


def flow_runs(stack: RunningStack, name: str) -> list[dict[str, Any]]:
    wanted = {"flow_runs": {"name": {"any_": [name]}}}
    found: list[dict[str, Any]] = stack.server.api()._send("POST", "/flow_runs/filter", json=wanted).json()
    return found


def start_in_prefect(stack: RunningStack, file_name: str) -> str:
    """What `prefect deployment run` does; the flow run's ID."""
    deployment = next(one for one in stack.server.api().deployments() if one.name == "data_export")
    body = {
        "parameters": {"query": "SELECT 1 AS i", "file_name": file_name},
        "state": {"type": "SCHEDULED", "name": "Scheduled"},
    }
    made = stack.server.api()._send("POST", f"/deployments/{deployment.id}/create_flow_run", json=body)
    return str(made.json()["id"])


def cancel(stack: RunningStack, flow_run_id: str) -> None:
    """What the Cancel button of Prefect's screen does."""
    body = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
    stack.server.api()._send("POST", f"/flow_runs/{flow_run_id}/set_state", json=body)


def state_of(stack: RunningStack, flow_run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.server.api()._send("GET", f"/flow_runs/{flow_run_id}").json()["state"]
    return found


def held_state(stack: RunningStack, flow_run_id: str) -> dict[str, Any] | None:
    state = state_of(stack, flow_run_id)
    return state if state["name"] == "Held" else None


def final_state(stack: RunningStack, flow_run_id: str) -> dict[str, Any] | None:
    state = state_of(stack, flow_run_id)
    return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None
