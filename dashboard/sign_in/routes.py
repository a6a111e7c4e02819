"""Plain form routes: sign in, change one's password, sign out; and the health check."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import jinja2
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from headway.dashboard.configuration import cookie_name
from headway.dashboard.data import CLOCK, engine
from headway.dashboard.sign_in import oidc
from headway.dashboard.sign_in.guard import AWAY, away, is_secure
from headway.models.ledger.database import reading
from headway.scheduler.store.settings import definitions_version
from headway.scheduler.usecases.people.sign_in import (
    LONGEST,
    SHORTEST_PASSWORD,
    Denied,
    SignedIn,
    change_password,
    sign_in,
    sign_in_known,
    sign_out,
)

_FORM = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    Path(__file__).with_name("sign_in.j2").read_text(encoding="utf-8")
)
_BIGGEST_FORM = 4096
_HASHING = CapacityLimiter(2)
"""How many passwords are checked at the same time; each check takes 19 MiB and a core."""
_ATTEMPT_SECONDS = 600
_OWN_STYLE_ONLY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


async def healthz(request: Request) -> Response:
    """200 "ok" while the database answers, else 503; why is in the log."""
    try:
        await to_thread.run_sync(_ask_database)
    except Exception as error:
        return PlainTextResponse(away(error), 503)
    return PlainTextResponse("ok")


def _ask_database() -> None:
    with reading(engine()) as session:
        definitions_version(session)


async def login_form(request: Request) -> Response:
    return _login_page(_safe_next(request.query_params.get("next", "")))


async def login(request: Request) -> Response:
    """A right name and password set the cookie; anything else gets the form again, with why."""
    form = await _form(request)
    name, following = form.get("name", ""), _safe_next(form.get("next", ""))
    try:
        answer = await to_thread.run_sync(
            sign_in, engine(), CLOCK, name, form.get("password", ""), _address(request), limiter=_HASHING
        )
    except AWAY as error:
        return _login_page(following, name=name, problem=away(error), status=503)
    if isinstance(answer, Denied):
        status = 401 if answer.wait is None else 429
        return _login_page(following, name=name, problem=answer.message, status=status)
    response = RedirectResponse(following or "/", 303)
    _set_cookie(request, response, answer)
    return response


async def to_provider(request: Request) -> Response:
    """Send the browser to the OpenID provider; a cookie keeps what the way back needs."""
    known = _provider()
    if isinstance(known, Response):
        return known
    attempt = oidc.Attempt.new(_safe_next(request.query_params.get("next", "")))
    try:
        url = await to_thread.run_sync(oidc.way_there, known, attempt, _callback_url(request))
    except oidc.OidcError as error:
        return _login_page(attempt.following, problem=str(error), status=503)
    response = RedirectResponse(url, 303)
    _set_cookie(request, response, attempt.as_text(), name=_attempt_cookie(request), max_age=_ATTEMPT_SECONDS)
    return response


async def from_provider(request: Request) -> Response:
    """The browser comes back from the provider: open an ordinary session for a user that exists here."""
    known = _provider()
    if isinstance(known, Response):
        return known
    attempt = oidc.Attempt.of_text(request.cookies.get(_attempt_cookie(request), ""))
    state, code = request.query_params.get("state", ""), request.query_params.get("code", "")
    if attempt is None or not secrets.compare_digest(state.encode(), attempt.state.encode()):
        return _login_page("", problem="That sign-in was not begun in this browser. Try again.", status=400)
    if not code:
        return _login_page(attempt.following, problem="The provider did not sign you in. Try again.", status=401)
    try:
        name = await to_thread.run_sync(oidc.user_name, known, attempt, code, _callback_url(request), CLOCK.now())
        answer = await to_thread.run_sync(
            sign_in_known, engine(), CLOCK, name, _address(request), f"OpenID provider {known.issuer}"
        )
    except oidc.OidcError as error:
        return _login_page(attempt.following, problem=str(error), status=503)
    except AWAY as error:
        return _login_page(attempt.following, problem=away(error), status=503)
    if isinstance(answer, Denied):
        return _login_page(attempt.following, problem=answer.message, status=403)
    response = RedirectResponse(_safe_next(attempt.following) or "/", 303)
    _set_cookie(request, response, answer)
    response.delete_cookie(_attempt_cookie(request), httponly=True, samesite="lax", secure=is_secure(request))
    return response


def _provider() -> oidc.Provider | Response:
    """The OpenID provider, or the answer where none is configured or its configuration is wrong."""
    try:
        return oidc.provider() or RedirectResponse("/login", 303)
    except (ValueError, OSError) as error:
        return _login_page("", problem=str(error), status=503)


def _attempt_cookie(request: Request) -> str:
    return f"{cookie_name(secure=is_secure(request))}_oidc"


def _callback_url(request: Request) -> str:
    return str(request.url.replace(path="/login/callback", query="", fragment=""))


async def password_form(request: Request) -> Response:
    return _password_page(request)


async def password(request: Request) -> Response:
    """The new password ends every session of the user but the one that is opened with it."""
    form = await _form(request)
    if form.get("new") != form.get("again"):
        return _password_page(request, problem="The two new passwords differ.", status=400)
    key = _signed_in(request).key
    answer = await to_thread.run_sync(
        change_password,
        engine(),
        CLOCK,
        key,
        form.get("old", ""),
        form.get("new", ""),
        _address(request),
        limiter=_HASHING,
    )
    if isinstance(answer, Denied):
        return _password_page(request, problem=answer.message, status=400 if answer.wait is None else 429)
    response = RedirectResponse("/", 303)
    _set_cookie(request, response, answer)
    return response


async def logout(request: Request) -> Response:
    await to_thread.run_sync(sign_out, engine(), CLOCK, _signed_in(request).key)
    response = RedirectResponse("/login", 303)
    secure = is_secure(request)
    response.delete_cookie(cookie_name(secure=secure), httponly=True, samesite="lax", secure=secure)
    return response


def _signed_in(request: Request) -> SignedIn:
    signed_in = request.scope["headway"]
    assert isinstance(signed_in, SignedIn)  # the guard lets no other request through
    return signed_in


async def _form(request: Request) -> dict[str, str]:
    """The form's fields. Empty where it is bigger than any form of ours: a visitor must not fill the memory."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _BIGGEST_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in fields.items()}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _safe_next(path: str) -> str:
    """A path of this dashboard, or nothing: never an address elsewhere."""
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if plain and not path.startswith(("/login", "/logout")) else ""


