"""kill -9 of the worker at random instants, and everything that can happen to a single run's process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter

from headway.clock import SystemClock
from headway.models.ledger.database import reading
from headway.models.ledger.tables import RunRow, id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.engine.maintenance.stopped_processes import STANDS_STILL
from headway.scheduler.store.queries import run_detail
from headway.scheduler.usecases.runs.reset import Fate, preview_reset, reset
from headway.scheduler.usecases.tasks.find_task import find_task
from tests.faults.mailbox import mailbox
from tests.faults.marks import Mark
from tests.faults.stack import Stack, within
from tests.faults.table import Line
from tests.support.running_stack import processes_of, until

TASKS = 20
UNRECORDED_SECONDS = 20.0
"""How long a flow's result may be on its way to the ledger: so long Prefect is given to hear of it first."""


def worker_killed(stack: Stack, runs: int, kills: int, seed: int = 0) -> Line:
    """The worker dies so many times while that many dues come and are worked off; another is started each time.

    Before each kill a share of the dues comes, and the kill follows at a random instant from then on: while their rows
    are made, while they are claimed and started, or while they work.
    """
    chance = random.Random(f"kills {seed}")
    before = len(stack.all_runs())
    first = stack.define(TASKS, seconds=0.2)
    killed_at: dict[str, float] = {}
    expected, unmade = before, 0
    worker = stack.a_worker()
    for number in range(kills):
        _at_work(stack, worker, expected)
        share = range(runs * number // kills, runs * (number + 1) // kills)
        row = stack.worker_row(worker)
        assert row is not None
        stack.come_due(Counter(first + due % TASKS for due in share))
        # A row is made within a tenth of a second, a run takes about one.
        stack.sleep(chance.uniform(0.0, chance.choice([0.15, 2.0])))
        worker.kill()
        worker.wait()
        killed_at[row.id] = time.time()
        unmade += len(stack.all_runs()) == expected
        expected += len(share)
        worker = stack.start_worker()
    until(lambda: len(stack.all_runs()) >= expected and not stack.open_runs(), "the end of all runs", 3600)
    left = _left_over(stack, worker.pid)
    within(lambda: not stack.locks(), 60)  # a lost run keeps its group until its process is seen to be gone
    stack.stop_workers()
    rows = stack.all_runs()[before:]
    false, unheard = false_rows(rows, stack.all_marks(), killed_at)
    problems = stack.problems(expected) + false + left
    if kills >= 20 and not 0 < unmade < kills:
        problems.append("the kills did not fall before and after the rows were made")
    outcomes = dict(Counter(row.status.value for row in rows))
    text = (
        f"{kills} kills, {unmade} of them before the rows of what had just come due; {runs} dues: "
        f"{len(rows)} rows, {outcomes}, {unheard} of them ended unheard; {_told(problems)}"
    )
    return Line("Worker killed (kill -9)", stack.where, text, not problems)


def _at_work(stack: Stack, worker: subprocess.Popen[bytes], rows: int) -> None:
    """Returns once whatever came due before has its row, and this worker has begun a run or finds none to begin."""

    def look() -> bool:
        row, runs = stack.worker_row(worker), stack.all_runs()
        mine = any(run.worker_id == row.id and run.process_id for run in runs) if row else False
        return len(runs) == rows and (mine or all(run.ended_at is not None for run in runs))

    until(look, f"{rows} rows, and a worker at work", 600)


def false_rows(runs: list[RunRow], marks: list[Mark], killed_at: dict[str, float]) -> tuple[list[str], int]:
    """Rows that say what is not so, and how many runs ended their work in the moment their worker was killed, unheard.

    `completed` is true of a flow that began and ended once (`Stack.problems`). `failed` is true of a run of a killed
    worker whose flow did not come to its end. Where it did, its result has to be in the ledger, unless it was still
    on its way there when the worker was killed: then nobody could record it, and failed is all that can be said.
    """
    ended = {mark.run_id: mark.at for mark in marks if mark.what == "ended"}
    false, unheard = [], 0
    for row in runs:
        end, killed = ended.get(id_of(row)), killed_at.get(row.worker_id or "")
        if row.status is RunStatus.COMPLETED:
            continue
        if row.status is not RunStatus.FAILED:
            false.append(f"run {row.id} is {row.status.value}")
        elif killed is None or "worker" not in (row.error or ""):
            false.append(f"run {row.id} failed, and no worker was killed under it: {row.error}")
        elif end is not None and end < killed - UNRECORDED_SECONDS:
            false.append(f"run {row.id} failed, though it had ended {killed - end:.1f} s before its worker was killed")
        else:
            unheard += end is not None
    return false, unheard


def _left_over(stack: Stack, worker: int) -> list[str]:
    """Processes of this installation that no row names, once nothing is in progress."""

    def strangers() -> dict[int, str]:
        found = processes_of(stack.home)
        return {pid: line for pid, line in found.items() if "run_processes" in line and not _belongs(pid, worker)}

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


def process_killed(stack: Stack, number: int = 0) -> Line:
    """kill -9 of one run's process in the middle of its flow."""
    run_id = stack.run_now(number)
    pid = stack.running(run_id).process_id
    os.kill(pid, signal.SIGKILL)
    row = stack.ended(run_id)
    right = row.status is RunStatus.FAILED and row.process_id == 0 and "SIGKILL" in (row.error or "")
    return Line(
        "Run's process killed", stack.where, f"{row.status.value}: {row.error}; process ID {row.process_id}", right
    )


def process_out_of_memory(stack: Stack, number: int = 0) -> Line:
    """The flow asks for more memory than its limit."""
    run_id = stack.run_now(number)
    row = stack.ended(run_id)
    right = row.status is RunStatus.FAILED and row.process_id == 0 and "MemoryError" in (row.error or "")
    return Line(
        "Run out of memory", stack.where, f"{row.status.value}: {row.error}; process ID {row.process_id}", right
    )


def process_frozen(stack: Stack, number: int = 0) -> Line:
    """SIGSTOP of one run's process: it keeps its group, and it is told of after a minute; a reset ends it."""
    with mailbox(stack) as arrived:
        run_id = stack.run_now(number)
        row = stack.running(run_id)
        os.kill(row.process_id, signal.SIGSTOP)
        told = within(lambda: stack.run(run_id).message.startswith(STANDS_STILL), 180)
        mailed = within(lambda: any(b"stands still" in mail.content for mail in arrived.mails), 60)
    with reading(stack.engine) as session:
        preview = preview_reset(session, SystemClock(), OPERATOR, find_task(session, f"task {number}"))
        logged = any(line.message.startswith(STANDS_STILL) for line in run_detail.run_lines(session, run_id))
    seen = stack.run(run_id)
    kept = preview.fate is Fate.ENDED and seen.process_id == row.process_id and bool(stack.locks())
    status = reset(stack.engine, SystemClock(), OPERATOR, row.task_uid)
    row = stack.run(run_id)
    noticed = told and mailed and logged
    right = noticed and kept and status is RunStatus.CANCELLED and row.process_id == 0 and not stack.locks()
    text = (
        f"{seen.status.value} with its process ID and group; "
        f"on screen: {told}, in its log: {logged}, by mail: {mailed}; "
        f"until the reset, then {status.value}, process ID {row.process_id}"
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
    _freeze(stack, family)
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


def _freeze(stack: Stack, family: list[int]) -> None:
    """Not while it holds SQLite's lock, which nobody could take from it: everybody would stand still with it."""
    while True:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        if stack.can_be_written():
            return
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        stack.sleep(0.1)


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


__all__ = ["false_rows", "process_frozen", "process_killed", "process_out_of_memory", "worker_frozen", "worker_killed"]
