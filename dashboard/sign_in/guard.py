"""The one gate: nothing of the dashboard answers without a live session, HTTP or websocket.

A plain ASGI middleware, because Starlette's BaseHTTPMiddleware lets websockets through. On an open websocket every
single message is checked against the session again: a user who was signed out or locked, or who lost a privilege,
gets no rerun, no callback and no fragment any more.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

from anyio import to_thread
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from headway.dashboard.configuration import IDENTITY_HEADER, cookie_name
from headway.dashboard.data import CLOCK, engine
from headway.errors import SchedulerError
from headway.models.ledger.database import reading
from headway.scheduler.usecases.people.sign_in import SignedIn, key_of, look_up, renew
from headway.text import first_line

log = logging.getLogger("headway.dashboard")

OPEN_PATHS = frozenset({"/login", "/login/oidc", "/login/callback", "/healthz"})
"""The paths that answer a visitor without a session."""
OWN_PASSWORD_PATHS = frozenset({"/change-password", "/logout"})
"""All that a user with a one-time password reaches until it is changed."""
AWAY = (SchedulerError, SQLAlchemyError)
"""What an unreachable database raises: the first until it was reached once, the second from then on."""
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
_NO_PAGES = ("/_stcore/", "/media/", "/component/", "/static/", "/download/", "/app/", "/vendor/")
_HEADERS = {
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"content-security-policy": (  # nothing is fetched from, or sent to, anywhere else
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        b"frame-ancestors 'none'; object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
}
_WANTED_MESSAGES = frozenset(
    {"rerun_script", "stop_script", "app_heartbeat", "file_urls_request", "backend_operation_request"}
)
_UNWANTED_OPERATIONS = frozenset({"install_skills", "dismiss_skills_nudge"})  # would write files on this machine


class Guard:
    """ASGI middleware around everything. The SignedIn is in `scope["headway"]` behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await (await self._refusal(scope) or self.app)(scope, receive, sending)
        except AWAY as error:
            if begun:  # half a download: the browser has to see that it broke off
                raise
            await PlainTextResponse(away(error), 503)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        """Why this request gets no answer; None lets it through, with its session's identity on it."""
        connection, path = HTTPConnection(scope), scope["path"]
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not same_origin(connection):
            return PlainTextResponse("This request came from another site.", 403)
        if path in OPEN_PATHS:
            _identify(scope, None)
            return None
        signed_in = await session_of(connection)
        page = _is_page(connection)
        if signed_in is None:
            return RedirectResponse(_login_for(scope), 303) if page else PlainTextResponse("Sign in first.", 401)
        if signed_in.must_change_password and path not in OWN_PASSWORD_PATHS:
            refused = PlainTextResponse("Change your one-time password first.", 403)
            return RedirectResponse("/change-password", 303) if page else refused
        _identify(scope, signed_in)
        return None

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        try:
            signed_in = await session_of(connection)
        except AWAY as error:
            away(error)
            signed_in = None
        if signed_in is None or signed_in.must_change_password or not same_origin(connection):
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        _identify(scope, signed_in)
        gate = _SocketGate(signed_in.key, receive, send)
        try:
            await self.app(scope, gate.receive, gate.send)
        except Exception:
            if not gate.closed:  # a socket that broke, or that the gate hung up, is no defect
                raise


class _SocketGate:
    """An open socket: each message is let through only while the session lives."""

    def __init__(self, key: str, receive: Receive, send: Send) -> None:
        self._key, self._receive, self._send = key, receive, send
        self.closed = False

    async def receive(self) -> Message:
        while True:
            message = await self._receive()
            self.closed = self.closed or message["type"] == "websocket.disconnect"
            if message["type"] != "websocket.receive":
                return message
            asked = _parsed(message.get("bytes") or b"")
            if asked is not None and not _is_wanted(asked):
                continue
            try:
                if await to_thread.run_sync(_look_up, self._key) is None:
                    return await self._sign_off()
                if asked is not None and _is_a_persons_act(asked):
                    await to_thread.run_sync(renew, engine(), CLOCK, self._key)
            except AWAY as error:  # the session may be good: the browser comes back to it by itself
                away(error)
                return await self._hang_up(TRY_AGAIN_LATER)
            return message

    async def send(self, message: Message) -> None:
        if self.closed:
            raise OSError("the socket is closed")  # what a broken connection raises: Starlette knows it
        try:
            await self._send(message)
        except OSError:
            self.closed = True
            raise

    async def _sign_off(self) -> Message:
        """Take the browser to the sign-in page, then hang up."""
        redirect = ForwardMsg()
        redirect.auth_redirect.url = "/login"
        self.closed = True
        await self._send({"type": "websocket.send", "bytes": redirect.SerializeToString()})
        return await self._hang_up(POLICY_VIOLATION)

    async def _hang_up(self, code: int) -> Message:
        self.closed = True
        await self._send({"type": "websocket.close", "code": code})
        return {"type": "websocket.disconnect", "code": code}


