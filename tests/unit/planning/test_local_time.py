"""Wall times and instants, against an instant found by looking at the clock."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.models.values.zone import zone
from headway.scheduler.planning.local_time import plain_midnight, to_utc
from tests.support.reference_forecast import instant
from tests.support.worlds import NIGHT, NIGHTS

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@settings(max_examples=300, deadline=None)
@given(NIGHT, st.integers(-2880, 2880), st.sampled_from([0, 0, 1, 59]), st.booleans())
def test_wall_time_is_the_instant_at_which_a_clock_shows_it(
    night: tuple[str, date], minutes: int, seconds: int, later: bool
) -> None:
    where, day = night
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes, seconds=seconds)
    assert to_utc(wall, zone(where), later=later) == instant(wall, where, later)


@pytest.mark.parametrize(("where", "day"), NIGHTS)
def test_every_instant_is_one_of_its_wall_times_two(where: str, day: date) -> None:
    moment = datetime.combine(day, time(), tzinfo=UTC) - DAY
    for _ in range(60 * 24 * 2):
        wall = moment.astimezone(ZoneInfo(where)).replace(tzinfo=None)
        assert moment in {to_utc(wall, zone(where)), to_utc(wall, zone(where), later=True)}
        moment += MINUTE


GAP_AND_FOLD = [
    # zone, wall time, earlier, later
    ("America/New_York", datetime(2027, 3, 14, 1, 59), "06:59", "06:59"),
    ("America/New_York", datetime(2027, 3, 14, 2, 0), "07:00", "07:00"),  # does not exist
    ("America/New_York", datetime(2027, 3, 14, 2, 59, 59), "07:00", "07:00"),
    ("America/New_York", datetime(2027, 3, 14, 3, 0), "07:00", "07:00"),
    ("America/New_York", datetime(2026, 11, 1, 0, 59), "04:59", "04:59"),
    ("America/New_York", datetime(2026, 11, 1, 1, 0), "05:00", "06:00"),  # twice
    ("America/New_York", datetime(2026, 11, 1, 1, 59), "05:59", "06:59"),
    ("America/New_York", datetime(2026, 11, 1, 2, 0), "07:00", "07:00"),
    ("America/Sao_Paulo", datetime(2018, 11, 4, 0, 0), "03:00", "03:00"),
    ("Australia/Lord_Howe", datetime(2027, 4, 4, 1, 30), "14:30", "15:00"),  # half an hour
    ("Asia/Kathmandu", datetime(2026, 6, 1, 5, 45), "00:00", "00:00"),
]


@pytest.mark.parametrize(("where", "wall", "earlier", "later"), GAP_AND_FOLD)
def test_gap_and_fold(where: str, wall: datetime, earlier: str, later: str) -> None:
    assert f"{to_utc(wall, zone(where)):%H:%M}" == earlier
    assert f"{to_utc(wall, zone(where), later=True):%H:%M}" == later
    assert to_utc(wall, zone(where)).second == 0


def test_day_that_a_zone_skipped_is_the_first_instant_after_it() -> None:
    """Samoa went from 29 to 31 December 2011."""
    samoa = zone("Pacific/Apia")
    assert to_utc(datetime(2011, 12, 30, 5), samoa) == datetime(2011, 12, 30, 10, tzinfo=UTC)


@pytest.mark.parametrize(("where", "day"), NIGHTS)
def test_plain_midnight_counts_wall_times_from_itself(where: str, day: date) -> None:
    for ahead in range(-5, 6):
        one = day + ahead * DAY
        midnight = plain_midnight(zone(where), one)
        if midnight is None:
            assert abs(ahead) <= 3
            continue
        for minutes in range(0, 2 * 24 * 60, 15):
            wall = datetime.combine(one, time()) + minutes * MINUTE
            assert midnight + minutes * MINUTE == to_utc(wall, zone(where)) == to_utc(wall, zone(where), later=True)
