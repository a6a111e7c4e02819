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
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from headway.clock import SystemClock
from headway.models.ledger.database import make_engine, migrate, reading, sqlite_module, writing
from headway.models.ledger.tables import LockRow, RunRow, TaskRow, WorkerRow, id_of
from headway.models.values.run import RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.execution.process_identity import ProcessIdentity, is_alive
from headway.scheduler.planning.definitions.document import Definitions, ScheduleSection, SettingsSection, TaskSection
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.prefect_side.server import PrefectServer, client_environment
from headway.scheduler.store import settings, workers
from headway.scheduler.store.tasks import save_types
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from tests.faults.marks import WHAT, Mark
from tests.faults.proxy import Proxy
from tests.support.prefect_server import free_port, start_in_new_home
from tests.support.project import PROJECT
from tests.support.running_stack import processes_of, until


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
        self._types: list[TaskType] = []
        self._dues: Counter[int] = Counter()
        self._first_due = (datetime.now(UTC) - timedelta(hours=1)).replace(minute=0, second=0, microsecond=0)
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

    def define(self, count: int, flow: str = "marking", **parameters: Any) -> int:
        """So many more tasks that run the flow, unscheduled and not held after a failure; the number of the first."""
        api = self.server.api()
        flow_id = api._send("POST", "/flows/", json={"name": flow}).json()["id"]
        first, tasks = len(self._types), []
        for number in range(first, first + count):
            name = f"kind{number}"
            body = {"name": name, "flow_id": flow_id, "work_pool_name": "headway"}
            body["entrypoint"] = f"tests.faults.marking_flows.{flow}"
            body["parameter_openapi_schema"] = {"type": "object", "properties": {}}  # type: ignore[assignment]
            deployment = api._send("POST", "/deployments/", json=body).json()["id"]
            entrypoint = f"tests.faults.marking_flows.{flow}"
            self._types.append(TaskType.of_deployment(name, [], entrypoint=entrypoint, deployment_id=deployment))
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
            save_types(session, self._types, datetime.now(UTC))
            applied = apply(session, SystemClock(), OPERATOR, given)
        assert not applied.errors, applied.errors
        return first

    def come_due(self, dues: Counter[int]) -> None:
        """So many more occurrences of these tasks (by number): minutes of the last hour, of which a worker makes rows.

        What came due before must have its rows: there is one schedule a task.
        """
        minutes = {number: (self._dues[number], self._dues[number] + count - 1) for number, count in dues.items()}
        assert max(last for _, last in minutes.values()) < 60
        with writing(self.engine) as session:
            for number, (first, last) in minutes.items():
                row = session.exec(select(TaskRow).where(TaskRow.name == f"task {number}")).one()
                cron = ScheduleSection(cron=f"{first}-{last} {self._first_due.hour} * * *").cron
                since = self._first_due + timedelta(minutes=first)
                row.cron, row.accounted_at, row.next_due_at = cron, since, since
                session.add(row)
            settings.definitions_changed(session)
        self._dues.update(dues)

    def come_due_at(self, number: int, at: datetime) -> None:
        """The task's one occurrence is at that instant (whole seconds)."""
        with writing(self.engine) as session:
            row = session.exec(select(TaskRow).where(TaskRow.name == f"task {number}")).one()
            row.cron, row.once = None, at.replace(tzinfo=None).isoformat()
            row.accounted_at, row.next_due_at = datetime.now(UTC), at
            session.add(row)
            settings.definitions_changed(session)

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
                [sys.executable, "-m", "headway.cli", "worker"],
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

    def a_worker(self) -> subprocess.Popen[bytes]:
        """The one that lives; a new one where none does."""
        return next((one for one in self.workers if one.poll() is None), None) or self.start_worker()

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
            return row if self.begun(run_id) and row.status is RunStatus.RUNNING else None

        return until(look, f"run {run_id} in progress", seconds)

    def marks(self, what: str = "began") -> Counter[str]:
        """How often each `run:attempt` has begun, or ended."""
        return Counter(mark.key for mark in self.all_marks() if mark.what == what)

    def all_marks(self) -> list[Mark]:
        if not self.marks_file.exists():
            return []
        return [Mark.read(line) for line in self.marks_file.read_text().splitlines()]

    def begun(self, run_id: int) -> int:
        """How often that run has begun, whichever attempt."""
        return sum(mark.run_id == run_id and mark.what == "began" for mark in self.all_marks())

    def log(self) -> str:
        """What the workers have said."""
        file = self.folder / "worker.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def open_runs(self) -> int:
        with reading(self.engine) as session:
            return session.execute(text("SELECT COUNT(*) FROM run WHERE ended_at IS NULL")).scalar_one()

    def all_runs(self) -> list[RunRow]:
        with reading(self.engine) as session:
            return list(session.exec(select(RunRow).order_by(col(RunRow.id))).all())

    def can_be_written(self) -> bool:
        """Whether nobody who stands still holds SQLite's lock."""
        if self.where != "SQLite":
            return True
        with closing(sqlite_module().connect(self.engine.url.database, timeout=2, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite_module().OperationalError:
                return False
            return True

    def locks(self) -> list[str]:
        with reading(self.engine) as session:
            return list(session.exec(select(LockRow.name)).all())

    def held_by(self, number: int) -> set[str]:
        """The rules that hold the task's waiting run, as `why` tells them."""
        from headway.scheduler.usecases.runs.why import why

        with reading(self.engine) as session:
            task = session.exec(select(TaskRow).where(TaskRow.name == f"task {number}")).one()
            told = why(session, SystemClock(), OPERATOR, task)
            return {rule.value for rule, hold in told.verdicts if hold is not None}

    def problems(self, expected: int | None = None) -> list[str]:
        """What is not as it has to be, now that nothing is in progress."""
        runs = self.all_runs()
        found = [f"{key} {what} {count} times" for what in WHAT for key, count in self.marks(what).items() if count > 1]
        if expected is not None and len(runs) != expected:
            found.append(f"{len(runs)} rows for {expected} dues")
        if locks := self.locks():
            found.append(f"locks left: {locks}")
        began, ended = (Counter(mark.run_id for mark in self.all_marks() if mark.what == what) for what in WHAT)
        for row in runs:
            found += self._problems_of(row, began[id_of(row)], ended[id_of(row)])
        return found

    @staticmethod
    def _problems_of(row: RunRow, began: int, ended: int) -> list[str]:
        found = []
        if row.status is RunStatus.COMPLETED and (began, ended) != (1, 1):
            found.append(f"run {row.id} completed, and began {began} times and ended {ended} times")
        if row.attempt <= 1 and began > 1:
            found.append(f"run {row.id} began {began} times")
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
