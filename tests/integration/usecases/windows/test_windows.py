"""Windows edited one by one, and which runs a change would move before it is saved."""

from datetime import date, datetime, timedelta
from typing import Any

import pytest

from headway.errors import InvalidInput, Refused
from headway.models.ledger.database import reading, writing
from headway.privileges import OPERATOR
from headway.scheduler.planning.definitions.document import WindowSection
from headway.scheduler.usecases.windows.browse_windows import windows
from headway.scheduler.usecases.windows.edit_windows import checked_window, delete_window, save_window
from headway.scheduler.usecases.windows.release_window import release_window
from headway.scheduler.usecases.windows.window_change import Moved, Preview, preview_release, preview_windows
from tests.support.clock import utc
from tests.support.installation import Desk

TUESDAY, WEDNESDAY = date(2026, 11, 24), date(2026, 11, 25)
DAILY = "Daily maintenance"
AT_0515 = "name: early, type: job0, schedule: {cron: '15 5 * * *'}"
BOTH = (
    "[{name: Monday maintenance, days: [mon], start: '00:01', end: '02:00'}, "
    "{name: Daily maintenance, days: [mon, tue, wed, thu, fri, sat, sun], start: '05:00', end: '06:00'}]"
)


def _stored(desk: Desk) -> dict[str, WindowSection]:
    with reading(desk.engine) as session:
        return {one.name: one for one in windows(session, OPERATOR)}


def _window(name: str = DAILY, **changes: Any) -> WindowSection:
    values = {"name": name, "days": ["tue", "wed"], "start": "05:00", "end": "06:00", **changes}
    return checked_window(values)


def _save(desk: Desk, section: WindowSection, opened: WindowSection | None) -> bool:
    with writing(desk.engine) as session:
        return save_window(session, desk.clock, OPERATOR, section, opened=opened)


def _delete(desk: Desk, opened: WindowSection) -> bool:
    with writing(desk.engine) as session:
        return delete_window(session, desk.clock, OPERATOR, opened)


def _release(desk: Desk, day: date) -> None:
    with writing(desk.engine) as session:
        release_window(session, desk.clock, OPERATOR, DAILY, day)


def _preview(desk: Desk, *sections: WindowSection, until: datetime | None = None) -> Preview:
    with reading(desk.engine) as session:
        return preview_windows(session, desk.clock, OPERATOR, sections, until=until)


def _times(moved: list[Moved]) -> list[tuple[str, str | None, str | None]]:
    return [(one.task, _short(one.before), _short(one.after)) for one in moved]


def _short(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%a %H:%M}"


# Editing


def test_a_new_window_holds_from_then_on(desk: Desk) -> None:
    desk.tasks(AT_0515)
    assert _save(desk, _window("New one"), None)
    assert desk.turn("2026-11-24T05:15-05:00") == []
    assert desk.turn("2026-11-24T06:00-05:00") == ["early"]


def test_an_edited_window_holds_at_its_new_time_and_keeps_its_releases(desk: Desk) -> None:
    desk.tasks(AT_0515, windows=BOTH)
    _release(desk, TUESDAY)
    _release(desk, WEDNESDAY)
    opened = _stored(desk)[DAILY]
    changed = checked_window({**opened.model_dump(), "days": ["wed", "thu"], "end": "07:00"})
    assert _save(desk, changed, opened)
    assert _stored(desk)[DAILY].released == [WEDNESDAY]  # it has no Tuesdays any more
    assert desk.turn("2026-11-25T05:15-05:00") == ["early"]
    desk.end("early")
    assert desk.turn("2026-11-26T06:59-05:00") == []
    assert desk.turn("2026-11-26T07:00-05:00") == ["early"]


def test_a_renamed_window_keeps_its_releases_and_its_place(desk: Desk) -> None:
    desk.tasks(windows=BOTH)
    _release(desk, WEDNESDAY)
    opened = _stored(desk)[DAILY]
    assert _save(desk, opened.model_copy(update={"name": "Every morning"}), opened)
    assert list(_stored(desk)) == ["Monday maintenance", "Every morning"]
    assert _stored(desk)["Every morning"].released == [WEDNESDAY]
    row = desk.audit("edit window")[-1]
    assert (row.before["name"], row.after["name"]) == (DAILY, "Every morning")


def test_the_second_of_two_editors_is_told(desk: Desk) -> None:
    desk.tasks(windows=BOTH)
    opened = _stored(desk)[DAILY]
    assert _save(desk, opened.model_copy(update={"days": ["mon"]}), opened)
    with pytest.raises(Refused, match="somebody has changed 'Daily maintenance' since you opened it"):
        _save(desk, opened.model_copy(update={"days": ["sun"]}), opened)
    with pytest.raises(Refused, match="since you opened it"):
        _delete(desk, opened)
    assert _stored(desk)[DAILY].days == ["mon"]


def test_a_name_that_is_taken_is_refused(desk: Desk) -> None:
    desk.tasks(windows=BOTH)
    taken = _window("Monday maintenance")
    for opened in (None, _stored(desk)[DAILY]):
        with pytest.raises(InvalidInput, match="name: there is a maintenance window 'Monday maintenance' already"):
            _save(desk, taken, opened)


