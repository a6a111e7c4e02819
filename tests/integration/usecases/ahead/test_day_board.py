"""The day board: the ledger left of now, the forecast right of it, and not more than a screen can hold."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from headway.models.ledger.database import reading, writing
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.usecases.ahead.day_board import Bar, BoardQuery, DayBoard, day_board
from headway.scheduler.usecases.ahead.look_ahead import Ahead, look_ahead
from headway.scheduler.usecases.windows.release_window import release_window
from tests.support.clock import utc
from tests.support.installation import Desk

HOUR = timedelta(hours=1)
WINDOWS = "[{name: Daily maintenance, days: [mon, tue, wed, thu, fri, sat, sun], start: '05:00', end: '06:00'}]"
START, END = utc("2026-11-24T00:00-05:00"), utc("2026-11-25T00:00-05:00")


def _ahead(desk: Desk, until: datetime = END, known: Ahead | None = None) -> Ahead:
    with reading(desk.engine) as session:
        return look_ahead(session, desk.clock, OPERATOR, until, known=known)


def _board(desk: Desk, *, forecast: bool = True, most: int = 1000, **query: Any) -> DayBoard:
    ahead = _ahead(desk) if forecast else None
    asked = BoardQuery(**{"start": START, "end": END, "slot": HOUR, **query})
    with reading(desk.engine) as session:
        return day_board(session, desk.clock, OPERATOR, asked, ahead=ahead, most=most)


def _seen(bars: list[Bar]) -> list[tuple[str, str, str, str]]:
    """(task, result, start, end) in New York's time that day."""
    return [(bar.task, bar.status.value if bar.status else "planned", *_local(bar)) for bar in bars]


def _local(bar: Bar) -> tuple[str, str]:
    behind = timedelta(hours=5)
    return f"{bar.start_at - behind:%H:%M}", f"{bar.end_at - behind:%H:%M}"


@pytest.fixture
def morning(desk: Desk) -> Desk:
    """Tuesday 08:20: one export failed, a reload is in progress, a report is still to come."""
    desk.tasks(
        "name: export, type: job0, schedule: {cron: '15 5 * * *'}, expected_duration: '00:10:00'",
        "name: load, type: job1, schedule: {cron: '0 8 * * *'}, expected_duration: '00:30:00'",
        "name: report, type: job2, schedule: {after: load, spacing: '02:00:00'}",
        windows=WINDOWS,
    )
    assert desk.turn("2026-11-24T06:00-05:00") == ["export"]
    desk.clock.set("2026-11-24T06:07-05:00")
    desk.end("export", RunStatus.FAILED, error="permission denied")
    assert desk.turn("2026-11-24T08:00-05:00") == ["load"]
    desk.clock.set("2026-11-24T08:20-05:00")
    return desk


def test_real_bars_stand_left_of_now_and_planned_ones_right_of_it(morning: Desk) -> None:
    board = _board(morning)
    assert _seen(board.bars) == [
        ("export", "failed", "06:00", "06:07"),
        ("load", "running", "08:00", "08:30"),
        ("report", "planned", "10:00", "10:01"),
    ]
    failed, running, planned = board.bars
    assert failed.due_at == utc("2026-11-24T05:15-05:00") and failed.reason == "permission denied"
    assert running.run_id == morning.run("load").id and running.next_from == utc("2026-11-24T10:00-05:00")
    assert planned.run_id is None and planned.step == 2 and planned.next_from is None
    assert board.runs == 3 and board.forecast_until == END


def test_without_a_forecast_a_run_in_progress_lasts_until_now(morning: Desk) -> None:
    board = _board(morning, forecast=False)
    assert _seen(board.bars)[1:] == [("load", "starting", "08:00", "08:20")]
    assert board.forecast_until is None


def test_a_run_over_midnight_is_on_both_days(morning: Desk) -> None:
    morning.tasks("name: late, type: job3, schedule: {cron: '50 23 * * *'}, window: allow", windows=WINDOWS)
    morning.clock.set("2026-11-24T23:50-05:00")
    assert "late" in morning.turn()
    morning.clock.set("2026-11-25T00:10-05:00")
    morning.end("late")
    for start in (START, END):
        board = _board(morning, forecast=False, start=start, end=start + timedelta(days=1))
        assert ("late", "completed", "23:50", "00:10") in _seen(board.bars)


def test_what_never_ran_is_a_mark_at_its_due(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, schedule: {cron: '15,45 5 * * *'}", windows=WINDOWS)
    desk.turn("2026-11-24T05:15-05:00")
    desk.turn("2026-11-24T05:45-05:00")
    superseded, waiting = _board(desk).bars
    assert superseded.status is RunStatus.SUPERSEDED and not superseded.starts
    assert superseded.start_at == superseded.end_at == utc("2026-11-24T05:15-05:00")
    assert waiting.status is RunStatus.WAITING and waiting.start_at == utc("2026-11-24T06:00-05:00")
    assert "window" in waiting.reason.lower()


def test_windows_are_there_reserved_and_released(morning: Desk) -> None:
    with writing(morning.engine) as session:
        release_window(session, morning.clock, OPERATOR, "Daily maintenance", date(2026, 11, 25))
    board = _board(morning, end=END + timedelta(days=1))
    assert [(one.day, one.reserved) for one in board.occurrences] == [
        (date(2026, 11, 24), True),
        (date(2026, 11, 25), False),
    ]


def test_a_type_or_a_word_narrows_it(morning: Desk) -> None:
    assert [bar.task for bar in _board(morning, type="job1").bars] == ["load"]
    assert [bar.task for bar in _board(morning, search="REP").bars] == ["report"]
    assert _board(morning, search="100%").bars == []


def test_too_many_runs_are_summed_up_by_type_and_slot(morning: Desk) -> None:
    board = _board(morning, most=2)
    assert board.bars == [] and board.runs == 3
    seen = [(slot.type, slot.status, slot.start_at, slot.count) for slot in board.slots]
    assert seen == [
        ("job0", RunStatus.FAILED, utc("2026-11-24T06:00-05:00"), 1),
        ("job1", RunStatus.RUNNING, utc("2026-11-24T08:00-05:00"), 1),
        ("job2", None, utc("2026-11-24T10:00-05:00"), 1),
    ]
    assert [slot.type for slot in _board(morning, most=0, search="exp").slots] == ["job0"]


def test_a_forecast_is_given_again_until_something_happens(morning: Desk) -> None:
    first = _ahead(morning)
    morning.clock.move(seconds=59)
    assert _ahead(morning, known=first) is first
    assert _ahead(morning, END + HOUR, known=first) is not first  # it did not look so far
    morning.end("load")
    second = _ahead(morning, known=first)
    assert second is not first and second.active == frozenset()
    morning.clock.move(seconds=61)
    third = _ahead(morning, known=second)
    assert third is not second
    morning.define("tasks: [{name: more, type: job0}]")
    assert _ahead(morning, known=third) is not third


def test_with_very_many_tasks_it_says_how_far_it_looked(morning: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headway.scheduler.usecases.ahead.look_ahead.TASK_DAYS", 0.3
    )  # three tasks, a tenth of a day each
    until = utc("2026-11-24T10:44-05:00")
    assert _ahead(morning).until == until
    assert _board(morning).forecast_until == until
