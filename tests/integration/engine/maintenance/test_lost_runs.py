"""Runs that got lost: their worker is silent or gone, and what is then true of them."""

import os
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlmodel import Session

from headway.errors import Refused
from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance import lost_runs
from headway.scheduler.engine.maintenance.lost_runs import end_lost_runs
from headway.scheduler.execution.ledger_port import Outcome
from headway.scheduler.execution.process_identity import ProcessIdentity, end_group, identify_self
from headway.scheduler.store import workers
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.store.tasks import Catalog
from headway.scheduler.usecases.tasks.task_state import set_state
from tests.support.databases import url_of
from tests.support.installation import Desk, task_named

FAILED = RunStatus.FAILED


def _running(desk: Desk, process: ProcessIdentity | None, worker_seen: str) -> RunRow:
    """A run of task `a` in that process, whose worker was last seen then."""
    desk.tasks("name: a, type: report_execution, on_failure: continue", "name: b, type: task_error_report")
    desk.clock.set(worker_seen)
    desk.worker_lives()
    desk.run_now("a")
    assert desk.turn() == ["a"]
    order = desk.orders["a"]
    if process is not None:
        ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
        assert ledger.began(process) and ledger.running()
        ledger.close()
    return desk.run("a")


def _end_lost(desk: Desk, at: str, host: str | None = None) -> list[str]:
    with writing(desk.engine) as session:
        return end_lost_runs(session, host or identify_self().host, desk.clock.set(at))