def away(error: Exception) -> str:
    """The sentence for a visitor where the database does not answer; the cause goes to the log."""
    log.error("the database does not answer: %s", first_line(error))  # its other lines hold what was asked
    return "The database cannot be reached. The dashboard's log says why."


async def session_of(connection: HTTPConnection) -> SignedIn | None:
    """The live session that the request's cookie names."""
    token = connection.cookies.get(cookie_name(secure=is_secure(connection)))
    return None if not token else await to_thread.run_sync(_look_up, key_of(token))


def _look_up(key: str) -> SignedIn | None:
    with reading(engine()) as session:
        return look_up(session, CLOCK, key)


def is_secure(connection: HTTPConnection) -> bool:
    """Whether the browser came over TLS, here or at a trusted proxy."""
    return connection.scope.get("scheme") in ("https", "wss")


def same_origin(connection: HTTPConnection) -> bool:
    """Whether the request says that it comes from a page of this very host and port. Cookies ignore ports.

    Behind a proxy that is not a trusted one, a page over TLS asks by plain HTTP; the other way round is an attack.
    """
    origin = urlsplit(connection.headers.get("origin") or "")
    usual = {"http": 80, "https": 443}.get(origin.scheme)
    if usual is None or (is_secure(connection) and origin.scheme != "https"):
        return False
    try:
        host = urlsplit(f"//{connection.headers.get('host') or ''}")
        there, here = (origin.hostname, origin.port or usual), (host.hostname, host.port or usual)
    except ValueError:
        return False
    return there == here


def _is_page(connection: HTTPConnection) -> bool:
    """Whether a person looks at it in the address bar; the rest are the page's own requests."""
    path = connection.scope["path"]
    wants_html = "text/html" in connection.headers.get("accept", "")
    return connection.scope["method"] == "GET" and wants_html and not path.startswith(_NO_PAGES)


def _login_for(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    here = scope["path"] + (f"?{query}" if query else "")
    return "/login" if here == "/" else f"/login?next={quote(here, safe='')}"


def _identify(scope: Scope, signed_in: SignedIn | None) -> None:
    """Put the session's identity on the request, in place of whatever the client wrote there."""
    name = IDENTITY_HEADER.encode()
    headers = [(key, value) for key, value in scope["headers"] if key.lower() != name]
    if signed_in is not None:
        headers.append((name, signed_in.key.encode()))
    scope["headers"] = headers
    scope["headway"] = signed_in


def _parsed(data: bytes) -> Any:
    """The browser's message; None where it is none, which Streamlit answers by hanging up."""
    message = BackMsg()
    try:
        message.ParseFromString(data)
    except Exception:
        return None
    return message


def _is_wanted(message: Any) -> bool:
    kind = message.WhichOneof("type")
    if kind == "backend_operation_request":
        operation = message.backend_operation_request
        return operation.WhichOneof(operation.DESCRIPTOR.oneofs[0].name) not in _UNWANTED_OPERATIONS
    return kind in _WANTED_MESSAGES


def _is_a_persons_act(message: Any) -> bool:
    """Whether it is an act of the user; a fragment that refreshes itself must not keep a session alive."""
    return message.WhichOneof("type") == "rerun_script" and not message.rerun_script.is_auto_rerun


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {key.lower() for key, _ in message.get("headers", [])}
            extra = [(key, value) for key, value in _HEADERS.items() if key not in given]
            message = {**message, "headers": [*message.get("headers", []), *extra]}
        await send(message)

    return wrapped
