"""kill -9 of the worker at random instants, and everything that can happen to a single run's process."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter

from models.domain import RunStatus
from tests.acceptance.running import processes_of, until
from tests.faults.stack import Stack, settle, within
from tests.faults.table import Line

TASKS = 20


def worker_killed(stack: Stack, runs: int, kills: int, seed: int = 0) -> Line:
    """The worker dies so many times while that many dues are worked off; another is started each time."""
    chance = random.Random(f"kills {seed}")
    stack.define(TASKS, seconds=0.2)
    expected = stack.come_due(runs // TASKS)
    # Each kill comes a moment after so many runs have ended, so that it falls into the work and not into imports.
    after = sorted(chance.randrange(expected) for _ in range(kills))
    began = time.monotonic()
    worker = stack.start_worker()
    for ended in after:
        _ended_or_stuck(stack, ended)
        stack.sleep(chance.uniform(0.0, 0.6))
        worker.kill()
        worker.wait()
        worker = stack.start_worker()
    while stack.open_runs() or len(stack.all_runs()) < expected:
        stack.sleep(0.5)
        assert time.monotonic() - began < 7200, "it does not come to an end"
    left = _left_over(stack, worker.pid)
    within(lambda: not stack.locks(), 60)  # a lost run keeps its group until its process is seen to be gone
    stack.stop_workers()
    problems = stack.problems(expected) + left
    outcomes = dict(Counter(row.status.value for row in stack.all_runs()))
    text = f"{kills} kills, {expected} dues: {len(stack.all_runs())} rows, {outcomes}; {_told(problems)}"
    return Line("Worker killed (kill -9)", stack.where, text, not problems)


def _ended_or_stuck(stack: Stack, count: int) -> None:
    """Returns once so many runs have ended."""
    until(lambda: sum(row.ended_at is not None for row in stack.all_runs()) >= count, f"{count} ended runs", 600)


def _left_over(stack: Stack, worker: int) -> list[str]:
    """Processes of this installation that no row names, once nothing is in progress."""

    def strangers() -> dict[int, str]:
        found = processes_of(stack.home)
        return {pid: line for pid, line in found.items() if "zygote" in line and not _belongs(pid, worker)}

    within(lambda: not strangers(), 30)
    return [f"a process left: {pid} {line}" for pid, line in strangers().items()]


def _belongs(pid: int, worker: int) -> bool:
    """Whether the worker is its parent or grandparent."""
    for _ in range(2):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            return True  # gone meanwhile
        if pid == worker:
            return True
    return False


def process_killed(stack: Stack) -> Line:
    """kill -9 of one run's process in the middle of its flow."""
    run_id = stack.run_now()
    pid = stack.running(run_id).process_id
    os.kill(pid, signal.SIGKILL)
    row = stack.ended(run_id)
    right = row.status is RunStatus.FAILED and row.process_id == 0 and "SIGKILL" in (row.error or "")
    return Line(
        "Run's process killed", stack.where, f"{row.status.value}: {row.error}; process ID {row.process_id}", right
    )


def process_out_of_memory(stack: Stack) -> Line:
    """The flow asks for more memory than its limit."""
    run_id = stack.run_now()
    row = stack.ended(run_id)
    right = row.status is RunStatus.FAILED and row.process_id == 0 and "MemoryError" in (row.error or "")
    return Line(
        "Run out of memory", stack.where, f"{row.status.value}: {row.error}; process ID {row.process_id}", right
    )


def process_frozen(stack: Stack) -> Line:
    """SIGSTOP of one run's process: it keeps its group, and its state is noticed; a reset ends it."""
    from models.db import reading
    from scheduler.clock import SystemClock
    from scheduler.privileges import OPERATOR
    from scheduler.usecases.find import find_task
    from scheduler.usecases.reset import Fate, preview_reset, reset

    run_id = stack.run_now()
    row = stack.running(run_id)
    os.kill(row.process_id, signal.SIGSTOP)
    stack.sleep(2)
    with reading(stack.engine) as session:
        preview = preview_reset(session, SystemClock(), OPERATOR, find_task(session, "task 0"))
    seen = stack.run(run_id)
    noticed = preview.fate is Fate.ENDED and seen.process_id == row.process_id and bool(stack.locks())
    status = reset(stack.engine, SystemClock(), OPERATOR, row.task_uid)
    row = stack.run(run_id)
    right = noticed and status is RunStatus.CANCELLED and row.process_id == 0 and not stack.locks()
    text = (
        f"in progress with its process ID and group until the reset, then {status.value}, process ID {row.process_id}"
    )
    return Line("Run's process frozen (SIGSTOP)", stack.where, text, right)


def worker_frozen(stack: Stack, seconds: float = 75) -> Line:
    """SIGSTOP of a worker and its runs for longer than its silence may last, while a second worker watches."""
    second = stack.start_worker()
    run_id = stack.run_now()
    row = stack.running(run_id)
    first = next(one for one in stack.workers if (found := stack.worker_row(one)) and found.id == row.worker_id)
    second = next(one for one in stack.workers if one is not first and one.poll() is None)
    family = [pid for pid in processes_of(stack.home) if _descends(pid, first.pid)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    lost = stack.ended(run_id, seconds + 60)
    kept = stack.locks()
    for pid in family:
        os.kill(pid, signal.SIGCONT)
    gone = within(lambda: not os.path.exists(f"/proc/{row.process_id}"), 60)
    after = stack.run(run_id)
    second.terminate()
    second.wait(60)
    stack.workers.remove(second)
    right = (
        lost.status is RunStatus.FAILED
        and "lost contact" in (lost.error or "")
        and lost.process_id == row.process_id
        and kept == [f"group:{lost.type}"]
        and (after.status, after.error) == (lost.status, lost.error)
        and gone
    )
    text = f"{lost.error}; group kept: {kept}; after it woke: unchanged, its process left by itself"
    return Line("Worker frozen, then awake", stack.where, text, right)


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        try:
            with open(f"/proc/{pid}/stat") as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False


def _told(problems: list[str]) -> str:
    return "nothing lost, nothing twice, no lock and no process left" if not problems else "; ".join(problems[:5])


__all__ = ["settle", "until", "worker_frozen", "worker_killed"]
