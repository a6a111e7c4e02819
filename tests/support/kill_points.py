"""Runs of flows that are killed (SIGKILL) at a chosen point, in processes of their own. A pytest plugin.

One process imports everything once and forks for each run, as the product's does: a run costs a fork. What is
patched is patched in the fork only; the product has no hooks for this.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.flow_engine import run_flow

from headway.scheduler.execution.run_process import without_heartbeats
from tests.support.prefect_server import ServerForTests


def started_as(flow: Any, idempotency_key: str, task: str = "task:7") -> FlowRun:
    """A flow run that Prefect has under this key and tag, as the scheduler makes one; the same key gives the same."""
    with get_client(sync_client=True) as client:
        body = {"flow_id": str(client.create_flow(flow)), "idempotency_key": idempotency_key, "tags": [task]}
        answer = client._client.post("/flow_runs/", json=body | {"state": {"type": "PENDING"}})
        return client.read_flow_run(answer.json()["id"])


@dataclass
class Killer:
    """Hands runs to the process that forks; `kill` waits until the run is dead."""

    process: "subprocess.Popen[str]"

    def kill(self, flow: Any, flow_run: FlowRun, point: str, **parameters: Any) -> None:
        """Run the flow and kill it at the point, such as `headway.flows.shared.delivery:deliver after`.

        The point is a module's function (or `Class.method`), before or after its call; `2nd before` means its second
        call. Fails the test where the run never came there.
        """
        order = {
            "module": flow.__module__,
            "flow": flow.fn.__name__,
            "flow_run_id": str(flow_run.id),
            "point": point,
            "parameters": parameters,
        }
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        ended = self.process.stdout.readline().strip()
        assert ended == str(-signal.SIGKILL), f"{point}: the run was not killed there, it ended with {ended!r}"


@pytest.fixture(scope="session")
def killer(prefect_server: ServerForTests) -> Iterator[Killer]:
    """The process that forks, talking to the tests' Prefect server."""
    environ = {**os.environ, **prefect_server.environment}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.kill_points"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    yield Killer(process)
    assert process.stdin is not None
    process.stdin.close()
    process.wait(timeout=30)


def _serve() -> None:
    """Fork for each order on stdin; tell on stdout how the fork ended."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run prints is no answer
    for line in sys.stdin:
        order = json.loads(line)
        importlib.import_module(order["module"])
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                _run(order)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _run(order: dict[str, Any]) -> None:
    _patch(order["point"])
    flow = getattr(importlib.import_module(order["module"]), order["flow"])
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(order["flow_run_id"])
    with without_heartbeats():
        run_flow(flow, flow_run=flow_run, parameters=order["parameters"], return_type="state")


def _patch(point: str) -> None:
    """Make the process kill itself at the point."""
    place, *nth, when = point.split()
    module_name, _, path = place.partition(":")
    owner: Any = importlib.import_module(module_name)
    *above, name = path.split(".")
    for one in above:
        owner = getattr(owner, one)
    original = getattr(owner, name)
    left = int(nth[0].rstrip("stndrh")) if nth else 1

    def dying(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = original(*args, **kwargs)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, dying)


if __name__ == "__main__":
    _serve()
