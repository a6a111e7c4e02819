"""A worker's service for the tests of its parts."""

import pytest

from headway.scheduler.engine.service import SchedulerService
from tests.support.installation import Desk
from tests.support.one_worker import one_worker


@pytest.fixture
def service(quick_desk: Desk) -> SchedulerService:
    """A worker with a task that is due, and Prefect within reach."""
    quick_desk.tasks("name: a, type: job0, retries: 3, retry_delay: '00:00:00', schedule: {cron: '0 * * * *'}")
    quick_desk.clock.set("2026-11-23T16:00")
    made = one_worker(quick_desk)
    made.heartbeat.problem = None
    quick_desk.worker_lives(made.worker.id)
    return made
