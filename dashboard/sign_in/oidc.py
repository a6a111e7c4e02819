"""Signing in at an OpenID provider: the authorization code flow with PKCE, state and nonce, by Authlib.

Streamlit's own `st.login` is not used: it would keep an identity beside the session that the guard knows. Here the
provider's answer only opens an ordinary session, for a user that a user manager has added before.

Each sign-in asks for the provider's metadata and keys anew, so a provider may change its keys at any time.
"""

import base64
import binascii
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2 import OAuth2Client

from headway.dashboard.sign_in.id_token import NotForThisSignIn, checked_claims

_TIMEOUT_SECONDS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NO_ANSWER = "The provider does not answer. Try again, or sign in by password."


class OidcError(Exception):
    """The provider's answer is no sign-in; the message is for the person who tries to sign in."""


@dataclass(kw_only=True, frozen=True)
class Provider:
    """HEADWAY_OIDC_ISSUER and the rest. claim: which claim is the user's name here."""

    issuer: str
    client_id: str
    client_secret: str
    claim: str = "preferred_username"
    label: str = "single sign-on"
    scope: str = "openid profile email"


@dataclass(frozen=True)
class Attempt:
    """One way to the provider and back; kept in a cookie of the browser that began it.

    following: the page that the browser wanted.
    """

    state: str
    nonce: str
    verifier: str
    following: str = ""

    @classmethod
    def new(cls, following: str) -> "Attempt":
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state, nonce, verifier, following)

    def as_text(self) -> str:
        content = json.dumps([self.state, self.nonce, self.verifier, self.following]).encode()
        return base64.urlsafe_b64encode(content).decode()

    @classmethod
    def of_text(cls, text: str) -> "Attempt | None":
        """The attempt that a cookie holds; None for any other text."""
        try:
            found = json.loads(base64.urlsafe_b64decode(text.encode()))
            attempt = cls(*(str(one) for one in found)) if len(found) == 4 else None
        except (ValueError, binascii.Error, TypeError):
            return None
        return attempt if attempt and attempt.state and attempt.nonce and attempt.verifier else None


def provider() -> Provider | None:
    """The configured one; None where none is configured. ValueError for half a configuration."""
    issuer = os.environ.get("HEADWAY_OIDC_ISSUER", "").rstrip("/")
    if not issuer:
        return None
    client_id, secret = os.environ.get("HEADWAY_OIDC_CLIENT_ID", ""), _secret()
    if not client_id or not secret:
        raise ValueError(
            "HEADWAY_OIDC_ISSUER is set: set HEADWAY_OIDC_CLIENT_ID and HEADWAY_OIDC_CLIENT_SECRET (or "
            "HEADWAY_OIDC_CLIENT_SECRET_FILE), too"
        )
    _must_be_safe(issuer)
    return Provider(
        issuer=issuer,
        client_id=client_id,
        client_secret=secret,
        claim=os.environ.get("HEADWAY_OIDC_CLAIM") or Provider.claim,
        label=os.environ.get("HEADWAY_OIDC_LABEL") or Provider.label,
        scope=os.environ.get("HEADWAY_OIDC_SCOPE") or Provider.scope,
    )


def way_there(provider: Provider, attempt: Attempt, redirect_url: str) -> str:
    """Where the browser goes to sign in. OidcError where the provider does not answer."""
    with _client(provider, redirect_url) as client:
        endpoint = _url_of(_metadata(client.session, provider), "authorization_endpoint")
        url, _ = client.create_authorization_url(
            endpoint, state=attempt.state, code_verifier=attempt.verifier, nonce=attempt.nonce
        )
    return str(url)


def user_name(provider: Provider, attempt: Attempt, code: str, redirect_url: str, now: datetime) -> str:
    """The user's name that the provider's signed ID token states. OidcError where there is no such token."""
    with _client(provider, redirect_url) as client:
        metadata = _metadata(client.session, provider)
        token = _token(client, provider, _url_of(metadata, "token_endpoint"), attempt, code)
        keys = _ask(client.session, _url_of(metadata, "jwks_uri"))
    try:
        claims = checked_claims(
            token, keys, issuer=provider.issuer, client_id=provider.client_id, nonce=attempt.nonce, now=now
        )
    except NotForThisSignIn as error:
        raise OidcError(str(error)) from None
    name = claims.get(provider.claim)
    if not isinstance(name, str) or not name:
        raise OidcError(f"The provider sent no '{provider.claim}'; ask for another HEADWAY_OIDC_CLAIM or scope.")
    if provider.claim == "email" and claims.get("email_verified") is not True:
        raise OidcError("The provider has not verified that mail address.")
    return name


@contextmanager
def _client(provider: Provider, redirect_url: str) -> Iterator[Any]:
    """Authlib's client over httpx, which follows no redirect: a secret goes to the address that was checked."""
    with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as session:
        yield OAuth2Client(
            session=session,
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            scope=provider.scope,
            redirect_uri=redirect_url,
            code_challenge_method="S256",
        )


def _token(client: Any, provider: Provider, url: str, attempt: Attempt, code: str) -> dict[str, Any]:
    credentials = httpx.BasicAuth(provider.client_id, provider.client_secret)
    try:
        found = client.fetch_token(
            url,
            auth=credentials,
            grant_type="authorization_code",
            code=code,
            redirect_uri=client.redirect_uri,
            code_verifier=attempt.verifier,
        )
    except AuthlibBaseError as error:
        raise OidcError(f"The provider refused ({error.error}). Try again, or sign in by password.") from None
    except (httpx.HTTPError, ValueError):
        raise OidcError(_NO_ANSWER) from None
    return dict(found)


def _metadata(http: httpx.Client, provider: Provider) -> dict[str, Any]:
    """What the provider publishes about itself. OidcError where it is another one than was configured."""
    found = _ask(http, f"{provider.issuer}/.well-known/openid-configuration")
    if str(found.get("issuer", "")).rstrip("/") != provider.issuer:
        raise OidcError("The provider calls itself by another name than HEADWAY_OIDC_ISSUER.")
    return found


def _url_of(metadata: dict[str, Any], name: str) -> str:
    url = str(metadata.get(name) or "")
    try:
        _must_be_safe(url)
    except ValueError as error:
        raise OidcError(str(error)) from None
    return url


def _ask(http: httpx.Client, url: str) -> dict[str, Any]:
    try:
        answer = http.get(url)
        found = answer.json() if answer.status_code < 400 else None
    except (httpx.HTTPError, ValueError):
        raise OidcError(_NO_ANSWER) from None
    if not isinstance(found, dict):
        raise OidcError(f"The provider refused (HTTP {answer.status_code}). Try again, or sign in by password.")
    return found


def _must_be_safe(url: str) -> None:
    """ValueError for an address to which a secret, or from which a key, could go in the open."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"'{url}' is no https:// address; an OpenID provider has to be asked over TLS")


def _secret() -> str:
    file = os.environ.get("HEADWAY_OIDC_CLIENT_SECRET_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get("HEADWAY_OIDC_CLIENT_SECRET", "")
