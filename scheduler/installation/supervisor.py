"""The parts that `headway up` runs: Prefect's server, the deployments, the worker, the dashboard."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from headway.clock import SystemClock
from headway.environment import port, stop_grace_seconds
from headway.errors import InvalidInput, PrefectError, PrefectRefused, SchedulerError, Unreachable
from headway.models.ledger.database import database_url, home, make_engine, reading, shown_url, sqlite_in_use, writing
from headway.privileges import OPERATOR
from headway.scheduler.installation import exit_with_parent
from headway.scheduler.installation.home_lock import refuse_half_restored
from headway.scheduler.installation.setup import install, open_database, with_schema
from headway.scheduler.installation.starter_tasks import offer_tasks
from headway.scheduler.planning.task_types import POOL, TaskType, all_prefect_yamls, is_task_type
from headway.scheduler.prefect_side.api import Deployment, PrefectApi
from headway.scheduler.prefect_side.importer_block import keep_importer_path
from headway.scheduler.prefect_side.ledger_block import keep_ledger_block
from headway.scheduler.prefect_side.server import PrefectServer, ServerError, client_environment
from headway.scheduler.store import audit, settings, workers
from headway.scheduler.store.tasks import load_types, save_types
from headway.scheduler.usecases.people.people import first_admin

BLOCK_MODULES = (
    "headway.blocks.sftp.block",
    "headway.blocks.database.block",
    "headway.blocks.drop_folder",
    "prefect_email",
)
_RESTART_SECONDS = 5.0


def dashboard_port() -> int:
    return port("HEADWAY_DASHBOARD_PORT", 8501)


def dashboard_host() -> str:
    """Where the dashboard is reached from this machine."""
    host = os.environ.get("HEADWAY_DASHBOARD_HOST") or "127.0.0.1"
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104


def dashboard_url() -> str:
    host = dashboard_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{dashboard_port()}"


def prefect_port() -> int:
    return port("HEADWAY_PREFECT_PORT", 4200)


def refuse_taken_port(host: str, port: int, variable: str, what: str) -> None:
    """Unreachable, naming the variable, if something else listens on that port there."""
    import socket

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unreachable(
                f"port {port} on {host} cannot be used for {what} ({error.strerror}): stop what listens there, or "
                f"set {variable} to a free port"
            ) from None


def use_prefect() -> PrefectApi:
    """Prefect as this installation knows it; the environment set so that Prefect's own code finds it too."""
    refuse_half_restored(home())
    os.environ.setdefault("HEADWAY_HOME", str(home()))  # `prefect deploy` works in another folder
    os.environ.update(client_environment(home()))
    return PrefectApi.from_environment()


# Deploying


def deploy(prefect: PrefectApi, *files: Path) -> list[TaskType]:
    """Deploy these prefect.yamls and read the task types back from Prefect. Unreachable if Prefect does not answer.

    What other files have deployed on the pool stays a task type.
    """
    engine = open_database()
    try:
        prefect.ensure_work_pool()
        prefect.register_block_types(BLOCK_MODULES)
        for file in files:
            prefect.deploy(file)
        found = [one for one in prefect.deployments(None) if is_task_type(one.work_pool, one.tags)]
        _refuse_same_names(found)
        types = [
            TaskType.of_deployment(
                one.name,
                list(one.tags),
                description=one.description or "",
                entrypoint=one.entrypoint or "",
                deployment_id=one.id,
                work_pool=one.work_pool or POOL,
                parameter_schema=one.parameter_schema,
            )
            for one in found
        ]
        _own_blocks(prefect)
    except PrefectRefused as error:
        raise InvalidInput(f"Prefect refused the deployment; correct the file: {error}") from None
    types = [_with_all_of_its_schema(one) for one in types]
    with writing(engine) as session:
        now, known = SystemClock().now(), _facts(load_types(session).values())
        save_types(session, types, now)
        made = _facts(load_types(session).values())
        if changed := [name for name in {**known, **made} if known.get(name) != made.get(name)]:
            before, after = ({name: one.get(name) for name in changed} for one in (known, made))
            audit.record(session, now, OPERATOR, "deploy", "task types", before=before, after=after)
    sync_importer_path(prefect)
    return types


