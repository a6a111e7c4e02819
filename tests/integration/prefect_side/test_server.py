"""The embedded server: its keys, its start and its end."""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from starlette.routing import WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from headway.scheduler.prefect_side.server import PrefectServer, ServerError, client_environment, read_or_make_keys
from tests.support.prefect_server import ServerForTests, free_port
from tests.support.run_harness import eventually


def test_keys_are_made_once_and_only_their_owner_may_read_them(tmp_path: Path) -> None:
    home = tmp_path / "home"

    first = read_or_make_keys(home)
    assert read_or_make_keys(home) == first
    assert first.auth_string.startswith("headway:")
    [file] = home.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("given", ["", ":", "headway:", ":x"])
def test_a_server_without_a_login_is_not_started(tmp_path: Path, given: str) -> None:
    """For an empty one Prefect closes its HTTP, and opens its websockets to everybody."""
    keys = read_or_make_keys(tmp_path)
    file = tmp_path / "prefect-keys.json"
    file.write_text(json.dumps({**vars(keys), "auth_string": given}))
    with pytest.raises(ServerError, match=r"prefect-keys\.json holds no login"):
        PrefectServer(tmp_path, free_port()).spawn()


def test_two_homes_have_different_keys(tmp_path: Path) -> None:
    assert read_or_make_keys(tmp_path / "a") != read_or_make_keys(tmp_path / "b")


def test_clients_of_the_embedded_server_know_its_address_and_login(tmp_path: Path) -> None:
    environment = client_environment(tmp_path, environ={"HEADWAY_PREFECT_PORT": "4711"})

    assert environment["PREFECT_API_URL"] == "http://127.0.0.1:4711/api"
    assert environment["PREFECT_API_AUTH_STRING"] == read_or_make_keys(tmp_path).auth_string


def test_clients_of_another_server_keep_its_address_and_key(tmp_path: Path) -> None:
    given = {"PREFECT_API_URL": "https://elsewhere/api", "PREFECT_API_KEY": "theirs"}

    environment = client_environment(tmp_path, environ=given)
    assert given.items() <= environment.items()
    assert "PREFECT_API_AUTH_STRING" not in environment
    assert not list(tmp_path.iterdir())  # no keys of a server that is not started


def test_the_api_asks_for_its_login(prefect_server: ServerForTests) -> None:
    assert httpx.get(f"{prefect_server.url}/work_pools/headway").status_code == 401


def test_no_websocket_of_the_api_opens_without_its_login(prefect_server: ServerForTests) -> None:
    from prefect.server.api.server import API_ROUTERS

    routes = [route.path for router in API_ROUTERS for route in router.routes if isinstance(route, WebSocketRoute)]
    assert len(routes) >= 5, routes
    right = read_or_make_keys(prefect_server.home).auth_string
    for route in routes:
        address = prefect_server.url.replace("http", "ws", 1) + re.sub(r"\{[^}]*\}", "headway", route)
        assert _opens(address, right), address  # what is refused below is refused for its login
        for token, protocols in ((None, ["prefect"]), ("", ["prefect"]), ("headway:wrong", ["prefect"]), (right, [])):
            assert not _opens(address, token, protocols), (address, token)


def _opens(address: str, token: str | None, protocols: Sequence[str] = ("prefect",)) -> bool:
    try:
        with connect(address, subprotocols=[Subprotocol(one) for one in protocols] or None, proxy=None) as opened:
            opened.send(json.dumps({"type": "auth", "token": token} if token is not None else {"type": "hello"}))
            return bool(json.loads(opened.recv(timeout=30))["type"] == "auth_success")
    except (InvalidStatus, ConnectionClosed):
        return False


def test_from_its_first_second_on_a_server_asks_for_its_login(tmp_path: Path) -> None:
    """A new one makes its database first; whatever answers meanwhile answers nobody without the key."""
    server = PrefectServer(tmp_path, free_port())
    server.spawn()
    try:
        answers, refused = set(), 0
        until = time.monotonic() + 120
        sockets = f"{server.url.replace('http', 'ws', 1)}/events/in"
        while not (answers and refused) and time.monotonic() < until:
            try:  # a socket first: it is the first of all that this server ever answers
                for token in (None, "", "headway:wrong"):
                    assert not _opens(sockets, token)
                    refused += 1
                answers.add(httpx.get(f"{server.url}/work_pools/headway", timeout=5).status_code)
            except (httpx.TransportError, ConnectionRefusedError):
                assert server.alive
        assert answers == {401} and refused == 3
        assert _opens(sockets, read_or_make_keys(tmp_path).auth_string)  # it is one that opens
        for file in (tmp_path / "prefect").rglob("*"):
            if file.is_file():
                assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    finally:
        server.stop()


