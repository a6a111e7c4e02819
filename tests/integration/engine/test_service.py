"""The service starts its parts, and stops them in order."""

import threading

import pytest
from sqlmodel import select

from headway.models.ledger.database import reading
from headway.models.ledger.tables import WorkerRow
from headway.scheduler.engine import process_pool
from tests.support.installation import Desk
from tests.support.one_worker import Warm, one_worker


def test_it_says_hello_and_goodbye_and_leaves_no_thread(quick_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_pool, "WarmServer", Warm)
    service = one_worker(quick_desk)
    service.start()
    names = {thread.name for thread in service._threads}
    assert names == {
        f"headway {part}"
        for part in ("turns", "signs of life", "engine", "cancellations", "alerts", "other pools", "pick-up")
    }
    service.stop(0)
    assert not any(thread.is_alive() for thread in service._threads)
    assert threading.current_thread() not in service._threads
    with reading(quick_desk.engine) as session:
        row = session.exec(select(WorkerRow).where(WorkerRow.id == service.worker.id)).one()
    assert row.stopped_at is not None
