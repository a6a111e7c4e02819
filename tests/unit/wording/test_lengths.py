"""Lengths of time, and counts."""

from datetime import timedelta

import pytest

from headway.wording import clock_length, count, length, length_in_words


@pytest.mark.parametrize(
    ("value", "on_screen", "in_a_sentence", "by_the_clock"),
    [
        (timedelta(0), "0 s", "0 s", "00:00"),
        (timedelta(seconds=45), "45 s", "45 s", "00:45"),
        (timedelta(seconds=60), "60 s", "1 min", "01:00"),
        (timedelta(seconds=100), "1 min", "100 s", "01:40"),
        (timedelta(minutes=30), "30 min", "30 min", "30:00"),
        (timedelta(minutes=61), "1 h 01 min", "61 min", "61:00"),
        (timedelta(minutes=125), "2 h 05 min", "2 h 05 min", "125:00"),
        (timedelta(days=2, hours=4), "2 d 4 h", "52 h 00 min", "3120:00"),
    ],
)
def test_a_length_in_its_three_forms(value: timedelta, on_screen: str, in_a_sentence: str, by_the_clock: str) -> None:
    assert (length(value), length_in_words(value), clock_length(value)) == (on_screen, in_a_sentence, by_the_clock)


def test_no_length_is_no_text() -> None:
    assert length(None) == clock_length(None) == ""


def test_a_count_has_its_noun() -> None:
    assert (count(0, "run"), count(1, "run"), count(1200, "log line")) == ("0 runs", "1 run", "1,200 log lines")
