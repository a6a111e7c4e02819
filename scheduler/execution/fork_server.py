"""The fork server: the process that runs are forked from, started by `warm_server`.

It imports Prefect and the flows once, and from then on only waits, forks and reaps. It must keep to a
single thread, no event loop and no open connection: a fork copies the thread that forks and nothing
else, so a lock that another thread holds at that moment would stay locked in the child for ever.
"""

import ctypes
import gc
import importlib
import json
import mmap
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from headway.scheduler.execution import run_process
from headway.scheduler.execution.ledger_port import LedgerFactory
from headway.scheduler.execution.process_identity import identify
from headway.scheduler.execution.run_process import execute
from headway.scheduler.execution.user_folder import is_own, user_folder_first
from headway.scheduler.execution.warm_server import StartOrder

_ORPHAN_GRACE_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_WORKER_STOPS = 1
_WORKER_DIED = 2
_REASONS = {
    _WORKER_STOPS: "the worker was stopped while the run was in progress",
    _WORKER_DIED: "the worker died while the run was in progress",
}


class ForkServer:
    """Serves one worker over one socket. Single-threaded."""

    def __init__(self, worker: socket.socket, open_ledger: LedgerFactory) -> None:
        self._worker = worker
        self._open_ledger = open_ledger
        self._buffered = b""
        self._children: dict[int, StartOrder] = {}
        # One byte that every child shares: why it is being ended, if it is this process that ends it.
        self._why = mmap.mmap(-1, 1)
        self._end_at: float | None = None
        self._killed = False
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._signalled = socket.socketpair()

    def serve(self) -> None:
        """Returns when the worker said stop or is gone, and every child is reaped."""
        self._listen_to_signals()
        self._selector.register(self._worker, selectors.EVENT_READ)
        while not (self._end_at is not None and not self._children):
            for key, _ in self._selector.select(self._patience()):
                if key.fileobj is self._wakeup:
                    self._signals()
                else:
                    self._orders()
            self._reap()
            self._kill_when_due()

    def _listen_to_signals(self) -> None:
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)
        signal.set_wakeup_fd(self._signalled.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, _noticed)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._selector.register(self._wakeup, selectors.EVENT_READ)

    def _signals(self) -> None:
        if signal.SIGTERM in self._wakeup.recv(4096):
            self._end_children(_WORKER_STOPS, _ORPHAN_GRACE_SECONDS)

    def _patience(self) -> float | None:
        if self._end_at is None or self._killed:
            return None
        return max(0.0, self._end_at - time.monotonic())

    # ------------------------------------------------------------------ orders

    def _orders(self) -> None:
        try:
            chunk = self._worker.recv(65536)
        except ConnectionError:
            chunk = b""
        if not chunk:
            self._selector.unregister(self._worker)
            self._end_children(_WORKER_DIED, _ORPHAN_GRACE_SECONDS)
            return
        *lines, self._buffered = (self._buffered + chunk).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, message: Mapping[str, Any]) -> None:
        if "start" in message:
            self._fork(StartOrder(**message["start"]))
        elif "stop" in message:
            self._end_children(_WORKER_STOPS, float(message["stop"]))
        else:
            self._say(ready=_warm_up(message["modules"]))

    def _say(self, **message: Any) -> None:
        with suppress(OSError):  # a dead worker shows as the end of its orders
            self._worker.sendall(json.dumps(message).encode() + b"\n")

    # ------------------------------------------------------------------ children

    def _fork(self, order: StartOrder) -> None:
        if self._end_at is not None:
            self._say(exited=_exited(order, 0, None, None))
            return
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            print(f"Run {order.run_id} could not be forked: {error}", file=sys.stderr, flush=True)
            self._say(exited=_exited(order, 0, None, None))
            return
        if pid == 0:
            self._become_run(order, parent)
        self._children[pid] = order
        if identity := identify(pid):
            self._say(started={"run_id": order.run_id, "claim": order.claim, "process": vars(identity)})

    def _become_run(self, order: StartOrder, parent: int) -> None:
        """The child: never returns."""
        code = 70
        try:
            os.setsid()
            self._shed_inheritance()
            _die_with_parent(parent)
            code = execute(order, self._open_ledger, self._why_ended(parent))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            # Not sys.exit: the exit handlers are those of the parent.
            os._exit(code)

    def _shed_inheritance(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._selector.close()
        for end in (self._worker, self._wakeup, self._signalled):
            end.close()

    def _why_ended(self, parent: int) -> Callable[[], str | None]:
        """For the child: why it was told to end; None if that was neither the worker nor its death."""

        def why() -> str | None:
            if reason := _REASONS.get(self._why[0]):
                return reason
            return "the run's warm server died" if os.getppid() != parent else None

        return why

    def _reap(self) -> None:
        for pid, status in _ended_children(self._children):
            # The leader is a zombie still, so its number is not another group's yet: whatever it
            # left behind in its group is ended before the run shows as over.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._say(exited=_exited(self._children.pop(pid), pid, *status))

    def _end_children(self, why: int, grace_seconds: float) -> None:
        if self._end_at is not None:
            return
        self._why[0] = why
        self._end_at = time.monotonic() + grace_seconds
        self._signal_children(signal.SIGTERM)

    def _kill_when_due(self) -> None:
        if self._end_at is not None and not self._killed and time.monotonic() >= self._end_at:
            self._killed = True
            self._signal_children(signal.SIGKILL)

    def _signal_children(self, number: signal.Signals) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)  # no such group yet in the first instants of a child


def _ended_children(pids: Mapping[int, Any]) -> Iterator[tuple[int, tuple[int | None, int | None]]]:
    """(pid, (exit code, signal)) of each that has ended and is not reaped yet."""
    for pid in list(pids):
        found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            by_signal = found.si_code != os.CLD_EXITED
            yield pid, (None, found.si_status) if by_signal else (found.si_status, None)


def _exited(order: StartOrder, pid: int, exit_code: int | None, number: int | None) -> dict[str, Any]:
    return {
        "run_id": order.run_id,
        "claim": order.claim,
        "pid": pid,
        "exit_code": exit_code,
        "signal": number,
    }


def _noticed(number: int, frame: object) -> None:
    """The wake-up descriptor has told the loop already."""


def _die_with_parent(parent: int) -> None:
    """TERM when the fork server dies, however it dies (Linux; elsewhere the run's own watch sees it)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(70)  # it died before the line above


def _warm_up(modules: list[str]) -> dict[str, str]:
    """Imports all that a run needs; returns what could not be imported, and why."""
    run_process.warm_up()
    failed: dict[str, str] = {}
    # Headway's own first: what a user's folder holds never stands before it.
    for name in sorted(modules, key=lambda name: not is_own(name)):
        try:
            with nullcontext() if is_own(name) else user_folder_first():
                importlib.import_module(name)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    gc.collect()
    # What is imported lives for ever: the collector of a child need not look at it, and the pages
    # it would touch stay shared.
    gc.freeze()
    return failed


def serve(descriptor: int, open_ledger: LedgerFactory) -> None:
    """Serve the worker at the other end of the socket with that descriptor, until it says stop or is gone."""
    with socket.socket(fileno=descriptor) as to_worker:
        ForkServer(to_worker, open_ledger).serve()
