"""HTTP towards Prefect's API: login, CSRF token, pages, and errors that an operator can act on."""

import base64
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headway.errors import PrefectRefused, PrefectUnreachable
from headway.text import first_line

if TYPE_CHECKING:
    import httpx

PAGE = 200
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_NOT_NOW = (408, 429)
"""Of the answers that begin with a 4 those that are no refusal."""


class PrefectHttp:
    """One server's API. Threads may share it, but not processes: it must not cross a fork."""

    def __init__(
        self,
        url: str,
        *,
        auth_string: str | None = None,
        api_key: str | None = None,
        timeout_seconds: float = 15,
    ) -> None:
        """`url` ends in /api. `auth_string` is "user:password" of a server, `api_key` Prefect Cloud's."""
        self.url = url.rstrip("/")
        self._auth_string = auth_string
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._client: httpx.Client | None = None
        self._client_lock = threading.Lock()
        self._csrf_client = str(uuid4())
        self._csrf_token: str | None = None

    def close(self) -> None:
        with self._client_lock:
            if self._client:
                self._client.close()
            self._client = None

    def _pages(self, path: str, wanted: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            body = {**wanted, "limit": PAGE, "offset": offset}
            rows: list[dict[str, Any]] = self._send("POST", path, json=body).json()
            yield from rows
            if len(rows) < PAGE:
                return
            offset += PAGE

    def _send_unless_missing(self, method: str, path: str, **options: Any) -> bool:
        try:
            self._send(method, path, **options)
        except PrefectRefused as refused:
            if refused.status_code == 404:
                return False
            raise
        return True

    def _send(
        self, method: str, path: str, *, timeout_seconds: float | None = None, **options: Any
    ) -> "httpx.Response":
        patience = timeout_seconds or self._timeout_seconds
        answer, doubt = self._send_patiently(method, path, timeout=patience, **options)
        if answer.is_success:
            return answer
        if answer.status_code in (401, 403):
            raise PrefectUnreachable(
                f"Prefect at {self.url} refuses the login ({answer.status_code}). "
                "Check PREFECT_API_AUTH_STRING or PREFECT_API_KEY.",
                nothing_done=not doubt,
            )
        if answer.status_code >= 500 or answer.status_code in _NOT_NOW:
            raise PrefectUnreachable(f"Prefect at {self.url} answers {answer.status_code} to {method} {path}.")
        detail = _detail(answer)
        raise PrefectRefused(f"Prefect refused {method} {path}: {detail}", answer.status_code)

    def _send_patiently(
        self, method: str, path: str, *, timeout: float, **options: Any
    ) -> "tuple[httpx.Response, bool]":
        """The answer, and whether one before it left it open what was done.

        Again after a 503 or 429: Prefect says so while its SQLite is locked, and has done nothing; a gateway that
        says 503 may have lost the answer only.
        """
        import httpx

        never_sent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
        deadline = time.monotonic() + timeout
        pause, doubt = 0.1, False
        while True:
            try:
                answer = self._send_guarded(method, path, timeout=timeout, **options)
            except httpx.HTTPError as error:
                raise PrefectUnreachable(
                    f"Prefect at {self.url} cannot be reached: {first_line(error)}.",
                    nothing_done=isinstance(error, never_sent) and not doubt,
                ) from error
            if answer.status_code not in (429, 503) or time.monotonic() + pause > deadline:
                return answer, doubt
            doubt = doubt or answer.status_code == 503
            time.sleep(pause)
            pause *= 2

    def _send_guarded(self, method: str, path: str, **options: Any) -> "httpx.Response":
        """With the CSRF token that the server wants for changes; a stale one is renewed once."""
        client = self._http()
        if method not in _CHANGES:
            return client.request(method, path, **options)
        for known in (self._csrf_token, None):
            self._csrf_token = known or self._new_csrf_token(client)
            headers = {"Prefect-Csrf-Token": self._csrf_token, "Prefect-Csrf-Client": self._csrf_client}
            answer = client.request(method, path, headers=headers, **options)
            if answer.status_code != 403:
                break
        return answer

    def _new_csrf_token(self, client: "httpx.Client") -> str:
        answer = client.get("/csrf-token", params={"client": self._csrf_client})
        # 404 and 422: a server without this protection. It ignores the header.
        return str(answer.json()["token"]) if answer.is_success else "none"

    def _http(self) -> "httpx.Client":
        import httpx

        with self._client_lock:
            if self._client is None:
                self._client = httpx.Client(
                    base_url=self.url,
                    headers=self._headers(),
                    timeout=self._timeout_seconds,
                    # Reading the certificate store costs 20 ms, and plain HTTP needs none.
                    verify=not self.url.startswith("http://"),
                    follow_redirects=True,
                )
            return self._client

    def _headers(self) -> dict[str, str]:
        if self._auth_string:
            return {"Authorization": "Basic " + base64.b64encode(self._auth_string.encode()).decode()}
        return {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}

    def _as_environment(self) -> dict[str, str]:
        known = {
            "PREFECT_API_URL": self.url,
            "PREFECT_API_AUTH_STRING": self._auth_string,
            "PREFECT_API_KEY": self._api_key,
        }
        return {name: value for name, value in known.items() if value}


def _detail(answer: "httpx.Response") -> str:
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.text[:300]}"
    if not isinstance(body, dict):
        return f"{answer.status_code} {body}"
    said = body.get("detail") or body.get("exception_detail") or body.get("exception_message") or body
    return f"{answer.status_code} {said}"
