"""The day board's axis: as long as the day is, labelled as clocks in that zone show it."""

from datetime import UTC, date, datetime

import pytest

from headway.dashboard.board.axis import axis_of, monday_of, title_of

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 11, 23), NEW_YORK, 24),
        (date(2026, 11, 1), NEW_YORK, 25),
        (date(2026, 3, 8), NEW_YORK, 23),
        (date(2026, 4, 5), "Australia/Lord_Howe", 24.5),  # half an hour of daylight saving
        (date(2026, 3, 29), "Asia/Beirut", 23),  # its midnight does not exist
    ],
)
def test_a_day_has_its_hours(day: date, zone: str, hours: float) -> None:
    axis = axis_of(day, 1, zone)
    assert axis.hours == hours
    assert axis.clocks_change is (hours != 24)


def test_two_equal_wall_times_have_two_places() -> None:
    axis = axis_of(date(2026, 11, 1), 1, NEW_YORK)
    labels = dict(axis.ticks())
    assert labels[60] == "01:00" and labels[120] == "01:00 EST" and labels[0] == "00:00 EDT"
    assert len(labels) == 25
    assert axis.place(datetime(2026, 11, 1, 5, 30, tzinfo=UTC)) == 90
    assert axis.place(datetime(2026, 11, 1, 6, 30, tzinfo=UTC)) == 150


def test_the_hour_that_is_skipped_has_no_place() -> None:
    labels = [label for _, label in axis_of(date(2026, 3, 8), 1, NEW_YORK).ticks()]
    assert labels[:4] == ["00:00 EST", "01:00", "03:00 EDT", "04:00"]


def test_an_ordinary_day_has_a_mark_every_two_hours_and_a_week_one_a_day() -> None:
    assert [label for _, label in axis_of(date(2026, 11, 23), 1, "Asia/Kathmandu").ticks()][:2] == ["00:00", "02:00"]
    week = axis_of(date(2026, 10, 26), 7, NEW_YORK)
    assert [label for _, label in week.ticks()][-1] == "Sun 1 Nov"
    assert [place for place, _ in week.ticks()] == [day * 1440 for day in range(7)]
    assert week.hours == 7 * 24 + 1


def test_what_lies_outside_is_kept_at_the_edge() -> None:
    axis = axis_of(date(2026, 11, 23), 1, "UTC")
    assert axis.place(datetime(2026, 11, 22, tzinfo=UTC)) == 0
    assert axis.place(datetime(2026, 11, 25, tzinfo=UTC)) == 1440


def test_a_title_says_when_the_clocks_change() -> None:
    assert title_of(axis_of(date(2026, 11, 23), 1, NEW_YORK)) == "Mon 23 Nov 2026"
    assert "25 hours: the clocks change" in title_of(axis_of(date(2026, 11, 1), 1, NEW_YORK))
    assert title_of(axis_of(monday_of(date(2026, 11, 26)), 7, NEW_YORK)) == "Mon 23 Nov to Sun 29 Nov 2026"
