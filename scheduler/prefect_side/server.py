"""The embedded Prefect server: its keys, its environment, start and stop.

The server is a process of its own. Its secrets reach it through its environment, never through its
command line (`ps` shows those to every user). It lives no longer than its parent: its standard
input is a pipe from there, and its end of file is its order to stop.
"""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headway import environment
from headway.environment import python_module
from headway.errors import Unreachable
from headway.scheduler.prefect_side.api import PrefectApi

DEFAULT_PORT = 4200
_POLL_SECONDS = 0.1
_LOOPBACK = "127.0.0.1"


class ServerError(Unreachable):
    """The Prefect server did not start."""


@dataclass(frozen=True)
class ServerKeys:
    """The login of Prefect's API ("user:password") and the key that encrypts its blocks."""

    auth_string: str
    encryption_key: str


def read_or_make_keys(home: Path) -> ServerKeys:
    """The keys of this home; made at the first call, in a file that only its owner may read.

    ServerError for an empty login: Prefect would close its HTTP, and open its websockets to everybody.
    """
    path = home / "prefect-keys.json"
    if not path.exists():
        _make_keys(path)
    path.chmod(0o600)
    keys = ServerKeys(**json.loads(path.read_text()))
    user, _, password = keys.auth_string.partition(":")
    if not (user and password and keys.encryption_key):
        raise ServerError(f"{path} holds no login or no key for Prefect. Put back the file of this home's back-up.")
    return keys


def _make_keys(path: Path) -> None:
    keys = {
        "auth_string": f"headway:{secrets.token_urlsafe(24)}",
        "encryption_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written aside and linked: of two processes that start at once one wins, and no process reads half a file.
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_text(json.dumps(keys))
    try:
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        aside.unlink()


def client_environment(home: Path, port: int | None = None, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that every process needs that talks to Prefect (add them to its environment).

    `home` is HEADWAY_HOME. Where `environ` (default: this process's) names another server by
    PREFECT_API_URL, that one and its key stand, and nothing is said about the embedded one.
    """
    environ = os.environ if environ is None else environ
    quiet = {**_quiet(), "PREFECT_HOME": str(home / "prefect"), **_flow_logging(environ)}
    if url := environ.get("PREFECT_API_URL"):
        given = {name: environ[name] for name in _CREDENTIALS if name in environ}
        return {**quiet, **given, "PREFECT_API_URL": url}
    port = port or environment.port("HEADWAY_PREFECT_PORT", DEFAULT_PORT, environ)
    return {
        **quiet,
        "PREFECT_API_URL": f"http://{_LOOPBACK}:{port}/api",
        "PREFECT_API_AUTH_STRING": read_or_make_keys(home).auth_string,
    }


_CREDENTIALS = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "PREFECT_CLIENT_CUSTOM_HEADERS")


def _quiet() -> dict[str, str]:
    """No calls home, no ephemeral server of its own, no chatter on the console.

    The console is silenced at its handler and not by the level: a higher level would also take the
    flows' own log lines away.
    """
    return {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLI_COLORS": "false",
    }


def _flow_logging(environ: Mapping[str, str]) -> dict[str, str]:
    """The loggers of flows and blocks count as their runs' own, unless others are configured."""
    return {
        "PREFECT_LOGGING_EXTRA_LOGGERS": environ.get("PREFECT_LOGGING_EXTRA_LOGGERS", "flows,blocks"),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    }


def server_environment(home: Path, port: int) -> dict[str, str]:
    """The variables of the server itself, over those of this process."""
    keys = read_or_make_keys(home)
    origins = ",".join(f"http://{host}:{port}" for host in (_LOOPBACK, "localhost"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {
        **inherited,
        **_quiet(),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://{_LOOPBACK}:{port}/api",
        "PREFECT_API_AUTH_STRING": keys.auth_string,
        "PREFECT_SERVER_API_AUTH_STRING": keys.auth_string,
        "PREFECT_SERVER_ENCRYPTION_KEY": keys.encryption_key,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": origins,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "prefect" / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


class PrefectServer:
    """One embedded server on 127.0.0.1. Not thread-safe: one owner starts, restarts and stops it."""

    def __init__(self, home: Path, port: int = DEFAULT_PORT) -> None:
        self.home = home
        self.port = port
        self.log_path = home / "logs" / "prefect-server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{_LOOPBACK}:{self.port}/api"

    @property
    def pid(self) -> int | None:
        """None while it is not running."""
        return self._process.pid if self._process and self.alive else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def api(self) -> PrefectApi:
        return PrefectApi(self.url, auth_string=read_or_make_keys(self.home).auth_string)

    def start(self, timeout_seconds: float = 120) -> None:
        """Starts it and returns once it answers. The first start migrates: allow it half a minute.

        Raises ServerError if the port is taken, or if it ends or stays silent.
        """
        self.spawn()
        self.wait_until_healthy(timeout_seconds)

    def spawn(self) -> None:
        """The first half of `start`: the process runs, but may not answer yet."""
        if self.alive:
            return
        self._refuse_taken_port()
        # Blocks, and thereby secrets, lie in here; encrypted, but for no other user's eyes all the same.
        (self.home / "prefect").mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                python_module("headway.scheduler.prefect_side.server", str(self.port)),
                env=server_environment(self.home, self.port),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for its parent, which then stops it in order
                umask=0o077,
            )

    def wait_until_healthy(self, timeout_seconds: float = 120) -> None:
        deadline = time.monotonic() + timeout_seconds
        api = self.api()
        while (reason := api.health(timeout_seconds=2)) is not None:
            if not self.alive:
                raise ServerError(f"Prefect's server ended while it started.{self._last_words()}")
            if time.monotonic() > deadline:
                self.stop()
                raise ServerError(
                    f"Prefect's server did not answer within {timeout_seconds:.0f} s ({reason}).{self._last_words()}"
                )
            time.sleep(_POLL_SECONDS)

    def stop(self, grace_seconds: float = 10) -> None:
        """Ends it: TERM, and KILL after the grace. Harmless if it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self, timeout_seconds: float = 120) -> None:
        self.stop()
        self.start(timeout_seconds)

    def _refuse_taken_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, self.port))
            except OSError as error:
                raise ServerError(
                    f"Port {self.port} on {_LOOPBACK} cannot be used for Prefect's server "
                    f"({error.strerror}). Stop what listens there, or set HEADWAY_PREFECT_PORT to a free one."
                ) from error

    def _last_words(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return "".join(f"\n  {line}" for line in lines[-5:]) + f"\n  (all of it: {self.log_path})"


def _serve(port: int) -> None:
    """What the server's process runs: Prefect's own command, until standard input ends."""
    threading.Thread(target=_stop_at_end_of_input, daemon=True).start()
    # Prefect reads its command line from here; it holds nothing secret.
    sys.argv = ["prefect", "server", "start", "--host", _LOOPBACK, "--port", str(port)]
    from prefect.cli import app

    _let_prefect_schedule()
    app()


def _let_prefect_schedule() -> None:
    """Prefect 3.8 under SQLAlchemy 2.1: without this its own schedules make no flow runs at all.

    It bulk-inserts them as mappings with a key `state`, which is no column but a hybrid property; SQLAlchemy 2.0
    ignored that, 2.1 asks the property for a setter. One that does nothing is what 2.0 did.
    """
    from prefect.server.database import orm_models

    for model in (orm_models.FlowRun, orm_models.TaskRun):
        hybrid = vars(model)["state"]
        if getattr(hybrid, "bulk_dml_setter", True) is None:
            hybrid.bulk_dml_setter = lambda cls, mapping, value: None


def _stop_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        continue
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
