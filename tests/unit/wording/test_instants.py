"""Instants as an operator reads them."""

from datetime import UTC, datetime

from headway.wording import clock_time, day_and_time, from_to, in_zone, in_zone_briefly, zones

NEW_YORK = "America/New_York"
MORNING = datetime(2026, 11, 23, 11, 0, 5, tzinfo=UTC)


def test_clock_time_reads_as_an_operator_says_it() -> None:
    assert clock_time(datetime(2026, 11, 23, 11, tzinfo=UTC), "America/New_York") == "Mon 23 Nov 06:00 EST"
    assert clock_time(datetime(2026, 7, 1, 11, tzinfo=UTC), "America/New_York") == "Wed 1 Jul 07:00 EDT"
    assert clock_time(MORNING, NEW_YORK) == "Mon 23 Nov 06:00:05 EST"


def test_an_instant_of_a_table_sorts_as_it_reads_and_says_its_zone() -> None:
    assert in_zone(MORNING, NEW_YORK) == "2026-11-23 06:00 EST"
    assert in_zone(MORNING, "UTC", seconds=True) == "2026-11-23 11:00:05 UTC"
    assert in_zone_briefly(MORNING, NEW_YORK) == "11-23 06:00"


def test_an_instant_of_a_sentence_has_its_weekday() -> None:
    assert day_and_time(MORNING, NEW_YORK) == "Mon 23 Nov 06:00 EST"


def test_no_instant_is_no_text() -> None:
    assert in_zone(None, NEW_YORK) == in_zone_briefly(None, NEW_YORK) == day_and_time(None, NEW_YORK) == ""


def test_a_stretch_of_one_day_says_the_day_once() -> None:
    assert from_to(MORNING, MORNING.replace(hour=12), NEW_YORK) == "Mon 23 Nov 06:00 to 07:00 EST"
    assert from_to(MORNING, MORNING.replace(day=24), NEW_YORK) == "Mon 23 Nov 06:00 EST to Tue 24 Nov 06:00 EST"


def test_a_stretch_over_a_clock_change_says_both_zones() -> None:
    before, after = datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    assert from_to(before, after, NEW_YORK) == "Sun 1 Nov 01:30 EDT to Sun 1 Nov 01:30 EST"


def test_the_zones_to_choose_from_are_in_order() -> None:
    assert NEW_YORK in zones() and list(zones()) == sorted(zones())