def _facts(types: Iterable[TaskType]) -> dict[str, dict[str, Any]]:
    """What a deployment decides of a task type, for the audit trail."""
    return {
        one.name: {"group": one.group, "entrypoint": one.entrypoint, "work_pool": one.work_pool, "tags": [*one.tags]}
        for one in types
    }


def _refuse_same_names(deployments: Sequence[Deployment]) -> None:
    """A task names its type by the deployment's name alone, so that name must be unique on the pool."""
    by_name: dict[str, Deployment] = {}
    for one in deployments:
        other = by_name.setdefault(one.name, one)
        if other is not one:
            raise InvalidInput(
                f"two deployments of the pool are named '{one.name}', of the flows '{other.flow_name}' and "
                f"'{one.flow_name}': a task type's name is unique. Rename one in its prefect.yaml, and remove the old "
                f"one with `prefect deployment delete '{one.flow_name}/{one.name}'`"
            )


def _with_all_of_its_schema(task_type: TaskType) -> TaskType:
    """A deployment that keeps no schema gets its flow's."""
    return task_type if task_type.parameter_schema else with_schema(replace(task_type, parameter_schema=None))


def _own_blocks(prefect: PrefectApi) -> None:
    """The scheduler's own database to read, and the operations database that tasks work on, unless another is named."""
    from headway.scheduler.prefect_side.operations_block import keep_operations_block

    keep_ledger_block(prefect)
    keep_operations_block(prefect)


def sync_importer_path(prefect: PrefectApi | None = None) -> bool:
    """Give the importer's block the configured path; False where there is no block, or Prefect is away.

    The setting is the truth; deploying, starting a worker and applying a file all come by here.
    """
    try:
        api = prefect or use_prefect()
        if api.health(timeout_seconds=1) is not None:
            return False
        return keep_importer_path(open_database(), api)
    except PrefectError:
        return False


# Up


