"""Prefect's server killed, slow, and answering 500s: due runs wait with `engine`, then start once."""

from __future__ import annotations

import os
import signal

from headway.models.values.run import RunStatus
from tests.faults.proxy import Mode
from tests.faults.stack import Stack, settle
from tests.faults.table import Line
from tests.support.running_stack import until


def server_killed(stack: Stack, number: int = 0) -> Line:
    """kill -9 of Prefect's server; a run comes due meanwhile; the server comes back."""
    assert stack.server.pid is not None
    os.kill(stack.server.pid, signal.SIGKILL)
    run_id = _due_while_away(stack, number)
    held = _is_held(stack, run_id, number)
    stack.server.stop()
    stack.server.start(timeout_seconds=300)
    return _then_once(stack, run_id, held, "Prefect's server killed and restarted")


def answers_500(stack: Stack, seconds: float = 60, mode: Mode = "500", number: int = 0) -> Line:
    """Every call is answered with 500 for a minute."""
    stack.proxy.mode = mode
    try:
        run_id = _due_while_away(stack, number)
        stack.sleep(seconds)
        held = _is_held(stack, run_id, number)
    finally:
        stack.proxy.mode = "pass"
    return _then_once(stack, run_id, held, f"Prefect answers 500 for {seconds:.0f} s")


def slow(stack: Stack, runs: int = 3, delay_seconds: float = 2.0, number: int = 0) -> Line:
    """Every call takes two seconds more."""
    stack.proxy.delay_seconds = delay_seconds
    stack.proxy.mode = "slow"
    try:
        ids = [stack.run_now(number + one) for one in range(runs)]
        rows = [stack.ended(run_id, 300) for run_id in ids]
    finally:
        stack.proxy.mode = "pass"
    problems = stack.problems()
    good = sum(row.status is RunStatus.COMPLETED for row in rows)
    longest = max((row.ended_at - row.created_at).total_seconds() for row in rows if row.ended_at)
    text = f"{good} of {runs} runs completed, each began once; the slowest took {longest:.0f} s"
    fault = f"Prefect slow ({delay_seconds:g} s a call)"
    return Line(fault, stack.where, text + "".join(problems[:3]), good == runs and not problems)


def _due_while_away(stack: Stack, number: int) -> int:
    """A run that is asked for once the worker knows that Prefect is away."""
    until(lambda: "engine" in stack.held_by(number), "a worker that finds Prefect away", 60)
    return stack.run_now(number)


def _is_held(stack: Stack, run_id: int, number: int) -> bool:
    """Whether nothing has come of it so far, and `engine` is why."""
    row = stack.run(run_id)
    untouched = row.status is RunStatus.WAITING and row.started_at is None and not stack.begun(run_id)
    return untouched and "engine" in stack.held_by(number)


def _then_once(stack: Stack, run_id: int, held: bool, fault: str) -> Line:
    row, begun = stack.ended(run_id, 300), stack.begun(run_id)
    settle(stack)
    problems = stack.problems()
    right = held and row.status is RunStatus.COMPLETED and begun == 1 and not problems
    text = f"{'held' if held else 'NOT held'} by `engine`, then {row.status.value}, begun {begun} time"
    return Line(fault, stack.where, text + "s"[: begun != 1] + "".join(problems[:3]), right)


__all__ = ["answers_500", "server_killed", "slow"]