def test_secrets_of_blocks_are_encrypted_with_the_key_of_the_home_and_with_no_other(
    prefect_server: ServerForTests,
) -> None:
    """Without it Prefect makes a key of its own, and keeps it in the database beside what it encrypts."""
    prefect_server.api.save_block("secret", "planted", {"value": "a planted secret"})
    with closing(sqlite3.connect(prefect_server.home / "prefect" / "prefect.db")) as database:
        (stored,) = database.execute("SELECT data FROM block_document WHERE name = 'planted'").fetchone()
        keys = database.execute("SELECT * FROM configuration WHERE key = 'ENCRYPTION_KEY'").fetchall()
    plain = Fernet(read_or_make_keys(prefect_server.home).encryption_key).decrypt(json.loads(stored))
    assert "a planted secret" not in stored and b"a planted secret" in plain and keys == []


def test_the_server_calls_nobody_and_asks_for_what_browsers_must_prove(prefect_server: ServerForTests) -> None:
    settings = prefect_server.call("GET", "/admin/settings")["server"]
    assert settings["analytics_enabled"] is False and settings["api"]["csrf_protection_enabled"] is True


def test_no_secret_is_on_the_servers_command_line(prefect_server: ServerForTests) -> None:
    keys = read_or_make_keys(prefect_server.home)
    command = Path(f"/proc/{prefect_server.server.pid}/cmdline").read_text()

    assert keys.auth_string.partition(":")[2] not in command
    assert keys.encryption_key not in command


def test_changes_need_a_token_that_other_sites_do_not_have(prefect_server: ServerForTests) -> None:
    user, _, password = read_or_make_keys(prefect_server.home).auth_string.partition(":")

    answer = httpx.post(f"{prefect_server.url}/deployments/filter", json={}, auth=(user, password))
    assert answer.status_code == 403


def test_only_its_own_pages_may_read_answers(prefect_server: ServerForTests) -> None:
    answer = httpx.get(f"{prefect_server.url}/health", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_a_taken_port_is_named_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=f"Port {port} .*HEADWAY_PREFECT_PORT"):
            PrefectServer(tmp_path, port).start()


def test_a_second_start_of_a_running_server_changes_nothing(prefect_server: ServerForTests) -> None:
    before = prefect_server.server.pid

    prefect_server.server.start()
    assert prefect_server.server.pid == before


def test_it_comes_back_with_all_it_knew(prefect_server: ServerForTests) -> None:
    deployment = prefect_server.deploy("nothing")
    before = prefect_server.server.pid

    prefect_server.server.restart()
    assert prefect_server.server.pid != before
    assert deployment in {one.id for one in prefect_server.api.deployments()}


_STARTER = """
import sys
from pathlib import Path
from headway.scheduler.prefect_side.server import PrefectServer
server = PrefectServer(Path(sys.argv[1]), int(sys.argv[2]))
server.spawn()
print(server.pid, flush=True)
sys.stdin.read()
"""


def test_it_does_not_outlive_a_starter_that_is_killed(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    starter = subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(tmp_path), str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    server = int(starter.stdout.readline())
    starter.send_signal(signal.SIGKILL)
    starter.communicate()

    eventually(lambda: not _is_running(server), "the server is gone")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_prefects_own_schedules_make_flow_runs(prefect_server: ServerForTests) -> None:
    """SQLAlchemy 2.1 keeps Prefect 3.8's scheduler from it, but for `_let_prefect_schedule`."""
    deployment = prefect_server.deploy("nothing", name="On Prefect's schedule")
    every_hour = {"schedule": {"cron": "0 * * * *", "timezone": "UTC"}, "active": True}
    prefect_server.call("POST", f"/deployments/{deployment}/schedules", [every_hour])
    prefect_server.call("POST", f"/deployments/{deployment}/schedule", {"min_runs": 2})
    made = prefect_server.flow_runs_of(deployment)
    assert len(made) >= 2 and all(one["auto_scheduled"] for one in made)
    assert {one["state_type"] for one in made} == {"SCHEDULED"}
