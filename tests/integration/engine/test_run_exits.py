"""What follows when a run's process has left."""

import pytest

from headway.models.values.run import RunStatus
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.execution.warm_server import Exited
from headway.scheduler.store.runs.run_writer import open_run_ledger
from tests.support.databases import url_of
from tests.support.installation import Desk
from tests.support.one_worker import Prefect


def test_a_process_that_was_overtaken_says_nothing_of_the_run_that_follows(
    service: SchedulerService, quick_desk: Desk
) -> None:
    assert quick_desk.turn(worker_id=service.worker.id) == ["a"]
    first = quick_desk.orders["a"]
    quick_desk.end("a", RunStatus.FAILED, error="the worker that ran it died")
    assert quick_desk.turn(worker_id="worker-2") == ["a"]
    second = quick_desk.orders["a"]
    ledger = open_run_ledger(url_of(quick_desk.engine), second.run_id, second.claim)
    assert ledger.began(identify_self()) and ledger.bind("flow-of-attempt-2") and ledger.running()
    ledger.close()

    service.exits.close(
        Exited(run_id=first.run_id, claim=first.claim, pid=4711, exit_code=ExitCode.CLAIM_LOST, signal=None)
    )
    assert quick_desk.run("a").status is RunStatus.RUNNING
    assert isinstance(service.worker.prefect, Prefect) and service.worker.prefect.told == []


@pytest.mark.parametrize(("asked_by", "status"), [(None, RunStatus.FAILED), ("ann", RunStatus.CANCELLED)])
def test_a_process_that_left_without_a_word_ends_its_run_and_prefect_hears_of_it(
    service: SchedulerService, quick_desk: Desk, asked_by: str | None, status: RunStatus
) -> None:
    quick_desk.tasks("name: b, type: job1")
    quick_desk.run_now("b")
    quick_desk.turn(worker_id=service.worker.id)
    order = quick_desk.orders["b"]
    quick_desk.change(quick_desk.run("b"), flow_run_id="flow-b", cancel_asked_by=asked_by)

    exited = Exited(run_id=order.run_id, claim=order.claim, pid=4711, exit_code=None, signal=9)
    service.exits.on_exit(exited)
    service.exits.on_exit(exited)
    assert (quick_desk.run("b").status, quick_desk.run("b").message) == (status, exited.describe())
    assert isinstance(service.worker.prefect, Prefect) and set(service.worker.prefect.told) == {"flow-b"}
    assert service.signals.wake.is_set()
