"""What a browser can send over an open websocket: nothing of it runs for whoever has no right to it."""

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlmodel import select
from websockets.exceptions import ConnectionClosed
from websockets.sync.connection import Connection

from headway.models.ledger.database import reading, writing
from headway.models.ledger.tables import TaskRow, UserRow
from headway.models.values.actor import Privilege
from headway.privileges import OPERATOR
from headway.scheduler.usecases.people import people
from tests.support.dashboard_socket import Button, Shown, ask, drawn, messages, signed_in, socket
from tests.support.dashboard_stack import Dashboard, dashboard

EVERY_BUTTON_SHOWN = """
from headway.dashboard import ui
ui.allowed = lambda privilege: True
from headway.dashboard.__main__ import main
main()
"""
PAGES = [("task", "task=1"), ("task", "task=2"), ("define", "task=2"), ("reset", "task=1"), ("windows", "")]
PAGES += [("configuration", ""), ("users", ""), ("purge", "")]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stack() -> Iterator[Dashboard]:
    with dashboard() as served:
        yield served


def _rerun(connection: Connection, seen: Shown) -> None:
    ask(connection, "task", "task=2", page=seen.page)


def _button(connection: Connection, seen: Shown) -> None:
    ask(connection, "task", "task=2", page=seen.page, press=seen.button("historical").id)


def _callback(connection: Connection, seen: Shown) -> None:
    ask(connection, page=seen.page, press=seen.button("Clear").id)


def _fragment(connection: Connection, seen: Shown) -> None:
    ask(connection, "task", "task=2", page=seen.page, fragment=min(seen.fragments))


def _sign_out(stack: Dashboard, name: str, who: Any) -> None:
    assert who.post("/logout").headers["location"] == "/login"


def _lock(stack: Dashboard, name: str, who: Any) -> None:
    with writing(stack.world.engine) as session:
        user = session.exec(select(UserRow).where(UserRow.name == name)).one()
        user.locked_at = datetime.now(UTC)
        session.add(user)


def _revoke(stack: Dashboard, name: str, who: Any) -> None:
    with writing(stack.world.engine) as session:
        people.revoke(session, stack.world.clock, OPERATOR, name, Privilege.MANAGE)


def historical(stack: Dashboard) -> bool:
    with reading(stack.world.engine) as session:
        return session.exec(select(TaskRow.historical).where(TaskRow.uid == 2)).one()


@pytest.mark.parametrize("send", [_rerun, _button, _callback, _fragment])
@pytest.mark.parametrize("event", [_sign_out, _revoke, _lock])
def test_no_message_does_anything_once_the_session_is_over(
    stack: Dashboard, event: Callable[..., None], send: Callable[[Connection, Shown], None]
) -> None:
    name = f"gone {next(_numbers)}"
    stack.world.user(name, Privilege.VIEW, Privilege.MANAGE)
    with signed_in(stack, name) as gone, socket(stack, gone) as connection:
        ask(connection, *(("", "") if send is _callback else ("task", "task=2")))
        seen = drawn(connection)
        was = historical(stack)
        send(connection, seen)
        drawn(connection)  # it was understood,
        assert historical(stack) is (not was if send is _button else was)  # and done
        was = historical(stack)
        event(stack, name, gone)
        send(connection, seen)
        (*before, _) = messages(connection, "auth_redirect")
        assert not [one for one in before if one.WhichOneof("type") in ("new_session", "delta")]
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(timeout=30)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008
        assert historical(stack) is was


def contents(stack: Dashboard) -> dict[str, list[Any]]:
    """Everything that is stored, but who is signed in."""
    known = MetaData()
    known.reflect(stack.world.engine)
    with stack.world.engine.connect() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select())]
            for table in known.sorted_tables
            if table.name != "sign_in_session"
        }


@pytest.fixture(scope="module")
def all_shown() -> Iterator[Dashboard]:
    """Its pages show every button to everybody: what they hide is courtesy, and a browser may send what it likes."""
    with dashboard(("-c", EVERY_BUTTON_SHOWN)) as served:
        yield served


@pytest.mark.parametrize("name", ["ann", "eve"])  # View alone; no privilege at all
def test_no_button_does_anything_for_whoever_lacks_the_privilege(all_shown: Dashboard, name: str) -> None:
    was = historical(all_shown)
    with signed_in(all_shown, "bob") as bob, socket(all_shown, bob) as connection:
        ask(connection, "task", "task=2")
        seen = drawn(connection)
        _button(connection, seen)
        drawn(connection)
        assert historical(all_shown) is not was  # what is refused below is done for whoever may
    with signed_in(all_shown, name) as who, socket(all_shown, who) as connection:
        before, pressed, told = contents(all_shown), set[str](), set[str]()
        for path, query in PAGES:
            ask(connection, path, query)
            page = drawn(connection)
            for button in page.buttons:
                behind = pressing(connection, path, query, page, button)
                further = [
                    pressing(connection, path, query, page, one) for one in behind.buttons if one not in page.buttons
                ]
                pressed |= {button.label, *(one.label for one in behind.buttons)}
                told |= {alert for drawing in (behind, *further) for alert in drawing.alerts}
        _button(connection, seen)  # also as it was on another's page
        told |= set(drawn(connection).alerts)
        assert contents(all_shown) == before
    assert any("takes the privilege" in alert for alert in told), told
    assert {"Run now", "Disable", "Historical", "Delete", "Release"} <= pressed or name == "eve", pressed


def pressing(connection: Connection, path: str, query: str, page: Shown, button: Button) -> Shown:
    """What is drawn then. In a dialog there are further buttons."""
    if button.label == "Sign out":
        return Shown()
    ask(connection, path, query, page=page.page, press=button.id, fragment=button.fragment)
    return drawn(connection)
