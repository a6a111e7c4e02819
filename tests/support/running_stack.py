"""Everything running for real: Prefect's server, a worker, an SFTP server that fails on demand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from headway.models.ledger.database import reading
from headway.models.ledger.tables import RunRow
from headway.models.values.run import RunStatus
from headway.scheduler.prefect_side.server import PrefectServer
from headway.scheduler.store import workers
from tests.support.command_line import Answer, Headway
from tests.support.prefect_server import start_in_new_home
from tests.support.project import PROJECT
from tests.support.sftp_faults import Behaviour, FaultServer
from tests.support.written_ledger import Ledger

SETTINGS = r"""
settings:
  customer_importer_file_path: '\\flexftp\acme\import'
windows: []    # so that the outcome does not depend on the hour at which the tests run
"""
_LOOK_SECONDS = 0.1
Found = TypeVar("Found")


def until(look: Callable[[], Found | None], what: str, timeout_seconds: float = 60) -> Found:
    """What `look` finds as soon as it finds something; an AssertionError names what never came."""
    deadline, pause = time.monotonic() + timeout_seconds, threading.Event()
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(_LOOK_SECONDS)
    raise AssertionError(f"{what}: not within {timeout_seconds:.0f} s")


def processes_of(home: Path) -> dict[int, str]:
    """Every live process whose environment names this home, with its command line."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            if str(home).encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has ended, or is another user's
            continue
    return found


def export_yaml(name: str, *, rows: int = 10, more: str = "", file_name: str = "") -> str:
    """A task that exports so many rows, as an entry of `tasks:`."""
    query = (
        f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i, 'row' AS t FROM n"
    )
    file_name = file_name or f"{name.lower().replace(' ', '_')}.csv"
    parameters = f'{{query: "{query}", file_name: "{file_name}"}}'
    return f"  - name: {name}\n    type: data_export\n    parameters: {parameters}\n{more}"


class RunningStack:
    """One installation with all its parts. Tests share it: use task names of your own, leave it running."""

    def __init__(self, headway: Headway, sftp: FaultServer) -> None:
        self.headway = headway
        self.sftp = sftp
        self.server = PrefectServer(headway.home, int(headway.more["HEADWAY_PREFECT_PORT"]))
        self.worker: subprocess.Popen[bytes] | None = None
        self.ledger = Ledger(headway.database)

    @property
    def delivered(self) -> list[str]:
        """What lies at the importer path."""
        return sorted(path.name for path in self.sftp.folder.iterdir())

    @property
    def behaviour(self) -> Behaviour:
        return self.sftp.behaviour

    def prepare(self) -> None:
        """Server, deployments, blocks, settings: everything but the worker."""
        start_in_new_home(self.server)
        self.headway("deploy").ok()
        block = self.sftp.block()
        fields = block.model_dump(mode="json", exclude_none=True, exclude={"password"})
        known = {name: fields[name] for name in ("host", "port", "username", "known_host_key", "path_server")}
        secret = block.password.get_secret_value() if block.password else ""
        self.server.api().save_block("sftp-server", "importer", {**known, "password": secret, "retry_pause_seconds": 0})
        self.headway.apply(SETTINGS)

    def start_worker(self, folder: Path = PROJECT) -> None:
        """Returns once it has said hello and reaches Prefect. folder: where it is started."""
        log = (self.headway.folder / "worker.log").open("ab")
        with log:
            self.worker = subprocess.Popen(
                [str(Path(sys.executable).with_name("headway")), "worker"],
                cwd=folder,
                env=self.headway.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._engine_answers, "a worker that reaches Prefect")

    def _engine_answers(self) -> bool:
        assert self.worker is not None and self.worker.poll() is None, "the worker ended"
        with reading(self.ledger.engine) as session:
            alive = workers.alive(session, datetime.now(UTC))
        return any(one.process_id == self.worker.pid and one.engine_problem is None for one in alive)

    def up(self) -> list[str]:
        """The names of the parts that are up."""
        parts = json.loads(self.headway("status", "--json").out)["parts"]
        return [part["name"] for part in parts if part["ok"]]

    def stop_worker(self, number: signal.Signals = signal.SIGTERM, timeout_seconds: float = 60) -> int:
        """Its exit code."""
        assert self.worker is not None
        self.worker.send_signal(number)
        return self.worker.wait(timeout_seconds)

    def clean_up(self) -> None:
        """Ends everything, however the tests left it."""
        if self.worker is not None and self.worker.poll() is None:
            self.worker.terminate()
            try:
                self.worker.wait(30)
            except subprocess.TimeoutExpired:
                self.worker.kill()
                self.worker.wait()
        self.server.stop()
        self.ledger.engine.dispose()
        for process_id in processes_of(self.headway.home):
            os.kill(process_id, signal.SIGKILL)

    # What tests ask

    def apply(self, *tasks: str) -> Answer:
        return self.headway.apply("tasks:\n" + "".join(tasks))

    def last(self, name: str) -> RunRow | None:
        return next(iter(self.ledger.runs(name)[::-1]), None)

    def ended(self, name: str, timeout_seconds: float = 60) -> RunRow:
        """The task's last run, once it has ended."""

        def look() -> RunRow | None:
            row = self.last(name)
            return row if row is not None and row.ended_at is not None else None

        return until(look, f"the end of '{name}'", timeout_seconds)

    def in_state(self, name: str, status: RunStatus, timeout_seconds: float = 60) -> RunRow:
        def look() -> RunRow | None:
            row = self.last(name)
            return row if row is not None and row.status is status else None

        return until(look, f"'{name}' in state {status}", timeout_seconds)

    def held_by(self, name: str) -> dict[str, dict[str, Any]]:
        """The rules that hold the task's run, by `headway why`."""
        verdicts = self.headway("why", name, "--json").json()["verdicts"]
        return {verdict["rule"]: verdict for verdict in verdicts if verdict["held"]}

    @contextmanager
    def paused_delivery(self) -> Iterator[threading.Event]:
        """Within, the next file that gets its final name keeps its run in progress; yields when that is so."""
        reached, release = threading.Event(), threading.Event()

        def pause(_path: Path) -> None:
            reached.set()
            release.wait(60)

        self.behaviour.after_rename = pause
        try:
            yield reached
        finally:
            self.behaviour.after_rename = lambda _path: None
            release.set()


def in_seconds(seconds: float) -> datetime:
    """That many seconds from now, without a fraction."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