@dataclass(kw_only=True)
class Child:
    """A process of ours that is kept up until it is stopped."""

    name: str
    command: list[str]
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0

    def start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, exit_with_parent.VARIABLE: "1"},
                stdin=subprocess.PIPE,  # it ends with `up`, even where that is killed
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for `up`, which then stops its parts in order
            )
        self.started = time.monotonic()

    def keep_up(self, tell: Callable[[str], None]) -> None:
        if self.process is None or self.process.poll() is None or time.monotonic() - self.started < _RESTART_SECONDS:
            return
        tell(f"{self.name} ended with {self.process.returncode}; starting it again (see {self.log_path})")
        self.start()

    def stop(self, grace_seconds: float) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Stack:
    """All that `up` starts, stopped in the reverse order."""

    tell: Callable[[str], None]
    server: PrefectServer | None = None
    children: list[Child] = field(default_factory=list)
    grace_seconds: float = 0.0

    def prepare(self) -> PrefectApi:
        """Database, first user, Prefect's server and the deployments: everything but the worker and the dashboard."""
        home().mkdir(parents=True, exist_ok=True, mode=0o700)
        home().chmod(0o700)
        self.grace_seconds = stop_grace_seconds()
        refuse_taken_port(dashboard_host(), dashboard_port(), "HEADWAY_DASHBOARD_PORT", "the dashboard")
        engine = make_engine()
        install(engine)
        database = sqlite_in_use() if engine.dialect.name == "sqlite" else engine.dialect.name
        self.tell(f"State in {home()} ({database}).")
        self._first_admin(engine)
        if not os.environ.get("PREFECT_API_URL"):
            self.server = PrefectServer(home(), prefect_port())
            self.tell("Starting Prefect's server (the first start takes a quarter of a minute) ...")
            self.server.start()
        prefect = use_prefect()
        self.tell("Deploying the task types ...")
        types = deploy(prefect, *all_prefect_yamls())
        self.tell(f"{len(types)} task types: {', '.join(one.name for one in types)}.")
        for name in offer_tasks(engine, SystemClock()):
            self.tell(f"New task '{name}', disabled: edit it to say who gets its mail, then enable it.")
        return prefect

    def _first_admin(self, engine: Engine) -> None:
        with writing(engine) as session:
            password = first_admin(session, SystemClock(), OPERATOR)
        if password is not None:
            self.tell(f"First user: admin, one-time password: {password}")

    def start(self) -> None:
        """Worker and dashboard."""
        logs = home() / "logs"
        for name, module in (("worker", ["headway.cli", "worker"]), ("dashboard", ["headway.dashboard"])):
            child = Child(name=name, command=[sys.executable, "-m", *module], log_path=logs / f"{name}.log")
            child.start()
            self.children.append(child)

    def watch(self, stop: threading.Event) -> None:
        """Keep the parts up until told to stop."""
        while not stop.wait(1):
            for child in self.children:
                child.keep_up(self.tell)
            if self.server is not None and not self.server.alive:
                self.tell("Prefect's server ended; starting it again")
                try:
                    self.server.start()
                except ServerError as error:
                    self.tell(str(error))

    def stop(self) -> None:
        for child in reversed(self.children):
            self.tell(f"Stopping the {child.name} ...")
            child.stop(self.grace_seconds + 30)
        if self.server is not None:
            self.tell("Stopping Prefect's server ...")
            self.server.stop()


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C or SIGTERM sets; a second Ctrl-C ends at once."""
    stop = threading.Event()

    def tell_to_stop(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, tell_to_stop)
    return stop


# Status


@dataclass(frozen=True)
class Part:
    name: str
    ok: bool
    detail: str


def status() -> list[Part]:
    """Each part of this installation, and whether it is up."""
    return [_database(), _prefect(), _worker(), _dashboard()]


def _database() -> Part:
    try:
        if no_database_yet():
            return Part("database", False, "not there yet; start `headway up`")
        engine = open_database()
        with reading(engine) as session:
            settings.definitions_version(session)
        return Part("database", True, shown_url(engine.url))
    except (SchedulerError, OSError) as error:
        return Part("database", False, str(error))


def no_database_yet() -> bool:
    """Whether it is a SQLite file that nobody has made; looking must not make it."""
    try:
        url = make_url(database_url())
    except (ArgumentError, ValueError):
        return False  # opening it says what is wrong
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").exists()


def _prefect() -> Part:
    environment = (
        client_environment(home())
        if (home() / "prefect-keys.json").exists() or os.environ.get("PREFECT_API_URL")
        else None
    )
    if environment is None:
        return Part("prefect", False, "not set up yet; start `headway up`")
    problem = PrefectApi.from_environment({**os.environ, **environment}).health()
    return Part("prefect", problem is None, problem or environment["PREFECT_API_URL"])


def _worker() -> Part:
    try:
        if no_database_yet():
            return Part("worker", False, "not started yet")
        with reading(open_database()) as session:
            alive = workers.alive(session, SystemClock().now())
            problem = workers.engine_problem(session, SystemClock().now())
        detail = problem or ", ".join(f"{one.id} on {one.host}" for one in alive)
        return Part("worker", problem is None, detail)
    except (SchedulerError, OSError) as error:
        return Part("worker", False, str(error))


def _dashboard() -> Part:
    import urllib.error
    import urllib.request

    url = dashboard_url()
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:  # our own # nosec B310
            return Part("dashboard", answer.status == 200, url)
    except (urllib.error.URLError, OSError) as error:
        return Part("dashboard", False, f"{url}: {getattr(error, 'reason', error)}")


def parts_document(parts: list[Part]) -> dict[str, Any]:
    return {"ready": all(part.ok for part in parts), "parts": [part.__dict__ for part in parts]}


def save_up(prefect: PrefectApi) -> None:
    """Where the running parts are, for people who look."""
    document = {"pid": os.getpid(), "prefect": prefect.url, "dashboard": f"http://127.0.0.1:{dashboard_port()}"}
    (home() / "up.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
