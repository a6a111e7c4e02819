"""Signs of life: whose silence counts, and what a worker does that was declared dead."""

import pytest

from headway.models.values.run import RunStatus
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.store.runs.run_writer import open_run_ledger
from tests.support.databases import url_of
from tests.support.installation import Desk
from tests.support.one_worker import Prefect, one_worker


def _other_worker(service: SchedulerService, desk: Desk) -> SchedulerService:
    """A second one on this machine, with a run in progress; both have just given a sign of life."""
    other = one_worker(desk)
    desk.worker_lives(other.worker.id)
    assert desk.turn(worker_id=other.worker.id) == ["a"]
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.began(identify_self()) and ledger.running()
    ledger.close()
    service.heartbeat.beat()
    other.heartbeat.beat()
    return other


@pytest.mark.parametrize("minutes", [2, 60, -60])
def test_after_a_jump_of_the_clock_nobody_is_taken_for_silent(
    service: SchedulerService, quick_desk: Desk, minutes: int
) -> None:
    """Also after a machine's sleep, and after the database was away for all."""
    other = _other_worker(service, quick_desk)
    quick_desk.clock.move(minutes=minutes)
    service.heartbeat.beat()
    other.heartbeat.beat()
    for _ in range(12):
        quick_desk.clock.move(seconds=10)
        service.heartbeat.beat()
        other.heartbeat.beat()
    assert quick_desk.run("a").status is RunStatus.RUNNING


def test_after_a_jump_of_the_clock_silence_counts_a_minute_later(service: SchedulerService, quick_desk: Desk) -> None:
    _other_worker(service, quick_desk)
    quick_desk.clock.move(minutes=60)
    service.heartbeat.beat()
    for _ in range(5):
        quick_desk.clock.move(seconds=10)
        service.heartbeat.beat()
        assert quick_desk.run("a").status is RunStatus.RUNNING
    quick_desk.clock.move(seconds=10)
    service.heartbeat.beat()
    assert "lost contact" in (quick_desk.run("a").error or "")


def test_a_worker_that_was_declared_dead_starts_nothing_more(service: SchedulerService, quick_desk: Desk) -> None:
    service.heartbeat.beat()
    assert not service.signals.no_starts.is_set()

    service.heartbeat.goodbye()  # as another worker would write it
    service.heartbeat.beat()
    assert service.signals.no_starts.is_set()


def test_a_change_of_prefects_health_wakes_the_turns(service: SchedulerService) -> None:
    prefect = service.worker.prefect
    assert isinstance(prefect, Prefect)
    service.heartbeat.check_prefect()
    assert not service.signals.wake.is_set()

    prefect.problem = "no route"
    service.heartbeat.check_prefect()
    assert service.heartbeat.problem_in_words() == "Prefect cannot be reached: no route"
    assert service.signals.wake.is_set()
