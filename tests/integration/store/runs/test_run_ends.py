"""How runs end: results, retries, what follows in the chain, what is learned, and runs that got lost."""

import logging
from datetime import timedelta

import pytest

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.store.queries.run_detail import last_lines
from headway.scheduler.store.runs.run_ends import cancel_waiting
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.store.tasks import load_chain_catalog
from headway.scheduler.usecases.tasks.task_state import set_state
from tests.support.clock import utc
from tests.support.databases import url_of
from tests.support.installation import Desk, task_named

DONE, ERRORS, FAILED, CANCELLED = (
    RunStatus.COMPLETED,
    RunStatus.COMPLETED_WITH_ERRORS,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
)
CHAIN = (
    "name: one, type: job0, schedule: {cron: '0 16 * * *'}, timezone: UTC",
    "name: two, type: job1, schedule: {after: one, spacing: '01:00:00'}",
    "name: three, type: job2, schedule: {after: two, spacing: '00:30:00'}",
)
START = "2026-11-23T16:00"


# what the flow said -> how the run ends
@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome(kind="completed", processed=10), DONE),
        (Outcome(kind="completed", processed=10, errors=1), ERRORS),
        (Outcome(kind="failed", error="ValueError: no"), FAILED),
        (Outcome(kind="cancelled", message="stopped"), CANCELLED),
    ],
)
def test_a_run_ends_as_its_flow_says(desk: Desk, outcome: Outcome, status: RunStatus) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.began(identify_self()) and ledger.running() and ledger.ended(outcome)
    ledger.close()
    row, task = desk.run("a"), desk.task("a")
    assert (row.status, row.error, row.errors) == (status, outcome.error, outcome.errors)
    assert row.ended_at is not None and row.process_id == 0
    assert desk.locks() == set()
    assert task.last_run_id == row.id
    assert task.failed_run_id == (row.id if status is FAILED else None)
    assert [event.after for event in desk.events(row.id)] == ["waiting", "starting", "running", status.value]


