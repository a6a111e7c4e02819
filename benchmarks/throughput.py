"""200 no-op runs of distinct groups that are due at once: runs a minute and CPU seconds a run, beside Prefect's own
process worker on the same server, which is given 40 because it is slower.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.start_latency import ENTRYPOINT, PROJECT, _cpu, _process, _until
from benchmarks.table import Row, show
from headway.clock import SystemClock
from headway.models.ledger.database import writing
from headway.privileges import OPERATOR
from headway.scheduler.installation.setup import open_database
from headway.scheduler.planning.definitions.document import Definitions, SettingsSection, TaskSection
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.prefect_side.server import PrefectServer, client_environment
from headway.scheduler.store.tasks import load_catalog, save_types
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from headway.scheduler.usecases.tasks.find_task import find_task
from tests.support.prefect_server import free_port

RATIO = 3.0


@dataclass(frozen=True)
class Measured:
    """runs_a_minute by the wall clock; cpu: seconds a run of the worker and all its processes, without the server."""

    runs_a_minute: float
    cpu: float


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--stock-runs", type=int, default=40, help="runs of the stock worker, which is slower (40)")
    parser.add_argument("--at-a-time", type=int, default=4, help="max_running here, --limit there (4)")
    options = parser.parse_args()
    print(f"Load at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        home = Path(folder) / "home"
        server = PrefectServer(home, free_port())
        os.environ.update(HEADWAY_HOME=str(home), **client_environment(home, server.port, environ={}))
        os.environ["PYTHONPATH"] = str(PROJECT)
        server.start(timeout_seconds=300)
        try:
            bench = Bench(server, options.at_a_time)
            ours, stock = bench.headway(options.runs), bench.stock(options.stock_runs)
        finally:
            server.stop()
    print(f"\n{'':24}{'runs a minute':>15}{'CPU-s a run':>13}")
    for name, one in (("Headway", ours), ("Prefect process worker", stock)):
        print(f"{name:24}{one.runs_a_minute:15.0f}{one.cpu:13.2f}")
    target, peer = f"{RATIO:.0f} times at least", f"Prefect's process worker, {options.stock_runs} runs"
    more, less = ours.runs_a_minute / stock.runs_a_minute, stock.cpu / ours.cpu
    figures = f"{ours.runs_a_minute:.0f} a minute", f"{stock.runs_a_minute:.0f} a minute, {peer}"
    cpu = f"{ours.cpu:.2f} CPU-s a run", f"{stock.cpu:.2f} CPU-s a run, {peer}"
    return show(
        [
            Row(f"{options.runs} no-op runs of distinct groups", *figures, f"{more:.1f} times", target, more >= RATIO),
            Row("the same, CPU without Prefect's server", *cpu, f"{less:.1f} times less", target, less >= RATIO),
        ]
    )


class Bench:
    """One Prefect server, and either worker on it."""

    def __init__(self, server: PrefectServer, at_a_time: int) -> None:
        self._api = server.api()
        self._at_a_time = at_a_time
        self._flow_id = self._call("POST", "/flows/", {"name": "no-op"})["id"]

    def headway(self, runs: int) -> Measured:
        self._api.ensure_work_pool()
        engine, clock = open_database(), SystemClock()
        kinds = [f"no_op_{number}" for number in range(runs)]
        types = [
            TaskType.of_deployment(kind, [], entrypoint=ENTRYPOINT, deployment_id=self._deployment(kind, "headway"))
            for kind in kinds
        ]
        tasks = [TaskSection.model_validate({"name": kind, "type": kind, "window": "allow"}) for kind in kinds]
        with writing(engine) as session:
            save_types(session, types, clock.now())
            given = Definitions(settings=SettingsSection(max_running=self._at_a_time), windows=[], tasks=tasks)
            assert not apply(session, clock, OPERATOR, given).errors
        with _process([sys.executable, "-m", "headway.cli", "worker"]) as worker:
            with writing(engine) as session:
                run_now(session, clock, OPERATOR, find_task(session, kinds[0]))
            _until(lambda: self._ended(engine) >= 1)  # everything is imported
            before, began = _cpu(worker), time.monotonic()
            with writing(engine) as session:
                load_catalog(session)
                for kind in kinds[1:]:
                    run_now(session, clock, OPERATOR, find_task(session, kind))
            _until(lambda: self._ended(engine) >= runs, 3600)
            seconds = time.monotonic() - began
            after = _cpu(worker)
        cpu = after.own + after.reaped - before.own - before.reaped
        return Measured((runs - 1) / seconds * 60, cpu / (runs - 1))

    def stock(self, runs: int) -> Measured:
        self._call("POST", "/work_pools/", {"name": "stock", "type": "process"})
        deployment = self._deployment("stock", "stock")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "stock", "--type", "process"]
        with _process([*command, "--limit", str(self._at_a_time)]) as worker:
            self._schedule(deployment)
            _until(lambda: self._completed(deployment) >= 1)
            before, began = _cpu(worker), time.monotonic()
            for _ in range(runs):
                self._schedule(deployment)
            _until(lambda: self._completed(deployment) >= runs + 1, 3600)
            seconds = time.monotonic() - began
            after = _cpu(worker)
        cpu = after.own + after.reaped - before.own - before.reaped
        return Measured(runs / seconds * 60, cpu / runs)

    def _ended(self, engine: object) -> int:
        from sqlalchemy import text
        from sqlmodel import Session

        with Session(engine) as session:  # type: ignore[arg-type]
            return int(session.execute(text("SELECT COUNT(*) FROM run WHERE ended_at IS NOT NULL")).scalar_one())

    def _schedule(self, deployment: str) -> None:
        self._call("POST", f"/deployments/{deployment}/create_flow_run", {})

    def _completed(self, deployment: str) -> int:
        wanted = {"flow_runs": {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": ["COMPLETED"]}}}}
        return int(self._api._send("POST", "/flow_runs/count", json=wanted).text)

    def _deployment(self, name: str, pool: str) -> str:
        body = {"name": name, "flow_id": self._flow_id, "work_pool_name": pool, "entrypoint": ENTRYPOINT}
        return str(self._call("POST", "/deployments/", {**body, "parameter_openapi_schema": {"type": "object"}})["id"])

    def _call(self, method: str, path: str, body: object) -> dict[str, str]:
        answer: dict[str, str] = self._api._send(method, path, json=body).json()
        return answer


if __name__ == "__main__":
    sys.exit(main())
