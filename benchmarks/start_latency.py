"""How long from Run now to Running, beside a stock Prefect process worker on the same server in the same run.

    python -m benchmarks.start_latency [--runs 30] [--stock-runs 6] [--idle-seconds 30]

Latency: from the instant at which this process has committed the waiting run (Headway), or has the answer to
`create_flow_run` (stock), to the timestamp of the flow run's Running state in Prefect. One run at a time,
each begun after the one before has ended.

CPU a run: what the run's own process used (the kernel adds it to its parent's `cutime` when it is reaped),
and what the worker's processes (Headway: worker and warm server) used meanwhile. The Prefect server's share
is the same for both and shown beside it. Idle: the worker's processes, with nothing due, over some seconds.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.table import Row, show
from headway.clock import SystemClock
from headway.models.ledger.database import writing
from headway.models.ledger.tables import RunRow
from headway.privileges import OPERATOR
from headway.scheduler.installation.setup import open_database
from headway.scheduler.planning.definitions.document import load_text
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.prefect_side.server import PrefectServer, client_environment
from headway.scheduler.store.tasks import save_types
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from headway.scheduler.usecases.tasks.find_task import find_task
from tests.support.prefect_server import free_port

PROJECT = Path(__file__).parents[1]
MEDIAN_SECONDS, P95_SECONDS, RATIO, CPU_SECONDS, IDLE_SHARE = 0.5, 1.0, 15.0, 0.6, 0.03
ENTRYPOINT = "benchmarks.no_op.no_op"
WARM_UP_RUNS = 3
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measured:
    """Seconds each, but for `idle`: the share of one core, or None."""

    latencies: list[float]
    run_cpu: float
    worker_cpu: float
    server_cpu: float
    idle: float | None

    @property
    def median(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p95(self) -> float:
        ordered = sorted(self.latencies)
        return ordered[max(0, round(0.95 * len(ordered)) - 1)]


def main() -> int:
    options = _options()
    print(f"Load at the beginning: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="start-latency-") as folder:
        home = Path(folder) / "home"
        server = PrefectServer(home, free_port())
        os.environ.update(HEADWAY_HOME=str(home), **client_environment(home, server.port, environ={}))
        os.environ["PYTHONPATH"] = str(PROJECT)
        server.start()
        try:
            bench = Bench(server)
            headway = bench.headway(options.runs, options.idle_seconds)
            _print_parts(bench.parts[WARM_UP_RUNS:])
            stock = bench.stock(options.stock_runs) if options.stock_runs else None
        finally:
            server.stop()
    print(f"Load at the end: {os.getloadavg()[0]:.1f}")
    return _report(headway, stock)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=30, help="measured runs of Headway (30)")
    parser.add_argument("--stock-runs", type=int, default=6, help="measured runs of the stock worker; 0: none (6)")
    parser.add_argument("--idle-seconds", type=float, default=30, help="how long to look at idle workers (30)")
    return parser.parse_args()


class Bench:
    """One Prefect server, and either worker on it."""

    def __init__(self, server: PrefectServer) -> None:
        self._server = server
        self._api = server.api()
        self._engine = open_database()
        self.parts: list[list[float]] = []
        """Of each run: committed to claimed, claimed to made in Prefect, made to Running, in seconds."""
        self._flow_id = self._call("POST", "/flows/", {"name": "no-op"})["id"]

    def headway(self, runs: int, idle_seconds: float) -> Measured:
        self._api.ensure_work_pool()
        deployment = self._deployment("no_op", "headway")
        task_type = TaskType.of_deployment("no_op", [], entrypoint=ENTRYPOINT, deployment_id=deployment)
        with writing(self._engine) as session:
            save_types(session, [task_type], SystemClock().now())
            text = "windows: []\ntasks: [{name: No-op, type: no_op, window: allow}]"
            applied = apply(session, SystemClock(), OPERATOR, load_text(text, "the benchmark"))
            assert not applied.errors, applied.errors
        with _process([sys.executable, "-m", "headway.cli", "worker"]) as worker:
            return self._measure(worker, self._run_now, runs, idle_seconds)

    def stock(self, runs: int) -> Measured:
        self._call("POST", "/work_pools/", {"name": "stock", "type": "process"})
        deployment = self._deployment("stock", "stock")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "stock", "--type", "process"]
        with _process(command) as worker:
            return self._measure(worker, lambda: self._run_stock(deployment), runs, None)

    def _deployment(self, name: str, pool: str) -> str:
        body = {"name": name, "flow_id": self._flow_id, "work_pool_name": pool, "entrypoint": ENTRYPOINT}
        body["parameter_openapi_schema"] = {"type": "object", "properties": {}}
        return str(self._call("POST", "/deployments/", body)["id"])

    def _measure(self, worker: int, run: Callable[[], float], runs: int, idle_seconds: float | None) -> Measured:
        for _ in range(WARM_UP_RUNS if idle_seconds else 1):
            run()
        assert self._server.pid is not None
        before = _cpu(worker), _cpu(self._server.pid)
        latencies = [run() for _ in range(runs)]
        after = _cpu(worker), _cpu(self._server.pid)
        idle = _idle_share(worker, idle_seconds) if idle_seconds else None
        return Measured(
            latencies,
            run_cpu=(after[0].reaped - before[0].reaped) / runs,
            worker_cpu=(after[0].own - before[0].own) / runs,
            server_cpu=(after[1].own - before[1].own) / runs,
            idle=idle,
        )

    def _run_now(self) -> float:
        with writing(self._engine) as session:
            asked = run_now(session, SystemClock(), OPERATOR, find_task(session, "No-op"))
        committed_at = datetime.now(UTC)
        row = _until(lambda: self._ended(asked.run_id))
        assert row.error is None and row.flow_run_id is not None, row.error
        assert row.started_at is not None
        running_at = self._running_at(row.flow_run_id)
        made_at = datetime.fromisoformat(self._call("GET", f"/flow_runs/{row.flow_run_id}")["created"])
        steps = (committed_at, row.started_at, made_at, running_at)
        self.parts.append([(b - a).total_seconds() for a, b in zip(steps, steps[1:], strict=False)])
        return (running_at - committed_at).total_seconds()

    def _ended(self, run_id: int) -> RunRow | None:
        from sqlmodel import Session

        with Session(self._engine) as session:
            row = session.get(RunRow, run_id)
            return row if row is not None and row.ended_at is not None else None

    def _run_stock(self, deployment: str) -> float:
        flow_run_id = self._call("POST", f"/deployments/{deployment}/create_flow_run", {})["id"]
        created_at = datetime.now(UTC)

        def ended() -> bool:
            return bool(self._call("GET", f"/flow_runs/{flow_run_id}")["state"]["type"] == "COMPLETED")

        _until(ended)
        return (self._running_at(flow_run_id) - created_at).total_seconds()

    def _running_at(self, flow_run_id: str) -> datetime:
        states = self._call("GET", f"/flow_run_states/?flow_run_id={flow_run_id}")
        return min(datetime.fromisoformat(one["timestamp"]) for one in states if one["type"] == "RUNNING")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return self._api._send(method, path, json=body).json()


@dataclass(frozen=True)
class Cpu:
    """CPU seconds of a process and its own helpers (`own`), and of those children that have ended (`reaped`)."""

    own: float
    reaped: float


def _cpu(pid: int) -> Cpu:
    own = reaped = 0.0
    for one in [pid, *_helpers(pid)]:
        fields = (Path("/proc") / str(one) / "stat").read_text().rpartition(")")[2].split()
        own += (int(fields[11]) + int(fields[12])) / _TICKS
        reaped += (int(fields[13]) + int(fields[14])) / _TICKS
    return Cpu(own, reaped)


def _helpers(pid: int) -> list[int]:
    """The warm servers of a worker: children that stay."""
    found = []
    for task in (Path("/proc") / str(pid) / "task").iterdir():
        for child in (task / "children").read_text().split():
            if b"headway.scheduler.engine.run_processes" in (Path("/proc") / child / "cmdline").read_bytes():
                found.append(int(child))
    return found


def _idle_share(pid: int, seconds: float) -> float:
    pause = threading.Event()
    pause.wait(5)  # what the last run left to do
    before, began = _cpu(pid).own, time.monotonic()
    pause.wait(seconds)
    return (_cpu(pid).own - before) / (time.monotonic() - began)


def _until(look: Callable[[], Any], timeout_seconds: float = 120) -> Any:
    deadline, pause = time.monotonic() + timeout_seconds, threading.Event()
    while time.monotonic() < deadline:
        if found := look():
            return found
        pause.wait(0.05)
    raise TimeoutError(f"nothing within {timeout_seconds:.0f} s")


@contextmanager
def _process(command: list[str]) -> Iterator[int]:
    """The command running in the project's folder, silent; ended at the end. Its process ID."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _print_parts(parts: list[list[float]]) -> None:
    names = ("committed to claimed", "claimed to made in Prefect", "made to Running")
    middle = [statistics.median(part) for part in zip(*parts, strict=True)]
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in zip(names, middle, strict=True))
    print(f"Where Headway's time goes (medians): {told}")


