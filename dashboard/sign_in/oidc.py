"""Signing in at an OpenID provider: the authorization code flow with PKCE, state and nonce.

Streamlit's own `st.login` is not used: it would keep an identity beside the session that the guard knows. Here the
provider's answer only opens an ordinary session, of a user whom a user manager has added before.

The ID token comes straight from the provider's token endpoint over TLS, which stands in for checking its signature
(OpenID Connect Core 1.0, 3.1.3.7, 6); that is why plain HTTP is taken from this machine only.
"""

import base64
import binascii
import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

_TIMEOUT_SECONDS = 10
_SKEW_SECONDS = 60
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OidcError(Exception):
    """The provider's answer is no sign-in; the message is for the person who tried."""


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
    """One way to the provider and back; kept in a cookie of the browser that began it."""

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
        try:
            found = json.loads(base64.urlsafe_b64decode(text.encode()))
            return cls(*(str(one) for one in found)) if len(found) == 4 else None
        except (ValueError, binascii.Error, TypeError):
            return None


def provider() -> Provider | None:
    """The configured one; None where nobody has configured any. ValueError for half a configuration."""
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
    challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": redirect_url,
        "scope": provider.scope,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return f"{_endpoint(provider, 'authorization_endpoint')}?{urlencode(asked)}"


def user_name(provider: Provider, attempt: Attempt, code: str, redirect_url: str, now: datetime) -> str:
    """The name that the provider vouches for. OidcError where it vouches for none."""
    asked = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": redirect_url,
        "code_verifier": attempt.verifier,
    }
    credentials = httpx.BasicAuth(provider.client_id, provider.client_secret)
    answer = _ask("POST", _endpoint(provider, "token_endpoint"), data=asked, auth=credentials)
    claims = _claims(answer.get("id_token"))
    _check(provider, attempt, claims, now)
    name = claims.get(provider.claim)
    if not isinstance(name, str) or not name:
        raise OidcError(f"The provider sent no '{provider.claim}'; ask for another HEADWAY_OIDC_CLAIM or scope.")
    if provider.claim == "email" and claims.get("email_verified") is not True:
        raise OidcError("The provider has not verified that mail address.")
    return name


def _check(provider: Provider, attempt: Attempt, claims: dict[str, Any], now: datetime) -> None:
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    several_without_us = len(audiences) > 1 and claims.get("azp") != provider.client_id
    expires = claims.get("exp")
    wrong = {
        "issuer": str(claims.get("iss", "")).rstrip("/") != provider.issuer,
        "audience": provider.client_id not in audiences or several_without_us,
        "nonce": not secrets.compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()),
        "time": not isinstance(expires, (int, float)) or expires + _SKEW_SECONDS < now.timestamp(),
    }
    if any(wrong.values()):
        what = ", ".join(name for name, bad in wrong.items() if bad)
        raise OidcError(f"The provider's answer is not for this sign-in ({what}). Try again.")


def _claims(token: Any) -> dict[str, Any]:
    try:
        payload = str(token).split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, binascii.Error):
        found = None
    if not isinstance(found, dict):
        raise OidcError("The provider sent no ID token. Is the scope 'openid' allowed for this client?")
    return found


def _endpoint(provider: Provider, name: str) -> str:
    found = _ask("GET", f"{provider.issuer}/.well-known/openid-configuration")
    if str(found.get("issuer", "")).rstrip("/") != provider.issuer:
        raise OidcError("The provider calls itself by another name than HEADWAY_OIDC_ISSUER.")
    url = str(found.get(name) or "")
    try:
        _must_be_safe(url)
    except ValueError as error:
        raise OidcError(str(error)) from None
    return url


def _ask(method: str, url: str, **options: Any) -> dict[str, Any]:
    try:
        answer = httpx.request(method, url, timeout=_TIMEOUT_SECONDS, follow_redirects=False, **options)
        found = answer.json() if answer.status_code < 400 else None
    except (httpx.HTTPError, ValueError):
        raise OidcError("The provider does not answer. Try again, or sign in by password.") from None
    if not isinstance(found, dict):
        raise OidcError(f"The provider refused (HTTP {answer.status_code}). Try again, or sign in by password.")
    return found


def _must_be_safe(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"'{url}' is no https:// address; an OpenID provider has to be asked over TLS")


def _secret() -> str:
    file = os.environ.get("HEADWAY_OIDC_CLIENT_SECRET_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else os.environ.get("HEADWAY_OIDC_CLIENT_SECRET", "")
