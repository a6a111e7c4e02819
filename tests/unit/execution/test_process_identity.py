"""Processes, told apart and ended. Real ones: there is nothing to fake about a kernel."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headway.scheduler.execution import process_identity
from headway.scheduler.execution.process_identity import ProcessIdentity, end_group, identify, identify_self, is_alive

SLEEPS = "import time; print('up', flush=True); time.sleep(60)"
IGNORES_TERM = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"
HAS_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
                         stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@contextmanager
def running(code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process in a group of its own, and the first line it says."""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def identity_of(pid: int) -> ProcessIdentity:
    identity = identify(pid)
    assert identity is not None
    return identity


def test_a_living_process_is_alive_and_a_dead_one_is_not() -> None:
    with running(SLEEPS) as (process, _):
        identity = identity_of(process.pid)
        assert is_alive(identity)
    assert not is_alive(identity)
    assert identify(process.pid) is None


def test_a_zombie_is_gone() -> None:
    with running("print('up', flush=True)") as (process, _):
        identity = identity_of(process.pid)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped yet
        assert not is_alive(identity)


@pytest.mark.parametrize(
    "stranger",
    [
        {"started_ticks": 1},  # the number was given to another process
        {"boot_id": "another boot"},  # and the machine was restarted since
    ],
)
def test_a_stranger_with_the_same_number_is_neither_alive_nor_ended(stranger: dict[str, int]) -> None:
    with running(SLEEPS) as (process, _):
        before = replace(identity_of(process.pid), **stranger)  # type: ignore[arg-type]

        assert not is_alive(before)
        assert end_group(before)
        assert process.poll() is None


def test_nothing_is_proven_about_another_host() -> None:
    elsewhere = replace(identify_self(), host="elsewhere", started_ticks=1)

    assert is_alive(elsewhere)
    assert not end_group(elsewhere)


def test_an_identity_tells_pid_start_boot_and_host() -> None:
    identity = identify_self()

    assert identity.pid == os.getpid()
    assert identity.host == socket.gethostname()
    assert identity.boot_id
    assert identity.started_ticks > 0


def test_ending_a_group_ends_the_children_too() -> None:
    with running(HAS_A_CHILD) as (process, child):
        child_identity = identity_of(int(child))

        assert end_group(identity_of(process.pid))
        assert not is_alive(child_identity)
        assert process.wait() == -signal.SIGTERM


def test_what_ignores_a_term_is_killed_after_the_grace() -> None:
    with running(IGNORES_TERM) as (process, _):
        began = time.monotonic()

        assert end_group(identity_of(process.pid), grace_seconds=0.3)
        assert process.wait() == -signal.SIGKILL
        assert time.monotonic() - began >= 0.3


def test_children_are_ended_even_if_their_leader_is_dead_already() -> None:
    with running(HAS_A_CHILD) as (process, child):
        leader, child_identity = identity_of(process.pid), identity_of(int(child))
        process.kill()
        process.wait()
        assert is_alive(child_identity)

        assert end_group(leader)
        assert not is_alive(child_identity)


def test_ending_what_is_gone_succeeds() -> None:
    with running(SLEEPS) as (process, _):
        identity = identity_of(process.pid)
    assert end_group(identity)


def test_a_process_that_may_not_be_signalled_is_not_proven_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    with running(SLEEPS) as (process, _):
        monkeypatch.setattr(process_identity.os, "kill", refuse)
        assert not end_group(identity_of(process.pid))
        monkeypatch.undo()


def test_a_command_with_blanks_and_parentheses_is_parsed(tmp_path: Path) -> None:
    odd = tmp_path / "a (b) c"
    odd.symlink_to(sys.executable)
    with running(SLEEPS) as (process, _):
        plain = identity_of(process.pid)
    odd_process = subprocess.Popen([odd, "-c", SLEEPS], stdout=subprocess.PIPE, start_new_session=True)
    assert odd_process.stdout is not None
    odd_process.stdout.readline()
    odd_identity = identity_of(odd_process.pid)
    assert is_alive(odd_identity)
    assert odd_identity.started_ticks >= plain.started_ticks
    assert end_group(odd_identity)
    odd_process.wait()
    odd_process.stdout.close()


PS_LINES = """  501   500 S    Sun Nov 22 01:02:03 2026
  502   500 Z+   Sun Nov 22 01:02:04 2026
"""


def test_without_proc_the_same_is_read_from_ps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "_PROC", Path("/nowhere"))
    answer = subprocess.CompletedProcess([], 0, stdout=PS_LINES)
    monkeypatch.setattr(process_identity.subprocess, "run", lambda *args, **kwargs: answer)

    identity = ProcessIdentity(501, 1795309323, "", socket.gethostname())
    assert identify(501) == identity
    assert is_alive(identity)
    assert not is_alive(replace(identity, started_ticks=1795309322))
