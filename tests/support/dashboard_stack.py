"""A real dashboard process on a free port with a home of its own, and a small installation to look at.

Everything in the database got there through the use cases and the ledger's own transitions.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine
from sqlmodel import Session, select

from headway.models.ledger.database import make_engine, migrate, reading, writing
from headway.models.ledger.tables import RunFileRow, RunLogRow, RunRow, TaskRow, UserRow, id_of
from headway.models.values.actor import Privilege
from headway.models.values.run import ACTIVE, RunStatus
from headway.privileges import OPERATOR
from headway.scheduler.execution.process_identity import ProcessIdentity
from headway.scheduler.planning.definitions.document import DAYS, Definitions
from headway.scheduler.planning.definitions.task_types import TaskType
from headway.scheduler.store import settings, workers
from headway.scheduler.store.boards import load_board
from headway.scheduler.store.runs.claims import claim_run
from headway.scheduler.store.runs.run_ends import Ending, end_run
from headway.scheduler.store.runs.transitions import record_transition
from headway.scheduler.store.tasks import load_catalog, save_types
from headway.scheduler.usecases.people import people
from headway.scheduler.usecases.runs.run_now import run_now
from headway.scheduler.usecases.tasks.apply import apply
from tests.support.project import PROJECT

PASSWORD = "a password for tests"
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "table": {"type": "string", "title": "Table", "description": "What is exported"},
        "file_name": {"type": "string", "title": "File name", "default": "out.csv"},
        "format": {"type": "string", "enum": ["csv", "xlsx"], "title": "Format", "default": "csv"},
        "limit": {"type": "integer", "title": "Limit", "default": 0, "minimum": 0},
    },
}
TYPES = [
    TaskType(name="data_export", group="data_export", description="A table as a file", parameter_schema=SCHEMA),
    TaskType(name="lookup_import", group="lookup_import", description="A file into a table", parameter_schema=SCHEMA),
    TaskType(name="report_execution", group="reports", description="A report by mail", parameter_schema=SCHEMA),
]
HOSTILE = "<img src=x onerror=alert(1)> **bold** [x](javascript:alert(1)) :red[r] $x^2$ =1+1"


@dataclass
class TestClock:
    """A clock that the seeding moves; the dashboard's own is the machine's."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def now(self) -> datetime:
        return self.at

    __test__ = False


@dataclass
class World:
    """An installation being filled."""

    engine: Engine
    clock: TestClock = field(default_factory=TestClock)
    uids: dict[str, int] = field(default_factory=dict)

    def user(self, name: str, *privileges: Privilege, one_time: bool = False) -> str:
        """A user with privileges; the password to sign in with."""
        with writing(self.engine) as session:
            password = people.add_user(session, self.clock, OPERATOR, name)
            session.flush()
            for privilege in privileges:
                people.grant(session, self.clock, OPERATOR, name, privilege)
            if one_time:
                return password
            user = session.exec(select(UserRow).where(UserRow.name == name)).one()
            user.password_hash, user.must_change_password = people.PASSWORDS.hash(PASSWORD), False
            session.add(user)
        return PASSWORD

    def define(self, **definitions: object) -> None:
        """Apply these sections of a file; its errors are the test's."""
        with writing(self.engine) as session:
            applied = apply(session, self.clock, OPERATOR, Definitions.model_validate(definitions))
            assert not applied.errors, applied.errors

    def tasks(self, *tasks: dict[str, object]) -> None:
        self.define(tasks=list(tasks))
        with reading(self.engine) as session:
            self.uids = {row.name: id_of(row) for row in session.exec(select(TaskRow)).all()}

    def windows(self, *names: str) -> None:
        """Windows of these names, each on Sundays from three to four."""
        self.define(windows=[{"name": name, "days": ["sun"], "start": "03:00", "end": "04:00"} for name in names])

    def run(
        self,
        name: str,
        status: RunStatus,
        *,
        ago: timedelta,
        took: timedelta = timedelta(minutes=3),
        lines: Sequence[tuple[int, str]] = (),
        error: str | None = None,
        files: Sequence[str] = (),
        process: ProcessIdentity | None = None,
        **values: object,
    ) -> int:
        """A run of the task that was asked for so long ago, and came to be in that status."""
        now = datetime.now(UTC).replace(microsecond=0)
        self.clock.at = started = now - ago
        with writing(self.engine) as session:
            task = session.get(TaskRow, self.uids[name])
            assert task is not None
            run_id = run_now(session, self.clock, OPERATOR, task).run_id
            if status is RunStatus.WAITING:
                return run_id
            self._start(session, run_id, started, process)
            for number, (level, message) in enumerate(lines):
                at = started + timedelta(seconds=number)
                session.add(RunLogRow(run_id=run_id, at=at, level=level, logger="flow", message=message))
            for file in files:
                receipt = {"name": file, "path": f"/import/{file}", "bytes": 2048, "sha256": "ab" * 32}
                session.add(
                    RunFileRow(
                        run_id=run_id,
                        at=started + took,
                        name=file,
                        path=f"/import/{file}",
                        bytes=2048,
                        sha256="ab" * 32,
                        receipt=receipt,
                    )
                )
            if status in ACTIVE:
                return run_id
            catalog = load_catalog(session)
            ending = Ending(status=status, message=error or "done", error=error, values=dict(values), permanent=True)
            assert end_run(session, catalog, run_id, ending, now=started + took, who="run")
        self.clock.at = now
        return run_id

    def _start(self, session: Session, run_id: int, at: datetime, process: ProcessIdentity | None) -> None:
        catalog = load_catalog(session)
        picture = load_board(session, catalog, at)
        run = next(one for one in picture.waiting if one.id == run_id)
        assert claim_run(
            session,
            run,
            claim=f"claim {run_id}",
            worker_id="worker-1",
            max_running=8,
            now=at,
            parameters={},
            sequence=run_id,
            object_name=picture.rows[run_id].object,
            work_pool="",
        )
        record_transition(
            session, run_id, [RunStatus.STARTING], RunStatus.RUNNING, now=at, who="run", claim=f"claim {run_id}"
        )
        row = session.get(RunRow, run_id, populate_existing=True)
        assert row is not None
        row.running_at = at
        if process is not None:
            row.process_id, row.process_ticks = process.pid, process.started_ticks
            row.process_boot, row.process_host = process.boot_id, process.host
        session.add(row)
        session.flush()

    def worker(self) -> None:
        """A worker that is alive, as far as its row says."""
        with writing(self.engine) as session:
            process = ProcessIdentity(os.getpid(), 1, "boot", "test-host")
            workers.say_hello(session, "worker-1", process, datetime.now(UTC) + timedelta(hours=1))


