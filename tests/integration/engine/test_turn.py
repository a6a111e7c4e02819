"""Turns on a real ledger: what starts when, in which order, and what holds the rest."""

import pytest

from headway.models.ledger.database import reading, writing
from headway.models.values.run import RunStatus
from headway.scheduler.engine.turn import take_turn
from headway.scheduler.planning.rules import judge
from headway.scheduler.store import workers
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.tasks import load_catalog, save_types
from tests.support.databases import TYPES
from tests.support.installation import Desk

DAILY = "[{name: Daily, days: [mon, tue, wed, thu, fri, sat, sun], start: '05:00', end: '06:00'}]"


def _at(cron: str, zone: str = "America/New_York") -> str:
    return f"schedule: {{cron: '{cron}'}}, timezone: {zone}"


def _holds(desk: Desk, name: str) -> list[str]:
    """The rules that hold the task's waiting run."""
    with reading(desk.engine) as session:
        picture = load_board(session, load_catalog(session), desk.clock.now(), problem=None)
    run = next(run for run in picture.waiting if run.task.name == name)
    return [hold.rule.value for hold in judge(run, picture.board, desk.clock.now())]


def test_a_turn_at_0830_starts_what_was_due_at_0815_and_one_at_0850_also_what_was_due_at_0845(desk: Desk) -> None:
    desk.tasks(f"name: early, type: job0, {_at('15 8 * * *')}", f"name: late, type: job1, {_at('45 8 * * *')}")
    desk.clock.set("2026-11-24T06:00-05:00")
    desk.turn()
    assert desk.turn("2026-11-24T08:30-05:00") == ["early"]
    assert desk.turn("2026-11-24T08:50-05:00") == ["late"]


def test_a_turn_at_0850_starts_both(desk: Desk) -> None:
    desk.tasks(f"name: late, type: job1, {_at('45 8 * * *')}", f"name: early, type: job0, {_at('15 8 * * *')}")
    assert desk.turn("2026-11-24T08:50-05:00") == ["early", "late"]


def test_what_is_due_at_0515_eastern_starts_at_0600_eastern(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('15 5 * * *')}", windows=DAILY)
    for at in ("05:15", "05:59:59.9"):
        assert desk.turn(f"2026-11-24T{at}-05:00") == []
        assert _holds(desk, "a") == ["window"]
    assert desk.turn("2026-11-24T06:00-05:00") == ["a"]


