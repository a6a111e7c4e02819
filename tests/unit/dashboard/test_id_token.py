"""The check of an ID token against hostile or odd keys and tokens: each is refused in words, none raises otherwise."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from headway.dashboard.sign_in.id_token import NotForThisSignIn, checked_claims
from tests.support.oidc_provider import signed

NOW = datetime(2026, 11, 23, 11, 0, tzinfo=UTC)
KEY = RSAKey.generate_key(2048, {"kid": "a"})
PUBLIC = KEY.as_dict(private=False)
CLAIMS = {
    "iss": "https://id.example",
    "aud": "headway",
    "sub": "4711",
    "nonce": "n",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 60,
}
sign = signed(KEY, "RS256")


def checked(id_token: Any, keys: Any = PUBLIC, **more: Any) -> dict[str, Any]:
    key_set = keys if "keys" in keys or not keys else {"keys": [keys]}
    return checked_claims(
        {"id_token": id_token, **more}, key_set, issuer="https://id.example", client_id="headway", nonce="n", now=NOW
    )


def unchecked(header: Any, content: Any) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, content))
    return f"{'.'.join(parts)}.AAAA"


def test_a_token_for_this_sign_in_is_believed() -> None:
    assert checked(sign(CLAIMS)) == CLAIMS


@pytest.mark.parametrize(
    "odd",
    [{"kty": "AKP", "alg": "ML-DSA-44"}, {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"}, {}, "x", None],
)
def test_a_key_of_an_unknown_kind_beside_the_right_one_does_no_harm(odd: Any) -> None:
    assert checked(sign(CLAIMS), {"keys": [odd, PUBLIC]}) == CLAIMS


@pytest.mark.parametrize("keys", [{}, {"keys": 5}, {"keys": None}, {"keys": []}, {"keys": [{"kty": "RSA", "n": "!"}]}])
def test_a_provider_without_a_readable_key_is_refused(keys: Any) -> None:
    with pytest.raises(NotForThisSignIn, match="publishes no key"):
        checked(sign(CLAIMS), keys)


@pytest.mark.parametrize(
    "token",
    [
        "a.b.c",
        "..",
        "ä.ö.ü",
        unchecked([1], CLAIMS),
        unchecked({"alg": 5}, CLAIMS),
        unchecked({"alg": "RS256", "kid": ["a"]}, CLAIMS),
        unchecked({"alg": "RS256", "kid": "a", "crit": ["x"]}, CLAIMS),
        unchecked({"alg": "RS256", "kid": "a"}, [1]),
    ],
)
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(NotForThisSignIn, match="is not signed by one of"):
        checked(token)


def test_a_key_for_encryption_signs_nothing() -> None:
    with pytest.raises(NotForThisSignIn, match="is not signed by one of"):
        checked(sign(CLAIMS), {**PUBLIC, "use": "enc"})


@pytest.mark.parametrize(
    ("claim", "value", "what"),
    [
        ("aud", 5, "audience"),
        ("aud", ["headway", "another"], "audience"),  # without azp it may be for the other one
        ("iss", ["https://id.example"], "issuer"),
        ("exp", "soon", "time"),
        ("exp", int(NOW.timestamp()) - 61, "time"),
        ("nbf", int(NOW.timestamp()) + 61, "time"),
        ("nonce", "", "nonce"),
    ],
)
def test_a_claim_that_is_not_for_this_sign_in_is_refused(claim: str, value: Any, what: str) -> None:
    with pytest.raises(NotForThisSignIn, match=rf"not for this sign-in \({what}\)"):
        checked(sign({**CLAIMS, claim: value}))


def test_a_token_of_another_access_token_is_refused() -> None:
    with pytest.raises(NotForThisSignIn, match="at_hash"):
        checked(sign({**CLAIMS, "at_hash": "of another"}), access_token="x")
