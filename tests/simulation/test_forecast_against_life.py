"""Forecast against life finds what it is there to find."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from headway.scheduler.engine.turns import Turns
from tests.simulation import forecast_against_life
from tests.simulation.scheduler import Installation

A_MINUTE = timedelta(minutes=1)


def _differences(monkeypatch: pytest.MonkeyPatch, wake_up: Callable[[datetime, datetime], datetime]) -> int:
    take = Turns.take
    monkeypatch.setattr(Turns, "take", lambda self, now: wake_up(now, take(self, now)))
    compared = forecast_against_life.compare(Installation().engine, seed=2, tasks=8, days=2)
    assert sum(day.foreseen for day in compared) > 5
    return sum(len(day.differences) for day in compared)


def test_a_loop_that_wakes_when_it_says_does_what_was_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _differences(monkeypatch, lambda now, wanted: wanted) == 0


@pytest.mark.parametrize(
    "wake_up",
    [
        lambda now, wanted: wanted + A_MINUTE if wanted > now else wanted,  # a minute late
        lambda now, wanted: now + timedelta(days=1) if wanted > now + A_MINUTE else wanted,  # forgets the next due
        lambda now, wanted: now + timedelta(days=1) if wanted == now + A_MINUTE else wanted,  # forgets what is held
    ],
)
def test_a_loop_that_wakes_late_is_found_out(
    monkeypatch: pytest.MonkeyPatch, wake_up: Callable[[datetime, datetime], datetime]
) -> None:
    assert _differences(monkeypatch, wake_up) > 0
