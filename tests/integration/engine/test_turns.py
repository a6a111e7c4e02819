"""When the loop takes a turn, and what it claims."""

import pytest

from headway.scheduler.engine import process_pool
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.turns import is_due
from tests.support.clock import utc
from tests.support.installation import Desk
from tests.support.one_worker import Warm

AT = "2026-11-23T16:00"


@pytest.mark.parametrize(
    ("next_turn", "due"),
    [
        (None, True),
        ("2026-11-23T15:59:59", True),
        ("2026-11-23T16:00", True),
        ("2026-11-23T16:00:01", False),
        ("2026-11-23T16:00:05", False),
        ("2026-11-23T17:00", True),  # the clock went back an hour
    ],
)
def test_no_turn_is_put_off_because_the_clock_went_back(next_turn: str | None, due: bool) -> None:
    assert is_due(utc(next_turn) if next_turn else None, utc(AT)) is due


def test_a_stopping_worker_claims_nothing(service: SchedulerService, quick_desk: Desk) -> None:
    service.signals.no_starts.set()
    assert service.turns.take(quick_desk.clock.now()) > quick_desk.clock.now()
    assert service.turns.catalog is None


def test_a_worker_that_was_declared_dead_claims_nothing(
    service: SchedulerService, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "WarmServer", Warm)
    service.heartbeat.goodbye()
    service.turns.take(quick_desk.clock.now())
    assert service.signals.no_starts.is_set()
    assert isinstance(service.pool._warm, Warm) and service.pool._warm.begun == []
