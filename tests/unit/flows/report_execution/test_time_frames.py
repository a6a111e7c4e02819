"""Time frames: each by example, both nights when clocks change, and what holds for all of them."""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.flows.report_execution.time_frames import PATTERN, TO_DATE, WHOLE, DayClock, instant_of, period_of

NEW_YORK = ZoneInfo("America/New_York")
DUE = datetime(2026, 11, 18, 11, 30, tzinfo=UTC)  # a Wednesday, 06:30 in New York


def local(text: str, zone: ZoneInfo = NEW_YORK) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


@pytest.mark.parametrize(
    ("frame", "start", "end"),
    [
        ("today", "2026-11-18", "2026-11-18T06:30"),
        ("yesterday", "2026-11-17", "2026-11-18"),
        ("last 1 days", "2026-11-17", "2026-11-18"),
        ("last 7 days", "2026-11-11", "2026-11-18"),
        ("last 36 hours", "2026-11-16T18:30", "2026-11-18T06:30"),
        ("this week", "2026-11-16", "2026-11-18T06:30"),
        ("last week", "2026-11-09", "2026-11-16"),
        ("month to date", "2026-11-01", "2026-11-18T06:30"),
        ("last month", "2026-10-01", "2026-11-01"),
        ("2026-11-01 to 2026-11-15", "2026-11-01", "2026-11-16"),  # both days are within
        ("2026-11-01 to 2026-11-01", "2026-11-01", "2026-11-02"),
        ("2026-11-01T08:00 to 2026-11-01T12:00", "2026-11-01T08:00", "2026-11-01T12:00"),
        ("2026-11-01 08:00 to 2026-11-02", "2026-11-01T08:00", "2026-11-03"),
    ],
)
def test_each_frame(frame: str, start: str, end: str) -> None:
    period = period_of(frame, DUE, DayClock(NEW_YORK))
    assert (period.start, period.end) == (local(start), local(end))
    assert re.match(PATTERN, frame)


def test_the_days_that_a_frame_touches() -> None:
    period = period_of("last week", DUE, DayClock(NEW_YORK))
    assert (period.first_day, period.last_day) == (date(2026, 11, 9), date(2026, 11, 15))


def test_in_january_last_month_is_december() -> None:
    period = period_of("last month", local("2027-01-01T00:05"), DayClock(NEW_YORK))
    assert (period.start, period.end) == (local("2026-12-01"), local("2027-01-01"))


@pytest.mark.parametrize(
    ("due", "start", "end"),
    [
        ("2026-11-18T03:59", "2026-11-16T04:00", "2026-11-17T04:00"),  # before 04:00 it is still the day before
        ("2026-11-18T04:00", "2026-11-17T04:00", "2026-11-18T04:00"),
    ],
)
def test_a_statistical_day_begins_when_the_office_says(due: str, start: str, end: str) -> None:
    period = period_of("yesterday", local(due), DayClock(NEW_YORK, time(4)))
    assert (period.start, period.end) == (local(start), local(end))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-08", 23), ("2026-11-01", 25), ("2026-11-02", 24)])
def test_on_the_nights_when_clocks_change_a_day_has_its_own_length(day: str, hours: int) -> None:
    after = datetime.fromisoformat(day) + timedelta(days=1, hours=6)
    period = period_of("yesterday", after.replace(tzinfo=NEW_YORK), DayClock(NEW_YORK))
    assert period.end - period.start == timedelta(hours=hours)


def test_a_day_that_would_begin_in_the_gap_begins_right_after_it() -> None:
    clock = DayClock(NEW_YORK, time(2, 30))
    assert clock.start_of(date(2026, 3, 8)) == datetime(2026, 3, 8, 7, 0, tzinfo=UTC)  # 03:00 EDT


def test_a_day_that_would_begin_twice_begins_the_first_time() -> None:
    clock = DayClock(NEW_YORK, time(1, 30))
    assert clock.start_of(date(2026, 11, 1)) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # 01:30 EDT
    second = datetime(2026, 11, 1, 6, 15, tzinfo=UTC)  # 01:15 EST, before 01:30 by the wall, but the day has begun
    assert clock.day_of(second) == date(2026, 11, 1)


def test_a_midnight_that_does_not_exist() -> None:
    cairo = ZoneInfo("Africa/Cairo")  # clocks go from 00:00 to 01:00
    assert instant_of(datetime(2026, 4, 24), cairo) == datetime(2026, 4, 23, 22, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("last year", "is not a time frame: today, yesterday"),
        ("last 0 days", "is not a time frame"),
        ("", "is not a time frame"),
        ("2026-11-15 to 2026-11-01", "the end lies before the beginning"),
        ("2026-02-30 to 2026-03-01", "'2026-02-30' is no date"),
        ("9999-12-31 to 9999-12-31", "is no date"),
    ],
)
def test_what_is_no_frame_is_refused(frame: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        period_of(frame, DUE, DayClock(NEW_YORK))


frames = st.one_of(
    st.sampled_from([*TO_DATE, *WHOLE]),
    st.integers(1, 400).map(lambda n: f"last {n} days"),
    st.integers(1, 400).map(lambda n: f"last {n} hours"),
)
clocks = st.builds(
    DayClock,
    st.sampled_from(["America/New_York", "Europe/Berlin", "Africa/Cairo", "Australia/Lord_Howe", "UTC"]).map(ZoneInfo),
    st.times().map(lambda one: one.replace(second=0, microsecond=0)),
)
dues = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@given(frame=frames, due=dues, clock=clocks)
def test_a_frame_lies_before_the_due_and_begins_and_ends_with_a_day(frame: str, due: datetime, clock: DayClock) -> None:
    period = period_of(frame, due, clock)
    assert period.start <= period.end <= due
    assert period.first_day <= clock.day_of(due)
    if "hours" not in frame:
        assert period.start == clock.start_of(period.first_day)
    if frame not in TO_DATE and "hours" not in frame:
        assert period.end == clock.start_of(period.last_day + timedelta(days=1))


@given(due=dues, clock=clocks, days=st.integers(0, 40))
def test_consecutive_days_meet_without_gap_or_overlap(due: datetime, clock: DayClock, days: int) -> None:
    day = clock.day_of(due)
    assert clock.start_of(day) <= due < clock.start_of(day + timedelta(days=1))
    earlier = day - timedelta(days=days)
    yesterday = period_of("yesterday", clock.start_of(earlier), clock)
    assert yesterday.end == clock.start_of(earlier)
    assert clock.day_of(yesterday.start) == earlier - timedelta(days=1)