def _set_cookie(
    request: Request, response: Response, value: str, *, name: str = "", max_age: int = int(LONGEST.total_seconds())
) -> None:
    secure = is_secure(request)
    response.set_cookie(
        name or cookie_name(secure=secure),
        value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=secure,
    )


def _login_page(following: str, *, name: str = "", problem: str = "", status: int = 200) -> Response:
    lead = "Sign in to see tasks, their log, and why they wait."
    return _page(
        status,
        title="Headway",
        lead=lead,
        action="/login",
        problem=problem,
        changing=False,
        next=following,
        name=name[:100],
        elsewhere=_elsewhere(),
        following=urlencode({"next": following}) if following else "",
    )


def _elsewhere() -> str:
    """What the button to the OpenID provider says; empty where none is configured."""
    try:
        known = oidc.provider()
    except (ValueError, OSError):
        return ""
    return known.label if known else ""


def _password_page(request: Request, *, problem: str = "", status: int = 200) -> Response:
    must = _signed_in(request).must_change_password
    lead = "A one-time password is good for one sign-in. " if must else ""
    return _page(
        status,
        title="Change your password",
        lead=f"{lead}Choose one of at least {SHORTEST_PASSWORD} characters.",
        action="/change-password",
        problem=problem,
        changing=True,
        elsewhere="",
        shortest=SHORTEST_PASSWORD,
    )


def _page(status: int, **values: Any) -> Response:
    headers = {"content-security-policy": _OWN_STYLE_ONLY, "cache-control": "no-store"}
    return HTMLResponse(_FORM.render(**values), status, headers=headers)


ROUTES = [
    Route("/healthz", healthz, methods=["GET"]),
    Route("/login", login_form, methods=["GET"]),
    Route("/login", login, methods=["POST"]),
    Route("/login/oidc", to_provider, methods=["GET"]),
    Route("/login/callback", from_provider, methods=["GET"]),
    Route("/change-password", password_form, methods=["GET"]),
    Route("/change-password", password, methods=["POST"]),
    Route("/logout", logout, methods=["POST"]),
]
