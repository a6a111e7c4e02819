"""Maintenance windows against days laid out one by one, and the cases that the rules spell out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headway.models.values.instant import FOREVER
from headway.models.values.window import DEFAULT_WINDOWS, EVERY_DAY, Window, WindowPolicy
from headway.scheduler.planning.windows import Calendar, Spans, merge, occurrences_of
from tests.support.reference_forecast import NEVER, NaiveWindows, lay_out
from tests.support.worlds import ESTIMATE, HOUR, MINUTE, NIGHT, WINDOW_POLICY, windows

DAY = timedelta(days=1)
TICK = timedelta(microseconds=1)
NEW_YORK = "America/New_York"
THOROUGH = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def calendars(draw: st.DrawFn) -> tuple[list[Window], datetime]:
    """Windows and an instant near the night that they are awkward in."""
    zone, day = draw(NIGHT)
    seconds = draw(st.integers(-4 * 24 * 60, 4 * 24 * 60)) * 60 + draw(st.sampled_from([0, 0, 0, 1, 59]))
    return draw(windows(zone, day)), datetime.combine(day, time(), tzinfo=UTC) + timedelta(seconds=seconds)


def naive(made: list[Window], now: datetime) -> NaiveWindows:
    return NaiveWindows(made, now - 30 * DAY, now + 60 * DAY)


def forever_is_never(moment: datetime | None) -> datetime | None:
    return NEVER if moment == FOREVER else moment


# The window rule, against one edge tried after the other.


@THOROUGH
@given(calendars(), WINDOW_POLICY, ESTIMATE)
def test_clears_at_is_the_first_edge_that_lets_the_run_start(
    made: tuple[list[Window], datetime], policy: WindowPolicy, estimate: timedelta | None
) -> None:
    found, now = made
    expected = naive(found, now).clears_at(policy, estimate, now)
    assert Calendar(found).clears_at(policy, estimate, now) == expected


@THOROUGH
@given(calendars(), WINDOW_POLICY, ESTIMATE)
def test_clears_at_does_not_depend_on_what_was_asked_before(
    made: tuple[list[Window], datetime], policy: WindowPolicy, estimate: timedelta | None
) -> None:
    """A calendar lays windows out as far as it is asked: forwards, backwards, far ahead."""
    found, now = made
    calendar = Calendar(found)
    for other in (now + 90 * DAY, now - 90 * DAY, now + 10 * DAY):
        calendar.clears_at(policy, estimate, other)
        calendar.next_edge(other)
    assert calendar.clears_at(policy, estimate, now) == Calendar(found).clears_at(policy, estimate, now)


@THOROUGH
@given(calendars(), WINDOW_POLICY, ESTIMATE)
def test_nothing_clears_between_now_and_clears_at(
    made: tuple[list[Window], datetime], policy: WindowPolicy, estimate: timedelta | None
) -> None:
    found, now = made
    plain = naive(found, now)
    clears_at = Calendar(found).clears_at(policy, estimate, now)
    last = min(clears_at or now, now + 12 * DAY)
    moment = now
    while moment < last:
        assert plain.held(policy, estimate, moment)
        moment += 17 * MINUTE
    if clears_at is not None and clears_at < now + 12 * DAY:
        assert not plain.held(policy, estimate, clears_at)
        assert plain.held(policy, estimate, clears_at - TICK)


@THOROUGH
@given(calendars(), WINDOW_POLICY, ESTIMATE, st.data())
def test_verdict_stays_until_look_again_at(
    made: tuple[list[Window], datetime], policy: WindowPolicy, estimate: timedelta | None, data: st.DataObject
) -> None:
    found, now = made
    plain = naive(found, now)
    if plain.held(policy, estimate, now):
        return
    again = Calendar(found).look_again_at(policy, estimate, now)
    assert again > now
    span = min(again, now + 20 * DAY) - now
    for part in [*data.draw(st.lists(st.floats(0, 1), min_size=5, max_size=5)), 0.5, 1.0]:
        moment = min(now + span * part, again - TICK)
        assert not plain.held(policy, estimate, moment), moment
    for edge in plain.edges:
        for moment in (edge, edge - (estimate or HOUR), edge - 192 * HOUR, edge - 192 * HOUR - TICK):
            if now <= moment < min(again, now + 20 * DAY):
                assert not plain.held(policy, estimate, moment), moment


@THOROUGH
@given(calendars())
def test_next_edge_is_the_first_edge_later_than_now(made: tuple[list[Window], datetime]) -> None:
    found, now = made
    calendar, edges = Calendar(found), naive(found, now).edges
    for moment in (now, *(edge for edge in edges if now <= edge < now + 9 * DAY)):
        expected = min((edge for edge in edges if edge > moment), default=None)
        assert calendar.next_edge(moment) == expected


@THOROUGH
@given(calendars(), WINDOW_POLICY, ESTIMATE)
def test_can_ever_fit_is_a_waiver_not_given(
    made: tuple[list[Window], datetime], policy: WindowPolicy, estimate: timedelta | None
) -> None:
    found, now = made
    if estimate is None:
        return
    plain = naive(found, now)
    inside = [span for span in plain.every if span[0] <= now < span[1]]
    if policy is WindowPolicy.AVOID:
        free = not any(start <= now < end for start, end in plain.reserved)
        left = min((start for start, _ in plain.reserved if start > now), default=NEVER) - now
        fits = (free and left >= estimate) or any(one >= estimate for one in plain._free_lengths(now))
    elif policy is WindowPolicy.REQUIRE:
        fits = any(end - now >= estimate for _, end in inside) or any(
            end - start >= estimate for start, end in plain.every if now < start <= now + 192 * HOUR
        )
    else:
        fits = True
    assert Calendar(found).can_ever_fit(policy, estimate, now) == fits


# Spans


@THOROUGH
@given(calendars(), st.booleans())
def test_spans_answer_as_days_laid_out_one_by_one(made: tuple[list[Window], datetime], reserved_only: bool) -> None:
    found, now = made
    spans = Spans(tuple(found), reserved_only=reserved_only)
    plain = naive(found, now).reserved if reserved_only else naive(found, now).every
    inside = spans.at(now)
    assert (inside and forever_is_never(inside.end)) == next((e for start, e in plain if start <= now < e), None)
    following = spans.after(now)
    assert (following and (following.start, forever_is_never(following.end))) == next(
        (span for span in plain if span[0] > now), None
    )
    between = [(span.start, forever_is_never(span.end)) for span in spans.between(now, now + 15 * DAY)]
    assert between == [span for span in plain if now < span[0] <= now + 15 * DAY]


@THOROUGH
@given(calendars())
def test_stretches_are_what_lies_between_reserved_spans(made: tuple[list[Window], datetime]) -> None:
    found, now = made
    plain = naive(found, now).reserved
    following = [start for start, _ in plain[1:]] + [NEVER]
    expected = [
        (end, then - end) for (_, end), then in zip(plain, following, strict=False) if now < end <= now + 8 * DAY
    ]
    assert list(Calendar(found).reserved.stretches(now, now + 8 * DAY)) == expected


@THOROUGH
@given(calendars())
def test_occurrences_of_are_the_days_that_touch_the_range(made: tuple[list[Window], datetime]) -> None:
    found, now = made
    end = now + 5 * DAY
    for window in found:
        expected = [
            (one.start, one.end, one.day, one.reserved)
            for one in lay_out(window, now.date() - 9 * DAY, now.date() + 14 * DAY)
            if one.start < end and one.end > now
        ]
        made_now = [(one.start, one.end, one.day, one.reserved) for one in occurrences_of(window, now, end)]
        assert made_now == expected


# What the rules spell out.


def ny(day: int, hour: int, minute: int = 0) -> datetime:
    """A New York wall time of November 2026, after the clock change: five hours behind UTC."""
    return datetime(2026, 11, day, hour, minute, tzinfo=UTC) + 5 * HOUR


CLEARS = [
    # policy, estimate in minutes, now, clears at: against the default windows, Monday 23 November 2026
    ("avoid", None, ny(23, 5, 15), ny(23, 6)),  # due 05:15 ET starts 06:00 ET
    ("avoid", None, ny(23, 5), ny(23, 6)),  # an occurrence holds its start
    ("avoid", None, ny(23, 6), None),  # but not its end
    ("avoid", None, ny(23, 4, 59), None),  # no estimate: it may run into the window
    ("avoid", 60, ny(23, 4), None),  # just fits
    ("avoid", 61, ny(23, 4), ny(23, 6)),  # does not
    ("avoid", 20, ny(23, 1, 15), ny(23, 2)),  # Monday morning's own window
    ("avoid", 20, ny(24, 1, 15), None),  # is Monday's only
    ("avoid", 180, ny(23, 1), ny(23, 2)),  # fits between the two
    ("avoid", 181, ny(23, 1), ny(23, 6)),  # fits after both
    ("avoid", 23 * 60, ny(23, 5, 30), ny(23, 6)),  # as long as the stretch from 06:00 to 05:00
    ("avoid", 23 * 60 + 1, ny(23, 5, 30), ny(23, 6)),  # fits nowhere: waived, but not inside a window
    ("avoid", 23 * 60 + 1, ny(23, 6, 30), None),  # waived
    ("avoid", 23 * 60, ny(23, 6, 1), ny(24, 6)),  # the next day's stretch is long enough, so not waived
    ("require", None, ny(23, 4), ny(23, 5)),
    ("require", None, ny(23, 5), None),
    ("require", None, ny(23, 6), ny(24, 5)),
    ("require", 60, ny(23, 5), None),
    ("require", 60, ny(23, 5, 1), ny(24, 5)),  # what is left is too short; tomorrow's is long enough
    ("require", 61, ny(23, 5, 1), ny(30, 0, 1)),  # only Monday's is, which begins within 192 hours
    ("require", 119, ny(23, 2, 30), ny(30, 0, 1)),
    ("require", 120, ny(23, 5, 1), None),  # no window is as long: waived, inside one
    ("require", 120, ny(23, 6), ny(24, 5)),  # and never outside
    ("allow", 500, ny(23, 5, 30), None),
]


@pytest.mark.parametrize(("policy", "minutes", "now", "clears_at"), CLEARS)
def test_default_windows(policy: str, minutes: int | None, now: datetime, clears_at: datetime | None) -> None:
    estimate = None if minutes is None else minutes * MINUTE
    assert Calendar(DEFAULT_WINDOWS).clears_at(WindowPolicy(policy), estimate, now) == clears_at


def test_released_occurrence_holds_no_run_but_is_a_window_still() -> None:
    daily = Window(
        name="daily",
        days=EVERY_DAY,
        start=time(5),
        end=time(6),
        timezone=NEW_YORK,
        released=frozenset({date(2026, 11, 25)}),
    )
    calendar = Calendar([daily])
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(25, 5, 30)) is None
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(26, 5, 30)) == ny(26, 6)
    assert calendar.clears_at(WindowPolicy.REQUIRE, None, ny(25, 5, 30)) is None
    assert calendar.clears_at(WindowPolicy.AVOID, 24 * HOUR, ny(24, 6)) is None  # through the released one


def test_release_goes_by_the_local_date_of_the_start() -> None:
    night = Window(
        name="night",
        days=EVERY_DAY,
        start=time(22),
        end=time(2),
        timezone=NEW_YORK,
        released=frozenset({date(2026, 11, 25)}),
    )
    avoid = Calendar([night]).clears_at
    assert avoid(WindowPolicy.AVOID, None, ny(26, 1)) is None  # began on the 25th
    assert avoid(WindowPolicy.AVOID, None, ny(25, 1)) == ny(25, 2)  # began on the 24th
    assert avoid(WindowPolicy.AVOID, None, ny(26, 23)) == ny(27, 2)


def test_released_occurrence_under_a_reserved_one_frees_only_what_the_other_does_not_cover() -> None:
    early = Window(
        name="early",
        days=EVERY_DAY,
        start=time(5),
        end=time(6),
        timezone=NEW_YORK,
        released=frozenset({date(2026, 11, 25)}),
    )
    late = Window(name="late", days=EVERY_DAY, start=time(5, 30), end=time(7), timezone=NEW_YORK)
    calendar = Calendar([early, late])
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(25, 5, 15)) is None
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(25, 5, 45)) == ny(25, 7)
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(24, 5, 15)) == ny(24, 7)


def test_no_windows_at_all() -> None:
    calendar = Calendar([])
    assert calendar.clears_at(WindowPolicy.AVOID, 500 * HOUR, ny(23, 5)) is None
    assert calendar.clears_at(WindowPolicy.REQUIRE, None, ny(23, 5)) == FOREVER
    assert calendar.next_edge(ny(23, 5)) is None
    assert calendar.look_again_at(WindowPolicy.AVOID, HOUR, ny(23, 5)) == FOREVER


@pytest.mark.parametrize(
    "made",
    [
        [Window(name="always", days=EVERY_DAY, start=time(3), end=time(3), timezone=NEW_YORK)],
        [
            Window(name="day", days=EVERY_DAY, start=time(3), end=time(15)),
            Window(name="night", days=EVERY_DAY, start=time(15), end=time(3)),
        ],
        [
            Window(name="day", days=EVERY_DAY, start=time(3), end=time(16)),
            Window(name="night", days=EVERY_DAY, start=time(15), end=time(4)),
        ],
    ],
)
def test_windows_that_cover_everything_never_let_go(made: list[Window]) -> None:
    calendar = Calendar(made)
    assert calendar.clears_at(WindowPolicy.AVOID, None, ny(23, 5)) == FOREVER
    assert calendar.clears_at(WindowPolicy.REQUIRE, 500 * HOUR, ny(23, 5)) is None
    assert calendar.next_edge(ny(23, 5)) is None


def test_window_without_a_day_does_nothing() -> None:
    calendar = Calendar([Window(name="never", days=frozenset(), start=time(3), end=time(4))])
    assert calendar.clears_at(WindowPolicy.AVOID, HOUR, ny(23, 3, 30)) is None
    assert calendar.clears_at(WindowPolicy.REQUIRE, HOUR, ny(23, 3, 30)) == FOREVER


def test_touching_occurrences_merge_and_keep_their_names() -> None:
    first, second = (
        Window(name="first", days=EVERY_DAY, start=time(5), end=time(6)),
        Window(name="second", days=EVERY_DAY, start=time(6), end=time(7)),
    )
    found = [*occurrences_of(first, ny(23, 0), ny(24, 0)), *occurrences_of(second, ny(23, 0), ny(24, 0))]
    (span,) = merge(sorted(found))
    assert (span.start, span.end, span.names) == (ny(23, 5), ny(23, 7), ("first", "second"))


DST = [
    # zone, start, end, day, occurrence in UTC (day of the month and time)
    # New York, 14 March 2027: 02:00 EST is 03:00 EDT, 07:00 UTC
    (NEW_YORK, time(2), time(3), date(2027, 3, 14), []),  # swallowed whole
    (NEW_YORK, time(2, 15), time(2, 45), date(2027, 3, 14), []),  # swallowed whole, both bounds inside
    (NEW_YORK, time(2, 30), time(3, 30), date(2027, 3, 14), [("14 07:00", "14 07:30")]),  # start moves
    (NEW_YORK, time(1, 30), time(2, 30), date(2027, 3, 14), [("14 06:30", "14 07:00")]),  # end moves
    (NEW_YORK, time(1), time(4), date(2027, 3, 14), [("14 06:00", "14 08:00")]),  # two hours long
    (NEW_YORK, time(23), time(2, 30), date(2027, 3, 13), [("14 04:00", "14 07:00")]),
    # New York, 1 November 2026: 02:00 EDT is 01:00 EST, 06:00 UTC
    (NEW_YORK, time(1), time(2), date(2026, 11, 1), [("01 05:00", "01 07:00")]),  # two hours long
    (NEW_YORK, time(1, 15), time(1, 45), date(2026, 11, 1), [("01 05:15", "01 06:45")]),  # first to second
    (NEW_YORK, time(0, 30), time(1, 30), date(2026, 11, 1), [("01 04:30", "01 06:30")]),
    (NEW_YORK, time(1, 30), time(2, 30), date(2026, 11, 1), [("01 05:30", "01 07:30")]),
    (NEW_YORK, time(23), time(1, 30), date(2026, 10, 31), [("01 03:00", "01 06:30")]),
    # Lord Howe, 4 October 2026: 02:00 is 02:30, 15:30 UTC the day before
    ("Australia/Lord_Howe", time(2), time(2, 30), date(2026, 10, 4), []),
    ("Australia/Lord_Howe", time(2, 15), time(3), date(2026, 10, 4), [("03 15:30", "03 16:00")]),
    # Sao Paulo, 4 November 2018: 00:00 is 01:00, 03:00 UTC
    ("America/Sao_Paulo", time(0), time(1), date(2018, 11, 4), []),
    ("America/Sao_Paulo", time(23), time(0), date(2018, 11, 3), [("04 02:00", "04 03:00")]),
    ("America/Sao_Paulo", time(0), time(0), date(2018, 11, 4), [("04 03:00", "05 02:00")]),  # 23 hours
    # Sao Paulo, 17 February 2018: 24:00 is 23:00, 02:00 UTC the day after
    ("America/Sao_Paulo", time(23), time(23, 30), date(2018, 2, 17), [("18 01:00", "18 02:30")]),
    ("Asia/Kathmandu", time(5), time(6), date(2026, 6, 1), [("31 23:15", "01 00:15")]),
]


@pytest.mark.parametrize(("zone", "start", "end", "day", "expected"), DST)
def test_occurrence_on_the_night_of_a_clock_change(
    zone: str, start: time, end: time, day: date, expected: list[tuple[str, str]]
) -> None:
    window = Window(name="window", days=EVERY_DAY, start=start, end=end, timezone=zone)
    around = datetime.combine(day, time(), tzinfo=UTC)
    found = [one for one in occurrences_of(window, around - DAY, around + 2 * DAY) if one.day == day]
    assert [(f"{one.start:%d %H:%M}", f"{one.end:%d %H:%M}") for one in found] == expected


def test_swallowed_occurrence_leaves_the_stretch_whole() -> None:
    calendar = Calendar([Window(name="gap", days=EVERY_DAY, start=time(2), end=time(3), timezone=NEW_YORK)])
    before = datetime(2027, 3, 14, 6, 30, tzinfo=UTC)  # 01:30 EST
    assert calendar.clears_at(WindowPolicy.AVOID, 20 * HOUR, before) is None
    assert calendar.clears_at(WindowPolicy.REQUIRE, None, before) == datetime(2027, 3, 15, 6, tzinfo=UTC)
