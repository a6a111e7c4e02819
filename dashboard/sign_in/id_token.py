"""The check of an ID token: its signature, then issuer, audience, nonce and times (OpenID Connect Core, 3.1.3.7)."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ClaimError, JoseError
from joserfc.jwk import JWKRegistry, KeySet
from joserfc.jws import JWSRegistry

_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""Signatures by a private key of the provider's. Not `none`, and not HS...: a public key could pass for its secret."""
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError)
"""What joserfc raises for a key or a token that it cannot read or does not believe."""
_SKEW_SECONDS = 60
_WORDS = {"iss": "issuer", "aud": "audience", "azp": "audience", "exp": "time", "iat": "time", "nbf": "time"}


class NotForThisSignIn(Exception):
    """The ID token proves nothing for this sign-in; the message says why, in one sentence and a remedy."""


def checked_claims(
    token: dict[str, Any], keys: dict[str, Any], *, issuer: str, client_id: str, nonce: str, now: datetime
) -> dict[str, Any]:
    """The claims of the ID token in the token endpoint's answer. keys: the provider's JSON Web Key Set."""
    signed = _verified(token.get("id_token"), keys)
    options = {
        "iss": {"essential": True, "values": [issuer, f"{issuer}/"]},
        "aud": {"essential": True, "value": client_id},
        "nonce": {"essential": True, "value": nonce},
        "exp": {"essential": True},
    }
    expected = {"nonce": nonce, "client_id": client_id, "access_token": token.get("access_token")}
    claims = CodeIDToken(signed.claims, signed.header, options, expected)
    try:
        claims.validate(now=int(now.timestamp()), leeway=_SKEW_SECONDS)
    except ClaimError as error:
        what = ", ".join(dict.fromkeys(_WORDS.get(one, one) for one in error.claim.split(",")))
        raise NotForThisSignIn(f"The provider's answer is not for this sign-in ({what}). Try again.") from None
    return dict(claims)


def _verified(id_token: Any, keys: dict[str, Any]) -> jwt.Token:
    if not isinstance(id_token, str) or not id_token:
        raise NotForThisSignIn("The provider sent no ID token. Is the scope 'openid' allowed for this client?")
    key_set = _key_set(keys)
    # A header may name more than the standard does (x5t, for one); that is not critical unless it says so.
    registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
    try:
        return jwt.decode(id_token, key_set, registry=registry)
    except _UNREADABLE:
        raise NotForThisSignIn("The provider's ID token is not signed by one of the provider's own keys.") from None


def _key_set(keys: dict[str, Any]) -> KeySet:
    """The keys that can be read: a provider may publish others, of kinds and curves that are not known here."""
    published = keys.get("keys")
    found = []
    for one in published if isinstance(published, list) else ():
        with suppress(*_UNREADABLE):
            found.append(JWKRegistry.import_key(one))
    if not found:
        raise NotForThisSignIn("The provider publishes no key that its ID tokens could be checked with.")
    return KeySet(found)
