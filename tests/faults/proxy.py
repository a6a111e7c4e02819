"""A relay in front of Prefect's server that misbehaves on command."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Literal

Mode = Literal["pass", "slow", "500", "away"]
_ANSWER_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes on (`pass`), after `delay_seconds` a call (`slow`), answers 500 itself, or hangs up (`away`)."""

    def __init__(self, leads_to: int, delay_seconds: float = 2.0) -> None:
        self.mode: Mode = "pass"
        self._leads_to, self.delay_seconds = leads_to, delay_seconds
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._wait = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(caller,), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        with contextlib.suppress(OSError), caller:
            called: socket.socket | None = None
            while data := caller.recv(65536):
                if self.mode == "away":
                    break
                if self.mode == "500":
                    caller.sendall(_ANSWER_500)
                    break
                if self.mode == "slow":
                    self._wait.wait(self.delay_seconds)
                if called is None:
                    called = socket.create_connection(("127.0.0.1", self._leads_to))
                    threading.Thread(target=_back, args=(called, caller), daemon=True).start()
                called.sendall(data)
            if called is not None:
                called.close()


def _back(called: socket.socket, caller: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := called.recv(65536):
            caller.sendall(data)
    with contextlib.suppress(OSError):
        caller.shutdown(socket.SHUT_RDWR)
