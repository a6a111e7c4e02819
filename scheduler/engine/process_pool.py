"""The processes of this machine: a warm server that forks them, and those before it that finish what they have."""

import logging
import threading
import time
from collections.abc import Callable

from headway.scheduler.engine.this_worker import Signals
from headway.scheduler.execution.warm_server import Exited, StartOrder, WarmServer, WarmServerGone
from headway.scheduler.planning.definitions.task_types import POOL
from headway.scheduler.store.tasks import Catalog

log = logging.getLogger("headway.worker")

RUN_PROCESSES = "headway.scheduler.engine.run_processes"
"""The program that runs are forked from."""


class ProcessPool:
    """One worker's warm servers. `keep_warm` and `begin` are the turning thread's.

    on_exit: called on a server's own thread with each process that has left.
    """

    def __init__(self, signals: Signals, begun: set[str], on_exit: Callable[[Exited], None]) -> None:
        self.begun = begun
        """Claims that were handed to a process whose end is still to come."""
        self._signals = signals
        self._on_exit = on_exit
        self._warm: WarmServer | None = None
        self._coming: WarmServer | None = None
        self._draining: list[WarmServer] = []
        self._warm_for: tuple[object, ...] | None = None

    def keep_warm(self, catalog: Catalog) -> WarmServer:
        """A warm server with the flows of today's deployments; while it imports, the one before serves on."""
        own = [one for one in catalog.resolved.types.values() if one.work_pool == POOL and "." in one.entrypoint]
        modules = {one.entrypoint.rpartition(".")[0] for one in own}
        wanted = (catalog.deployed_at, *sorted(module for module in modules if "/" not in module and ":" not in module))
        if wanted != self._warm_for or not self._newest_alive():
            self._retire(self._coming)
            self._coming = WarmServer(
                [str(module) for module in wanted[1:]], None, self._on_exit, program=RUN_PROCESSES
            )
            self._warm_for = wanted
            self._coming.start()
        if self._coming is not None and (self._coming.ready.is_set() or self._warm is None or not self._warm.alive):
            self._retire(self._warm)
            self._warm, self._coming = self._coming, None
        assert self._warm is not None
        return self._warm

    def begin(self, order: StartOrder, catalog: Catalog) -> None:
        """Hand the run to a process. Raises WarmServerGone where none can be made, or the worker stops."""
        self.begun.add(order.claim)
        try:
            self._begin_warm(order, catalog)
        except BaseException:
            self.begun.discard(order.claim)
            raise

    def running(self) -> int:
        """How many runs have a process here."""
        return sum(len(server.running()) for server in self._servers())

    def stop(self, grace_seconds: float) -> None:
        """Let running processes finish for so long, then end them."""
        until = time.monotonic() + grace_seconds
        for server in self._servers():
            server.drain(max(0.0, until - time.monotonic()))
            server.stop()

    def _begin_warm(self, order: StartOrder, catalog: Catalog) -> None:
        assert self._warm is not None
        try:
            self._warm.begin(order)
        except WarmServerGone:
            if self._signals.no_starts.is_set():
                raise
            log.warning("the warm process is gone; a new one takes run %s", order.run_id)
            self.keep_warm(catalog).begin(order)

    def _newest_alive(self) -> bool:
        newest = self._coming or self._warm
        return newest is not None and newest.alive

    def _retire(self, server: WarmServer | None) -> None:
        """The server finishes what it has, and goes."""
        if server is not None:
            self._draining = [one for one in self._draining if one.running()]
            self._draining.append(server)
            threading.Thread(target=_drain, args=(server,), daemon=True).start()

    def _servers(self) -> list[WarmServer]:
        return [one for one in (self._warm, self._coming, *self._draining) if one is not None]


def _drain(server: WarmServer) -> None:
    server.drain()
    server.stop()
