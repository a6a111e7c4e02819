"""How a run's process ends when it does not end by itself, and who learns of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.process_identity import ProcessIdentity, end_group, identify, is_alive
from headway.scheduler.execution.warm_server import Exited, WarmServer, WarmServerGone
from tests.support.prefect_server import ServerForTests
from tests.support.project import PROJECT
from tests.support.run_harness import EngineRoom, StartedRun, eventually


def process_of(run: StartedRun) -> ProcessIdentity:
    return ProcessIdentity(**run.wrote("began"))


def gone(pid: int) -> bool:
    identity = identify(pid)
    return identity is None or not is_alive(identity)


def test_a_process_that_leaves_without_a_word_is_reported_with_its_code(engine: EngineRoom) -> None:
    run = engine.run("leaving", code=3)

    assert (run.exited().exit_code, run.exited().signal) == (3, None)
    assert run.exited().describe() == "the process ended with exit code 3"
    assert "ended" not in run.calls()


def test_a_process_that_is_killed_is_reported_with_its_signal(engine: EngineRoom) -> None:
    run = engine.run("killing_itself")

    assert (run.exited().exit_code, run.exited().signal) == (None, signal.SIGKILL)
    assert run.exited().describe() == "the process was ended by SIGKILL"


def test_a_reset_cancels_the_run_and_its_flow_run(engine: EngineRoom, tmp_path: Path) -> None:
    run = engine.start("slow", tmp_path / "started")

    assert end_group(process_of(run))
    assert run.exited().exit_code == ExitCode.RECORDED
    assert run.wrote("ended")["kind"] == "cancelled"
    states = engine.prefect.state_names(run.wrote("bind"))
    assert states[-1] == "Cancelled"
    assert "Crashed" not in states


def test_a_reset_ends_the_whole_group_of_a_flow_that_ignores_it(engine: EngineRoom, tmp_path: Path) -> None:
    run = engine.start("stubborn", tmp_path / "started")
    own, child = (int(pid) for pid in (tmp_path / "started").read_text().split())

    assert end_group(process_of(run), grace_seconds=0.2)
    assert run.exited().signal == signal.SIGKILL
    assert gone(own)
    assert gone(child)


def test_what_a_dead_process_leaves_in_its_group_is_ended_with_it(engine: EngineRoom, tmp_path: Path) -> None:
    run = engine.start("stubborn", tmp_path / "started")
    own, child = (int(pid) for pid in (tmp_path / "started").read_text().split())

    os.kill(own, signal.SIGKILL)
    run.exited()
    eventually(lambda: gone(child), "the child of the run's process is gone")


def test_stopping_the_worker_fails_its_runs_and_says_why(prefect_server: ServerForTests, tmp_path: Path) -> None:
    with EngineRoom(prefect_server, tmp_path) as room:
        run = room.start("slow", tmp_path / "started")
        room.warm.stop(grace_seconds=20)

    assert run.exited().exit_code == ExitCode.RECORDED
    assert run.wrote("ended")["kind"] == "failed"
    assert "the worker was stopped" in run.wrote("ended")["error"]
    assert gone(process_of(run).pid)


def test_draining_waits_for_the_runs_and_takes_no_more(prefect_server: ServerForTests, tmp_path: Path) -> None:
    with EngineRoom(prefect_server, tmp_path) as room:
        started, go = tmp_path / "started", tmp_path / "go"
        run = room.begin(room.order("waiting_for", started=str(started), go=str(go)))
        eventually(started.exists, "the flow started")

        assert not room.warm.drain(timeout=0.05)
        with pytest.raises(WarmServerGone):
            room.begin(room.order("nothing"))
        go.touch()
        assert room.warm.drain(timeout=30)
    assert run.wrote("ended")["kind"] == "completed"


def test_runs_end_with_the_process_they_were_forked_from(prefect_server: ServerForTests, tmp_path: Path) -> None:
    with EngineRoom(prefect_server, tmp_path) as room:
        run = room.start("slow", tmp_path / "started")
        assert room.warm.pid is not None
        os.kill(room.warm.pid, signal.SIGKILL)

        exited = run.exited()
        assert (exited.exit_code, exited.signal) == (None, None)
        assert gone(process_of(run).pid)
        assert run.wrote("ended")["kind"] == "failed"
        assert "warm server died" in run.wrote("ended")["error"]
        eventually(lambda: not room.warm.alive, "the worker knows")
        with pytest.raises(WarmServerGone):
            room.begin(room.order("nothing"))


def test_a_stubborn_run_is_killed_after_the_process_it_was_forked_from(
    prefect_server: ServerForTests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headway.scheduler.execution.warm_server.ORPHAN_GRACE_SECONDS", 0.2)
    with EngineRoom(prefect_server, tmp_path) as room:
        run = room.start("stubborn", tmp_path / "started")
        own, child = (int(pid) for pid in (tmp_path / "started").read_text().split())
        assert room.warm.pid is not None
        os.kill(room.warm.pid, signal.SIGKILL)

        run.exited()
        assert gone(own)
        assert gone(child)


_WORKER_THAT_DIES = """
import os, signal, sys
from pathlib import Path
from headway.scheduler.execution.warm_server import StartOrder, WarmServer
import json
warm = WarmServer(["tests.support.sample_flows"], None, print, program="tests.support.run_harness_ledger")
warm.start()
warm.begin(StartOrder(**json.loads(sys.argv[1])))
sys.stdin.read()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_runs_do_not_outlive_a_worker_that_is_killed(engine: EngineRoom, tmp_path: Path) -> None:
    started = tmp_path / "started"
    order = engine.order("slow", started=str(started))
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER_THAT_DIES, json.dumps(vars(order))],
        env={**os.environ, **engine.prefect.environment, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
    )
    run = StartedRun(order)
    eventually(lambda: started.exists() and started.read_text(), "the flow started")
    assert worker.stdin is not None
    worker.stdin.close()
    worker.wait()

    assert "the worker died" in run.wrote("ended")["error"]
    eventually(lambda: gone(process_of(run).pid), "the run's process is gone")


def test_a_module_that_cannot_be_imported_is_reported_and_harms_nobody(
    prefect_server: ServerForTests, tmp_path: Path
) -> None:
    room = EngineRoom(prefect_server, tmp_path)
    room.warm = WarmServer(
        ["tests.no_such_module", "tests.support.sample_flows"],
        {**os.environ, **prefect_server.environment, "PYTHONPATH": str(PROJECT)},
        room._on_exit,
        program="tests.support.run_harness_ledger",
    )
    with room:
        assert room.warm.failed_modules == {
            "tests.no_such_module": "ModuleNotFoundError: No module named 'tests.no_such_module'"
        }
        assert room.run("nothing").exited().exit_code == ExitCode.RECORDED


def test_a_lost_exit_is_told_apart_from_one_that_never_was() -> None:
    assert "could not be started" in Exited(run_id=1, claim="c", pid=0, exit_code=None, signal=None).describe()
    assert "was lost" in Exited(run_id=1, claim="c", pid=77, exit_code=None, signal=None).describe()
