"""The database goes away under a dashboard that has used it: a clear refusal everywhere, which tells nothing of it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg

from headway.dashboard import data, downloads
from headway.dashboard.sign_in import guard, routes
from headway.models.ledger.database import writing
from headway.models.ledger.tables import GrantRow, UserRow, id_of
from headway.models.values.actor import Privilege
from headway.scheduler.usecases.people import people
from tests.support.databases import PostgresForTests, url_of

PASSWORD = "a password for tests"


async def _echo(socket: WebSocket) -> None:
    await socket.accept()
    async for message in socket.iter_bytes():
        await socket.send_bytes(message)


@pytest.fixture
def database(postgres_server: PostgresForTests, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = postgres_server.new_installation()
    with writing(engine) as session:
        hashed, now = people.PASSWORDS.hash(PASSWORD), datetime.now(UTC)
        user = UserRow(name="ann", password_hash=hashed, must_change_password=False, created_at=now)
        session.add(user)
        session.flush()
        session.add(GrantRow(user_id=id_of(user), privilege=Privilege.VIEW))
    monkeypatch.setenv("HEADWAY_DATABASE_URL", url_of(engine))
    data.engine.cache_clear()
    yield engine
    data.engine().dispose()
    data.engine.cache_clear()


@pytest.fixture
def ann() -> Iterator[TestClient]:
    """Signed in, at the dashboard's own routes and a socket behind its guard."""
    shown = [*routes.ROUTES, *downloads.ROUTES, WebSocketRoute("/_stcore/stream", _echo)]
    with TestClient(Starlette(routes=shown, middleware=[Middleware(guard.Guard)]), base_url="http://dash") as client:
        client.headers["origin"] = "http://dash"
        answer = client.post("/login", data={"name": "ann", "password": PASSWORD}, follow_redirects=False)
        assert answer.status_code == 303, answer.text
        yield client


def _act() -> bytes:
    message = BackMsg()
    message.rerun_script.query_string = ""
    return bytes(message.SerializeToString())


def test_whoever_asks_while_the_database_is_away_is_told_so_and_no_more(
    postgres_server: PostgresForTests, database: Engine, ann: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert ann.get("/download/task-log.csv").status_code == 200
    postgres_server.drop(database)
    right = {"name": "ann", "password": PASSWORD}
    chosen = {"old": PASSWORD, "new": "a phrase of my own", "again": "a phrase of my own"}
    answers = [
        ann.get("/healthz"),
        ann.get("/"),
        ann.get("/", headers={"accept": "text/html"}),
        ann.get("/download/task-log.csv"),
        ann.post("/login", data=right),
        ann.post("/logout"),
        ann.post("/change-password", data=chosen),
    ]
    for answer in answers:
        assert answer.status_code == 503 and "cannot be reached" in answer.text, answer.request.url
        for told in ("psycopg", "sqlalchemy", "SELECT", database.url.database or "?", PASSWORD):
            assert told not in answer.text
    assert "[SQL" not in caplog.text and "parameters" not in caplog.text  # the log gets the reason, not what was asked


def test_what_fails_behind_the_guard_is_told_as_an_outage_too(
    postgres_server: PostgresForTests, database: Engine, ann: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard still found the session, and then the database went."""
    found = guard._look_up
    monkeypatch.setattr(guard, "_look_up", lambda key: (found(key), postgres_server.drop(database))[0])
    answer = ann.post("/logout")
    assert answer.status_code == 503 and "cannot be reached" in answer.text


def test_an_open_socket_passes_nothing_on_while_the_database_is_away_and_hangs_up(
    postgres_server: PostgresForTests, database: Engine, ann: TestClient
) -> None:
    with ann.websocket_connect("ws://dash/_stcore/stream") as socket:
        socket.send_bytes(_act())
        assert socket.receive_bytes() == _act()
        postgres_server.drop(database)
        socket.send_bytes(_act())
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_bytes()
        assert closed.value.code == guard.TRY_AGAIN_LATER  # not the sign-in page: the session may be good
    with pytest.raises(WebSocketDisconnect), ann.websocket_connect("ws://dash/_stcore/stream"):
        pass