def _report(headway: Measured, stock: Measured | None) -> int:
    print(f"\n{'':22}{'median s':>10}{'p95 s':>10}{'CPU-s a run':>13}{'of it: run':>12}{'worker':>9}{'(server)':>10}")
    for name, one in (("Headway", headway), ("Prefect process worker", stock)):
        if one is not None:
            total = one.run_cpu + one.worker_cpu
            print(
                f"{name:22}{one.median:10.2f}{one.p95:10.2f}{total:13.2f}{one.run_cpu:12.2f}{one.worker_cpu:9.2f}"
                f"{one.server_cpu:10.2f}"
            )
    cpu = headway.run_cpu + headway.worker_cpu
    peer = f"{stock.median:.2f} s, Prefect's process worker" if stock else ""
    ratio = stock.median / headway.median if stock else None
    target = f"{MEDIAN_SECONDS} s at most" + (f", {RATIO:.0f} times faster" if stock else "")
    good = headway.median <= MEDIAN_SECONDS and (ratio is None or ratio >= RATIO)
    shown = f"{ratio:.1f} times faster" if ratio else ""
    rows = [
        Row("Run now to Running, median", f"{headway.median:.2f} s", peer, shown, target, good),
        Row(
            "the same, 95th percentile",
            f"{headway.p95:.2f} s",
            f"{stock.p95:.2f} s" if stock else "",
            f"{stock.p95 / headway.p95:.1f} times faster" if stock else "",
            f"{P95_SECONDS} s at most",
            headway.p95 <= P95_SECONDS,
        ),
        Row(
            "a no-op run",
            f"{cpu:.2f} CPU-s",
            f"{stock.run_cpu + stock.worker_cpu:.2f} CPU-s" if stock else "",
            f"{(stock.run_cpu + stock.worker_cpu) / cpu:.1f} times less" if stock else "",
            f"{CPU_SECONDS} CPU-s at most",
            cpu <= CPU_SECONDS,
        ),
    ]
    if headway.idle is not None:
        idle = f"{headway.idle:.1%} of a core"
        rows.append(Row("idle worker", idle, "", "", f"{IDLE_SHARE:.0%} at most", headway.idle <= IDLE_SHARE))
    return show(rows)


if __name__ == "__main__":
    sys.exit(main())