def test_a_task_that_must_run_in_the_window_starts_there_and_only_there(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, window: require, {_at('15 3 * * *')}", windows=DAILY)
    assert desk.turn("2026-11-24T03:15-05:00") == []
    assert desk.turn("2026-11-24T05:00-05:00") == ["a"]


def test_both_default_windows_are_kept_from_the_first_day_on(desk: Desk) -> None:
    desk.define("tasks: [{name: a, type: job0, schedule: {cron: '30 0,5 * * *'}}]")
    assert desk.turn("2026-11-30T00:30-05:00") == []  # a Monday
    assert desk.turn("2026-11-30T02:00-05:00") == ["a"]
    desk.end("a")
    assert desk.turn("2026-11-30T05:30-05:00") == []
    assert desk.turn("2026-11-30T06:00-05:00") == ["a"]
    desk.end("a")
    assert desk.turn("2026-12-01T00:30-05:00") == ["a"]  # a Tuesday


def test_a_run_starts_no_window_that_its_estimate_would_reach(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, expected_duration: '02:00:00', {_at('30 3 * * *')}", windows=DAILY)
    assert desk.turn("2026-11-24T03:30-05:00") == []
    assert desk.turn("2026-11-24T06:00-05:00") == ["a"]


def test_a_run_in_progress_is_left_alone_by_a_window(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('55 4 * * *')}", windows=DAILY)
    assert desk.turn("2026-11-24T04:55-05:00") == ["a"]
    desk.turn("2026-11-24T05:30-05:00")
    assert desk.run("a").status is RunStatus.STARTING


@pytest.mark.parametrize(("one", "other"), [("data_export", "data_export"), ("report_execution", "task_error_report")])
def test_two_of_one_group_never_overlap(desk: Desk, one: str, other: str) -> None:
    desk.tasks(f"name: a, type: {one}, {_at('0 8 * * *')}", f"name: b, type: {other}, {_at('0 8 * * *')}")
    assert desk.turn("2026-11-24T08:00-05:00") == ["a"]
    assert desk.turn() == []
    assert _holds(desk, "b") == ["group"]
    desk.clock.move(hours=5)
    assert desk.turn() == []
    desk.end("a", RunStatus.FAILED)
    assert desk.turn() == ["b"]


def test_a_task_never_overlaps_itself(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('0 * * * *')}")
    desk.turn("2026-11-24T08:00-05:00")
    assert desk.turn("2026-11-24T09:00-05:00") == []
    assert _holds(desk, "a") == ["busy", "group"]


def test_a_held_run_does_not_block_those_behind_it(desk: Desk) -> None:
    desk.tasks(
        f"name: a, type: report_execution, {_at('0 8 * * *')}",
        f"name: b, type: report_execution, {_at('1 8 * * *')}",
        f"name: c, type: job0, {_at('2 8 * * *')}",
    )
    assert desk.turn("2026-11-24T08:30-05:00") == ["a", "c"]


def test_runs_start_in_the_order_of_due_then_uid(desk: Desk) -> None:
    desk.tasks(
        f"name: second, type: job0, {_at('5 8 * * *')}",
        f"name: third, type: job1, {_at('5 8 * * *')}",
        f"name: first, type: job2, {_at('0 8 * * *')}",
    )
    assert desk.turn("2026-11-24T08:30-05:00") == ["first", "second", "third"]


def test_no_more_than_max_running_at_a_time(desk: Desk) -> None:
    desk.tasks(*(f"name: t{n}, type: job{n}, {_at('0 8 * * *')}" for n in range(4)), settings="max_running: 2")
    assert desk.turn("2026-11-24T08:00-05:00") == ["t0", "t1"]
    assert _holds(desk, "t2") == ["capacity"]
    desk.end("t1")
    assert desk.turn() == ["t2"]
    assert desk.turn() == []


def test_a_second_step_does_not_start_before_its_spacing(desk: Desk) -> None:
    desk.tasks(
        f"name: one, type: job0, {_at('0 8 * * *')}",
        "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}",
    )
    assert desk.turn("2026-11-24T08:05-05:00") == ["one"]  # late, and spacing counts from there
    desk.end("one")
    assert desk.turn("2026-11-24T09:04:59-05:00") == []
    assert desk.turn("2026-11-24T09:05-05:00") == ["two"]


def test_a_second_step_waits_for_the_first_to_end_however_long_that_takes(desk: Desk) -> None:
    desk.tasks(
        f"name: one, type: job0, {_at('0 8 * * *')}",
        "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}",
    )
    desk.turn("2026-11-24T08:00-05:00")
    desk.clock.set("2026-11-24T11:30-05:00")
    desk.run_now("two")
    assert desk.turn() == []
    assert _holds(desk, "two") == ["spacing"]
    desk.end("one")
    assert "two" in desk.turn()


def test_a_manual_run_of_a_step_keeps_its_distance_too(desk: Desk) -> None:
    desk.tasks(
        f"name: one, type: job0, {_at('0 8 * * *')}",
        "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}",
    )
    desk.run_now("one")
    desk.turn("2026-11-23T16:00")
    desk.end("one")
    desk.run_now("two")
    assert desk.turn("2026-11-23T16:59") == []
    assert desk.turn("2026-11-23T17:00") == ["two"]


def test_step_1_waits_until_its_chain_is_through(desk: Desk) -> None:
    desk.tasks(
        "name: one, type: job0, schedule: {cron: '0 * * * *'}, timezone: UTC",
        "name: two, type: job1, schedule: {after: one, spacing: '01:30:00'}",
    )
    assert desk.turn("2026-11-24T08:00") == ["one"]
    desk.end("one")
    assert desk.turn("2026-11-24T09:00") == []
    assert _holds(desk, "one") == ["spacing"]
    assert desk.turn("2026-11-24T09:30") == ["two"]
    assert desk.turn("2026-11-24T09:40") == []
    desk.end("two")
    assert desk.turn("2026-11-24T09:41") == ["one"]


def test_an_override_lifts_the_window_for_that_run_alone(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1", windows=DAILY)
    desk.clock.set("2026-11-24T05:15-05:00")
    desk.run_now("a", override=frozenset({"window"}), reason="the customer waits")
    desk.run_now("b")
    assert desk.turn() == ["a"]


def test_nothing_starts_while_prefect_cannot_be_reached(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('0 8 * * *')}")
    assert desk.turn("2026-11-24T08:00-05:00", problem="Prefect cannot be reached: connection refused") == []
    assert desk.run("a").status is RunStatus.WAITING
    assert desk.turn("2026-11-24T08:01-05:00") == ["a"]


def test_the_engine_rule_asks_the_workers_signs_of_life(desk: Desk) -> None:
    with reading(desk.engine) as session:
        assert "no worker is alive" in (workers.engine_problem(session, desk.clock.now()) or "")
    desk.worker_lives()
    with writing(desk.engine) as session:
        assert workers.engine_problem(session, desk.clock.now()) is None
        workers.beat(session, "worker-1", desk.clock.now(), "connection refused")
        assert "connection refused" in (workers.engine_problem(session, desk.clock.now()) or "")
        workers.beat(session, "worker-1", desk.clock.now(), None)
    desk.clock.move(seconds=60)
    with reading(desk.engine) as session:
        assert "no worker is alive" in (workers.engine_problem(session, desk.clock.now()) or "")


def test_a_failed_task_is_held_until_it_is_reset_and_others_go_on(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('0 * * * *')}", f"name: b, type: job1, {_at('0 * * * *')}")
    desk.turn("2026-11-24T08:00-05:00")
    desk.end("a", RunStatus.FAILED)
    desk.end("b")
    assert desk.turn("2026-11-24T09:00-05:00") == ["b"]
    assert _holds(desk, "a") == ["reset"]


def test_a_failed_task_that_says_continue_goes_on(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, on_failure: continue, {_at('0 * * * *')}")
    desk.turn("2026-11-24T08:00-05:00")
    desk.end("a", RunStatus.FAILED)
    assert desk.turn("2026-11-24T09:00-05:00") == ["a"]


# File name tokens


def test_tokens_are_resolved_at_the_claim_in_the_tasks_zone(desk: Desk) -> None:
    desk.tasks(
        f"name: Citations export, type: data_export, object: Citations, {_at('30 22 * * *')}, "
        "parameters: {file_name: '{object}_{date:%d.%m.%Y}_{time}_{sequence:04}.csv'}"
    )
    desk.turn("2026-11-25T04:00")
    assert desk.orders["Citations export"].parameters == {"file_name": "Citations_24.11.2026_2230_0001.csv"}


def test_a_default_of_the_schema_has_its_tokens_resolved_too(desk: Desk) -> None:
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}")
    desk.turn("2026-11-24T08:00-05:00")
    assert desk.orders["a"].parameters == {"file_name": "a_20261124_1.csv"}


def test_a_token_error_fails_the_run_at_once_and_skips_its_steps(desk: Desk) -> None:
    desk.tasks(
        f"name: one, type: data_export, retries: 3, {_at('0 8 * * *')}",
        "name: two, type: job0, schedule: {after: one, spacing: '01:00:00'}",
    )
    desk.change(desk.task("one"), parameters={"file_name": "{no_such}.csv"})  # saved before the type had tokens
    assert desk.turn("2026-11-24T08:00-05:00") == []
    row = desk.run("one")
    assert row.status is RunStatus.FAILED and row.error is not None and "no_such" in row.error
    assert row.ended_at == desk.clock.now() and desk.locks() == set()
    assert desk.task("one").failed_run_id == row.id
    assert desk.run("two").status is RunStatus.SKIPPED
    assert desk.turn("2026-11-25T08:00-05:00") == []
    assert _holds(desk, "one") == ["reset"]


def test_the_order_names_all_that_a_start_needs(desk: Desk) -> None:
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}, parameters: {{rows: 3}}")
    desk.turn("2026-11-24T08:00-05:00")
    order = desk.orders["a"]
    assert (order.deployment_id, order.entrypoint, order.attempt) == ("d1", "f.x.e", 1)
    assert order.parameters["rows"] == 3 and order.flow_run_id is None
    assert order.due_at == "2026-11-24T13:00:00+00:00"


def test_the_running_process_keeps_the_parameters_it_started_with(desk: Desk) -> None:
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}, parameters: {{rows: 3}}")
    desk.turn("2026-11-24T08:00-05:00")
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}, parameters: {{rows: 4}}")
    assert (desk.run("a").parameters or {})["rows"] == 3