def test_a_failed_run_counts_the_error_lines_of_its_last_attempt(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, retries: 1, retry_delay: '00:01:00'")
    desk.run_now("a")
    for lines in (3, 2):
        desk.turn()
        order = desk.orders["a"]
        ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
        assert ledger.began(identify_self())
        at = desk.clock.now()
        bad = [LogLine(at, logging.ERROR, "flow", f"row {n}: no key") for n in range(lines)]
        assert ledger.log([*bad, LogLine(at, logging.WARNING, "flow", "a slow server")])
        ledger.close()
        desk.end("a", FAILED, error="ValueError: no")
        desk.clock.move(minutes=2)
    assert (desk.run("a").status, desk.run("a").errors) == (FAILED, 2)


def test_a_run_ends_once(desk: Desk) -> None:
    desk.tasks("name: a, type: job0")
    desk.run_now("a")
    desk.turn()
    assert desk.end("a", FAILED, error="first word")
    assert not desk.end("a", DONE)
    assert (desk.run("a").status, desk.run("a").error) == (FAILED, "first word")


# Retries


def test_a_failed_run_is_retried_after_the_delay_as_often_as_the_task_says(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, retries: 2, retry_delay: '00:05:00'")
    desk.clock.set(START)
    desk.run_now("a")
    assert desk.turn() == ["a"]
    for attempt, back_at in ((1, "16:05"), (2, "16:10")):
        assert desk.orders["a"].attempt == attempt
        desk.end("a", FAILED, error=f"attempt {attempt}")
        row = desk.run("a")
        assert (row.status, row.attempt, row.process_id, row.claim) == (RunStatus.WAITING, attempt, 0, None)
        assert row.retry_at == utc(f"2026-11-23T{back_at}") and row.ended_at is None
        assert desk.locks() == set()
        desk.clock.move(minutes=4, seconds=59)
        assert desk.turn() == []
        desk.clock.move(seconds=1)
        assert desk.turn() == ["a"]
    desk.end("a", FAILED, error="attempt 3")
    assert (desk.run("a").status, desk.run("a").attempt, desk.run("a").error) == (FAILED, 3, "attempt 3")
    assert desk.task("a").failed_run_id == desk.run("a").id


def test_a_retry_keeps_its_file_name_and_no_other_run_gets_it(desk: Desk) -> None:
    schedule = "schedule: {once: '2026-11-23T16:00'}, timezone: UTC"
    desk.tasks(f"name: a, type: data_export, retries: 1, retry_delay: '01:00:00', {schedule}")
    assert desk.turn(START) == ["a"]
    first = desk.orders["a"]
    desk.end("a", FAILED, error="no")
    desk.clock.move(minutes=5)
    names = [first.parameters["file_name"]]
    for retried in (False, True, False):
        if retried:
            desk.clock.set("2026-11-23T17:00")
        else:
            desk.run_now("a")
        assert desk.turn() == ["a"]
        names.append(desk.orders["a"].parameters["file_name"])
        assert (desk.orders["a"].run_id == first.run_id) is retried
        desk.end("a")
        desk.clock.move(minutes=5)
    assert names == ["a_20261123_1.csv", "a_20261123_2.csv", "a_20261123_1.csv", "a_20261123_3.csv"]


@pytest.mark.parametrize(("state", "asked_for", "again"), [
    ("historical", True, False), ("disabled", True, True), ("disabled", False, False),
])  # fmt: skip
def test_what_was_taken_out_of_use_is_not_retried(desk: Desk, state: str, asked_for: bool, again: bool) -> None:
    desk.tasks("name: a, type: job0, retries: 3, schedule: {once: '2026-11-23T16:00'}, timezone: UTC")
    if asked_for:
        desk.run_now("a")
    assert desk.turn("2026-11-23T15:30" if asked_for else "2026-11-23T16:00") == ["a"]
    with writing(desk.engine) as session:
        values = {"historical": True} if state == "historical" else {"enabled": False}
        set_state(session, desk.clock, OPERATOR, task_named(session, "a"), **values)
    run_id = desk.orders["a"].run_id
    desk.end("a", FAILED, error="no")
    (row,) = [row for row in desk.runs("a") if row.id == run_id]
    assert row.status is (RunStatus.WAITING if again else FAILED)


def test_what_fails_while_it_is_made_to_end_was_cancelled(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1, schedule: {after: a}")
    desk.run_now("a")
    desk.turn()
    desk.change(desk.run("a"), cancel_asked_by="olga")
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.ended(Outcome(kind="failed", error="the socket was closed while it tidied up"))
    ledger.close()
    row = desk.run("a")
    assert (row.status, row.error) == (CANCELLED, "the socket was closed while it tidied up")
    assert desk.task("a").failed_run_id is None


def test_a_permanent_failure_is_not_retried(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, retries: 3")
    desk.run_now("a")
    desk.turn()
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.ended(Outcome(kind="failed", error="login refused", permanent=True))
    ledger.close()
    assert desk.run("a").status is FAILED


def test_a_cancelled_run_is_not_retried(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, retries: 3")
    desk.run_now("a")
    desk.turn()
    desk.end("a", CANCELLED)
    assert desk.run("a").status is CANCELLED


# Chains


@pytest.mark.parametrize(
    ("length_minutes", "due"),
    [(20, "17:00"), (60, "17:00"), (90, "17:30")],  # spacing from the start, but not before the end
)
@pytest.mark.parametrize("status", [DONE, ERRORS])
def test_the_next_step_waits_from_the_end_on_and_is_due_by_start_and_end(
    desk: Desk, length_minutes: int, due: str, status: RunStatus
) -> None:
    desk.tasks(*CHAIN)
    assert desk.turn(START) == ["one"]
    assert desk.runs("two") == []
    desk.clock.move(minutes=length_minutes)
    desk.end("one", status)
    row = desk.run("two")
    assert (f"{row.due_at:%H:%M}", row.status, row.trigger.value, row.step) == (due, RunStatus.WAITING, "chain", 2)
    assert row.cause_run_id == desk.run("one").id
    assert desk.runs("three") == []


@pytest.mark.parametrize(("status", "word"), [(FAILED, "failed"), (CANCELLED, "cancelled")])
def test_every_step_behind_one_that_fails_or_is_cancelled_is_skipped_and_names_it(
    desk: Desk, status: RunStatus, word: str
) -> None:
    desk.tasks(*CHAIN)
    desk.turn(START)
    desk.end("one", status, error="no" if status is FAILED else None)
    cause = desk.run("one").id
    for name in ("two", "three"):
        row = desk.run(name)
        assert (row.status, row.cause_run_id) == (RunStatus.SKIPPED, cause)
        assert "'one'" in row.message and word in row.message and str(cause) in row.message
        assert row.ended_at is not None and row.started_at is None
    assert desk.task("two").failed_run_id is None


def test_several_steps_may_follow_one(desk: Desk) -> None:
    desk.tasks(*CHAIN, "name: beside, type: job3, schedule: {after: one, spacing: '02:00:00'}")
    desk.turn(START)
    desk.end("one")
    assert desk.seen("two") == [("17:00", "waiting")]
    assert desk.seen("beside") == [("18:00", "waiting")]


def test_a_step_that_says_stop_is_skipped_behind_errors(desk: Desk) -> None:
    desk.tasks(*CHAIN[:1], f"{CHAIN[1]}, on_errors: stop", CHAIN[2])
    desk.turn(START)
    desk.end("one", ERRORS)
    assert [desk.run(name).status for name in ("two", "three")] == [RunStatus.SKIPPED, RunStatus.SKIPPED]
    assert "errors" in desk.run("two").message


@pytest.mark.parametrize("out_of_use", ["enabled: false", "historical: true"])
@pytest.mark.parametrize("status", [DONE, FAILED])
def test_a_chain_ends_at_a_step_out_of_use(desk: Desk, out_of_use: str, status: RunStatus) -> None:
    desk.tasks(CHAIN[0], f"{CHAIN[1]}, {out_of_use}", CHAIN[2])
    desk.turn(START)
    desk.end("one", status)
    assert desk.runs("two") == desk.runs("three") == []


def test_a_superseded_or_missed_run_has_nothing_behind_it(desk: Desk) -> None:
    desk.tasks("name: one, type: job0, schedule: {cron: '0 * * * *'}, timezone: UTC", *CHAIN[1:])
    desk.turn("2026-11-23T16:00", problem="away")
    desk.turn("2026-11-23T19:00", problem="away")
    assert desk.seen("one") == [
        ("16:00", "superseded"),
        ("17:00", "missed"),
        ("18:00", "missed"),
        ("19:00", "waiting"),
    ]
    assert desk.runs("two") == []


def test_a_manual_run_goes_on_to_the_next_step_only_if_asked(desk: Desk) -> None:
    desk.tasks(*CHAIN)
    desk.run_now("one")
    desk.turn()
    desk.end("one")
    assert desk.runs("two") == []
    desk.clock.move(hours=1)
    desk.run_now("one", follow=True)
    desk.turn()
    desk.end("one", FAILED)
    assert [row.status for row in desk.runs("two")] == [RunStatus.SKIPPED]


def test_a_manual_run_that_fails_skips_nothing_unless_it_was_to_follow(desk: Desk) -> None:
    desk.tasks(*CHAIN)
    desk.run_now("one")
    desk.turn()
    desk.end("one", FAILED)
    assert desk.runs("two") == []


def test_a_waiting_step_that_is_cancelled_skips_those_behind_it(desk: Desk) -> None:
    desk.tasks(*CHAIN)
    desk.turn(START)
    desk.end("one")
    run_id = desk.run("two").id
    assert run_id is not None
    with writing(desk.engine) as session:
        catalog = load_chain_catalog(session, id_of(desk.task("two")))
        assert cancel_waiting(session, catalog, run_id, now=desk.clock.now(), who="ann", why="not today")
        assert not cancel_waiting(session, catalog, run_id, now=desk.clock.now(), who="ann", why="not today")
    assert desk.run("two").status is CANCELLED
    assert desk.run("three").status is RunStatus.SKIPPED and "'two'" in desk.run("three").message


def test_a_retried_step_lets_the_chain_go_on_only_once(desk: Desk) -> None:
    desk.tasks(f"{CHAIN[0]}, retries: 1, retry_delay: '00:10:00'", *CHAIN[1:])
    desk.turn(START)
    desk.end("one", FAILED)
    assert desk.runs("two") == []
    assert desk.turn("2026-11-23T16:10") == ["one"]
    desk.end("one")
    assert desk.seen("two") == [("17:10", "waiting")]  # an hour after the start that counted


# What is learned


@pytest.mark.parametrize(
    ("minutes", "learned"),
    [
        ([5, 5], None),  # fewer than three
        ([5, 7, 6], 7),
        ([*range(1, 21)], 19),  # the 95th percentile of twenty
        ([60] * 5 + [1] * 20, 1),  # only the last twenty
    ],
)
def test_a_tasks_estimate_is_the_95th_percentile_of_its_last_20_good_runs(
    quick_desk: Desk, minutes: list[int], learned: int | None
) -> None:
    quick_desk.tasks("name: a, type: job0, on_failure: continue")
    for number, length in enumerate(minutes):
        quick_desk.run_now("a")
        quick_desk.turn()
        quick_desk.clock.move(minutes=length)
        quick_desk.end("a", ERRORS if number % 2 else DONE)
        if number == 1:
            quick_desk.run_now("a")
            quick_desk.turn()
            quick_desk.clock.move(hours=9)
            quick_desk.end("a", FAILED)  # teaches nothing
    found = quick_desk.task("a").learned_duration
    assert found == (None if learned is None else timedelta(minutes=learned))


def test_a_failed_tasks_mark_goes_with_its_next_good_end(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, on_failure: continue")
    for status, marked in ((FAILED, True), (DONE, False), (FAILED, True), (CANCELLED, False)):
        desk.run_now("a")
        assert desk.turn() == ["a"]
        desk.end("a", status)
        assert (desk.task("a").failed_run_id is not None) is marked
        desk.clock.move(minutes=1)


@pytest.mark.parametrize("hostile", ["caf\udce9.csv", "a\0b"])
def test_a_text_that_no_database_takes_loses_neither_log_nor_result(desk: Desk, hostile: str) -> None:
    desk.tasks("name: a, type: report_execution")
    desk.worker_lives()
    desk.run_now("a")
    desk.turn()
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.running()
    assert ledger.log([LogLine(desk.clock.now(), 40, "flow", "before"), LogLine(desk.clock.now(), 40, "flow", hostile)])
    assert ledger.receipt({"name": hostile, "path": f"/import/{hostile}", "bytes": 1, "sha256": "ab"})
    assert ledger.ended(Outcome(kind="failed", message=hostile, error=f"FileNotFoundError: {hostile}", permanent=True))
    ledger.close()
    row = desk.run("a")
    shown = hostile.translate({0: "�", 0xDCE9: "�"})
    assert (row.status, row.error) == (FAILED, f"FileNotFoundError: {shown}")
    with reading(desk.engine) as session:
        lines = [line.message for line in last_lines(session, order.run_id, 9)]
    assert lines == ["before", shown]


def test_each_of_two_runs_that_started_at_the_same_instant_has_its_next_step(desk: Desk) -> None:
    """A clock that stands still, or was set back: the step's due is the same for both."""
    desk.tasks(
        "name: a, type: job0, on_failure: continue, catch_up: all, schedule: {cron: '0 * * * *'}",
        "name: b, type: job1, schedule: {after: a, spacing: '00:30:00'}",
    )
    assert desk.turn("2026-11-23T18:00") == ["a"]
    desk.end("a", RunStatus.FAILED, error="the process was ended by SIGKILL")
    assert desk.turn() == ["a"]
    desk.end("a")
    assert [row.status for row in desk.runs("b")] == [RunStatus.SKIPPED, RunStatus.WAITING]
    assert len({row.cause_run_id for row in desk.runs("b")}) == 2
