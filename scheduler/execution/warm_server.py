"""Starts runs in milliseconds: forks them from a process that has Prefect and the flows imported.

This is the worker's side. The other side, `fork_server`, is a process of its own, because a fork
is safe only where there is one thread, no event loop and no open connection; a worker has all three.
"""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from headway.environment import python_module
from headway.scheduler.execution.ledger_port import ExitCode
from headway.scheduler.execution.process_identity import ProcessIdentity, end_group

ORPHAN_GRACE_SECONDS = 10.0


class WarmServerGone(Exception):
    """This warm server takes no more runs; start a new one."""


@dataclass(kw_only=True, frozen=True)
class StartOrder:
    """All that a run's process has to know."""

    run_id: int
    attempt: int
    claim: str
    database_url: str
    deployment_id: str
    flow_run_id: str | None
    """Set for a run that was born in Prefect; None: the process makes the flow run."""
    entrypoint: str | None
    parameters: dict[str, Any]
    name: str
    """Name of the flow run."""
    tags: list[str] = field(default_factory=list)
    work_pool: str = ""
    """The other pool that the run is handed to; empty: it is a process of this machine."""
    due_at: str = ""
    """ISO 8601 with offset."""
    labels: dict[str, str] = field(default_factory=dict)
    """Of the flow run: what the flow may know of its task, the same for each attempt."""


@dataclass(kw_only=True, frozen=True)
class Exited:
    """A run's process is gone. Exit codes: headway.scheduler.execution.ledger_port.ExitCode.

    Both None: its end was not seen (its warm server died, or the process could not even be made).
    """

    run_id: int
    claim: str
    pid: int
    """0 if there never was one, as far as is known."""
    exit_code: int | None
    signal: int | None

    def describe(self) -> str:
        """For operators: "the process ended with exit code 3"."""
        if self.signal is not None:
            return f"the process was ended by {_signal_name(self.signal)}"
        if self.exit_code == ExitCode.TWIN:
            return "another process had started the same run in Prefect"
        if self.exit_code == ExitCode.NOT_RECORDED:
            return "the process ended, but could not write how to the ledger's database"
        if self.exit_code is not None:
            return f"the process ended with exit code {self.exit_code}"
        if self.pid == 0:
            return "the process could not be started"
        return "the process was lost with the server that started it"


@dataclass(frozen=True)
class RunningProcess:
    """A run that this warm server was told to start and that has not ended."""

    run_id: int
    claim: str
    process: ProcessIdentity | None
    """None until the fork is reported, some milliseconds after `begin`."""


class WarmServer:
    """A process with everything imported, and the runs forked from it. Thread-safe.

    `on_exit` is called once for every order that `begin` accepted, on a thread of this object.
    """

    def __init__(
        self,
        modules: Sequence[str],
        env: Mapping[str, str] | None,
        on_exit: Callable[[Exited], None],
        *,
        program: str,
    ) -> None:
        """`modules` hold the flows; `env` is the whole environment (None: this process's).

        `program` is the module to run as the fork server: it calls `fork_server.serve` with its ledger.
        """
        self.ready = threading.Event()
        """Set when the modules are imported, or when the server died: look at `alive`."""
        self.failed_modules: dict[str, str] = {}
        """By module name: why it could not be imported. Filled when `ready` is set."""
        self._modules = list(modules)
        self._env = dict(os.environ if env is None else env)
        self._on_exit = on_exit
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._running: dict[tuple[int, str], RunningProcess] = {}
        self._state = threading.Condition()
        self._sending = threading.Lock()
        self._closing = False
        self._gone = threading.Event()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether `begin` would be accepted."""
        return self._socket is not None and not self._closing and not self._gone.is_set()

    def start(self) -> None:
        """Returns at once; `ready` is set when the modules are imported. Orders may be given before."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                python_module(self._program, str(theirs.fileno())),
                env=self._env,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the worker's terminal is the worker's affair
            )
        self._socket = ours
        self._send({"modules": self._modules})
        threading.Thread(target=self._listen, name="warm-server", daemon=True).start()

    def begin(self, order: StartOrder) -> None:
        """Starts the run. Raises WarmServerGone, and then nothing was started."""
        key = (order.run_id, order.claim)
        with self._state:
            if not self.alive:
                raise WarmServerGone
            self._running[key] = RunningProcess(order.run_id, order.claim, None)
        try:
            self._send({"start": asdict(order)})
        except OSError as error:
            with self._state:
                known = self._running.pop(key, None)
            if known is None:
                return  # the listener saw the end first, and has reported this order
            raise WarmServerGone from error

    def running(self) -> list[RunningProcess]:
        with self._state:
            return list(self._running.values())

    def drain(self, timeout: float | None = None) -> bool:
        """Takes no more orders and waits for the running ones; whether all have ended within `timeout` s."""
        with self._state:
            self._closing = True
            return self._state.wait_for(lambda: not self._running, timeout)

    def stop(self, grace_seconds: float = 10) -> None:
        """Ends the runs (TERM, KILL after the grace) and the server. Returns when all are gone."""
        with self._state:
            self._closing = True
        if self._process is None:
            return
        try:
            self._send({"stop": grace_seconds})
        except OSError:
            pass  # it is gone, and the listener cleans up behind it
        if not self._gone.wait(grace_seconds + 10):
            self._process.kill()
            self._gone.wait()
        self._process.wait()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._socket is not None
        with self._sending:
            self._socket.sendall(json.dumps(message, default=str).encode() + b"\n")

    # ------------------------------------------------------------------ the listener's thread

    def _listen(self) -> None:
        assert self._socket is not None
        try:
            for message in read_messages(self._socket):
                self._heard(message)
        finally:
            self._clean_up()

    def _heard(self, message: Mapping[str, Any]) -> None:
        if "ready" in message:
            self.failed_modules.update(message["ready"])
            self.ready.set()
        elif "started" in message:
            started = message["started"]
            process = ProcessIdentity(**started.pop("process"))
            with self._state:
                self._running[started["run_id"], started["claim"]] = RunningProcess(process=process, **started)
        elif "exited" in message:
            self._report(Exited(**message["exited"]))

    def _report(self, exited: Exited) -> None:
        try:
            self._on_exit(exited)
        finally:
            # Only now: a drained server is one whose exits have all been dealt with.
            with self._state:
                self._running.pop((exited.run_id, exited.claim), None)
                self._state.notify_all()

    def _clean_up(self) -> None:
        """The server is gone. What it left behind is ended, and reported."""
        with self._state:
            self._closing = True
            orphans = list(self._running.values())
        assert self._socket is not None
        self._socket.close()
        for orphan in orphans:
            # They had a TERM when their parent died; this waits for them, and makes sure.
            if orphan.process is not None:
                end_group(orphan.process, ORPHAN_GRACE_SECONDS)
            self._report(
                Exited(run_id=orphan.run_id, claim=orphan.claim, pid=_pid_of(orphan), exit_code=None, signal=None)
            )
        if self._process is not None:
            self._process.wait()
        self._gone.set()
        self.ready.set()


def read_messages(source: socket.socket) -> Iterator[dict[str, Any]]:
    """JSON documents, one a line, until the other side closes."""
    buffered = b""
    while chunk := _receive(source):
        *lines, buffered = (buffered + chunk).split(b"\n")
        yield from (json.loads(line) for line in lines)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except ConnectionError:
        return b""


def _pid_of(running: RunningProcess) -> int:
    return running.process.pid if running.process else 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