def test_a_turn_sees_an_edit_that_its_caller_has_not_seen_yet(desk: Desk) -> None:
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}, parameters: {{rows: 3}}")
    with reading(desk.engine) as session:
        old_catalog = load_catalog(session)
    desk.tasks(f"name: a, type: data_export, {_at('0 8 * * *')}, parameters: {{rows: 4}}")
    now = desk.clock.set("2026-11-24T08:00-05:00")
    with writing(desk.engine) as session:
        turn = take_turn(session, old_catalog, worker_id="w", database_url="", now=now, problem=None)
    assert turn.orders[0].parameters["rows"] == 4


def test_a_type_that_was_taken_from_prefect_keeps_its_tasks(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('0 8 * * *')}")
    with writing(desk.engine) as session:
        save_types(session, TYPES[:4], desk.clock.now())
    assert desk.task("a").type == "job0"
    with reading(desk.engine) as session:
        catalog = load_catalog(session)
        assert set(catalog.resolved.types) == {one.name for one in TYPES[:4]} | {"job0"}


def test_a_turn_says_when_it_is_worth_taking_the_next(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {_at('0 8 * * *')}", f"name: b, type: job0, {_at('5 8 * * *')}")
    desk.clock.set("2026-11-24T08:00-05:00")
    turn = desk.whole_turn()
    assert (len(turn.orders), turn.held) == (1, 0)
    assert f"{turn.next_due_at:%H:%M}" == "13:05"
    desk.clock.move(minutes=5)
    assert desk.whole_turn().held == 1
