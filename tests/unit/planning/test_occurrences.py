"""When tasks come due: CronSim's own answer, and single local times, on DST nights too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from headway.models.values.schedule import After, Cron, Once, Schedule
from headway.models.values.task import Task
from headway.scheduler.planning.occurrences import check_cron, cron_occurrences, next_occurrence, occurrences
from tests.support.reference_forecast import dues
from tests.support.worlds import CRON, NIGHT, NIGHTS

DAY = timedelta(days=1)
NEW_YORK = "America/New_York"
THOROUGH = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
HAVANA = ("America/Havana", date(2026, 11, 1))  # midnight's hour twice
CAIRO = ("Africa/Cairo", date(2026, 4, 24))  # no midnight


def task(schedule: Schedule | None, zone: str = NEW_YORK) -> Task:
    return Task(uid=1, name="task", type="sleep", group="group", schedule=schedule, timezone=zone)


MONTHLY = st.builds(
    lambda m, h, d: f"{m} {h} {d} * *",
    st.integers(0, 59),
    st.sampled_from(["0", "1", "2", "3", "23", "0-4", "*", "*/3"]),
    st.sampled_from(["1", "14", "L", "1,15", "*/2", "25-31"]),
)
ODD = st.sampled_from(
    [
        "* * * * *",
        "30 * * * *",
        "0 0 * * *",
        "30 0 * * *",
        "59 23 * * *",
        "0 1 * * *",
        "30 1 * * *",
        "0 2 * * *",
        "30 2 * * *",
        "15 2-3 * * *",
        "*/20 1-2 * * *",
        "0 3 * * *",
        "0 0 * * SUN",
        "30 1 * * 7",
        "0 2 * * 1#1",
        "30 2 * * 0#2",
        "0 12 L * *",
        "0 0 1 * MON",
        "0 0 29 2 *",
    ]
)


@THOROUGH
@given(CRON | MONTHLY | ODD, NIGHT | st.sampled_from([HAVANA, CAIRO]), st.integers(-4320, 4320), st.integers(1, 90))
@example("0 * * * *", ("America/Sao_Paulo", date(2018, 11, 4)), 160, 1)
@example("*/30 * * * *", HAVANA, -60, 10)
@example("30 2 * * *", (NEW_YORK, date(2027, 3, 14)), 0, 48)
def test_occurrences_are_cronsims_own(expression: str, night: tuple[str, date], minutes: int, hours: int) -> None:
    zone, day = night
    start = datetime.combine(day, time(), tzinfo=UTC) + timedelta(minutes=minutes)
    end = start + timedelta(hours=hours)
    scheduled = task(Cron(expression), zone)
    assert occurrences(scheduled, start, end) == dues(scheduled, start, end)


@pytest.mark.parametrize(("zone", "day"), [*NIGHTS, HAVANA, CAIRO])
@pytest.mark.parametrize("expression", ["*/10 * * * *", "5 0 * * *", "35 1 * * *", "15 2 * * *", "45 23 * * *"])
def test_range_may_begin_and_end_anywhere_in_the_night(zone: str, day: date, expression: str) -> None:
    """Cut into pieces of 50 minutes, three days have the same occurrences as in one go."""
    first = datetime.combine(day, time(), tzinfo=UTC) - 1.5 * DAY
    pieces: list[datetime] = []
    for number in range(90):
        start = first + number * timedelta(minutes=50)
        pieces += cron_occurrences(expression, zone, start, start + timedelta(minutes=50))
    assert pieces == dues(task(Cron(expression), zone), first, first + 90 * timedelta(minutes=50))


@settings(THOROUGH, max_examples=100)
@given(CRON | MONTHLY | ODD, NIGHT, st.integers(-4320, 4320))
def test_next_occurrence_is_the_first_later_one(expression: str, night: tuple[str, date], minutes: int) -> None:
    zone, day = night
    now = datetime.combine(day, time(), tzinfo=UTC) + timedelta(minutes=minutes)
    scheduled = task(Cron(expression), zone)
    found = next_occurrence(scheduled, now)
    assert found is not None and found > now
    if found < now + 60 * DAY:
        assert found == next(due for due in dues(scheduled, now, now + 61 * DAY) if due > now)
    else:
        assert not [due for due in dues(scheduled, now, now + 60 * DAY) if due > now]


def test_next_occurrence_of_a_leap_day_is_years_ahead() -> None:
    leap = task(Cron("0 12 29 2 *"), "UTC")
    assert next_occurrence(leap, datetime(2026, 11, 23, tzinfo=UTC)) == datetime(2028, 2, 29, 12, tzinfo=UTC)


def test_next_occurrence_is_later_than_an_occurrence_at_that_instant() -> None:
    hourly = task(Cron("0 * * * *"), "UTC")
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert next_occurrence(hourly, noon) == noon + timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "wall", "due"),
    [
        (NEW_YORK, datetime(2026, 11, 22, 8, 15), datetime(2026, 11, 22, 13, 15, tzinfo=UTC)),
        (NEW_YORK, datetime(2027, 3, 14, 2, 30), datetime(2027, 3, 14, 7, 0, tzinfo=UTC)),  # after the gap
        (NEW_YORK, datetime(2027, 3, 14, 2, 0), datetime(2027, 3, 14, 7, 0, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 11, 1, 1, 30), datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),  # the first of two
        ("America/Sao_Paulo", datetime(2018, 11, 4, 0, 30), datetime(2018, 11, 4, 3, 0, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 4, 2, 15), datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2027, 4, 4, 1, 45), datetime(2027, 4, 3, 14, 45, tzinfo=UTC)),
        ("Asia/Kathmandu", datetime(2026, 6, 1), datetime(2026, 5, 31, 18, 15, tzinfo=UTC)),
    ],
)
def test_once_is_a_local_time(zone: str, wall: datetime, due: datetime) -> None:
    once = task(Once(wall), zone)
    assert occurrences(once, due, due + timedelta(seconds=1)) == [due]
    assert occurrences(once, due - DAY, due) == []  # the end is not in the range
    assert next_occurrence(once, due - timedelta(seconds=1)) == due
    assert next_occurrence(once, due) is None


@pytest.mark.parametrize("off", ["disabled", "historical"])
@pytest.mark.parametrize("schedule", [Cron("* * * * *"), Once(datetime(2026, 11, 23, 12))])
def test_disabled_or_historical_task_never_comes_due(schedule: Schedule, off: str) -> None:
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    silent = replace(task(schedule), enabled=off != "disabled", historical=off == "historical")
    assert occurrences(silent, monday, monday + DAY) == []
    assert next_occurrence(silent, monday) is None


@pytest.mark.parametrize("schedule", [None, After(2, timedelta(hours=1))])
def test_step_and_task_without_times_have_no_occurrences(schedule: Schedule | None) -> None:
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    assert occurrences(task(schedule), monday, monday + DAY) == []
    assert next_occurrence(task(schedule), monday) is None


def test_empty_range_has_no_occurrences() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    assert occurrences(task(Cron("* * * * *")), noon, noon) == []
    assert occurrences(task(Cron("* * * * *")), noon, noon - DAY) == []


@pytest.mark.parametrize("expression", ["15 1 * * *", "*/5 * * * MON-FRI", "0 0 L * *", "0 9 * * 1#1", "0 0 29 2 *"])
def test_good_expressions_pass(expression: str) -> None:
    check_cron(expression)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "write five fields"),
        ("hourly", "write five fields"),
        ("60 * * * *", "write five fields"),
        ("* * * *", "write five fields"),
        ("* 25 * * *", "'* 25 * * *'"),
        ("0 0 30 2 *", "30 2"),  # no such day
    ],
)
def test_bad_expressions_are_refused_in_an_operators_words(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match="cron expression") as refusal:
        check_cron(expression)
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("expression", "minutes", "hours"),
    [("47 */3 * * *", {47}, range(0, 24, 3)), ("15,48 */3 * * *", {15, 48}, range(0, 24, 3))],
)
def test_clocks_that_go_back_in_the_middle_of_an_hour(expression: str, minutes: set[int], hours: range) -> None:
    """Chatham goes back from 03:45 to 02:45; CronSim alone never leaves that night."""
    chatham = ZoneInfo("Pacific/Chatham")
    start, end = datetime(2026, 4, 3, tzinfo=UTC), datetime(2026, 4, 7, tzinfo=UTC)
    every = (start + n * timedelta(minutes=1) for n in range(4 * 24 * 60))
    local = ((moment, moment.astimezone(chatham)) for moment in every)
    expected = [moment for moment, wall in local if wall.minute in minutes and wall.hour in hours]
    assert cron_occurrences(expression, "Pacific/Chatham", start, end) == expected
