"""A small OpenID provider on loopback: it signs in the user that a test names, and holds the client to PKCE."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "headway", "a secret for tests"
SigningKey = RSAKey | ECKey
Signing = Callable[[dict[str, Any]], str]
"""How the ID token is made of its claims."""


class OidcProvider:
    """An OpenID provider that signs ID tokens by RS256 and publishes its key.

    claims: those of the user who signs in next. spoil: claims that are changed before the ID token is signed.
    sign: how the ID token is signed.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "the provider's", "use": "sig"})
        self.published: list[SigningKey] = [self.key]
        self.sign: Signing = signed(self.key, "RS256")
        self.claims: dict[str, Any] = {}
        self.spoil: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.token(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"

    def get(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = urlsplit(request.path).path, parse_qs(urlsplit(request.path).query)
        if path == "/.well-known/openid-configuration":
            names = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
            _json(request, 200, {"issuer": self.issuer, **{name: self.issuer + at for name, at in names.items()}})
            return
        if path == "/keys":
            _json(request, 200, {"keys": [key.as_dict(private=False) for key in self.published]})
            return
        assert path == "/authorize" and asked["response_type"] == ["code"] and asked["client_id"] == [CLIENT_ID]
        assert asked["code_challenge_method"] == ["S256"] and "openid" in asked["scope"][0]
        code = secrets.token_urlsafe(8)
        self._codes[code] = {name: asked[name][0] for name in ("code_challenge", "nonce", "redirect_uri")}
        request.send_response(303)
        request.send_header(
            "location", f"{asked['redirect_uri'][0]}?{urlencode({'code': code, 'state': asked['state'][0]})}"
        )
        request.end_headers()

    def token(self, request: BaseHTTPRequestHandler) -> None:
        asked = parse_qs(request.rfile.read(int(request.headers["content-length"])).decode())
        known = self._codes.pop(asked["code"][0], None)
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        digest = hashlib.sha256(asked["code_verifier"][0].encode()).digest()
        challenge = _base64(digest)
        right = (
            known is not None
            and challenge == known["code_challenge"]
            and asked["redirect_uri"] == [known["redirect_uri"]]
        )
        if known is None or not right or request.headers["authorization"] != f"Basic {expected}":
            _json(request, 400, {"error": "invalid_grant"})
            return
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": "4711",
            "iat": int(time.time()),
            "exp": int(time.time()) + 300,
            "nonce": known["nonce"],
            **self.claims,
        }
        signed_token = self.sign({**claims, **self.spoil})
        _json(request, 200, {"id_token": signed_token, "access_token": "x", "token_type": "Bearer"})


def signed(key: SigningKey, algorithm: str) -> Signing:
    """ID tokens signed with that key, which they name."""
    header = {"alg": algorithm, "kid": str(key.kid)}
    return lambda claims: jwt.encode(header, claims, key, algorithms=[algorithm])


def unsigned(claims: dict[str, Any]) -> str:
    """An ID token of the algorithm `none`: anybody can write one."""
    header, body = (_base64(json.dumps(one).encode()) for one in ({"alg": "none"}, claims))
    return f"{header}.{body}."


def by_public_key(key: RSAKey) -> Signing:
    """ID tokens of the algorithm HS256, made with the published key as if it were a secret."""
    secret = key.as_pem(private=False)

    def sign(claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "kid": str(key.kid)}
        content = ".".join(_base64(json.dumps(one).encode()) for one in (header, claims))
        return f"{content}.{_base64(hmac.digest(secret, content.encode(), 'sha256'))}"

    return sign


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _json(request: BaseHTTPRequestHandler, status: int, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    request.send_response(status)
    request.send_header("content-type", "application/json")
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    provider = OidcProvider()
    thread = threading.Thread(target=provider.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()
