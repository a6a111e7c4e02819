"""The served dashboard as a browser asks it, by HTTP and by Streamlit's own websocket, without a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect
from websockets.sync.connection import Connection
from websockets.typing import Subprotocol

from tests.support.dashboard_stack import PASSWORD, Dashboard


def client(stack: Dashboard, **headers: str) -> httpx.Client:
    """Requests as a browser on the dashboard's own page sends them."""
    return httpx.Client(
        base_url=stack.url, headers={"origin": stack.url, **headers}, timeout=30, verify=False, trust_env=False
    )


@contextmanager
def signed_in(stack: Dashboard, name: str, password: str = PASSWORD) -> Iterator[httpx.Client]:
    with client(stack) as session:
        answer = session.post("/login", data={"name": name, "password": password})
        assert answer.status_code == 303, answer.text
        yield session


def socket(stack: Dashboard, session: httpx.Client | None, *, resume: str = "", origin: str = "") -> Connection:
    cookies = "; ".join(f"{one.name}={one.value}" for one in session.cookies.jar) if session else ""
    headers = {"cookie": cookies, "x-headway-session": "somebody else"} if cookies else {}
    protocols = [Subprotocol("streamlit"), *([Subprotocol("xsrf"), Subprotocol(resume)] if resume else [])]
    return connect(
        f"{stack.url.replace('http', 'ws')}/_stcore/stream",
        additional_headers=headers,
        origin=origin or stack.url,  # type: ignore[arg-type]
        subprotocols=protocols,
        max_size=None,
    )


def rerun(connection: Connection, *, auto: bool = False) -> None:
    message = BackMsg()
    message.rerun_script.query_string = ""
    message.rerun_script.is_auto_rerun = auto
    connection.send(message.SerializeToString())


def messages(connection: Connection, until: str) -> list[Any]:
    """What the server sends, up to the first message of that kind."""
    found = []
    while True:
        message = ForwardMsg()
        data = connection.recv(timeout=60)
        assert isinstance(data, bytes)
        message.ParseFromString(data)
        found.append(message)
        if message.WhichOneof("type") == until:
            return found


@dataclass(frozen=True)
class Button:
    """What it says, its widget, and the fragment that it is in ("" for none)."""

    label: str
    id: str
    fragment: str


@dataclass
class Shown:
    """A page as its messages draw it, with the texts of its alerts."""

    page: str = ""
    buttons: list[Button] = field(default_factory=list)
    fragments: set[str] = field(default_factory=set)
    alerts: list[str] = field(default_factory=list)

    def button(self, key: str) -> Button:
        """By its key in the page's source, or by what it says where it has none."""
        return next(one for one in self.buttons if one.id.endswith(f"-{key}") or one.label == key)


def drawn(connection: Connection) -> Shown:
    """What comes until the page, or the fragment, is done; a script that asks for its own rerun is not."""
    found: list[Any] = []
    while not found or found[-1].script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
        found += messages(connection, "script_finished")
    return shown(found)


def shown(found: list[Any]) -> Shown:
    result = Shown()
    for message in found:
        if message.WhichOneof("type") == "navigation":
            result.page = message.navigation.page_script_hash
        elif message.WhichOneof("type") == "delta":
            element, fragment = message.delta.new_element, message.delta.fragment_id
            result.fragments |= {fragment} - {""}
            if element.WhichOneof("type") == "button":
                result.buttons.append(Button(element.button.label, element.button.id, fragment))
            elif element.WhichOneof("type") == "alert":
                result.alerts.append(element.alert.body)
    return result


def ask(
    connection: Connection, path: str = "", query: str = "", *, page: str = "", press: str = "", fragment: str = ""
) -> None:
    """What the browser sends to draw a page, or one of its fragments, anew. press: the button that was clicked."""
    message = BackMsg()
    asked = message.rerun_script
    asked.query_string, asked.page_name, asked.page_script_hash, asked.fragment_id = query, path, page, fragment
    if press:
        asked.widget_states.widgets.add(id=press, trigger_value=True)
    connection.send(message.SerializeToString())
