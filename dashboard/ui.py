"""What every page needs: who looks, the database, times in their zone, and how buttons act."""

from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from headway import wording as words
from headway.dashboard.configuration import IDENTITY_HEADER
from headway.dashboard.data import CLOCK, engine
from headway.dashboard.downloads import inert
from headway.errors import SchedulerError
from headway.models.ledger.database import reading, writing
from headway.models.values.actor import Actor, Privilege
from headway.privileges import may
from headway.scheduler.store.settings import load_settings
from headway.scheduler.store.tasks import Catalog, load_catalog
from headway.scheduler.usecases.people.sign_in import SignedIn, look_up

T = TypeVar("T")
REFRESH_SECONDS = 4
_TOLD = "_told"
_UNREACHABLE = "The database does not answer. Nothing was changed. `headway status` on the server says more."
_catalog: Catalog | None = None
_making = Lock()


def viewer() -> SignedIn:
    """Who looks, looked up again every time; stops the script where the session is over."""
    key = st.context.headers.get(IDENTITY_HEADER) or ""
    try:
        with reading(engine()) as session:
            signed_in = look_up(session, CLOCK, key)
    except (SchedulerError, SQLAlchemyError):
        st.error(_UNREACHABLE)
        st.stop()
    if signed_in is None:
        st.error("You are signed out. Reload the page to sign in again.")
        st.stop()
    return signed_in


def fetch(ask: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """What a reading use case `ask(session, actor, ...)` answers; an error is shown and ends the page."""
    actor = viewer().actor
    try:
        with reading(engine()) as session:
            return ask(session, actor, *arguments, **named)
    except SchedulerError as error:
        st.error(words.plain(words.sentence(str(error))))
    except SQLAlchemyError:
        st.error(_UNREACHABLE)
    return st.stop()


def fetch_now(ask: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """As `fetch`, for use cases that take a clock: `ask(session, clock, actor, ...)`."""
    return fetch(lambda session, actor: ask(session, CLOCK, actor, *arguments, **named))


def act(do: Callable[[Session, Actor], T], success: str | Callable[[T], str], *, rerun: bool = True) -> T | None:
    """Let a use case change something in one transaction; the toast comes on the page as it is then."""
    return act_alone(lambda actor: _in_transaction(do, actor), success, rerun=rerun)


def act_alone(do: Callable[[Actor], T], success: str | Callable[[T], str], *, rerun: bool = True) -> T | None:
    """As `act`, for a use case that has its own transactions. None where it was refused; the reason is shown."""
    actor = viewer().actor
    try:
        done = do(actor)
    except SchedulerError as error:
        st.error(words.plain(words.sentence(str(error))))
        return None
    except SQLAlchemyError:
        st.error(_UNREACHABLE)
        return None
    told = success(done) if callable(success) else success
    st.session_state[_TOLD] = words.plain(told)
    if rerun:
        st.rerun()
    return done


def _in_transaction(do: Callable[[Session, Actor], T], actor: Actor) -> T:
    with writing(engine()) as session:
        return do(session, actor)


def tell() -> None:
    """The toast that an action left behind."""
    if told := st.session_state.pop(_TOLD, None):
        st.toast(told, icon=":material/check:")


def catalog(session: Session) -> Catalog:
    """All that is defined; made anew only when something has changed."""
    global _catalog
    with _making:  # with many tasks it takes a while: once for all viewers, not once for each
        _catalog = load_catalog(session, _catalog)
        return _catalog


def zone() -> str:
    """The zone this viewer reads times in: chosen, else the settings'."""
    return viewer().timezone or fetch(lambda session, actor: load_settings(session).timezone)


def allowed(privilege: Privilege) -> bool:
    """Whether to show a button. A courtesy: the use case decides."""
    return may(viewer().actor, privilege)


def heading(text: str) -> None:
    """A page's heading with text from people in it: shown as it is, whatever it contains."""
    st.html(words.tag("h2", text))


def facts(pairs: list[tuple[str, object]]) -> None:
    """Labels with their values, as many in a row as there is room for; those without a value are left out."""
    shown = [(label, str(value)) for label, value in pairs if value not in (None, "")]
    cells = "".join(f"<div>{words.tag('dt', label)}{words.tag('dd', value)}</div>" for label, value in shown)
    st.html(f'<dl class="facts">{cells}</dl>')


def height(rows: int, *, most: int = 18) -> Any:
    """A table's height: as long as its rows, then it scrolls by itself."""
    return "content" if rows <= most else 40 + most * 31


def as_csv(frame: Any) -> bytes:
    """The table for a spreadsheet, with nothing in it that one takes for a formula."""
    return bytes(frame.map(inert).to_csv(index=False).encode("utf-8-sig"))


def query_number(name: str) -> int | None:
    """A number of the page's address, such as ?task=12; None where there is none."""
    value = st.query_params.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 18 else None


def red() -> str:
    """A cell's style for what failed, readable (4.5 to 1 at least) on the viewer's ground."""
    return f"color: {'#ff6369' if _dark() else '#c62a2f'}; font-weight: 600"


def amber() -> str:
    """A cell's style for what went well but not quite."""
    return f"color: {'#e09b2d' if _dark() else '#a15400'}"


def _dark() -> bool:
    return st.context.theme.type == "dark"


def styled(frame: Any, style_of: Callable[[int], str]) -> Any:
    """The table with a style a row."""
    return frame.style.apply(lambda row: [style_of(int(row.name))] * len(row), axis=1)
