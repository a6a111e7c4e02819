"""Coming due: every occurrence gets its one row, whatever the scheduler was doing at that instant."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import delete

from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunEventRow, RunRow
from headway.models.values.run import RunStatus, Trigger
from headway.privileges import OPERATOR
from headway.scheduler.store.runs import due_runs
from headway.scheduler.usecases.tasks.task_state import set_state
from tests.support.clock import utc
from tests.support.installation import Desk, task_named

EVERY_HOUR = "schedule: {cron: '0 * * * *'}, timezone: UTC"
BUSY = "Prefect is away"


def _state(desk: Desk, name: str, **values: bool) -> None:
    with writing(desk.engine) as session:
        set_state(session, desk.clock, OPERATOR, task_named(session, name), **values)


def test_a_task_comes_due_at_its_minute_and_not_before(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.clock.set("2026-11-23T15:59:59.999999")
    assert desk.turn() == []
    assert desk.runs() == []
    assert desk.turn("2026-11-23T16:00") == ["a"]
    row = desk.run("a")
    assert (row.due_at, row.trigger, row.status) == (utc("2026-11-23T16:00"), Trigger.SCHEDULE, RunStatus.STARTING)


def test_an_instant_is_accounted_for_once_however_many_turns_there_are(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    for second in range(3):
        desk.turn(f"2026-11-23T16:00:0{second}", problem=BUSY)
    assert desk.seen("a") == [("16:00", "waiting")]


def test_what_waits_is_superseded_by_the_next_occurrence(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.turn("2026-11-23T17:00", problem=BUSY)
    assert desk.seen("a") == [("16:00", "superseded"), ("17:00", "waiting")]
    superseded = desk.runs("a")[0]
    assert superseded.ended_at == utc("2026-11-23T17:00") and superseded.started_at is None
    assert "17:00" in superseded.message
    assert [event.after for event in desk.events(superseded.id)] == ["waiting", "superseded"]


def test_with_catch_up_all_each_stays_and_they_run_in_order(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, catch_up: all, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.turn("2026-11-23T17:00", problem=BUSY)
    assert desk.seen("a") == [("16:00", "waiting"), ("17:00", "waiting")]
    assert desk.turn() == ["a"]
    assert desk.seen("a") == [("16:00", "starting"), ("17:00", "waiting")]


def test_a_run_in_progress_is_never_superseded(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00")
    desk.turn("2026-11-23T17:00")
    desk.turn("2026-11-23T18:00")
    assert desk.seen("a") == [("16:00", "starting"), ("17:00", "superseded"), ("18:00", "waiting")]


def test_a_manual_run_neither_supersedes_nor_is_superseded(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.clock.set("2026-11-23T16:30")
    desk.run_now("a")
    desk.turn("2026-11-23T17:00", problem=BUSY)
    assert desk.seen("a") == [("16:00", "superseded"), ("16:30", "waiting"), ("17:00", "waiting")]


def test_after_downtime_the_last_is_due_and_the_earlier_ones_are_missed(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    assert desk.turn("2026-11-23T19:30") == ["a"]
    assert desk.seen("a") == [("16:00", "missed"), ("17:00", "missed"), ("18:00", "missed"), ("19:00", "starting")]
    missed = desk.runs("a")[0]
    assert missed.ended_at is not None and missed.started_at is None and "no worker" in missed.message


def test_after_downtime_with_catch_up_all_each_is_due(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, catch_up: all, {EVERY_HOUR}")
    desk.turn("2026-11-23T18:30", problem=BUSY)
    assert desk.seen("a") == [("16:00", "waiting"), ("17:00", "waiting"), ("18:00", "waiting")]


def test_after_a_long_downtime_several_transactions_account_for_it_before_anything_starts(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_runs, "MOST_AT_ONCE", 5)
    desk.tasks(
        f"name: b, type: job0, catch_up: all, {EVERY_HOUR}",
        f"name: a, type: job1, {EVERY_HOUR}",
        "name: c, type: job0, schedule: {cron: '30 15 * * *'}, timezone: UTC",
    )
    desk.clock.set("2026-11-23T22:30")
    turns = [desk.whole_turn() for _ in range(3)]
    assert [len(turn.orders) for turn in turns] == [0, 0, 2]
    assert all(turn.next_due_at == desk.clock.now() for turn in turns[:2])
    assert desk.seen("c") == [("15:30", "starting")]
    assert desk.seen("b") == [(f"{hour}:00", "waiting") for hour in range(16, 23)]
    assert desk.seen("a") == [*((f"{hour}:00", "missed") for hour in range(16, 22)), ("22:00", "starting")]
    assert {len(desk.events(run.id)) for run in desk.runs("b")} == {1}


def test_an_occurrence_that_waited_through_the_downtime_is_superseded_not_missed(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.turn("2026-11-23T18:10", problem=BUSY)
    assert desk.seen("a") == [("16:00", "superseded"), ("17:00", "missed"), ("18:00", "waiting")]


# count of occurrences -> rows missed one by one, what the summary's message must say
@pytest.mark.parametrize(
    ("occurrences", "rows", "more"),
    [
        (100, 99, None),
        (101, 100, None),
        (102, 101, None),  # 101 missed: 100 rows, then one that stands for itself alone
        (103, 101, "1 more"),
        (350, 101, "248 more between"),
    ],
)
def test_at_most_100_missed_rows_then_one_that_says_how_many_more(
    quick_desk: Desk, occurrences: int, rows: int, more: str | None
) -> None:
    quick_desk.tasks("name: a, type: job0, schedule: {cron: '* * * * *'}, timezone: UTC")
    quick_desk.clock.move(minutes=occurrences - 1, seconds=30)
    quick_desk.turn(problem=BUSY)
    missed = [row for row in quick_desk.runs("a") if row.status is RunStatus.MISSED]
    assert len(missed) == rows
    if more is not None:
        assert more in missed[0].message
        assert not any("more" in row.message for row in missed[1:])


def test_the_missed_rows_and_their_summary_account_for_every_occurrence(quick_desk: Desk) -> None:
    quick_desk.tasks("name: a, type: job0, schedule: {cron: '* * * * *'}, timezone: UTC")
    quick_desk.clock.move(minutes=349, seconds=30)
    quick_desk.turn(problem=BUSY)
    rows = quick_desk.runs("a")
    first, second = rows[0].due_at, rows[1].due_at
    between = (second - first) // timedelta(minutes=1) - 1
    assert f"{between} more" in rows[0].message
    assert len(rows) + between == 350


def test_a_task_of_a_single_time_is_due_once(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {once: '2026-11-23T16:30'}, timezone: UTC")
    assert desk.task("a").next_due_at == utc("2026-11-23T16:30")
    assert desk.turn("2026-11-23T18:00") == ["a"]
    desk.end("a")
    desk.turn("2026-11-24T18:00")
    assert desk.seen("a") == [("16:30", "completed")]
    assert desk.task("a").next_due_at is None


@pytest.mark.parametrize("state", [{"enabled": False}, {"historical": True}])
def test_a_task_out_of_use_gets_no_scheduled_runs(desk: Desk, state: dict[str, bool]) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}", f"name: b, type: job1, {EVERY_HOUR}")
    _state(desk, "a", **state)
    assert desk.turn("2026-11-23T18:00") == ["b"]
    assert desk.runs("a") == []
    assert desk.task("a").next_due_at is None


def test_nothing_is_made_up_for_of_the_time_in_which_it_was_disabled(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    _state(desk, "a", enabled=False)
    desk.clock.set("2026-11-23T18:30")
    _state(desk, "a", enabled=True)
    desk.turn("2026-11-23T19:00")
    assert desk.seen("a") == [("19:00", "starting")]


def test_an_edit_does_not_make_up_for_the_past(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {cron: '0 3 * * *'}, timezone: UTC")
    desk.clock.set("2026-11-23T18:30")
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn(problem=BUSY)
    assert desk.runs("a") == []
    desk.turn("2026-11-23T19:00", problem=BUSY)
    assert desk.seen("a") == [("19:00", "waiting")]


def test_an_edit_in_the_very_minute_of_an_occurrence_does_not_run_it_twice(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    assert desk.turn("2026-11-23T16:00") == ["a"]
    desk.end("a")
    desk.tasks("name: a, type: job0, description: new, schedule: {cron: '0 */2 * * *'}, timezone: UTC")
    desk.turn()
    desk.turn("2026-11-23T16:01")
    assert desk.seen("a") == [("16:00", "completed")]


def test_what_came_due_before_an_edit_keeps_its_row_though_no_turn_saw_it(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.clock.set("2026-11-23T17:30")  # no worker was alive at 16:00 and 17:00
    desk.tasks("name: a, type: job0, schedule: {cron: '45 * * * *'}, timezone: UTC")
    assert desk.seen("a") == [("16:00", "missed"), ("17:00", "waiting")]
    desk.turn("2026-11-23T17:45", problem=BUSY)
    assert desk.seen("a") == [("16:00", "missed"), ("17:00", "superseded"), ("17:45", "waiting")]


def test_what_came_due_before_it_was_disabled_is_missed_and_does_not_start(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.clock.set("2026-11-23T17:30")
    _state(desk, "a", enabled=False)
    assert desk.turn() == []
    assert desk.seen("a") == [("16:00", "missed"), ("17:00", "missed")]


def test_what_came_due_before_a_file_disabled_it_is_missed(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.clock.set("2026-11-23T17:30")
    desk.tasks(f"name: a, type: job0, enabled: false, {EVERY_HOUR}")
    assert desk.turn() == []
    assert desk.seen("a") == [("16:00", "missed"), ("17:00", "missed")]


def test_disabling_cancels_what_waits_by_schedule_and_leaves_what_somebody_asked_for(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.clock.set("2026-11-23T16:10")
    desk.run_now("a")
    _state(desk, "a", enabled=False)
    assert desk.seen("a") == [("16:00", "cancelled"), ("16:10", "waiting")]


def test_marking_historical_cancels_all_that_waits(desk: Desk) -> None:
    desk.tasks(f"name: a, type: job0, {EVERY_HOUR}")
    desk.turn("2026-11-23T16:00", problem=BUSY)
    desk.clock.set("2026-11-23T16:10")
    desk.run_now("a")
    _state(desk, "a", historical=True)
    assert desk.seen("a") == [("16:00", "cancelled"), ("16:10", "cancelled")]


def test_a_changed_zone_of_the_settings_moves_the_tasks_without_their_own(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {cron: '0 3 * * *'}")
    assert desk.task("a").next_due_at == utc("2026-11-24T08:00")
    desk.define("settings: {timezone: Europe/London}")
    assert desk.task("a").next_due_at == utc("2026-11-24T03:00")


def test_both_instants_of_a_repeated_hour_come_due_when_cron_says_so(quick_desk: Desk) -> None:
    quick_desk.clock.set("2026-11-01T04:00")
    quick_desk.tasks("name: a, type: job0, catch_up: all, schedule: {cron: '30 * * * *'}, timezone: America/New_York")
    quick_desk.turn("2026-11-01T07:00", problem=BUSY)
    assert [due for due, _ in quick_desk.seen("a")] == ["04:30", "05:30", "06:30"]


@how(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(1, 300), min_size=1, max_size=4),
    catch_up=st.sampled_from(["latest", "all"]),
    minutes=st.sampled_from([20, 60]),
)
def test_however_turns_fall_every_occurrence_has_exactly_one_row(
    quick_desk: Desk, gaps: list[int], catch_up: str, minutes: int
) -> None:
    quick_desk.clock.set("2026-11-23T15:30")
    name = f"{catch_up} {minutes} {gaps}"
    step = f"*/{minutes}" if minutes < 60 else "0"
    quick_desk.tasks(
        f"name: '{name}', type: job0, catch_up: {catch_up}, schedule: {{cron: '{step} * * * *'}}, timezone: UTC"
    )
    start = quick_desk.clock.now()
    with writing(quick_desk.engine) as session:
        uid = task_named(session, name).uid
        session.execute(delete(RunEventRow))
        session.execute(delete(RunRow).where(RunRow.task_uid == uid))
        task = task_named(session, name)
        task.accounted_at, task.next_due_at = start, start
    for gap in gaps:
        quick_desk.clock.move(minutes=gap)
        quick_desk.turn(problem=BUSY)
    expected = [
        start + timedelta(minutes=n)
        for n in range(sum(gaps) + 1)
        if (start + timedelta(minutes=n)).minute % minutes == 0
    ]
    rows = quick_desk.runs(name)
    left_out = sum(int(row.message.split("with ")[1].split(" ")[0]) for row in rows if "more" in row.message)
    assert len(rows) + left_out == len(expected)
    assert {row.due_at for row in rows} <= set(expected)
    waiting = [row for row in rows if row.status is RunStatus.WAITING]
    assert len(waiting) == (len(expected) if catch_up == "all" else min(1, len(expected)))
    if waiting:
        assert waiting[-1].due_at == expected[-1]