def new_world(home: Path) -> World:
    """An empty installation: its tables, windows and task types."""
    engine = make_engine(f"sqlite:///{home / 'headway.db'}")
    migrate(engine)
    with writing(engine) as session:
        settings.install(session)
        save_types(session, TYPES, datetime.now(UTC))
    return World(engine)


def _move_windows(world: World) -> None:
    """No window is open while the tests run, at whatever hour they do: the daily one is in three hours."""
    soon, later = (datetime.now(ZoneInfo("America/New_York")) + timedelta(hours=hours) for hours in (3, 72))
    windows = [
        {"name": "Daily maintenance", "days": DAYS, "start": f"{soon:%H}:00", "end": f"{soon:%H}:50"},
        {"name": "Monday maintenance", "days": [DAYS[later.weekday()]], "start": "00:01", "end": "02:00"},
    ]
    world.define(windows=windows)


def furnish(world: World) -> dict[str, int]:
    """People, tasks and runs as on an ordinary morning; the runs by a short name."""
    world.worker()
    world.user("ann", Privilege.VIEW)
    world.user("bob", Privilege.MANAGE)
    world.user("root", *Privilege)
    world.user("eve")
    world.tasks(
        {"name": "Citations export", "type": "data_export", "object": "Citations", "schedule": {"cron": "15 1 * * *"},
         "description": "Nightly hand-off to the importer", "parameters": {"table": "citation"}},
        {"name": "Permits export", "type": "data_export", "object": "Permits", "schedule": {"cron": "45 2 * * *"}},
        {"name": "Load customers", "type": "lookup_import", "object": "Customers", "schedule": {"cron": "0 3 * * 1-5"}},
        {"name": "Customers report", "type": "report_execution", "object": "Customers",
         "schedule": {"after": "Load customers", "spacing": "01:00:00"}},
        {"name": "Old export", "type": "data_export", "object": "Lots", "enabled": False, "historical": True},
        {"name": HOSTILE, "type": "report_execution", "object": HOSTILE, "schedule": {"cron": "30 4 * * *"},
         "description": HOSTILE, "window": "require"},
    )  # fmt: skip
    runs = {}
    for day in range(6, 0, -1):
        runs["good"] = world.run(
            "Permits export", RunStatus.COMPLETED, ago=timedelta(days=day), took=timedelta(minutes=2 + day % 3),
            lines=[(20, "exported 1200 permits")], files=[f"permits_{day}.csv"], processed=1200, bytes=70_000,
        )  # fmt: skip
    runs["errors"] = world.run(
        "Load customers", RunStatus.COMPLETED_WITH_ERRORS, ago=timedelta(hours=30),
        lines=[(20, "reading customers.csv"), (30, "row 17 has no e-mail"), (40, "row 18: zip code 'ABC'")],
        processed=412, errors=1,
    )  # fmt: skip
    runs["failed"] = world.run(
        "Citations export", RunStatus.FAILED, ago=timedelta(hours=5),
        lines=[(20, "connecting to flexftp"), (20, HOSTILE), (40, "permission denied: /import")],
        error="TransferError: permission denied: /import", errors=1,
    )  # fmt: skip
    runs["running"] = world.run(
        "Customers report", RunStatus.RUNNING, ago=timedelta(minutes=4), lines=[(20, "rendering page 3")]
    )
    runs["waiting"] = world.run(HOSTILE, RunStatus.WAITING, ago=timedelta(minutes=40))
    with writing(world.engine) as session:
        row = session.get(RunRow, runs["running"])
        assert row is not None
        row.progress, row.process_id = 42.0, 4711
        session.add(row)
    return runs


@dataclass
class Dashboard:
    """The served dashboard, its world and what was put into it."""

    url: str
    home: Path
    world: World
    runs: dict[str, int]


@contextmanager
def serving(home: Path, program: Sequence[str] = ("-m", "headway.dashboard"), **extra: str) -> Iterator[str]:
    """`python -m dashboard` on a free port; its address. It is up when /healthz says so. extra: environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HEADWAY_HOME": str(home), "HEADWAY_DASHBOARD_PORT": str(port), **extra}
    environment.pop("HEADWAY_DATABASE_URL", None)
    with (home / "dashboard.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *program],
            env=environment,
            stdout=log,
            stderr=log,
            cwd=PROJECT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(url, process, home / "dashboard.log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_up(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)  # there is no signal to wait for before it listens
    raise AssertionError(log.read_text(encoding="utf-8"))


@contextmanager
def dashboard(program: Sequence[str] = ("-m", "headway.dashboard"), **extra: str) -> Iterator[Dashboard]:
    """A furnished installation, served."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        world = new_world(home)
        _move_windows(world)
        runs = furnish(world)
        with serving(home, program, **extra) as url:
            yield Dashboard(url, home, world, runs)
        world.engine.dispose()
