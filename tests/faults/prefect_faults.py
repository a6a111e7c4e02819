"""Prefect's server killed, slow, and answering 500s: due runs wait with `engine`, then start once."""

from __future__ import annotations

from models.domain import RunStatus
from tests.acceptance.running import until
from tests.faults.proxy import Mode
from tests.faults.stack import Stack, settle, within
from tests.faults.table import Line


def server_killed(stack: Stack) -> Line:
    """kill -9 of Prefect's server; a run comes due meanwhile; the server comes back."""
    import os
    import signal

    assert stack.server.pid is not None
    os.kill(stack.server.pid, signal.SIGKILL)
    run_id = _held_by_engine(stack)
    stack.server.stop()
    stack.server.start(timeout_seconds=300)
    return _then_once(stack, run_id, "Prefect's server killed and restarted")


def answers_500(stack: Stack, seconds: float = 60, mode: Mode = "500") -> Line:
    """Every call is answered with 500 for a minute."""
    stack.proxy.mode = mode
    try:
        run_id = _held_by_engine(stack)
        stack.sleep(seconds)
        held = stack.run(run_id).status is RunStatus.WAITING
    finally:
        stack.proxy.mode = "pass"
    line = _then_once(stack, run_id, f"Prefect answers 500 for {seconds:.0f} s")
    return line if held else Line(line.fault, line.where, "it started meanwhile", False)


def slow(stack: Stack, runs: int = 3) -> Line:
    """Every call takes two seconds more."""
    stack.proxy.mode = "slow"
    try:
        ids = [stack.run_now(number) for number in range(runs)]
        rows = [stack.ended(run_id, 300) for run_id in ids]
    finally:
        stack.proxy.mode = "pass"
    problems = stack.problems()
    good = sum(row.status is RunStatus.COMPLETED for row in rows)
    longest = max((row.ended_at - row.created_at).total_seconds() for row in rows if row.ended_at)
    text = f"{good} of {runs} runs completed, each began once; the slowest took {longest:.0f} s"
    return Line("Prefect slow (2 s a call)", stack.where, text + "".join(problems[:3]), good == runs and not problems)


def _held_by_engine(stack: Stack) -> int:
    """A run that is asked for once the worker knows that Prefect is away."""
    run_id = stack.run_now()
    assert within(lambda: "engine" in stack.held_by(0) or stack.run(run_id).status is not RunStatus.WAITING, 60)
    return run_id


def _then_once(stack: Stack, run_id: int, fault: str) -> Line:
    settle(stack)
    row = stack.run(run_id)
    begun = sum(count for key, count in stack.marks().items() if key.startswith(f"{run_id}:"))
    problems = stack.problems()
    right = row.status is RunStatus.COMPLETED and begun == 1 and not problems
    text = f"held by `engine`, then {row.status.value}, begun {begun} time{'s'[: begun != 1]}" + "".join(problems[:3])
    return Line(fault, stack.where, text, right)


__all__ = ["answers_500", "server_killed", "slow", "until"]
