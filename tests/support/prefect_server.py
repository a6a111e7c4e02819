"""A real Prefect server for the tests: its own process, port, home and login. A pytest plugin."""

import itertools
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.server import PrefectServer, client_environment
from tests.support.run_harness import EngineRoom


class ServerForTests:
    """One embedded server, and what the tests ask of it beyond what the scheduler does."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server = PrefectServer(home, free_port())
        self.api: PrefectApi = self.server.api()
        self._deployments: dict[str, str] = {}
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def environment(self) -> dict[str, str]:
        """What a process that talks to this server needs, on top of its own environment."""
        return client_environment(self.home, self.server.port, environ={})

    def deploy(self, flow: str, *, name: str = "", schema: dict[str, Any] | None = None) -> str:
        """A deployment of this sample flow on the headway pool (default name: the flow's); returns its id."""
        name = name or flow
        if name not in self._deployments:
            body = {
                "name": name,
                "flow_id": self.call("POST", "/flows/", {"name": flow})["id"],
                "work_pool_name": "headway",
                "entrypoint": f"tests.support.sample_flows.{flow}",
                "parameter_openapi_schema": schema or {"type": "object", "properties": {}},
                "enforce_parameter_schema": schema is not None,
                "tags": ["group:samples"],
            }
            self._deployments[name] = self.call("POST", "/deployments/", body)["id"]
        return self._deployments[name]

    def schedule(self, deployment_id: str, **parameters: Any) -> str:
        """What `prefect deployment run` does; returns the flow run's id."""
        name = f"started in Prefect {next(self._numbers)}"
        body = {"name": name, "parameters": parameters, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
        return self.call("POST", f"/deployments/{deployment_id}/create_flow_run", body)["id"]

    def cancel(self, flow_run_id: str) -> None:
        """What the Cancel button of Prefect's screen does."""
        body = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": False}
        self.call("POST", f"/flow_runs/{flow_run_id}/set_state", body)

    def state_names(self, flow_run_id: str) -> list[str]:
        """Every state the flow run has had, oldest first."""
        states = self.call("GET", f"/flow_run_states/?flow_run_id={flow_run_id}")
        return [state["name"] for state in sorted(states, key=lambda one: one["timestamp"])]

    def flow_runs_of(self, deployment_id: str) -> list[dict[str, Any]]:
        wanted = {"flow_runs": {"deployment_id": {"any_": [deployment_id]}}}
        return self.call("POST", "/flow_runs/filter", wanted)

    def forget_block(self, slug: str, name: str) -> None:
        """Delete the block that other tests may have left."""
        path = f"/block_types/slug/{slug}/block_documents/name/{name}"
        if self.api.block(slug, name) is not None:
            self.call("DELETE", f"/block_documents/{self.call('GET', path)['id']}")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.api._send(method, path, json=body)
        return answer.json() if answer.content else None


_database: bytes | None = None


def start_in_new_home(server: PrefectServer) -> None:
    """Start it; its database is a copy of the first one that was made, for migrating takes ten seconds."""
    global _database
    file = server.home / "prefect" / "prefect.db"
    if _database is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_bytes(_database)
    server.start(timeout_seconds=300)
    if _database is None:
        with closing(sqlite3.connect(file)) as live, closing(sqlite3.connect(":memory:")) as copy:
            live.backup(copy)
            _database = copy.serialize()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerForTests]:
    """Running, with the headway work pool. Shared by all tests of a session: use own deployments."""
    running = ServerForTests(tmp_path_factory.mktemp("headway"))
    start_in_new_home(running.server)
    running.api.ensure_work_pool()
    yield running
    running.server.stop()


@pytest.fixture(scope="session")
def engine(prefect_server: ServerForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineRoom]:
    """A warm server with the sample flows, whose runs write to files instead of the store."""
    with EngineRoom(prefect_server, tmp_path_factory.mktemp("ledgers")) as room:
        yield room
