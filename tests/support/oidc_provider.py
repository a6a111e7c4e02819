"""A small OpenID provider on loopback: it signs in whoever it was told to, and holds the client to PKCE."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT_ID, CLIENT_SECRET = "headway", "a secret for tests"


class OidcProvider:
    """`claims` are those of whoever signs in next; `spoil` changes the ID token's before it is sent."""

    def __init__(self) -> None:
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
            names = {"authorization_endpoint": "/authorize", "token_endpoint": "/token"}
            _json(request, 200, {"issuer": self.issuer, **{name: self.issuer + at for name, at in names.items()}})
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
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
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
            "exp": time.time() + 300,
            "nonce": known["nonce"],
            **self.claims,
        }
        body = base64.urlsafe_b64encode(json.dumps({**claims, **self.spoil}).encode()).rstrip(b"=").decode()
        _json(request, 200, {"id_token": f"e30.{body}.x", "access_token": "x", "token_type": "Bearer"})


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
