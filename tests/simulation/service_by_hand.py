"""The product's loop without threads: it runs up to its own next wait, and the test moves the clock."""

from __future__ import annotations

import types
from collections.abc import Callable
from datetime import datetime
from typing import Any

from greenlet import getcurrent, greenlet
from sqlalchemy import Engine

from headway.clock import Clock
from headway.models.ledger.database import writing
from headway.scheduler.engine.service import SchedulerService
from headway.scheduler.engine.this_worker import Signals, ThisWorker
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.warm_server import Exited, StartOrder
from headway.scheduler.store import workers

MOST_TURNS = 200
"""At one instant. A loop that takes more of them would never wait again."""


class LoopByHand:
    """One worker: `settle` is what its thread `turns` does at this instant, `beat` a sign of life.

    begin: what happens to the runs it starts.
    """

    def __init__(self, engine: Engine, clock: Clock, begin: Callable[[StartOrder], None]) -> None:
        self.next_turn: datetime | None = None
        """When the loop itself wants to take its next turn."""
        self.turns = 0
        self._over = False
        self._woken = False
        self._parent = getcurrent()
        worker = ThisWorker(engine=engine, url="sqlite://", prefect=None, clock=clock)  # type: ignore[arg-type]
        stopping: Any = types.SimpleNamespace(is_set=lambda: self._over, wait=_fail)
        wake: Any = types.SimpleNamespace(
            is_set=lambda: self._woken, set=self._wake, clear=self._clear, wait=lambda seconds: self._wait()
        )
        self.service = made = SchedulerService(worker, Signals(stopping=stopping, wake=wake))
        made.heartbeat.problem = None
        warm: Any = types.SimpleNamespace(begin=begin, alive=True)
        stand_ins: tuple[tuple[Any, str, Any], ...] = (
            (made.pool, "_warm", warm),
            (made.pool, "keep_warm", lambda catalog: warm),
            (made.turns, "take", self._counted(made.turns.take)),
        )
        for part, name, stand_in in stand_ins:
            setattr(part, name, stand_in)
        with writing(engine) as session:
            workers.say_hello(session, worker.id, worker.process, clock.now())
        self._thread = greenlet(made.turns.run)

    def settle(self) -> None:
        """Looks again and again until a look takes no turn: time may go on then."""
        for _ in range(MOST_TURNS):
            before = self.turns
            self._parent = getcurrent()
            self._thread.switch()
            if self.turns == before:
                return
        raise AssertionError(f"{MOST_TURNS} turns at one instant, the next wanted at {self.next_turn}")

    def beat(self) -> None:
        self.service.heartbeat.beat()

    def exited(self, run_id: int, claim: str) -> None:
        """The process of a run that it started has recorded its end, and is gone."""
        self.service.exits.on_exit(Exited(run_id=run_id, claim=claim, pid=0, exit_code=ExitCode.RECORDED, signal=None))

    def leave(self) -> None:
        """Its turns end; nothing is said to the others."""
        self._over = True
        self._parent = getcurrent()
        self._thread.switch()

    def _counted(self, turn: Callable[[datetime], datetime]) -> Callable[[datetime], datetime]:
        def counted(now: datetime) -> datetime:
            self.turns += 1
            self.next_turn = turn(now)
            return self.next_turn

        return counted

    def _wake(self) -> None:
        self._woken = True

    def _clear(self) -> None:
        self._woken = False

    def _wait(self) -> None:
        self._parent.switch()


def _fail(seconds: float) -> None:
    """The loop waits there after a turn that failed only."""
    raise AssertionError("a turn failed")
