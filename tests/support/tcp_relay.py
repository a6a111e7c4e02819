"""A TCP relay that a test can lead elsewhere, or let go dead with its connections open."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class Switchboard:
    """Passes connections on to whatever local port it is told at that moment.

    After `stall` it reads no more from callers: their data piles up unacknowledged by anybody.
    """

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self._flowing = threading.Event()
        self._flowing.set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]

    def stall(self) -> None:
        self._flowing.clear()

    def __enter__(self) -> Switchboard:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._flowing.set()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            called = socket.create_connection(("127.0.0.1", self.leads_to))
            for source, target in ((caller, called), (called, caller)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while self._flowing.wait() and (data := source.recv(65536)):
                target.sendall(data)
        for end in (source, target):  # wakes the thread that passes on the other way
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
