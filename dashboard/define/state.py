"""What Define task keeps while one edits: each task's own, so that nothing of one form gets into another.

A widget is given what it begins with as its own default, never through `st.session_state`: a value that is set there
reaches the browser only in the run that set it. If that run is interrupted, the browser shows the widget's bare default
and reports it as a choice, and a save would have dropped a schedule that was not touched.
"""

from typing import Any

import streamlit as st

from headway.dashboard import ui


def key(name: str) -> str:
    """A widget's key; another one after `put`, so that the browser makes the widget anew."""
    return f"{_prefix()}{name}_{_state()['made'].get(name, 0)}"


def begins_with(name: str, stored: Any) -> Any:
    """The widget's default: what `put` gave it, else what is stored."""
    return _state()["given"].get(name, stored)


def put(name: str, value: Any) -> None:
    """Put a value into a widget, before it is drawn again."""
    state = _state()
    state["given"][name] = value
    state["made"][name] = state["made"].get(name, 0) + 1


def opened() -> None:
    """A form that has just been opened begins with nothing: Streamlit forgets the widgets of a page that was left, and
    what was put into them must not outlive them."""
    if key("type") not in st.session_state:
        forget()


def version_at_opening(stored: int) -> int:
    """The task's version when this form was opened."""
    return int(st.session_state.setdefault(f"{_prefix()}version", stored))


def forget() -> None:
    """Drop what was typed: the form begins anew from what is stored."""
    for name in [name for name in st.session_state if str(name).startswith(_prefix())]:
        del st.session_state[name]


def _prefix() -> str:
    return f"define_{ui.query_number('task') or 'new'}_"


def _state() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = st.session_state.setdefault(f"{_prefix()}state", {"given": {}, "made": {}})
    return found
