"""The dashboard as one ASGI application: Streamlit, our own routes, and the guard before both."""

import gc
import logging
import uuid
from pathlib import Path
from threading import Thread

import altair  # noqa: F401  the first visitor need not wait for the pages' imports
import pandas  # noqa: F401  nor for these
import streamlit as st
import uvicorn
from sqlalchemy.exc import SQLAlchemyError
from starlette.middleware import Middleware
from starlette.routing import Route
from streamlit.starlette import App

from headway.dashboard import task_buttons, ui  # noqa: F401  nor for ours
from headway.dashboard.configuration import configure_streamlit, host, port, trusted_proxies
from headway.dashboard.data import engine
from headway.dashboard.downloads import ROUTES as DOWNLOADS
from headway.dashboard.sign_in.guard import Guard
from headway.dashboard.sign_in.routes import ROUTES as SIGN_IN
from headway.errors import SchedulerError
from headway.models.ledger.database import reading

_log = logging.getLogger("headway.dashboard")
_BIGGEST_MESSAGE = 8 * 1024 * 1024


def build() -> App:
    """The application. Its routes come before Streamlit's, the guard before all of them."""
    routes: list[Route] = [*SIGN_IN, *DOWNLOADS]
    script = Path(__file__).parent / "app.py"
    configure_streamlit()
    return App(script, routes=routes, middleware=[Middleware(Guard)], on_script_error=_say_what_to_do)


def _say_what_to_do(error: Exception) -> bool:
    """A defect: its trace goes to the log, the operator gets the number under which it is found there."""
    number = uuid.uuid4().hex[:8]
    _log.error("defect %s", number, exc_info=error)
    st.error(
        f"Something in Headway itself went wrong (number {number}). Nothing was changed by it. Reload the page; if it "
        "comes back, give that number to whoever looks after Headway: logs/dashboard.log has the details."
    )
    return True


def _warm_up() -> None:
    """Read all that is defined before a person waits for it: with ten thousand tasks it takes two seconds.

    What is there then, modules for the most part, stays: no collection of garbage has to look at it again.
    """
    try:
        with reading(engine()) as session:
            ui.catalog(session)
    except (SchedulerError, SQLAlchemyError):  # the pages say so, and ask again
        _log.warning("the database did not answer at the start")
    gc.freeze()


def serve() -> None:
    """Listen until SIGTERM or Ctrl-C."""
    proxies = trusted_proxies()
    Thread(target=_warm_up, daemon=True).start()
    uvicorn.run(
        build(),
        host=host(),
        port=port(),
        ws="websockets-sansio",
        ws_max_size=_BIGGEST_MESSAGE,
        ws_per_message_deflate=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
        server_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=5,
    )