def test_the_last_window_stays_while_a_task_needs_one(desk: Desk) -> None:
    desk.tasks("name: needy, type: job0, window: require", windows=BOTH)
    assert _delete(desk, _stored(desk)[DAILY])
    with pytest.raises(InvalidInput, match="only maintenance window, and 'needy' must run in one: define another"):
        _delete(desk, _stored(desk)["Monday maintenance"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "name: a name cannot be empty"),
        ({"days": []}, "days: .*name at least one of mon"),
        ({"start": "25:00"}, "start: not a time of day; write it like \"05:00\" .*'25:00'"),
        ({"end": "noon"}, "end: not a time of day"),
        ({"timezone": "Mars/Olympus"}, "timezone: unknown time zone 'Mars/Olympus': use an IANA name"),
    ],
)
def test_invalid_input_names_field_value_and_remedy(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        _window(**changes)


# What would move


def test_what_a_clock_change_swallows_cannot_be_released(desk: Desk) -> None:
    desk.tasks(windows="[{name: Gap, days: [sun], start: '02:15', end: '02:45', timezone: America/New_York}]")
    with pytest.raises(InvalidInput, match="no occurrence on Sun 2027-03-14"), writing(desk.engine) as session:
        release_window(session, desk.clock, OPERATOR, "Gap", date(2027, 3, 14))


def test_a_release_moves_the_run_that_avoids_the_window_and_nobody_else(desk: Desk) -> None:
    desk.tasks(AT_0515, "name: noon, type: job1, schedule: {cron: '0 12 * * *'}", windows=BOTH)
    with reading(desk.engine) as session:
        found = preview_release(session, desk.clock, OPERATOR, DAILY, WEDNESDAY, reserve=False)
    assert _times(found.moved) == [("early", "Wed 11:00", "Wed 10:15")]  # UTC
    assert found.runs == 6 and "maintenance window" in found.moved[0].reason.lower()
    _release(desk, WEDNESDAY)  # what was shown is what is enforced
    assert "early" in desk.turn("2026-11-24T06:00-05:00")
    desk.end("early")
    assert "early" in desk.turn("2026-11-25T05:15-05:00")


def test_to_reserve_it_again_moves_it_back(desk: Desk) -> None:
    desk.tasks(AT_0515, windows=BOTH)
    _release(desk, WEDNESDAY)
    with reading(desk.engine) as session:
        found = preview_release(session, desk.clock, OPERATOR, DAILY, WEDNESDAY, reserve=True)
    assert _times(found.moved) == [("early", "Wed 10:15", "Wed 11:00")]


def test_the_steps_behind_a_moved_run_move_with_it(desk: Desk) -> None:
    desk.tasks(
        AT_0515,
        "name: second, type: job1, schedule: {after: early, spacing: '01:00:00'}",
        "name: third, type: job2, schedule: {after: second, spacing: '01:00:00'}",
        windows=BOTH,
    )
    until = utc("2026-11-25T00:00-05:00")
    found = _preview(desk, _stored(desk)["Monday maintenance"], until=until)
    assert _times(found.moved) == [
        ("early", "Tue 11:00", "Tue 10:15"),
        ("second", "Tue 12:00", "Tue 11:15"),
        ("third", "Tue 13:00", "Tue 12:15"),
    ]


def test_a_waiting_run_is_the_same_run_on_both_sides(desk: Desk) -> None:
    desk.tasks(AT_0515, windows=BOTH)
    assert desk.turn("2026-11-24T05:20-05:00") == []
    found = _preview(desk, until=utc("2026-11-24T12:00-05:00"))
    assert _times(found.moved) == [("early", "Tue 11:00", "Tue 10:20")]


def test_a_run_that_would_find_no_window_is_told(desk: Desk) -> None:
    desk.tasks("name: needy, type: job0, window: require, schedule: {cron: '0 4 24 11 *'}", windows=BOTH)
    found = _preview(desk, until=utc("2026-11-25T00:00-05:00"))
    assert _times(found.moved) == [("needy", "Tue 10:00", None)]
    assert "window" in found.moved[0].reason


def test_with_very_many_tasks_the_preview_says_how_far_it_looked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headway.scheduler.usecases.ahead.look_ahead.TASK_DAYS", 4)
    desk.tasks(AT_0515, "name: b, type: job1, schedule: {cron: '0 12 * * *'}", windows=BOTH)
    assert (_preview(desk).until, _preview(desk).whole) == (desk.clock.now() + timedelta(days=3), False)
    assert _preview(desk, until=desk.clock.now() + timedelta(days=3)).whole


def test_an_occurrence_that_does_not_exist_is_refused_with_a_remedy(desk: Desk) -> None:
    desk.tasks(windows=BOTH)
    with reading(desk.engine) as session:
        with pytest.raises(InvalidInput, match="'Monday maintenance' has no occurrence on Wed 2026-11-25: reload"):
            preview_release(session, desk.clock, OPERATOR, "Monday maintenance", WEDNESDAY, reserve=False)
        with pytest.raises(InvalidInput, match="there is no maintenance window 'gone' any more"):
            preview_release(session, desk.clock, OPERATOR, "gone", WEDNESDAY, reserve=False)
