"""Signing in at an OpenID provider opens the same kind of session, for people who were added here before."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey
from playwright.sync_api import Browser, expect
from sqlmodel import select

from headway.dashboard.sign_in import oidc
from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import AuditRow, UserRow
from headway.models.values.actor import Privilege
from tests.support.dashboard_browser import SLOW
from tests.support.dashboard_stack import PASSWORD, Dashboard, dashboard
from tests.support.oidc_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    OidcProvider,
    Signing,
    by_public_key,
    oidc_provider,
    signed,
    unsigned,
)

pytest_plugins = ["tests.support.dashboard_browser"]


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def served(provider: OidcProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    secret: Path = tmp_path_factory.mktemp("oidc") / "secret"
    secret.write_text(f"{CLIENT_SECRET}\n")
    with dashboard(
        HEADWAY_OIDC_ISSUER=provider.issuer, HEADWAY_OIDC_CLIENT_ID=CLIENT_ID,
        HEADWAY_OIDC_CLIENT_SECRET_FILE=str(secret), HEADWAY_OIDC_LABEL="Acme ID",
    ) as made:  # fmt: skip
        yield made


@pytest.fixture
def signing_in(served: Dashboard, provider: OidcProvider) -> Iterator[Any]:
    """Go to the provider and back as whoever has these claims; the last answer, and the client."""
    clients = []

    def sign_in(path: str = "/login/oidc", spoil: dict[str, Any] | None = None, **claims: Any) -> httpx.Response:
        provider.claims, provider.spoil = claims, spoil or {}
        client = httpx.Client(base_url=served.url, follow_redirects=True, timeout=30, headers={"accept": "text/html"})
        clients.append(client)
        return client.get(path)

    yield sign_in
    for client in clients:
        client.close()


def test_a_user_of_ours_signs_in_at_the_provider(served: Dashboard, provider: OidcProvider, browser: Browser) -> None:
    provider.claims, provider.spoil = {"preferred_username": "ann"}, {}
    with browser.new_context(base_url=served.url) as context:
        context.set_default_timeout(SLOW)
        page = context.new_page()
        page.goto("/log")
        page.get_by_role("link", name="Sign in with Acme ID").click()
        expect(page.get_by_role("heading", name="Task log")).to_be_visible()  # where one wanted to go
        assert page.get_by_role("link", name="Define task").count() == 0  # with ann's privileges
        page.get_by_role("button", name="ann").click()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/login")
    with reading(served.world.engine) as session:
        row = session.exec(select(AuditRow).where(AuditRow.actor == "ann").order_by(AuditRow.id)).first()  # type: ignore[arg-type]
    assert row is not None and row.action == "sign in" and row.after["by"] == f"OpenID provider {provider.issuer}"


def test_nobody_registers_by_signing_in_elsewhere(served: Dashboard, signing_in: Any) -> None:
    answer = signing_in(preferred_username="mallory")
    assert answer.status_code == 403 and "no such user here" in answer.text
    with reading(served.world.engine) as session:
        assert session.exec(select(UserRow).where(UserRow.name == "mallory")).first() is None
    with writing(served.world.engine) as session:
        eve = session.exec(select(UserRow).where(UserRow.name == "eve")).one()
        eve.locked_at = datetime.now(UTC)
        session.add(eve)
    assert "locked" in signing_in(preferred_username="eve").text


def test_a_one_time_password_is_void_once_the_provider_has_vouched(served: Dashboard, signing_in: Any) -> None:
    one_time = served.world.user("fay", Privilege.VIEW, one_time=True)
    assert signing_in(preferred_username="fay").url.path == "/"
    with httpx.Client(base_url=served.url, headers={"origin": served.url}) as client:
        assert client.post("/login", data={"name": "fay", "password": one_time}).status_code == 401
        assert client.post("/login", data={"name": "bob", "password": PASSWORD}).status_code == 303  # others as ever


@pytest.mark.parametrize(
    "spoil",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT_ID, "another"], "azp": "another"},
        {"nonce": "of another sign-in"},
        {"exp": 1_000_000},
        {"exp": None},
        {"nonce": None},
        {"iat": 9_000_000_000},
    ],
)
def test_an_id_token_that_is_not_for_this_sign_in_opens_nothing(signing_in: Any, spoil: dict[str, Any]) -> None:
    answer = signing_in(spoil=spoil, preferred_username="ann")
    assert answer.status_code == 503 and "not for this sign-in" in answer.text and "set-cookie" not in answer.headers


RIGHT = RSAKey.generate_key(2048, {"kid": "right"})
SPARE = ECKey.generate_key("P-256", {"kid": "spare"})
STOLEN_NAME = RSAKey.generate_key(2048, {"kid": "right"})
UNKNOWN = RSAKey.generate_key(2048, {"kid": "unknown"})


@pytest.fixture
def answer(provider: OidcProvider, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Go through the flow without a dashboard; the name that it finds. The provider publishes RIGHT and SPARE."""
    monkeypatch.setattr(provider, "published", [SPARE, RIGHT])
    known = oidc.Provider(issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    here = "http://127.0.0.1:1/login/callback"

    def ask(sign: Signing, spoil: dict[str, Any] | None = None) -> str:
        monkeypatch.setattr(provider, "sign", sign)
        provider.claims, provider.spoil = {"preferred_username": "ann"}, spoil or {}
        attempt = oidc.Attempt.new("")
        there = httpx.get(oidc.way_there(known, attempt, here)).headers["location"]
        return oidc.user_name(known, attempt, httpx.URL(there).params["code"], here, datetime.now(UTC))

    return ask


@pytest.mark.parametrize(("key", "algorithm"), [(RIGHT, "RS256"), (RIGHT, "PS256"), (SPARE, "ES256")])
def test_an_id_token_signed_by_a_published_key_is_believed(answer: Any, key: Any, algorithm: str) -> None:
    assert answer(signed(key, algorithm)) == "ann"


@pytest.mark.parametrize(
    "sign",
    [
        signed(STOLEN_NAME, "RS256"),  # another key under the name of a published one
        signed(UNKNOWN, "RS256"),
        unsigned,
        by_public_key(RIGHT),
        lambda claims: signed(RIGHT, "RS256")(claims)[:-8] + "AAAAAAAA",
        lambda claims: "no token at all",
    ],
)
def test_an_id_token_that_the_provider_did_not_sign_is_refused(answer: Any, sign: Signing) -> None:
    with pytest.raises(oidc.OidcError) as refused:
        answer(sign)
    assert str(refused.value) == "The provider's ID token is not signed by one of the provider's own keys."


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        ({"aud": "another client"}, "audience"),
        ({"exp": 1_000_000}, "time"),
        ({"nonce": "of another sign-in"}, "nonce"),
        ({"iss": "https://evil.example"}, "issuer"),
    ],
)
def test_a_signed_id_token_for_another_sign_in_is_refused(answer: Any, spoil: dict[str, Any], what: str) -> None:
    with pytest.raises(oidc.OidcError) as refused:
        answer(signed(RIGHT, "RS256"), spoil)
    assert str(refused.value) == f"The provider's answer is not for this sign-in ({what}). Try again."


