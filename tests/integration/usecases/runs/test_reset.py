"""Reset: look at why, see what will happen, then Finish."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest
from sqlalchemy import Engine
from sqlmodel import Session

from headway.errors import Refused
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.execution.ledger_port import LogLine, Outcome
from headway.scheduler.execution.process_identity import ProcessIdentity, identify, identify_self, is_alive
from headway.scheduler.store import workers
from headway.scheduler.store.runs.run_writer import StoredRunLedger, open_run_ledger
from headway.scheduler.store.tasks import load_types, save_types
from headway.scheduler.usecases.runs import reset as module
from headway.scheduler.usecases.runs.reset import Fate, ResetPreview, preview_reset, reset
from tests.support.databases import url_of
from tests.support.installation import Desk, task_named

GROUP = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
"""
REFUSAL = "You can't reset a task that's not running"


@pytest.fixture
def group() -> Iterator[tuple[ProcessIdentity, ProcessIdentity]]:
    """A process and its child, in a group of their own."""
    leader = subprocess.Popen(
        [sys.executable, "-c", GROUP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    )
    assert leader.stdout is not None
    child = identify(json.loads(leader.stdout.readline()))
    process = identify(leader.pid)
    assert process is not None and child is not None
    reaper = threading.Thread(target=leader.wait)
    reaper.start()
    yield process, child
    leader.kill()
    reaper.join(10)
    leader.stdout.close()


def _started(desk: Desk, process: ProcessIdentity | None) -> StoredRunLedger:
    desk.tasks(
        "name: a, type: job0, retries: 2, schedule: {cron: '0 * * * *'}, timezone: UTC",
        "name: b, type: job1, schedule: {after: a, spacing: '00:30:00'}",
    )
    return _begun(desk, process)


def _begun(desk: Desk, process: ProcessIdentity | None) -> StoredRunLedger:
    assert desk.turn("2026-11-23T16:00") == ["a"]
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    if process is not None:
        assert ledger.began(process) and ledger.running()
    return ledger


def _preview(desk: Desk, name: str = "a") -> ResetPreview:
    with reading(desk.engine) as session:
        return preview_reset(session, desk.clock, OPERATOR, task_named(session, name))


def _reset(desk: Desk, name: str = "a") -> RunStatus:
    return reset(desk.engine, desk.clock, OPERATOR, id_of(desk.task(name)))


def test_a_running_run_is_cancelled_with_its_whole_process_group(
    desk: Desk, group: tuple[ProcessIdentity, ProcessIdentity]
) -> None:
    ledger = _started(desk, group[0])
    preview = _preview(desk)
    assert preview.process == group[0] and preview.fate is Fate.ENDED
    assert preview.warning is not None and str(group[0].pid) in preview.warning
    assert preview.locks == ["group:job0", "slot:0", "task:1"]
    assert _reset(desk) is RunStatus.CANCELLED
    assert not is_alive(group[0]) and not is_alive(group[1])
    row = desk.run("a")
    assert (row.status, row.process_id, row.reset_by) == (RunStatus.CANCELLED, 0, OPERATOR.name)
    assert desk.locks() == set()
    assert not ledger.ended(Outcome(kind="completed"))
    ledger.close()
    assert [row.status for row in desk.runs("b")] == [RunStatus.SKIPPED]
    (audit,) = desk.audit("reset")
    assert audit.before == {"run": row.id, "status": "running", "process_id": group[0].pid}
    assert audit.after == {"run": row.id, "status": "cancelled", "process_id": 0}


def test_a_run_that_was_reset_is_not_retried_but_the_task_goes_on(desk: Desk) -> None:
    _started(desk, None).close()
    assert _reset(desk) is RunStatus.CANCELLED
    desk.clock.move(minutes=10)
    assert desk.turn() == []
    assert desk.turn("2026-11-23T17:00") == ["a"]


def test_a_failed_run_stays_failed_and_needs_no_reset_any_more(desk: Desk) -> None:
    ledger = _started(desk, identify_self())
    ledger.log([LogLine(desk.clock.now(), 40, "flow", f"line {n}") for n in range(30)])
    ledger.receipt({"name": "x.csv", "path": "/import/x.csv", "bytes": 3, "sha256": "ab"})
    ledger.ended(Outcome(kind="failed", error="ValueError: no such column", errors=4, permanent=True))
    ledger.close()
    assert desk.turn("2026-11-23T17:00") == []
    preview = _preview(desk)
    assert (preview.status, preview.error, preview.errors) == (RunStatus.FAILED, "ValueError: no such column", 4)
    assert [line.message for line in preview.last_lines] == [f"line {n}" for n in range(10, 30)]
    assert preview.skipped == ["b"] and preview.delivered == ["/import/x.csv (3 bytes)"]
    assert preview.warning is None and preview.fate is Fate.GONE
    assert f"{preview.next_start_at:%H:%M}" == "18:00"
    assert _reset(desk) is RunStatus.FAILED
    assert desk.task("a").failed_run_id is None
    assert desk.turn() == ["a"]


def test_the_preview_changes_nothing(desk: Desk) -> None:
    _started(desk, None).close()
    before = [row.model_dump() for row in desk.runs()], desk.locks(), len(desk.audit())
    _preview(desk)
    assert ([row.model_dump() for row in desk.runs()], desk.locks(), len(desk.audit())) == before


@pytest.mark.parametrize("how", ["never ran", "waits", "has completed", "was reset before"])
def test_what_is_neither_running_nor_failed_cannot_be_reset(desk: Desk, how: str) -> None:
    desk.tasks("name: a, type: job0")
    if how != "never ran":
        desk.run_now("a")
    if how in ("has completed", "was reset before"):
        desk.turn()
        desk.end("a", RunStatus.COMPLETED if how == "has completed" else RunStatus.FAILED)
    if how == "was reset before":
        _reset(desk)
    audits = len(desk.audit())
    for act in (_preview, _reset):
        with pytest.raises(Refused, match=REFUSAL) as refusal:
            act(desk)
        assert refusal.value.exit_code == 4
    assert len(desk.audit()) == audits


def test_a_lost_run_is_reset_although_its_machine_is_gone(desk: Desk) -> None:
    """Nothing there can be signalled; without this its group would be held for ever."""
    elsewhere = replace(identify_self(), host="another-machine")
    ledger = _started(desk, elsewhere)
    ledger.close()
    with writing(desk.engine) as session:
        end_lost_runs(session, identify_self().host, desk.clock.move(minutes=5))
    assert desk.run("a").process_id == elsewhere.pid and desk.locks() == {"group:job0"}
    preview = _preview(desk)
    assert preview.fate is Fate.PRESUMED_DEAD
    assert "Make sure first that it has ended" in str(preview.warning)
    assert _reset(desk) is RunStatus.FAILED
    assert desk.run("a").process_id == 0 and desk.locks() == set()


def test_a_lost_runs_process_is_not_taken_for_dead_while_a_worker_of_its_machine_sees_it(desk: Desk) -> None:
    elsewhere = replace(identify_self(), host="another-machine")
    _started(desk, elsewhere).close()
    with writing(desk.engine) as session:
        now = desk.clock.move(minutes=5)
        end_lost_runs(session, identify_self().host, now)
        workers.say_hello(session, "another", elsewhere, now)
    assert _preview(desk).fate is Fate.OUT_OF_REACH
    with pytest.raises(Refused, match="on another-machine may be alive and cannot be ended from here"):
        _reset(desk)
    assert desk.run("a").process_id == elsewhere.pid and desk.locks() == {"group:job0"}


def test_a_run_in_progress_on_another_machine_is_left_as_it_was(desk: Desk) -> None:
    ledger = _started(desk, replace(identify_self(), host="another-machine"))
    with pytest.raises(Refused, match="another-machine"):
        _reset(desk)
    row = desk.run("a")
    assert (row.status, row.cancel_asked_by) == (RunStatus.RUNNING, None)
    assert ledger.ended(Outcome(kind="completed"))
    ledger.close()


def test_a_run_that_ends_by_itself_while_it_is_reset_keeps_its_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _started(desk, identify_self())

    def ends_by_itself(process: ProcessIdentity) -> bool:
        return ledger.ended(Outcome(kind="completed"))

    monkeypatch.setattr(module, "end_group", ends_by_itself)
    assert _reset(desk) is RunStatus.COMPLETED
    ledger.close()
    assert desk.run("a").process_id == 0 and desk.locks() == set()


def test_a_reset_frees_its_own_locks_and_no_others(desk: Desk) -> None:
    desk.tasks("name: a, type: job0", "name: b, type: job1")
    desk.run_now("a")
    desk.run_now("b")
    assert desk.turn() == ["a", "b"]
    _reset(desk, "a")
    assert desk.locks() == {"group:job1", "task:2", "slot:1"}
    assert [row.status for row in desk.runs("b")] == [RunStatus.STARTING]


def test_finish_is_for_the_run_that_was_shown(desk: Desk, group: tuple[ProcessIdentity, ProcessIdentity]) -> None:
    """Somebody else has reset it and run it again meanwhile: that run is healthy, and nobody was asked about it."""
    _started(desk, None).close()
    desk.end("a", RunStatus.FAILED, error="no such column", permanent=True)
    shown = _preview(desk).run_id
    _reset(desk)
    desk.run_now("a")
    assert desk.turn() == ["a"]
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.began(group[0]) and ledger.running()
    ledger.close()
    with pytest.raises(Refused, match=f"run {shown} needs no reset any more, and run {order.run_id} is another one"):
        reset(desk.engine, desk.clock, OPERATOR, 1, shown=shown)
    assert is_alive(group[0]) and desk.runs("a")[-1].status is RunStatus.RUNNING


def test_a_failure_that_comes_while_another_run_is_reset_still_needs_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = _started(desk, identify_self())
    desk.run_now("a")

    def ends_and_the_next_one_fails(process: ProcessIdentity) -> bool:
        assert ledger.ended(Outcome(kind="cancelled", message="Ended by SIGTERM."))
        assert desk.turn() == ["a"]
        return desk.end("a", RunStatus.FAILED, error="no such column", permanent=True)

    monkeypatch.setattr(module, "end_group", ends_and_the_next_one_fails)
    assert _reset(desk) is RunStatus.CANCELLED
    ledger.close()
    assert desk.task("a").failed_run_id == desk.orders["a"].run_id
    assert desk.turn("2026-11-23T17:00") == []


def test_a_run_that_says_it_never_began_while_it_is_reset_does_not_begin_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = _started(desk, None)
    assert ledger.began(identify_self())
    monkeypatch.setattr(module, "end_group", lambda process: ledger.not_started("Prefect cannot be reached"))
    assert _reset(desk) is RunStatus.CANCELLED
    ledger.close()
    assert desk.locks() == set() and desk.turn() == []


def test_a_process_that_begins_while_its_run_is_reset_is_ended_too(
    desk: Desk, group: tuple[ProcessIdentity, ProcessIdentity], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, process = _started(desk, None), group[0]
    begins = iter([lambda: None, lambda: ledger.began(process) and ledger.running()])

    def after_it_began(engine: Engine) -> AbstractContextManager[Session]:
        next(begins, lambda: None)()
        return writing(engine)

    monkeypatch.setattr(module, "writing", after_it_began)
    assert _reset(desk) is RunStatus.CANCELLED
    assert not any(is_alive(one) for one in group)
    assert not ledger.ended(Outcome(kind="completed"))
    ledger.close()


def test_a_lost_run_that_keeps_its_group_can_be_reset_though_the_task_has_run_well_since(desk: Desk) -> None:
    desk.tasks("name: a, type: job0, on_failure: continue, schedule: {cron: '0 * * * *'}")
    _begun(desk, replace(identify_self(), host="elsewhere")).close()
    now = desk.clock.move(minutes=2)
    with writing(desk.engine) as session:
        end_lost_runs(session, "here", now)
        types = [replace(one, group="own") if one.name == "job0" else one for one in load_types(session).values()]
        save_types(session, types, now)
    assert desk.turn("2026-11-23T17:00") == ["a"]
    desk.end("a")
    assert desk.task("a").failed_run_id is None and desk.locks() == {"group:job0"}
    assert _reset(desk) is RunStatus.FAILED
    assert desk.locks() == set()
