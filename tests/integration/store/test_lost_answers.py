"""A database that takes a write and cannot say so, or says no at the very end."""

from dataclasses import replace
from unittest import mock

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from headway.models.ledger.database import sqlite_module, writing
from headway.models.values.run import RunStatus
from headway.scheduler.execution.ledger_port import Outcome
from headway.scheduler.execution.process_identity import identify_self
from headway.scheduler.store.runs.claims import give_back_unbegun
from headway.scheduler.store.runs.run_writer import open_run_ledger
from tests.support.installation import Desk


def test_what_a_worker_claimed_without_hearing_of_it_waits_again(desk: Desk) -> None:
    desk.tasks("name: Export, type: job0", "name: Load, type: job1")
    desk.worker_lives()
    for name in ("Export", "Load"):
        desk.run_now(name)
    assert desk.turn() == ["Export", "Load"]

    with writing(desk.engine) as session:
        begun = {desk.orders["Load"].claim}
        assert give_back_unbegun(session, "worker-1", begun, desk.clock.now()) == [desk.run("Export").id]
    assert desk.run("Load").status is RunStatus.STARTING
    assert (desk.run("Export").status, desk.run("Export").attempt) == (RunStatus.WAITING, 0)
    assert desk.locks() == {"group:job1", "task:2", "slot:1"}
    assert desk.turn() == ["Export"]
    assert desk.run("Export").attempt == 1


def test_another_worker_s_claims_are_not_given_back(desk: Desk) -> None:
    desk.tasks("name: Export, type: job0")
    desk.worker_lives()
    desk.run_now("Export")
    desk.turn()

    with writing(desk.engine) as session:
        assert give_back_unbegun(session, "worker-2", set(), desk.clock.now()) == []


def test_a_commit_that_failed_leaves_the_connection_free(sqlite: Engine) -> None:
    refused = mock.Mock(side_effect=sqlite_module().OperationalError("database is locked"))
    with (
        mock.patch.object(sqlite.dialect, "do_commit", refused),
        pytest.raises(OperationalError),
        writing(sqlite) as session,
    ):
        session.execute(text("UPDATE setting SET value = '1' WHERE key = 'installed'"))

    with writing(sqlite) as session:  # by the same pooled connection
        assert session.execute(text("SELECT value FROM setting WHERE key = 'installed'")).scalar_one() == "true"


def test_a_process_that_repeats_a_write_whose_answer_was_lost_goes_on(desk: Desk) -> None:
    desk.tasks("name: Export, type: job0")
    desk.worker_lives()
    desk.run_now("Export")
    desk.turn()
    order = desk.orders["Export"]
    ledger = open_run_ledger(order.database_url, order.run_id, order.claim)
    process = identify_self()

    assert [ledger.began(process), ledger.began(process)] == [True, True]
    assert not ledger.began(replace(process, pid=process.pid + 1))  # another process of the same claim
    assert [ledger.running(), ledger.running()] == [True, True]
    assert [ledger.ended(Outcome(kind="completed")), ledger.ended(Outcome(kind="completed"))] == [True, True]
    assert not ledger.ended(Outcome(kind="failed", error="a late thought"))
    ledger.close()
    assert [event.after for event in desk.events(order.run_id)] == ["waiting", "starting", "running", "completed"]
