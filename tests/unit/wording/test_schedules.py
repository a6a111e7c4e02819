"""Schedules as one says them."""

import pytest

from headway.wording import cron_in_words


@pytest.mark.parametrize(
    ("expression", "in_words"),
    [
        ("15 1 * * *", "every day at 01:15"),
        ("0 3 * * 1-5", "Monday to Friday at 03:00"),
        ("0 6,18 * * *", "every day at 06:00, 18:00"),
        ("30 4 * * sun", "Sunday at 04:30"),
        ("5 2 1 * *", "on day 1 of every month at 02:05"),
        ("*/10 * * * *", "every 10 minutes"),
        ("20 * * * *", "at minute 20 of every hour"),
        ("0 0 1 1 *", None),
        ("0 0 13 * 5", None),
    ],
)
def test_a_common_schedule_is_said_in_words(expression: str, in_words: str | None) -> None:
    assert cron_in_words(expression) == in_words
