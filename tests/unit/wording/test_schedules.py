"""Schedules in words."""

from datetime import datetime, timedelta

import pytest

from headway.models.values.schedule import After, Cron, Once, Schedule
from headway.models.values.task import Task
from headway.wording import cron_in_words, schedule_in_words


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


@pytest.mark.parametrize(
    ("schedule", "in_words"),
    [
        (None, "no times of its own: it runs when somebody asks"),
        (Once(datetime(2026, 11, 23, 8, 15)), "once, on Mon 23 Nov 2026 at 08:15 (America/New_York)"),
        (After(1, timedelta(minutes=90)), "after 'Load', at least 90 min behind its start"),
        (After(1, timedelta(seconds=40)), "after 'Load', at least 40 s behind its start"),
        (Cron("15 1 * * *"), "every day at 01:15 (America/New_York)"),
        (Cron("0 0 1 1 *"), "cron 0 0 1 1 * (America/New_York)"),
    ],
)
def test_every_kind_of_schedule_is_said_in_words(schedule: Schedule | None, in_words: str) -> None:
    assert schedule_in_words(Task(uid=2, name="Export", type="job", group="a", schedule=schedule), "Load") == in_words
