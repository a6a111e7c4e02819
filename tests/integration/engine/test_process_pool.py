"""What becomes of a run that was claimed, where no process can begin it."""

import pytest

from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.scheduler.engine import process_pool
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.execution.warm_server import StartOrder, WarmServerGone
from tests.support.installation import Desk
from tests.support.one_worker import Warm


def test_a_run_waits_again_where_no_warm_process_can_be_made(
    service: SchedulerService, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_pool, "WarmServer", lambda *given, program: Warm(gone=True))
    with pytest.raises(WarmServerGone):
        service.turns.take(quick_desk.clock.now())
    assert quick_desk.run("a").status is RunStatus.STARTING

    monkeypatch.setattr(process_pool, "WarmServer", Warm)
    service.turns.take(quick_desk.clock.now())
    assert isinstance(service.pool._warm, Warm)
    assert [order.attempt for order in service.pool._warm.begun] == [1]
    assert [event.after for event in quick_desk.events(id_of(quick_desk.run("a")))] == [
        *("waiting", "starting", "waiting", "starting")
    ]


@pytest.mark.parametrize("stopped", ["before it is begun", "while it is begun"])
def test_a_run_that_was_claimed_while_the_worker_stops_waits_for_another(
    service: SchedulerService, quick_desk: Desk, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    warm = Warm()
    monkeypatch.setattr(process_pool, "WarmServer", lambda *given, program: warm)
    if stopped == "before it is begun":
        monkeypatch.setattr(service.turns, "_lead_exporters", lambda orders, catalog: service.signals.no_starts.set())
        service.turns.take(quick_desk.clock.now())
    else:

        def stops(order: StartOrder) -> None:
            service.signals.no_starts.set()
            raise WarmServerGone

        monkeypatch.setattr(warm, "begin", stops)
        with pytest.raises(WarmServerGone):
            service.turns.take(quick_desk.clock.now())
    assert warm.begun == []
    row = quick_desk.run("a")
    assert (row.status, row.attempt, quick_desk.locks()) == (RunStatus.WAITING, 0, set())


def test_what_cannot_be_begun_is_not_counted_as_begun(
    service: SchedulerService, monkeypatch: pytest.MonkeyPatch, quick_desk: Desk
) -> None:
    monkeypatch.setattr(process_pool, "WarmServer", Warm)
    service.turns.take(quick_desk.clock.now())
    warm, catalog = service.pool._warm, service.turns.catalog
    assert isinstance(warm, Warm) and catalog is not None
    order = warm.begun[0]
    assert service.pool.begun == {order.claim}

    service.exits.begun.clear()
    service.signals.no_starts.set()
    warm.gone = True
    with pytest.raises(WarmServerGone):
        service.pool.begin(order, catalog)
    assert service.pool.begun == set()
