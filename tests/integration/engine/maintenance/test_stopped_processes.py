"""A run whose process is stopped is told of, once a standstill, and nothing is ended on its behalf."""

import os
import signal

import pytest

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance.stopped_processes import STANDS_STILL, StoppedProcesses
from headway.scheduler.execution.process_identity import ProcessIdentity, identify_self
from headway.scheduler.store import workers
from headway.scheduler.store.queries import run_detail
from headway.scheduler.store.runs.run_writer import open_run_ledger
from headway.scheduler.usecases.tasks.browse_tasks import TaskQuery, browse_tasks, overview
from tests.support.databases import url_of
from tests.support.installation import Desk


@pytest.fixture
def running(desk: Desk, process: ProcessIdentity) -> Desk:
    """Task `a` is in progress in that process."""
    desk.tasks("name: a, type: job0")
    desk.worker_lives()
    desk.run_now("a")
    desk.turn()
    ledger = open_run_ledger(url_of(desk.engine), desk.orders["a"].run_id, desk.orders["a"].claim)
    assert ledger.began(process) and ledger.running()
    ledger.close()
    return desk


def stop(process: ProcessIdentity) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # it has stopped


def lines(desk: Desk) -> list[str]:
    with reading(desk.engine) as session:
        return [line.message for line in run_detail.run_lines(session, id_of(desk.run("a")))]


def test_it_is_told_after_a_minute_once_and_again_when_it_goes_on(running: Desk, process: ProcessIdentity) -> None:
    look, clock = StoppedProcesses(running.engine, identify_self().host), running.clock
    another = StoppedProcesses(running.engine, identify_self().host)
    assert look.round(clock.now()) == []
    stop(process)
    assert look.round(clock.now()) == another.round(clock.now()) == []
    assert look.round(clock.move(seconds=59)) == []
    run_id = running.run("a").id
    assert look.round(clock.move(seconds=1)) == [run_id]
    assert look.round(clock.move(seconds=1)) == another.round(clock.now()) == []  # others know it then
    row = running.run("a")
    assert row.status is RunStatus.RUNNING and row.process_id == process.pid and running.locks()
    assert row.message.startswith(STANDS_STILL) and f"kill -CONT {process.pid}" in row.message
    with writing(running.engine) as session:
        workers.beat(session, "worker-1", clock.now(), None)
    with reading(running.engine) as session:
        (line,) = browse_tasks(session, clock, OPERATOR, TaskQuery()).lines
        assert line.stuck == row.message and overview(session, clock, OPERATOR).stuck == 1

    os.kill(process.pid, signal.SIGCONT)
    os.waitpid(process.pid, os.WCONTINUED)
    assert look.round(clock.move(seconds=10)) == []
    assert running.run("a").message == ""
    assert lines(running) == [row.message, "its process goes on"]
    stop(process)
    assert look.round(clock.move(seconds=10)) == []  # counted anew
    assert look.round(clock.move(seconds=60)) == [run_id]


def test_a_process_of_another_host_is_nobody_elses_business(running: Desk, process: ProcessIdentity) -> None:
    stop(process)
    look = StoppedProcesses(running.engine, "elsewhere")
    assert look.round(running.clock.now()) == look.round(running.clock.move(minutes=5)) == []
    assert running.run("a").message == ""
