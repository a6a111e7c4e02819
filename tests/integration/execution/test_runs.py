"""A run from its order to its outcome, on a real Prefect server."""

import os
from pathlib import Path

import pytest

from headway.scheduler.execution.ledger_port import ExitCode
from tests.support.prefect_server import ServerForTests, free_port
from tests.support.run_harness import EngineRoom, eventually


def test_a_run_is_recorded_step_by_step_and_completes_in_prefect(engine: EngineRoom) -> None:
    run = engine.run("nothing")

    assert run.exited().exit_code == ExitCode.RECORDED
    assert run.calls() == ["began", "bind", "running", "ended"]
    assert run.wrote("ended")["kind"] == "completed"
    assert engine.prefect.state_names(run.wrote("bind")) == ["Pending", "Running", "Completed"]


def test_the_recorded_process_is_the_one_that_ran(engine: EngineRoom) -> None:
    run = engine.run("nothing")

    assert run.wrote("began")["pid"] == run.exited().pid


def test_the_flow_run_has_the_orders_name_tags_and_deployment(engine: EngineRoom) -> None:
    run = engine.run("nothing")

    [flow_run] = [one for one in engine.prefect.flow_runs_of(run.order.deployment_id) if one["id"] == run.wrote("bind")]
    assert flow_run["name"] == run.order.name
    assert set(flow_run["tags"]) >= {"a-tag"}
    assert flow_run["idempotency_key"] == f"{run.order.run_id}:1"


def test_counts_of_a_returned_model_are_the_outcomes(engine: EngineRoom) -> None:
    ended = engine.run("counting", processed=12, errors=2).wrote("ended")

    assert (ended["processed"], ended["errors"], ended["bytes"]) == (12, 2, 1234)
    assert ended["files"] == ["a.csv", "b.csv"]
    assert ended["message"] == "Two files."


@pytest.mark.parametrize(
    ("flow", "processed", "errors", "message"),
    [
        ("stating", 3, 1, "All in."),  # a Prefect state with the counts in its data
        ("asynchronous", 5, 0, ""),  # an async flow
        ("with_tasks", 3, 0, ""),  # tasks, one of them in a thread
    ],
)
def test_counts_are_read_from_every_kind_of_flow(
    engine: EngineRoom, flow: str, processed: int, errors: int, message: str
) -> None:
    ended = engine.run(flow).wrote("ended")

    assert ended["kind"] == "completed"
    assert (ended["processed"], ended["errors"], ended["message"]) == (processed, errors, message)


def test_parameters_reach_the_flow_as_its_own_model(engine: EngineRoom) -> None:
    assert engine.run("with_params", params={"limit": 9}).wrote("ended")["processed"] == 9


def test_bad_parameters_fail_the_run_before_its_flow_begins(engine: EngineRoom) -> None:
    run = engine.run("with_params", params={"limit": "many"})

    assert run.calls() == ["began", "bind", "ended"]
    assert run.wrote("ended")["kind"] == "failed"
    assert "limit" in run.wrote("ended")["error"]


def test_a_failing_flow_leaves_one_line_and_its_own_traceback(engine: EngineRoom) -> None:
    run = engine.run("failing")

    assert run.wrote("ended")["error"] == "ValueError: no such list"
    [complaint] = [message for level, message in run.log() if level >= 40]
    assert "sample_flows.py" in complaint
    assert "flow_engine.py" not in complaint  # the engine's frames help nobody
    assert engine.prefect.state_names(run.wrote("bind"))[-1] == "Failed"


def test_a_retry_of_prefects_own_ends_with_the_last_outcome(engine: EngineRoom, tmp_path: Path) -> None:
    run = engine.run("failing_once", marker=str(tmp_path / "marker"))

    assert run.calls() == ["began", "bind", "running", "ended"]
    assert run.wrote("ended")["kind"] == "completed"


def test_log_lines_progress_and_receipts_reach_the_ledger(engine: EngineRoom) -> None:
    run = engine.run("talking")

    assert run.wrote("progress") == [50.0, 10]
    assert run.wrote("receipt") == {"name": "a.csv", "bytes": 9}
    assert {(30, "Careful"), (40, "Bad row 7"), (20, "Half way")} <= set(run.log())
    assert (30, "From the flow's own logger") in run.log()


def test_log_lines_are_in_the_ledger_before_the_outcome_is(engine: EngineRoom) -> None:
    run = engine.run("talking")

    assert run.calls()[-1] == "ended"
    said = ["Half way", "Careful", "Bad row 7", "Delivered a.csv", "From the flow's own logger"]
    assert [text for _, text in run.log() if text in said] == said


def test_log_lines_reach_prefect_too(engine: EngineRoom) -> None:
    flow_run_id = engine.run("talking").wrote("bind")

    wanted = {"logs": {"flow_run_id": {"any_": [flow_run_id]}}}
    messages = [line["message"] for line in engine.prefect.call("POST", "/logs/filter", wanted)]
    assert {"Careful", "Bad row 7", "From the flow's own logger"} <= set(messages)


def test_a_second_order_of_the_same_run_and_attempt_never_runs(engine: EngineRoom) -> None:
    first = engine.run("nothing")

    # Another claim, so that the ledger lets it through: Prefect's idempotency key has to hold it.
    second = engine.begin(engine.again(first.order, claim="another"))
    assert second.exited().exit_code == ExitCode.TWIN
    assert second.calls() == ["began"]
    assert engine.prefect.state_names(first.wrote("bind")) == ["Pending", "Running", "Completed"]


