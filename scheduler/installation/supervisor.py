"""The processes that `headway up` starts and keeps up: Prefect's server, the worker, the dashboard."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from sqlalchemy import Engine

from headway.clock import SystemClock
from headway.environment import python_module, stop_grace_seconds
from headway.models.ledger.database import home, make_engine, sqlite_in_use, writing
from headway.privileges import OPERATOR
from headway.scheduler.installation import exit_with_parent
from headway.scheduler.installation.addresses import (
    dashboard_host,
    dashboard_port,
    prefect_port,
    refuse_taken_port,
    use_prefect,
)
from headway.scheduler.installation.deploy import deploy
from headway.scheduler.installation.setup import install
from headway.scheduler.installation.starter_tasks import offer_tasks
from headway.scheduler.planning.definitions.task_types import all_prefect_yamls
from headway.scheduler.prefect_side.api import PrefectApi
from headway.scheduler.prefect_side.server import PrefectServer, ServerError
from headway.scheduler.usecases.people.people import first_admin

_RESTART_SECONDS = 5.0


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
    blocks: Sequence[ModuleType]
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
        types = deploy(prefect, *all_prefect_yamls(), blocks=self.blocks)
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
            child = Child(name=name, command=python_module(*module), log_path=logs / f"{name}.log")
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
