"""Nobody in without a session, and nobody in another's: the served dashboard, asked by HTTP and by websocket."""

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlmodel import select
from starlette.applications import Starlette
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Origin, Subprotocol

from headway.dashboard.configuration import cookie_name
from headway.dashboard.sign_in import guard
from headway.dashboard.sign_in import routes as sign_in
from headway.dashboard.sign_in.guard import OPEN_PATHS
from headway.errors import Unreachable
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import SignInRow, UserRow
from headway.models.values.actor import Privilege
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people
from headway.scheduler.usecases.people.sign_in import key_of
from tests.support.dashboard_socket import client, messages, rerun, signed_in, socket
from tests.support.dashboard_stack import HOSTILE, PASSWORD, Dashboard, dashboard

OPEN = {"/login", "/healthz"}
_ROUTES = """
import json
from headway.dashboard.server import build
def walk(routes):
    for route in routes:
        path = getattr(route, "path", "")
        yield path or "/", sorted(getattr(route, "methods", None) or []), type(route).__name__
print(json.dumps(list(walk(build()._build_starlette_app().routes))))
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Dashboard]:
    with dashboard(HEADWAY_TRUSTED_PROXIES="127.0.0.1") as served:
        yield served


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, list[str], str]]:
    """Every route of the served application, as Starlette has it."""
    done = subprocess.run([sys.executable, "-c", _ROUTES], capture_output=True, text=True, check=True)
    return [(path, methods, kind) for path, methods, kind in json.loads(done.stdout.splitlines()[-1])]


def token_of(session: httpx.Client) -> str:
    (cookie,) = session.cookies.jar
    assert cookie.value
    return cookie.value


def streamlit_session(connection: Connection) -> str:
    rerun(connection)
    (*_, message) = messages(connection, "new_session")
    return str(message.new_session.initialize.session_id)


def test_no_route_answers_a_visitor_but_those_two(stack: Dashboard, routes: list[tuple[str, list[str], str]]) -> None:
    assert len(routes) > 20, routes
    answered = set()
    with client(stack, accept="text/html,*/*") as visitor:
        for path, methods, kind in routes:
            address = re.sub(r"\{[^}]*\}", "1", path)
            for method in methods or ["GET"]:
                if kind == "WebSocketRoute":
                    continue
                answer = visitor.request(method, address)
                at_the_door = answer.status_code in (401, 403) or answer.headers.get("location", "").startswith(
                    "/login"
                )
                if not at_the_door:
                    answered.add(path)
    assert answered == OPEN
    assert OPEN | {"/login/oidc", "/login/callback"} == OPEN_PATHS  # without a provider these lead to the form


def test_no_websocket_route_opens_for_a_visitor(stack: Dashboard, routes: list[tuple[str, list[str], str]]) -> None:
    sockets = [re.sub(r"\{[^}]*\}", "1", path) for path, _, kind in routes if kind == "WebSocketRoute"]
    assert sockets
    for path in sockets:
        address = stack.url.replace("http", "ws", 1) + path
        with pytest.raises(InvalidStatus) as refused:
            connect(address, origin=Origin(stack.url), subprotocols=[Subprotocol("streamlit")])
        assert refused.value.response.status_code == 403


def test_a_visitor_is_not_told_where_the_database_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise Unreachable("the database postgresql://db.internal:5432/headway cannot be reached")

    for module in (guard, sign_in):
        monkeypatch.setattr(module, "engine", away)
    with TestClient(guard.Guard(Starlette(routes=sign_in.ROUTES)), base_url="http://dash") as visitor:
        visitor.cookies.set(cookie_name(secure=False), "made up")
        answers = [
            visitor.get("/healthz"),
            visitor.get("/anything"),
            visitor.post("/login", data={"name": "ann", "password": "x"}, headers={"origin": "http://dash"}),
        ]
    for answer in answers:
        assert answer.status_code == 503 and "cannot be reached" in answer.text
        assert "internal" not in answer.text and "postgresql" not in answer.text


@pytest.mark.parametrize(
    ("scheme", "origin", "same"),
    [("http", "http://dash", True), ("https", "https://dash", True), ("https", "http://dash", False),
     ("http", "https://dash", True), ("https", "https://evil", False), ("https", "null", False)],
)  # fmt: skip
def test_a_page_without_tls_cannot_act_on_one_with_it(scheme: str, origin: str, same: bool) -> None:
    headers = [(b"host", b"dash"), (b"origin", origin.encode())]
    assert guard.same_origin(HTTPConnection({"type": "http", "scheme": scheme, "headers": headers})) is same


@pytest.mark.parametrize(
    "path",
    ["/", "/run?run=1", "/static/js/anything.js", "/media/0123.csv", "/_stcore/health", "/_stcore/host-config",
     "/_stcore/metrics", "/_stcore/upload_file/a/b", "/component/x/y", "/download/task-log.csv", "/favicon.png",
     "/login/", "//login", "/healthz/x", "/%6cogin/../", "/_stcore/agent/openapi.json", "/nothing/here"],
)  # fmt: skip
def test_no_address_answers_a_visitor(stack: Dashboard, path: str) -> None:
    with client(stack) as visitor:
        assert visitor.get(path).status_code == 401
        page = visitor.get(path, headers={"accept": "text/html"})
        assert page.status_code == 401 or page.headers["location"].startswith("/login")


def test_no_websocket_opens_without_a_session_or_from_another_site(stack: Dashboard) -> None:
    with signed_in(stack, "ann") as ann:
        other_port = re.sub(r":\d+$", ":1", stack.url)  # cookies ignore ports, so the port has to be looked at
        for who, origin in ((None, ""), (ann, "https://evil.example"), (ann, other_port)):
            with pytest.raises(InvalidStatus) as refused:
                socket(stack, who, origin=origin)
            assert refused.value.response.status_code == 403
        with socket(stack, ann) as connection:
            assert streamlit_session(connection)


def test_the_cookie_is_for_this_site_only_and_no_script_reads_it(stack: Dashboard) -> None:
    with client(stack) as visitor:
        plain = visitor.post("/login", data={"name": "ann", "password": PASSWORD}).headers["set-cookie"]
        behind_tls = visitor.post(
            "/login",
            data={"name": "ann", "password": PASSWORD},
            headers={"x-forwarded-proto": "https", "origin": stack.url.replace("http:", "https:")},
        ).headers["set-cookie"]
    assert "HttpOnly" in plain and "SameSite=lax" in plain and "Secure" not in plain
    assert behind_tls.startswith("__Host-") and "Secure" in behind_tls and "HttpOnly" in behind_tls


def test_a_post_from_another_site_or_port_is_refused(stack: Dashboard) -> None:
    right = {"name": "ann", "password": PASSWORD}
    with client(stack) as visitor:
        for origin in ("https://evil.example", re.sub(r":\d+$", ":1", stack.url), "null", ""):
            answer = visitor.post("/login", data=right, headers={"origin": origin})
            assert answer.status_code == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("following", ["//evil.example", "https://evil.example", "/\\evil.example", "/login", "/a\tb"])
def test_signing_in_leads_to_no_other_site(stack: Dashboard, following: str) -> None:
    with client(stack) as visitor:
        answer = visitor.post("/login", data={"name": "ann", "password": PASSWORD, "next": following})
    assert answer.headers["location"] == "/"


def test_signing_in_leads_to_where_one_wanted_to_go(stack: Dashboard) -> None:
    with client(stack, accept="text/html") as visitor:
        form = visitor.get(visitor.get("/run?run=3").headers["location"])
        assert 'value="/run?run=3"' in form.text
        answer = visitor.post("/login", data={"name": "ann", "password": PASSWORD, "next": "/run?run=3"})
    assert answer.headers["location"] == "/run?run=3"


def test_guessing_is_slowed_down_and_the_form_shows_no_markup_of_the_visitors(stack: Dashboard) -> None:
    name = "<script>alert(1)</script>"
    with client(stack, **{"x-forwarded-for": "203.0.113.9"}) as visitor:
        asked = [time.monotonic()]
        for seconds in (0, 0, 0, 0, 1, 2, 4, 8):  # a slow machine may take as long as one has to wait
            asked.append(time.monotonic())
            answer = visitor.post("/login", data={"name": name, "password": "no"})
            if answer.status_code == 429:
                break
            assert answer.status_code == 401 and time.monotonic() - asked[-2] >= seconds
        assert answer.status_code == 429 and len(asked) > 5
        assert "Try again in" in answer.text and "<script>" not in answer.text
    with client(stack, **{"x-forwarded-for": "203.0.113.10"}) as elsewhere:
        assert elsewhere.post("/login", data={"name": "ann", "password": PASSWORD}).status_code == 303


def test_a_form_bigger_than_any_of_ours_is_not_read(stack: Dashboard) -> None:
    with client(stack) as visitor:
        assert visitor.post("/login", data={"name": "ann", "password": PASSWORD, "x": "y" * 10_000}).status_code == 401


def test_a_one_time_password_opens_nothing_but_its_own_change(stack: Dashboard) -> None:
    one_time = stack.world.user("new", Privilege.VIEW, one_time=True)
    with signed_in(stack, "new", one_time) as new:
        page = new.get("/", headers={"accept": "text/html"})
        assert page.headers["location"] == "/change-password"
        assert new.get("/static/js/x.js").status_code == 403
        with pytest.raises(InvalidStatus):
            socket(stack, new)
        chosen = {"old": one_time, "new": "a phrase of my own", "again": "a phrase of my own"}
        assert "differ" in new.post("/change-password", data={**chosen, "again": "another"}).text
        before = token_of(new)
        assert new.post("/change-password", data=chosen).status_code == 303
        assert token_of(new) != before
        assert new.get("/", headers={"accept": "text/html"}).status_code == 200


def test_a_stolen_streamlit_session_id_opens_a_fresh_session(stack: Dashboard) -> None:
    with signed_in(stack, "bob") as bob, signed_in(stack, "ann") as ann, signed_in(stack, "bob") as bob_elsewhere:
        with socket(stack, bob) as connection:
            his = streamlit_session(connection)
        with socket(stack, ann, resume=his) as connection:
            assert streamlit_session(connection) != his
        with socket(stack, bob_elsewhere, resume=his) as connection:  # not even in another session of his own
            assert streamlit_session(connection) != his
        with socket(stack, bob, resume=his) as connection:  # his own browser, coming back, gets it: the id was good
            assert streamlit_session(connection) == his


def _sign_out(stack: Dashboard, who: httpx.Client) -> None:
    assert who.post("/logout").headers["location"] == "/login"


def _lock(stack: Dashboard, who: httpx.Client) -> None:
    with writing(stack.world.engine) as session:
        user = session.exec(select(UserRow).where(UserRow.name == "gone")).one()
        user.locked_at = datetime.now(UTC)
        session.add(user)


def _revoke(stack: Dashboard, who: httpx.Client) -> None:
    with writing(stack.world.engine) as session:
        people.revoke(session, stack.world.clock, OPERATOR, "gone", Privilege.VIEW)


@pytest.mark.parametrize("event", [_sign_out, _revoke, _lock])
def test_an_open_socket_gets_nothing_more_once_its_session_is_over(stack: Dashboard, event: Any) -> None:
    with writing(stack.world.engine) as session:
        known = session.exec(select(UserRow.id).where(UserRow.name == "gone")).first()
    if known is None:
        stack.world.user("gone", Privilege.VIEW)
    with signed_in(stack, "gone") as gone, socket(stack, gone) as connection:
        rerun(connection)
        messages(connection, "script_finished")
        event(stack, gone)
        rerun(connection)
        (*before, last) = messages(connection, "auth_redirect")
        assert last.auth_redirect.url == "/login"
        assert not [one for one in before if one.WhichOneof("type") in ("new_session", "delta")]
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert gone.get("/_stcore/health").status_code == 401


def test_a_refresh_does_not_keep_a_session_alive_but_a_person_does(stack: Dashboard) -> None:
    with signed_in(stack, "ann") as ann, socket(stack, ann) as connection:
        key = key_of(token_of(ann))
        rerun(connection)
        messages(connection, "script_finished")
        for auto, renewed in ((True, False), (False, True)):
            long_ago = datetime.now(UTC) - timedelta(minutes=20)
            with writing(stack.world.engine) as session:
                row = session.exec(select(SignInRow).where(SignInRow.token_hash == key)).one()
                row.seen_at = long_ago
                session.add(row)
            rerun(connection, auto=auto)
            messages(connection, "script_finished")
            with reading(stack.world.engine) as session:
                seen_at = session.exec(select(SignInRow.seen_at).where(SignInRow.token_hash == key)).one()
            assert (seen_at > long_ago) is renewed


def test_the_log_as_csv_needs_view_and_begins_no_formula(stack: Dashboard) -> None:
    with signed_in(stack, "eve") as eve:
        assert eve.get("/download/task-log.csv").status_code == 403
        assert eve.get("/download/run/1.txt").status_code == 403
    with signed_in(stack, "ann") as ann:
        answer = ann.get("/download/task-log.csv", params={"search": "export"})
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        text = ann.get(f"/download/run/{stack.runs['failed']}.txt").text
    assert {row["Task"] for row in rows} == {"Citations export", "Permits export"}
    assert rows[0]["Result"] == "Execution failed" and rows[0]["Error"].startswith("TransferError")
    assert HOSTILE in text and "ERROR" in text


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("audit.csv?since=2026-01-01", 400),
        ("task-log.csv?since=2026-01-01", 400),
        ("task-log.csv?task=99999999999999999999", 400),
        ("task-log.csv?results=Nothing", 400),
        ("run/99999999999999999999.txt", 404),
        ("run/4711.txt", 404),
    ],
)
def test_what_cannot_be_downloaded_is_said_and_no_empty_file(stack: Dashboard, address: str, status: int) -> None:
    with signed_in(stack, "root") as root:
        assert root.get(f"/download/{address}").status_code == status


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\u00a0=1", "＝1"])
def test_a_cell_that_could_be_a_formula_is_made_inert(text: str) -> None:
    from headway.dashboard.downloads import inert

    assert inert(text) == f"'{text}" and inert("1=1") == "1=1" and inert(-5) == -5