def test_the_next_attempt_is_another_flow_run(engine: EngineRoom) -> None:
    first = engine.run("failing")

    second = engine.begin(engine.again(first.order, attempt=2, claim="second"))
    second.exited()
    assert second.wrote("bind") != first.wrote("bind")


def test_a_retry_that_is_handed_the_first_attempts_flow_run_makes_its_own(engine: EngineRoom) -> None:
    first = engine.run("failing")

    order = engine.again(first.order, attempt=2, claim="second", flow_run_id=first.wrote("bind"))
    second = engine.begin(order)
    second.exited()
    assert second.wrote("bind") != first.wrote("bind")
    assert second.calls() == ["began", "bind", "running", "ended"]


def test_an_attempts_flow_run_is_found_by_its_number(engine: EngineRoom) -> None:
    run = engine.run("nothing")

    assert engine.prefect.api.flow_run_of(run.order.run_id, 1) == run.wrote("bind")
    assert engine.prefect.api.flow_run_of(run.order.run_id, 2) is None


def test_nothing_happens_once_the_claim_is_lost(engine: EngineRoom) -> None:
    order = engine.order("nothing")
    Path(order.database_url).with_suffix(".lost").touch()

    run = engine.begin(order)
    assert run.exited().exit_code == ExitCode.CLAIM_LOST
    assert run.ledger.entries() == []
    created = engine.prefect.flow_runs_of(order.deployment_id)
    assert f"{order.run_id}:1" not in [one["idempotency_key"] for one in created]


def test_a_claim_lost_in_the_middle_ends_the_process(engine: EngineRoom, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = engine.begin(engine.order("waiting_for", started=str(tmp_path / "started"), go=str(go)))
    eventually((tmp_path / "started").exists, "the flow started")

    Path(run.order.database_url).with_suffix(".lost").touch()
    go.touch()
    assert run.exited().exit_code == ExitCode.CLAIM_LOST
    assert run.calls() == ["began", "bind", "running"]


@pytest.mark.parametrize("lost", [False, True])
def test_a_file_gets_its_name_only_under_the_claim(engine: EngineRoom, tmp_path: Path, lost: bool) -> None:
    """Given up while it uploaded: it woke up, its claim is void, and the final name is not its to give."""
    started, go, name = (tmp_path / one for one in ("started", "go", "a.csv"))
    run = engine.begin(engine.order("naming", started=str(started), go=str(go), name=str(name)))
    eventually(started.exists, "the flow started")
    if lost:
        Path(run.order.database_url).with_suffix(".lost").touch()
    go.touch()
    assert run.exited().exit_code == (ExitCode.CLAIM_LOST if lost else ExitCode.RECORDED)
    assert name.exists() is not lost
    assert ((20, f"Uploaded {name}: it gets its name now") in run.log()) is not lost


def test_an_unknown_deployment_fails_the_run_and_says_what_to_do(engine: EngineRoom) -> None:
    order = engine.order("nothing")

    run = engine.begin(engine.again(order, deployment_id="00000000-0000-4000-8000-000000000000"))
    run.exited()
    assert "headway deploy" in run.wrote("ended")["error"]


def test_a_flow_that_cannot_be_imported_fails_the_run_and_its_flow_run(engine: EngineRoom) -> None:
    run = engine.begin(engine.again(engine.order("nothing"), entrypoint="tests.support.sample_flows.no_such_flow"))
    run.exited()

    assert run.wrote("ended")["error"] == "LookupError: Module 'tests.support.sample_flows' has no flow 'no_such_flow'."
    assert engine.prefect.state_names(run.wrote("bind"))[-1] == "Failed"


def test_without_prefect_nothing_is_started(prefect_server: ServerForTests, engine: EngineRoom, tmp_path: Path) -> None:
    order = engine.order("nothing")
    nowhere = f"http://127.0.0.1:{free_port()}/api"

    with EngineRoom(prefect_server, tmp_path, PREFECT_API_URL=nowhere) as lonely:
        run = lonely.begin(order)
        assert run.exited().exit_code == ExitCode.RECORDED
    assert run.calls() == ["began", "not_started"]
    assert "Prefect cannot be reached" in run.wrote("not_started")


def test_a_wrong_login_starts_nothing(prefect_server: ServerForTests, engine: EngineRoom, tmp_path: Path) -> None:
    with EngineRoom(prefect_server, tmp_path, PREFECT_API_AUTH_STRING="headway:wrong") as stranger:
        run = stranger.begin(engine.order("nothing"))
        run.exited()
    assert run.calls() == ["began", "not_started"]


def test_the_outcome_is_known_even_if_prefect_dies_during_the_run(engine: EngineRoom, tmp_path: Path) -> None:
    go = tmp_path / "go"
    run = engine.begin(engine.order("waiting_for", started=str(tmp_path / "started"), go=str(go)))
    eventually((tmp_path / "started").exists, "the flow started")

    engine.prefect.server.stop(grace_seconds=0)
    try:
        go.touch()
        assert run.exited().exit_code == ExitCode.RECORDED
        assert run.wrote("ended")["kind"] == "completed"
        assert run.wrote("ended")["processed"] == 42
    finally:
        engine.prefect.server.start()


def test_the_process_that_is_forked_from_has_a_single_thread(engine: EngineRoom) -> None:
    engine.run("with_tasks")

    assert len(os.listdir(f"/proc/{engine.warm.pid}/task")) == 1
