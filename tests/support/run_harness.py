"""Starts sample flows as the worker does, and collects what became of them."""

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headway.scheduler.execution.warm_server import Exited, StartOrder, WarmServer
from tests.support.project import PROJECT
from tests.support.run_harness_ledger import FileLedger

if TYPE_CHECKING:
    from tests.support.prefect_server import ServerForTests

T = TypeVar("T")
PATIENCE_SECONDS = 60
_run_ids = itertools.count(int(time.time()) % 10_000_000 * 100)


def eventually(look: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What `look` sees once that is true; fails after the time."""
    pause = threading.Event()
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"Not within {seconds} s: {what}"
        pause.wait(0.02)
    return seen


class StartedRun:
    """One order, its ledger and its end."""

    def __init__(self, order: StartOrder) -> None:
        self.order = order
        self.ledger = FileLedger(order.database_url, order.run_id, order.claim)
        self._exit: Exited | None = None
        self._exited = threading.Event()

    def set_exit(self, exited: Exited) -> None:
        self._exit = exited
        self._exited.set()

    def exited(self, seconds: float = PATIENCE_SECONDS) -> Exited:
        """Waits for its process to end."""
        assert self._exited.wait(seconds), f"{self.order.name} did not end; it wrote {self.ledger.entries()}"
        assert self._exit is not None
        return self._exit

    def calls(self) -> list[str]:
        """The ledger calls in order, without the log lines."""
        return [call for call, _ in self.ledger.entries() if call != "log"]

    def wrote(self, call: str) -> Any:
        """The value of the first such call; waits for it."""
        return eventually(lambda: [value for name, value in self.ledger.entries() if name == call], call)[0]

    def log(self) -> list[tuple[int, str]]:
        """(level, message) of every log line."""
        batches = [value for call, value in self.ledger.entries() if call == "log"]
        return [(level, message) for batch in batches for level, _, message in batch]


class EngineRoom:
    """A warm server on a test's Prefect; a context manager."""

    def __init__(self, prefect: "ServerForTests", folder: Path, **environ: str) -> None:
        self.prefect = prefect
        self._folder = folder
        self._runs: dict[tuple[int, str], StartedRun] = {}
        self.warm = WarmServer(
            ["tests.support.sample_flows"],
            {**os.environ, **prefect.environment, "PREFECT_LOGGING_EXTRA_LOGGERS": "tests.sample"}
            | {"PYTHONPATH": str(PROJECT), **environ},
            self._on_exit,
            program="tests.support.run_harness_ledger",
        )

    def __enter__(self) -> "EngineRoom":
        self.warm.start()
        assert self.warm.ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *exception: object) -> None:
        self.warm.stop(grace_seconds=1)

    def order(self, flow: str, **parameters: Any) -> StartOrder:
        run_id = next(_run_ids)
        return StartOrder(
            run_id=run_id,
            attempt=1,
            claim=f"claim-{run_id}",
            database_url=str(self._folder / f"run-{run_id}"),
            deployment_id=self.prefect.deploy(flow),
            flow_run_id=None,
            entrypoint=f"tests.support.sample_flows.{flow}",
            parameters=parameters,
            name=f"{flow} {run_id}",
            tags=["a-tag"],
            due_at="2026-11-23T06:15:00+00:00",
        )

    def begin(self, order: StartOrder) -> StartedRun:
        run = StartedRun(order)
        self._runs[order.run_id, order.claim] = run
        self.warm.begin(order)
        return run

    def run(self, flow: str, **parameters: Any) -> StartedRun:
        """Starts it, and waits for its end."""
        run = self.begin(self.order(flow, **parameters))
        run.exited()
        return run

    def start(self, flow: str, started: Path, **parameters: Any) -> StartedRun:
        """Starts it, and waits until it has written to the file `started`."""
        run = self.begin(self.order(flow, started=str(started), **parameters))
        eventually(lambda: started.exists() and started.read_text(), f"{flow} started")
        return run

    def again(self, order: StartOrder, **changes: Any) -> StartOrder:
        return replace(order, **changes)

    def _on_exit(self, exited: Exited) -> None:
        self._runs[exited.run_id, exited.claim].set_exit(exited)