def test_a_provider_without_keys_signs_no_one_in(
    provider: OidcProvider, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "published", [])
    with pytest.raises(oidc.OidcError, match="publishes no key"):
        answer(signed(RIGHT, "RS256"))


def test_an_id_token_of_the_wrong_signer_opens_no_session(
    provider: OidcProvider, signing_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "sign", unsigned)
    page = signing_in(preferred_username="ann")
    assert page.status_code == 503 and "not signed by one of" in page.text and "set-cookie" not in page.headers


def test_an_attempt_without_its_secrets_is_none() -> None:
    assert oidc.Attempt.of_text(oidc.Attempt("", "", "", "/log").as_text()) is None
    begun = oidc.Attempt.new("/log")
    assert oidc.Attempt.of_text(begun.as_text()) == begun


def test_an_answer_that_this_browser_did_not_ask_for_opens_nothing(served: Dashboard, signing_in: Any) -> None:
    assert "not begun in this browser" in signing_in("/login/callback?code=x&state=y").text
    with httpx.Client(base_url=served.url, timeout=30) as client:
        client.get("/login/oidc")  # begun, but the state is another one
        assert client.get("/login/callback?code=x&state=y").status_code == 400


def test_the_way_back_leads_to_no_other_site(signing_in: Any, served: Dashboard) -> None:
    answer = signing_in("/login/oidc?next=//evil.example", preferred_username="ann")
    assert answer.url.host == "127.0.0.1" and answer.url.path == "/"


def test_a_mail_address_counts_only_if_the_provider_has_verified_it(
    provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = oidc.Provider(issuer=provider.issuer, client_id=CLIENT_ID, client_secret=CLIENT_SECRET, claim="email")
    here = "http://127.0.0.1:1/login/callback"

    def signed_in(**claims: Any) -> str:
        provider.claims, provider.spoil = claims, {}
        attempt = oidc.Attempt.new("")
        there = httpx.get(oidc.way_there(known, attempt, here)).headers["location"]
        return oidc.user_name(known, attempt, httpx.URL(there).params["code"], here, datetime.now(UTC))

    assert signed_in(email="ann@example.com", email_verified=True) == "ann@example.com"
    for unverified in ({"email_verified": False}, {}):
        with pytest.raises(oidc.OidcError, match="not verified"):
            signed_in(email="ann@example.com", **unverified)
    with pytest.raises(oidc.OidcError, match="sent no 'email'"):
        signed_in()


def test_a_provider_is_asked_over_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWAY_OIDC_ISSUER", "http://id.example.com")
    with pytest.raises(ValueError, match="CLIENT_ID"):
        oidc.provider()
    monkeypatch.setenv("HEADWAY_OIDC_CLIENT_ID", "x")
    monkeypatch.setenv("HEADWAY_OIDC_CLIENT_SECRET", "y")
    with pytest.raises(ValueError, match="over TLS"):
        oidc.provider()
    monkeypatch.setenv("HEADWAY_OIDC_ISSUER", "https://id.example.com/")
    found = oidc.provider()
    assert found is not None and found.issuer == "https://id.example.com"