def test_a_run_is_lost_after_60_seconds_of_silence_and_not_before(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    with writing(desk.engine) as session:
        desk_run = session.get(RunRow, desk.run("a").id)
        assert desk_run is not None
        desk_run.flow_run_id = "flow-run-1"
    assert _end_lost(desk, "2026-11-23T16:00:59") == []
    assert _end_lost(desk, "2026-11-23T16:01") == ["flow-run-1"]  # whom Prefect has to be told about
    assert _end_lost(desk, "2026-11-23T16:02") == []


def test_a_lost_run_whose_process_is_gone_has_failed_and_frees_its_group(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    os.kill(process.pid, 9)
    assert end_group(process)
    _end_lost(desk, "2026-11-23T16:01")
    row = desk.run("a")
    assert (row.status, row.process_id) == (FAILED, 0)
    assert desk.locks() == set()
    desk.run_now("b")
    assert desk.turn() == ["b"]


def test_a_lost_run_whose_process_lives_keeps_its_id_and_its_group_until_reset(
    desk: Desk, process: ProcessIdentity
) -> None:
    _running(desk, process, "2026-11-23T16:00")
    _end_lost(desk, "2026-11-23T16:01")
    row = desk.run("a")
    assert (row.status, row.process_id) == (FAILED, process.pid)
    assert row.error is not None and "lost contact" in row.error
    assert desk.locks() == {"group:reports"}
    desk.run_now("b")
    assert desk.turn() == []
    assert desk.run("b").status is RunStatus.WAITING


def test_of_another_machines_process_nothing_is_proven(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    os.kill(process.pid, 9)
    assert end_group(process)
    _end_lost(desk, "2026-11-23T16:01", host="another-machine")
    assert (desk.run("a").status, desk.run("a").process_id) == (FAILED, process.pid)
    assert desk.locks() == {"group:reports"}


def test_a_run_may_end_by_itself_in_the_minute_after_its_worker_died(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    with writing(desk.engine) as session:
        workers.say_goodbye(session, "worker-1", desk.clock.now())
    assert _end_lost(desk, "2026-11-23T16:00:59") == []
    assert desk.run("a").status is RunStatus.RUNNING
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert ledger.ended(Outcome(kind="completed"))
    ledger.close()
    assert (desk.run("a").status, desk.locks()) == (RunStatus.COMPLETED, set())


def test_a_run_is_lost_at_once_where_both_its_worker_and_its_process_are_gone(
    desk: Desk, process: ProcessIdentity
) -> None:
    _running(desk, process, "2026-11-23T16:00")
    with writing(desk.engine) as session:
        workers.say_goodbye(session, "worker-1", desk.clock.now())
    assert end_group(process, grace_seconds=0)
    _end_lost(desk, "2026-11-23T16:00:01")
    assert (desk.run("a").status, desk.run("a").process_id, desk.locks()) == (FAILED, 0, set())


def test_what_changes_a_task_whose_lost_process_may_live_has_to_be_confirmed(
    desk: Desk, process: ProcessIdentity
) -> None:
    _running(desk, process, "2026-11-23T16:00")
    _end_lost(desk, "2026-11-23T16:01")
    with pytest.raises(Refused, match="process ID"), writing(desk.engine) as session:
        set_state(session, desk.clock, OPERATOR, task_named(session, "a"), enabled=False, confirmed=False)
    with pytest.raises(Refused, match="process ID"):
        desk.define("tasks: [{name: a, type: report_execution, object: other}]", confirmed=False)


def test_a_run_that_never_got_a_process_is_lost_with_its_worker(desk: Desk) -> None:
    _running(desk, None, "2026-11-23T16:00")
    _end_lost(desk, "2026-11-23T16:01")
    assert (desk.run("a").status, desk.run("a").process_id) == (FAILED, 0)
    assert desk.locks() == set()


def test_a_lost_run_is_retried_only_if_its_process_is_gone(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    desk.change(desk.task("a"), retries=1)
    _end_lost(desk, "2026-11-23T16:01")
    assert desk.run("a").status is FAILED


def test_the_words_of_a_lost_runs_process_come_too_late(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    _end_lost(desk, "2026-11-23T16:01")
    order = desk.orders["a"]
    ledger = open_run_ledger(url_of(desk.engine), order.run_id, order.claim)
    assert not ledger.ended(Outcome(kind="completed"))
    ledger.close()
    assert desk.run("a").status is FAILED


def test_a_lost_runs_slot_is_free_for_others(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    desk.tasks("name: c, type: job1", settings="max_running: 1")
    _end_lost(desk, "2026-11-23T16:01")
    desk.run_now("c")
    assert desk.turn() == ["c"]


def test_a_process_id_is_kept_only_while_its_process_is_not_proven_gone(desk: Desk, process: ProcessIdentity) -> None:
    _running(desk, process, "2026-11-23T16:00")
    _end_lost(desk, "2026-11-23T16:01")
    assert end_group(process, grace_seconds=0)
    assert _end_lost(desk, "2026-11-23T16:02") == []
    row = desk.run("a")
    assert (row.status, row.process_id) == (FAILED, 0)
    assert desk.locks() == {"group:reports"}  # held until reset all the same


def test_a_worker_whose_process_is_gone_is_declared_dead_without_waiting(desk: Desk, process: ProcessIdentity) -> None:
    now = desk.clock.now()
    with writing(desk.engine) as session:
        workers.say_hello(session, "dead", process, now)
        workers.say_hello(session, "alive", identify_self(), now)
    assert end_group(process, grace_seconds=0)
    with writing(desk.engine) as session:
        assert workers.bury_dead(session, process, now) == ["dead"]
        assert [worker.id for worker in workers.alive(session, now)] == ["alive"]
        assert not workers.beat(session, "dead", now, None)


def test_a_machine_of_the_same_name_does_not_bury_another_s_worker(desk: Desk, process: ProcessIdentity) -> None:
    """Of another boot nothing is known here: its worker is dead when it has been silent for a minute."""
    now = desk.clock.now()
    with writing(desk.engine) as session:
        workers.say_hello(session, "twin", replace(process, boot_id="another"), now)
    with writing(desk.engine) as session:
        assert workers.bury_dead(session, process, now) == []
        assert [worker.id for worker in workers.alive(session, now)] == ["twin"]


def test_a_run_that_another_worker_has_retried_meanwhile_is_not_ended(
    desk: Desk, process: ProcessIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers find the same lost run: the second of them looked before the first had it started again."""
    row = _running(desk, process, "2026-11-23T16:00")
    assert end_group(process, grace_seconds=0)
    before = lost_runs.load_chain_catalog

    def overtaken(session: Session, uid: int) -> Catalog:
        session.execute(text("UPDATE run SET claim = 'of another attempt' WHERE id = :run"), {"run": row.id})
        return before(session, uid)

    monkeypatch.setattr(lost_runs, "load_chain_catalog", overtaken)
    assert _end_lost(desk, "2026-11-23T16:01") == []
    assert desk.run("a").status is RunStatus.RUNNING
