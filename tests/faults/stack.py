"""A real installation to break: Prefect's server, a relay before it, a database, workers as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from models.db import make_engine, migrate, reading, writing
from models.domain import RunStatus
from models.tables import LockRow, RunRow, TaskRow, WorkerRow
from scheduler.clock import SystemClock
from scheduler.definitions import Definitions, ScheduleSection, SettingsSection, TaskSection
from scheduler.prefect_server import PrefectServer, client_environment
from scheduler.privileges import OPERATOR
from scheduler.processes import ProcessIdentity, is_alive
from scheduler.store import settings, workers
from scheduler.store.tasks import save_types
from scheduler.task_types import TaskType
from scheduler.usecases.apply import apply
from scheduler.usecases.run_now import run_now
from tests.acceptance.running import processes_of, until
from tests.faults.proxy import Proxy
from tests.prefect_server import free_port, start_in_new_home

PROJECT = Path(__file__).parents[2]


class Stack:
    """Tasks `task 0`, `task 1` ... each of a type and group of its own. One is used for one fault after the other."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.url = url or f"sqlite:///{self.home / 'headway.db'}"
        self.engine = make_engine(self.url)
        self.server = PrefectServer(self.home, free_port())
        self.marks_file = folder / "marks"
        self.workers: list[subprocess.Popen[bytes]] = []
        self._pause = threading.Event()

    @property
    def where(self) -> str:
        return "SQLite" if self.url.startswith("sqlite") else "PostgreSQL"

    def __enter__(self) -> Stack:
        migrate(self.engine)
        start_in_new_home(self.server)
        self.proxy = Proxy(self.server.port)
        self.server.api().ensure_work_pool()
        with writing(self.engine) as session:
            settings.install(session)
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        self.server.stop()
        self.proxy.stop()
        self.engine.dispose()
        for process_id in processes_of(self.home):
            os.kill(process_id, signal.SIGKILL)

    # Making

    def define(self, count: int, flow: str = "marking", **parameters: Any) -> None:
        """So many tasks that run the flow, without a schedule, not held after a failure."""
        api = self.server.api()
        flow_id = api._send("POST", "/flows/", json={"name": flow}).json()["id"]
        types, tasks = [], []
        for number in range(count):
            name = f"kind{number}"
            body = {"name": name, "flow_id": flow_id, "work_pool_name": "headway"}
            body["entrypoint"] = f"tests.faults.marking.{flow}"
            body["parameter_openapi_schema"] = {"type": "object", "properties": {}}  # type: ignore[assignment]
            deployment = api._send("POST", "/deployments/", json=body).json()["id"]
            entrypoint = f"tests.faults.marking.{flow}"
            types.append(TaskType.of_deployment(name, [], entrypoint=entrypoint, deployment_id=deployment))
            tasks.append(
                TaskSection(
                    name=f"task {number}",
                    type=name,
                    window="allow",  # type: ignore[arg-type]
                    on_failure="continue",  # type: ignore[arg-type]
                    catch_up="all",  # type: ignore[arg-type]
                    timezone="UTC",
                    parameters=parameters,
                )
            )
        given = Definitions(settings=SettingsSection(max_running=8), windows=None, tasks=tasks)
        with writing(self.engine) as session:
            save_types(session, types, datetime.now(UTC))
            applied = apply(session, SystemClock(), OPERATOR, given)
        assert not applied.errors, applied.errors

    def come_due(self, each: int) -> int:
        """Give every task so many occurrences of the last hour that have no row yet; how many those are in all."""
        hour = (datetime.now(UTC) - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
        cron = ScheduleSection(cron=f"0-{each - 1} {hour.hour} * * *").cron
        with writing(self.engine) as session:
            rows = session.exec(select(TaskRow)).all()
            for row in rows:
                row.cron, row.accounted_at, row.next_due_at = cron, hour, hour
                session.add(row)
            settings.definitions_changed(session)
            return len(rows) * each

    def run_now(self, number: int = 0) -> int:
        with writing(self.engine) as session:
            task = session.exec(select(TaskRow).where(TaskRow.name == f"task {number}")).one()
            return run_now(session, SystemClock(), OPERATOR, task).run_id

    # Workers

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "PREFECT_"))}
        through = client_environment(self.home, self.server.port, environ={})
        through["PREFECT_API_URL"] = through["PREFECT_API_URL"].replace(str(self.server.port), str(self.proxy.port))
        mine = {"HEADWAY_HOME": str(self.home), "HEADWAY_DATABASE_URL": self.url, "PYTHONPATH": str(PROJECT)}
        return {**kept, **through, **mine, "HEADWAY_TEST_MARKS": str(self.marks_file)}

    def start_worker(self, wait: bool = True) -> subprocess.Popen[bytes]:
        with (self.folder / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "scheduler.cli", "worker"],
                cwd=PROJECT,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.workers.append(worker)
        if wait:
            until(lambda: self.worker_row(worker), "a worker that says hello", 240)
        return worker

    def worker_row(self, worker: subprocess.Popen[bytes]) -> WorkerRow | None:
        with reading(self.engine) as session:
            return session.exec(
                select(WorkerRow).where(WorkerRow.process_id == worker.pid, col(WorkerRow.stopped_at).is_(None))
            ).first()

    def stop_workers(self) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in self.workers:
            worker.wait(120)
        self.workers.clear()

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        worker = self.start_worker()
        try:
            yield worker
        finally:
            self.stop_workers()

    # Looking

    def sleep(self, seconds: float) -> None:
        self._pause.wait(seconds)

    def run(self, run_id: int) -> RunRow:
        with reading(self.engine) as session:
            row = session.get(RunRow, run_id)
            assert row is not None
            return row

    def ended(self, run_id: int, seconds: float = 120) -> RunRow:
        def look() -> RunRow | None:
            row = self.run(run_id)
            return row if row.ended_at is not None else None

        return until(look, f"the end of run {run_id}", seconds)

    def running(self, run_id: int, seconds: float = 120) -> RunRow:
        """Once its flow has marked its beginning."""

        def look() -> RunRow | None:
            row = self.run(run_id)
            marked = any(key.startswith(f"{run_id}:") for key in self.marks())
            return row if marked and row.status is RunStatus.RUNNING else None

        return until(look, f"run {run_id} in progress", seconds)

    def marks(self) -> Counter[str]:
        """How often each `run:attempt` has begun."""
        if not self.marks_file.exists():
            return Counter()
        return Counter(line.split()[0] for line in self.marks_file.read_text().splitlines())

    def open_runs(self) -> int:
        with reading(self.engine) as session:
            return session.execute(text("SELECT COUNT(*) FROM run WHERE ended_at IS NULL")).scalar_one()

    def all_runs(self) -> list[RunRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(RunRow).order_by(col(RunRow.id))).all())

    def locks(self) -> list[str]:
        with reading(self.engine) as session:
            return list(session.exec(select(LockRow.name)).all())

    def held_by(self, number: int) -> set[str]:
        """The rules that hold the task's waiting run, as `why` tells them."""
        from scheduler.usecases.why import why

        with reading(self.engine) as session:
            task = session.exec(select(TaskRow).where(TaskRow.name == f"task {number}")).one()
            told = why(session, SystemClock(), OPERATOR, task)
            return {rule.value for rule, hold in told.verdicts if hold is not None}

    def problems(self, expected: int | None = None) -> list[str]:
        """What is not as it has to be, now that nothing is in progress."""
        runs, marks = self.all_runs(), self.marks()
        found = [f"{key} began {count} times" for key, count in marks.items() if count > 1]
        if expected is not None and len(runs) != expected:
            found.append(f"{len(runs)} rows for {expected} dues")
        if locks := self.locks():
            found.append(f"locks left: {locks}")
        for row in runs:
            found += self._problems_of(row, marks)
        return found

    @staticmethod
    def _problems_of(row: RunRow, marks: Counter[str]) -> list[str]:
        begun = sum(count for key, count in marks.items() if key.startswith(f"{row.id}:"))
        found = []
        if row.status is RunStatus.COMPLETED and begun != 1:
            found.append(f"run {row.id} completed, and began {begun} times")
        if row.attempt <= 1 and begun > 1:
            found.append(f"run {row.id} began {begun} times")
        if row.status is RunStatus.FAILED and not row.error:
            found.append(f"run {row.id} failed without a cause")
        if row.process_id and row.process_ticks is not None:
            identity = ProcessIdentity(
                row.process_id, row.process_ticks, row.process_boot or "", row.process_host or ""
            )
            if not is_alive(identity):
                found.append(f"run {row.id} is {row.status.value} with process {row.process_id}, which is gone")
        return found


def settle(stack: Stack, seconds: float = 300) -> None:
    """Until nothing is waiting, starting or running."""
    until(lambda: stack.open_runs() == 0, "the end of all runs", seconds)


def within(look: Callable[[], bool], seconds: float) -> bool:
    """Whether it becomes true in that time."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < deadline:
        if look():
            return True
        pause.wait(0.1)
    return look()


__all__ = ["Stack", "settle", "within", "workers"]
